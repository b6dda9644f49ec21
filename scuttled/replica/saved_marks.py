"""Saved marks of one model: what storage has of its clock and floor.

Of the log it has all below `ArrivalLog.saved`. The clock follows when that reaches the end, since
a saved clock never covers an unsaved update, and may lag behind by as much as it likes: it then
claims less than is there, and what a peer sends once more changes nothing (I3, I5).
"""

from collections.abc import Iterable

from scuttled.replica.update import Source
from scuttled.replica.version_vector import Clock


class SavedMarks:
    """Marks of how far the clock and the floor of a model are on disk."""

    __slots__ = ("clock", "floor_revision", "replaced", "revision")

    def __init__(self, clock: Clock | None = None, *, replaced: bool = False) -> None:
        # Covered by what is on disk: at or below the model's clock, but after a RESET that is not
        # saved yet. Until then the state of before is what a restart would find.
        self.clock = clock or Clock()
        self.revision = 0  # of the model's clock that stands in `clock`; 0: nothing of it
        self.floor_revision = 0  # of the model's floor, likewise
        # A RESET gave the model another state: what is on disk goes when the whole of that comes.
        self.replaced = replaced

    def are_of(self, clock: Clock, floor: Clock) -> bool:
        """True while both are on disk as they are now."""
        return self.revision == clock.revision and self.floor_revision == floor.revision

    def note(
        self,
        times: Iterable[tuple[Source, int]],
        revision: int,
        floor_revision: int,
        *,
        replace: bool = False,
    ) -> None:
        """These times of the clock came to disk; with `replace`, in place of all that was there."""
        if replace:
            self.clock = Clock()
            self.replaced = False
        self.clock.merge(times)
        self.revision = revision
        self.floor_revision = floor_revision

    def forget(self) -> None:
        """Storage has lost all that it had."""
        self.clock = Clock()
        self.revision = 0
        self.floor_revision = 0
