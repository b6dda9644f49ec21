"""Tests of the rooms that speak over sockets: under trio, with the real clock and a limit."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from scenes import node_id

from scuttled.core.hlc import Author
from scuttled.gossip import Gossip, Peer
from scuttled.models.map import Map
from scuttled.node import DEFAULT_MODEL, Node, Settings
from scuttled.transport import bound_address, open_listeners
from scuttled.waking import read_clocks

PATIENCE_S = 20.0
POLL_S = 0.005


def on_sockets(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """For an `async def` test: sockets do not heed a clock that jumps."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            with trio.fail_after(PATIENCE_S):
                await test(*args, **kwargs)

        trio.run(limited)

    return run


async def until(condition: Callable[[], object]) -> None:
    """For what rings no bell that a test could hear."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(POLL_S)


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    one, two = trio.socket.socketpair()
    return trio.SocketStream(one), trio.SocketStream(two)


class Member:
    """A node with its gossip, in this very process; nothing is on disk."""

    def __init__(self, number: int, cluster: str = "default", life: int = 1) -> None:
        author = Author(node_id(number), life)
        settings = Settings(f"n{number}", cluster, bytes([number, life]) * 4)
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

    def dial(self, nursery: trio.Nursery, address: str) -> Peer:
        peer = self.gossip.peers[address] = Peer(address)
        nursery.start_soon(self.gossip.keep_dialling, peer)
        return peer


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
