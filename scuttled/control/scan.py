"""Scan of a model: all that it holds, row by row, for a caller who asked for it once.

A reader of the arrival log like a watch: it has no queue, and ends in a cursor from
which a watch can go on.
"""

from scuttled.client.rows import KeyRow
from scuttled.control.cursors import cursor_text
from scuttled.control.key_match import matcher
from scuttled.control.watch import (
    ROWS_BYTES,
    ROWS_MAX,
    SCAN_ENTRIES_MAX,
    log_of,
    text_of,
)
from scuttled.node.node import Node
from scuttled.replica.change import CLEAR, OWN, Slot, parse
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant


class Scan:
    """Rows of a model, once, in order of arrival.

    A key that is written meanwhile may come twice, and one that is deleted meanwhile comes once
    more, as deleted: the later row counts.
    """

    def __init__(
        self, node: Node, model: Slots, pattern: str, *, values: bool, deleted: bool
    ) -> None:
        self.node = node
        self.model = model
        self.values = values
        self.deleted = deleted
        self.count = 0
        self._match = matcher(pattern)
        self._began = model.log.end
        self._dropped: int | None = None  # where the log says that the model was, meanwhile
        self._cursor = 0

    @property
    def done(self) -> bool:
        return self._cursor >= self.model.log.end

    def rows(self, now: Instant) -> list[KeyRow]:
        """The next rows; maybe none although it is not done."""
        log = self.model.log
        size = 0
        rows: list[KeyRow] = []
        looked = 0
        if self._dropped is None and log.forgotten >= max(self._cursor, self._began):
            self._dropped = self._cursor  # what it told of may be gone, with nothing left to say so
        self._cursor = max(self._cursor, min(log.first, log.end))
        while self._cursor < log.end and not rows and looked < SCAN_ENTRIES_MAX:
            looked += ROWS_MAX
            piece = log.piece(self._cursor, min(log.end, self._cursor + ROWS_MAX))
            self._cursor = piece.next
            for at, record, source in zip(
                piece.positions, piece.records, piece.sources, strict=True
            ):
                if record is not None:
                    slot = parse(record, source)
                    if slot.slot == CLEAR and at >= self._began:
                        self._dropped = at
                    row = self._row(slot, at, now)
                    if row is not None:
                        rows.append(row)
                        size += len(record)
                        if size > ROWS_BYTES:
                            self._cursor = at + 1
                            break
        self.count += len(rows)
        return rows

    def _row(self, slot: Slot, at: int, now: Instant) -> KeyRow | None:
        shown = slot.shown(now.wall_ms)
        told = shown or self.deleted or at >= self._began  # it may have been listed before
        if slot.kind == OWN or not told or not self._match(label := self.model.label(slot)):
            return None
        kind, value = self.model.value(slot) if shown else ("deleted", b"")
        told_value = value if self.values and shown else None
        name = self.node.name_of(slot.source)
        return KeyRow(text_of(label), kind, told_value, slot.rev, name, slot.expires_ms)

    def cursor(self) -> str:
        """Cursor of a watch that goes on; before a drop or RESET, so that it says all is void."""
        at = self._cursor if self._dropped is None else self._dropped
        return cursor_text(log_of(self.node), {self.model.name: at})
