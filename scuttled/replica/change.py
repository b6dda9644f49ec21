"""The bytes of a change that fills a slot.

    change:  | kind u8 | slot length u16 BE | slot | expires_ms u64 BE | length u16 BE | origin |
                                                     only if kind & EXPIRES   only if kind & ORIGIN
             | payload | public key 32 bytes | signature 64 bytes |
                         only if kind & SIGNED

An origin tells who made a change that a bridge has taken in; what stands in it is the bridge's.

So with the timestamp in front a record tells its slot by its bytes 9 to 11, without decoding.
Slots whose name begins with NUL are the model's own: see slots.
"""

from typing import NamedTuple

from scuttled.errors import RemoteProtocolError
from scuttled.replica.update import STAMP_BYTES, Source, rev_text, timestamp_of

DELETED = 0
TEXT = 1
BYTES = 2
JSON = 3
OWN = 4  # a slot of the model's own, see above
EXPIRES = 0x80  # added to a kind: what it means is told above
ORIGIN = 0x40
SIGNED = 0x20
KIND_BITS = 0x1F  # of the byte, what is left for the kind
KINDS = {TEXT: "text", BYTES: "bytes", JSON: "json"}
KIND_NUMBERS = {name: number for number, name in KINDS.items()}

CLEAR = b"\x00clear"
OPTIONS = b"\x00options"

SLOT_BYTES_MAX = 4096

KIND_AT = STAMP_BYTES
LENGTH_AT = KIND_AT + 1
SLOT_AT = LENGTH_AT + 2
EXPIRY_BYTES = 8
SEAL_BYTES = 32 + 64


class Slot(NamedTuple):
    """Slot, and what fills it, as a reader sees it."""

    slot: bytes
    kind: int  # DELETED, TEXT, BYTES, JSON or OWN
    payload: bytes
    expires_ms: int  # 0: never
    timestamp: int
    source: Source
    origin: bytes = b""

    @property
    def rev(self) -> str:
        return rev_text(self.timestamp, self.source)

    def shown(self, wall_ms: int) -> bool:
        """Neither deleted, nor expired, nor the model's own."""
        return self.kind not in (DELETED, OWN) and not 0 < self.expires_ms <= wall_ms


def check_parts(record: bytes, end: int) -> None:
    """That what the kind promises behind the slot is there. Raises RemoteProtocolError."""
    bits = record[KIND_AT]
    if bits & EXPIRES:
        end += EXPIRY_BYTES
        if len(record) < end:
            raise RemoteProtocolError("an update that expires but does not say when")
    if bits & ORIGIN:
        end += 2 + int.from_bytes(record[end : end + 2], "big")
    if bits & SIGNED:
        end += SEAL_BYTES
    if len(record) < end:
        raise RemoteProtocolError(f"an update of {len(record)} bytes that has parts up to {end}")


def slot_of(record: bytes) -> bytes:
    return record[SLOT_AT : SLOT_AT + (record[LENGTH_AT] << 8 | record[LENGTH_AT + 1])]


def parse(record: bytes, source: Source) -> Slot:
    """Decode a record that was accepted."""
    kind = record[KIND_AT]
    end = SLOT_AT + (record[LENGTH_AT] << 8 | record[LENGTH_AT + 1])
    expires = 0
    origin = b""
    payload = end
    stop = None
    if kind > KIND_BITS:
        if kind & EXPIRES:
            payload = end + EXPIRY_BYTES
            expires = int.from_bytes(record[end:payload], "big")
        if kind & ORIGIN:
            begin = payload + 2
            payload = begin + int.from_bytes(record[payload:begin], "big")
            origin = record[begin:payload]
        if kind & SIGNED:
            stop = -SEAL_BYTES
        kind &= KIND_BITS
    timestamp = timestamp_of(record)
    return Slot(record[SLOT_AT:end], kind, record[payload:stop], expires, timestamp, source, origin)


def make_change(
    slot: bytes, kind: int, payload: bytes = b"", expires_ms: int = 0, origin: bytes = b""
) -> bytes:
    """The bytes of a change. Callers have checked the lengths of slot and origin."""
    head = len(slot).to_bytes(2, "big") + slot
    if expires_ms:
        kind |= EXPIRES
        head += expires_ms.to_bytes(EXPIRY_BYTES, "big")
    if origin:
        kind |= ORIGIN
        head += len(origin).to_bytes(2, "big") + origin
    return bytes((kind,)) + head + payload
