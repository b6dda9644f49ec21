"""Models whose slots come in groups: the adds of an element, the fields of a row.

An index from group to slots follows the arrival log, as any reader does, when it is asked for; so
writing costs nothing more.
"""

from abc import abstractmethod

from scuttled.replica.arrival_log import ArrivalLog
from scuttled.replica.change import DELETED, OWN, parse
from scuttled.replica.hlc import Author
from scuttled.replica.slots import Slots


class Groups(Slots):
    """The base of such models."""

    def __init__(self, name: str = "default", author: Author | None = None) -> None:
        super().__init__(name, author)
        self._groups: dict[bytes, set[bytes]] = {}  # of each group, the slots that may be filled
        self._read: tuple[ArrivalLog, int] = (self.log, 0)  # how far the index follows the log

    @abstractmethod
    def group(self, slot: bytes) -> bytes:
        """The group that a slot belongs to."""

    def filled(self, group: bytes) -> list[bytes]:
        """The slots of a group in which something stands, sorted."""
        self._follow()
        slots = self._groups.get(group, set())
        now_ms = self.now_ms()
        filled = {slot for slot in slots if self.live(slot, now_ms) is not None}
        if filled:
            self._groups[group] = filled
        else:
            self._groups.pop(group, None)
        return sorted(filled)

    def groups(self) -> list[bytes]:
        """Those in which something stands, sorted."""
        self._follow()
        return sorted(group for group in list(self._groups) if self.filled(group))

    def empty(self, group: bytes) -> bool:
        """Delete all that stands in a group as far as this node knows; whether something did."""
        filled = self.filled(group)
        for slot in filled:
            self.fill(slot, DELETED, b"", self.now_ms())
        return bool(filled)

    def _follow(self) -> None:
        log, cursor = self._read
        if log is not self.log:  # a RESET
            log = self.log
            cursor = 0
            self._groups.clear()
        while cursor < log.end:
            piece = log.piece(cursor, log.end)
            cursor = piece.next
            for record, source in zip(piece.records, piece.sources, strict=True):
                if record is not None:
                    slot = parse(record, source)
                    if slot.kind not in (DELETED, OWN):
                        self._groups.setdefault(self.group(slot.slot), set()).add(slot.slot)
        self._read = log, cursor
