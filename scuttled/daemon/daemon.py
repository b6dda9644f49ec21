"""One daemon: takes its parts from the start-up, runs them, goes down.

Order of coming up: state directory (locked), gossip listener, node, control socket, READY. Order
of going down: STOPPING, links say goodbye, callers get a grace, storage closes last. Stopping is
safe at any point: what was acknowledged is on disk, and the next handshake knows what is missing.
"""

import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

import trio

from scuttled.config.config import Loaded
from scuttled.daemon.start_up import Parts, StartUp
from scuttled.daemon.state import State
from scuttled.daemon.upkeep import Upkeep
from scuttled.errors import StorageError
from scuttled.gossip.targets import Target
from scuttled.node.membership import MEMBERS
from scuttled.runtime import systemd
from scuttled.runtime.causes import first_error
from scuttled.runtime.environment import Environment
from scuttled.runtime.signals import Signals, StopAsked
from scuttled.runtime.wakeup import Wakeup
from scuttled.version import __version__

logger = logging.getLogger(__name__)

RETIRE_S = 0.5  # for peers to hear that a node without disk is gone for good
GRACE_S = 2.0  # for callers and links at the end


def serve(loaded: Loaded, *, say: Callable[[str], None]) -> None:
    """Run a daemon until it is told to stop; `say` gets the lines that greet people.

    Raises ScuttledError if it can't come up, or its disk fails.
    """
    try:
        trio.run(Daemon(loaded, say=say).run)
    except BaseExceptionGroup as group:
        raise first_error(group) from group


class Daemon:
    """One running scuttled. `run` is its life; it returns when it was told to stop."""

    def __init__(
        self, loaded: Loaded, *, say: Callable[[str], None], environment: Environment | None = None
    ) -> None:
        """`environment` is this machine and its network; a simulation hands in its own."""
        self.environment = environment or Environment()
        self.loaded = loaded
        self.config = loaded.config
        self.parts: Parts | None = None  # once it has come up
        self._say = say  # start-up lines for people
        self._began = self.environment.now()
        self._signals = Signals()
        self._coming_up = trio.CancelScope()
        self._stop = trio.Event()
        self._nursery: trio.Nursery | None = None  # of what runs, once it serves

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `leave`. Raises ScuttledError if it can't.

        Signals are heeded before there is anything that an end would leave behind, and until all
        is closed: so the state is opened within, and whoever is told READY may stop us at once.
        """
        with self.environment.signals() as self._signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed_signals)
                with self._coming_up:
                    try:
                        await self._live()
                    except StopAsked:
                        logger.info("stopped while it was loading, as a signal asked")
                nursery.cancel_scope.cancel()

    async def _heed_signals(self) -> None:
        """Never returns. Raises KeyboardInterrupt at a second SIGINT: who is told waits for us."""
        while True:
            number = await self._signals.next()
            name = signal.Signals(number).name
            if number == signal.SIGHUP:
                logger.warning("SIGHUP: nothing is read anew; what was changed needs a restart")
            elif not self._stop.is_set():
                logger.info("stopping on %s", name)
                self._stop.set()
                if self._nursery is None:
                    self._coming_up.cancel()
            elif number == signal.SIGINT:
                raise KeyboardInterrupt

    async def _live(self) -> None:
        """From the first look at the configuration to the last file that is closed."""
        start_up = StartUp(self.loaded, self.environment, self._signals, self._began)
        start_up.check()
        state = State(self.config, self.environment)
        try:
            async with AsyncExitStack() as stack:
                self.parts = await start_up.build(
                    state, stack, begin_dialling=self._begin_dialling, leave=self._leave
                )
                await self._serve(self.parts)
        except BaseException:
            with suppress(StorageError):  # what went wrong first is what there is to tell
                state.close()
            raise
        state.close()

    async def _serve(self, parts: Parts) -> None:
        """Run all parts until it is time to stop, then go down in order."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for keep in Upkeep(parts, self.environment).tasks():
                nursery.start_soon(keep)
            if parts.flusher is not None:
                nursery.start_soon(parts.flusher.keep_saving)
                nursery.start_soon(parts.flusher.keep_saving_clocks)
                nursery.start_soon(parts.flusher.keep_checkpointing)
            # Links and callers live in the outer nursery: when the doors close, they go on.
            async with trio.open_nursery() as doors:
                serve = partial(trio.serve_listeners, handler_nursery=nursery)
                doors.start_soon(serve, parts.gossip.serve, parts.gossip_listeners)
                doors.start_soon(serve, parts.control.serve, [parts.control_listener])
                for bridge, listeners in parts.npm.listeners:
                    doors.start_soon(serve, partial(parts.npm.serve, bridge), listeners)
                for dialled, bridge in parts.npm.dials:
                    nursery.start_soon(parts.npm.keep_dialling, dialled, bridge)
                parts.peering.begin(self.config.peers)
                self._report_up(parts)
                self.environment.settled()
                await self._stop.wait()
                systemd.notify("STOPPING=1", self.environment.environ)
                doors.cancel_scope.cancel()
            with trio.move_on_after(GRACE_S):
                await self._say_goodbye(parts)
            nursery.cancel_scope.cancel()

    def _report_up(self, parts: Parts) -> None:
        config = self.config
        state = "in memory only" if config.memory else str(config.data)
        self._say(f"scuttled {__version__}  node {config.name} ({parts.node.author.node_id.hex()})")
        self._say(f"cluster  {config.cluster}")
        self._say(f"state    {state}")
        self._say(f"control  {config.socket}")
        self._say(f"gossip   {parts.listen}  peers {' '.join(config.peers) or 'none'}")
        for text in config.npm:
            self._say(f"npm      {text}")
        systemd.notify(f"READY=1\nSTATUS={parts.status.status_line()}", self.environment.environ)

    async def _say_goodbye(self, parts: Parts) -> None:
        """Answer callers, save what is not saved, and tell every peer that this is no failure."""
        node = parts.node
        progress = Wakeup()
        with node.subscribe(progress.ring, saved=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(parts.control.finish)
                if self.config.memory:  # its id is gone with it: nobody is to wait for it
                    node.retire(self.environment.now().wall_ms)
                    with trio.move_on_after(RETIRE_S):
                        while not node.links.have_all_of(MEMBERS):
                            await progress.heard()
                while not node.durability.is_saved() and not node.durability.failing:
                    await progress.heard()
                await parts.gossip.leave(f"{self.config.name} stops")

    # --- what callers of the control socket may ask for ---

    def _begin_dialling(self, target: Target) -> None:
        assert self.parts is not None
        assert self._nursery is not None
        self._nursery.start_soon(self.parts.gossip.dialler.keep_dialling, target)

    def _leave(self) -> int:
        """Begin to stop; how many peers are told."""
        assert self.parts is not None
        self._stop.set()
        return len(self.parts.node.links)
