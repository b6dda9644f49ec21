"""Problems of one node: what an operator should look at, and what helps.

`status` shows them, `status --check` is 1 while there is one, and `ProblemLog` has each said once
in the log, when it comes. A problem is known by its code and by what it is about, never by its
words: these hold numbers that change.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple


class Problem(NamedTuple):
    """Something that is wrong with this node, or with what it sees of others."""

    code: str  # for programs: disk, alone, peer, ...
    words: str
    hint: str = ""  # what helps; a command where there is one
    about: str = ""  # a peer, a model: tells two problems of one code apart


class ProblemLog:
    """Log of problems that were said, so that each is said once."""

    def __init__(self, said_elsewhere: Collection[str]) -> None:
        """Of the codes `said_elsewhere` whoever finds them speaks, at the time and in detail."""
        self._said_elsewhere = frozenset(said_elsewhere)
        self._known: dict[tuple[str, str], float] = {}  # since when, in monotonic seconds
        self._said: set[tuple[str, str]] = set()

    def news(self, problems: Iterable[Problem], now_s: float, *, after_s: float) -> list[Problem]:
        """Those that have stood for `after_s`, and were not said since they came."""
        standing = {(found.code, found.about): found for found in problems}
        self._known = {key: self._known.get(key, now_s) for key in standing}
        self._said &= standing.keys()
        fresh = [
            found
            for key, found in standing.items()
            if key not in self._said
            and found.code not in self._said_elsewhere
            and now_s - self._known[key] >= after_s
        ]
        self._said.update((found.code, found.about) for found in fresh)
        return fresh
