"""Tests of the rooms that speak over sockets: under trio, with the real clock and a limit."""

import functools
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from scuttled.gossip.dialer import Dialler
from scuttled.gossip.gossip import Gossip
from scuttled.gossip.targets import Peer, Target
from scuttled.models.map import Map
from scuttled.node.node import DEFAULT_MODEL, Node, NodeSettings
from scuttled.replica.hlc import Author
from scuttled.replica.update import NodeId
from scuttled.runtime.clocks import read_clocks
from scuttled.runtime.environment import Environment
from scuttled.runtime.streams import bound_address, open_listeners
from support.scenes import node_id
from support.waiting import PATIENCE_S

NOWHERE = "127.0.0.1:1"
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def on_sockets(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """For an `async def` test: sockets do not heed a clock that jumps."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            with trio.fail_after(PATIENCE_S):
                await test(*args, **kwargs)

        trio.run(limited)

    return run


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    one, two = trio.socket.socketpair()
    return trio.SocketStream(one), trio.SocketStream(two)


class Member:
    """A node with its gossip, in this very process; nothing is on disk."""

    def __init__(self, number: int, cluster: str = "default", life: int = 1) -> None:
        author = Author(node_id(number), life)
        settings = NodeSettings(f"n{number}", cluster, bytes([number, life]) * 4)
        self.node = Node(author, settings, stored=False)
        self.node.begin((), read_clocks().wall_ms)
        self.gossip = Gossip(self.node, insecure=False)
        self.address = ""

    @property
    def map(self) -> Map:
        model = self.node.models[DEFAULT_MODEL]
        assert isinstance(model, Map)
        return model

    def put(self, key: str, value: bytes) -> None:
        self.map.put(key, 1, value, read_clocks().wall_ms)
        self.node.accepted(self.map)

    def value(self, key: str) -> bytes | None:
        found = self.map.find(key, read_clocks().wall_ms)
        return None if found is None else found.payload

    @property
    def environment(self) -> Environment:
        return self.gossip.environment

    @environment.setter
    def environment(self, environment: Environment) -> None:
        self.gossip.environment = environment
        self.dialler.environment = environment
        self.dialler.resolver.environment = environment

    @property
    def dialler(self) -> Dialler:
        return self.gossip.dialler

    def dial(self, nursery: trio.Nursery, address: str) -> "Dialled":
        target = self.dialler.targets.add(address)
        nursery.start_soon(self.dialler.keep_dialling, target)
        return Dialled(self.dialler, target)


class Dialled:
    """How it goes with the first peer of a target, and with all of them."""

    def __init__(self, dialler: Dialler, target: Target) -> None:
        self.target = target
        self._dialler = dialler

    @property
    def peers(self) -> list[Peer]:
        return self._dialler.targets.shown(self.target)

    @property
    def states(self) -> list[str]:
        return [peer.state for peer in self.peers]

    @property
    def state(self) -> str:
        return self.peers[0].state

    @property
    def reason(self) -> str:
        return self.peers[0].reason

    @property
    def hint(self) -> str:
        return self.peers[0].hint

    @property
    def name(self) -> str:
        return self.peers[0].name

    @property
    def node_id(self) -> NodeId | None:
        return self.peers[0].node_id


@asynccontextmanager
async def listening(*members: Member) -> AsyncIterator[trio.Nursery]:
    """They take connections; the nursery is for their dialling, and all is cut at the end."""
    async with trio.open_nursery() as nursery:
        for member in members:
            listeners = await open_listeners("127.0.0.1:0")
            member.address = bound_address(listeners[0])
            nursery.start_soon(trio.serve_listeners, member.gossip.serve, listeners)
        yield nursery
        nursery.cancel_scope.cancel()


class Names(Environment):
    """A machine whose resolver's answers are these, one after the other; the last one stays."""

    def __init__(self, *answers: list[str] | OSError) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked = 0

    async def look_up(self, address: str) -> list[str]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if isinstance(answer, OSError):
            raise answer
        return answer


class Impatient(random.Random):
    """Jitter that never waits, and remembers the most that it might have."""

    def __init__(self) -> None:
        super().__init__()
        self.most: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.most.append(b)
        return 0.001
