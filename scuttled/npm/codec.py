"""The wire of npm scuttlebutt (stream-serializer 1.1.2): one JSON text a line.

    header   {"id":"A","clock":{"A":1795401318666.002},"meta":...}
    update   [change, timestamp, source], with security [change, timestamp, source, signature]
    "SYNC"   the end of the history

Split at 0x0A only, since U+2028 stands raw in a text; decoded by whole lines, since a character
may come in two pieces (npm decodes the pieces). What npm would die of ends one connection here.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from scuttled.errors import RemoteProtocolError
from scuttled.npm.hazards import nesting
from scuttled.printable import has_control
from scuttled.replica.update import TICKS_PER_MS, TIMESTAMP_MAX

LINE_BYTES_MAX = 1 << 20  # of a line that is read, and so of one that is said: npm echoes it
TOO_LONG = f"a line of more than {LINE_BYTES_MAX} bytes"
ID_CHARS_MAX = 256
SOURCES_MAX = 20_000  # that are remembered of one conversation
SYNC = b'"SYNC"\n'


class LeftOut(NamedTuple):
    """A line that was not read, though it may well be npm's; why."""

    why: str


class LineDecoder:
    """Takes bytes as they come, gives messages. Raises RemoteProtocolError at the first bad one.

    A line that is only too much for us is left out. It must not end the conversation, since it
    would come again at every redial, and nothing behind it ever would.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._dropping = False  # the beginning of this line was too long already

    def feed(self, data: bytes) -> Iterator[Any]:
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        for line in lines:
            dropped = self._dropping
            self._dropping = False
            if not dropped:
                yield _read_or_leave_out(bytes(line))
        if len(self._rest) > LINE_BYTES_MAX:
            if not self._dropping:
                yield LeftOut(TOO_LONG)
            self._dropping = True
        if self._dropping:
            self._rest.clear()


def _read_or_leave_out(line: bytes) -> Any:
    if len(line) > LINE_BYTES_MAX:
        return LeftOut(TOO_LONG)
    try:
        return json.loads(line.decode(), parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        _, still_open = nesting(line)
        if not still_open:  # JavaScript has no such limit
            return LeftOut("a line that is nested too deep")
        raise RemoteProtocolError(f"a line that is nested too deep: {_shown(line)}") from None
    except ValueError:
        raise RemoteProtocolError(f"a line that is no JSON: {_shown(line)}") from None


def read_line(line: bytes) -> Any:
    """Message of a line. Raises RemoteProtocolError."""
    message = _read_or_leave_out(line)
    if isinstance(message, LeftOut):
        raise RemoteProtocolError(message.why)
    return message


def _shown(line: bytes) -> str:
    return repr(line[:60].decode("utf-8", "backslashreplace"))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    """JavaScript can't have sent what is out of its numbers' range: it would have sent null."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is out of range")
    return number


def write_line(message: Any) -> bytes:
    """As JSON.stringify has it: no blanks, nothing escaped that need not be.

    Raises ValueError, RecursionError: a number that is none, or nested too deep.
    """
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say in ASCII only
        return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def is_id(value: object) -> bool:
    """True if npm would take it for the name of a source; ours are bounded, and command no
    terminal.
    """
    named = isinstance(value, str) and 0 < len(value) <= ID_CHARS_MAX and value != "__proto__"
    return named and not has_control(str(value))


def ticks_of(value: object) -> int | None:
    """npm's milliseconds in ticks; None for what is no time, or finer than a tick.

    A double of our days has steps of 1/4096 ms, which is a tick: nothing is lost.
    """
    if type(value) not in (int, float) or not 0 < value <= TIMESTAMP_MAX:  # type: ignore[operator]
        return None
    ticks = value * TICKS_PER_MS  # type: ignore[operator]
    return int(ticks) if ticks <= TIMESTAMP_MAX and ticks == int(ticks) else None


def time_of(ticks: int) -> int | float:
    """Ticks as npm writes them: a whole number has no point."""
    whole, rest = divmod(ticks, TICKS_PER_MS)
    return ticks / TICKS_PER_MS if rest else whole


def read_clock(header: dict[str, Any]) -> dict[str, int]:
    """The times in a header, in ticks. Raises RemoteProtocolError if there is no clock.

    A single time that makes no sense says nothing; npm would let it silence its source.
    """
    clock = header.get("clock")
    if not isinstance(clock, dict) or not is_id(header.get("id")):
        raise RemoteProtocolError("a header without id or clock")
    times = {source: ticks_of(time) for source, time in clock.items() if is_id(source)}
    return {source: ticks for source, ticks in times.items() if ticks is not None}
