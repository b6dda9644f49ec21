"""One machine: a disk, a clock that may be wrong, and a daemon that may be killed.

The daemon is the real one, whole and unchanged; only what it takes from outside is virtual.
"""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

import trio

from scuttled.config.config import Config, Loaded
from scuttled.daemon.daemon import Daemon
from scuttled.daemon.start_up import Parts
from scuttled.gossip.gossip import Gossip
from scuttled.node.node import Node
from scuttled.node.subscribers import Subscription
from scuttled.replica.update import Instant
from scuttled.runtime.causes import first_error
from scuttled.runtime.environment import Environment
from scuttled.runtime.signals import Signals
from scuttled.simulation.disk import Contents, Disk, torn
from scuttled.simulation.history import Witness
from scuttled.simulation.network import SimulatedListener
from scuttled.simulation.trio_world import TrioWorld
from scuttled.simulation.world import EPOCH_MS

MAX_SKEW_S = 1.0  # between two clocks that may be linked
KEEP_DELETED_S = 2.0
DISK_S = 0.2  # a write that waits, at most, where disks take their time

T = TypeVar("T")


class Machine:
    """One member of the cluster; `daemon` while it runs."""

    def __init__(
        self,
        world: TrioWorld,
        name: str,
        path: Path,
        *,
        sync: str,
        forget_after_s: float,
        slow_disk: bool,
    ) -> None:
        self.world = world
        self.name = name
        self.disk = Disk(path)
        self.sync = sync
        self.forget_after_s = forget_after_s
        self.disk_s = DISK_S if slow_disk else 0.0
        self.peers: tuple[str, ...] = ()
        self.offset_ms = 0.0  # how wrong its wall clock is...
        self.drift = 0.0  # ...and by how much more each second, in parts
        self.boots = 1
        self._synced = 0  # bytes of the write-ahead log that no power cut takes
        self.daemon: Daemon | None = None
        self.witness: Witness
        self._looking: Subscription
        self.backup: Contents | None = None
        self.resets = 0  # in earlier runs
        self.retired = False  # it does not come back
        self.up = trio.Event()  # of this start
        self._scope = trio.CancelScope()
        self._gone = trio.Event()

    def __str__(self) -> str:
        return self.name

    @property
    def control(self) -> str:
        return f"{self.name}.control"

    @property
    def parts(self) -> Parts:
        assert self.daemon is not None
        assert self.daemon.parts is not None
        return self.daemon.parts

    @property
    def node(self) -> Node:
        return self.parts.node

    @property
    def gossip(self) -> Gossip:
        return self.parts.gossip

    @property
    def is_up(self) -> bool:
        return self.daemon is not None and self.up.is_set()

    @property
    def now(self) -> Instant:
        now_s = trio.current_time()
        wall_ms = EPOCH_MS + round(now_s * 1000 * (1 + self.drift) + self.offset_ms)
        return Instant(now_s, max(wall_ms, 0))

    def set_clock(self, offset_ms: float, drift: float) -> None:
        """From this moment on it is that wrong, and drifts so."""
        self.drift = drift
        self.offset_ms = offset_ms - trio.current_time() * 1000 * drift

    # --- its daemon's life ---

    async def live(self) -> None:
        """From one start to its end. What goes wrong in it is a violation."""
        if self.retired or self.daemon is not None:
            return
        config = Config(
            name=self.name, data=self.disk.path, socket=self.control, cluster="simulated",
            peers=self.peers, listen=self.name, insecure=True, max_clock_skew_s=MAX_SKEW_S,
            forget_after_s=self.forget_after_s, keep_deleted_s=KEEP_DELETED_S, sync=self.sync,
        )  # fmt: skip
        daemon = Daemon(Loaded(config, None, {}), say=_say_nothing, environment=_Virtual(self))
        self.daemon, self._scope, self._gone = daemon, trio.CancelScope(), trio.Event()
        try:
            with self._scope:
                await daemon.run()
        except* Exception as group:
            self.world.violate(f"{self.name} ended: {first_error(group)!r}")
        finally:
            self.daemon, self.up = None, trio.Event()
            self._gone.set()

    def begun(self) -> None:
        """Its node has what the disk had: is it what may not be lost, and who is it now?"""
        assert self.daemon is not None
        node = self.node
        history = self.world.history
        self._synced = self.disk.log_bytes
        node.met_others()  # so that all that was collected can be told by the floor
        source = node.author.source
        history.forget_lost(node.models, self.name, source)
        self.witness = Witness(history, node, self.name)
        self._looking = node.subscribe(self._look)
        self._look()
        self.up.set()

    def _look(self) -> None:
        self.world.check("clocks are truthful, and all was written by somebody", self.witness.look)

    # --- what ends it ---

    @property
    def resets_all(self) -> int:
        """Over all its runs."""
        return self.resets + (len(self.node.replaced.resets) if self.is_up else 0)

    async def kill(self, *, power: bool = False) -> None:
        """Gone in an instant, whatever it still does; what was sent may still arrive, in part."""
        if self.daemon is None:
            return
        contents = self.disk.contents()
        if self.up.is_set():
            self._note_end()
        self.world.network.cut_all(self.name)
        self.world.local.cut_all(self.control)
        self._scope.cancel()
        await self._gone.wait()
        if power:
            self.boots += 1
            if self.sync != "full":
                contents = torn(contents, self.world.rng, self._synced)
        self.disk.put_back(contents)

    def _note_end(self) -> None:
        node = self.node
        self._looking.close()
        self._look()
        self.resets += len(node.replaced.resets)
        self.world.history.note_acknowledged(node.models, self.name)


class _Virtual(Environment):
    """Environment of a machine's daemon."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.world = machine.world
        self.rng = random.Random(self.world.rng.getrandbits(64))  # noqa: S311  (a simulation)
        self.environ = {}
        self.inherited = {}

    def now(self) -> Instant:
        return self.machine.now

    def steady_s(self) -> float:
        return trio.current_time()

    def boot_id(self) -> str:
        return str(self.machine.boots)

    def signals(self) -> AbstractContextManager[Signals]:
        return nullcontext(Signals())

    async def beside(self, work: Callable[..., T], *args: object) -> T:
        await trio.sleep(self.rng.uniform(0, self.machine.disk_s))
        done = work(*args)
        await trio.sleep(self.rng.uniform(0, self.machine.disk_s / 10))
        return done

    def descriptors(self, wanted: int) -> int:
        return wanted

    def settled(self) -> None:
        self.machine.begun()

    async def listen(self, address: str) -> list[trio.abc.Listener[trio.abc.Stream]]:
        return [self.world.network.listen(address)]

    def open_control(
        self, path: str, mode: int, group: str
    ) -> AbstractAsyncContextManager[trio.abc.Listener[trio.abc.Stream]]:
        listener: SimulatedListener = self.world.local.listen(path)
        return listener

    def has_address(self, host: str) -> bool:
        return host == self.machine.name

    async def look_up(self, address: str) -> list[str]:
        return await self.world.network.look_up(address)

    async def dial(self, address: str, *, insecure: bool) -> trio.abc.Stream:
        return await self.world.network.connect(self.machine.name, address)


def _say_nothing(line: str) -> None:
    """Nobody is at the terminal."""
