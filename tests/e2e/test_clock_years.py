"""Clocks that were years off, and are mended: nobody is cut off, nothing is lost (I1, I9)."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.clocks import WallClock, needs_faketime
from support.fleet import Daemon, Fleet
from support.waiting import until

pytestmark = needs_faketime

TAKEN_BACK = "is taken back, and this node goes on as life 2"
WAITS = "no other node takes it; it is taken back once a peer is linked whose clock agrees"


class Clocks:
    """One for each daemon."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def __call__(self, offset: str) -> WallClock:
        self._count += 1
        return WallClock(self._directory / f"wall-clock-{self._count}", offset)


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    return Clocks(tmp_path)


def _shown(daemon: Daemon) -> dict[str, str]:
    return {key: value.decode() for key, (_, value, _) in daemon.state().items()}


def _agree(*daemons: Daemon) -> dict[str, str]:
    """Wait until all show the same, with the same clock; what it is."""

    def same() -> bool:
        return all(
            d.state() == daemons[0].state() and d.clock() == daemons[0].clock() for d in daemons
        )

    until(same, "all to show the same")
    return _shown(daemons[0])


def _problems(daemon: Daemon) -> str:
    return str(daemon.ask("status")["problems"])


def _taken_back(daemon: Daemon) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = daemon.ask("status")["taken_back"]
    return reports


@pytest.mark.parametrize("offset", ["+1y", "+1d", "+200s"])
def test_what_was_written_ahead_is_issued_anew_once_a_peer_agrees(
    fleet: Fleet, clocks: Clocks, offset: str
) -> None:
    clock = clocks(offset)
    a = fleet.daemon("a", env=clock.environ)
    for key, value in (("k", "1"), ("gone", "x"), ("k", "2"), ("last", "3")):
        a.cli("set", key, value)
    a.cli("del", "gone", "--yes")
    clock.set("+0s")
    a.kill9()
    a.start()
    until(lambda: WAITS in _problems(a), "the problem")
    assert a.cli("status", "--check", check=False).returncode == 1
    late = a.cli("set", "later", "4", "--wait", "all", "--timeout", "1s", check=False)
    assert late.returncode == 75
    assert b"can't go on to the rest yet: what is written here is stamped" in late.stderr
    late = a.cli("wait", "--synced", "--timeout", "1s", check=False)
    assert late.returncode == 75
    assert b"is stamped" in late.stderr

    b = fleet.daemon("b")
    b.cli("set", "gone", "b")
    b.cli("set", "other", "b")
    a.cli("join", b.address)
    until(lambda: _taken_back(a), "the future to be taken back")
    a.cli("set", "now", "5", "--wait", "all")
    assert _agree(a, b) == {"k": "2", "last": "3", "later": "4", "now": "5", "other": "b"}
    assert TAKEN_BACK in a.log()
    assert "updates issued anew: 4 of its own" in a.text("status", "-j")
    for daemon in (a, b):
        daemon.wait("--synced")
        assert daemon.cli("status", "--check", check=False).returncode == 0

    for daemon in (a, b):
        daemon.restart()
    assert _agree(a, b)["k"] == "2"
    assert a.log().count(TAKEN_BACK) == 1, "it was on disk"


def test_two_that_were_ahead_together_are_mended_one_after_another(
    fleet: Fleet, clocks: Clocks
) -> None:
    """Who is mended late brings back nothing that was replaced since."""
    times = clocks("+1y"), clocks("+1y")
    a = fleet.daemon("a", env=times[0].environ)
    c = fleet.daemon("c", peers=["a"], env=times[1].environ)
    a.cli("set", "of-a", "1")
    c.cli("set", "of-c", "1")
    for daemon, key in ((a, "of-c"), (c, "of-a")):
        daemon.wait("--key", key)
    b = fleet.daemon("b", peers=["a", "c"])
    times[0].set("+0s")
    a.restart()
    b.wait("--key", "of-a=1")
    b.cli("set", "of-a", "2", "--wait", "1")
    assert _shown(b)["of-c"] == "1", "kept where nobody knows better"
    times[1].set("+0s")
    c.restart()
    until(lambda: _taken_back(c), "the future to be taken back")
    assert _agree(a, b, c) == {"of-a": "2", "of-c": "1"}
    c.cli("set", "more", "x", "--wait", "all")


def test_all_that_were_ahead_are_mended_at_once_though_one_is_gone_for_good(
    fleet: Fleet, clocks: Clocks
) -> None:
    clock = clocks("+1y")
    a, b, c = (
        fleet.daemon(name, peers=[p for p in "abc" if p != name], env=clock.environ)
        for name in "abc"
    )
    for daemon in (a, b, c):
        daemon.cli("set", f"of-{daemon.name}", "1")
    for daemon in (a, b):
        daemon.wait("--key", "of-c")
    a.wait("--key", "of-b")
    c.kill9()
    for daemon in (a, b):
        daemon.stop()
    clock.set("+0s")
    for daemon in (a, b):
        daemon.start()
    for daemon in (a, b):
        until(lambda daemon=daemon: _taken_back(daemon), "the future to be taken back")
    assert _agree(a, b) == {"of-a": "1", "of-b": "1", "of-c": "1"}


def test_a_clock_that_leaps_for_two_seconds_is_no_harm_without_a_restart(
    fleet: Fleet, clocks: Clocks
) -> None:
    clock = clocks("+0s")
    a = fleet.daemon("a")
    b = fleet.daemon("b", peers=["a"], env=clock.environ)
    b.wait("--peers", "1", "--synced")
    clock.set("+1d")
    b.cli("set", "leap", "1")
    clock.set("+0s")
    until(lambda: _taken_back(b), "the future to be taken back")
    b.cli("set", "leap", "2", "--wait", "all")
    assert _agree(a, b) == {"leap": "2"}


def test_a_node_that_all_refuse_says_that_it_is_the_odd_one(fleet: Fleet, clocks: Clocks) -> None:
    """And takes nothing back: most clocks differ from its own."""
    clock = clocks("+0s")
    a, c = fleet.mesh("a", "c")
    b = fleet.daemon("b", peers=["a", "c"], env=clock.environ)
    b.wait("--peers", "2", "--synced")
    b.stop()
    clock.set("-1y")
    b.start()
    b.cli("set", "behind", "1")
    odd = "the wall clock of this machine is 36[45]d( 23h)? behind that of a and c"
    until(lambda: re.search(odd, _problems(b)), "the problem")
    assert b.cli("status", "--check", check=False).returncode == 1
    late = b.cli("set", "k", "v", "--wait", "all", "--timeout", "1s", check=False)
    assert late.returncode == 75
    assert b"can't go on" in late.stderr
    for daemon in (a, c):
        assert "of this machine" not in _problems(daemon), "it is b that is odd"
    until(lambda: re.search(odd, b.log()), "a word in the log")
    assert not _taken_back(b)
    clock.set("+0s")
    b.restart()
    b.wait("--peers", "2", "--synced")
    assert _agree(a, b, c) == {"behind": "1", "k": "v"}


def test_a_lease_that_was_set_before_ntp_came_lasts_as_long_as_it_was_to(
    fleet: Fleet, clocks: Clocks
) -> None:
    clock = clocks("@1970-01-01 00:00:10")
    b = fleet.daemon("b")
    a = fleet.daemon("a", peers=["b"], env=clock.environ)
    a.cli("set", "lease", "x", "--ttl", "1h")
    a.cli("set", "short", "x", "--ttl", "6s")
    clock.set("+0s")
    b.wait("--key", "lease=x")
    assert _shown(a)["lease"] == "x"
    until(lambda: "short" not in a.state() and "short" not in b.state(), "the short one to go")
    assert _agree(a, b) == {"lease": "x"}


def test_a_lease_that_was_set_ahead_does_not_live_for_a_year(fleet: Fleet, clocks: Clocks) -> None:
    clock = clocks("+1y")
    b = fleet.daemon("b")
    a = fleet.daemon("a", peers=["b"], env=clock.environ)
    a.cli("set", "lease", "x", "--ttl", "5s")
    a.cli("set", "stays", "x")
    clock.set("+0s")
    b.wait("--key", "stays")
    until(lambda: "lease" not in a.state() and "lease" not in b.state(), "the lease to go")


@pytest.mark.parametrize("time", ["@1960-01-01 00:00:00", "@2250-01-01 00:00:00"])
def test_times_that_no_machine_should_have_end_nothing(
    fleet: Fleet, clocks: Clocks, time: str
) -> None:
    clock = clocks(time)
    a = fleet.daemon("a", env=clock.environ)
    a.cli("set", "k", "v")
    a.cli("set", "lease", "v", "--ttl", "36000d")
    for command in (["ls", "-l"], ["members"], ["peers"], ["status"], ["ls", "-l", "-j"]):
        a.cli(*command)
    b = fleet.daemon("b")
    clock.set("+0s")
    a.cli("join", b.address)
    b.wait("--key", "k=v")
    assert _agree(a, b).keys() == {"k", "lease"}


def test_a_clock_beyond_what_python_can_read_is_told_in_words(fleet: Fleet, clocks: Clocks) -> None:
    clock = clocks("@2270-01-01 00:00:00")
    a = fleet.daemon("a", env=clock.environ, start=False)
    a.start(wait=False)
    assert a.ended() == 69
    assert "the wall clock of this machine stands beyond the year 2262" in a.log()
