"""A list that many edit at once (npm r-array, r-edit).

Every element has a slot of its own, named by where it was put in; what that is tells positions. To
move an element is to give it another place, in a second slot: of two moves at once one wins, and
the element is never there twice.

    slot:  | "v" | position |     the element
           | "p" | position |     where the element of that name is now, as bytes
"""

import difflib
from bisect import bisect_left, insort
from collections import Counter
from typing import Any

from scuttled.errors import DataError, RemoteProtocolError, UsageError
from scuttled.models.operations import operation, reading
from scuttled.models.payload import pack, plain_value
from scuttled.models.positions import POSITION_BYTES_MIN, Runs, is_position
from scuttled.replica.arrival_log import ArrivalLog
from scuttled.replica.change import BYTES, CLEAR, DELETED, OPTIONS, SLOT_BYTES_MAX, Slot, parse
from scuttled.replica.hlc import Author
from scuttled.replica.slots import Slots

_VALUE = b"v"
_PLACE = b"p"
VALUES_MAX = 10_000  # put in by one call
PAIRS_MAX = 20_000  # of equal lines that are looked at when two texts are compared


class Sequence(Slots):
    """A list that several edit at once: what one puts in stays together, moved or not."""

    data_type = "sequence"
    strict = True

    def __init__(self, name: str = "default", author: Author | None = None) -> None:
        super().__init__(name, author)
        self._runs = Runs()
        self._order: list[tuple[bytes, bytes]] = []  # where an element is now, and its name
        self._place: dict[bytes, bytes] = {}  # of each element that is there
        self._moved: dict[bytes, bytes] = {}  # to where, be the element there or not
        self._read: tuple[ArrivalLog, int] = (self.log, 0)

    def check_slot(self, slot: bytes) -> None:
        if slot in (CLEAR, OPTIONS):
            return
        if slot[:1] not in (_VALUE, _PLACE) or not is_position(slot[1:]):
            raise RemoteProtocolError(f"an element named {slot!r:.60}, expected a position")

    def label(self, slot: Slot) -> bytes:
        """The place, in digits that sort as the list does; of a move it ends in `>`."""
        name = slot.slot[1:]
        if slot.slot[:1] == _PLACE:
            return name.hex().encode() + b">"
        self._follow()
        return self._place.get(name, name).hex().encode()

    def value(self, slot: Slot) -> tuple[str, bytes]:
        if slot.slot[:1] == _PLACE:
            return "text", slot.payload.hex().encode()
        return super().value(slot)

    def to_json(self) -> list[Any]:
        """The elements."""
        self._follow()
        now_ms = self.now_ms()
        found = (self.live(_VALUE + name, now_ms) for _, name in self._order)
        return [plain_value(slot) for slot in found if slot is not None]

    # --- the order follows the log, when it is asked for ---

    def _follow(self) -> None:
        log, cursor = self._read
        if log is not self.log:  # a RESET
            log = self.log
            cursor = 0
            self._forget_order()
        while cursor < log.end:
            piece = log.piece(cursor, log.end)
            cursor = piece.next
            for record, source in zip(piece.records, piece.sources, strict=True):
                if record is not None:
                    self._note_change(parse(record, source))
        self._read = log, cursor

    def _forget_order(self) -> None:
        self._order.clear()
        self._place.clear()
        self._moved.clear()

    def _note_change(self, slot: Slot) -> None:
        if slot.slot == CLEAR:  # what it left in the log comes again, behind it or before
            kept = [parse(*self.log.entry(at)) for at in self._slots.values()]
            self._forget_order()
            for other in kept:
                if other.slot != CLEAR:
                    self._note_change(other)
            return
        kind = slot.slot[:1]
        name = slot.slot[1:]
        there = slot.kind != DELETED
        if kind == _PLACE:
            moved = there and is_position(slot.payload)
            if moved:
                self._moved[name] = slot.payload
                self._runs.note(slot.payload)
            else:
                self._moved.pop(name, None)
            if name in self._place:
                self._put_at(name, self._moved.get(name, name))
        elif kind == _VALUE:
            self._runs.note(name)
            self._put_at(name, self._moved.get(name, name) if there else None)

    def _put_at(self, name: bytes, place: bytes | None) -> None:
        before = self._place.pop(name, None)
        if before is not None:
            del self._order[bisect_left(self._order, (before, name))]
        if place is not None:
            self._place[name] = place
            insort(self._order, (place, name))

    # --- operations ---

    def _checked(self, index: object, most: int) -> int:
        """A place in the list; negative ones count from the end. Raises UsageError, DataError."""
        if type(index) is not int:
            raise UsageError(f"index {index!r:.40}, expected a whole number")
        size = len(self._order)
        found = index + size if index < 0 else index
        if not 0 <= found <= most:
            raise DataError(f"index {index}, the list has {size} elements")
        return found

    def _fresh(self, at: int) -> bytes:
        """A position before the element that is there now, behind the one in front of it."""
        left = self._order[at - 1][0] if at else None
        right = self._order[at][0] if at < len(self._order) else None
        time = max(self.author.hlc.last + 1, 0)
        position = self._runs.between(left, right, self.author.source, time)
        if len(position) >= SLOT_BYTES_MAX:
            raise DataError(
                f"no place left there: a position of {len(position)} bytes, "
                f"at most {SLOT_BYTES_MAX - 1}"
            )
        return position

    def _put_in(self, at: int, packed: list[tuple[int, bytes]]) -> None:
        for offset, (kind, payload) in enumerate(packed):
            self.fill(_VALUE + self._fresh(at + offset), kind, payload, self.now_ms())
            self._follow()

    @operation
    def insert(self, index: int, values: list[Any]) -> int:
        """Put values in before an index; how many there are now."""
        self._follow()
        if not isinstance(values, list) or len(values) > VALUES_MAX:
            raise UsageError(f"values {values!r:.60}, expected a list of at most {VALUES_MAX}")
        packed = [pack(value) for value in values]
        self._put_in(self._checked(index, len(self._order)), packed)
        return self.size()

    @operation
    def push(self, value: Any) -> int:
        """Put a value at the end; how many there are now."""
        return self.insert(self.size(), [value])

    @operation
    def unshift(self, value: Any) -> int:
        """Put a value at the beginning; how many there are now."""
        return self.insert(0, [value])

    @operation
    def remove(self, index: int, count: int = 1) -> list[Any]:
        """Take values out; those."""
        self._follow()
        if type(count) is not int or count < 1:
            raise UsageError(f"count {count!r:.40}, expected a whole number from 1")
        at = self._checked(index, len(self._order) - 1)
        gone = []
        for _, name in self._order[at : at + count]:
            found = self.lookup(_VALUE + name)
            gone.append(None if found is None else plain_value(found))
            self.fill(_VALUE + name, DELETED, b"", self.now_ms())
            if self.live(_PLACE + name, self.now_ms()) is not None:
                self.fill(_PLACE + name, DELETED, b"", self.now_ms())
        self._follow()
        return gone

    @operation
    def pop(self) -> Any:
        """Take the last value out; it, null if there is none."""
        return self.remove(-1)[0] if self.size() else None

    @operation
    def shift(self) -> Any:
        """Take the first value out; it, null if there is none."""
        return self.remove(0)[0] if self.size() else None

    @operation
    def set(self, index: int, value: Any) -> Any:
        """Put a value in the place of another; that."""
        self._follow()
        _, name = self._order[self._checked(index, len(self._order) - 1)]
        found = self.lookup(_VALUE + name)
        self.fill(_VALUE + name, *pack(value), self.now_ms())
        return None if found is None else plain_value(found)

    @operation
    def move(self, index: int, to: int) -> None:
        """Move a value, so that it stands at the index `to`."""
        self._follow()
        at = self._checked(index, len(self._order) - 1)
        goal = self._checked(to, len(self._order) - 1)
        if goal != at:
            _, name = self._order[at]
            place = self._fresh(goal + (goal > at))
            self.fill(_PLACE + name, BYTES, place, self.now_ms())

    @operation
    def text(self, new: str | None = None) -> str:
        """The lines as one text; with `new` they are edited until they are that.

        Only lines that differ are touched, so edits of other lines elsewhere stay.
        """
        if new is not None:
            if not isinstance(new, str):
                raise UsageError(f"a text that is a {type(new).__name__}")
            lines = new.splitlines(keepends=True)
            for line in lines:
                pack(line)  # all of them can be held, or nothing is touched
            self._edit([str(line) for line in self.items()], lines)
        return "".join(str(line) for line in self.items())

    def _edit(self, old: list[str], new: list[str]) -> None:
        common = _too_common(old, new)
        matcher = difflib.SequenceMatcher(common.__contains__, old, new, autojunk=False)
        for tag, start, stop, new_start, new_stop in reversed(matcher.get_opcodes()):
            if tag == "equal":
                continue
            same = min(stop - start, new_stop - new_start)
            if stop > start + same:
                self.remove(start + same, stop - start - same)
            if new_stop > new_start + same:
                self.insert(start + same, list(new[new_start + same : new_stop]))
            for offset in range(same):
                self.set(start + offset, new[new_start + offset])

    @reading
    def get(self, index: int) -> Any:
        """The value at an index."""
        items = self.items()
        return items[self._checked(index, len(items) - 1)]

    @reading
    def items(self) -> list[Any]:
        """All values, in order."""
        return self.to_json()

    @reading
    def size(self) -> int:
        """How many there are."""
        self._follow()
        return len(self._order)


def _too_common(old: list[str], new: list[str]) -> set[str]:
    """Lines that come so often that two texts are not to be lined up by them.

    To compare costs time with every pair of equal lines, and may be done for each piece anew.
    """
    before = Counter(old)
    after = Counter(new)
    pairs = {line: count * before[line] for line, count in after.items()}
    left = PAIRS_MAX
    common = set()
    for line in sorted(pairs, key=pairs.__getitem__):
        left -= pairs[line]
        if left < 0 and pairs[line] > 1:
            common.add(line)
    return common


assert SLOT_BYTES_MAX > POSITION_BYTES_MIN
