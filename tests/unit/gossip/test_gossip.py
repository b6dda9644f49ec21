"""The shell around links, with real sockets between nodes in one process."""

import logging
from typing import Any

import pytest
import trio
from support.scenes import node_id
from support.sockets import NOWHERE, UNKNOWN, Impatient, Member, Names, listening, on_sockets
from support.waiting import comes_true

from scuttled.node.node import DEFAULT_MODEL
from scuttled.protocol import codec
from scuttled.protocol.link import Link
from scuttled.protocol.messages import PROTOCOL, Bye, ClockMessage, Code, Hello
from scuttled.replica.update import Instant
from scuttled.runtime.clocks import read_clocks
from scuttled.runtime.pump import PARTING_S
from scuttled.runtime.streams import dial, open_listeners


@on_sockets
async def test_two_nodes_come_to_hold_the_same() -> None:
    a, b = Member(1), Member(2)
    a.put("at a", b"1")
    b.put("at b", b"2")
    async with listening(a, b) as nursery:
        peer = a.dial(nursery, b.address)
        await comes_true(lambda: a.value("at b") == b"2" and b.value("at a") == b"1")
        a.put("later", b"3")
        await comes_true(lambda: b.value("later") == b"3")
        assert (peer.state, peer.name, peer.node_id) == ("up", "n2", b.node.author.node_id)


@on_sockets
async def test_a_name_is_looked_up_at_every_attempt(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    a, b = Member(1), Member(2)
    async with listening(b) as nursery:
        names = a.environment = Names(UNKNOWN, [NOWHERE], [b.address])
        names.rng = Impatient()
        peer = a.dial(nursery, "b.test:7960")
        await comes_true(lambda: peer.state == "up")
    said = [record.getMessage() for record in caplog.records if "b.test" in record.getMessage()]
    assert said[0] == "peer b.test:7960: Name or service not known"
    assert said[1].startswith("peer b.test:7960: Connection refused")
    assert said[2] == "link to n2 is up (dialled b.test:7960)"
    assert names.asked == 3


@on_sockets
async def test_attempts_come_ever_later_and_soon_again_after_a_link() -> None:
    a, b = Member(1), Member(2)
    async with listening(b) as nursery:
        a.environment = Names(*[[NOWHERE]] * 12, [b.address])
        a.environment.rng = jitter = Impatient()
        peer = a.dial(nursery, "b.test")
        await comes_true(lambda: peer.state == "up" and b.node.links)
        assert jitter.most[:9] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
        tried = len(jitter.most)
        for link in list(b.node.links.values()):
            link.close(Code.PROTOCOL, "for a test")
        await comes_true(lambda: len(jitter.most) > tried)
        assert jitter.most[tried] == 0.1


@on_sockets
async def test_a_node_that_dials_itself_knows_it_and_asks_again() -> None:
    """That it is me is true of one address at one moment."""
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        a.environment = Names([a.address], [a.address], [a.address], [b.address])
        a.environment.rng = Impatient()
        peer = a.dial(nursery, "all.test")
        await comes_true(lambda: peer.state == "self")
        assert peer.reason == ""
        await comes_true(lambda: peer.states == ["up"])
        assert peer.name == "n2"


@on_sockets
async def test_a_refusal_is_known_at_both_ends(caplog: pytest.LogCaptureFixture) -> None:
    a, b = Member(1), Member(2, cluster="other")
    async with listening(a, b) as nursery:
        peer = a.dial(nursery, b.address)
        await comes_true(lambda: peer.state == "refused")
        words = "'default' and 'other' are different clusters"
        assert peer.reason == words
        await comes_true(lambda: sum(words in r.getMessage() for r in caplog.records) == 2)
    assert not a.node.links
    assert not b.node.links


@on_sockets
async def test_who_is_refused_again_and_again_is_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At both ends; the numbers in the words may differ, as those of a clock that is off do."""
    a, b = Member(1), Member(2)
    a.environment.rng = jitter = Impatient()
    late = iter(range(100, 10_000))
    hello = a.node.hello

    def off(now: Instant) -> Hello:
        return hello(now._replace(wall_ms=now.wall_ms + 1000 * next(late)))

    monkeypatch.setattr(a.node, "hello", off)
    async with listening(a, b) as nursery:
        peer = a.dial(nursery, b.address)
        await comes_true(lambda: len(jitter.most) > 10)
        assert peer.state == "refused"
    # Each end judges by itself: who refuses for the clock says HELLO before that.
    said = [r.getMessage() for r in caplog.records if "allowed are 60 s" in r.getMessage()]
    assert sorted(words.split()[0] for words in said) == ["connection", "peer"]


@on_sockets
async def test_plain_tcp_that_is_not_allowed_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("scuttled.runtime.streams.is_loopback", lambda host: False)
    a, b = Member(1), Member(2)
    async with listening(b) as nursery:
        peer = a.dial(nursery, b.address)
        await comes_true(lambda: peer.state == "refused")
    assert "is beyond loopback, and plain TCP is not encrypted" in peer.reason


@on_sockets
async def test_two_nodes_that_dial_each_other_keep_the_link_of_the_smaller_id() -> None:
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        first, second = a.dial(nursery, b.address), b.dial(nursery, a.address)
        await comes_true(lambda: first.state == second.state == "up" and len(a.gossip._open) == 1)
        await comes_true(lambda: len(b.gossip._open) == 1)
        assert a.node.links[b.node.author.node_id].dialled == b.address
        assert b.node.links[a.node.author.node_id].dialled == ""
        a.put("key", b"1")
        await comes_true(lambda: b.value("key") == b"1")


@on_sockets
async def test_a_peer_under_two_addresses_is_linked_once() -> None:
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        port = b.address.rsplit(":", 1)[1]
        peers = [a.dial(nursery, f"{host}:{port}") for host in ("127.0.0.1", "localhost")]
        await comes_true(lambda: [peer.state for peer in peers] == ["up", "up"])
        await comes_true(lambda: len(a.gossip._open) == len(b.gossip._open) == 1)


@on_sockets
async def test_leaving_says_goodbye_ends_dialling_and_takes_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        peer = a.dial(nursery, b.address)
        await comes_true(lambda: a.node.links and b.node.links)
        await a.gossip.leave("n1 stops")
        assert not a.node.links
        await comes_true(lambda: not b.node.links)
        said = [record for record in caplog.records if "n1 stops" in record.getMessage()]
        assert [record.levelname for record in said] == ["INFO", "INFO"]
        b.dial(nursery, a.address)
        stream = await dial(a.address, insecure=False)
        async with stream:
            assert await stream.receive_some() == b""
        assert not a.node.links
        assert peer.state == "down"


@on_sockets
async def test_a_peer_that_reads_nothing_does_not_hold_up_the_end_of_its_link() -> None:
    """Nor does the loop spin until then: what it wants to send but its last words is void."""
    a = Member(1)
    for number in range(200):
        a.put(f"key-{number}", bytes(100_000))
    async with listening(a) as nursery:
        listener, *_ = await open_listeners("127.0.0.1:0")
        stuck = await dial(a.address, insecure=False)
        async with listener, stuck:
            now_ms, node = read_clocks().wall_ms, node_id(3)
            hello = Hello(*PROTOCOL, "default", node, b"incarnat", "n3", "", "", now_ms)
            await stuck.send_all(codec.encode(hello))
            await stuck.receive_some(1)
            clock = ClockMessage(DEFAULT_MODEL, "map", {}, {}, 1)
            await stuck.send_all(codec.encode(clock))
            await comes_true(lambda: a.node.links)
            (link,) = a.node.links.values()
            await comes_true(
                lambda: link.bytes_out > 100_000 and not link.wants_to_send(read_clocks())
            )
            draws = _count(link)
            began = trio.current_time()
            await a.gossip.leave("enough")
            assert trio.current_time() - began < 2 * PARTING_S
            assert draws() < 10
        nursery.cancel_scope.cancel()


def _count(link: Link) -> Any:
    """How often a link is asked for bytes from now on."""
    asked = [0]
    draw = link.draw

    def counted(now: Any) -> bytes:
        asked[0] += 1
        return draw(now)

    link.draw = counted  # type: ignore[method-assign]
    return lambda: asked[0]


def test_a_link_that_is_over_wants_to_send_its_last_words_and_nothing_else() -> None:
    """Whatever its sessions still have: else its writer would ask it for ever."""
    a, now = Member(1), read_clocks()
    a.put("key", b"1")
    link = Link(a.node, dialled="", now=now)
    hello = Hello(*PROTOCOL, "default", node_id(3), b"incarnat", "n3", "", "", now.wall_ms)
    clock = ClockMessage(DEFAULT_MODEL, "map", {}, {}, 1)
    link.receive(codec.encode(hello) + codec.encode(clock), now)
    link.draw(now)
    a.put("key", b"2")
    assert link.wants_to_send(now)
    link.close(Code.LEAVING, "n1 stops")
    assert link.wants_to_send(now)
    assert link.draw(now) == codec.encode(Bye(Code.LEAVING, "n1 stops"))
    a.put("key", b"3")
    assert not link.wants_to_send(now)


@on_sockets
async def test_a_link_that_was_silent_too_long_takes_nothing_more() -> None:
    """A process that was stopped finds old bytes in its sockets; the peer has given up long ago."""
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        a.dial(nursery, b.address)
        await comes_true(lambda: a.node.links and b.node.links)
        (link,) = b.node.links.values()
        link.heard_at = link.heard_at._replace(mono_s=link.heard_at.mono_s - 11)
        before = link.updates_in
        a.put("old", b"1")
        await comes_true(lambda: link.ended)
        assert link.ended is not None
        assert "silent for 11 s" in link.ended.words
        assert link.updates_in == before
        await comes_true(lambda: b.value("old") == b"1")  # over a new link
        assert b.node.links[a.node.author.node_id] is not link


@on_sockets
async def test_too_many_connections_are_closed_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("scuttled.gossip.gossip.LINKS_MAX", 2)
    a = Member(1)
    async with listening(a):
        streams = [await dial(a.address, insecure=False) for _ in range(3)]
        assert await streams[2].receive_some() == b""
        assert "closed: 2 are open" in caplog.text
        await streams[0].aclose()
        await comes_true(lambda: a.gossip._taken == 1)
        streams.append(await dial(a.address, insecure=False))
        await comes_true(lambda: a.gossip._taken == 2)
        for stream in streams:
            await stream.aclose()


@on_sockets
async def test_a_bug_in_a_link_ends_that_link_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c = Member(1), Member(2), Member(3)
    async with listening(a, b, c) as nursery:
        b.dial(nursery, a.address)
        await comes_true(lambda: b.node.links and a.node.links)
        monkeypatch.setattr(a.node, "peer_clock", None)  # calls it: TypeError
        c.dial(nursery, a.address)
        await comes_true(lambda: "a bug in the link with" in caplog.text)
        a.put("key", b"1")
        await comes_true(lambda: b.value("key") == b"1")


@on_sockets
async def test_what_passed_over_links_that_are_gone_still_counts() -> None:
    a, b = Member(1), Member(2)
    a.put("key", b"1")
    async with listening(a, b) as nursery:
        a.dial(nursery, b.address)
        await comes_true(lambda: b.value("key") == b"1")
        (link,) = b.node.links.values()
        seen = link.updates_in
        link.close(Code.PROTOCOL, "for a test")
        await comes_true(lambda: link not in b.gossip._open)
        assert sum(line.updates_in for line in b.gossip.counted()) >= seen > 0
        assert sum(line.bytes_in for line in b.gossip.counted()) > 0
