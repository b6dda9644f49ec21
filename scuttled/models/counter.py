"""A number that all nodes add to at once: nothing that was added is lost, or counted twice.

    slot:  | "." | source 12 bytes |      payload: what this source has added so far, as JSON

Each source writes its own slot only, so there is never a conflict (the PN-counter of Shapiro et
al. 2011, with one signed sum for each source). A new life of a node has a slot of its own.
"""

import json

from scuttled.errors import DataError, RemoteProtocolError, UsageError
from scuttled.models.operations import operation, reading
from scuttled.replica.change import CLEAR, JSON, OPTIONS, Slot
from scuttled.replica.slots import Slots
from scuttled.replica.update import SOURCE_BYTES, Source, source_text

TOTAL_MAX = 2**63 - 1
_MARK = b"."


class Counter(Slots):
    """A number to which several add at once: nothing is lost or counted twice."""

    data_type = "counter"
    strict = True

    def check_slot(self, slot: bytes) -> None:
        odd = len(slot) != len(_MARK) + SOURCE_BYTES or not slot.startswith(_MARK)
        if odd and slot not in (CLEAR, OPTIONS):
            raise RemoteProtocolError(f"a sum of {slot!r:.60}, expected one of a source")

    def label(self, slot: Slot) -> bytes:
        """Whose sum it is."""
        return source_text(Source(slot.slot[len(_MARK) :])).encode()

    def to_json(self) -> int:
        """Sum of what all have added."""
        return sum(_number(slot) for slot in self.shown())

    @operation
    def add(self, by: int = 1) -> int:
        """Add a number, which may be negative; the sum as this node knows it."""
        if type(by) is not int:
            raise UsageError(f"to add {by!r:.40}, expected a whole number")
        slot = _MARK + self.author.source
        now_ms = self.now_ms()
        held = self.live(slot, now_ms)
        total = by + (_number(held) if held is not None else 0)
        if abs(total) > TOTAL_MAX:
            raise DataError(f"{by} makes {total} of this node's, allowed is up to {TOTAL_MAX}")
        self.fill(slot, JSON, b"%d" % total, now_ms)
        return self.to_json()

    @reading
    def get(self) -> int:
        """The sum."""
        return self.to_json()


def _number(slot: Slot) -> int:
    """Sum that a source has added; 0 if a peer wrote something else."""
    try:
        number = json.loads(slot.payload)
    except (ValueError, RecursionError):
        return 0
    return number if type(number) is int and abs(number) <= TOTAL_MAX else 0
