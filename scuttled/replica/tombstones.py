"""Tombstones of one model: slots that were deleted or have expired, until nobody needs them.

A deletion has to be remembered: whoever missed it would bring back what it deleted. It may go once
it is *stable*, which is known to every member that counts, and then it raises the model's floor
(docs/protocol.md, "Forgetting deletions"). A slot that expired waits in the same line: every node
knows by itself that it is over, but not that all have seen it.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from scuttled.replica.arrival_log import ArrivalLog
from scuttled.replica.change import Slot, parse
from scuttled.replica.update import TICKS_PER_MS, Source

GRAVES_PER_CALL_MAX = 2048  # looked at in one call, of a million that were deleted together

IsStable = Callable[[Source, int], bool]  # whether every member covers that source so far


class Tombstones(dict[bytes, int]):
    """Tombstones by slot: where in the log the update of each stands, oldest first.

    Positions ascend: a slot that is buried anew was taken out before. It is a dict, so that what a
    model was before a RESET lets go of it in pieces, as of the model's other dicts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deleted = 0  # of them by a deletion; the others expired

    def delete(self, slot: bytes, position: int) -> None:
        """A deletion fills that slot now."""
        self.deleted += 1
        self[slot] = position

    def expire(self, slot: bytes, position: int) -> None:
        """The time of what fills that slot is over."""
        self[slot] = position

    def outranked(self, slot: bytes, *, deleted: bool) -> None:
        """Another update fills that slot, or it is collected; nothing if it had not expired yet."""
        self.deleted -= deleted
        self.pop(slot, None)

    def oldest(self, log: ArrivalLog) -> list[Slot]:
        """GRAVES_PER_CALL_MAX of them at most."""
        positions = islice(self.values(), GRAVES_PER_CALL_MAX)
        return [parse(*log.entry(position)) for position in positions]

    def stable(
        self, log: ArrivalLog, is_stable: IsStable, before_ms: int
    ) -> Iterator[tuple[bytes, int, Slot]]:
        """Those among the oldest that may be forgotten, with where they stand; each may go at once.

        Of those that were deleted, or expired, before `before_ms`: watchers shall meet them first.
        """
        for slot, position in list(islice(self.items(), GRAVES_PER_CALL_MAX)):
            grave = parse(*log.entry(position))
            died_ms = grave.expires_ms or grave.timestamp // TICKS_PER_MS
            if died_ms <= before_ms and is_stable(grave.source, grave.timestamp):
                yield slot, position, grave
