"""Cluster of nodes alone: writes, faults, healing; and what must come of it."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

from scuttled.models.map import Map
from scuttled.models.operations import call
from scuttled.node.node import DEFAULT_MODEL
from scuttled.replica.change import TEXT, slot_of
from scuttled.replica.slots import Slots
from scuttled.replica.update import Update
from scuttled.replica.version_vector import Clock
from scuttled.simulation.history import Violation, Written
from scuttled.simulation.nodes.machine import SAVE_RATES, NodeMachine
from scuttled.simulation.nodes.network import Topology
from scuttled.simulation.nodes.queue_world import QueueWorld

FAULTS = ("cut", "part", "kill", "slow", "skew", "step")
FAULT_RATE = 2.0  # a second
OFFSET_MS = 900  # two clocks may differ by more than MAX_SKEW_MS, and be linked through a third
SAFETY_S = 6.0
LIVENESS_S = 60.0  # for all to converge; to find that a link is dead takes 10
QUIET_S = 10.0  # long enough for PINGs to compare clocks, and act on it
LOOK_S = 0.25  # between looks whether all have converged
EMPTY = Clock()
MODELS = (DEFAULT_MODEL, DEFAULT_MODEL, "other")
TYPED_SHARE = 0.3  # of writes, to models of other types
OPERATIONS: dict[str, list[tuple[str, list[Any]]]] = {
    "set": [("add", ["a"]), ("add", ["b"]), ("remove", ["a"]), ("remove", ["b"])],
    "counter": [("add", [1]), ("add", [-2])],
    "value": [("set", ["v"]), ("set", [None])],
    "log": [("append", ["entry"])],
    "events": [("emit", ["event", 1])],
    "doc": [("put", ["r", {"f": 1}]), ("put", ["s", {"f": 2, "g": "x"}]), ("remove", ["r"])],
    "sequence": [("push", [1]), ("unshift", [2]), ("insert", [0, ["x", "y"]]), ("pop", [])],
}


class Cluster:
    """So many machines, and all that can happen to them."""

    def __init__(
        self, seed: int, *, nodes: int = 3, memory: int = 0, faults: Iterable[str] | None = None
    ) -> None:
        """Of `nodes` machines, `memory` keep nothing on disk."""
        self.seed = seed
        self.world = world = QueueWorld(seed)
        self.network = Topology(world)
        rng = world.rng
        drawn = [fault for fault in FAULTS if rng.random() < 0.5]
        self.faults = drawn if faults is None else list(faults)
        self.write_rate = rng.choice((2, 8, 25))
        self.keys = rng.choice((2, 6, 60))
        self.machines = [
            NodeMachine(world, number, stored=number >= memory) for number in range(nodes)
        ]
        world.history.seen = self._is_held
        for machine in self.machines:
            machine.save_rate = SAVE_RATES[seed % 4 == 3]
        self.peers: dict[str, list[NodeMachine]] = {machine.name: [] for machine in self.machines}
        self._connect()
        if "skew" in self.faults:
            for machine in self.machines:
                machine.offset_ms = rng.randint(-OFFSET_MS, OFFSET_MS)

    def _connect(self) -> None:
        """A ring at least, often more; who dials whom is drawn."""
        rng = self.world.rng
        ring = set()
        for a, b in zip(self.machines, self.machines[1:] + self.machines[:1], strict=True):
            ring.add(frozenset((a.name, b.name)))
        for a, b in combinations(self.machines, 2):
            if frozenset((a.name, b.name)) in ring or rng.random() < 0.5:
                way = rng.choice(("both", "both", "there", "back"))
                if way != "back":
                    self.peers[a.name].append(b)
                if way != "there":
                    self.peers[b.name].append(a)

    @property
    def trace(self) -> str:
        """A hash over all that happened."""
        return self.world.trace

    def run(self) -> "Cluster":
        """Both phases. Raises Violation, whose words begin with the seed and the time."""
        try:
            for machine in self.machines:
                self._start(machine)
            self._next_write()
            if self.faults:
                self._next_fault()
            self.world.run_until(SAFETY_S)
            self._heal()
            self._converge()
            self._stay_quiet()
        except AssertionError as error:
            raise Violation(
                f"seed {self.seed} at {self.world.now_s:.3f} s, faults {self.faults}: {error}"
            ) from error
        return self

    def _is_held(self, name: str, written: Written) -> bool:
        """True if some node holds that very update."""
        models = [machine.node.models.get(name) for machine in self.machines if machine.node]
        found = [model.lookup(written.slot) for model in models if isinstance(model, Slots)]
        rank = (written.update.timestamp, written.update.source)
        return any(slot is not None and (slot.timestamp, slot.source) == rank for slot in found)

    # --- what happens ---

    def _start(self, machine: NodeMachine) -> None:
        machine.start()
        for peer in self.peers[machine.name]:
            self._keep_dialling(machine, peer)

    def _keep_dialling(self, machine: NodeMachine, peer: NodeMachine) -> None:
        def dial() -> None:
            self.network.dial(machine, peer)
            self._keep_dialling(machine, peer)

        machine.later(self.world.rng.uniform(0.02, 0.5), dial)

    def _next_write(self) -> None:
        rng = self.world.rng
        running = [machine for machine in self.machines if machine.node is not None]
        if running and self.world.now_s < SAFETY_S:
            machine = rng.choice(running)
            burst = rng.choice((1, 1, 1, 1, 30)) if rng.random() < 0.2 else 1
            for _ in range(burst):
                self._write(machine)
        self.world.later(rng.expovariate(self.write_rate), self._next_write)

    def _write(self, machine: NodeMachine) -> None:
        rng = self.world.rng
        node = machine.up
        if rng.random() < TYPED_SHARE:
            self._write_typed(machine)
            return
        model = node.model_to_write(rng.choice(MODELS), Map.data_type)
        assert isinstance(model, Map)
        update = self._change(model, machine.now.wall_ms)
        if update is not None:
            if not self.world.history.holds(model, Written(update, slot_of(update.record), 0)):
                raise Violation(f"{machine.name} does not see its own {update}")
            self.world.note(f"{machine.name} {update.timestamp}".encode())
        node.accepted(model)

    def _write_typed(self, machine: NodeMachine) -> None:
        """One operation on a model of another type; what it wrote is noted when it is saved."""
        rng = self.world.rng
        node = machine.up
        data_type = rng.choice(sorted(OPERATIONS))
        model = node.model_to_write(f"a-{data_type}", data_type)
        name, args = rng.choice(OPERATIONS[data_type])
        call(model, name, args)
        self.world.note(f"{machine.name} {data_type} {name}".encode())
        node.accepted(model)

    def _change(self, model: Map, wall_ms: int) -> Update | None:
        rng = self.world.rng
        key = f"k{rng.randrange(self.keys)}"
        chance = rng.random()
        if chance < 0.2:
            return model.discard(key, wall_ms)
        if chance < 0.21:
            model.drop(wall_ms)
            return None
        if chance < 0.3:
            return model.put(key, TEXT, b"ttl", wall_ms, ttl_ms=rng.randint(1, 3000))
        size = rng.randint(1, 30_000) if chance < 0.32 else rng.randint(1, 40)
        return model.put(key, TEXT, rng.randbytes(size), wall_ms)

    def _next_fault(self) -> None:
        if self.world.now_s < SAFETY_S:
            getattr(self, f"_fault_{self.world.rng.choice(self.faults)}")()
            self.world.later(self.world.rng.expovariate(FAULT_RATE), self._next_fault)

    def _fault_cut(self) -> None:
        if self.network.connections:
            self.world.rng.choice(list(self.network.connections)).cut()

    def _fault_part(self) -> None:
        """No bytes pass between two machines for a while, which neither is told."""
        pair = frozenset(machine.name for machine in self.world.rng.sample(self.machines, 2))
        self.network.parted.add(pair)
        self.world.later(
            self.world.rng.choice((0.3, 2.0, 11.0)), lambda: self.network.parted.discard(pair)
        )

    def _fault_kill(self) -> None:
        machine = self.world.rng.choice(self.machines)
        if machine.node is not None:
            machine.kill()
            self.world.later(self.world.rng.uniform(0, 2), lambda: self._restart(machine))

    def _restart(self, machine: NodeMachine) -> None:
        if machine.node is None:
            self._start(machine)

    def _fault_slow(self) -> None:
        machine = self.world.rng.choice(self.machines)
        machine.slow_s = self.world.rng.choice((0.0, 0.1, 0.5))

    def _fault_skew(self) -> None:
        """That clocks are wrong is drawn at the beginning."""

    def _fault_step(self) -> None:
        most = OFFSET_MS if "skew" in self.faults else OFFSET_MS // 3
        self.world.rng.choice(self.machines).offset_ms = self.world.rng.randint(-most, most)

    def _heal(self) -> None:
        self.network.parted.clear()
        for machine in self.machines:
            machine.slow_s = 0.0
            machine.offset_ms //= 10
            self._restart(machine)

    # --- what must come of it ---

    def _states(self) -> list[dict[str, Any]]:
        """State of each node: all updates and the clock, by model."""
        return [
            {
                name: (list(model.history(EMPTY)), model.clock.copy_times())
                for name, model in sorted(machine.up.models.items())
            }
            for machine in self.machines
        ]

    def differences(self) -> list[str]:
        """Models in which some node differs from the first."""
        first, *others = self._states()
        return [
            f"{name} on {machine.name}"
            for machine, other in zip(self.machines[1:], others, strict=True)
            for name in sorted({*first, *other})
            if first.get(name) != other.get(name)
        ]

    def _converge(self) -> None:
        deadline_s = self.world.now_s + LIVENESS_S
        while self.differences() or not all(
            machine.up.durability.is_saved() for machine in self.machines
        ):
            if self.world.now_s >= deadline_s:
                raise Violation(f"not converged {LIVENESS_S} s after healing: {self.differences()}")
            self.world.run_until(self.world.now_s + LOOK_S)

    def _stay_quiet(self) -> None:
        """All is told and acknowledged: nothing is sent any more but signs of life."""
        self.world.run_until(self.world.now_s + QUIET_S)
        sent = self._updates_out()
        self.world.run_until(self.world.now_s + QUIET_S)
        if self.differences() or self._updates_out() != sent:
            raise Violation("after all had converged, updates were sent")
        for machine in self.machines:
            unsynced = [link for link in machine.up.links.values() if not link.synced]
            if unsynced or len(machine.up.links) != len(machine.hangups):
                raise Violation(f"{machine.name}: links are not settled")

    def _updates_out(self) -> int:
        ends = [end for connection in self.network.connections for end in connection.ends]
        return sum(end.link.updates_out for end in ends)
