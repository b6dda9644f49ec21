"""Streams between nodes: where they listen, whom they reach, what goes wrong in words."""

import socket
from pathlib import Path

import pytest
import trio
from support.sockets import on_sockets, socket_pair

from scuttled.errors import CantCreate, ConfigError
from scuttled.runtime.streams import bound_address, bytes_unread, dial, open_listeners, remote_name


async def _talk(address: str) -> None:
    """A byte each way."""
    listener, *_ = await open_listeners(address)
    async with listener, trio.open_nursery() as nursery:
        client = await dial(bound_address(listener), insecure=False)
        server = await listener.accept()
        async with client, server:
            assert remote_name(server) != "?"
            for one, two in ((client, server), (server, client)):
                await one.send_all(b"x")
                assert await two.receive_some() == b"x"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
@on_sockets
async def test_a_port_of_0_is_any_free_one(address: str) -> None:
    if address.startswith("[") and not _has_ipv6():
        pytest.skip("no IPv6 here")
    await _talk(address)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@on_sockets
async def test_a_unix_socket_does_as_well(tmp_path: Path) -> None:
    await _talk(f"unix:{tmp_path / 'gossip'}")


@on_sockets
async def test_an_address_that_is_taken_is_named_with_a_hint(tmp_path: Path) -> None:
    listener, *_ = await open_listeners("127.0.0.1:0")
    async with listener:
        taken = bound_address(listener)
        with pytest.raises(CantCreate, match=f"can't listen on {taken}: ") as caught:
            await open_listeners(taken)
        assert "scuttled status" in caught.value.hint
    with pytest.raises(CantCreate, match="can't listen on unix:/nowhere/x: No such file"):
        await open_listeners("unix:/nowhere/x")


@on_sockets
async def test_nobody_there_is_an_error_of_the_system() -> None:
    listener, *_ = await open_listeners("127.0.0.1:0")
    address = bound_address(listener)
    await listener.aclose()
    with pytest.raises(OSError, match="all attempts to connect"):
        await dial(address, insecure=False)
    with pytest.raises(FileNotFoundError):
        await dial("unix:/nowhere/x", insecure=False)


def _beyond_loopback() -> str:
    """An address of this machine that others could reach; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address beyond loopback")
        host: str = probe.getsockname()[0]
    if host.startswith("127."):
        pytest.skip("this machine has no address beyond loopback")
    return host


@on_sockets
async def test_plain_tcp_beyond_loopback_must_be_asked_for() -> None:
    listener, *_ = await open_listeners(f"{_beyond_loopback()}:0")
    async with listener:
        address = bound_address(listener)
        with pytest.raises(ConfigError, match="is beyond loopback") as caught:
            await dial(address, insecure=False)
        assert "--insecure" in caught.value.hint
        async with await dial(address, insecure=True):
            pass


@on_sockets
async def test_who_is_at_the_other_end_of_a_dead_connection_is_not_known(tmp_path: Path) -> None:
    listener, *_ = await open_listeners("127.0.0.1:0")
    async with listener:
        stream = await dial(bound_address(listener), insecure=False)
        name = remote_name(stream)
        assert name == bound_address(listener)
        await stream.aclose()
        assert remote_name(stream) == "?"


@on_sockets
async def test_a_stream_that_was_just_closed_has_nothing_to_be_read() -> None:
    """A daemon that stops looks at callers, of which one may be leaving at that moment."""
    here, there = await socket_pair()
    async with there:
        await there.send_all(b"asked")
        assert bytes_unread(here) == 5
        await here.aclose()
        assert bytes_unread(here) == 0
