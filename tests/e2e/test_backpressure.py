"""Who does not read costs nobody else memory or time: a stopped peer, a caller, a watcher."""

import itertools
import time
from collections.abc import Iterator

import pytest
from support.control_caller import RawCaller, request
from support.fleet import Daemon, Fleet
from support.strangers import Load, Watcher

from scuttled.control.server import STREAMS_MAX

MIB = 1 << 20
KEYS = 100
MODEL = "backpressure"  # of the tests that share a daemon
WARM_S = 2.0  # of load, after which a daemon's memory stands
PAUSE_S = 13.0  # longer than a link may be silent, so it is cut and dialled anew
GROWTH_MAX = 4 * MIB
CALLER_GROWTH_MAX = 16 * MIB  # answers: some MiB; writes that wait for the disk: 20,000
UPDATES_MAX = 1000
GAP_MAX_S = 3.0  # a machine with other things to do; far below what would be cut as silence


class Memory:
    """How much the resident memory of daemons has grown since `Memory(...)` and grew at most."""

    def __init__(self, *daemons: Daemon) -> None:
        self._began = {daemon: daemon.rss() for daemon in daemons}
        self.most = 0

    def look(self) -> int:
        growths = [daemon.rss() - began for daemon, began in self._began.items()]
        self.most = max(self.most, *growths)
        return self.most

    def words(self) -> str:
        grown = {d.name: f"{(d.rss() - began) / MIB:+.1f}" for d, began in self._began.items()}
        return f"resident memory grew by {grown} MiB, at the most by {self.most / MIB:.1f}"


# --- a peer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause_s", [PAUSE_S, pytest.param(60.0, marks=pytest.mark.slow)])
def test_a_stopped_peer_costs_its_neighbours_neither_memory_nor_time(
    fleet: Fleet, pause_s: float
) -> None:
    a, b, c = fleet.mesh("a", "b", "c")
    with Watcher(c) as watcher, Load(a, KEYS) as load:
        time.sleep(WARM_S)
        memory = Memory(a, c)
        known = b.ask("status")["updates_in"]
        before, paused = time.monotonic() - WARM_S / 2, time.monotonic()
        written = load.written
        b.pause()
        while time.monotonic() < paused + pause_s:
            time.sleep(0.5)
            memory.look()
        written = load.written - written
        load.stop()
        calm = watcher.between(before, paused)
        rows = watcher.between(paused, paused + pause_s)
        b.resume()
    for daemon in (a, b, c):
        daemon.wait("--peers", "2", "--synced")
    received = b.ask("status")["updates_in"] - known
    print(f"{written} writes, {len(rows)} rows at c, {received} updates at b; {memory.words()}")
    assert written > 10_000, f"only {written} writes: too few to show anything"
    assert memory.look() < GROWTH_MAX, memory.words()
    assert received < UPDATES_MAX, f"b was sent {received} updates for {KEYS} keys"
    assert a.state() == b.state() == c.state()
    _check_that_rows_kept_coming(calm, rows, pause_s)


def _check_that_rows_kept_coming(
    calm: list[tuple[float, str, bytes]], rows: list[tuple[float, str, bytes]], pause_s: float
) -> None:
    """At c, in the order in which they were written at a, and about as often as before."""
    numbers = [int(value) for _, _, value in rows]
    assert numbers == sorted(numbers)
    gaps = [later[0] - row[0] for row, later in itertools.pairwise(rows)]
    assert max(gaps) < GAP_MAX_S, f"c saw nothing for {max(gaps):.2f} s while b was stopped"
    rate, calm_rate = len(rows) / pause_s, len(calm) / (WARM_S / 2)
    assert rate > calm_rate / 4, f"{rate:.0f} rows/s at c, {calm_rate:.0f} before b was stopped"


# --- callers -------------------------------------------------------------------------------------


def _sets() -> Iterator[bytes]:
    for i in range(1, 1_000_001):
        yield request(i, "set", model=MODEL, key=f"key-{i % KEYS}", kind="text", value="x")


def _gets() -> Iterator[bytes]:
    for i in range(1, 1_000_001):
        yield request(i, "get", model=MODEL, key="key-0")


def _gets_of_much() -> Iterator[bytes]:
    """Of half a MiB each: one read of the socket holds requests for some 700 MiB."""
    for i in range(1, 1_000_001):
        yield request(i, "get", model=MODEL, key="large")


def _waits() -> Iterator[bytes]:
    for i in range(1, 1_000_001):
        yield request(i, "wait", model=MODEL, key="never written")


def _errors() -> Iterator[bytes]:
    for i in range(1, 1_000_001):
        yield request(i, "nonsense")


@pytest.mark.parametrize(
    "frames", [_sets, _gets, _gets_of_much, _waits, _errors], ids=lambda f: f.__name__.strip("_")
)
def test_a_caller_that_sends_a_million_requests_and_never_reads_is_not_taken_from(
    shared: Daemon, frames: object
) -> None:
    """And everybody else is served as before."""
    assert callable(frames)
    shared.ask("set", model=MODEL, key="large", kind="bytes", value=bytes(512 << 10))
    shared.ask("set", model=MODEL, key="key-0", kind="text", value="x")
    memory = Memory(shared)
    with RawCaller(shared.socket) as caller:
        flood = iter(frames())
        sent, rest = caller.flood(flood, stuck_s=0.5)
        assert rest, f"all {sent} requests were taken"
        assert memory.look() < CALLER_GROWTH_MAX, f"{sent} requests taken: {memory.words()}"
        asked = time.monotonic()
        assert shared.ask("get", model=MODEL, key="key-0")["value"] == b"x"
        assert time.monotonic() - asked < GAP_MAX_S
        print(f"{sent} requests taken; {memory.words()}")
        first = 1
        if frames is _waits:  # those that are waited for get no answer
            first += STREAMS_MAX
        for i in range(first, sent + 1):
            assert (caller.heard() or {})["id"] == i
        caller.say(rest)
        assert (caller.heard() or {})["id"] == sent + 1


def test_a_watcher_that_never_reads_costs_no_memory_and_then_gets_the_last_values(
    daemon: Daemon,
) -> None:
    times, calls = 10, 100  # each key so often in one call; then in all 100,000 times

    def overwrite(number: int) -> tuple[str, dict[str, object]]:
        value = f"{number} {'x' * 100}"
        pairs = [word for i in range(KEYS) for word in (f"key-{i}", value)] * times
        return "load", {"model": "default", "kind": "text", "pairs": pairs}

    with daemon.client() as writer, daemon.client(timeout_s=None) as reader:
        stream = reader.stream("watch", live=True, model="default")
        next(stream)
        list(writer.pipeline(overwrite(-1) for _ in range(10)))
        memory = Memory(daemon)
        list(writer.pipeline(map(overwrite, range(calls))))
        memory.look()
        last: dict[str, bytes] = {}
        rows, final = 0, f"{calls - 1} ".encode()
        while len(last) < KEYS or not all(value.startswith(final) for value in last.values()):
            part = next(stream)
            rows += len(part)
            last.update({row[2]: row[4] for row in part})
    writes = KEYS * times * calls
    print(f"{rows} rows of {writes} writes; {memory.words()}")
    assert memory.most < GROWTH_MAX, memory.words()
    assert rows < writes / 10, f"{rows} rows for {KEYS} keys"
