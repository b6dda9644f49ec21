"""Messages as bytes between nodes.

    body of a frame:  | msgpack [type, ...] |

Everything that comes in is checked here, so that the rooms above handle only messages of the
right shape. Records inside a DELTA stay the byte strings they are.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any, assert_never

import msgpack

from scuttled.errors import RemoteProtocolError
from scuttled.length_prefixed import HEADER_BYTES
from scuttled.printable import has_control, one_line
from scuttled.protocol.flow_codec import flow_fields, read_flows
from scuttled.protocol.messages import (
    Ask,
    Bye,
    ClockMessage,
    Delta,
    ErrorMessage,
    Have,
    Hello,
    Message,
    Ping,
    Pong,
    Reset,
    Tell,
)
from scuttled.replica.fingerprint import BUCKETS
from scuttled.replica.update import (
    NODE_ID_BYTES,
    RECORD_BYTES_MAX,
    STAMP_BYTES,
    TIMESTAMP_MAX,
    NodeId,
    Run,
    Source,
    checked_source,
)

FRAME_BYTES_MAX = 1 << 20
HELLO_BYTES_MAX = 4096  # until we know whom we talk to
META_MAX = 2000  # characters of what an application says in its HELLO
LABEL_MAX = 255  # characters of a name, an address, a version
WORDS_MAX = 500  # characters of a peer's text that we keep
FEATURES_MAX = 64  # that one HELLO names

HELLO, CLOCK, DELTA, HAVE, PING, PONG, BYE, ERROR, RESET, ASK, TELL = range(1, 12)

_pack = msgpack.Packer(autoreset=True).pack


def encode(message: Message) -> bytes:
    body: bytes = _pack(_fields(message))
    assert len(body) <= FRAME_BYTES_MAX, f"made a frame of {len(body)} bytes"
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def _fields(message: Message) -> list[Any]:
    match message:
        case Delta(model, round_, runs, cursor, commit, hurry):
            return [DELTA, model, round_, list(chain.from_iterable(runs)), cursor, commit, hurry]
        case Reset(model, round_, runs, cursor, end):
            return [RESET, model, round_, list(chain.from_iterable(runs)), cursor, end]
        case Have(model, round_, times, cursor):
            return [HAVE, model, round_, times, cursor]
        case Ping(sent, wall, clocks, flows):
            return [PING, sent, wall, clocks, *flow_fields(flows)]
        case Pong(sent, wall, flows):
            return [PONG, sent, wall, *flow_fields(flows)]
        case ClockMessage() as m:
            return [
                CLOCK, m.model, m.data_type, m.times, m.floor, m.round, m.members, m.size,
                m.again, m.whole,
            ]  # fmt: skip
        case Ask(number, model, at_ms, buckets):
            return [ASK, number, model, at_ms, buckets]
        case Tell(number, model, clock, buckets, sums, rows):
            return [TELL, number, model, clock, buckets, sums, rows]
        case Bye(code, words):
            return [BYE, code, words]
        case ErrorMessage(code, words, model):
            return [ERROR, code, words, model]
        case Hello() as m:
            return [
                HELLO, m.oldest, m.newest, m.cluster, m.node_id, m.incarnation, m.name, m.address,
                m.version, m.wall_ms, list(m.features), m.began_ms, m.meta,
            ]  # fmt: skip
        case _:
            assert_never(message)


def decode(body: bytes) -> Message:
    """One message. Raises RemoteProtocolError, naming what was seen."""
    try:
        fields = msgpack.unpackb(body, strict_map_key=False)
    except (ValueError, TypeError) as error:  # TypeError: a map with a map for a key
        raise RemoteProtocolError(f"a frame that is not msgpack: {error}") from error
    try:
        return _read(fields)
    except RecursionError:  # no message is nested like that; to show it fails
        raise RemoteProtocolError("a frame that is nested too deep to be a message") from None


def _read(fields: Any) -> Message:
    if not isinstance(fields, list) or not fields or not isinstance(fields[0], int):
        raise RemoteProtocolError(f"a frame that is not [type, ...]: {fields!r:.60}")
    reader = _READERS.get(fields[0])
    if reader is None:
        raise RemoteProtocolError(f"a message of the unknown type {fields[0]}")
    try:
        return reader(*fields[1:])
    except TypeError as error:
        raise RemoteProtocolError(
            f"{reader.__name__.removeprefix('_read_')}: {len(fields) - 1} fields: {error}"
        ) from error


def _text(value: object, what: str, most: int = LABEL_MAX) -> str:
    """A name of something. None of ours holds what a terminal would obey."""
    if not isinstance(value, str) or len(value) > most:
        raise RemoteProtocolError(
            f"{what} {value!r:.60}, expected text of at most {most} characters"
        )
    if has_control(value):
        raise RemoteProtocolError(f"{what} {value!r:.60}, expected text without control characters")
    return value


def _words(value: object) -> str:
    """A sentence for people. It may quote anything, and why a link ended is not to be lost: what
    can't be shown is escaped, not refused.
    """
    if not isinstance(value, str) or len(value) > WORDS_MAX:
        raise RemoteProtocolError(
            f"words {value!r:.60}, expected text of at most {WORDS_MAX} characters"
        )
    return one_line(value)


def _number(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= TIMESTAMP_MAX:
        raise RemoteProtocolError(f"{what} {value!r:.60}, expected a whole number from 0")
    return value


def _bytes(value: object, what: str, sizes: tuple[int, ...]) -> bytes:
    if not isinstance(value, bytes) or len(value) not in sizes:
        raise RemoteProtocolError(f"{what} {value!r:.60}, expected {sizes[-1]} bytes")
    return value


def _times(value: object) -> dict[Source, int]:
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"a clock that is a {type(value).__name__}, not a map")
    return {checked_source(key): _number(time, "timestamp") for key, time in value.items()}


def _read_hello(
    oldest: object, newest: object, cluster: object, node_id: object, incarnation: object,
    name: object, address: object, version: object, wall_ms: object, features: object,
    began_ms: object, meta: object = "", *_later: object,
) -> Hello:  # fmt: skip
    """Later versions may add fields at the end: HELLO must be readable to say "too new"."""
    if not isinstance(features, list) or len(features) > FEATURES_MAX:
        raise RemoteProtocolError(f"features {features!r:.60}, expected a list of {FEATURES_MAX}")
    return Hello(
        _number(oldest, "version"),
        _number(newest, "version"),
        _text(cluster, "cluster"),
        NodeId(_bytes(node_id, "node id", (NODE_ID_BYTES,))),
        _bytes(incarnation, "incarnation", (8,)),
        _text(name, "name"),
        _text(address, "address"),
        _text(version, "version"),
        _number(wall_ms, "time"),
        tuple(_text(feature, "feature") for feature in features),
        _number(began_ms, "time"),
        meta if isinstance(meta, str) and len(meta) <= META_MAX else "",  # or a later version's
    )


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise RemoteProtocolError(f"{what} {value!r:.60}, expected true or false")
    return value


def _read_clock(
    model: object, data_type: object, times: object, floor: object, round_: object,
    members: object, size: object, again: object, whole: object,
) -> ClockMessage:  # fmt: skip
    return ClockMessage(
        _text(model, "model"),
        _text(data_type, "data type"),
        _times(times),
        _times(floor),
        _number(round_, "round"),
        _number(members, "count of members"),
        _number(size, "count of updates"),
        _flag(again, "again"),
        _flag(whole, "whole"),
    )


def _read_delta(
    model: object, round_: object, runs: object, cursor: object, commit: object, hurry: object
) -> Delta:
    return Delta(
        _text(model, "model"),
        _number(round_, "round"),
        _runs(runs),
        _number(cursor, "cursor"),
        None if commit is None else _times(commit),
        _flag(hurry, "hurry"),
    )


def _read_reset(model: object, round_: object, runs: object, cursor: object, end: object) -> Reset:
    if end is not None and (not isinstance(end, list) or len(end) != 2):
        raise RemoteProtocolError(f"the end of a RESET {end!r:.60}, expected clock and floor")
    return Reset(
        _text(model, "model"),
        _number(round_, "round"),
        _runs(runs),
        _number(cursor, "cursor"),
        None if end is None else (_times(end[0]), _times(end[1])),
    )


def _runs(value: object) -> list[Run]:
    if not isinstance(value, list) or len(value) % 2:
        raise RemoteProtocolError("updates that are not pairs of source and records")
    sources = value[::2]
    records = value[1::2]
    return [(checked_source(s), _records(r)) for s, r in zip(sources, records, strict=True)]


def _records(value: object) -> list[bytes]:
    """The records of a run; what can be checked for a whole run at a time."""
    if not isinstance(value, list) or not set(map(type, value)) <= {bytes}:
        raise RemoteProtocolError("a run of updates that are not all byte strings")
    sizes = list(map(len, value))
    least = min(sizes, default=STAMP_BYTES + 1)
    most = max(sizes, default=0)
    if least <= STAMP_BYTES:
        raise RemoteProtocolError(f"an update of {least} bytes, shorter than its stamp")
    if most > RECORD_BYTES_MAX:
        raise RemoteProtocolError(f"an update of {most} bytes, at most {RECORD_BYTES_MAX}")
    if max(value, default=b"")[:1] > b"\x7f":
        raise RemoteProtocolError("an update stamped beyond all time")
    return value


def _read_have(model: object, round_: object, times: object, cursor: object) -> Have:
    return Have(
        _text(model, "model"), _number(round_, "round"), _times(times), _number(cursor, "cursor")
    )


def _read_ping(sent: object, wall: object, clocks: object, flows: object = None) -> Ping:
    hashed = _bytes(clocks, "hash", (0, 8))
    return Ping(_number(sent, "time"), _number(wall, "time"), hashed, read_flows(flows))


def _read_pong(sent: object, wall: object, flows: object = None) -> Pong:
    return Pong(_number(sent, "time"), _number(wall, "time"), read_flows(flows))


def _read_ask(number: object, model: object, at_ms: object, buckets: object) -> Ask:
    return Ask(
        _number(number, "number"), _text(model, "model"), _number(at_ms, "time"), _buckets(buckets)
    )


def _read_tell(
    number: object, model: object, clock: object, buckets: object, sums: object, rows: object
) -> Tell:
    if not isinstance(sums, list) or len(sums) not in (0, BUCKETS) or not all(map(_is_hash, sums)):
        raise RemoteProtocolError(f"sums {sums!r:.60}, expected {BUCKETS} of 64 bits")
    if not isinstance(rows, dict):
        raise RemoteProtocolError(f"rows that are a {type(rows).__name__}, not a map")
    for slot, value in rows.items():
        if not isinstance(slot, bytes) or not _is_hash(value):
            raise RemoteProtocolError(f"a row {slot!r:.60}: {value!r:.60}, expected key and hash")
    return Tell(
        _number(number, "number"),
        _text(model, "model"),
        _bytes(clock, "hash", (8,)),
        _buckets(buckets),
        sums,
        rows,
    )


def _is_hash(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**64


def _buckets(value: object) -> list[int]:
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < BUCKETS for n in value):
        raise RemoteProtocolError(f"buckets {value!r:.60}, expected numbers below {BUCKETS}")
    return value


def _read_bye(code: object, words: object) -> Bye:
    return Bye(_number(code, "code"), _words(words))


def _read_error(code: object, words: object, model: object) -> ErrorMessage:
    return ErrorMessage(_number(code, "code"), _words(words), _text(model, "model"))


_READERS: dict[int, Callable[..., Message]] = {
    HELLO: _read_hello,
    CLOCK: _read_clock,
    DELTA: _read_delta,
    HAVE: _read_have,
    PING: _read_ping,
    PONG: _read_pong,
    BYE: _read_bye,
    ERROR: _read_error,
    RESET: _read_reset,
    ASK: _read_ask,
    TELL: _read_tell,
}
