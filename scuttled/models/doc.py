"""Rows of fields (npm crdt): in each field the write of the highest rank stands.

    slot:  | row | NUL | field |

To remove a row is to delete the fields of it that were seen, each by a tombstone: so the removal
reaches nodes that were away, and a field that was set at the same time elsewhere stays. (In npm
crdt a removal is lost over a reconnect, and never leaves a node if the row is in a Set.)
"""

from typing import Any

from scuttled.errors import DataError, RemoteProtocolError, UsageError
from scuttled.models.entries import entry_name, fresh_slot
from scuttled.models.grouped import Groups
from scuttled.models.operations import operation, reading
from scuttled.models.payload import pack, plain_value
from scuttled.replica.change import CLEAR, DELETED, OPTIONS, SLOT_BYTES_MAX, Slot

_BETWEEN = b"\0"


def field_slot(row: object, field: object) -> bytes:
    """The slot of a field. Raises UsageError, DataError."""
    slot = _name(row, "row") + _BETWEEN + _name(field, "field")
    if len(slot) > SLOT_BYTES_MAX:
        raise DataError(f"row and field of {len(slot)} bytes, at most {SLOT_BYTES_MAX}")
    return slot


def _name(name: object, what: str) -> bytes:
    if not isinstance(name, str):
        raise UsageError(f"a {what} that is a {type(name).__name__}, not text")
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{what} {name!r:.80} is not UTF-8") from None
    if not data or _BETWEEN in data:
        raise DataError(f"{what} {name!r:.80}: it must not be empty, or have a NUL in it")
    return data


class Doc(Groups):
    """Rows of fields that several edit: in each field the last write stands."""

    data_type = "doc"
    strict = True

    def check_slot(self, slot: bytes) -> None:
        if slot in (CLEAR, OPTIONS):
            return
        super().check_slot(slot)
        if len(parts := slot.split(_BETWEEN)) != 2 or not all(parts):
            raise RemoteProtocolError(f"a field named {slot!r:.60}, expected row, NUL and field")

    def group(self, slot: bytes) -> bytes:
        return slot.partition(_BETWEEN)[0]

    def label(self, slot: Slot) -> bytes:
        """`row/field`, so that `ROW/` is a pattern for the row."""
        return slot.slot.replace(_BETWEEN, b"/")

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Rows of fields."""
        return {row.decode(): self._row(row) for row in self.groups()}

    def _row(self, row: bytes) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for slot in self.filled(row):
            found = self.lookup(slot)
            assert found is not None
            fields[slot.partition(_BETWEEN)[2].decode()] = plain_value(found)
        return fields

    @operation
    def put(self, row: str, fields: dict[str, Any]) -> str:
        """Set fields of a row, which is made if it is not there; null deletes one. The row."""
        if not isinstance(fields, dict) or not fields:
            raise UsageError(f"fields {fields!r:.60}, expected a JSON object with some")
        packed = [
            (field_slot(row, field), *((DELETED, b"") if value is None else pack(value)))
            for field, value in fields.items()
        ]
        now_ms = self.now_ms()
        for slot, kind, payload in packed:
            if kind != DELETED or self.live(slot, now_ms) is not None:
                self.fill(slot, kind, payload, now_ms)
        return row

    @operation
    def add(self, fields: dict[str, Any]) -> str:
        """Make a row under a name of its own; the name."""
        return self.put(entry_name(fresh_slot(self.author, self.now_ms())), fields)

    @operation
    def remove(self, row: str) -> bool:
        """Remove a row, all of its fields; whether it was there."""
        return self.empty(_name(row, "row"))

    @reading
    def row(self, row: str) -> dict[str, Any] | None:
        """The fields of a row, null if there is none."""
        return self._row(_name(row, "row")) or None

    @reading
    def field(self, row: str, field: str) -> Any:
        """One field, null if there is none."""
        found = self.live(field_slot(row, field), self.now_ms())
        return None if found is None else plain_value(found)

    @reading
    def rows(self) -> list[str]:
        """The names of all rows."""
        return [row.decode() for row in self.groups()]

    @reading
    def find(self, field: str, value: Any) -> list[str]:
        """The rows in which a field has that value (what npm crdt calls a Set)."""
        _name(field, "field")
        return [row for row, fields in self.to_json().items() if _same(fields.get(field), value)]

    @reading
    def sort(self, field: str) -> list[str]:
        """The rows that have a field, in its order (what npm crdt calls a Seq)."""
        _name(field, "field")
        having = [(fields[field], row) for row, fields in self.to_json().items() if field in fields]
        numbers = [pair for pair in having if type(pair[0]) in (int, float)]
        others = [(str(value), row) for value, row in having if type(value) not in (int, float)]
        return [row for _, row in sorted(numbers)] + [row for _, row in sorted(others)]

    @reading
    def size(self) -> int:
        """How many rows there are."""
        return len(self.groups())


def _same(held: Any, value: Any) -> bool:
    alike = type(held) is type(value) or (isinstance(held, str) and isinstance(value, str))
    return held is not None and alike and held == value
