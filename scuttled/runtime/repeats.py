"""Repeated log lines are counted, and said once a minute with how often they came.

Two bounds, each for a minute: on lines that are the same but for ports and numbers, and on lines
of one origin, which is the place in the code and so cannot be made new by a peer. Both are low for
what the code says comes from strangers (`extra=FROM_STRANGERS`): who knocks at a port each second
is worth one line, but a second cause of trouble is worth one, too. Names keep their digits, and
addresses are told apart but for those of strangers: forty peers that come up are forty lines.
"""

import logging
import re
from dataclasses import dataclass

MINUTE_S = 60.0
SAME_MAX = 5  # that are the same but for numbers...
TROUBLE_MAX = 2  # ...and that are warnings or worse
ORIGIN_MAX = 100  # of one place in the code, whatever they say
STRANGERS_MAX = 20  # likewise, of strangers; of the same one
KINDS_MAX = 1000  # counted at a time

FROM_STRANGERS = {"from_strangers": True}
# A port behind a host, or a number by itself: not the digits of `web1`, `db-2` or an address.
_CHANGING = re.compile(r"(?<=[\w\]]):[0-9]+\b|(?<![\w.:-])[0-9]+(?:\.[0-9]+)?(?![\w.:-])")
_CHANGING_OF_STRANGERS = re.compile(r"\[[0-9a-f:.]+\]|[0-9]+")  # addresses, and every digit


@dataclass(slots=True)
class _Kind:
    """Lines that count as one, in the minute that began then."""

    began_s: float
    most: int
    said: int = 0
    last: logging.LogRecord | None = None  # of those that were not said
    kept_back: int = 0


class Repeats:
    """Decides of each record whether it is said. Debugging is: who asks for all gets all."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[object, ...], _Kind] = {}

    def admit(self, record: logging.LogRecord, now_s: float) -> bool:
        """True if it is to be said. If not, it is counted."""
        if record.levelno <= logging.DEBUG:
            return True
        strange = getattr(record, "from_strangers", False)
        if strange:
            most = 1
        elif record.levelno < logging.WARNING:
            most = SAME_MAX
        else:
            most = TROUBLE_MAX
        changing = _CHANGING_OF_STRANGERS if strange else _CHANGING
        same = (record.name, record.levelno, changing.sub("", record.getMessage()))
        origin = (record.name, record.levelno, record.msg, "whatever it says")
        most_of_origin = STRANGERS_MAX if strange else ORIGIN_MAX
        return self._count(same, most, record, now_s) and self._count(
            origin, most_of_origin, record, now_s
        )

    def _count(
        self, key: tuple[object, ...], most: int, record: logging.LogRecord, now_s: float
    ) -> bool:
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                return True
            kind = _Kind(now_s, most)
            self._kinds[key] = kind
        if kind.said < kind.most:
            kind.said += 1
            return True
        kind.kept_back += 1
        kind.last = record
        return False

    def due(self, now_s: float) -> list[tuple[logging.LogRecord, int]]:
        """(the last one, how many) of what was not said in a minute that is over."""
        found = []
        for key, kind in list(self._kinds.items()):
            if now_s - kind.began_s < MINUTE_S:
                continue
            if kind.last is None:
                del self._kinds[key]
                continue
            found.append((kind.last, kind.kept_back))
            # It goes on, so of the next minute nothing is said before that is over, too.
            self._kinds[key] = _Kind(now_s, kind.most, said=kind.most)
        return found

    def rest(self) -> list[tuple[logging.LogRecord, int]]:
        """The same at the end, of minutes that are not over."""
        found = [(kind.last, kind.kept_back) for kind in self._kinds.values() if kind.last]
        self._kinds.clear()
        return found
