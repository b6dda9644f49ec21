"""Entries of logs and events: each has a place of its own, in order of rank.

    slot:  | "." | timestamp u64 BE | source 12 bytes |       as the entry was made

The point is there since slots that begin with NUL are the model's own. So the order of slots is
the order of ranks, and an entry is named for good.
"""

from typing import ClassVar

from scuttled.errors import DataError, RemoteProtocolError
from scuttled.replica.change import CLEAR, DELETED, OPTIONS, Slot
from scuttled.replica.hlc import Author
from scuttled.replica.slots import Slots
from scuttled.replica.update import (
    SOURCE_BYTES,
    STAMP_BYTES,
    TICKS_PER_MS,
    Source,
    stamp,
    timestamp_of,
)

MARK = b"."
SLOT_BYTES = len(MARK) + STAMP_BYTES + SOURCE_BYTES


def entry_slot(time: int, source: Source) -> bytes:
    """Of the entry that was made then, by that source."""
    return MARK + stamp(time) + source


def made_at(slot: Slot) -> int:
    """Time at which an entry was made, by its name."""
    return timestamp_of(slot.slot[len(MARK) :])


def made_by(slot: Slot) -> Source:
    """Source that made it."""
    return Source(slot.slot[len(MARK) + STAMP_BYTES :])


def fresh_slot(author: Author, now_ms: int) -> bytes:
    """A name that nobody has given yet, for what its author writes next: of that very time."""
    return entry_slot(max(author.hlc.last + 1, now_ms * TICKS_PER_MS), author.source)


class Entries(Slots):
    """The base of models that only grow, but for what is removed or has been kept long enough."""

    strict = True
    settings: ClassVar[tuple[str, ...]] = ("keep_ms",)

    def check_slot(self, slot: bytes) -> None:
        odd = len(slot) != SLOT_BYTES or not slot.startswith(MARK)
        if odd and slot not in (CLEAR, OPTIONS):
            raise RemoteProtocolError(
                f"an entry named {slot.hex():.60}, expected {SLOT_BYTES} bytes"
            )

    def shown(self) -> list[Slot]:
        """The oldest first. What was made in a future that was taken back is as old as its
        update, which was issued anew in order."""
        return sorted(super().shown(), key=lambda slot: (min(made_at(slot), slot.timestamp), slot))

    def enter(self, kind: int, payload: bytes) -> str:
        """Write one; its name. It goes by itself when it was kept as long as the model says."""
        now_ms = self.now_ms()
        keep_ms = self.option_ms("keep_ms")
        slot = fresh_slot(self.author, now_ms)
        self.fill(slot, kind, payload, now_ms, now_ms + keep_ms if keep_ms else 0)
        return entry_name(slot)

    def take_out(self, name: str) -> bool:
        """Remove the entry of that name everywhere; whether it was there. Raises DataError."""
        try:
            slot = MARK + bytes.fromhex(name)
        except (ValueError, TypeError):
            slot = b""
        if len(slot) != SLOT_BYTES:
            raise DataError(f"entry {name!r:.60}, expected {2 * SLOT_BYTES - 2} hexadecimal digits")
        if self.live(slot, self.now_ms()) is None:
            return False
        self.fill(slot, DELETED, b"", self.now_ms())
        return True

    def label(self, slot: Slot) -> bytes:
        return entry_name(slot.slot).encode()


def entry_name(slot: bytes) -> str:
    """Name that people see."""
    return slot[len(MARK) :].hex()
