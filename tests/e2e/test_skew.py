"""Clocks that are wrong: what a daemon takes from them, and what it tells about them (I1, I9)."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.clocks import WallClock, needs_faketime
from support.fleet import Daemon, Fleet
from support.waiting import until

SOON_S = 15.0
TEN_MINUTES = (
    "the clock of (b is (600|599).[0-9] s ahead of that of a|a is (600|599).[0-9] s behind that "
    "of b), allowed are 60 s"
)

pytestmark = needs_faketime


@pytest.fixture
def wall_clock(tmp_path: Path) -> Callable[[str], WallClock]:
    return lambda offset: WallClock(tmp_path / "wall-clock", offset)


def _set(daemon: Daemon, key: str, value: str) -> None:
    daemon.ask("set", model="default", key=key, kind="text", value=value)


def _get(daemon: Daemon, key: str) -> str:
    value: bytes = daemon.ask("get", model="default", key=key)["value"]
    return value.decode()


def test_a_clock_set_back_while_it_runs_loses_no_write(
    fleet: Fleet, wall_clock: Callable[[str], WallClock]
) -> None:
    """Neither to what this node wrote before, nor to what a peer wrote, nor after a restart."""
    clock = wall_clock("+0s")
    b = fleet.daemon("b")
    a = fleet.daemon("a", peers=["b"], env=clock.environ)
    _set(a, "own", "before")
    _set(b, "theirs", "before")
    a.wait("--key", "theirs=before")
    b.wait("--key", "own=before")

    clock.set("-1h")
    for key in ("own", "theirs", "new"):
        _set(a, key, "after")
        assert _get(a, key) == "after"
        b.wait("--key", f"{key}=after")
    assert a.ask("del", model="default", keys=["new"])["count"] == 1
    until(lambda: "new" not in b.state(), "the key to be deleted at b")

    a.restart()
    _set(a, "own", "restarted")
    assert _get(a, "own") == "restarted"
    until(partial(_refused, a, b), "b to refuse a clock an hour behind")
    clock.set("+0s")
    a.restart()
    b.wait("--key", "own=restarted")
    a.wait("--synced")
    assert a.state() == b.state()


def _refused(daemon: Daemon, peer: Daemon) -> dict[str, Any] | None:
    """Its row for that peer, if it is refused."""
    rows = [row for row in daemon.peers().values() if row["address"] == peer.address]
    return next((row for row in rows if row["state"] == "refused"), None)


def _says(daemon: Daemon, words: str) -> bool:
    return words in daemon.log()


def test_a_clock_ten_minutes_ahead_is_refused_in_words_that_both_see(
    fleet: Fleet, wall_clock: Callable[[str], WallClock]
) -> None:
    a = fleet.daemon("a", peers=["b"])
    b = fleet.daemon("b", peers=["a"], env=wall_clock("+10m").environ)
    for daemon, other in ((a, b), (b, a)):
        row = until(partial(_refused, daemon, other), "a refusal")
        until(partial(_says, daemon, "allowed are 60 s"), "a word in the log")
        for words in (row["reason"], daemon.log(), str(daemon.ask("status")["problems"])):
            assert re.search(TEN_MINUTES, words)
    assert "refused" in a.text("peers")
    for daemon in (a, b):
        assert daemon.log().count("allowed are 60 s") <= 3, "said anew at every attempt"
        assert not daemon.ask("status")["healthy"]


def test_updates_from_the_future_are_taken_when_their_time_has_come(
    fleet: Fleet, wall_clock: Callable[[str], WallClock]
) -> None:
    """62 s ahead when it wrote; put right since, so nothing speaks against the link."""
    clock = wall_clock("+62s")
    a, b = fleet.daemon("a"), fleet.daemon("b", env=clock.environ)
    for number in range(100):
        _set(b, f"future-{number}", "x")
    _set(a, "present", "x")
    clock.set("+0s")
    b.cli("join", a.address)
    b.wait("--key", "present")
    until(lambda: a.ask("status")["future"] > 0, "an update to be refused")
    status = a.ask("status")
    assert not a.state().keys() - {"present"}
    assert "updates in default from b are stamped too far in the future" in str(status["problems"])
    warned = "100 updates of b in default are stamped 6[01].[0-9] s ahead of this node's clock"
    assert re.search(f"warning {warned}, allowed are 60 s", a.log())

    a.wait("--key", "future-99", timeout_s=SOON_S)
    for daemon in (a, b):
        daemon.wait("--synced", timeout_s=SOON_S)
    assert a.state() == b.state()
    assert a.clock() == b.clock()
    assert a.log().count("ahead of this node's clock") <= 10, "said anew at every attempt"
    assert "future" not in str(a.ask("status")["problems"])


def test_a_clock_somewhat_off_is_linked_and_named(
    fleet: Fleet, wall_clock: Callable[[str], WallClock]
) -> None:
    a = fleet.daemon("a")
    b = fleet.daemon("b", peers=["a"], env=wall_clock("-20s").environ)
    b.wait("--peers", "1")
    until(partial(_says, a, "the clock of b differs by -20.0 s from ours"), "a's word")
    until(partial(_says, b, "the clock of a differs by 20.0 s from ours"), "b's word")
    assert abs(a.ask("status")["skew_ms"] + 20_000) < 100
    assert "the clock of b differs by -20.0 s" in a.ask("status")["problems"]


def test_a_daemon_that_was_stopped_is_not_taken_for_one_with_a_wrong_clock(fleet: Fleet) -> None:
    """What it says first after that was said by the others seconds ago."""
    a, b = fleet.mesh("a", "b")
    b.pause()
    a.restart()
    until(lambda: a.peers()[b.address]["state"] == "connecting", "a to dial")
    until(lambda: a.ask("status")["uptime_s"] > 2, "two seconds")
    b.resume()
    for daemon in (a, b):
        daemon.wait("--peers", "1", "--synced")
        assert abs(daemon.ask("status")["skew_ms"]) < 200
        assert "the clock of" not in daemon.log()


def test_a_clock_that_leaps_ahead_on_a_link_is_named_once_and_others_go_on(
    fleet: Fleet, wall_clock: Callable[[str], WallClock]
) -> None:
    """Its updates wait, and no longer than it is wrong; the log is not flooded meanwhile."""
    clock = wall_clock("+0s")
    a = fleet.daemon("a")
    b = fleet.daemon("b", peers=["a"], env=clock.environ)
    c = fleet.daemon("c", peers=["a"])
    for daemon in (b, c):
        daemon.wait("--peers", "1", "--synced")
    clock.set("+64s")
    for number in range(200):
        _set(b, "leap", str(number))
        _set(c, "calm", str(number))
    a.wait("--key", "calm=199")
    until(lambda: a.ask("status")["future"] > 0, "an update to be refused")
    assert "leap" not in a.state()
    clock.set("+0s")
    a.wait("--key", "leap=199", timeout_s=SOON_S)
    c.wait("--key", "leap=199")
    for daemon in (a, b, c):
        daemon.wait("--synced", timeout_s=SOON_S)
    assert a.state() == b.state() == c.state()
    warned = [line for line in a.log().splitlines() if "ahead of this node's clock" in line]
    assert len(warned) == 1, f"{len(warned)} lines, such as {warned[:3]}"
