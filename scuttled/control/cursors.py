"""A watch's cursor: where a reader of arrival logs stands, in a form that outlives the daemon.

    9f3ac21b44d0e713.1.3610a686:default=12,tags~=7        a row's cursor: the log, and places in it
    ...@default:9f3ac21b44d0e713.1=7353215418224640;...   with a clock, as a cursor file has it

Places are good where the numbers were given, for as long as the source lives: what makes a node
doubt its own source (I5) makes it doubt its numbers. For everywhere else there is the clock: all
that it covers was told, so what is told there is what it does not cover. `~` says that a watch
that came with a clock is still on its way through the log: what the clock covers is passed over.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from zlib import crc32

from scuttled.errors import UsageError

EXPIRED = "expired"  # in a clock, beside its sources: keys whose time was over by then were told
CLOCK_ENTRIES_MAX = 60_000  # in a request, which has to fit in a frame
_NUMBER_MAX = 2**63
_LOG = re.compile(
    r"[0-9a-f]{16}(\.[0-9]{1,10})?(\.[0-9a-f]{8})?"
)  # the first alone: by an older daemon

Clocks = dict[str, dict[str, int]]  # of each model, by the text of the source


class LogPosition(NamedTuple):
    """In the log of one model."""

    position: int
    with_clock: bool = False  # what the clock covers is to be passed over from here on


class Cursor(NamedTuple):
    """A row's cursor, read."""

    log: str
    places: dict[str, LogPosition]

    @property
    def node(self) -> str:
        """The id of the node that gave it."""
        return self.log.partition(".")[0]

    @property
    def cluster(self) -> str:
        """The mark of its cluster; "" in one that an older daemon gave."""
        return self.log.rpartition(".")[2] if "." in self.log else ""


def log_name(owner: str, cluster: str) -> str:
    """The name for the numbers of one node's logs. `owner`: its source, or its one run."""
    return f"{owner}.{crc32(cluster.encode('utf-8', 'surrogateescape')):08x}"


def cursor_text(
    log: str, places: Mapping[str, int], with_clock: Mapping[str, object] | None = None
) -> str:
    """A row's cursor. Made for each row, so it has to be cheap."""
    if with_clock:
        pairs = [f"{n}~={at}" if n in with_clock else f"{n}={at}" for n, at in places.items()]
    else:
        pairs = [f"{name}={at}" for name, at in places.items()]
    return f"{log}:{','.join(pairs)}"


def read_cursor(text: str) -> Cursor:
    """The cursor in such a text. Raises UsageError."""
    log, colon, places = text.partition("@")[0].partition(":")
    if not (colon and _LOG.fullmatch(log)):
        raise _no_cursor(text)
    found: dict[str, LogPosition] = {}
    for part in places.split(",") if places else ():
        name, _, number = part.partition("=")
        found[name.removesuffix("~")] = LogPosition(_number(number, text), name.endswith("~"))
    return Cursor(log, found)


def split_cursor(text: str) -> tuple[str, Clocks]:
    """A row's cursor, and the clock behind it if there is one. Raises UsageError."""
    cursor, at, behind = text.partition("@")
    clocks: Clocks = {}
    for part in behind.split(";") if at else ():
        model, colon, times = part.partition(":")
        if not colon or model in clocks:
            raise _no_cursor(text)
        clocks[model] = {}
        for pair in times.split(",") if times else ():
            source, _, time = pair.partition("=")
            clocks[model][source] = _number(time, text)
    return cursor, clocks


def clocks_text(clocks: Clocks) -> str:
    """The part behind the @."""
    parts = []
    for model, times in clocks.items():
        pairs = ",".join([f"{source}={time}" for source, time in times.items()])
        parts.append(f"{model}:{pairs}")
    return ";".join(parts)


def merge_clocks(clocks: Clocks, news: Clocks) -> None:
    """Into `clocks` what a part of a stream says of how they rose: the later times count.

    A node that is behind the one before says less than is known already.
    """
    for model, times in news.items():
        known = clocks.setdefault(model, {})
        for source, time in times.items():
            known[source] = max(time, known.get(source, 0))


def check_clocks(given: object) -> Clocks:
    """A clock as a client gives it back. Raises UsageError."""
    if not isinstance(given, dict):
        raise UsageError(f"clock {given!r:.60}, expected a map of maps")
    count = 0
    for model, times in given.items():
        if not isinstance(model, str) or not isinstance(times, dict):
            raise UsageError(f"clock {given!r:.60}, expected a map of maps")
        for source, time in times.items():
            if not isinstance(source, str) or type(time) is not int or not 0 <= time < _NUMBER_MAX:
                raise UsageError(
                    f"clock with {source!r:.60}: {time!r:.60}, expected a source and a time"
                )
        count += len(times)
    if count > CLOCK_ENTRIES_MAX:
        raise UsageError(f"clock of {count} sources, at most {CLOCK_ENTRIES_MAX}")
    return given


def _number(text: str, cursor: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _NUMBER_MAX):
        raise _no_cursor(cursor)
    return int(text)


def _no_cursor(text: str) -> UsageError:
    return UsageError(f"cursor {text[:80]!r} is not one that a watch gave")
