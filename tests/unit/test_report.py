"""What a daemon says of itself, in numbers and in words."""

from pathlib import Path
from typing import Any

import pytest
from scenes import source
from sockets import Member, listening, on_sockets, until

from scuttled.config import Config
from scuttled.core.messages import Code
from scuttled.core.update import Instant
from scuttled.dialling import Peer
from scuttled.pacing import Pacing
from scuttled.report import Report
from scuttled.storage import Storage
from scuttled.waking import read_clocks

BEGAN = Instant(100.0, 1_700_000_000_000)
LATER = Instant(112.5, 1_700_000_012_500)


def a_report(member: Member, tmp_path: Path, storage: Storage | None = None) -> Report:
    config = Config(name="n1", data=tmp_path, socket="/run/x.sock", peers=())
    return Report(
        config, member.gossip, storage, "127.0.0.1:7960", BEGAN, Pacing(member.node, ("log",))
    )


def words_of(report: Report) -> str:
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
    assert report.status_line(LATER) == "0/0 peers, 1 keys, lag 0"


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
    target = member.dialler.add("db1:7960")
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
    assert report.status_line(LATER).startswith("0/1 peers")


def test_an_address_of_this_node_itself_is_no_peer(tmp_path: Path) -> None:
    member = Member(1)
    target = member.dialler.add("here:7960")
    target.peers["10.0.0.1:7960"] = Peer("10.0.0.1:7960", "here:7960", state="self")
    report = a_report(member, tmp_path)
    (alone,) = report.problems(LATER)
    assert alone.words.endswith("reaches nobody; here:7960 leads to this very node")
    assert [row["state"] for row in report.peers(LATER)] == ["self"]
    assert report.status_line(LATER).startswith("0/0 peers")


@on_sockets
async def test_a_link_is_one_row_whoever_dialled_it_and_under_whatever_names(
    tmp_path: Path,
) -> None:
    a, b = Member(1), Member(2)
    async with listening(a, b) as nursery:
        port = b.address.rsplit(":", 1)[1]
        dialled = [a.dial(nursery, f"{host}:{port}") for host in ("127.0.0.1", "localhost")]
        await until(lambda: [peer.states for peer in dialled] == [["up"], ["up"]])
        a.put("key", b"1")
        await until(
            lambda: b.value("key") and a_report(a, tmp_path).status_line(LATER)[-5:] == "lag 0"
        )
        at_a, at_b = a_report(a, tmp_path), a_report(b, tmp_path)
        now = read_clocks()
        (_, row), (_, seen) = at_a.peers(now), at_b.peers(now)
        assert (row["name"], row["state"], row["lag"], row["lag_ms"]) == ("n2", "up", 0, 0)
        assert row["rtt_ms"] is not None
        assert abs(row["seen_ms"] - now.wall_ms) < 5000
        assert (seen["name"], seen["state"]) == ("n1", "up")
        assert at_a.status_line(now) == "1/1 peers, 1 keys, lag 0"
        assert at_b.status_line(now) == "1/1 peers, 1 keys, lag 0"
        assert at_a.counts().updates_out == at_b.counts().updates_in > 0


@on_sockets
async def test_what_is_wrong_on_a_link_is_said_with_the_peer_s_name(tmp_path: Path) -> None:
    a, b = Member(1), Member(2)
    async with listening(b) as nursery:
        peer = a.dial(nursery, b.address)
        await until(lambda: a.node.links and a.node.links[peer.node_id].sessions)  # type: ignore[index]
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
        await until(lambda: not a.node.links)
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
    ("count", "more"),
    [
        (9_999, None),
        (10_000, "each npm id, program and life of a node that ever wrote is one"),
        (15_000, "npm peers with new ids are left out"),
        (20_000, "this node can't write to it"),
        (20_001, "it is exchanged with no peer"),
    ],
)
def test_a_model_that_gets_full_of_sources_is_a_problem_at_each_step_a_new_one(
    tmp_path: Path, count: int, more: str | None
) -> None:
    member = Member(1)
    model = member.node.models["default"]
    model.clock.merge([(source(n % 250, 2 + n // 250), 1) for n in range(count)])
    words = [f"model default has {count:,} sources of at most 20,000: {more}"] if more else []
    found = a_report(member, tmp_path).problems(LATER)
    assert [problem.words for problem in found] == words
    assert {problem.about for problem in found} == {f"default {words}" for words in [more] if words}


def test_who_writes_to_a_full_model_already_goes_on(tmp_path: Path) -> None:
    member = Member(1)
    member.put("key", b"1")
    model = member.node.models["default"]
    model.clock.merge([(source(n % 250, 2 + n // 250), 1) for n in range(20_000)])
    member.put("key", b"2")
    assert "exchanged with no peer" in words_of(a_report(member, tmp_path))
