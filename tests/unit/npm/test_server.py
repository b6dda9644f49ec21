"""The door to npm peers, on sockets: what is true of a connection from its first moment."""

import random
import socket

import trio
from support.scenes import a_node
from support.sockets import on_sockets

from scuttled.npm.bridge import Bridge
from scuttled.npm.server import NpmDoor
from scuttled.runtime.streams import (
    KEEP_ALIVE_COUNT,
    KEEP_ALIVE_IDLE_S,
    KEEP_ALIVE_INTERVAL_S,
    bound_address,
    dial,
    open_listeners,
)


@on_sockets
async def test_a_machine_that_lost_its_power_is_noticed_by_the_kernel() -> None:
    """npm says nothing of itself when it has nothing to say; neither dialling nor a place among
    the 256 may wait for what will never come."""
    door = NpmDoor(a_node(), insecure=False, rng=random.Random(0))
    bridge = Bridge(door.node, "default")
    [listener] = await open_listeners("127.0.0.1:0")
    async with listener, trio.open_nursery() as nursery:
        client = await dial(bound_address(listener), insecure=False)
        server = await listener.accept()
        nursery.start_soon(door.serve, bridge, server)
        await client.send_all(b'{"id":"N1","clock":{}}\n')
        assert (await client.receive_some()).startswith(b'{"id":')
        [guest] = door.guests.here
        assert guest.talk.peer == "N1"
        seen = [
            server.socket.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        ]
        assert seen == [KEEP_ALIVE_IDLE_S, KEEP_ALIVE_INTERVAL_S, KEEP_ALIVE_COUNT]
        assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        await client.aclose()
    assert not door.guests.here
