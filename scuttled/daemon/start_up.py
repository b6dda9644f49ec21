"""Start-up of a daemon: from its configuration to parts that are ready to run.

In this order: gossip listener (its port is part of what the node says of itself), node with all
that is on disk, npm, control socket. What was opened is closed by the caller, whatever is raised.
"""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import trio

from scuttled.config import config as configuration
from scuttled.config.config import Loaded
from scuttled.control.backpressure import Backpressure
from scuttled.control.context import DaemonDoor
from scuttled.control.operations import Requests
from scuttled.control.server import CALLERS_MAX, Control
from scuttled.daemon.peering import Peering
from scuttled.daemon.state import State
from scuttled.daemon.status import Status
from scuttled.errors import ConfigError
from scuttled.gossip.gossip import LINKS_MAX, Gossip
from scuttled.gossip.targets import PEERS_MAX, Target
from scuttled.models.registry import MODELS, add_type
from scuttled.node.membership import NodeSettings
from scuttled.node.node import Node
from scuttled.npm.server import CONNECTIONS_MAX, NpmDoor
from scuttled.replica.rejoin import Rejoin
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant
from scuttled.runtime import systemd
from scuttled.runtime.environment import Environment
from scuttled.runtime.signals import Signals
from scuttled.runtime.streams import bound_address
from scuttled.runtime.wakeup import Wakeup
from scuttled.storage.flusher import Flusher
from scuttled.storage.storage import Damaged

logger = logging.getLogger(__name__)

Listener = trio.abc.Listener[trio.abc.Stream]

FILES_MAX = 64  # of the state, of listeners, of the loop; and what a look-up of a name takes
DESCRIPTORS_MAX = PEERS_MAX + LINKS_MAX + CALLERS_MAX + CONNECTIONS_MAX + FILES_MAX
LOAD_LOGGED_S = 1.0  # of loading, after which it is logged how long it took
LOAD_EXTENDS_S = 60  # what systemd is to grant, at each sign of progress


@dataclass(frozen=True, slots=True)
class Parts:
    """One daemon, put together. Nothing of it runs yet."""

    node: Node
    flusher: Flusher | None  # None: in memory only
    gossip: Gossip
    gossip_listeners: list[Listener]
    listen: str  # where those are, with the port that they have
    npm: NpmDoor
    control: Control
    control_listener: Listener
    backpressure: Backpressure
    status: Status
    peering: Peering
    tending: Wakeup  # rung when the node's rows in `_members` are due


class StartUp:
    """Puts one daemon together, step by step."""

    def __init__(
        self, loaded: Loaded, environment: Environment, signals: Signals, began: Instant
    ) -> None:
        """A stop that `signals` asked for interrupts the load."""
        self._loaded = loaded
        self._config = loaded.config
        self._environment = environment
        self._signals = signals
        self._began = began

    def check(self) -> None:
        """Refuse what can be refused before anything is opened. Raises ConfigError."""
        config = self._config
        configuration.check_listen(config)
        for text in config.types:
            if not issubclass(add_type(text), Slots) and config.sign:
                raise ConfigError(f"data type {text} is no subclass of Slots: it can't be signed")
        if strange := [name for name in config.enforce if name not in MODELS]:
            raise ConfigError(f"flow.enforce: there is no data type '{strange[0]}'")
        self._check_descriptors()

    def _check_descriptors(self) -> None:
        """Every connection that the maxima allow takes one: where there are fewer, it is said."""
        allowed = self._environment.descriptors(DESCRIPTORS_MAX)
        if allowed < DESCRIPTORS_MAX:
            logger.warning(
                "this process may open %d files; with all the links, callers and peers that it "
                "would take it needs %d (ulimit -n, or LimitNOFILE= in the unit): beyond that "
                "connections wait",
                allowed,
                DESCRIPTORS_MAX,
            )

    async def build(
        self,
        state: State,
        stack: AsyncExitStack,
        *,
        begin_dialling: Callable[[Target], None],
        leave: Callable[[], int],
    ) -> Parts:
        """All parts; the stack closes the listeners. Raises ScuttledError, StopAsked.

        `begin_dialling` starts a target's task; `leave` has the daemon stop, and says how many
        peers hear of it.
        """
        config = self._config
        environment = self._environment
        gossip_listeners = await environment.listen(config.listen)
        for listener in gossip_listeners:
            await stack.enter_async_context(listener)
        listen = bound_address(gossip_listeners[0])

        node = self._make_node(state, listen)
        state.keep(node)
        tending = Wakeup()
        node.subscribe_tending(tending.ring)

        gossip = Gossip(node, insecure=config.insecure, environment=environment, listen=listen)
        backpressure = Backpressure(node, config.enforce)
        npm = NpmDoor(node, insecure=config.insecure, rng=environment.rng)
        status = Status(
            config, gossip, state.storage, listen, self._began, backpressure, npm.guests
        )
        peering = Peering(gossip.dialler, state.storage, begin_dialling, config.name)
        door = DaemonDoor(
            facts=status.facts,
            peers=status.peers,
            join=peering.join,
            leave=leave,
            settings=lambda: peering.settings(self._loaded.settings()),
            part=peering.part,
            decided=peering.decided,
            verdicts=peering.verdicts,
        )
        control = Control(node, Requests(node, door), environment.now, backpressure)

        await npm.open(config.npm, config.npm_connect, stack)
        control_listener = await self._open_control(stack)
        return Parts(
            node=node,
            flusher=state.flusher,
            gossip=gossip,
            gossip_listeners=gossip_listeners,
            listen=listen,
            npm=npm,
            control=control,
            control_listener=control_listener,
            backpressure=backpressure,
            status=status,
            peering=peering,
            tending=tending,
        )

    async def _open_control(self, stack: AsyncExitStack) -> Listener:
        """One that systemd opened is taken as it is, and left to it."""
        config = self._config
        inherited = self._environment.inherited.get(systemd.CONTROL)
        if inherited is not None:
            return trio.SocketListener(trio.socket.from_stdlib_socket(inherited))
        opening = self._environment.open_control(
            config.socket, config.socket_mode, config.socket_group
        )
        return await stack.enter_async_context(opening)

    # --- the node, with all that is on disk ---

    def _make_node(self, state: State, listen: str) -> Node:
        """Raises StopAsked, StorageError."""
        try:
            return self._load_node(state, listen)
        except Damaged as found:
            state.begin_anew(found)
            return self._load_node(state, listen)

    def _load_node(self, state: State, listen: str) -> Node:
        """Raises Damaged, StopAsked."""
        config = self._config
        environment = self._environment
        storage = state.storage
        author = state.author()
        settings = NodeSettings(
            name=config.name,
            cluster=config.cluster,
            incarnation=environment.rng.randbytes(8),
            address=config.advertise or listen,
            max_skew_ms=round(config.max_clock_skew_s * 1000),
            forget_after_ms=round(config.forget_after_s * 1000),
            rejoin=Rejoin(config.rejoin),
            collect_age_ms=round(config.keep_deleted_s * 1000),
            began_ms=self._began.wall_ms,
        )
        node = Node(author, settings, stored=storage is not None)
        began = environment.now()
        self._signals.check()
        node.begin(storage.load(self._note_progress) if storage else (), began.wall_ms)
        self._signals.check()
        took_s = environment.now().mono_s - began.mono_s
        if took_s > LOAD_LOGGED_S:
            keys = sum(model.log.live for model in node.user_models())
            logger.info("%s entries loaded in %.1f s", f"{keys:,}", took_s)
        return node

    def _note_progress(self, rows: int, about: int) -> None:
        """systemd hears that this start takes long, and is not stuck. Raises StopAsked."""
        self._signals.check()
        percent = min(100 * rows // max(about, 1), 99)
        systemd.notify(
            f"EXTEND_TIMEOUT_USEC={LOAD_EXTENDS_S * 1_000_000}\n"
            f"STATUS=loading: {rows:,} entries, about {percent} %",
            self._environment.environ,
        )
