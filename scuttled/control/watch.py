"""Watch: a reader of arrival logs that shows people and programs how models change.

It is a cursor and nothing else: it has no queue, so one that reads slowly costs nobody
anything, and skips values that were overwritten before it came to them. Pure; whoever can take
more rows asks for them. (What a model holds, once: scan.)

Rows are told in docs/control.md.
"""

import math
from collections.abc import Iterator, Mapping

from scuttled.client.rows import ChangeRow
from scuttled.control.cursors import Clocks, Cursor, cursor_text, log_name, read_cursor
from scuttled.control.key_match import any_matcher
from scuttled.control.own_types import Held, held_by, shown_change
from scuttled.control.watch_clock import Passed, Rise
from scuttled.node.node import Node
from scuttled.replica.arrival_log import Piece
from scuttled.replica.change import CLEAR, EXPIRES, OWN, Slot, parse
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import TICKS_PER_MS, Instant, Update, rev_text, source_text

ROWS_MAX = 1000
ROWS_BYTES = 128 << 10  # of values, in one part of a stream
SCAN_ENTRIES_MAX = 10_000  # looked at for one part, so that a search does not stall the loop


class Watch:
    """Changes as they come; on request the current state before that.

    One that is `durable` is told what is on disk, so that its cursors are good after a kill, and
    is told by `covered` how its clock rises, which makes them good on any node (cursors).
    """

    def __init__(
        self,
        node: Node,
        model: str,
        patterns: list[str],
        *,
        snapshot: bool,
        after: str,
        clock: Clocks | None = None,
        durable: bool = False,
        patient_until_s: float = math.inf,
    ) -> None:
        self.node = node
        self.durable = durable
        self._only = model
        self._patient_until_s = patient_until_s  # when what a cursor covers should be here
        self._match = any_matcher(patterns)
        self._source = node.author.source
        self._log = log_of(node)
        self._passed: dict[str, Passed] = {}  # what a cursor's clock covers
        self._at: dict[str, int] = {}
        self._at = {m.name: self._end(m) for m in self._models()}
        self._first: list[ChangeRow] = []  # reset and the like, before all else
        self._until: dict[str, int] | None = None  # while a snapshot runs: where it began
        self._held: dict[str, Held | None] = {}  # while a snapshot runs: see `_read_updates`
        self._excused: dict[str, int] = {}  # deletions forgotten up to there were known to it
        self._rises: dict[str, Rise] = {}
        self._owes_clock = False  # rows were told that the clocks told so far may not cover
        if after:
            self._resume(read_cursor(after), clock or {})
            if snapshot and self._until is None:
                self._until = {}  # nothing is there twice, but somebody waits for `live`
        elif snapshot:
            self._begin_snapshot()
        else:
            self._first.append(self._live())

    def _models(self) -> Iterator[Scuttlebutt]:
        if self._only:
            named = self.node.models.get(self._only)
            return iter([named] if named is not None else [])
        return self.node.user_models()

    def _end(self, model: Scuttlebutt) -> int:
        """The position up to which this watch may be told."""
        log = model.log
        if self._passed:
            passed = self._passed.get(model.name)
            if passed is not None and passed.holds_back(model):
                return min(self._at.get(model.name, 0), log.end)
        if not self.durable:
            return log.end
        # A state that a RESET brought is told of when it is on disk as a whole.
        return 0 if model.saved.replaced and not log.adrift else log.visible

    # --- where to begin ---

    def _begin_snapshot(self) -> None:
        self._until = {model.name: self._end(model) for model in self._models()}
        self._at = dict.fromkeys(self._until, 0)
        self._held = {
            model.name: held_by(model) for model in self._models() if not isinstance(model, Slots)
        }

    def _resume(self, cursor: Cursor, clocks: Clocks) -> None:
        """Go on behind a cursor; if that can't be done without a gap, start over and say why."""
        models = {model.name: model for model in self._models()}
        named = [n for n in cursor.places if n not in models and self._only in ("", n)]
        at: dict[str, int] = {}
        for name in (*models, *named):
            place = cursor.places.get(name)
            model = models.get(name)
            if place is None or (not place.position and name not in clocks):
                at[name] = 0  # nothing of it was told
            elif cursor.log == self._log and not place.with_clock:
                if place.position > (model.log.end if model is not None else 0):
                    self._start_over("the cursor lies ahead of the log")
                    return
                at[name] = place.position
            else:
                why_not = self._pass_over(cursor, name, model, clocks.get(name))
                if why_not:
                    self._start_over(why_not)
                    return
                at[name] = place.position if cursor.log == self._log else 0
        self._at = at

    def _pass_over(
        self, cursor: Cursor, name: str, model: Scuttlebutt | None, times: Mapping[str, int] | None
    ) -> str:
        """From now on, what these times of a cursor cover was told; "", or why that can't be."""
        if times is None:
            return "the cursor is of another run of the daemon, or of another node"
        if cursor.cluster not in ("", log_of(self.node).rpartition(".")[2]):
            return "the cursor is of another cluster"
        self._passed[name] = Passed(times)
        same_node = cursor.node == self.node.author.node_id.hex()
        if model is not None and same_node and cursor.log != self._log:
            # A node that has never met another forgets without raising its floor.
            if cursor.places[name].position <= model.log.forgotten:
                return f"model {name} has forgotten deletions since"
        return ""

    def _has_forgotten(self, model: Scuttlebutt, passed: Passed) -> bool:
        """True if deletions are forgotten here that the cursor does not cover.

        Asked once, when this node has all that it covers: by then a RESET may have come, too.
        """
        if not passed.checked:
            passed.checked = True
            if not passed.covers_all(model.floor.items()):
                return True
            self._excused[model.name] = model.log.forgotten
        return False

    @property
    def patient_until_s(self) -> float:
        """Monotonic seconds at which `lose_patience` is due."""
        return self._patient_until_s if self._passed else math.inf

    def lose_patience(self, now: Instant) -> None:
        """Start over if this node still lacks what the cursor covers: it may never come."""
        if now.mono_s < self.patient_until_s:
            return
        self._patient_until_s = math.inf
        models = {model.name: model for model in self._models()}
        for name, passed in self._passed.items():
            model = models.get(name)
            if model is None or passed.holds_back(model):
                self._start_over(
                    f"this node does not have all of model {name} that the cursor covers"
                )
                return

    def _start_over(self, reason: str) -> None:
        """Say that all that was told before no longer holds, and then what there is now."""
        self._passed.clear()
        self._excused.clear()
        self._rises.clear()
        self._at = {model.name: self._end(model) for model in self._models()}
        self._begin_snapshot()
        cursor = cursor_text(self._log, self._at)
        self._first.append(live_row(cursor)._replace(op="reset", value=reason.encode()))

    # --- rows ---

    def has_something(self) -> bool:
        if self._first:
            return True
        at = self._at
        for model in self._models():
            if self._end(model) > at.get(model.name, 0):
                return True
        if self._until is not None:
            return self._is_live_due(self._until)
        return self.durable and self._owes_clock and self._is_clock_due()

    def _is_live_due(self, until: dict[str, int]) -> bool:
        return all(self._at.get(name, 0) >= stop for name, stop in until.items())

    def rows(self, now: Instant) -> list[ChangeRow]:
        """The next rows; maybe none although `has_something` (what changed does not match)."""
        if self.node.author.source != self._source:
            self._source = self.node.author.source
            self._log = log_of(self.node)
        rows = self._first
        self._first = []
        size = looked = 0
        for model in self._models():
            name = model.name
            self._at.setdefault(name, 0)
            while self._at[name] < self._end(model):
                if len(rows) >= ROWS_MAX or size >= ROWS_BYTES or looked >= SCAN_ENTRIES_MAX:
                    return rows
                looked += ROWS_MAX
                passed = self._passed.get(name)
                if passed is not None and self._has_forgotten(model, passed):
                    self._start_over(f"model {name} has forgotten deletions since")
                    return rows
                if self._missed_some(model):
                    self._start_over(f"model {name} was reset, or has forgotten deletions")
                    return rows
                size += self._read(model, rows, now)
                if self._first:
                    return rows
            passed = self._passed.get(name)
            if passed is not None and passed.is_behind(self._at[name]):
                del self._passed[name]
        if self._until is not None and self._is_live_due(self._until):
            self._until = None
            self._held.clear()
            rows.append(self._live())
        self._owes_clock = self._owes_clock or bool(rows)
        return rows

    def _live(self) -> ChangeRow:
        """The row that ends a snapshot: until here all was told, and what follows is news."""
        cursor = cursor_text(self._log, self._at, self._passed)
        return live_row(cursor)

    def _read(self, model: Scuttlebutt, rows: list[ChangeRow], now: Instant) -> int:
        """One piece of one log; the bytes of records that became rows."""
        log = model.log
        name = model.name
        size = 0
        passed = self._passed.get(name)
        start = max(self._at[name], log.first)
        piece = log.piece(start, min(self._end(model), start + ROWS_MAX))
        if not piece.records:
            self._at[name] = log.past_gap(piece.next)
            return 0
        if not isinstance(model, Slots):
            return self._read_updates(model, piece, rows)
        for at, record, source in zip(piece.positions, piece.records, piece.sources, strict=True):
            if record is None:
                continue
            slot = parse(record, source)
            if passed is not None and passed.covers(slot) and not passed.has_news(model, slot):
                continue
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

    def _read_updates(self, model: Scuttlebutt, piece: Piece, rows: list[ChangeRow]) -> int:
        """The same of a model without slots: each update as its type tells it.

        Its log may hold what its history no longer does; in a snapshot that is left out.
        """
        name = model.name
        size = 0
        passed = self._passed.get(name)
        held = self._held.get(name)
        for at, record, source in zip(piece.positions, piece.records, piece.sources, strict=True):
            if record is None:
                continue
            update = Update.of(record, source)
            if passed is not None and passed.covers(update):
                continue
            if held is not None and self._began_after(model, at):
                if (update.timestamp, source) not in held:
                    continue
            key, kind, value = shown_change(model, update)
            if self._match(key):
                self._at[name] = at + 1
                rows.append(
                    ChangeRow(
                        op="set" if kind != "deleted" else "del",
                        model=name,
                        key=text_of(key),
                        kind=kind,
                        value=value,
                        rev=rev_text(update.timestamp, source),
                        name=self.node.name_of(source),
                        cursor=cursor_text(self._log, self._at, self._passed),
                        time_ms=update.timestamp // TICKS_PER_MS,
                    )
                )
                size += len(record)
                if size >= ROWS_BYTES:
                    return size
        self._at[name] = piece.next
        return size

    def _op(self, model: Slots, slot: Slot, at: int, record: bytes, now: Instant) -> str:
        """The name of a change in a row; "" if it is none that a watcher sees."""
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

    def _missed_some(self, model: Scuttlebutt) -> bool:
        """True if something that this watch was still to tell is forgotten."""
        name = model.name
        forgotten = model.log.forgotten
        began = self._until.get(name, 0) if self._until is not None else 0
        return forgotten >= max(self._at[name], began) and forgotten > self._excused.get(name, -1)

    def _began_after(self, model: Scuttlebutt, at: int) -> bool:
        """True of a place in the log that belongs to the snapshot, not to the news."""
        return self._until is not None and at < self._until.get(model.name, 0)

    def _row(self, op: str, model: Slots, slot: Slot) -> ChangeRow:
        kind, value = model.value(slot) if op == "set" else ("deleted", b"")
        cursor = cursor_text(self._log, self._at, self._passed)
        at_ms = slot.expires_ms if op == "expire" else slot.timestamp // TICKS_PER_MS
        name = self.node.name_of(slot.source)
        key = text_of(model.label(slot))
        # By position: some thousands of rows a second, which keywords make a tenth slower.
        return ChangeRow(op, model.name, key, kind, value, slot.rev, name, cursor, at_ms)

    # --- clocks ---

    def _is_clock_due(self) -> bool:
        return any(
            (rise := self._rises.get(model.name)) is not None
            and rise.is_due(model, self._at.get(model.name, 0))
            for model in self._models()
        )

    def covered(self) -> Clocks:
        """Clocks of what was told, as far as they rose since this was asked last.

        All that they cover was told by now, was overwritten before that, or does not match.
        """
        risen: Clocks = {}
        for model in self._models():
            name = model.name
            rise = self._rises.get(name)
            if rise is None:
                passed = self._passed.get(name)
                expired_ms = passed.expired_ms if passed is not None else 0
                rise = self._rises[name] = Rise(expired_ms)
            if news := rise.take(model, self._at.get(name, 0)):
                risen[name] = news
        if risen:
            self._owes_clock = False
        return risen


def live_row(cursor: str) -> ChangeRow:
    """Says that what follows is news."""
    return ChangeRow("live", "", "", None, None, "", "", cursor, None)


def text_of(slot: bytes) -> str:
    return slot.decode("utf-8", "surrogateescape")


def log_of(node: Node) -> str:
    """The name for the numbers of this node's logs in cursors."""
    me = node.settings
    owner = source_text(node.author.source) if node.durability.stored else me.incarnation.hex()
    return log_name(owner, me.cluster)
