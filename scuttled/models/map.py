"""Keys and values, last writer wins: the data type of `scuttled set` and `get`.

A slot is a key. A value is text, bytes or JSON, kept as the exact bytes that `get` writes out.
"""

from typing import Any

from scuttled.core.changes import DELETED, SLOT_BYTES_MAX, Slot
from scuttled.core.slots import OPTION_MS_MAX, Slots
from scuttled.core.update import Update
from scuttled.errors import DataError, RemoteProtocolError, UsageError
from scuttled.models.operations import operation, reading
from scuttled.models.values import pack, plain_value

KEY_BYTES_MAX = SLOT_BYTES_MAX
TTL_MS_MAX = OPTION_MS_MAX


def key_slot(key: object) -> bytes:
    """The slot of a key. Raises DataError, naming what was seen and what is allowed."""
    if not isinstance(key, str):
        raise UsageError(f"a key that is a {type(key).__name__}, not text")
    try:
        slot = key.encode()
    except UnicodeEncodeError:
        raise DataError(f"key {key!r:.80} is not UTF-8") from None
    if not 1 <= len(slot) <= KEY_BYTES_MAX:
        raise DataError(f"key of {len(slot)} bytes, allowed are 1 to {KEY_BYTES_MAX}")
    if slot[0] == 0:
        raise DataError(f"key {key!r:.80} begins with NUL, which is reserved")
    return slot


class Map(Slots):
    data_type = "map"
    settings = ("ttl_ms",)

    def put(self, key: str, kind: int, value: bytes, wall_ms: int, ttl_ms: int = 0) -> Update:
        """Set a key; with a TTL, its own or the model's, it is gone by itself after that."""
        ttl_ms = ttl_ms or self.ttl_ms
        return self.fill(key_slot(key), kind, value, wall_ms, wall_ms + ttl_ms if ttl_ms else 0)

    def discard(self, key: str, wall_ms: int) -> Update | None:
        """Delete a key by a tombstone; None if there was none to delete."""
        slot = key_slot(key)
        if self.live(slot, wall_ms) is None:
            return None
        return self.fill(slot, DELETED, b"", wall_ms)

    def check_slot(self, slot: bytes) -> None:
        if not slot:
            raise RemoteProtocolError("an update of the empty key")
        super().check_slot(slot)

    def find_label(self, label: bytes) -> Slot | None:
        return self.live(label, self.now_ms())

    def find(self, key: str, wall_ms: int) -> Slot | None:
        return self.live(key_slot(key), wall_ms)

    @property
    def ttl_ms(self) -> int:
        """The TTL of keys that are set without one; 0: none."""
        return self.option_ms("ttl_ms")

    def to_json(self) -> dict[str, Any]:
        """Keys and values."""
        return {self.label(slot).decode(): plain_value(slot) for slot in self.shown()}

    # --- by name: `scuttled call` ---

    @reading
    def get(self, key: str) -> Any:
        """The value of a key, null if there is none."""
        found = self.find(key, self.now_ms())
        return None if found is None else plain_value(found)

    @operation
    def set(self, key: str, value: Any) -> str:
        """Set a key; the revision."""
        kind, data = pack(value)
        update = self.put(key, kind, data, self.now_ms())
        return Slot(b"", kind, b"", 0, update.timestamp, update.source).rev

    @operation
    def delete(self, key: str) -> bool:
        """Delete a key; whether it was there."""
        return self.discard(key, self.now_ms()) is not None

    @reading
    def has(self, key: str) -> bool:
        """Whether a key is there."""
        return self.find(key, self.now_ms()) is not None

    @reading
    def size(self) -> int:
        """How many keys there are."""
        return self.keys
