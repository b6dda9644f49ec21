"""Nodes that meet now and then: the rules for forgetting deletions, run against the real code.

    Meetings(seed=7).run()

Three to five nodes, strangers at first, each with its own wrong clock; in every third run one
that comes later, with nothing; writes, deletions, keys that expire; links that move a few bytes at
a time and break anywhere; long silences, after which others are forgotten; restarts with what the
disk had. In the end all meet, and then

* all show the same, with the same clocks, and nothing is left to be collected;
* if no node had to be reset, nothing has come back that a writer who had seen it had replaced
  or deleted; members that knew each other and were never forgotten are not reset.

A step is one small thing, so a run takes some ten milliseconds.
"""

from collections.abc import Iterable
from itertools import combinations

from scuttled.errors import RemoteProtocolError
from scuttled.replica.change import TEXT
from scuttled.replica.rejoin import Rejoin
from scuttled.replica.update import Instant
from scuttled.simulation.history import Violation
from scuttled.simulation.nodes.encounters import KEYS, Encounters, Walker
from scuttled.simulation.world import EPOCH_MS

SILENCES_S = (0.0, 0.05, 0.3, 1.1, 1.1, 3.0, 30.0)
LINK_LOSS_S = 9.0  # a silence that no link outlives
ROUNDS_MAX = 60  # of meetings, before all must agree
NEWCOMER_EVERY = 3  # runs: in one of so many a node comes late


class Meetings(Encounters):
    """A few nodes, and all that happens to them."""

    def __init__(self, seed: int, *, forgetting: bool | None = None) -> None:
        super().__init__(seed)
        rng = self.rng
        self.forgetting = rng.random() < 0.5 if forgetting is None else forgetting
        mode = rng.choice((Rejoin.OWN, Rejoin.OWN, Rejoin.OWN, Rejoin.ALL, Rejoin.NONE))
        stored = rng.random() < 0.5
        count = rng.choice((3, 3, 4, 5))
        self.known = rng.random() < 0.6  # else strangers write before they have met
        self.walkers = [Walker(number, rng, stored=stored, mode=mode) for number in range(count)]
        self.has_newcomer = seed % NEWCOMER_EVERY == 0
        self.away: set[int] = {count - 1} if self.has_newcomer else set()
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

    def _cut_some(self) -> None:
        if self.wires:
            self._cut(self.rng.choice(list(self.wires)))

    def _restart(self, walker: Walker) -> None:
        self._cut_all(walker)
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
