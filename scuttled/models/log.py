"""A list that only grows (npm append-only): every node's entries, in order of rank.

What is removed is removed everywhere, also where a node was away: removing leaves a tombstone.
"""

from typing import Any

from scuttled.models.entries import Entries
from scuttled.models.operations import operation, reading
from scuttled.models.payload import pack, plain_value


class Log(Entries):
    """A list to which several append: nothing is lost, and all have it in the same order."""

    data_type = "log"

    def to_json(self) -> list[Any]:
        """The entries, the oldest first."""
        return [plain_value(slot) for slot in self.shown()]

    @operation
    def append(self, item: Any) -> str:
        """Add an entry; its name, by which it can be removed."""
        return self.enter(*pack(item))

    @operation
    def remove(self, name: str) -> bool:
        """Remove an entry everywhere; whether it was there."""
        return self.take_out(name)

    @reading
    def items(self) -> list[Any]:
        """All entries, the oldest first."""
        return self.to_json()

    @reading
    def size(self) -> int:
        """How many entries there are."""
        return self.count_shown()
