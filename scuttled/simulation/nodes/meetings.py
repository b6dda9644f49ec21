"""Nodes that meet now and then: the rules for forgetting deletions, run against the real code.

    Meetings(seed=7).run()

Three to five nodes, strangers at first, each with its own wrong clock; in every third run one
that comes later, with nothing; writes, deletions, keys that expire; links that move a few bytes at
a time and break anywhere; long silences, after which others are forgotten; restarts with what the
disk had. In the end all meet, and then

* all show the same, with the same clocks, and nothing is left to be collected;
* if no node had to be reset, nothing has come back that a writer who had seen it had replaced
  or deleted; members that knew each other and were never forgotten are not reset.

A step is one small thing, so a run takes some ten milliseconds.      [experiments/deletes.py]
"""

import random
from collections.abc import Iterable
from itertools import combinations

from scuttled.errors import RemoteProtocolError
from scuttled.models.map import Map
from scuttled.node.membership import NodeSettings
from scuttled.node.node import DEFAULT_MODEL, Node
from scuttled.protocol.host import End
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code
from scuttled.replica.change import TEXT
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import Rejoin
from scuttled.replica.update import Instant, NodeId
from scuttled.simulation.history import Violation
from scuttled.simulation.nodes.machine import MemoryDisk
from scuttled.simulation.world import EPOCH_MS

KEYS = "jkl"
SKEW_MS = 2000  # between clocks, at most
FORGET_AFTER_MS = 40_000
SILENCES_S = (0.0, 0.05, 0.3, 1.1, 1.1, 3.0, 30.0)
LINK_LOSS_S = 9.0  # a silence that no link outlives
ROUNDS_MAX = 60  # of meetings, before all must agree
NEWCOMER_EVERY = 3  # runs: in one of so many a node comes late

Pair = tuple[int, int]


class Walker:
    """One node, with the disk and the clock under it."""

    def __init__(self, number: int, rng: random.Random, *, stored: bool, mode: Rejoin) -> None:
        self.number = number
        self.rng = rng
        self.stored = stored
        self.mode = mode
        self.disk = MemoryDisk(NodeId(bytes([number]) * 8))
        self.offset_ms = rng.randint(-SKEW_MS, SKEW_MS)
        self.resets = 0  # in earlier runs
        self.unsaved: list[bytes] = []  # values replaced by writes that a kill would take back
        self.node = self._begin(Instant(0.0, EPOCH_MS + self.offset_ms))

    def _begin(self, now: Instant) -> Node:
        settings = NodeSettings(
            f"n{self.number}",
            "walkers",
            self.rng.randbytes(8),
            forget_after_ms=FORGET_AFTER_MS,
            rejoin=self.mode,
            collect_age_ms=0,
        )
        node = Node(self._author(), settings, stored=self.stored)
        node.begin(self.disk.load() if self.stored else (), now.wall_ms)
        return node

    def _author(self) -> Author:
        return Author(self.disk.node_id, self.disk.life)

    def restart(self, now: Instant) -> None:
        """Killed, and begun with what is on disk."""
        self.resets += len(self.node.replaced.resets)
        self.node = self._begin(now)

    def save(self, *, clocks: bool = True) -> None:
        while self.stored and (batch := self.node.durability.unsaved(clocks=clocks)) is not None:
            self.disk.write(batch)
            self.node.saved(batch)
        self.unsaved.clear()

    @property
    def model(self) -> Map:
        model = self.node.models[DEFAULT_MODEL]
        assert isinstance(model, Map)
        return model

    def shown(self, wall_ms: int) -> dict[str, bytes]:
        found = {key: self.model.find(key, wall_ms) for key in KEYS}
        return {key: slot.payload for key, slot in found.items() if slot is not None}


class Wire:
    """A connection: two links, and the bytes under way between them."""

    def __init__(self, ends: tuple[Walker, Walker], nows: tuple[Instant, Instant]) -> None:
        self.ends = ends
        self.links = (
            Link(ends[0].node, dialled="there", now=nows[0]),
            Link(ends[1].node, dialled="", now=nows[1]),
        )
        self.under_way = [b"", b""]  # from each end

    def move(self, end: int, now: Instant, *, most: int) -> bool:
        """Hand what `end` has sent to the other one, as far as `most` bytes; True if any came."""
        data, self.under_way[end] = self.under_way[end][:most], self.under_way[end][most:]
        if data:
            self.links[1 - end].receive(data, now)
        return bool(data)

    def draw(self, end: int, now: Instant) -> None:
        link = self.links[end]
        while link.wants_to_send(now):
            data = link.draw(now)
            if not data:
                break
            self.under_way[end] += data

    @property
    def over(self) -> bool:
        return any(link.ended is not None for link in self.links)

    def cut(self) -> None:
        for walker, link in zip(self.ends, self.links, strict=True):
            link.ended = link.ended or End(Code.PROTOCOL, "cut", by_peer=True)
            walker.node.gone(link)


class Meetings:
    """A few nodes, and all that happens to them."""

    def __init__(self, seed: int, *, forgetting: bool | None = None) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)  # noqa: S311  (a simulation)
        self.now_s = 0.0
        self.forgetting = rng.random() < 0.5 if forgetting is None else forgetting
        mode = rng.choice((Rejoin.OWN, Rejoin.OWN, Rejoin.OWN, Rejoin.ALL, Rejoin.NONE))
        stored = rng.random() < 0.5
        count = rng.choice((3, 3, 4, 5))
        self.known = rng.random() < 0.6  # else strangers write before they have met
        self.walkers = [Walker(number, rng, stored=stored, mode=mode) for number in range(count)]
        self.has_newcomer = seed % NEWCOMER_EVERY == 0
        self.away: set[int] = {count - 1} if self.has_newcomer else set()
        self.wires: dict[Pair, Wire] = {}
        self.replaced: dict[bytes, str] = {}  # values that a writer saw and wrote over, and keys
        self._values = 0
        if self.known:
            self._all_meet()

    def run(self) -> "Meetings":
        """Steps, then the end. Raises Violation, whose words begin with the seed."""
        try:
            steps = self.rng.randint(10, 60)
            for step in range(steps):
                if step == steps // 2:
                    self.away.clear()
                self._step()
            self._end()
        except (AssertionError, RemoteProtocolError) as error:
            raise Violation(f"seed {self.seed} at {self.now_s:.1f} s: {error!r}") from error
        return self

    @property
    def there(self) -> list[Walker]:
        """All nodes but a newcomer that has not come yet."""
        return [walker for walker in self.walkers if walker.number not in self.away]

    @property
    def resets(self) -> int:
        return sum(walker.resets + len(walker.node.replaced.resets) for walker in self.walkers)

    def _now(self, walker: Walker) -> Instant:
        return Instant(self.now_s, EPOCH_MS + int(self.now_s * 1000) + walker.offset_ms)

    # --- steps ---

    def _step(self) -> None:
        rng = self.rng
        walker = self.rng.choice(self.there)
        chance = rng.random()
        if chance < 0.3:
            self._write(walker)
        elif chance < 0.4:
            self._pass_time()
        elif chance < 0.55:
            self._connect(*rng.sample([walker.number for walker in self.there], 2))
        elif chance < 0.85:
            self._move_some()
        elif chance < 0.93:
            self._cut_some()
        elif chance < 0.96 and walker.stored:
            self._restart(walker)
        elif self.forgetting:
            self._forget(walker)

    def _write(self, walker: Walker) -> None:
        rng = self.rng
        now = self._now(walker)
        model = walker.model
        key = rng.choice(KEYS)
        seen = model.find(key, now.wall_ms)
        if seen is not None:
            self.replaced[seen.payload] = key
            if walker.stored:
                walker.unsaved.append(seen.payload)
        self._values += 1
        if rng.random() < 0.4:
            model.discard(key, now.wall_ms)
        else:
            ttl_ms = rng.choice((0, 0, 0, 1000, 5000))
            model.put(key, TEXT, b"%d" % self._values, now.wall_ms, ttl_ms=ttl_ms)
        walker.node.accepted(model)
        if rng.random() < 0.8:
            walker.save(clocks=rng.random() < 0.7)

    def _pass_time(self) -> None:
        silences = SILENCES_S if self.forgetting else SILENCES_S[:-1]
        silence_s = self.rng.choice(silences)
        self.now_s += silence_s
        if silence_s > LINK_LOSS_S:
            for pair in list(self.wires):
                self._cut(pair)
        for walker in self.there:
            if self.rng.random() < 0.8:
                self._tend(walker)

    def _tend(self, walker: Walker) -> None:
        now = self._now(walker)
        walker.node.expire(now.wall_ms)
        walker.node.tend(now)
        for model in walker.node.models.values():
            assert model.clock.covers_all(model.floor.items()), "a floor above its own clock"
        walker.save()

    def _connect(self, i: int, j: int) -> None:
        pair = (min(i, j), max(i, j))
        if pair not in self.wires:
            ends = self.walkers[i], self.walkers[j]
            self.wires[pair] = Wire(ends, (self._now(ends[0]), self._now(ends[1])))

    def _move_some(self) -> None:
        if not self.wires:
            return
        pair = self.rng.choice(list(self.wires))
        if self.rng.random() < 0.5:
            self._settle(pair)
            return
        wire = self.wires[pair]
        end = self.rng.randrange(2)
        if self.rng.random() < 0.7:
            wire.draw(end, self._now(wire.ends[end]))
        most = self.rng.choice((60, 300, 1 << 20))
        wire.move(end, self._now(wire.ends[1 - end]), most=most)
        if self.rng.random() < 0.7:
            wire.ends[1 - end].save(clocks=self.rng.random() < 0.7)
        self._drop_ended()

    def _settle(self, pair: Pair) -> None:
        """Let two talk until nothing moves, or their link is over."""
        wire = self.wires[pair]
        for _ in range(40):
            moved = False
            for end in (0, 1):
                wire.ends[end].save()
                wire.draw(end, self._now(wire.ends[end]))
                moved |= wire.move(end, self._now(wire.ends[1 - end]), most=1 << 30)
            if not moved or wire.over:
                break
        self._drop_ended()

    def _drop_ended(self) -> None:
        for pair, wire in list(self.wires.items()):
            if wire.over:
                self._cut(pair)

    def _cut(self, pair: Pair) -> None:
        self.wires.pop(pair).cut()

    def _cut_some(self) -> None:
        if self.wires:
            self._cut(self.rng.choice(list(self.wires)))

    def _restart(self, walker: Walker) -> None:
        for pair in [pair for pair in self.wires if walker.number in pair]:
            self._cut(pair)
        walker.restart(self._now(walker))
        for value in walker.unsaved:
            self.replaced.pop(value, None)
        walker.unsaved.clear()

    def _forget(self, walker: Walker) -> None:
        """As a user does by `scuttled forget`: whoever is linked is not forgotten."""
        node = walker.node
        known = [m.node_id for m in node.members.others(self._now(walker).wall_ms)]
        away = [node_id for node_id in known if node_id not in node.links]
        if away:
            node.members.forget(self.rng.choice(away), self._now(walker).wall_ms)
            node.accepted(node.members.model)
            walker.save()

    def _all_meet(self) -> None:
        """Everybody meets everybody, until each knows all."""
        for _ in range(2):
            self.now_s += 1.1
            for walker in self.there:
                self._tend(walker)
            for pair in combinations([walker.number for walker in self.there], 2):
                self._connect(*pair)
                if pair in self.wires:
                    self._settle(pair)

    # --- the end ---

    def _end(self) -> None:
        for walker in self.walkers:
            walker.offset_ms = 0
        differences: list[str] = []
        for _ in range(ROUNDS_MAX):
            self._all_meet()
            differences = self.differences()
            if not differences:
                break
        assert not differences, f"not converged: {differences}"
        self._check_what_came_back()

    def differences(self) -> list[str]:
        """Nodes that do not show, or know, what the first one does; and what is left to collect."""
        first = self.walkers[0]
        shown = first.shown(self._now(first).wall_ms)
        found = []
        for walker in self.walkers:
            mine = walker.shown(self._now(walker).wall_ms)
            if mine != shown:
                found.append(f"n{walker.number} shows {mine}, n0 {shown}")
            elif walker.model.clock != first.model.clock:
                found.append(f"the clock of n{walker.number}")
            elif walker.model.grave_count:
                found.append(f"{walker.model.grave_count} graves on n{walker.number}")
        return found

    def _check_what_came_back(self) -> None:
        shown = self.walkers[0].shown(self._now(self.walkers[0]).wall_ms)
        for key, value in shown.items():
            came_back = value in self.replaced and not self.resets
            assert not came_back, f"{key}={value!r} had been replaced, and came back"
        if self.known and not self.forgetting and not self.has_newcomer:
            assert not self.resets, "members that know each other were reset"


def run_all(seeds: Iterable[int], *, forgetting: bool | None = None) -> list[str]:
    """Run many; the words of each Violation."""
    found = []
    for seed in seeds:
        try:
            Meetings(seed, forgetting=forgetting).run()
        except Violation as violation:
            found.append(str(violation))
    return found


def run_until_violated(seeds: Iterable[int]) -> str:
    """The words of the first Violation; "" if there is none."""
    return next((words for seed in seeds for words in run_all([seed])), "")
