"""Tally of a model: how many keys it holds, in all or by the first parts of their paths.

Counted on the server: to fetch a million keys only to count them costs both ends seconds, and
memory. It goes in slices, so that nobody waits for long: over the names of the slots that there
were when it began, each looked at once. What is written meanwhile may be counted or not.
"""

from scuttled.client.patterns import prefix_of
from scuttled.client.rows import CountRow
from scuttled.control.key_match import matcher
from scuttled.control.watch import text_of
from scuttled.replica.change import OWN
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant

SLICE = 2_000  # slots looked at in one go: some 5 ms


class Tally:
    """Counts; with a `depth`, by what stands before the N-th slash behind the prefix asked for.

    A row is [name, count], of one slice: the caller adds up those of one name. So nothing grows
    here, however many names there are.
    """

    def __init__(self, model: Slots, pattern: str, *, depth: int, deleted: bool) -> None:
        self.model = model
        self.depth = depth
        self.deleted = deleted
        self.count = 0
        self._below = prefix_of(pattern).encode("utf-8", "surrogateescape")
        self._match = matcher(pattern)
        self._slots = model.slot_names()
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._slots)

    def rows(self, now: Instant) -> list[CountRow]:
        """Those of the next slice; none if there is no `depth`."""
        folds: dict[bytes, int] = {}
        for name in self._slots[self._at : self._at + SLICE]:
            label = self._label(name, now)
            if label is not None and self._match(label):
                self.count += 1
                if self.depth:
                    fold = self._fold(label)
                    folds[fold] = folds.get(fold, 0) + 1
        self._at += SLICE
        return [CountRow(text_of(name), count) for name, count in folds.items()]

    def _label(self, name: bytes, now: Instant) -> bytes | None:
        """The key of that slot, as readers know it; None if there is nothing for them by now."""
        slot = self.model.lookup(name)
        if slot is None or slot.kind == OWN or not (self.deleted or slot.shown(now.wall_ms)):
            return None
        return self.model.label(slot)

    def _fold(self, label: bytes) -> bytes:
        parts = label[len(self._below) :].split(b"/", self.depth)
        name = self._below + b"/".join(parts[: self.depth])
        return name + b"/" if len(parts) > self.depth else name

    def cursor(self) -> str:
        """Always "": what is counted has no place in the log."""
        return ""
