"""Clocks that are hours or years off: the rules for taking back the future, on the real code.

    Futures(seed=7).run()

Two to five nodes write, delete, drop and lease, meet and part, are killed and die for ever, while
the clocks of one, some or all of them are set hours or years off, forth and back, and mended. In
the end all that live are mended and meet, and then

* all show the same, with the same clocks, and no stamp lies in the future;
* what was written with a sane clock, and is on disk where it was written, is what shows, unless
  something was written to that key with a clock that was not;
* what a node that lives wrote last of all to a key, be it in the future, is what shows, or else
  what another one wrote in the future (but a deletion may be forgotten by all that were ahead);
* nothing comes back that its own writer had replaced.

All along clocks are truthful (I3), and what is on disk after a kill is what was acknowledged.
"""

from itertools import combinations
from typing import NamedTuple

from scuttled.errors import RemoteProtocolError
from scuttled.replica.change import TEXT
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import Rejoin
from scuttled.replica.update import TICKS_PER_MS, Instant
from scuttled.simulation.history import History, Violation, Witness
from scuttled.simulation.nodes.encounters import KEYS, Encounters, Walker
from scuttled.simulation.world import EPOCH_MS

HOUR_MS = 3_600_000
SPANS_MS = (HOUR_MS, 24 * HOUR_MS, 365 * 24 * HOUR_MS, 10 * 365 * 24 * HOUR_MS)
BARELY_MS = 70_000  # soon others take that
SANE_MS = 1000  # between clocks that are right
SILENCES_S = (0.05, 0.3, 1.1, 1.1, 3.0, 20.0)
LINK_LOSS_S = 9.0  # a silence that no link outlives
ROUNDS_MAX = 90  # of meetings, before all must agree
AHEAD_MS = 2000  # a stamp beyond that is one of the future, be it so that others take it


class Write(NamedTuple):
    """A write, in the order of true time."""

    key: str
    value: bytes  # b"": deleted
    writer: int
    future: bool  # its stamp was ahead of the true time
    rank: tuple[int, bytes]
    lease: bool
    spoilt: bool = False  # it was taken back while its writer's clock was wrong


class Traveller(Walker):
    """A node whose disk has the hlc, too: from one start to the next it never goes back."""

    def _author(self) -> Author:
        return Author(self.disk.node_id, self.disk.life, self.disk.last)


class Futures(Encounters):
    """A few nodes, and what becomes of their clocks."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        rng = self.rng
        self.history = History()
        self.history.seen = lambda model, written: False
        self.stored = rng.random() < 0.7
        self.count = rng.choice((2, 3, 3, 4, 5))
        self.rare = rng.random() < 0.5  # no drops, deaths, deletions
        self.barely = self.rare and rng.random() < 0.1
        self.said: list[Write] = []
        self.unsaved: dict[int, list[Write]] = {}
        self.drops = 0
        self.cures = self.resets = 0
        self.over = False  # nothing goes wrong any more
        self._values = 0
        self.dead: set[int] = set()
        self.walkers = [
            Traveller(number, rng, stored=self.stored, mode=Rejoin.OWN)
            for number in range(self.count)
        ]
        self.witnesses: dict[int, Witness] = {}
        for walker in self.walkers:
            walker.offset_ms = self._sane_offset()
            self._watch(walker)
        if rng.random() < 0.6:
            self._all_meet()

    def run(self) -> "Futures":
        """Steps, then the end. Raises Violation, whose words begin with the seed."""
        try:
            for _ in range(self.rng.randint(15, 80)):
                self._step()
                self._check()
            self._end()
        except (AssertionError, RemoteProtocolError) as error:
            raise Violation(f"seed {self.seed} at {self.now_s:.1f} s: {error!r}") from error
        return self

    def _watch(self, walker: Walker) -> None:
        walker.node.met_others()
        witness = Witness(self.history, walker.node, f"n{walker.number}")
        self.witnesses[walker.number] = witness
        walker.node.subscribe(witness.read)
        witness.read()
        walker.save()  # its rows, or the next start would stamp others alike

    def _check(self) -> None:
        for walker in self._living():
            self.witnesses[walker.number].look()

    def _living(self) -> list[Walker]:
        return [walker for walker in self.walkers if walker.number not in self.dead]

    def _true_ms(self) -> int:
        return EPOCH_MS + int(self.now_s * 1000)

    def _now(self, walker: Walker) -> Instant:
        return Instant(self.now_s, max(self._true_ms() + walker.offset_ms, 0))

    def _sane_offset(self) -> int:
        return self.rng.randint(-SANE_MS // 2, SANE_MS // 2)

    # --- steps ---

    def _step(self) -> None:
        rng = self.rng
        walker = self.rng.choice(self._living())
        chance = rng.random()
        if chance < 0.3:
            self._write(walker)
        elif chance < 0.42:
            self._pass_time()
        elif chance < 0.55 and len(self._living()) > 1:
            self._connect(*rng.sample([other.number for other in self._living()], 2))
        elif chance < 0.78:
            self._move_some()
        elif chance < 0.83 and self.wires:
            self._cut(rng.choice(list(self.wires)))
        elif chance < 0.93:
            self._set_clocks()
        elif chance < 0.98 and self.stored:
            self._restart(walker)
        elif not self.rare and len(self._living()) > 2:
            self._die(walker)

    def _set_clocks(self) -> None:
        """Of one, some or all, together or each on its own; or they are mended."""
        living = self._living()
        some = self.rng.sample(living, self.rng.choice((1, 1, min(2, len(living)), len(living))))
        span_ms = BARELY_MS if self.barely else self.rng.choice(SPANS_MS)
        off_ms = span_ms * self.rng.choice((1, 1, -1))
        mend = self.rng.random() < 0.5
        for walker in some:
            walker.offset_ms = self._sane_offset() + (0 if mend else off_ms)
            self._look(walker)

    def _look(self, walker: Walker) -> None:
        walker.node.look_at_clock(self._now(walker), self.now_s)

    def _write(self, walker: Walker) -> None:
        rng = self.rng
        now = self._now(walker)
        model = walker.model
        if not self.rare and rng.random() < 0.03:
            self.drops += 1
            model.drop(now.wall_ms)
            walker.node.accepted(model)
            walker.save()
            return
        key = rng.choice(KEYS)
        self._values += 1
        ttl_ms = rng.choice((0, 0, 0, 0, 3000, 40_000)) if not self.rare else 0
        if not self.rare and rng.random() < 0.25:
            update = model.discard(key, now.wall_ms)
            value = b""
        else:
            value = b"%d" % self._values
            update = model.put(key, TEXT, value, now.wall_ms, ttl_ms=ttl_ms)
        if update is None:
            return
        ahead_ms = update.timestamp // TICKS_PER_MS - self._true_ms()
        said = Write(
            key, value, walker.number, ahead_ms > AHEAD_MS,
            (update.timestamp, update.source), bool(ttl_ms),
        )  # fmt: skip
        self.said.append(said)
        self.unsaved.setdefault(walker.number, []).append(said)
        walker.node.accepted(model)
        if rng.random() < 0.8:
            self._save(walker)

    def _save(self, walker: Walker) -> None:
        walker.save(clocks=self.rng.random() < 0.7)
        self.unsaved.pop(walker.number, None)

    def _save_some(self, walker: Walker) -> None:
        self._save(walker)

    def _pass_time(self) -> None:
        silence_s = self.rng.choice(SILENCES_S)
        self.now_s += silence_s
        if silence_s > LINK_LOSS_S:
            for pair in list(self.wires):
                self._cut(pair)
        for walker in self._living():
            if self.rng.random() < 0.8:
                self._tend(walker)

    def _tend(self, walker: Walker) -> None:
        now = self._now(walker)
        node = walker.node
        self._look(walker)
        node.expire(now.wall_ms)
        cures = len(node.replaced.taken_back)
        node.tend(now)
        for wire in [wire for pair, wire in self.wires.items() if walker.number in pair]:
            wire.links[wire.ends.index(walker)].tick(now)
        if len(node.replaced.taken_back) > cures:
            self._note_cure(walker)
        for model in node.models.values():
            assert model.clock.covers_all(model.floor.items()), "a floor above its own clock"
        if len(node.replaced.taken_back) > cures and self.rng.random() < 0.2 and not self.over:
            return  # a kill may come before it is on disk
        self._save(walker)

    def _note_cure(self, walker: Walker) -> None:
        """By a clock that is wrong, as most that it heard were, the present is a future."""
        self.cures += 1
        if abs(walker.offset_ms) > AHEAD_MS:
            self.said = [
                one._replace(spoilt=one.spoilt or one.writer == walker.number) for one in self.said
            ]

    def _restart(self, walker: Walker) -> None:
        self._cut_all(walker)
        name = f"n{walker.number}"
        self.history.note_acknowledged(walker.node.models, name)
        self.resets += len(walker.node.replaced.resets)
        walker.restart(self._now(walker))
        lost = set(self.unsaved.pop(walker.number, ()))
        self.said = [said for said in self.said if said not in lost]
        self.history.forget_lost(walker.node.models, name, walker.node.author.source)
        self._watch(walker)

    def _die(self, walker: Walker) -> None:
        self._cut_all(walker)
        self.resets += len(walker.node.replaced.resets)
        self.dead.add(walker.number)

    def _all_meet(self) -> None:
        """Everybody meets everybody, twice."""
        for _ in range(2):
            self.now_s += 1.1
            for walker in self._living():
                self._tend(walker)
            for i, j in combinations([walker.number for walker in self._living()], 2):
                self._connect(i, j)
                if (min(i, j), max(i, j)) in self.wires:
                    self._settle((min(i, j), max(i, j)))
            self._check()

    # --- the end ---

    def _end(self) -> None:
        self.over = True
        for walker in self._living():
            self._save(walker)
            walker.offset_ms = self._sane_offset()
            self._look(walker)
        differences: list[str] = []
        for _ in range(ROUNDS_MAX):
            self._all_meet()
            differences = self.differences()
            if not differences:
                break
        assert not differences, f"not converged: {differences}"
        self.resets += sum(len(walker.node.replaced.resets) for walker in self._living())
        self._check_what_shows()

    def differences(self) -> list[str]:
        """Nodes that do not show, or know, what the first one does."""
        first, *others = self._living()
        shown = first.shown(self._now(first).wall_ms)
        found = []
        for walker in others:
            mine = walker.shown(self._now(walker).wall_ms)
            if mine != shown:
                found.append(f"n{walker.number} shows {mine}, n{first.number} {shown}")
            elif walker.model.clock != first.model.clock:
                found.append(f"the clock of n{walker.number}")
        return found + [f"n{w.number} is ahead" for w in self._living() if not self._is_sane(w)]

    def _is_sane(self, walker: Walker) -> bool:
        """True if no clock or floor of a node lies in the future."""
        most = (self._now(walker).wall_ms + walker.node.max_skew_ms) * TICKS_PER_MS
        models = walker.node.models.values()
        times = [time for m in models for kept in (m.clock, m.floor) for _, time in kept.items()]
        return all(time <= most for time in times)

    def _check_what_shows(self) -> None:
        first = self._living()[0]
        shown = first.shown(self._now(first).wall_ms)
        if self.resets or self.drops:
            return
        for key in KEYS:
            said = [said for said in self.said if said.key == key]
            if not said or any(one.lease or one.spoilt for one in said):
                continue
            self._check_key(said, shown.get(key, b""))

    def _check_key(self, said: list[Write], value: bytes) -> None:
        future = {one.value for one in said if one.future}
        sane = [one for one in said if not one.future and one.writer not in self.dead]
        last = max(sane, key=lambda one: one.rank, default=None)
        if not future and last is not None and not self.dead:
            assert value == last.value, f"{last} is lost, {value!r} shows"
        latest = said[-1]
        if latest.value and latest.future and latest.writer not in self.dead:
            assert value in future, f"{latest} is lost, {value!r} shows"
        for at, one in enumerate(said):
            again = [other for other in said[at + 1 :] if other.writer == one.writer]
            if one.value and one.value == value and again and one.writer not in self.dead:
                raise AssertionError(f"{value!r} came back over {again[-1]}")


def run_until_violated(seeds: range) -> str:
    """The words of the first Violation; "" if there is none."""
    for seed in seeds:
        try:
            Futures(seed).run()
        except Violation as violation:
            return str(violation)
    return ""
