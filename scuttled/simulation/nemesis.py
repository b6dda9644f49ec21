"""Does what a run's faults say, at random instants, until it is told to stop.

Each fault undoes itself after a while, in a task of its own. What is counted did happen.
"""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import permutations
from pathlib import Path

import trio

from scuttled.simulation.disk import Disk
from scuttled.simulation.faults import Faults
from scuttled.simulation.machine import Machine
from scuttled.simulation.network import Way
from scuttled.simulation.trio_world import TrioWorld

OFFSET_MS = 900.0  # two clocks may differ by more than may be linked, and be linked by a third
DRIFT = 0.01
HOUR_MS = 3_600_000.0
SPANS_MS = (HOUR_MS, 24 * HOUR_MS, 365 * 24 * HOUR_MS, 3 * 365 * 24 * HOUR_MS)
WHILES_S = (0.3, 2.0, 11.0, 30.0)  # shorter and longer than it takes to find a link dead
DOWN_S = 5.0  # a killed daemon, at most
COPIES_MAX = 2
LIES = (b"", b"\0\0\0\5", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\n")  # that garbage begins with
RATE_MIN_S = 0.2  # on average between two faults, at the least


class Mischief:
    """All that befalls the machines of one run."""

    def __init__(
        self,
        world: TrioWorld,
        machines: list[Machine],
        faults: Faults,
        nursery: trio.Nursery,
        add_copy: Callable[[Machine, Path], Machine],
    ) -> None:
        self.world = world
        self.machines = machines
        self.faults = faults
        self.rng = random.Random(world.rng.getrandbits(64))  # noqa: S311  (a simulation)
        self.over = False
        self._nursery = nursery
        self._add_copy = add_copy
        self._copies = 0
        self._deeds: dict[str, Callable[[], Awaitable[None]]] = {
            name: getattr(self, f"_{name}") for name in faults.names if hasattr(self, f"_{name}")
        }

    async def keep_on(self, interval_s: float) -> None:
        """One fault after the other, until the run is over."""
        if self.faults.drift or self.faults.jump:
            for machine in self.machines:
                self._set_clock(machine)
        for name in self.world.network.homes:
            self._move_name(name)
        while self._deeds:
            await trio.sleep(self.rng.expovariate(1 / max(interval_s, RATE_MIN_S)))
            if self.over:
                return
            name = self.rng.choice(list(self._deeds))
            await self._deeds[name]()
            self.world.note(name, b"")

    def _happened(self, name: str) -> None:
        self.world.counts[name] += 1

    def _up(self) -> Machine | None:
        running = [machine for machine in self.machines if machine.is_up]
        return self.rng.choice(running) if running else None

    def _later(self, delay_s: float, undo: Callable[[], None]) -> None:
        async def wait() -> None:
            await trio.sleep(delay_s)
            undo()

        self._nursery.start_soon(wait)

    def _ways(self, source: Machine, target: Machine) -> list[Way]:
        return [self.world.network.way(source.name, target.name)]

    def _block(self, ways: list[Way], while_s: float) -> None:
        for way in ways:
            way.block()

        def free() -> None:
            for way in ways:
                way.free()

        self._later(while_s, free)

    # --- the network ---

    async def _cut(self) -> None:
        if connections := list(self.world.network.connections):
            self.world.network.cut(self.rng.choice(connections))
            self._happened("cut")

    async def _part(self) -> None:
        one, other = self.rng.sample(self.machines, 2)
        self._block(self._ways(one, other) + self._ways(other, one), self.rng.choice(WHILES_S))
        self._happened("part")

    async def _oneway(self) -> None:
        one, other = self.rng.sample(self.machines, 2)
        self._block(self._ways(one, other), self.rng.choice(WHILES_S))
        self._happened("oneway")

    async def _dns(self) -> None:
        """A name moves: to somebody else, to several, to nobody, to the machine that asks."""
        if homes := self.world.network.homes:
            self._move_name(self.rng.choice(list(homes)))
            self._happened("dns")

    def _move_name(self, name: str) -> None:
        asker, target = self.world.network.homes[name]
        all_names = [machine.name for machine in self.machines]
        answers: tuple[list[str], ...] = (
            [target],
            [asker],
            [asker, target],
            [self.rng.choice(all_names)],
            all_names,
            [],
        )
        self.world.network.names[name] = tuple(dict.fromkeys(self.rng.choice(answers)))

    async def _slow(self) -> None:
        one, other = self.rng.sample(self.machines, 2)
        way = self.world.network.way(one.name, other.name)
        way.bytes_per_s = self.rng.choice((500.0, 4000.0, 20_000.0))

        def as_before() -> None:
            way.bytes_per_s = 0.0

        self._later(self.rng.choice(WHILES_S), as_before)
        self._happened("slow")

    async def _clog(self) -> None:
        """Swizzle-clogging: stop some one by one, and let them go on in another order."""
        some = self.rng.sample(self.machines, self.rng.randint(1, len(self.machines)))
        all_ways = {}
        for machine in some:
            others = [other for other in self.machines if other is not machine]
            ways = [way for other in others for way in self._ways(machine, other)]
            all_ways[machine.name] = ways
            for way in ways:
                way.block()
            await trio.sleep(self.rng.uniform(0, 0.5))
        for machine in self.rng.sample(some, len(some)):
            await trio.sleep(self.rng.uniform(0, 0.5))
            for way in all_ways[machine.name]:
                way.free()
        self._happened("clog")

    async def _garbage(self) -> None:
        if (machine := self._up()) is not None:
            self._nursery.start_soon(self._send_garbage, machine)

    async def _send_garbage(self, machine: Machine) -> None:
        try:
            stream = await self.world.network.connect("stranger", machine.name)
            async with stream:
                for _ in range(self.rng.randint(1, 4)):
                    size = self.rng.choice((1, 4, 100, 20_000))
                    lie = self.rng.choice(LIES)
                    await stream.send_all(lie + self.rng.randbytes(size))
                    await trio.sleep(self.rng.uniform(0, 3))
        except (OSError, trio.BrokenResourceError):
            pass  # it was shown the door
        self._happened("garbage")

    # --- machines ---

    async def _kill(self) -> None:
        if (machine := self._up()) is not None:
            await machine.kill()
            self._come_back(machine)
            self._happened("kill")

    async def _forget(self) -> None:
        """Away for so long that it no longer counts."""
        if (machine := self._up()) is not None:
            await machine.kill()
            away_s = machine.forget_after_s * self.rng.uniform(1.2, 2.0)
            self._come_back(machine, away_s=away_s, then=lambda: self._happened("forget"))

    async def _power(self) -> None:
        if (machine := self._up()) is not None:
            await machine.kill(power=True)
            self._come_back(machine)
            self._happened("power")

    async def _restore(self) -> None:
        """A backup is taken or, some time later, put in place of what there is."""
        machine = self._up()
        if machine is None:
            return
        if machine.backup is None:
            machine.backup = machine.disk.contents()
            return
        await machine.kill()
        machine.disk.replace(machine.backup)
        machine.backup = None
        self._come_back(machine)
        self._happened("restore")

    async def _copy(self) -> None:
        machine = self._up()
        if machine is not None and self._copies < COPIES_MAX:
            self._copies += 1
            path = machine.disk.path.with_name(f"{machine.name}-copy{self._copies}")
            Disk(path).replace(machine.disk.contents())
            self._nursery.start_soon(self._add_copy(machine, path).live)
            self._happened("copy")

    def _come_back(
        self, machine: Machine, *, away_s: float = 0.0, then: Callable[[], None] = lambda: None
    ) -> None:
        async def wait() -> None:
            await trio.sleep(away_s or self.rng.uniform(0, DOWN_S))
            then()
            await machine.live()

        self._nursery.start_soon(wait)

    # --- clocks ---

    async def _jump(self) -> None:
        self._set_clock(self.rng.choice(self.machines))
        self._happened("jump")

    async def _drift(self) -> None:
        self._set_clock(self.rng.choice(self.machines))
        self._happened("drift")

    async def _years(self) -> None:
        """Forth or back; of one machine, of two, of all. They are mended together, or in turn."""
        count = self.rng.choice((1, 1, 2, len(self.machines)))
        some = self.rng.sample(self.machines, count)
        off_ms = self.rng.choice(SPANS_MS) * self.rng.choice((1, 1, -1))
        mended_s = self.rng.choice(WHILES_S)
        together = self.rng.random() < 0.5
        for machine in some:
            self._set_clock(machine)
            machine.offset_ms += off_ms
            own_s = mended_s if together else self.rng.choice(WHILES_S)
            self._later(own_s, partial(self._mend_clock, machine))
        self._happened("years")

    def _mend_clock(self, machine: Machine) -> None:
        """Nearly right, once nothing goes wrong any more: else it might be refused for good."""
        if self.over:
            machine.set_clock(self.rng.uniform(-OFFSET_MS, OFFSET_MS) / 10, 0.0)
        else:
            self._set_clock(machine)

    def _set_clock(self, machine: Machine) -> None:
        offset_ms = self.rng.uniform(-OFFSET_MS, OFFSET_MS) if self.faults.jump else 0.0
        machine.set_clock(offset_ms, self.rng.uniform(-DRIFT, DRIFT) if self.faults.drift else 0.0)

    # --- the end ---

    def heal(self, core: list[Machine]) -> None:
        """The network between these is whole again, names lead where they should, and clocks are
        nearly right.
        """
        self.over = True
        for one, other in permutations(core, 2):
            way = self.world.network.way(one.name, other.name)
            way.heal()
        for name, (_, target) in self.world.network.homes.items():
            self.world.network.names[name] = (target,)
        for machine in core:
            self._mend_clock(machine)

    async def break_for_good(self, machines: list[Machine]) -> None:
        """Leave what is not of the core dead, deaf, dumb or slow."""
        for machine in machines:
            network = self.world.network
            others = [other.name for other in self.machines if other is not machine]
            ways_in = [network.way(name, machine.name) for name in others]
            ways_out = [network.way(machine.name, name) for name in others]
            match self.rng.choice(("dead", "deaf", "dumb", "slow")):
                case "dead":
                    await machine.kill()
                    machine.retired = True
                case "deaf":
                    for way in ways_in:
                        way.block()
                case "dumb":
                    for way in ways_out:
                        way.block()
                case "slow":
                    for way in (*ways_in, *ways_out):
                        way.bytes_per_s = 300.0
