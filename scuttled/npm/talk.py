"""One conversation with an npm peer. Pure: bytes in, bytes out, chosen when they can be sent.

    we    header, when its header is there (or does not come)
    we    the history that its clock lacks, "SYNC", then what is new

npm drops for ever what does not ascend within its source, so only what our clock covers is sent,
by rank: of each source nothing can come before it any more. What must go out late all the same
(an id that two of our nodes have heard of) goes out under an alias. Nothing that a peer has sent,
or says it has, is sent to it; npm itself echoes everything.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from scuttled.core.changes import DELETED, Slot, make_change
from scuttled.core.following import Follower
from scuttled.core.slots import Slots
from scuttled.core.update import TICKS_PER_MS, Instant, Source, parse_source, source_text
from scuttled.errors import Refused, RemoteProtocolError
from scuttled.npm.bridge import Bridge, namesake, npm_id
from scuttled.npm.dialects import Origin, Unsayable, dialect
from scuttled.npm.lines import (
    SOURCES_MAX,
    SYNC,
    Lines,
    is_id,
    read_clock,
    ticks_of,
    time_of,
    write_line,
)

HEADER_S = 0.25  # to wait for the peer's header, which says what it has sent before
HELLO_S = 10.0  # for a peer that is one to say anything
DRAW_BYTES = 64 << 10
LOOKED_AT_MAX = 1000  # in one draw
CAUSES_MAX = 20  # that are told apart of why something was left out; they hold a peer's words
_ALIAS = "~"


class Talk:
    """Ends by RemoteProtocolError, or with its connection."""

    def __init__(self, bridge: Bridge, now: Instant) -> None:
        self.bridge = bridge
        self.peer = ""  # its id, once it has said it
        self.updates_in = self.updates_out = 0
        self.left_out: Counter[str] = Counter()  # why, and how many
        self._began_s = now.mono_s
        self._lines = Lines()
        self._followers: dict[str, Follower] = {}
        self._heard: dict[str, int] = {}  # by npm id: up to where the peer has sent, or says it has
        self._sent: dict[str, int] = {}  # by npm id: up to where we have
        self._said_header = self._synced_out = self._synced_in = False

    # --- in ---

    def feed(self, data: bytes, now: Instant) -> None:
        """Raises RemoteProtocolError at what npm can't have said; StorageError as `set` does."""
        for message in self._lines.feed(data):
            match message:
                case dict():
                    self._take_header(message)
                case list():
                    self._take_update(message, now)
                case "SYNC":
                    self._synced_in = True
                    self._remember()
                case _:
                    pass  # npm ignores it, too

    def _take_header(self, header: dict[str, Any]) -> None:
        if self.peer:
            raise RemoteProtocolError("a second header")
        times = read_clock(header)
        self.peer = header["id"]
        for source, ticks in times.items():
            self._note_heard(source, ticks)

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
            if ticks > (now.wall_ms + self.bridge.node.max_skew_ms) * TICKS_PER_MS:
                raise Unsayable("an update from the future")
            signature = update[3] if len(update) == 4 else None
            self._take(update[0], ticks, update[2], signature, now)
        except (Unsayable, Refused) as why:  # Refused: a source too many
            self._leave_out(str(why))

    def _leave_out(self, why: str) -> None:
        known = why in self.left_out or len(self.left_out) < CAUSES_MAX
        self.left_out[why if known else "for other reasons"] += 1

    def _take(self, change: Any, ticks: int, npm: str, signature: Any, now: Instant) -> None:
        name, change = self._open(change)
        self.updates_in += 1
        self._note_heard(npm, ticks)
        model = self._model(name)
        ours = parse_source(npm)
        if ours is not None and model.clock.covers(ours, ticks):
            return  # an echo
        if npm.endswith(_ALIAS):
            return  # an echo of what we could say under that name only
        source = self.bridge.source(npm)
        said = dialect(model).hear(change, ticks, ours or namesake(npm))
        origin = Origin(npm, signature, said.arguments).to_bytes(self.bridge.node.author.life)
        before = model.lookup(said.slot)
        if before is not None and before.timestamp == ticks and npm_id(before) == npm:
            return  # another node of ours has heard it
        self.bridge.node.check_writable()
        if model.adopt(
            make_change(said.slot, said.kind, said.payload, origin=origin), ticks, source
        ):
            if dialect(model).last_wins and before and before.timestamp == ticks:
                self._break_tie(model, said.slot, now)
            self.bridge.node.accepted(model, urgent=False)

    def _break_tie(self, model: Slots, slot: bytes, now: Instant) -> None:
        """Two writes at one time: in npm either may stand by now. Write the winner anew."""
        winner = model.lookup(slot)
        if winner is not None and model.has_room:
            model.fill(slot, winner.kind, winner.payload, now.wall_ms)

    def _open(self, change: Any) -> tuple[str, Any]:
        """The part that is meant, and its change."""
        if self.bridge.bucket is None:
            return "", change
        if not (isinstance(change, list) and len(change) == 2 and is_id(change[0])):
            raise Unsayable("a change that is not [part, change]")
        return change[0], change[1]

    def _model(self, part: str) -> Slots:
        if self.bridge.bucket is not None:
            return self.bridge.part(part)
        return next(model for _, model in self.bridge.parts())

    def _remember(self) -> None:
        if self._synced_in and self.peer:
            self.bridge.remember(self.peer, self._heard)

    # --- out ---

    def due_s(self) -> float | None:
        """When `draw` has something although nothing has happened."""
        return None if self._said_header else self._began_s + HEADER_S

    def wants_to_send(self, now: Instant) -> bool:
        """Whether `draw` may have something. Cheap."""
        if not self._said_header:
            return bool(self.peer) or now.mono_s >= self._began_s + HEADER_S
        if not self.peer:
            return False
        if not self._synced_out:
            return True
        return any(self._follower(*part).has_something() for part in self.bridge.parts())

    def draw(self, now: Instant) -> bytes:
        """The next lines; may be none although it wanted to send."""
        out = b""
        if not self._said_header:
            self._said_header = True
            out = self._header()
        if not self.peer:
            return out
        busy = False
        for name, model in self.bridge.parts():
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
        if bridge.bucket is None:  # the clock of a bucket is one for all of its parts
            _, model = next(bridge.parts())
            clock = {**clock, **bridge.own_clock(model)}
        times = {name: time_of(ticks) for name, ticks in clock.items()}
        return write_line({"id": source_text(bridge.node.author.source), "clock": times})

    def _follower(self, name: str, model: Slots) -> Follower:
        found = self._followers.get(name)
        if found is None:
            found = self._followers[name] = Follower(model, self._known_of_ours())
        return found

    def _known_of_ours(self) -> Mapping[Source, int]:
        """What a peer with a model of its own has of our sources; a bucket's clock says less."""
        if self.bridge.bucket is not None:
            return {}
        ours = ((parse_source(name), ticks) for name, ticks in self._heard.items())
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
        origin, npm = Origin.of(slot), npm_id(slot)
        sent = self._sent.get(npm, 0)
        if self._heard.get(npm, 0) >= slot.timestamp or sent == slot.timestamp:
            return None
        try:
            change = dialect(model).say(slot, model.now_ms())
        except Unsayable as why:
            if slot.kind != DELETED:
                self._leave_out(f"not sent: {why}")
            return None
        if sent > slot.timestamp:
            npm += _ALIAS
        update = [[part, change] if part else change, time_of(slot.timestamp), npm]
        if origin.signature is not None and not npm.endswith(_ALIAS):
            update.append(origin.signature)
        try:
            line = write_line(update)
        except (ValueError, RecursionError):  # 1e999 and the like, which some node took in
            self._leave_out("not sent: a value that JSON can't say")
            return None
        self._sent[npm] = max(self._sent.get(npm, 0), slot.timestamp)
        self.updates_out += 1
        return line
