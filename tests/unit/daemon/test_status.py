"""What a daemon says of itself, in numbers and in words."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.scenes import Line, a_node, node_id, source
from support.sockets import Member, listening, on_sockets
from support.waiting import comes_true

from scuttled.config.config import Config
from scuttled.control.backpressure import Backpressure
from scuttled.daemon.diagnosis import LAG_S
from scuttled.daemon.status import Status
from scuttled.gossip.targets import Peer
from scuttled.npm.bridge import Bridge
from scuttled.npm.guests import GONE_TOLD_S, Dialled, Guest, Guests
from scuttled.npm.session import Talk
from scuttled.protocol.messages import Code
from scuttled.replica.change import JSON, make_change
from scuttled.replica.update import TICKS_PER_MS, Instant, Stamp, stamp
from scuttled.runtime.clocks import read_clocks
from scuttled.storage.storage import Storage

BEGAN = Instant(100.0, 1_700_000_000_000)
LATER = Instant(112.5, 1_700_000_012_500)


def a_report(member: Member, tmp_path: Path, storage: Storage | None = None) -> Status:
    config = Config(name="n1", data=tmp_path, socket="/run/x.sock", peers=())
    return Status(
        config, member.gossip, storage, "127.0.0.1:7960", BEGAN, Backpressure(member.node, ("log",))
    )


def words_of(report: Status) -> str:
    return " | ".join(problem.words for problem in report.problems(LATER))


def test_a_lone_daemon_is_healthy(tmp_path: Path) -> None:
    member = Member(1)
    member.put("key", b"1")
    report = a_report(member, tmp_path)
    facts = report.facts(LATER)
    assert (facts["healthy"], facts["problems"]) == (True, [])
    assert (facts["uptime_s"], facts["peers_up"], facts["peers_configured"]) == (12.5, 0, 0)
    assert (facts["data"], facts["sync"]) == ("", "off")
    assert (facts["skew_ms"], facts["future"]) == (0, 0)
    assert facts["rss_bytes"] is None or facts["rss_bytes"] > 1_000_000
    assert [row["state"] for row in facts["links"]] == ["self"]
    assert report.status_line() == "0/0 peers, 1 keys, lag 0"


def test_storage_is_told_of(tmp_path: Path) -> None:
    storage = Storage(tmp_path, "normal")
    try:
        facts = a_report(Member(1), tmp_path, storage).facts(LATER)
        assert (facts["data"], facts["sync"]) == (str(tmp_path), "normal")
        assert facts["storage"]["path"] == str(tmp_path / "scuttled.db")
        assert facts["storage"]["bytes"] > 0
    finally:
        storage.close()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("never", "was never reached"),
        ("connecting", "is being dialled"),
        ("refused", "is refused"),
        ("down", "is down"),
    ],
)
def test_a_peer_that_is_not_linked_is_a_problem_with_its_reason(
    tmp_path: Path, state: str, words: str
) -> None:
    member = Member(1)
    target = member.dialler.targets.add("db1:7960")
    peer = Peer("10.0.0.9:7960", "db1:7960", state=state, reason="Connection refused")
    target.peers[peer.address] = peer
    report = a_report(member, tmp_path)
    alone, found = report.problems(LATER)
    assert alone.code == "alone"
    assert found.words == f"peer db1:7960 {words}: Connection refused"
    row = report.peers(LATER)[1]
    assert (row["address"], row["state"], row["reason"]) == (
        "db1:7960",
        state,
        "Connection refused",
    )
    assert (row["lag"], row["rtt_ms"], row["node"]) == (None, None, "")
    assert not report.facts(LATER)["healthy"]
    assert report.status_line().startswith("0/1 peers")


def test_an_address_of_this_node_itself_is_no_peer(tmp_path: Path) -> None:
    member = Member(1)
    target = member.dialler.targets.add("here:7960")
    target.peers["10.0.0.1:7960"] = Peer("10.0.0.1:7960", "here:7960", state="self")
    report = a_report(member, tmp_path)
    (alone,) = report.problems(LATER)
    assert alone.words.endswith("reaches nobody; here:7960 leads to this very node")
    assert [row["state"] for row in report.peers(LATER)] == ["self"]
    assert report.status_line().startswith("0/0 peers")


@on_sockets
async def test_a_link_is_one_row_whoever_dialled_it_and_under_whatever_names(
    tmp_path: Path,
) -> None:
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        port = b.address.rsplit(":", 1)[1]
        dialled = [a.dial(nursery, f"{host}:{port}") for host in ("127.0.0.1", "localhost")]
        await comes_true(lambda: [peer.states for peer in dialled] == [["up"], ["up"]])
        a.put("key", b"1")
        await comes_true(
            lambda: b.value("key") and a_report(a, tmp_path).status_line()[-5:] == "lag 0"
        )
        at_a, at_b = a_report(a, tmp_path), a_report(b, tmp_path)
        now = read_clocks()
        (_, row), (_, seen) = at_a.peers(now), at_b.peers(now)
        assert (row["name"], row["state"], row["lag"], row["lag_ms"]) == ("n2", "up", 0, 0)
        assert row["rtt_ms"] is not None
        assert abs(row["seen_ms"] - now.wall_ms) < 5000
        assert (seen["name"], seen["state"]) == ("n1", "up")
        assert at_a.status_line() == "1/1 peers, 1 keys, lag 0"
        assert at_b.status_line() == "1/1 peers, 1 keys, lag 0"
        assert at_a.counts().updates_out == at_b.counts().updates_in > 0


@on_sockets
async def test_what_is_wrong_on_a_link_is_said_with_the_peer_s_name(tmp_path: Path) -> None:
    a, b = Member(1), Member(2)
    async with listening(b) as nursery:
        peer = a.dial(nursery, b.address)
        await comes_true(lambda: a.node.links and a.node.links[peer.node_id].sessions)  # type: ignore[index]
        (link,) = a.node.links.values()
        report = a_report(a, tmp_path)
        link.stopped["logs"] = "a map here, a log there"
        link.pulse.skew_ms = -1500
        next(iter(link.sessions.values())).future[b"s" * 12] = b"x" * 8  # type: ignore[index]
        words = words_of(report)
        assert "model logs with n2: a map here, a log there" in words
        assert "the clock of n2 differs by -1.5 s" in words
        assert "from n2 are stamped too far in the future" in words
        assert report.facts(LATER)["skew_ms"] == -1500
        link.close(Code.PROTOCOL, "for a test")
        a.gossip._leaving = True
        await comes_true(lambda: not a.node.links)
        row = report.peers(LATER)[1]
        assert (row["state"], row["reason"], row["name"]) == ("down", "for a test", "n2")


def test_rates_are_over_the_last_seconds(tmp_path: Path) -> None:
    member = Member(1)
    report = a_report(member, tmp_path)

    def rates() -> tuple[Any, Any]:
        facts = report.facts(LATER)
        return facts["rate_in"], facts["rate_out"]

    assert rates() == (0.0, 0.0)
    for second in range(20):
        member.gossip._past.updates_in = 100 * second
        member.gossip._past.updates_out = 10 * second * second
        report.sample(Instant(float(second), 0))
    assert rates() == (100.0, 330.0)  # the last five seconds: (3610 - 1960) / 5


# --- a model that gets full of sources -----------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "step", "more"),
    [
        (9_999, None, None),
        (10_000, "many", "each npm id, program and life of a node that ever wrote is one"),
        (15_000, "bridged", "npm peers with new ids are left out"),
        (20_000, "full", "this node can't write to it"),
        (20_001, "over", "it is exchanged with no peer"),
    ],
)
def test_a_model_that_gets_full_of_sources_is_a_problem_at_each_step_a_new_one(
    tmp_path: Path, count: int, step: str | None, more: str | None
) -> None:
    member = Member(1)
    model = member.node.models["default"]
    model.clock.merge([(source(n % 250, 2 + n // 250), 1) for n in range(count)])
    found = a_report(member, tmp_path).problems(LATER)
    words = f"model default has {count:,} sources of at most 20,000: {more}"
    expected = [(words, f"default {step}")] if step else []
    assert [(problem.words, problem.about) for problem in found] == expected


def test_nodes_that_are_new_at_each_start_are_named_as_what_fills_the_rows_of_members(
    tmp_path: Path,
) -> None:
    member = Member(1)
    model = member.node.members.model
    model.clock.merge([(source(n % 250, 2 + n // 250), 1) for n in range(12_000)])
    (problem,) = a_report(member, tmp_path).problems(LATER)
    assert problem.words.startswith("model _members has 12,00")
    assert "--memory" in problem.hint


def test_who_writes_to_a_full_model_already_goes_on(tmp_path: Path) -> None:
    member = Member(1)
    member.put("key", b"1")
    model = member.node.models["default"]
    model.clock.merge([(source(n % 250, 2 + n // 250), 1) for n in range(20_000)])
    member.put("key", b"2")
    assert "exchanged with no peer" in words_of(a_report(member, tmp_path))


@on_sockets
async def test_a_node_that_refuses_all_who_dial_it_reaches_nobody(tmp_path: Path) -> None:
    """Of a cluster of another name: it has no peers of its own, and somebody wants to be one."""
    a, b = Member(1), Member(2, cluster="other")
    async with listening(a) as nursery:
        peer = b.dial(nursery, a.address)
        await comes_true(lambda: peer.state == "refused")
        assert peer.hint == "start both with the same --cluster NAME"
        await comes_true(lambda: a_report(a, tmp_path).problems(read_clocks()))
        (alone,) = a_report(a, tmp_path).problems(read_clocks())
        assert alone.code == "alone"
        assert "127.0.0.1 was refused: 'other' and 'default' are different" in alone.words


@on_sockets
async def test_a_link_on_which_nothing_goes_out_reaches_nobody(tmp_path: Path) -> None:
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        a.dial(nursery, b.address)
        await comes_true(lambda: a.node.links)
        report = a_report(a, tmp_path)
        assert report.problems(read_clocks()) == []
        (link,) = a.node.links.values()
        link.sends = False
        (alone,) = report.problems(read_clocks())
        assert alone.words.endswith("reaches nobody; n2 takes no updates")


@on_sockets
async def test_a_node_that_lost_all_its_peers_says_so_and_how_to_find_them(tmp_path: Path) -> None:
    """It was dialled by them, and has none configured: it was healthy with nobody."""
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        b.dial(nursery, a.address)
        await comes_true(lambda: a.node.links)
        report = a_report(a, tmp_path)
        assert report.facts(read_clocks())["peers_up"] == 1
        row = json.dumps({"name": "n2", "address": b.address, "version": "", "life": 1})
        a.node.members.known.clear()
        rows = a.node.members.model
        change = make_change(node_id(2).hex().encode(), JSON, row.encode())
        now_ms = read_clocks().wall_ms
        stamped = stamp(now_ms * TICKS_PER_MS) + change
        rows.receive([(source(2), [Stamp(stamped)])], Stamp(stamp(2**62)))
        a.node.members.read()
        b.gossip._leaving = True
        for link in list(a.node.links.values()):
            link.close(Code.PROTOCOL, "for a test")
        await comes_true(lambda: not a.node.links)
        (alone,) = report.problems(read_clocks())
        assert alone.words.endswith("reaches nobody; not linked: n2")
        assert alone.hint == f"scuttled join {b.address}"
        nursery.cancel_scope.cancel()


def test_a_peer_that_leaves_updates_unacknowledged_for_a_minute_is_a_problem(
    tmp_path: Path,
) -> None:
    member = Member(1)
    line = Line(member.node, a_node(2, cluster="default"), read_clocks())
    line.settle(read_clocks())
    member.put("key", b"1")
    line.draw(0, read_clocks())
    report, now = a_report(member, tmp_path), read_clocks()
    assert report.problems(now) == []
    (lag,) = report.problems(now._replace(mono_s=now.mono_s + LAG_S + 1))
    assert (lag.code, lag.about) == ("lag", "n2")
    assert lag.words.startswith("n2 has not acknowledged 1 updates for 1m")


@on_sockets
async def test_a_caller_that_listens_wherever_it_can_is_shown_by_its_host(tmp_path: Path) -> None:
    a, b = Member(1), Member(2)
    b.node.settings = b.node.settings._replace(address="0.0.0.0:7960")
    async with listening(a) as nursery:
        b.dial(nursery, a.address)
        await comes_true(lambda: a.node.links)
        _, row = a_report(a, tmp_path).peers(read_clocks())
        assert (row["name"], row["address"], row["configured"]) == ("n2", "127.0.0.1:7960", "")


def test_an_npm_peer_is_shown_below_the_nodes_and_is_none_of_them(tmp_path: Path) -> None:
    member = Member(1)
    guests = Guests(dialled=[Dialled("127.0.0.1:7001", "default", "Connection refused")])
    talk = Talk(Bridge(member.node, "default"), BEGAN)
    talk.feed(b'{"id":"N1","clock":{}}\n[["",1],1700000000000,"N1"]\n', BEGAN)
    guests.come(Guest("127.0.0.1:5000", "default", False, talk, BEGAN))
    config = Config(name="n1", data=tmp_path, socket="/run/x.sock", peers=())
    pacing = Backpressure(member.node, ())
    report = Status(config, member.gossip, None, "127.0.0.1:7960", BEGAN, pacing, guests)
    rows = report.peers(LATER)
    assert [(row["name"], row["state"]) for row in rows] == [
        ("n1", "self"),
        ("N1", "npm"),
        ("", "npm-down"),
    ]
    assert rows[1]["npm"]["left_out"] == {"key of 0 bytes, allowed are 1 to 4096": 1}
    facts = report.facts(LATER)
    assert (facts["peers_up"], facts["peers_configured"]) == (0, 0)
    assert {found["code"] for found in facts["diagnoses"]} == {"npm", "npm-left-out"}
    guest = guests.here[0]
    guests.go(guest, "the connection was closed", LATER, our_doing=False)
    assert [row["state"] for row in guests.rows(LATER)] == ["npm-down", "npm-gone"]
    later = Instant(LATER.mono_s + GONE_TOLD_S, LATER.wall_ms)
    assert [row["state"] for row in guests.rows(later)] == ["npm-down"]
