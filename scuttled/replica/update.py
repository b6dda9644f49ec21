"""One immutable change by one source, and the bytes in which it lives everywhere.

    record:  | timestamp u64 BE | change, known only to the data type |
    source:  | node id 8 bytes | life u32 BE |

A record is the same bytes in memory, in the database and on the wire. The timestamp stands first
and big-endian, so comparing the first eight bytes of two records compares their times, and
`max(records)` finds the newest of a batch.

The source is not in the record: updates travel in runs of one source, and the log holds a
reference to one shared object.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, NewType

from scuttled.errors import RemoteProtocolError

NodeId = NewType("NodeId", bytes)
Source = NewType("Source", bytes)
Stamp = NewType("Stamp", bytes)  # a timestamp as the eight bytes that begin a record
Run = tuple[Source, Sequence[bytes]]  # records of one source

TICKS_PER_MS = 4096  # 12 bits of counter below the millisecond (I1)
STAMP_BYTES = 8
NODE_ID_BYTES = 8
SOURCE_BYTES = NODE_ID_BYTES + 4
TIMESTAMP_MAX = 2**63 - 1
SOURCE_TEXTS_MAX = 1024  # kept, of sources that are told of: each row of a watch names one
RECORD_BYTES_MAX = 768 << 10  # below a frame's maximum, above that of a key and a value
CHANGE_BYTES_MAX = RECORD_BYTES_MAX - 128  # a stamp and a signature come to it


class Instant(NamedTuple):
    """Instant of time, handed in by whoever has a clock."""

    mono_s: float  # rises steadily; for intervals
    wall_ms: int  # since the epoch; may jump either way


class Update(NamedTuple):
    """A change, when and by whom. `(timestamp, source)` is its rank (I2)."""

    change: bytes
    timestamp: int  # ticks of 1/4096 ms since the epoch
    source: Source

    @property
    def node(self) -> str:
        """The id of the node that wrote it, as a model's `id` is written."""
        return node_of(self.source).hex()

    @property
    def record(self) -> bytes:
        """The update as it lies in memory, on disk and in a frame, but for its source."""
        return stamp(self.timestamp) + self.change

    @classmethod
    def of(cls, record: bytes, source: Source) -> "Update":
        """The update that a record is."""
        return cls(record[STAMP_BYTES:], timestamp_of(record), source)


def stamp(timestamp: int) -> Stamp:
    return Stamp(timestamp.to_bytes(STAMP_BYTES, "big"))


def timestamp_of(record: bytes) -> int:
    return int.from_bytes(record[:STAMP_BYTES], "big")


def outranks(record: bytes, source: Source, other: bytes, other_source: Source) -> bool:
    """True if the first update beats the second: later, or as late and of the greater source (I2).

    npm's model lets the last arrival win a tie, so its replicas differ for ever. One rank with two
    changes should not be; where damage makes it so, the greater bytes win, everywhere the same.
    """
    mine = record[:STAMP_BYTES]
    theirs = other[:STAMP_BYTES]
    if mine != theirs:
        return mine > theirs
    return source > other_source or (source == other_source and record > other)


def make_source(node_id: NodeId, life: int) -> Source:
    return Source(node_id + life.to_bytes(4, "big"))


def node_of(source: Source) -> NodeId:
    return NodeId(source[:NODE_ID_BYTES])


def life_of(source: Source) -> int:
    return int.from_bytes(source[NODE_ID_BYTES:], "big")


def checked_source(value: object) -> Source:
    """A source as a peer gave it. Raises RemoteProtocolError."""
    if not isinstance(value, bytes) or len(value) != SOURCE_BYTES:
        raise RemoteProtocolError(f"source {value!r:.60}, expected {SOURCE_BYTES} bytes")
    return Source(value)


@lru_cache(SOURCE_TEXTS_MAX)
def source_text(source: Source) -> str:
    """`9f3ac21b44d0e713.1`: the node's id and its life."""
    return f"{source[:NODE_ID_BYTES].hex()}.{life_of(source)}"


def rev_text(timestamp: int, source: Source) -> str:
    """The name of one update, for good and on every node."""
    return f"{timestamp}.{source_text(source)}"


def parse_source(text: str) -> Source | None:
    """The opposite of `source_text`; None if it is not one."""
    node, _, life = text.partition(".")
    try:
        node_id = bytes.fromhex(node)
        source = make_source(NodeId(node_id), int(life))
    except (ValueError, OverflowError):
        return None
    return source if len(node_id) == NODE_ID_BYTES and source_text(source) == text else None
