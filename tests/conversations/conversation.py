"""Conversation of two nodes, written down as it is said: one column for each.

Sources and node ids are shown as n1, n2 (a later life as n2.2), timestamps as milliseconds since
the conversation's beginning and a counter (@0.1), so that all of it can be read and compared.
"""

from collections.abc import Iterable
from textwrap import wrap
from typing import assert_never

from scenes import NOW, TICKS, WALL, Line, save

from scuttled.errors import RemoteProtocolError
from scuttled.node.membership import MEMBERS
from scuttled.node.node import Node
from scuttled.protocol.codec import encode
from scuttled.protocol.framing import Frames
from scuttled.protocol.messages import (
    Ask,
    Bye,
    ClockMessage,
    Code,
    Delta,
    ErrorMessage,
    FlowReport,
    Have,
    Hello,
    Message,
    Ping,
    Pong,
    Reset,
    Tell,
)
from scuttled.replica.change import DELETED, parse
from scuttled.replica.update import (
    NODE_ID_BYTES,
    STAMP_BYTES,
    Instant,
    Run,
    Source,
    Stamp,
    timestamp_of,
)

COLUMN = 52
GAP = "  "
VALUE_MAX = 12  # characters of a value that are shown
RECORDS_MAX = 4  # of a DELTA, at its beginning and at its end


class Conversation:
    """What two nodes say to each other, as it is said."""

    def __init__(self, one: Node, two: Node, now: Instant = NOW) -> None:
        self.nodes = (one, two)
        self.now = now
        self._lines = [_row("n1", "n2 (was dialled)"), _row("-" * COLUMN, "-" * COLUMN)]
        self.dial()

    def dial(self) -> None:
        """A new connection, whatever became of the one before."""
        self.line = Line(*self.nodes, now=self.now)
        self._frames = (Frames(), Frames())
        for frames in self._frames:
            frames.trust()

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._lines).rstrip() + "\n"

    def tell(self, words: str) -> None:
        """Something happens that is not said."""
        apart = [""] if self._lines[-1] else []
        self._lines += [*apart, *wrap(f"* {words}", 2 * COLUMN, subsequent_indent="  "), ""]

    def unheard(self) -> None:
        """Leave out what was said up to now."""
        del self._lines[2:]

    def at(self, mono_s: float, words: str) -> None:
        """So much time has passed since the beginning; timers are due."""
        self.now = Instant(mono_s, WALL + int(mono_s * 1000))
        self.tell(words)
        for link in self.line.links:
            link.tick(self.now)

    def says(self, end: int, *messages: Message | bytes) -> None:
        """As if that end had said so, which is played by hand."""
        for message in messages:
            data = message if isinstance(message, bytes) else encode(message)
            self._hear(end, data)

    def talk(self) -> None:
        """Until neither has anything to say; what is to be saved is saved at once."""
        while any([self.speak(0), self.speak(1)]):
            pass

    def speak(self, end: int) -> bool:
        """All that one end has to say by now; whether that was something."""
        save(self.nodes[end])
        self.line.draw(end, self.now)
        data = self.line.under_way[end]
        self.line.under_way[end] = b""
        if data:
            self._hear(end, data)
        return bool(data)

    def _hear(self, end: int, data: bytes) -> None:
        for message in self._frames[end].feed(data):
            words = wrap(_shown(message), COLUMN, subsequent_indent="  ", break_on_hyphens=False)
            self._lines += [_row("", line) if end else _row(line, "") for line in words]
        link = self.line.links[1 - end]
        try:
            link.receive(data, self.now)
        except RemoteProtocolError as error:
            link.close(Code.PROTOCOL, error.message)
        if link.ended is not None and not link.ended.by_peer:
            self.tell(f"n{2 - end} ends the link: {link.ended.code.name}")


def _row(left: str, right: str) -> str:
    return f"{left:{COLUMN}}{GAP}{right}"


# --- messages in words ---------------------------------------------------------------------------


def _shown(message: Message) -> str:
    match message:
        case Hello():
            return _hello(message)
        case ClockMessage():
            return _clock(message)
        case Delta(model, round_, runs, cursor, commit, hurry):
            said = f"DELTA {model} round {round_}: {_runs(model, runs)}cursor {cursor}"
            said += "" if commit is None else f", commit {_times(commit)}"
            return said + (", hurry" if hurry else "")
        case Reset(model, round_, runs, cursor, end):
            said = f"RESET {model} round {round_}: {_runs(model, runs)}cursor {cursor}"
            return said + (f", end: clock {_times(end[0])} floor {_times(end[1])}" if end else "")
        case Have(model, round_, times, cursor):
            return f"HAVE {model} round {round_}: cursor {cursor}, clock {_times(times)}"
        case Ping(_, _, clocks, flows):
            return f"PING{_hash(clocks)}{_flows(flows)}"
        case Pong(_, _, flows):
            return f"PONG{_flows(flows)}"
        case Ask(number, model, _, buckets):
            return f"ASK {number} {model}: {_buckets(buckets)}"
        case Tell(number, model, _, buckets, sums, rows):
            found = f"{len(sums)} sums" if sums else f"keys {_list(map(_key, rows))}"
            return f"TELL {number} {model}: {_buckets(buckets)}, {found}"
        case Bye(code, words):
            return f'BYE {_code(code)}: "{words}"'
        case ErrorMessage(code, words, model):
            return f'ERROR {_code(code)}{f" of {model}" if model else ""}: "{words}"'
        case _:
            assert_never(message)


def _hello(hello: Hello) -> str:
    said = f"HELLO {hello.name}, id {_node(hello.node_id)}, cluster {hello.cluster}"
    said += f", protocol {hello.oldest}-{hello.newest}, features {_list(hello.features)}"
    ahead_ms = hello.wall_ms - WALL
    return said + (f", at {ahead_ms} ms" if ahead_ms else "")


def _clock(clock: ClockMessage) -> str:
    said = f"CLOCK {clock.model} ({clock.data_type}) round {clock.round}: {_times(clock.times)}"
    if clock.floor:
        said += f", floor {_times(clock.floor)}"
    said += f", {_count(clock.members, 'member')}, {_count(clock.size, 'update')}"
    return said + (", again" if clock.again else "") + (", whole" if clock.whole else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _runs(model: str, runs: Iterable[Run]) -> str:
    records = [_record(model, who, record) for who, those in runs for record in those]
    if len(records) > 2 * RECORDS_MAX:
        left_out = len(records) - 2 * RECORDS_MAX
        records[RECORDS_MAX:-RECORDS_MAX] = [f"... {left_out} more ..."]
    return "".join(f"{record}, " for record in records)


def _record(model: str, who: Source, record: bytes) -> str:
    slot = parse(record, who)
    written = f"{_source(who)}{_time(timestamp_of(Stamp(record[:STAMP_BYTES])))}"
    key = _key(slot.slot)
    if slot.kind == DELETED:
        return f"{written} del {key}"
    if model == MEMBERS:  # what they hold has the version in it, and clocks of bytes
        return f"{written} row {key}"
    value = slot.payload.decode()
    if len(value) > VALUE_MAX:
        value = f"({len(value)} bytes)"
    return f"{written} {key}={value}"


def _key(slot: bytes) -> str:
    """A row of `_members` is named by its node's id in hex digits."""
    text = slot.decode()
    digits, separator, rest = text.partition("/")
    if len(digits) == 2 * NODE_ID_BYTES:
        return _node(bytes.fromhex(digits)) + separator + rest
    return text


def _node(node_id: bytes) -> str:
    same = len(set(node_id)) == 1
    return f"n{node_id[0]}" if same else node_id.hex()


def _source(source: Source) -> str:
    life = int.from_bytes(source[NODE_ID_BYTES:], "big")
    return _node(source[:NODE_ID_BYTES]) + ("" if life == 1 else f".{life}")


def _time(timestamp: int) -> str:
    return "@{}.{}".format(*divmod(timestamp - TICKS, 4096))


def _times(times: dict[Source, int]) -> str:
    return _list(f"{_source(source)}{_time(time)}" for source, time in sorted(times.items()))


def _list(words: Iterable[str]) -> str:
    return " ".join(["{", *words, "}"]).replace("{ ", "{").replace(" }", "}")


def _hash(clocks: bytes) -> str:
    return ", a hash over all clocks" if clocks else ""


def _flows(flows: dict[str, FlowReport]) -> str:
    return "".join(
        f", {data_type}: wants {report.rates.wanted:g}/s, may {report.rates.allowed:g}/s"
        + "".join(f", strait {_node(s.node_id)} {s.per_s:g}/s" for s in report.straits)
        for data_type, report in flows.items()
    )


def _buckets(buckets: list[int]) -> str:
    return f"buckets {_list(map(str, buckets))}" if buckets else "all buckets"


def _code(code: int) -> str:
    return f"{code} {Code(code).name}" if code in set(Code) else f"{code}"
