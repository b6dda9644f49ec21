"""A cluster of whole daemons in virtual time: what befalls it, and what must come of it.

    Trial(seed=7).run()

*Safety*: programs write and watch, while all that the run's faults name goes wrong. *Liveness*: a
core of the machines is chosen; what is between them heals, all others stay dead, deaf, dumb or
slow; and within bounded time the core must hold one state, with one clock, under one fingerprint,
and lack nothing that its members were told is written. All along it is checked that

    I1  a source's timestamps rise                I3  clocks are truthful
    I2  reads are monotone: ranks only rise       I5  what was acknowledged is on disk, survives
    I7  buffers stay below their maxima               a kill, and no two machines share a source
    I8  no daemon ends, or logs a bug                 and nothing comes from nowhere

against a history of all that was ever written. The seed decides everything.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import trio

from scuttled.node.membership import MEMBERS
from scuttled.node.node import Node
from scuttled.replica.change import slot_of
from scuttled.replica.fingerprint import fingerprint
from scuttled.replica.slots import Slots
from scuttled.replica.version_vector import Clock
from scuttled.simulation.faults import Faults
from scuttled.simulation.history import Violation, Written
from scuttled.simulation.machine import Machine
from scuttled.simulation.nemesis import Mischief
from scuttled.simulation.network import PIPE_BYTES
from scuttled.simulation.trio_world import TrioWorld, run
from scuttled.simulation.workload import CLASH, Hungup, Watcher, Writer, calling

NODES = (3, 3, 3, 4, 4, 5, 6, 8)
SAFETY_S = 8.0
LONG_S = 60.0
LONG_RATE = 0.15  # writes a second, or bursts of them, in a run as long
REST_S = 20.0  # for all to be told, where nothing breaks
LIVENESS_S = 120.0  # for the core to converge; to find that a link is dead takes 10
FORGET_AFTER_S = (3.0, 30.0)  # where members are forgotten at all; in a short run, in a long one
NEVER_S = 7 * 86_400.0
TREES = 0.2  # share of the runs in which there is one way from each machine to each other one
LOOK_S = 0.5  # between looks at what is bounded, and whether all have converged
LOG_HOLES_MAX = 2 * 4096  # entries of a log beyond twice what lives in it
EMPTY = Clock()
EQUAL = "equal clocks, equal contents"


@dataclass(slots=True)
class Outcome:
    """Outcome of a run. `trace` is the same for the same seed."""

    seed: int
    nodes: int
    faults: list[str]
    virtual_s: float = 0.0
    trace: str = ""
    violation: str = ""
    counts: dict[str, int] = field(default_factory=dict)  # of each fault that happened
    checks: dict[str, int] = field(default_factory=dict)
    updates: int = 0  # ever written
    core: list[str] = field(default_factory=list)
    converged_s: float = 0.0  # after the core was healed
    resets: int = 0  # of models, to the state of a peer


class Trial:
    """One run."""

    def __init__(
        self,
        seed: int,
        *,
        nodes: int = 0,
        for_s: float = SAFETY_S,
        faults: Faults | None = None,
    ) -> None:
        """`nodes` machines (0: drawn) for `for_s` virtual seconds before the core is healed."""
        rng = random.Random(seed)  # noqa: S311  (a simulation)
        self.seed = seed
        self.for_s = for_s
        self.faults = Faults.drawn(rng) if faults is None else faults
        self.count = nodes or rng.choice(NODES)
        self.interval_s = rng.choice((0.3, 1.0, 3.0)) if for_s < LONG_S else 3.0
        rate = rng.choice((1.0, 4.0, 10.0)) if for_s < LONG_S else LONG_RATE
        self.rate = rate / self.count  # of each writer
        self.keys = rng.choice((2, 8, 60))
        self.world = TrioWorld(rng.getrandbits(64))
        self.world.history.seen = self._is_held
        self.tree = rng.random() < TREES  # else a ring, and more
        self.look_s = LOOK_S if for_s < LONG_S else 4 * LOOK_S
        self._forget_after_s = NEVER_S
        if self.faults.forget:
            self._forget_after_s = FORGET_AFTER_S[for_s >= LONG_S]
        self.machines: list[Machine] = []
        self.writers: list[Writer] = []
        self._unequal = {CLASH}  # models that need not become equal
        if self.faults.forget:
            self._unequal.add(MEMBERS)  # rows come so often that some are always under way
        self._resets = 0
        self.outcome = Outcome(seed, self.count, self.faults.names)

    def run(self) -> Outcome:
        """Raises Violation, whose words begin with the seed; `outcome` has the rest, too."""
        with tempfile.TemporaryDirectory(prefix="scuttled-", dir=_fast_place()) as place:
            self._place = Path(place)
            try:
                run(self.world, self.seed, self._main)
            except Violation as found:
                names = " ".join(self.faults.names) or "none"
                words = f"seed {self.seed}, {self.count} nodes, faults {names}: {found}"
                self.outcome.violation = words
                raise Violation(words) from found
            finally:
                self._note()
        return self.outcome

    def _note(self) -> None:
        outcome = self.outcome
        world = self.world
        outcome.trace = world.trace
        outcome.counts = {name: world.counts[name] for name in self.faults.names}
        outcome.checks = dict(sorted(world.checks.items()))
        outcome.updates = world.history.count
        outcome.resets = self._resets

    # --- the cluster ---

    async def _main(self) -> None:
        world = self.world
        if self.faults.delay:
            world.network.delay_s = 0.2
            world.counts["delay"] += 1
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for number in range(self.count):
                self._add(f"n{number}", self._place / f"n{number}")
            self._connect()
            for machine in self.machines:
                nursery.start_soon(machine.live)
            nursery.start_soon(self._keep_looking)
            mischief = Mischief(world, self.machines, self.faults, nursery, self._copy)
            nursery.start_soon(mischief.keep_on, self.interval_s)
            await trio.sleep(self.for_s)
            if self.tree and self.faults.calm:
                await self._rest()
                self.world.check("no echo: each way carries an update once", self._check_echo)
            core = await self._choose_core(mischief)
            await self._converge(core)
            self.outcome.virtual_s = trio.current_time()
            self._resets = sum(machine.resets_all for machine in self.machines)
            nursery.cancel_scope.cancel()

    def _add(self, name: str, path: Path) -> Machine:
        rng = self.world.rng
        faults = self.faults
        sync = rng.choice(("normal", "normal", "full", "off"))
        if faults.disk:
            sync = "full"
            self.world.counts["disk"] += 1
        machine = Machine(
            self.world,
            name,
            path,
            sync=sync,
            forget_after_s=self._forget_after_s,
            slow_disk=faults.disk,
        )
        self.machines.append(machine)
        writer = Writer(machine, faults, rate=self.rate, keys=self.keys)
        self.writers.append(writer)
        self._nursery.start_soon(writer.keep_writing)
        self._nursery.start_soon(Watcher(machine).keep_watching)
        return machine

    def _copy(self, machine: Machine, path: Path) -> Machine:
        """Another machine, with a copy of that one's state, that knows the same peers."""
        copy = self._add(f"n{len(self.machines)}", path)
        copy.peers = (machine.name, *machine.peers)
        return copy

    def _connect(self) -> None:
        """Draw who dials whom."""
        rng = self.world.rng
        names = [machine.name for machine in self.machines]
        dials: dict[str, list[str]] = {name: [] for name in names}
        for a, b in self._edges(names):
            ways = ((a, b),), ((b, a),), ((a, b), (b, a))
            for dialler, listener in rng.choice(ways[:2] if self.tree else ways):
                dials[dialler].append(self._address(dialler, listener))
        for machine in self.machines:
            machine.peers = tuple(dials[machine.name])

    def _address(self, dialler: str, listener: str) -> str:
        """By what one machine dials another: its own name, or one that may move."""
        return self.world.network.name_for(dialler, listener) if self.faults.dns else listener

    def _edges(self, names: list[str]) -> list[tuple[str, str]]:
        """A tree, or a ring at least, and often more."""
        rng = self.world.rng
        if self.tree:
            return [(name, rng.choice(names[:at])) for at, name in enumerate(names) if at]
        ring = list(zip(names, names[1:] + names[:1], strict=True))
        others = [
            pair for pair in combinations(names, 2) if pair not in ring and pair[::-1] not in ring
        ]
        return ring + [pair for pair in others if rng.random() < 1 / len(names)]

    def _is_held(self, name: str, written: Written) -> bool:
        """True if some node holds that very update."""
        nodes = [machine.node for machine in self.machines if machine.is_up]
        found = [model for node in nodes if isinstance(model := node.models.get(name), Slots)]
        slots = [model.lookup(written.slot) for model in found]
        rank = (written.update.timestamp, written.update.source)
        return any(slot is not None and (slot.timestamp, slot.source) == rank for slot in slots)

    # --- the core ---

    async def _choose_core(self, mischief: Mischief) -> list[Machine]:
        """Some of the machines are whole again; the rest is broken for good."""
        rng = self.world.rng
        count = rng.randint(max(2, len(self.machines) // 2 + 1), len(self.machines))
        core = sorted(rng.sample(self.machines, count), key=lambda machine: machine.name)
        mischief.heal(core)
        for writer in self.writers:
            writer.resting.set()
        await mischief.break_for_good([m for m in self.machines if m not in core])
        self.outcome.core = [machine.name for machine in core]
        for machine in core:
            self._nursery.start_soon(machine.live)
        for machine, peer in zip(core, core[1:] + core[:1], strict=True):
            await self._join(machine, peer)
        return core

    async def _join(self, machine: Machine, peer: Machine) -> None:
        """The core may be linked through the others only."""
        await machine.up.wait()
        try:
            async with calling(machine) as caller:
                address = self._address(machine.name, peer.name)
                answer = await caller.ask("join", addresses=[address])
                if "error" in answer:
                    self.world.violate(f"{machine} does not join {peer}: {answer}")
        except Hungup:
            self.world.violate(f"{machine} went down after it was healed")

    async def _converge(self, core: list[Machine]) -> None:
        began_s = trio.current_time()
        while not (settled := self._settled(core)):
            if trio.current_time() >= began_s + LIVENESS_S:
                words = f"core {' '.join(self.outcome.core)} not converged {LIVENESS_S:.0f} s"
                missing = self._differences(core) or self._unlinked(core)
                self.world.violate(f"{words} after it was healed: {missing}")
            await trio.sleep(LOOK_S)
        assert settled
        self.outcome.converged_s = trio.current_time() - began_s
        self.world.check("nothing acknowledged is lost", lambda: self._check_whole(core))

    def _settled(self, core: list[Machine]) -> bool:
        return (
            all(machine.is_up for machine in core)
            and not any(machine.node.durability.rows_unsaved for machine in core)
            and not self._differences(core)
            and not self._unlinked(core)
        )

    def _unlinked(self, core: list[Machine]) -> list[str]:
        """Names that lead to one of the core again, and by which it is not linked yet."""
        ids = {machine.name: machine.node.author.node_id for machine in core if machine.is_up}
        links = {machine.name: machine.node.links for machine in core if machine.is_up}
        return [
            f"{asker} has no link by the name {name}"
            for name, (asker, target) in self.world.network.homes.items()
            if asker in links and target in ids and ids[target] not in links[asker]
        ]

    def _differences(self, core: list[Machine]) -> list[str]:
        """Models in which some member of the core differs from the first."""
        at_ms = core[0].now.wall_ms
        first, *others = [_state(machine, at_ms) for machine in core]
        return [
            f"{name} on {machine}"
            for machine, other in zip(core[1:], others, strict=True)
            for name in sorted({*first, *other} - self._unequal)
            if first.get(name) != other.get(name)
        ]

    # --- what is checked ---

    async def _rest(self) -> None:
        """Nobody writes any more, until all is told."""
        for writer in self.writers:
            writer.resting.set()
        await trio.sleep(REST_S)

    def _check_echo(self) -> None:
        """On a tree in which nothing breaks, an update crosses each edge once, one way."""
        links = [each for machine in self.machines for each in machine.gossip.counted()]
        came = sum(link.updates_in for link in links)
        written = self.world.history.count
        if came > written * (len(self.machines) - 1):
            raise Violation(f"{written} updates came {came} times to {len(self.machines)} nodes")

    async def _keep_looking(self) -> None:
        """Now and then, at what must stay bounded, and at two nodes with equal clocks."""
        rng = random.Random(self.seed)  # noqa: S311  (a simulation)
        while True:
            await trio.sleep(self.look_s)
            running = [machine for machine in self.machines if machine.is_up]
            for machine in running:
                self.world.check("buffers and logs are bounded (I7)", _bounded(machine))
            if len(running) > 1:
                one, other = (machine.node for machine in rng.sample(running, 2))
                self.world.check(EQUAL, partial(self._check_equal, one, other))

    def _check_whole(self, core: list[Machine]) -> None:
        """The core covers all that its members wrote and had acknowledged (I5)."""
        history = self.world.history
        for machine in core:
            for name, model in machine.node.models.items():
                if name not in self._unequal:
                    for other in core:
                        history.check_covered(model, other.node.author.source)

    def _check_equal(self, one: Node, other: Node) -> None:
        """Where clocks are equal, so is what they cover."""
        for name, model in one.models.items():
            twin = other.models.get(name)
            if isinstance(model, Slots) and isinstance(twin, Slots) and model.clock == twin.clock:
                for holder, peer in ((model, twin), (twin, model)):
                    self._check_covered(holder, peer)

    def _check_covered(self, holder: Slots, peer: Slots) -> None:
        for update in holder.history(EMPTY):
            if holder.clock.covers(update.source, update.timestamp):
                written = Written(update, slot_of(update.record), 0)
                if not self.world.history.holds(peer, written):
                    raise Violation(f"equal clocks of {holder.name}, and one lacks {update}")


def _state(machine: Machine, at_ms: int) -> dict[str, Any]:
    """State of a node: its clock, and a hash over all that readers see, by model.

    Deletions are not seen: one node may have forgotten earlier than another.
    """
    return {
        name: (model.clock.copy_times(), _print(model, at_ms))
        for name, model in machine.node.models.items()
    }


def _print(model: Any, at_ms: int) -> list[int]:
    steps = fingerprint(model, at_ms)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return list(done.value)


def _bounded(machine: Machine) -> Callable[[], None]:
    def look() -> None:
        for link in machine.node.links.values():
            asked = [link.bounds(), *(session.bounds() for session in link.sessions.values())]
            for bounds in asked:
                for name, (size, most) in bounds.items():
                    _within(f"{machine}: {name}", size, most)
        for name, model in machine.node.models.items():
            held = sum(len(segment.records) for segment in model.log.segments)
            _within(f"{machine}: log of {name}", held, 2 * model.log.live + LOG_HOLES_MAX)
        for ways in (machine.world.network.ways,):
            for way in ways.values():
                for pipe in way.pipes:
                    _within("bytes under way", pipe.size, PIPE_BYTES)

    return look


def _within(what: str, seen: int, most: int) -> None:
    if seen > most:
        raise Violation(f"{what}: {seen}, at most {most}")


def _fast_place() -> str | None:
    """Folder where files are memory, if this machine has such a place."""
    shm = Path("/dev/shm")  # noqa: S108  (a directory of one's own is made in it)
    return str(shm) if shm.is_dir() else None
