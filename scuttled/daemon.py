"""Puts the rooms together: one daemon, from its configuration to its last goodbye.

Order of coming up: state directory (locked), node, gossip listener, control socket, READY. Order
of going down: STOPPING, links say goodbye, callers get a grace, storage closes last. Stopping is
safe at any point: what was acknowledged is on disk, and the next handshake knows what is missing.
"""

import gc
import logging
import os
import secrets
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from scuttled import __version__, readiness
from scuttled import config as configuration
from scuttled.config import Config, Loaded
from scuttled.control import Control, open_control_socket
from scuttled.core.hlc import Author
from scuttled.core.update import NodeId
from scuttled.errors import Refused, StorageError, UsageError
from scuttled.gossip import Gossip, Peer
from scuttled.node import Node, Settings
from scuttled.rejoining import Rejoin
from scuttled.report import Report
from scuttled.requests import Daemon as DaemonDoor
from scuttled.requests import Requests
from scuttled.storage import Identity, Storage
from scuttled.transport import bound_address, open_listeners
from scuttled.unsaved import SAVE_ENTRIES_MAX
from scuttled.waking import Bell, read_clocks

logger = logging.getLogger(__name__)

PEERS_MAX = 512  # that are dialled
GRACE_S = 2.0  # for callers and links at the end
EXPIRE_S = 0.2  # between looks at what expires, while something is due soon
CLOCKS_S = 0.2  # between savings of the clocks; a clock on disk may lag, never lead
GC_THRESHOLDS = (20_000, 20, 50)  # slots and log make no cycles, links few
TURN_S = 1.0  # between looks at rates, the watchdog, the write-ahead log


def serve(loaded: Loaded, *, say: Callable[[str], None]) -> None:
    """Run a daemon until it is told to stop; `say` gets the lines that greet people.

    Raises ScuttledError if it can't come up, or its disk fails.
    """
    try:
        trio.run(Daemon(loaded, say=say).run)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _boot_id() -> str:
    """Tells one start of this machine from another; the same for ever where nobody says."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Daemon:
    """One running scuttled. `run` is its life; it returns when it was told to stop."""

    def __init__(self, loaded: Loaded, *, say: Callable[[str], None]) -> None:
        self.loaded = loaded
        self.config: Config = loaded.config
        self.say = say  # start-up lines for people
        self.began = read_clocks()
        self.storage: Storage | None = None
        self.listen = ""
        self._stop = trio.Event()
        self._unsaved = Bell()
        self._unsaved.ring()  # what `begin` wrote
        self._tending = Bell()
        self._save_clocks = False  # with the next transaction

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `leave`. Raises ScuttledError if it can't."""
        config = self.config
        configuration.check_listen(config)
        inherited = readiness.inherited_sockets(os.environ, os.getpid())
        try:
            self._open_state()
            async with AsyncExitStack() as stack:
                gossip_listeners = await open_listeners(config.listen)
                for listener in gossip_listeners:
                    await stack.enter_async_context(listener)
                self.listen = bound_address(gossip_listeners[0])
                self._make_node()
                if "control" in inherited:
                    sock = trio.socket.from_stdlib_socket(inherited["control"])
                    control_listener = trio.SocketListener(sock)
                else:
                    control_listener = await stack.enter_async_context(
                        open_control_socket(config.socket, config.socket_mode, config.socket_group)
                    )
                await self._serve(gossip_listeners, control_listener)
        except BaseException:
            with suppress(StorageError):  # what went wrong first is what there is to tell
                self._close_state()
            raise
        self._close_state()

    # --- coming up ---

    def _open_state(self) -> None:
        if self.config.memory:
            self.identity = Identity(NodeId(secrets.token_bytes(8)), 1)
            return
        self.storage = Storage(Path(self.config.data), self.config.sync)
        identity = self.storage.identity()
        if identity is None:
            identity = Identity(NodeId(secrets.token_bytes(8)), 1)
            self.storage.adopt(identity)
        if self.storage.begin_run(_boot_id()):
            identity = Identity(identity.node_id, identity.life + 1)
            self.storage.adopt(identity)
            logger.warning(
                "the machine was cut off and may have lost the last writes of this node: going on "
                "as life %d, and asking the peers for what they have of it",
                identity.life,
            )
        self.identity = identity

    def _close_state(self) -> None:
        if self.storage is not None:
            self.storage.close()

    def _make_node(self) -> None:
        config, identity = self.config, self.identity
        author = Author(identity.node_id, identity.life)
        settings = Settings(
            config.name,
            config.cluster,
            secrets.token_bytes(8),
            config.advertise or self.listen,
            round(config.max_clock_skew_s * 1000),
            round(config.forget_after_s * 1000),
            Rejoin(config.rejoin),
        )
        self.node = Node(author, settings, stored=self.storage is not None)
        self.node.wake_storage = self._unsaved.ring
        self.node.wake_tending = self._tending.ring
        self.node.begin(self.storage.load() if self.storage else (), read_clocks().wall_ms)
        self.gossip = Gossip(self.node, insecure=config.insecure)
        self.report = Report(config, self.gossip, self.storage, self.listen, self.began)
        report = self.report
        door = DaemonDoor(report.facts, report.peers, self._join, self._leave, self.loaded.settings)
        self.control = Control(self.node, Requests(self.node, door), read_clocks)

    async def _serve(
        self, gossip_listeners: list[trio.SocketListener], control_listener: trio.SocketListener
    ) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keep_saving)
            nursery.start_soon(self._keep_saving_clocks)
            nursery.start_soon(self._keep_expiring)
            nursery.start_soon(self._keep_tending)
            nursery.start_soon(self._keep_counting)
            nursery.start_soon(self._heed_signals)
            if self.storage is not None:
                nursery.start_soon(self._keep_checkpointing, self.storage)
            async with trio.open_nursery() as doors:
                serve = partial(trio.serve_listeners, handler_nursery=nursery)
                doors.start_soon(serve, self.gossip.serve, gossip_listeners)
                doors.start_soon(serve, self.control.serve, [control_listener])
                self._dial(self.config.peers)
                self._dial(self.storage.read_peers() if self.storage else ())
                self._report_up()
                gc.freeze()  # what was loaded lives on; no use in looking at it again and again
                gc.set_threshold(*GC_THRESHOLDS)
                await self._stop.wait()
                readiness.notify("STOPPING=1", os.environ)
                doors.cancel_scope.cancel()
            with trio.move_on_after(GRACE_S):
                await self._say_goodbye()
            nursery.cancel_scope.cancel()

    def _report_up(self) -> None:
        config, node = self.config, self.node
        state = "in memory only" if config.memory else str(config.data)
        self.say(f"scuttled {__version__}  node {config.name} ({node.author.node_id.hex()})")
        self.say(f"cluster  {config.cluster}")
        self.say(f"state    {state}")
        self.say(f"control  {config.socket}")
        self.say(f"gossip   {self.listen}  peers {' '.join(config.peers) or 'none'}")
        readiness.notify(f"READY=1\nSTATUS={self.report.status_line()}", os.environ)

    # --- going down ---

    async def _heed_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if self._stop.is_set() and number == signal.SIGINT:
                    raise KeyboardInterrupt
                if not self._stop.is_set():
                    logger.info("stopping on %s", signal.Signals(number).name)
                    self._stop.set()

    async def _say_goodbye(self) -> None:
        """Answer callers, save what is not saved, and tell every peer that this is no failure."""
        node, bell = self.node, Bell()
        node.progress.add(bell.ring)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.control.finish)
            while not node.is_saved():
                await bell.heard()
            await self.gossip.leave(f"{self.config.name} stops")

    # --- tasks that keep ---

    async def _keep_saving(self) -> None:
        """Storage reads the logs: all that came in one turn of the loop is one transaction."""
        storage, node = self.storage, self.node
        if storage is None:
            return
        while True:
            await self._unsaved.heard()
            if not node.urgent:
                await trio.lowlevel.checkpoint()  # nobody waits for it; let watchers go first
            node.urgent = False
            clocks, self._save_clocks = self._save_clocks, False
            while (batch := node.unsaved(clocks=clocks)) is not None:
                if storage.sync == "full":  # an fsync takes as long as it takes
                    await trio.to_thread.run_sync(storage.write, batch)
                else:
                    storage.write(batch)
                node.saved(batch)
                if batch.rows >= SAVE_ENTRIES_MAX:
                    await trio.lowlevel.checkpoint()

    async def _keep_saving_clocks(self) -> None:
        """A clock on disk may lag behind (never lead): so it is saved at most every CLOCKS_S."""
        while True:
            if not self.node.is_saved():
                self._save_clocks = True
                self._unsaved.ring()
            await trio.sleep(CLOCKS_S)

    async def _keep_checkpointing(self, storage: Storage) -> None:
        while True:
            await trio.sleep(TURN_S)
            if storage.wants_checkpoint:
                await trio.to_thread.run_sync(storage.checkpoint)

    async def _keep_tending(self) -> None:
        """Our rows in `_members` go out in time, and deletions are forgotten."""
        while True:
            now = read_clocks()
            self.node.tend(now)
            self.gossip.log_notices()
            with trio.move_on_after(self.node.members.interval_s(now.wall_ms)):
                await self._tending.heard()

    async def _keep_expiring(self) -> None:
        while True:
            now = read_clocks()
            self.node.expire(now.wall_ms)
            due = self.node.next_expiry_ms()
            if due is None:
                await trio.sleep(EXPIRE_S)
            else:
                await trio.sleep(min(EXPIRE_S, max(0.001, (due - now.wall_ms) / 1000)))

    async def _keep_counting(self) -> None:
        """Rates, the status line, and the watchdog, which is fed only while the loop turns.

        This very task is in the loop: while it wakes, readers and writers do, too.
        """
        interval_s = readiness.watchdog_interval_s(os.environ, os.getpid())
        said = ""
        while True:
            self.report.sample(read_clocks())
            line = self.report.status_line()
            if line != said:
                readiness.notify(f"STATUS={line}", os.environ)
                said = line
            if interval_s is not None:
                readiness.notify("WATCHDOG=1", os.environ)
            await trio.sleep(min(interval_s or TURN_S, TURN_S))

    # --- peers ---

    def _dial(self, addresses: Any) -> list[str]:
        added = []
        for address in addresses:
            if address not in self.gossip.peers:
                peer = self.gossip.peers[address] = Peer(address)
                self._nursery.start_soon(self.gossip.keep_dialling, peer)
                added.append(address)
        return added

    def _join(self, addresses: list[str], save: bool) -> dict[str, Any]:
        for address in addresses:
            configuration.parse_address(address)
        known = [address for address in addresses if address in self.gossip.peers]
        if len(self.gossip.peers) + len(addresses) - len(known) > PEERS_MAX:
            raise UsageError(f"{len(addresses)} more peers, there can be at most {PEERS_MAX}")
        if save:
            if self.storage is None:
                raise Refused("can't save peers: this daemon keeps nothing on disk (--memory)")
            self.storage.write_peers({*self.storage.read_peers(), *addresses})
        return {"added": self._dial(addresses), "known": known}

    def _leave(self) -> int:
        self._stop.set()
        return len(self.node.links)
