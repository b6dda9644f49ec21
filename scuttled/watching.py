"""Readers of arrival logs that show people and programs what a model holds and how it changes.

Each is a cursor and nothing else: it has no queue, so one that reads slowly costs nobody
anything, and skips values that were overwritten before it came to them. Pure; whoever can take
more rows asks for them.

Rows are told in docs/control.md.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from scuttled.core.changes import CLEAR, EXPIRES, OWN, Slot, parse
from scuttled.core.slots import Slots
from scuttled.core.update import TICKS_PER_MS, Instant
from scuttled.errors import UsageError
from scuttled.node import Node
from scuttled.patterns import parse_pattern

ROWS_MAX = 1000
ROWS_BYTES = 128 << 10  # of values, in one part of a stream
SCAN_ENTRIES_MAX = 10_000  # looked at for one part, so that a search does not stall the loop
PATTERNS_MAX = 100
PATTERN_BYTES_MAX = 4096  # as a key

Row = list[Any]
Match = Callable[[bytes], bool]


def matcher(pattern: str) -> Match:
    """Whether a key is meant by a pattern (patterns.py)."""
    text = pattern.encode("utf-8", "surrogateescape")
    meant = parse_pattern(text[: 2 * PATTERN_BYTES_MAX + 1])
    if meant.size > PATTERN_BYTES_MAX:
        raise UsageError(f"a pattern of {len(text)} bytes, at most {PATTERN_BYTES_MAX}")
    literal = meant.literal
    if meant.glob:
        found = re.compile(meant.glob, re.DOTALL).fullmatch
        return lambda slot: found(slot) is not None
    if meant.is_prefix:
        return lambda slot: slot.startswith(literal)
    return lambda slot: slot == literal


def any_matcher(patterns: list[str]) -> Match:
    if len(patterns) > PATTERNS_MAX:
        raise UsageError(f"{len(patterns)} patterns, at most {PATTERNS_MAX}")
    if not patterns:
        return matcher("")
    matches = [matcher(pattern) for pattern in patterns]
    if len(matches) == 1:
        return matches[0]
    return lambda slot: any(match(slot) for match in matches)


class Listing:
    """What a model holds, once, in order of arrival.

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

    def rows(self, now: Instant) -> list[Row]:
        """The next rows; maybe none although it is not done."""
        log, size = self.model.log, 0
        rows: list[Row] = []
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

    def _row(self, slot: Slot, at: int, now: Instant) -> Row | None:
        shown = slot.shown(now.wall_ms)
        told = shown or self.deleted or at >= self._began  # it may have been listed before
        if slot.kind == OWN or not told or not self._match(label := self.model.label(slot)):
            return None
        kind, value = self.model.value(slot) if shown else ("deleted", b"")
        told_value = value if self.values and shown else None
        name = self.node.name_of(slot.source)
        return [text_of(label), kind, told_value, slot.rev, name, slot.expires_ms]

    def cursor(self) -> str:
        """Where a watch is to go on; before a drop or a RESET, so that it says that all is void."""
        at = self._cursor if self._dropped is None else self._dropped
        return cursor_text(self.node, {self.model.name: at})


class Watch:
    """Changes as they come; on request the current state before that."""

    def __init__(
        self, node: Node, model: str, patterns: list[str], *, snapshot: bool, after: str
    ) -> None:
        self.node = node
        self._only = model
        self._match = any_matcher(patterns)
        self._at = {m.name: m.log.end for m in self._models()}
        self._first: list[Row] = []  # reset and the like, before all else
        self._until: dict[str, int] | None = None  # while a snapshot runs: where it began
        if after:
            self._resume(after)
        elif snapshot:
            self._begin_snapshot()
        else:
            self._first.append(self._live())

    def _models(self) -> Iterator[Slots]:
        if self._only:
            named = self.node.models.get(self._only)
            models = iter([named] if named is not None else [])
        else:
            models = self.node.user_models()
        return (model for model in models if isinstance(model, Slots))

    def _begin_snapshot(self) -> None:
        self._until = dict(self._at)
        self._at = dict.fromkeys(self._at, 0)

    def _resume(self, after: str) -> None:
        try:
            incarnation, _, places = after.partition(":")
            at = {name: int(place) for name, place in _pairs(places)}
        except ValueError:
            raise UsageError(f"cursor '{after:.80}' is not one that a watch gave") from None
        if incarnation != self.node.settings.incarnation.hex():
            reason = "the daemon was restarted since"
        elif any(place > self._at.get(name, 0) for name, place in at.items()):
            reason = "the cursor lies ahead of the log"
        else:
            self._at = {name: at.get(name, 0) for name in self._at}
            return
        self._start_over(reason)

    def _start_over(self, reason: str) -> None:
        """What was told before no longer holds: forget it, here is all there is now."""
        self._at = {model.name: model.log.end for model in self._models()}
        self._begin_snapshot()
        cursor = cursor_text(self.node, self._at)
        self._first.append(["reset", "", "", None, reason.encode(), "", "", cursor, None])

    def has_something(self) -> bool:
        return (
            bool(self._first)
            or self._until is not None
            or any(model.log.end > self._at.get(model.name, 0) for model in self._models())
        )

    def rows(self, now: Instant) -> list[Row]:
        """The next rows; maybe none although `has_something` (what changed does not match)."""
        rows, self._first = self._first, []
        size = looked = 0
        for model in self._models():
            self._at.setdefault(model.name, 0)
            while self._at[model.name] < model.log.end:
                if len(rows) >= ROWS_MAX or size >= ROWS_BYTES or looked >= SCAN_ENTRIES_MAX:
                    return rows
                looked += ROWS_MAX
                if self._missed_some(model):
                    self._start_over(f"model {model.name} was reset, or has forgotten deletions")
                    return rows
                size += self._read(model, rows, now)
                if self._first:
                    return rows
        if self._until is not None:
            self._until = None
            rows.append(self._live())
        return rows

    def _live(self) -> Row:
        """What follows is news; until here all was told."""
        return ["live", "", "", None, None, "", "", cursor_text(self.node, self._at), None]

    def _read(self, model: Slots, rows: list[Row], now: Instant) -> int:
        """One piece of one log; the bytes of records that became rows."""
        log, name, size = model.log, model.name, 0
        start = max(self._at[name], log.first)
        piece = log.piece(start, min(log.end, start + ROWS_MAX))
        for at, record, source in zip(piece.positions, piece.records, piece.sources, strict=True):
            if record is None:
                continue
            slot = parse(record, source)
            if slot.slot == CLEAR and not self._began_after(model, at):
                self._start_over(f"model {name} was dropped")
                return size
            op = self._op(model, slot, at, record, now)
            if op and self._match(model.label(slot)):
                self._at[name] = at + 1
                rows.append(self._row(op, model, slot))
                size += len(record)
                if size >= ROWS_BYTES:
                    return size
        self._at[name] = piece.next
        return size

    def _op(self, model: Slots, slot: Slot, at: int, record: bytes, now: Instant) -> str:
        """What a change is called; "" if it is none that a watcher sees."""
        if slot.kind == OWN:
            return ""
        expired = bool(record[8] & EXPIRES) and model.has_expired(slot.slot)
        if slot.shown(now.wall_ms) and not expired:  # once it was said it stays, were the clock set
            return "set"
        if self._began_after(model, at):
            return ""  # it was gone before this watch began
        if record[8] & EXPIRES:
            return "expire" if expired else ""
        return "del" if model.is_gone(slot) else ""

    def _missed_some(self, model: Slots) -> bool:
        """Whether what this watch was still to tell is forgotten."""
        began = self._until.get(model.name, 0) if self._until is not None else 0
        return model.log.forgotten >= max(self._at[model.name], began)

    def _began_after(self, model: Slots, at: int) -> bool:
        """Whether that place in the log belongs to the snapshot, not to the news."""
        return self._until is not None and at < self._until.get(model.name, 0)

    def _row(self, op: str, model: Slots, slot: Slot) -> Row:
        kind, value = model.value(slot) if op == "set" else ("deleted", b"")
        name = self.node.name_of(slot.source)
        cursor = cursor_text(self.node, self._at)
        at_ms = slot.expires_ms if op == "expire" else slot.timestamp // TICKS_PER_MS
        return [
            op,
            model.name,
            text_of(model.label(slot)),
            kind,
            value,
            slot.rev,
            name,
            cursor,
            at_ms,
        ]


def cursor_text(node: Node, at: dict[str, int]) -> str:
    places = ",".join(f"{name}={place}" for name, place in at.items())
    return f"{node.settings.incarnation.hex()}:{places}"


def _pairs(places: str) -> list[tuple[str, str]]:
    pairs = [place.partition("=") for place in places.split(",") if place]
    return [(name, place) for name, _, place in pairs]


def text_of(slot: bytes) -> str:
    return slot.decode("utf-8", "surrogateescape")
