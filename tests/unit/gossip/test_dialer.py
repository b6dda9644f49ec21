"""Names and the addresses they lead to, with real sockets; no finding ends the dialling."""

import logging
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from support.sockets import NOWHERE, UNKNOWN, Impatient, Member, Names, listening, on_sockets
from support.waiting import comes_true

from scuttled.daemon.peering import JOINED, Peering
from scuttled.errors import ConfigError, Refused
from scuttled.gossip.targets import PEERS_MAX
from scuttled.runtime.streams import bound_address, dial, has_address, look_up, open_listeners
from scuttled.storage.storage import Storage

PLACES = ("127.0.0.2", "127.0.0.3")


def named(member: Member, *answers: list[str] | OSError) -> Names:
    """Let a member's resolver answer so, and its retries come at once."""
    names = Names(*answers)
    names.rng = Impatient()
    member.environment = names
    return names


@on_sockets
async def test_a_name_of_several_addresses_is_several_peers_and_oneself_is_none() -> None:
    a, b, c = Member(1), Member(2), Member(3)
    async with listening(a, b, c) as nursery:
        named(a, [a.address, b.address, c.address])
        dialled = a.dial(nursery, "all.test")
        await comes_true(lambda: sorted(dialled.states) == ["self", "up", "up"])
        assert {link.peer.name for link in a.node.links.values() if link.peer} == {"n2", "n3"}
        labels = [peer.label for peer in dialled.peers]
        assert labels == [f"{m.address} (all.test)" for m in (a, b, c)]


@on_sockets
async def test_an_address_that_was_ours_and_is_another_node_s_now_is_dialled_again() -> None:
    """A load balancer before all nodes: the first connection leads back to who dials."""
    a, b = Member(1), Member(2)
    named(a)
    async with listening(a, b) as nursery:
        turns = [a.address, a.address, b.address]
        balancer, *_ = await open_listeners("127.0.0.1:0")
        nursery.start_soon(partial(_balance, balancer, turns))
        a.environment.answers.append([bound_address(balancer)])  # type: ignore[attr-defined]
        dialled = a.dial(nursery, "balancer.test")
        await comes_true(lambda: dialled.states == ["up"])
        assert turns == []
        assert dialled.name == "n2"


async def _balance(listener: trio.SocketListener, turns: list[str]) -> None:
    async def lead(stream: trio.SocketStream) -> None:
        async with stream, await dial(turns.pop(0), insecure=False) as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, stream, other)
                await _pump(other, stream)
                nursery.cancel_scope.cancel()

    await trio.serve_listeners(lead, [listener])


async def _pump(source: trio.SocketStream, target: trio.SocketStream) -> None:
    try:
        async for data in source:
            await target.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


@on_sockets
async def test_who_is_left_by_a_name_stays_linked_and_is_dropped_when_the_link_ends() -> None:
    a, b, c = Member(1), Member(2), Member(3)
    async with listening(a, b, c) as nursery:
        names = named(a, [b.address])
        dialled = a.dial(nursery, "moves.test")
        await comes_true(lambda: dialled.states == ["up"] and b.node.links)
        names.answers = [[c.address]]
        for link in list(b.node.links.values()):
            link.close(1, "for a test")  # type: ignore[arg-type]
        await comes_true(lambda: [peer.name for peer in dialled.peers] == ["n3"])
        await comes_true(lambda: dialled.states == ["up"])


@on_sockets
async def test_when_nobody_answers_for_names_the_known_addresses_stay() -> None:
    """That no server answers says nothing of the name; that there is no such name does."""
    a, b = Member(1), Member(2)
    again = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    async with listening(b) as nursery:
        names = named(a, [NOWHERE], again)
        dialled = a.dial(nursery, "b.test")
        await comes_true(lambda: names.asked > 3)
        assert [peer.address for peer in dialled.peers] == [NOWHERE]
        names.answers = [UNKNOWN]
        await comes_true(lambda: dialled.peers == [dialled.target.nowhere])
        assert dialled.reason == "Name or service not known"
        names.answers = [[b.address]]
        await comes_true(lambda: dialled.states == ["up"])


@on_sockets
async def test_a_name_that_leads_to_more_addresses_than_may_be_dialled_is_bounded() -> None:
    a = Member(1)
    async with trio.open_nursery() as nursery:
        named(a, [f"127.0.0.1:{port}" for port in range(1, PEERS_MAX + 12)])
        dialled = a.dial(nursery, "many.test")
        await comes_true(lambda: dialled.target.left_out)
        assert (len(dialled.target.peers), dialled.target.left_out) == (PEERS_MAX, 11)
        nursery.cancel_scope.cancel()


@on_sockets
async def test_a_resolver_that_hangs_holds_up_neither_other_dials_nor_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("scuttled.gossip.resolver.LOOK_UP_S", 0.05)
    caplog.set_level(logging.INFO)
    hung, resolve = threading.Event(), socket.getaddrinfo

    def hang(host: Any, *hints: Any, **more: Any) -> Any:
        if str(host).startswith("silent"):
            hung.wait()
            raise UNKNOWN
        return resolve(host, *hints, **more)

    monkeypatch.setattr("scuttled.runtime.streams.socket.getaddrinfo", hang)
    a, b = Member(1), Member(2)
    try:
        async with listening(b) as nursery:
            silent = [a.dial(nursery, f"silent{number}.test") for number in range(60)]
            peer = a.dial(nursery, b.address)
            await comes_true(lambda: peer.state == "up")
            await comes_true(lambda: all("not looked up within" in each.reason for each in silent))
            assert await trio.to_thread.run_sync(lambda: 7) == 7  # others have threads, too
            began = trio.current_time()
            await a.gossip.leave("enough")
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 5
    finally:
        hung.set()


@on_sockets
async def test_a_dial_that_we_would_refuse_opens_no_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("scuttled.runtime.streams.is_loopback", lambda host: False)
    caplog.set_level(logging.INFO)
    a = Member(1)
    listener, *_ = await open_listeners("127.0.0.1:0")
    named(a, [bound_address(listener)])
    async with listener, trio.open_nursery() as nursery:
        peer = a.dial(nursery, "b.test")
        await comes_true(lambda: peer.state == "refused")
        with trio.move_on_after(0.2) as silence:
            await listener.accept()
        assert silence.cancelled_caught
        assert peer.hint == "add --insecure to allow plain TCP between machines"
        assert peer.hint in caplog.text
        nursery.cancel_scope.cancel()


@on_sockets
async def test_who_refuses_a_connection_is_told_with_what_helps() -> None:
    a = Member(1)
    async with trio.open_nursery() as nursery:
        peer = a.dial(nursery, NOWHERE)
        await comes_true(lambda: peer.reason == "Connection refused")
        assert "scuttled serve --listen" in peer.hint
        nursery.cancel_scope.cancel()


@on_sockets
async def test_an_address_of_the_other_family_that_nobody_reaches_is_no_peer() -> None:
    a, b = Member(1), Member(2)
    async with listening(b) as nursery:
        named(a, ["[::1]:1", b.address])
        dialled = a.dial(nursery, "both.test")
        await comes_true(lambda: dialled.states == ["up"])
        assert [peer.address for peer in dialled.peers] == [b.address]
        assert list(dialled.target.peers) == ["[::1]:1", b.address], "it is dialled all the same"


@pytest.mark.parametrize(
    ("listen", "address", "is_self"),
    [
        ("192.0.2.7:1", "127.0.1.1:1", True),  # as Debian names a machine
        ("[::]:1", "127.0.0.1:1", True),  # it listens by IPv6 only
        ("127.0.0.1:1", "127.0.0.2:1", False),  # another daemon of this machine
        ("192.0.2.7:1", "127.0.0.1:2", False),  # another port
    ],
)
@on_sockets
async def test_an_address_of_this_machine_at_our_port_where_nobody_listens_is_ours(
    listen: str, address: str, is_self: bool
) -> None:
    a = Member(1)
    a.dialler.listen = listen
    async with trio.open_nursery() as nursery:
        peer = a.dial(nursery, address)
        await comes_true(lambda: peer.state == ("self" if is_self else "never"))
        await comes_true(lambda: peer.peers[0].failed)
        assert peer.state == ("self" if is_self else "never")
        nursery.cancel_scope.cancel()


def test_this_machine_knows_its_own_addresses() -> None:
    assert has_address("127.0.0.1")
    assert not has_address("192.0.2.7")  # of no machine at all


# --- look-ups of this machine --------------------------------------------------------------------


@on_sockets
async def test_what_is_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert await look_up("127.0.0.1") == ["127.0.0.1:7960"]
    assert await look_up("[::1]:7") == ["[::1]:7"]
    assert await look_up("unix:/run/x") == ["unix:/run/x"]


@on_sockets
async def test_all_addresses_of_a_name_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[Any, ...]] = [
        (socket.AF_INET6, 1, 6, "", ("fe80::1", 7960, 0, 3)),
        (socket.AF_INET, 1, 6, "", ("10.0.0.1", 7960)),
        (socket.AF_INET, 1, 6, "", ("10.0.0.1", 7960)),
    ]
    monkeypatch.setattr("scuttled.runtime.streams.socket.getaddrinfo", lambda *_, **__: found)
    assert await look_up("db1") == ["[fe80::1%3]:7960", "10.0.0.1:7960"]


@on_sockets
async def test_a_name_that_no_resolver_can_be_asked_for_is_an_error_in_words() -> None:
    """It was a UnicodeError, which ended the daemon."""
    for text in ("a" * 64 + ".test", "a..b", ".a"):
        with pytest.raises(ConfigError, match="is not an address: a name's parts"):
            await look_up(text)
    with pytest.raises(ConfigError, match="can't be the name of a host"):
        await look_up("ü" * 62)


# --- join and part -------------------------------------------------------------------------------


def peering(member: Member, nursery: trio.Nursery, storage: Storage | None = None) -> Peering:
    def start(target: Any) -> None:
        nursery.start_soon(member.dialler.keep_dialling, target)

    return Peering(member.dialler, storage, start, "n1")


@on_sockets
async def test_a_peer_that_was_joined_is_taken_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        peers = peering(a, nursery)
        assert peers.join([b.address], save=False) == {"added": [b.address], "known": []}
        await comes_true(lambda: peers.decided([b.address]))
        (verdict,) = peers.verdicts([b.address])
        assert (verdict["state"], verdict["name"]) == ("up", "n2")
        assert peers.part([b.address]) == {"parted": [b.address], "configured": []}
        await comes_true(lambda: not a.node.links and not b.node.links)
        assert "n1 parts from this peer" in caplog.text
        with pytest.raises(Refused, match=r"no peer .* was configured or joined"):
            peers.part([b.address])
        assert list(a.dialler.targets.peers()) == []


@on_sockets
async def test_a_connection_that_comes_about_while_the_node_leaves_ends_nothing() -> None:
    """It is closed before a link has begun on it. That ended the daemon, while it stopped."""
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        b.gossip._leaving = True
        b.dial(nursery, a.address)
        (target,) = b.dialler.targets
        await comes_true(lambda: target.failures)
        assert not b.node.links


@on_sockets
async def test_a_peer_that_is_not_there_is_taken_back_while_it_is_dialled() -> None:
    a = Member(1)
    names = named(a, UNKNOWN)
    async with trio.open_nursery() as nursery:
        peers = peering(a, nursery)
        peers.join(["nobody.test"], save=False)
        await comes_true(lambda: peers.decided(["nobody.test"]))
        names.answers = [[NOWHERE]]
        peers.join(["down.test"], save=False)
        await comes_true(lambda: peers.verdicts(["down.test"])[0]["reason"] == "Connection refused")
        assert not peers.decided(["down.test"])  # it may be starting
        peers.part(["nobody.test", "down.test"])
        assert list(a.dialler.targets.peers()) == []
    # the nursery is over: so are their tasks


@on_sockets
async def test_one_address_is_one_peer_however_it_is_written() -> None:
    a = Member(1)
    async with trio.open_nursery() as nursery:
        peers = peering(a, nursery)
        assert peers.join(["localhost"], save=False)["added"] == ["localhost"]
        answer = peers.join(["localhost:7960"], save=False)
        assert answer == {"added": [], "known": ["localhost:7960"]}
        peers.part(["localhost:7960"])
        assert not a.dialler.targets
        with pytest.raises(ConfigError, match="has port 0"):
            peers.join(["localhost:0"], save=False)


@on_sockets
async def test_one_of_the_addresses_of_a_name_is_taken_back_by_the_name() -> None:
    a = Member(1)
    named(a, [NOWHERE])
    async with trio.open_nursery() as nursery:
        peers = peering(a, nursery)
        peers.join(["all.test"], save=False)
        await comes_true(lambda: a.dialler.targets.find("all.test").peers)
        with pytest.raises(Refused, match=r"is one of the addresses of all\.test") as caught:
            peers.part([NOWHERE])
        assert caught.value.hint == "scuttled part all.test"
        peers.part(["all.test"])


@on_sockets
async def test_saved_peers_stand_in_the_settings_and_are_forgotten_by_part(tmp_path: Path) -> None:
    a, storage = Member(1), Storage(tmp_path, "off")
    rows = [("cluster.peers", '["127.0.0.1:1"]', "flag --peers"), ("gossip.listen", '"x"', "file")]
    async with trio.open_nursery() as nursery:
        peers = peering(a, nursery, storage)
        peers.begin(["127.0.0.1:1"])
        peers.join(["127.0.0.1:2"], save=True)
        peers.join(["127.0.0.1:3"], save=False)
        assert peers.settings(rows) == [
            rows[0],
            ("cluster.peers saved", '["127.0.0.1:2"]', f"{tmp_path / 'peers'} (join --save)"),
            ("cluster.peers joined", '["127.0.0.1:3"]', "join, until the daemon stops"),
            rows[1],
        ]
        peers.join(["127.0.0.1:3"], save=True)
        assert [t.text for t in a.dialler.targets if t.origin == JOINED] == []
        parted = peers.part(["127.0.0.1:1", "127.0.0.1:2"])
        assert parted["configured"] == ["127.0.0.1:1"]
        assert storage.read_peers() == ["127.0.0.1:3"]
        nursery.cancel_scope.cancel()
    storage.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"127.0.0.1:1\nno/address\n127.0.0.1:0\n", "a saved peer is left out: 'no/address'"),
        (b"\xff\xfe", "the peers that were saved are not dialled"),
        (b"x" * (1 << 19), "the peers that were saved are not dialled"),
    ],
)
@on_sockets
async def test_a_file_of_saved_peers_is_believed_no_more_than_a_stream(
    content: bytes, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no address is said and left out; what can't be read is no reason not to start."""
    a, storage = Member(1), Storage(tmp_path, "off")
    (tmp_path / "peers").write_bytes(content)
    async with trio.open_nursery() as nursery:
        peering(a, nursery, storage).begin(["127.0.0.1:9"])
        assert said in caplog.text
        good = ["127.0.0.1:1"] if b"127" in content else []
        assert [target.text for target in a.dialler.targets] == ["127.0.0.1:9", *good]
        nursery.cancel_scope.cancel()
    storage.close()
