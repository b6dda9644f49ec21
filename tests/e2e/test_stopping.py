"""Stopping is quick and safe, whatever peers and callers are doing at the time."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from support.control_caller import RawCaller, request
from support.fleet import Daemon, Fleet
from support.strangers import Load, Stranger, Watcher
from support.waiting import until

STOP_S = 3.0
MANY = 5_000


def _end(daemon: Daemon, number: int = signal.SIGTERM) -> float:
    """Send it a signal; the seconds until it has ended, by itself and in order."""
    assert daemon.process is not None
    began = time.monotonic()
    daemon.process.send_signal(number)
    code = daemon.ended()
    took_s = time.monotonic() - began
    assert code == 0, f"{daemon.name} ended with {code}"
    assert "Traceback" not in daemon.log()
    return took_s


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_links_callers_and_watches_do_not_hold_it_up(fleet: Fleet, number: int) -> None:
    """Nobody who is waited for: it is a matter of milliseconds."""
    a, b, c = fleet.mesh("a", "b", "c")
    with Watcher(a), a.client() as caller, a.begin("watch") as watch:
        caller.hello()
        caller.request("set", model="default", key="k", kind="text", value="v")
        waiting = caller._send("wait", {"model": "default", "key": "never written"})
        assert waiting
        took_s = _end(a, number)
        assert watch.wait(STOP_S) != 0
    assert took_s < STOP_S / 2
    assert f"stopping on {signal.Signals(number).name}" in a.log()
    for other in (b, c):
        until(lambda o=other: "closed after" in o.log(), "the end of the link to be logged")
        line = next(line for line in other.log().splitlines() if "link to a closed" in line)
        assert line.endswith("a stops"), "a goodbye is no failure"
        assert " info " in line


def test_a_stuck_peer_and_a_caller_that_does_not_read_do_not_hold_it_up(fleet: Fleet) -> None:
    """All at once: b is stopped, and a's buffers to it are full; so are those to two callers."""
    a, b, c = fleet.mesh("a", "b", "c")
    large = bytes(500_000)
    with RawCaller(a.socket) as flood, RawCaller(a.socket) as watcher, Stranger(a, "mute") as mute:
        mute.greet()
        mute.open()
        b.pause()
        watcher.say(request(1, "watch", model="default", snapshot=True))
        for number in range(20):
            a.ask("set", model="default", key=f"{number}", kind="bytes", value=large)
        flood.flood(
            (request(i, "get", model="default", key="1") for i in range(1, 10**6)), stuck_s=0.3
        )
        took_s = _end(a)
    assert took_s < STOP_S
    line = until(
        lambda: next((line for line in c.log().splitlines() if "link to a closed" in line), None),
        "the end of the link to be logged",
    )
    assert line.endswith("a stops"), "a stuck peer is no reason not to say goodbye to others"
    b.resume()


def test_under_load_everything_acknowledged_is_kept(fleet: Fleet) -> None:
    a, b = fleet.mesh("a", "b")
    with Load(a, keys=10**9) as load:
        until(lambda: load.written > 5000, "some writes")
        assert _end(a) < STOP_S
    assert load.error is not None
    a.start()
    known = a.state()
    assert all(f"key-{number}" in known for number in range(load.written))
    a.wait("--peers", "1", "--synced")
    assert b.state() == known


def test_callers_that_sent_many_requests_at_once_get_their_answers(fleet: Fleet) -> None:
    a = fleet.daemon("a", peers=["b"])

    def frames() -> Iterator[bytes]:
        for i in range(1, MANY + 1):
            yield request(i, "set", model="default", key=f"key-{i}", kind="text", value="x")

    with RawCaller(a.socket) as one, RawCaller(a.socket) as two:
        for caller in (one, two):
            sent, rest = caller.flood(frames())
            assert (sent, rest) == (MANY, b"")
        assert a.process is not None
        os.kill(a.pid, signal.SIGTERM)
        for caller in (one, two):
            answers = list(caller.rest())
            assert [answer["id"] for answer in answers] == list(range(1, MANY + 1))
            assert all("ok" in answer for answer in answers)
        assert a.ended() == 0
    assert len(a.start().state()) == MANY
