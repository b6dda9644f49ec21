"""Membership: who is in the cluster, and how far each has come, in rows of the model `_members`.

Each node writes rows of its own, which spread like any other data, so everybody knows of
everybody, also through third nodes:

    <node id>            {"name", "address", "version", "life"}      at least once a minute
    <node id>/<model>    | source 12 bytes | timestamp 8 bytes | ...  what its clock covers, on disk

*When a deletion may be forgotten.* A tombstone is stable when this node's clock on disk covers
it, and the clock of every member that counts does, and every peer that is linked has confirmed
it on that very link (what it sends from then on is in accord; through third nodes its row may be
here before what it sent earlier). Stable tombstones are collected, which raises the model's floor:
who comes back below the floor has to take over the whole state (RESET).

A member that was silent for `forget_after`, or whose row was deleted by `forget`, no longer
counts. That alone costs it nothing: it rejoins by a RESET only if something that it has not
seen was collected meanwhile. (Checked in 80,000 random runs: simulation/nodes/meetings.)
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from scuttled.models.map import Map
from scuttled.printable import one_line
from scuttled.protocol.link import Link
from scuttled.replica.change import BYTES, DELETED, JSON, Slot, parse
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import Rejoin
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.tombstones import IsStable
from scuttled.replica.update import (
    NODE_ID_BYTES,
    SOURCE_BYTES,
    STAMP_BYTES,
    TICKS_PER_MS,
    NodeId,
    Source,
    node_of,
    stamp,
)
from scuttled.replica.version_vector import Clock
from scuttled.version import __version__

MEMBERS = "_members"
ROW_S = 0.25  # between two rows of one node...
MEMBERS_PER_ROW_S = 40  # ...in a cluster of so many; longer in a larger one
REFRESH_MS = 60_000  # a row is written anew after that, though nothing changed...
REFRESHES = 3  # ...or so often within `forget_after`, or who is there would cease to count
MEMORY_SILENT_MS = 180_000  # after which a node without disk no longer counts: three rows
FRESH_MS = 90_000  # a member whose row is no older is there, as far as anybody knows
FORGET_AFTER_MS = 7 * 86_400_000

FORGOTTEN = "this node was forgotten by the others: it tells them of itself again"

COLLECT_AGE_MS = 60_000  # nothing younger is forgotten: watchers may be behind for so long

LIFE_MAX = 2**32 - 1
NAME_CHARS_MAX = 255  # of a name, an address, a version

_PAIR = SOURCE_BYTES + STAMP_BYTES


class NodeSettings(NamedTuple):
    """Settings of a node: what it is told of itself and of its cluster."""

    name: str
    cluster: str
    incarnation: bytes  # 8 random bytes for each start
    address: str = ""  # where it can be dialled
    max_skew_ms: int = 60_000
    forget_after_ms: int = FORGET_AFTER_MS
    rejoin: Rejoin = Rejoin.OWN
    collect_age_ms: int = COLLECT_AGE_MS
    began_ms: int = 0  # when this daemon was started
    refresh_ms: int = REFRESH_MS  # see there; a simulated clock has no minutes


@dataclass(slots=True)
class Member:
    """A member, as its rows have it."""

    node_id: NodeId
    name: str = ""
    address: str = ""
    version: str = ""
    life: int = 0
    seen_ms: int = 0  # by its own clock, when it wrote its latest row
    listed: bool = False  # it has a row, which `forget` has not deleted
    memory: bool = False  # it has no disk: when it ends, all of it is gone, its id, too
    clocks: dict[str, dict[Source, int]] = field(default_factory=dict)  # by model

    def covers(self, model: str, source: Source, time: int) -> bool:
        return self.clocks.get(model, {}).get(source, 0) >= time


class Membership:
    """The members as this node knows them, and the rows that it writes itself."""

    def __init__(
        self, model: Scuttlebutt, author: Author, settings: NodeSettings, *, stored: bool = True
    ) -> None:
        assert isinstance(model, Map)
        self.stored = stored
        self.model = model
        self.author = author
        self.settings = settings
        self.refresh_ms = min(settings.refresh_ms, settings.forget_after_ms // REFRESHES)
        self.known: dict[NodeId, Member] = {}
        self.names: dict[NodeId, str] = {}  # also of nodes that were forgotten
        self.forgot_me = False  # our row was deleted; until it is written again
        self.retired = False  # our rows are gone for good
        self.leapt_ms = 0  # of the wall clock, since the rows were read: nobody is silent for that
        self._seen = 0  # position in the log of rows, below which all were read
        self._namesakes_told: set[str] = set()
        self._told: dict[str, tuple[Clock, int]] = {}  # by model, the clock in our row, as of then

    # --- reading ---

    def read_anew(self) -> None:
        """Some rows are gone (see future), and all that was learnt of them."""
        self.known.clear()
        self._told.clear()
        self._seen = 0
        self.read()

    def read(self) -> None:
        """Learn what is new in the rows."""
        log = self.model.log
        while self._seen < log.end:
            piece = log.piece(self._seen, log.end)
            self._seen = piece.next
            for record, source in zip(piece.records, piece.sources, strict=True):
                if record is not None:
                    self._learn(parse(record, source))

    def _learn(self, row: Slot) -> None:
        key, _, model = row.slot.decode("utf-8", "replace").partition("/")
        node_id = _node_id(key)
        if node_id is None or not (row.kind == DELETED or node_of(row.source) == node_id):
            return
        if node_id == self.author.node_id and row.source != self.author.source:
            self._told.clear()  # an earlier life's, or the doing of others: say it anew
            self.forgot_me = (self.forgot_me or row.kind == DELETED) and not self.retired
        member = self.known.setdefault(node_id, Member(node_id))
        if node_of(row.source) == node_id:
            member.seen_ms = max(member.seen_ms, row.timestamp // TICKS_PER_MS)
        if model:
            member.clocks[model] = {} if row.kind == DELETED else _unpack(row.payload)
        elif row.kind == DELETED:
            del self.known[node_id]
        else:
            self._learn_facts(member, row.payload)

    def _learn_facts(self, member: Member, payload: bytes) -> None:
        try:
            facts = json.loads(payload)
        except (ValueError, RecursionError):
            facts = None
        facts = facts if isinstance(facts, dict) else {}
        life = facts.get("life")
        member.listed = True
        member.life = life if type(life) is int and 0 <= life <= LIFE_MAX else 0
        member.name, member.address, member.version = (
            _short(facts.get(what)) for what in ("name", "address", "version")
        )
        member.memory = facts.get("memory") is True
        self.names[member.node_id] = member.name

    def counts(self, member: Member, wall_ms: int) -> bool:
        """True while deletions wait for it.

        A node without disk that was killed holds nothing any more, and never comes back under its
        id; one that was merely away for so long rejoins by a RESET, as any other that no longer
        counts, so nothing that was deleted meanwhile comes back with it.
        """
        limit_ms = self.settings.forget_after_ms
        if member.memory:
            limit_ms = min(limit_ms, MEMORY_SILENT_MS + self.settings.max_skew_ms)
        return wall_ms - self.leapt_ms - member.seen_ms < limit_ms

    def others(self, wall_ms: int) -> Iterator[Member]:
        """The other members that count."""
        for member in self.known.values():
            if member.listed and member.node_id != self.author.node_id:
                if self.counts(member, wall_ms):
                    yield member

    def count(self, wall_ms: int) -> int:
        """Size of the cluster, this node among its members."""
        return 1 + sum(1 for _ in self.others(wall_ms))

    def count_above_floor(self, model: Scuttlebutt, wall_ms: int) -> int:
        """Number of these that share what this node has forgotten of a model: none lies below it.

        When two clusters meet, everybody soon knows all members of both; this still tells them
        apart.
        """
        floor = list(model.floor.items())
        return 1 + sum(
            all(member.covers(model.name, source, time) for source, time in floor)
            for member in self.others(wall_ms)
        )

    def namesakes(self, wall_ms: int) -> set[str]:
        """Names that more than one member bears, of those that are there.

        A node without disk that was killed and started again is another member at the same place:
        its old row says nothing of a second node.
        """
        mine = self.settings
        seen = {mine.name: {mine.address}} if mine.name else {}
        shared = set()
        for member in self.others(wall_ms):
            if member.name and wall_ms - member.seen_ms < FRESH_MS:
                places = seen.setdefault(member.name, set())
                if places and not (member.memory and member.address in places):
                    shared.add(member.name)
                places.add(member.address)
        return shared

    def new_namesakes(self, wall_ms: int) -> list[str]:
        """Those names that were not told yet since there is more than one member of that name."""
        shared = self.namesakes(wall_ms)
        new = sorted(shared - self._namesakes_told)
        self._namesakes_told = shared
        return new

    # --- writing ---

    def interval_s(self, wall_ms: int) -> float:
        """The least time between two rows of ours."""
        return ROW_S * max(1.0, self.count(wall_ms) / MEMBERS_PER_ROW_S)

    def begin(self, hlc_ms: int, wall_ms: int) -> None:
        """Read the rows of an earlier run, which ended at about `hlc_ms`."""
        self.read()
        away_ms = wall_ms - hlc_ms
        if hlc_ms and away_ms > self.settings.forget_after_ms // 2:
            self.leap(away_ms)

    def leap(self, leapt_ms: int) -> None:
        """The wall clock went on by so much while nobody could be heard: it was set, or this node
        was away. Else all others would be forgotten by one wrong clock."""
        self.leapt_ms = max(self.leapt_ms + leapt_ms, 0)

    def announce(self, models: Collection[Scuttlebutt], wall_ms: int) -> bool:
        """Write what is no longer true in our rows; whether anything was.

        Without a place for our source among them, others do not count this node. That costs it a
        RESET if something is forgotten that it has not seen, as with any node that was away.
        """
        self.forgot_me = self.forgot_me and self.model.has_room
        if self.retired or not self.model.has_room:
            return False
        key = self.author.node_id.hex()
        mine = self.settings
        facts: dict[str, object] = {
            "name": mine.name, "address": mine.address, "version": __version__
        }  # fmt: skip
        if not self.stored:
            facts["memory"] = True
        text = json.dumps({**facts, "life": self.author.life}).encode()
        wrote = self._write(key, JSON, text, wall_ms, refresh_ms=self.refresh_ms)
        for model in models:
            clock = model.durable_clock
            if model.name != MEMBERS and self._told.get(model.name) != (clock, clock.revision):
                packed = b"".join(source + stamp(time) for source, time in clock.items())
                self._told[model.name] = (clock, clock.revision)
                if model.overfull:  # no peer would take such a row
                    wrote |= self.model.discard(f"{key}/{model.name}", wall_ms) is not None
                elif packed:
                    wrote |= self._write(f"{key}/{model.name}", BYTES, packed, wall_ms)
        self.forgot_me = False
        return wrote

    def _write(self, key: str, kind: int, value: bytes, wall_ms: int, refresh_ms: int = 0) -> bool:
        found = None if self.forgot_me else self.model.find(key, wall_ms)
        if found is not None and found.payload == value and found.source == self.author.source:
            if not refresh_ms or wall_ms - found.timestamp // TICKS_PER_MS < refresh_ms:
                return False
        self.model.put(key, kind, value, wall_ms)
        return True

    def forget(self, node_id: NodeId, wall_ms: int) -> None:
        """Delete a member's rows: it no longer counts, here and everywhere."""
        key = node_id.hex()
        member = self.known.get(node_id)
        for name in (key, *(f"{key}/{model}" for model in (member.clocks if member else ()))):
            self.model.discard(name, wall_ms)

    def forget_ghosts(self, wall_ms: int) -> bool:
        """Delete the rows of nodes without disk that no longer count; whether there were any.

        Each start of such a node is another member: their rows would pile up for ever.
        """
        ghosts = [
            member.node_id
            for member in self.known.values()
            if member.memory and member.listed and not self.counts(member, wall_ms)
            if member.node_id != self.author.node_id
        ]
        for node_id in ghosts:
            self.forget(node_id, wall_ms)
        return bool(ghosts)

    def retire(self, wall_ms: int) -> None:
        """This node will not come back: nobody is to wait for it."""
        self.retired = True
        if self.model.has_room:
            self.forget(self.author.node_id, wall_ms)

    # --- what may be forgotten ---

    def collect(self, model: Slots, links: Iterable[Link], wall_ms: int, *, alone: bool) -> int:
        """Forget the deletions in a model that are stable; how many."""
        is_stable = self.stability(model, links, wall_ms)
        if is_stable is None:
            return 0
        return model.collect(is_stable, wall_ms - self.settings.collect_age_ms, alone=alone)

    def stability(self, model: Scuttlebutt, links: Iterable[Link], wall_ms: int) -> IsStable | None:
        """Tells whether everybody covers a timestamp of a source; None if somebody is in mid-word.

        What it says holds for the moment.
        """
        sessions = []
        for link in links:
            if model.name not in link.stopped:
                session = link.sessions.get(model.name)
                if session is None or not session.open:
                    return None
                sessions.append(session.confirmed)
        clocks = [member.clocks.get(model.name, {}) for member in self.others(wall_ms)]
        mine = model.durable_clock
        limits: dict[Source, int] = {}

        def is_stable(source: Source, time: int) -> bool:
            limit = limits.get(source)
            if limit is None:
                theirs = [clock.get(source, 0) for clock in (*clocks, *sessions)]
                limit = limits[source] = min([mine[source], *theirs])
            return time <= limit

        return is_stable

    def holding_up(self, model: Scuttlebutt, grave: Slot, wall_ms: int) -> list[Member]:
        """The members that do not cover a deletion yet."""
        return [
            member
            for member in self.others(wall_ms)
            if not member.covers(model.name, grave.source, grave.timestamp)
        ]


def _node_id(text: str) -> NodeId | None:
    try:
        node_id = bytes.fromhex(text)
    except ValueError:
        return None
    # In the one form that we write: or one node would go by several keys.
    return NodeId(node_id) if len(node_id) == NODE_ID_BYTES and node_id.hex() == text else None


def _unpack(packed: bytes) -> dict[Source, int]:
    """A clock as a row has it; a tail that is no whole pair is left out."""
    return {
        Source(packed[at : at + SOURCE_BYTES]): int.from_bytes(
            packed[at + SOURCE_BYTES : at + _PAIR], "big"
        )
        for at in range(0, len(packed) - _PAIR + 1, _PAIR)
    }


def _short(value: object) -> str:
    """A peer's text, as far as we keep it; the row itself spreads as it is, or nodes would
    differ.
    """
    return one_line(value[:NAME_CHARS_MAX]) if isinstance(value, str) else ""
