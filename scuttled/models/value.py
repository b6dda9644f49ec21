"""One value, and those that it had before (npm r-value).

Every write is an entry of its own. The one of the highest rank is the value; all nodes keep the
HISTORY_MAX highest and let go of the others. Of any two sets of writes the highest are the
highest of both, so the order in which they come does not matter.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from scuttled.errors import UsageError
from scuttled.models.entries import Entries
from scuttled.models.operations import operation, reading
from scuttled.models.payload import pack, plain_value
from scuttled.replica.change import CLEAR, OPTIONS, Slot, parse
from scuttled.replica.update import Source

HISTORY_MAX = 32


class Value(Entries):
    """One value that several set: the last write stands. It remembers the 32 it had last."""

    data_type = "value"
    settings: ClassVar[tuple[str, ...]] = ()

    def _accept(self, source: Source, records: Sequence[bytes]) -> None:
        try:
            super()._accept(source, records)
        finally:
            if len(self._slots) > HISTORY_MAX:
                self._let_go()

    def _let_go(self) -> None:
        entries = [(slot, at) for slot, at in self._slots.items() if slot not in (CLEAR, OPTIONS)]
        ranked = sorted((self.log.entry(at), slot, at) for slot, at in entries)
        for (record, _), slot, at in ranked[: max(len(ranked) - HISTORY_MAX, 0)]:
            del self._slots[slot]
            self._forget(slot, at, record)

    def newest_first(self) -> list[Slot]:
        """The value that counts, then those before it."""
        entries = [parse(*self.log.entry(at)) for at in self._slots.values()]
        shown = [slot for slot in entries if slot.shown(self.now_ms())]
        return sorted(shown, key=lambda slot: (slot.timestamp, slot.source), reverse=True)

    def to_json(self) -> Any:
        """The value, null if there is none."""
        found = self.newest_first()
        return plain_value(found[0]) if found else None

    def whole(self) -> tuple[str, bytes]:
        """The value: its kind (text, bytes, json) and its bytes."""
        found = self.newest_first()
        return self.value(found[0]) if found else ("json", b"null")

    @operation
    def set(self, value: Any) -> str:
        """Set the value; null for none. The name of the entry in the history."""
        return self.enter(*pack(value))

    @reading
    def get(self) -> Any:
        """The value, null if there is none."""
        return self.to_json()

    @reading
    def history_(self, count: int = HISTORY_MAX) -> list[Any]:
        """The values it had, the latest first."""
        if type(count) is not int or not 1 <= count <= HISTORY_MAX:
            raise UsageError(f"a history of {count!r:.40}, allowed are 1 to {HISTORY_MAX}")
        return [plain_value(slot) for slot in self.newest_first()[:count]]
