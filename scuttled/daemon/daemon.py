"""Puts the rooms together: one daemon, from its configuration to its last goodbye.

Order of coming up: state directory (locked), node, gossip listener, control socket, READY. Order
of going down: STOPPING, links say goodbye, callers get a grace, storage closes last. Stopping is
safe at any point: what was acknowledged is on disk, and the next handshake knows what is missing.
"""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import trio

from scuttled.config import config as configuration
from scuttled.config.config import Config, Loaded
from scuttled.control.backpressure import Backpressure
from scuttled.control.operations import Requests
from scuttled.control.results import DaemonDoor
from scuttled.control.server import CALLERS_MAX, Control
from scuttled.daemon.peering import Peering
from scuttled.daemon.status import Status
from scuttled.errors import ConfigError, StorageError
from scuttled.gossip.dialer import PEERS_MAX, Target
from scuttled.gossip.gossip import LINKS_MAX, Gossip
from scuttled.models.registry import MODELS, add_type
from scuttled.node.membership import NodeSettings
from scuttled.node.node import Node
from scuttled.node.problems import ProblemLog
from scuttled.npm.server import CONNECTIONS_MAX, NpmDoor
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import Rejoin
from scuttled.replica.signatures import Signer, Verifier
from scuttled.replica.slots import Slots
from scuttled.replica.update import NodeId
from scuttled.runtime import keys as signing
from scuttled.runtime import systemd
from scuttled.runtime.bell import Wakeup
from scuttled.runtime.environment import Environment
from scuttled.runtime.logs import tell_repeats
from scuttled.runtime.signals import Signals, StopAsked
from scuttled.runtime.streams import bound_address
from scuttled.storage.flusher import Flusher
from scuttled.storage.storage import Damaged, Identity, Storage, another_life
from scuttled.version import __version__

logger = logging.getLogger(__name__)

Listener = trio.abc.Listener[trio.abc.Stream]

FILES_MAX = 64  # of the state, of listeners, of the loop; and what a look-up of a name takes
DESCRIPTORS_MAX = PEERS_MAX + LINKS_MAX + CALLERS_MAX + CONNECTIONS_MAX + FILES_MAX
RETIRE_S = 0.5  # for peers to hear that a node without disk is gone for good
GRACE_S = 2.0  # for callers and links at the end
EXPIRE_S = 0.2  # between looks at what expires, while something is due soon
TURN_S = 1.0  # between looks at rates and the watchdog
LOOK_S = 5.0  # between looks for problems to be logged...
DELETIONS_S = 60.0  # ...and for those of deletions, which cost more to find
STANDS_S = 10.0  # ...which is done when they have stood so long: links take a moment to come
LOGGED_ELSEWHERE = ("disk", "peer", "skew", "model", "future")  # when they come, in detail
LOAD_TOLD_S = 1.0  # of loading, after which it is told how long it took
LOAD_EXTENDS_S = 60  # what systemd is to grant, at each sign of progress


def serve(loaded: Loaded, *, say: Callable[[str], None]) -> None:
    """Run a daemon until it is told to stop; `say` gets the lines that greet people.

    Raises ScuttledError if it can't come up, or its disk fails.
    """
    try:
        trio.run(Daemon(loaded, say=say).run)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Daemon:
    """One running scuttled. `run` is its life; it returns when it was told to stop."""

    def __init__(
        self, loaded: Loaded, *, say: Callable[[str], None], outside: Environment | None = None
    ) -> None:
        """`outside` is this machine and its network; a simulation hands in its own."""
        self.outside = outside or Environment()
        self.loaded = loaded
        self.config: Config = loaded.config
        self.say = say  # start-up lines for people
        self.began = self.outside.now()
        self.storage: Storage | None = None
        self.saving: Flusher | None = None
        self.listen = ""
        self._stop = trio.Event()
        self._is_up = False
        self._coming_up = trio.CancelScope()
        self._signals = Signals()
        self._tending = Wakeup()

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `leave`. Raises ScuttledError if it can't.

        Signals are heeded before there is anything that an end would leave behind, and until all
        is closed: so the state is opened within, and whoever is told READY may stop us at once.
        """
        with self.outside.signals() as self._signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed_signals)
                with self._coming_up:
                    try:
                        await self._live()
                    except StopAsked:
                        logger.info("stopped while it was loading, as a signal asked")
                nursery.cancel_scope.cancel()

    async def _live(self) -> None:
        """From the first look at the configuration to the last file that is closed."""
        config = self.config
        configuration.check_listen(config)
        for text in config.types:
            if not issubclass(add_type(text), Slots) and config.sign:
                raise ConfigError(f"data type {text} is no subclass of Slots: it can't be signed")
        if strange := [name for name in config.enforce if name not in MODELS]:
            raise ConfigError(f"flow.enforce: there is no data type '{strange[0]}'")
        self._check_descriptors()
        try:
            self._open_state()
            async with AsyncExitStack() as stack:
                gossip_listeners = await self.outside.listen(config.listen)
                for listener in gossip_listeners:
                    await stack.enter_async_context(listener)
                self.listen = bound_address(gossip_listeners[0])
                self._make_node()
                await self.npm.open(config.npm, config.npm_connect, stack)
                if (inherited := self.outside.inherited.get(systemd.CONTROL)) is not None:
                    sock = trio.socket.from_stdlib_socket(inherited)
                    control_listener: Listener = trio.SocketListener(sock)
                else:
                    opening = self.outside.open_control(
                        config.socket, config.socket_mode, config.socket_group
                    )
                    control_listener = await stack.enter_async_context(opening)
                await self._serve(gossip_listeners, control_listener)
        except BaseException:
            with suppress(StorageError):  # what went wrong first is what there is to tell
                self._close_state()
            raise
        self._close_state()

    # --- coming up ---

    def _check_descriptors(self) -> None:
        """Every connection that the maxima allow takes one: where there are fewer, it is said."""
        allowed = self.outside.descriptors(DESCRIPTORS_MAX)
        if allowed < DESCRIPTORS_MAX:
            logger.warning(
                "this process may open %d files; with all the links, callers and peers that it "
                "would take it needs %d (ulimit -n, or LimitNOFILE= in the unit): beyond that "
                "connections wait",
                allowed,
                DESCRIPTORS_MAX,
            )

    def _open_state(self) -> None:
        self.seal = self._make_seal() if self.config.sign else None
        node_id = signing.node_id(self.seal) if self.seal else None
        if self.config.memory:
            self.identity = Identity(node_id or NodeId(self.outside.rng.randbytes(8)), 1)
            return
        now_ms = self.outside.now().wall_ms
        self.storage = Storage(Path(self.config.data), self.config.sync, now_ms)
        begun = self.storage.begin(self.outside.boot_id(), self.outside.rng.getrandbits, node_id)
        for words in begun.warnings:
            logger.warning("%s", words)
        self.identity = begun.identity
        if self.storage.damage:
            self._tell_damage(self.storage)

    def _make_seal(self) -> Signer:
        """What signs for this node; its key is made at the first start. Raises ScuttledError."""
        home = None if self.config.memory else Path(self.config.data)
        seed = signing.read_key(home) if home else None
        if seed is None:
            seed = self.outside.rng.randbytes(signing.SEED_BYTES)
            if home:
                signing.write_key(home, seed)
        elif home and not signing.has_check(home):
            signing.write_check(home, seed)
        return signing.make_seal(seed)

    def _renew_key(self) -> NodeId:
        """Another live node has ours: sign with another one. Raises StorageError."""
        seed = self.outside.rng.randbytes(signing.SEED_BYTES)
        if not self.config.memory:
            signing.write_key(Path(self.config.data), seed)
        self.node.author.seal = self.seal = signing.make_seal(seed)
        return signing.node_id(self.seal)

    def _tell_damage(self, storage: Storage) -> None:
        logger.error(
            "%s; this node begins anew as life %d, and asks the peers for the state",
            storage.damage,
            self.identity.life,
        )

    def _tell_loading(self, rows: int, about: int) -> None:
        """systemd is told that this start takes long, and is not stuck. Raises StopAsked."""
        self._signals.check()
        percent = min(100 * rows // max(about, 1), 99)
        systemd.notify(
            f"EXTEND_TIMEOUT_USEC={LOAD_EXTENDS_S * 1_000_000}\n"
            f"STATUS=loading: {rows:,} entries, about {percent} %",
            self.outside.environ,
        )

    def _close_state(self) -> None:
        """Raises StorageError if something that was accepted is not on disk."""
        if self.storage is None:
            return
        try:
            if self.saving is not None:
                self.saving.save_rest()
        except BaseException:
            with suppress(StorageError):
                self.storage.close()
            raise
        self.storage.close(self.node.author.hlc.last if self.saving is not None else 0)

    def _make_node(self) -> None:
        storage = self.storage
        try:
            self.node = self._begun_node()
        except Damaged as found:
            assert storage is not None
            now_ms, life = self.outside.now().wall_ms, self.identity.life
            life = another_life(life, self.outside.rng.getrandbits)
            self.identity = Identity(self.identity.node_id, life, self.identity.last)
            storage.begin_anew(found, now_ms, self.identity)
            self._tell_damage(storage)
            self.node = self._begun_node()
        if storage is not None:
            self.saving = Flusher(self.node, storage, self.outside)
        self._open_doors()

    def _begun_node(self) -> Node:
        """With all that is on disk. Raises Damaged, StopAsked."""
        config, identity = self.config, self.identity
        author = Author(
            identity.node_id, identity.life, identity.last, lambda: self.outside.now().wall_ms
        )
        if self.seal is not None:
            trusted = [NodeId(bytes.fromhex(node)) for node in config.trust]
            mine = [author.node_id] if trusted else []
            author.seal, author.another_id = self.seal, self._renew_key
            author.doubt = Verifier(signing.check_with_ed25519(), frozenset([*trusted, *mine]))
        settings = NodeSettings(
            config.name,
            config.cluster,
            self.outside.rng.randbytes(8),
            config.advertise or self.listen,
            round(config.max_clock_skew_s * 1000),
            round(config.forget_after_s * 1000),
            Rejoin(config.rejoin),
            round(config.keep_deleted_s * 1000),
            began_ms=self.began.wall_ms,
        )
        node = Node(author, settings, stored=self.storage is not None)
        began = self.outside.now()
        self._signals.check()
        node.begin(self.storage.load(self._tell_loading) if self.storage else (), began.wall_ms)
        self._signals.check()
        took_s = self.outside.now().mono_s - began.mono_s
        if took_s > LOAD_TOLD_S:
            keys = sum(model.log.live for model in node.user_models())
            logger.info("%s entries loaded in %.1f s", f"{keys:,}", took_s)
        return node

    def _open_doors(self) -> None:
        config = self.config
        self.node.wake_tending = self._tending.ring
        self.gossip = Gossip(
            self.node, insecure=config.insecure, outside=self.outside, listen=self.listen
        )
        self.pacing = pacing = Backpressure(self.node, config.enforce)
        self.npm = NpmDoor(self.node, insecure=config.insecure, rng=self.outside.rng)
        guests = self.npm.guests
        report = Status(config, self.gossip, self.storage, self.listen, self.began, pacing, guests)
        self.report = report
        self.peering = Peering(self.gossip.dialler, self.storage, self._begin_dialling, config.name)
        door = DaemonDoor(
            report.facts,
            report.peers,
            self.peering.join,
            self._leave,
            lambda: self.peering.settings(self.loaded.settings()),
            part=self.peering.part,
            decided=self.peering.decided,
            verdicts=self.peering.verdicts,
        )
        requests = Requests(self.node, door)
        self.control = Control(self.node, requests, self.outside.now, self.pacing)

    async def _serve(self, gossip_listeners: list[Listener], control_listener: Listener) -> None:
        self._is_up = True
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keep_expiring)
            nursery.start_soon(self._keep_tending)
            nursery.start_soon(self._keep_verifying)
            nursery.start_soon(self._keep_counting)
            nursery.start_soon(self._keep_telling_problems)
            if self.saving is not None:
                nursery.start_soon(self.saving.keep_saving)
                nursery.start_soon(self.saving.keep_saving_clocks)
                nursery.start_soon(self.saving.keep_checkpointing)
            async with trio.open_nursery() as doors:
                serve = partial(trio.serve_listeners, handler_nursery=nursery)
                doors.start_soon(serve, self.gossip.serve, gossip_listeners)
                doors.start_soon(serve, self.control.serve, [control_listener])
                for bridge, listeners in self.npm.listeners:
                    doors.start_soon(serve, partial(self.npm.serve, bridge), listeners)
                for dialled, bridge in self.npm.dials:
                    nursery.start_soon(self.npm.keep_dialling, dialled, bridge)
                self.peering.begin(self.config.peers)
                self._report_up()
                self.outside.settled()
                await self._stop.wait()
                systemd.notify("STOPPING=1", self.outside.environ)
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
        for text in config.npm:
            self.say(f"npm      {text}")
        systemd.notify(f"READY=1\nSTATUS={self.report.status_line()}", self.outside.environ)

    # --- going down ---

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
                if not self._is_up:
                    self._coming_up.cancel()
            elif number == signal.SIGINT:
                raise KeyboardInterrupt

    async def _say_goodbye(self) -> None:
        """Answer callers, save what is not saved, and tell every peer that this is no failure."""
        node, bell = self.node, Wakeup()
        with node.subscribe(bell.ring, saved=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.control.finish)
                if self.config.memory:  # its id is gone with it: nobody is to wait for it
                    node.retire(self.outside.now().wall_ms)
                    with trio.move_on_after(RETIRE_S):
                        while not node.has_told_rows():
                            await bell.heard()
                while not node.is_saved() and not node.failing:
                    await bell.heard()
                await self.gossip.leave(f"{self.config.name} stops")

    # --- tasks that keep ---

    async def _keep_tending(self) -> None:
        """Our rows in `_members` go out in time, and deletions are forgotten."""
        while True:
            now = self.outside.now()
            if self.node.twin_words and self.storage is None:
                another = self.node.author.another_id or (
                    lambda: NodeId(self.outside.rng.randbytes(8))
                )
                self.node.live_elsewhere(another(), now.wall_ms)
            self.node.tend(now)
            self.gossip.log_notices()
            with trio.move_on_after(self.node.members.interval_s(now.wall_ms)):
                await self._tending.heard()

    async def _keep_verifying(self) -> None:
        """Compare models, for us and for peers, a slice at a time."""
        bell = Wakeup()
        self.node.verifier.wake = bell.ring
        while True:
            await bell.heard()
            while self.node.verifier.step():
                await trio.lowlevel.checkpoint()

    async def _keep_expiring(self) -> None:
        while True:
            now = self.outside.now()
            self.node.look_at_clock(now, self.outside.steady_s())
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
        interval_s = systemd.watchdog_interval_s(self.outside.environ, os.getpid())
        said = ""
        while True:
            self.report.sample(self.outside.now())
            self.pacing.measure.turn(self.outside.now())
            tell_repeats()
            line = self.report.status_line()
            if line != said:
                systemd.notify(f"STATUS={line}", self.outside.environ)
                said = line
            if interval_s is not None:
                systemd.notify("WATCHDOG=1", self.outside.environ)
            await trio.sleep(min(interval_s or TURN_S, TURN_S))

    async def _keep_telling_problems(self) -> None:
        """What `status` would say is wrong is in the log, too: once each time it comes."""
        problem_log = ProblemLog(LOGGED_ELSEWHERE)
        while True:
            await trio.sleep(LOOK_S)
            now = self.outside.now()
            problems = self.report.problems(now, deletions_age_s=DELETIONS_S)
            for problem in problem_log.news(problems, now.mono_s, after_s=STANDS_S):
                hint = f" (hint: {problem.hint})" if problem.hint else ""
                logger.warning("%s%s", problem.words, hint)

    # --- peers ---

    def _begin_dialling(self, target: Target) -> None:
        self._nursery.start_soon(self.gossip.dialler.keep_dialling, target)

    def _leave(self) -> int:
        self._stop.set()
        return len(self.node.links)
