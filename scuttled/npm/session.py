"""One conversation with an npm peer. Pure: bytes in, bytes out, chosen when they can be sent.

    we    header, when its header is there (or does not come)
    we    the history that its clock lacks, "SYNC", then what is new

npm drops for ever what does not ascend within its source, so only what our clock covers is sent,
by rank: of each source nothing can come before it any more. What must go out late all the same
(an id that two of our nodes have heard of) goes out under an alias. Nothing that a peer has sent,
or says in its header that it has, is sent to it. That it echoes what we sent says nothing of what
came before it: npm echoes everything.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from scuttled.errors import Refused, RemoteProtocolError
from scuttled.models.value import Value
from scuttled.npm.bridge import NOTHING_TOLD, Bridge, GuestMemory, Later
from scuttled.npm.codec import (
    LINE_BYTES_MAX,
    SOURCES_MAX,
    SYNC,
    LeftOut,
    LineDecoder,
    is_id,
    read_clock,
    ticks_of,
    time_of,
    write_line,
)
from scuttled.npm.hazards import Unsayable, check_key
from scuttled.npm.names import ALIAS, ALIASES_MAX, base_id, namesake, npm_id
from scuttled.npm.removals import Removals, is_push, removed_slot
from scuttled.npm.shared import Shared
from scuttled.npm.translation import Origin, Translated, dialect, is_ours
from scuttled.replica.change import DELETED, Slot, make_change
from scuttled.replica.slots import Slots
from scuttled.replica.subscription import Follower
from scuttled.replica.update import TICKS_PER_MS, Instant, Source, parse_source, source_text

HEADER_S = 0.25  # to wait for the peer's header, which says what it has sent before
HELLO_S = 10.0  # for a peer that is one to say anything
DRAW_BYTES = 64 << 10
LOOKED_AT_MAX = 1000  # in one draw
CAUSES_MAX = 20  # that are told apart of why something was left out; they hold a peer's words
OTHER_CAUSES = "for other reasons"


class Talk:
    """Ends by RemoteProtocolError, or with its connection."""

    def __init__(self, bridge: Bridge, now: Instant) -> None:
        self.bridge = bridge
        self.peer = ""  # its id, once it has said it
        self.heard_at: Instant | None = None  # when it said something the last time
        self.updates_in = 0
        self.updates_out = 0
        self.left_out: Counter[str] = Counter()  # of what it sent: why, and how many
        self.not_sent: Counter[str] = Counter()  # of what we have: the same
        self._began_s = now.mono_s
        self._began_ticks = now.wall_ms * TICKS_PER_MS
        self._lines = LineDecoder()
        self._followers: dict[str, Follower] = {}
        # All by npm id. The peer's clock is the greatest of these three:
        self._claimed: dict[str, int] = {}  # in its header: it has all of that id up to there
        self._heard: dict[str, int] = {}  # the same, and what it has sent since
        self._sent: dict[str, int] = {}  # what we have
        self._shared = Shared()  # what has crossed, one by one
        self._before = NOTHING_TOLD  # what it was told in earlier conversations
        self._from_us: set[str] = set()  # npm ids of which it has that, and nothing else
        self._others: set[str] = set()  # npm ids that it has from elsewhere, too
        self._removals = Removals()
        self._postponed: dict[str, int] = {}  # by npm id: the first that is to be sent again
        self._untyped: set[str] = set()  # parts of which something was left out; they may come
        self._said_header = False
        self._synced_out = False
        self._synced_in = False

    # --- in ---

    def feed(self, data: bytes, now: Instant) -> None:
        """Raises RemoteProtocolError at what npm can't have said; StorageError as `set` does."""
        self.heard_at = now
        for message in self._lines.feed(data):
            match message:
                case LeftOut(why):
                    if not self.peer:  # whoever begins so is no npm peer
                        raise RemoteProtocolError(why)
                    self._leave_out(why)
                case dict():
                    self._take_header(message)
                case list():
                    self._take_update(message, now)
                case "SYNC":
                    self._synced_in = True
                case _:
                    pass  # npm ignores it, too

    def _take_header(self, header: dict[str, Any]) -> None:
        if self.peer:
            raise RemoteProtocolError("a second header")
        times = read_clock(header)
        self.peer = header["id"]
        for source, ticks in times.items():
            self._note_heard(source, ticks)
        self._claimed = dict(times)
        before = self.bridge.told_to(self.peer)
        if before.has_arrived(times):
            self._before = before
            self._from_us = before.from_us_alone(times)
        self._others = set(before.others) | (times.keys() - self._from_us)

    def _note_heard(self, npm: str, ticks: int) -> None:
        """Of more sources than a clock can have none is noted (I7): it may get an echo."""
        if npm not in self._heard and len(self._heard) >= SOURCES_MAX:
            return
        self._heard[npm] = max(ticks, self._heard.get(npm, 0))

    def _take_update(self, update: list[Any], now: Instant) -> None:
        try:
            if not (3 <= len(update) <= 4 and is_id(update[2])):
                raise Unsayable("an update that is not [change, timestamp, source]")
            ticks = ticks_of(update[1])
            if ticks is None:
                raise Unsayable("a timestamp that is no time in milliseconds")
        except Unsayable as why:
            self._leave_out(str(why))
            return
        npm: str = update[2]
        signature = update[3] if len(update) == 4 else None
        try:
            if ticks > (now.wall_ms + self.bridge.node.max_skew_ms) * TICKS_PER_MS:
                raise Later("an update from the future")
            self._take(update[0], ticks, npm, signature, now)
        except (Later, Refused) as why:  # Refused: a source too many
            self._leave_out(str(why))
            if npm in self._postponed or len(self._postponed) < SOURCES_MAX:
                self._postponed[npm] = min(ticks, self._postponed.get(npm, ticks))
        except Unsayable as why:
            self._leave_out(str(why))
            self._note_heard(npm, ticks)

    def _leave_out(self, why: str) -> None:
        _count(self.left_out, why)

    def _take(self, change: Any, ticks: int, npm: str, signature: Any, now: Instant) -> None:
        part, change = self._open(change)
        self.updates_in += 1
        model = self._model(part)
        base = base_id(npm)
        ours = parse_source(base)
        said = dialect(model).hear(change, ticks, ours or namesake(base))
        if signature is not None and _is_renamed(model, change):
            raise Unsayable("a signed change whose name is no text: told on, it would not verify")
        before = model.lookup(said.slot)
        # An echo of what we wrote; it may be outranked by now, so that no slot tells.
        is_echo = ours is not None and model.clock.covers(ours, ticks)
        if not is_echo and not _is_same(before, ticks, base):
            self.bridge.node.durability.check_writable()
            if self._adopt(model, said, ticks, npm, signature):
                self._settle_tie(model, before, ticks, now)
                self.bridge.node.accepted(model, urgent=False)
        self._note_heard(npm, ticks)
        if not self._shared.has(base, ticks, said.slot, part) and len(self._others) < SOURCES_MAX:
            self._others.add(npm)  # it is no echo
        self._shared.add(base, ticks, said.slot, part)
        if model.data_type == "log" and (gone := removed_slot(change, ours=False)):
            self._removals.settle(gone)

    def _adopt(self, model: Slots, said: Translated, ticks: int, npm: str, signature: Any) -> bool:
        """Take it in, under the source of its id; False if it is outranked, and so needless.

        One that comes after later ones of its id (which lives twice, or whose clock was set back)
        goes under the source of its alias: our clock says of the first that it is all there.
        Raises Unsayable if that is spent, too; Refused at a source too many.
        """
        life = self.bridge.node.author.life
        for name in (npm, npm + ALIAS):
            source = self.bridge.source(name)
            origin = Origin(name, signature if name == npm else None, said.arguments)
            data = origin.to_bytes(life)
            expires_ms = _expiry_ms(model, said, ticks)
            change = make_change(said.slot, said.kind, said.payload, expires_ms, data)
            if model.adopt(change, ticks, source):
                return True
            slot = Slot(said.slot, said.kind, said.payload, 0, ticks, source)
            if isinstance(model, Value) or model.dominates(slot):
                return False
        raise Unsayable("an update that comes after later ones of its id")

    def _settle_tie(self, model: Slots, before: Slot | None, ticks: int, now: Instant) -> None:
        """Two writes at one time: npm has its own ways to choose, each type and peer another.

        So the winner is written anew, at a later time, which all agree on.
        """
        if not model.has_room:
            return
        if dialect(model).last_wins and before is not None and before.timestamp == ticks:
            winner = model.lookup(before.slot)
            assert winner is not None
            model.fill(winner.slot, winner.kind, winner.payload, now.wall_ms, winner.expires_ms)
        elif isinstance(model, Value):
            newest = model.newest_first()[:2]
            if len(newest) == 2 and newest[0].timestamp == newest[1].timestamp:
                model.enter(newest[0].kind, newest[0].payload)

    def _open(self, change: Any) -> tuple[str, Any]:
        """The part that is meant, and its change."""
        if self.bridge.bucket is None:
            return "", change
        if not (isinstance(change, list) and len(change) == 2 and is_id(change[0])):
            raise Unsayable("a change that is not [part, change]")
        return change[0], change[1]

    def _model(self, part: str) -> Slots:
        if self.bridge.bucket is None:
            return next(model for _, model in self.bridge.parts())
        try:
            return self.bridge.part(part)
        except Later:
            if len(self._untyped) < CAUSES_MAX:
                self._untyped.add(part)
            raise

    def end(self) -> None:
        """The connection is over: what the peer has sent, it need not send again.

        Not if it had not sent all of its history: what came then may lie above what did not.
        """
        if self.peer:
            self._remember_told()
        if not (self._synced_in and self.peer):
            return
        heard = dict(self._heard)
        for npm, ticks in self._postponed.items():
            heard[npm] = min(heard.get(npm, 0), ticks - 1)
        self.bridge.remember(self.peer, heard)

    def _remember_told(self) -> None:
        given = {part: dict(times) for part, times in self._before.given.items()}
        for part, follower in self._followers.items():
            times = given.setdefault(part, {})
            for source, time in follower.given.items():
                times[source] = max(time, times.get(source, 0))
        sent = {**self._before.sent, **self._sent}
        self.bridge.remember_told(self.peer, GuestMemory(given, sent, frozenset(self._others)))

    # --- out ---

    def due_s(self) -> float | None:
        """Monotonic seconds at which `draw` has something although nothing has happened."""
        return None if self._said_header else self._began_s + HEADER_S

    def wants_to_send(self, now: Instant) -> bool:
        """True while `draw` may have something. Cheap."""
        if not self._said_header:
            return bool(self.peer) or now.mono_s >= self._began_s + HEADER_S
        if not self.peer:
            return False
        if not self._synced_out or self._parts_have_come():
            return True
        return any(self._follower(*part).has_something() for part in self.bridge.parts())

    def _parts_have_come(self) -> bool:
        return any(self.bridge.has_part(part) for part in self._untyped)

    def draw(self, now: Instant) -> bytes:
        """The next lines; may be none although it wanted to send. Raises RemoteProtocolError."""
        out = b""
        if not self._said_header:
            self._said_header = True
            out = self._header()
        if not self.peer:
            return out
        if self._parts_have_come():
            raise RemoteProtocolError("a part has a type now: what was left out is to come again")
        busy = False
        for name, model in self.bridge.parts():
            if model.log.live and not model.keeps_deleted:
                self.bridge.keep_deleted(model)
            lines, more = self._draw_part(name, self._follower(name, model), DRAW_BYTES - len(out))
            out += lines
            busy = busy or more
        if not busy and not self._synced_out:
            self._synced_out = True
            out += SYNC
        return out

    def _header(self) -> bytes:
        bridge = self.bridge
        clock = bridge.heard_from(self.peer) if self.peer else {}
        if bridge.bucket is None:
            # Whoever has sent something has it in its clock; else it is another of that id. (The
            # clock of a bucket lacks what it wrote itself.)
            claimed = self._claimed
            clock = {npm: time for npm, time in clock.items() if claimed.get(npm, 0) >= time}
            # The clock of a bucket is one for all of its parts.
            _, model = next(bridge.parts())
            clock |= bridge.own_clock(model)
        times = {name: time_of(ticks) for name, ticks in clock.items()}
        return write_line({"id": source_text(bridge.node.author.source), "clock": times})

    def _follower(self, name: str, model: Slots) -> Follower:
        found = self._followers.get(name)
        if found is None:
            found = self._followers[name] = Follower(model, self._known_of_ours())
        return found

    def _known_of_ours(self) -> Mapping[Source, int]:
        """Clock of our sources at a peer with a model of its own; a bucket's clock says less."""
        if self.bridge.bucket is not None:
            return {}
        ours = ((parse_source(name), ticks) for name, ticks in self._claimed.items())
        return {source: ticks for source, ticks in ours if source is not None}

    def _draw_part(self, name: str, follower: Follower, room: int) -> tuple[bytes, bool]:
        """Lines of one model, and whether there are more."""
        lines: list[bytes] = []
        size = looked = 0
        while size < room and looked < LOOKED_AT_MAX:
            slot = follower.next_slot()
            if slot is None:
                return b"".join(lines), follower.has_something()
            looked += 1
            if (line := self._line(name, follower.model, slot)) is not None:
                lines.append(line)
                size += len(line)
        return b"".join(lines), True

    def _line(self, part: str, model: Slots, slot: Slot) -> bytes | None:
        """An update as npm has it; None if the peer has it, or could make nothing of it."""
        if slot.slot.startswith(b"\0"):
            return None
        npm = npm_id(slot)
        if self._is_there(npm, part, slot):
            return None
        name = self._free_name(npm, slot.timestamp)
        try:
            if name != npm:
                self._check_alias(name, npm, model, slot)
            change = self._say(part, model, slot)
            line = self._written(part, change, name, slot)
        except Unsayable as why:
            if slot.kind != DELETED:
                _count(self.not_sent, str(why))
            return None
        self._sent[name] = slot.timestamp
        self._shared.add(base_id(npm), slot.timestamp, slot.slot, part)
        if name != npm and is_push(change):
            self._removals.settle(slot.slot)
        self.updates_out += 1
        return line

    def _is_there(self, npm: str, part: str, slot: Slot) -> bool:
        """True if the peer has it: it said so in its header, or it crossed a connection."""
        at = slot.timestamp
        base = base_id(npm)
        if self._claimed.get(npm, 0) >= at:
            # Its clock of an id that it has from us alone says no more than what we told it.
            told = self._before.given.get(part, {})
            return npm not in self._from_us or told.get(slot.source, 0) >= at
        if base == self.peer and self._claimed.get(base, 0) >= at:
            return True  # its own, which we know under an alias
        if self._shared.has(base, at, slot.slot, part):
            return True
        # It was long ago. Of what came to this very node npm's order holds: the peer that has sent
        # this id up to there has sent, or seen, what came before.
        if not self._shared.may_have(base, at) or self._heard.get(npm, 0) < at:
            return False
        return slot.source == self.bridge.source(npm)

    def _free_name(self, npm: str, at: int) -> str:
        """Its id, or the first alias of it under which the peer will take it; "" if all are spent.

        npm drops what is not later than the last of that name, whoever told it.
        """
        name = npm
        if npm == self.peer and 0 < self._heard.get(npm, 0) < at < self._began_ticks:
            # Of an earlier life, before its clock was set back. Under its own id npm would take all
            # that it writes until then for old.
            name += ALIAS
        for _ in range(ALIASES_MAX):
            if max(self._heard.get(name, 0), self._sent.get(name, 0)) < at:
                return name
            name += ALIAS
        return ""

    def _check_alias(self, name: str, npm: str, model: Slots, slot: Slot) -> None:
        """Raises Unsayable where an alias would be wrong: a second copy is another event."""
        if not name:
            raise Unsayable("an update too late for its id, and for all its aliases")
        if model.data_type == "map":
            return  # a second copy changes nothing
        if self._shared.may_have(base_id(npm), slot.timestamp):
            raise Unsayable("a late update that may have been sent long ago")
        if self.bridge.bucket is not None and base_id(npm) == self.peer:
            raise Unsayable("a bucket's own update, of which its clock does not tell")

    def _say(self, part: str, model: Slots, slot: Slot) -> Any:
        """The change in npm's words. Raises Unsayable."""
        if part and model.data_type == "map":
            check_key(slot.slot.decode(), in_bucket=True)
        change = dialect(model).say(slot, model.now_ms())
        if model.data_type == "log":
            gone = removed_slot(change, ours=is_ours(slot))
            if gone is not None:
                self._removals.check(gone, has_crossed=self._has_crossed(part, model, gone))
                self._removals.settle(gone)
        return change

    def _has_crossed(self, part: str, model: Slots, slot: bytes) -> bool:
        found = model.lookup(slot)
        if found is None or not found.shown(model.now_ms()):
            return False
        return self._shared.has(base_id(npm_id(found)), found.timestamp, slot, part)

    def _written(self, part: str, change: Any, name: str, slot: Slot) -> bytes:
        """A line of it. Raises Unsayable."""
        update = [[part, change] if part else change, time_of(slot.timestamp), name]
        signature = Origin.of(slot).signature
        if signature is not None and name == npm_id(slot):
            update.append(signature)
        try:
            line = write_line(update)
        except (ValueError, RecursionError):  # 1e999 and the like, which some node took in
            raise Unsayable("a value that JSON can't say") from None
        if len(line) > LINE_BYTES_MAX:
            raise Unsayable(f"a change of {len(line)} bytes as JSON, at most {LINE_BYTES_MAX}")
        return line


def _count(causes: Counter[str], why: str) -> None:
    known = why in causes or len(causes) < CAUSES_MAX
    causes[why if known else OTHER_CAUSES] += 1


def _is_same(found: Slot | None, ticks: int, base: str) -> bool:
    """True if that update stands there, whoever has heard of it and under which name."""
    return found is not None and found.timestamp == ticks and base_id(npm_id(found)) == base


def _is_renamed(model: Slots, change: Any) -> bool:
    """True if the key, or the event, has a name that we keep in another form."""
    named = model.data_type in ("map", "events")
    return named and isinstance(change, list) and bool(change) and not isinstance(change[0], str)


def _expiry_ms(model: Slots, said: Translated, ticks: int) -> int:
    """Time at which it goes by itself, as by the model's option what is written here; 0: never."""
    option = model.settings[0] if model.settings else ""
    lifetime_ms = model.option_ms(option) if option else 0
    if not lifetime_ms or said.kind == DELETED:
        return 0
    return ticks // TICKS_PER_MS + lifetime_ms
