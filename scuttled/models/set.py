"""A set in which adding wins over removing at the same time elsewhere.

    slot:  | element as JSON | timestamp u64 BE | source 12 bytes |

Each add is a slot of its own; to remove an element is to delete the adds of it that were seen. So
an add that the remover had not seen stays (the observed-remove set of Shapiro et al. 2011). An
element is there while one add of it is.
"""

import json
from typing import Any

from scuttled.core.changes import CLEAR, DELETED, JSON, OPTIONS, SLOT_BYTES_MAX, Slot, parse
from scuttled.core.hlc import Author
from scuttled.core.log import ArrivalLog
from scuttled.core.slots import Slots
from scuttled.errors import DataError, RemoteProtocolError, UsageError
from scuttled.models.entries import SLOT_BYTES, fresh_slot
from scuttled.models.operations import operation, reading

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


class Set(Slots):
    data_type = "set"
    strict = True

    def __init__(self, name: str = "default", author: Author | None = None) -> None:
        super().__init__(name, author)
        self._adds: dict[bytes, set[bytes]] = {}  # of each element, the slots that may be filled
        self._read: tuple[ArrivalLog, int] = (self.log, 0)  # how far the index follows the log

    def check_slot(self, slot: bytes) -> None:
        if len(slot) <= TAG_BYTES and slot not in (CLEAR, OPTIONS):
            raise RemoteProtocolError(f"an element without its add: {slot!r:.60}")

    def label(self, slot: Slot) -> bytes:
        """The element: text as it is, anything else as JSON."""
        element = _element(slot.slot)
        return element.encode() if isinstance(element, str) else slot.slot[:-TAG_BYTES]

    def value(self, slot: Slot) -> tuple[str, bytes]:
        return "json", slot.slot[:-TAG_BYTES]

    def is_gone(self, slot: Slot) -> bool:
        return not self._filled(slot.slot[:-TAG_BYTES])

    @property
    def elements(self) -> list[bytes]:
        """All that are there, sorted by their bytes."""
        self._follow()
        return sorted(element for element in list(self._adds) if self._filled(element))

    def to_json(self) -> list[Any]:
        """The elements."""
        return [_element(element + bytes(TAG_BYTES)) for element in self.elements]

    def _follow(self) -> None:
        """Bring the index up to the end of the log."""
        log, cursor = self._read
        if log is not self.log:  # a RESET
            log, cursor = self.log, 0
            self._adds.clear()
        while cursor < log.end:
            piece = log.piece(cursor, log.end)
            cursor = piece.next
            for record, source in zip(piece.records, piece.sources, strict=True):
                if record is not None and (slot := parse(record, source)).kind == JSON:
                    self._adds.setdefault(slot.slot[:-TAG_BYTES], set()).add(slot.slot)
        self._read = log, cursor

    def _filled(self, element: bytes) -> list[bytes]:
        """The adds of an element that are not removed."""
        self._follow()
        slots, now_ms = self._adds.get(element, set()), self.now_ms()
        filled = [slot for slot in slots if self.live(slot, now_ms) is not None]
        if filled:
            self._adds[element] = set(filled)
        else:
            self._adds.pop(element, None)
        return sorted(filled)

    @operation
    def add(self, element: Any) -> bool:
        """Have an element in the set; whether it is new."""
        data, now_ms = element_bytes(element), self.now_ms()
        seen = self._filled(data)
        for slot in seen:
            self.fill(slot, DELETED, b"", now_ms)
        self.fill(data + fresh_slot(self.author, now_ms)[1:], JSON, b"", now_ms)
        return not seen

    @operation
    def remove(self, element: Any) -> bool:
        """Remove an element; whether it was there."""
        seen = self._filled(element_bytes(element))
        for slot in seen:
            self.fill(slot, DELETED, b"", self.now_ms())
        return bool(seen)

    @reading
    def has(self, element: Any) -> bool:
        """Whether an element is there."""
        return bool(self._filled(element_bytes(element)))

    @reading
    def items(self) -> list[Any]:
        """All elements."""
        return self.to_json()

    @reading
    def size(self) -> int:
        """How many elements there are."""
        return len(self.elements)


def _element(slot: bytes) -> Any:
    try:
        return json.loads(slot[:-TAG_BYTES])
    except (ValueError, RecursionError):
        return slot[:-TAG_BYTES].decode("utf-8", "backslashreplace")  # a peer's doing
