"""A set in which adding wins over removing at the same time elsewhere.

    slot:  | element as JSON | timestamp u64 BE | source 12 bytes |

Each add is a slot of its own; to remove an element is to delete the adds of it that were seen. So
an add that the remover had not seen stays (the observed-remove set of Shapiro et al. 2011). An
element is there while one add of it is.
"""

import json
from typing import Any

from scuttled.errors import DataError, RemoteProtocolError, UsageError
from scuttled.models.entries import SLOT_BYTES, fresh_slot
from scuttled.models.grouped import Groups
from scuttled.models.operations import operation, reading
from scuttled.models.payload import read_json
from scuttled.replica.change import CLEAR, JSON, OPTIONS, SLOT_BYTES_MAX, Slot

TAG_BYTES = SLOT_BYTES - 1
ELEMENT_BYTES_MAX = SLOT_BYTES_MAX - TAG_BYTES


def element_bytes(element: Any) -> bytes:
    """One form for each element. Raises UsageError, DataError."""
    try:
        text = json.dumps(element, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        data = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"an element that JSON can't say: {error}") from None
    if len(data) > ELEMENT_BYTES_MAX:
        raise DataError(f"element of {len(data)} bytes, at most {ELEMENT_BYTES_MAX}")
    return data


class Set(Groups):
    """A set of what JSON can say, in which adding wins over removing at the same time."""

    data_type = "set"
    strict = True

    def check_slot(self, slot: bytes) -> None:
        if len(slot) <= TAG_BYTES and slot not in (CLEAR, OPTIONS):
            raise RemoteProtocolError(f"an element without its add: {slot!r:.60}")

    def label(self, slot: Slot) -> bytes:
        """The element: text as it is, anything else as JSON."""
        element = _element(slot.slot)
        return element.encode() if isinstance(element, str) else slot.slot[:-TAG_BYTES]

    def value(self, slot: Slot) -> tuple[str, bytes]:
        return "json", slot.slot[:-TAG_BYTES]

    def group(self, slot: bytes) -> bytes:
        return slot[:-TAG_BYTES]

    def is_gone(self, slot: Slot) -> bool:
        return not self.filled(self.group(slot.slot))

    def to_json(self) -> list[Any]:
        """The elements."""
        return [_element(element + bytes(TAG_BYTES)) for element in self.groups()]

    @operation
    def add(self, element: Any) -> bool:
        """Have an element in the set; whether it is new."""
        data = element_bytes(element)
        seen = self.empty(data)
        now_ms = self.now_ms()
        self.fill(data + fresh_slot(self.author, now_ms)[1:], JSON, b"", now_ms)
        return not seen

    @operation
    def remove(self, element: Any) -> bool:
        """Remove an element; whether it was there."""
        return self.empty(element_bytes(element))

    @reading
    def has(self, element: Any) -> bool:
        """True if an element is there."""
        return bool(self.filled(element_bytes(element)))

    @reading
    def items(self) -> list[Any]:
        """All elements."""
        return self.to_json()

    @reading
    def size(self) -> int:
        """How many elements there are."""
        return len(self.groups())


def _element(slot: bytes) -> Any:
    try:
        return read_json(slot[:-TAG_BYTES])
    except (ValueError, RecursionError):
        return slot[:-TAG_BYTES].decode("utf-8", "backslashreplace")  # a peer's doing
