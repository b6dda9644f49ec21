"""More is written than gets through: a link of 20 kB/s at the end of a chain; a stopped peer."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

from support.control_caller import RawCaller, request
from support.fleet import Daemon, Fleet
from support.narrow import Narrow
from support.strangers import Load
from support.waiting import PATIENCE_S, until

MIB = 1 << 20
NARROW_BYTES_PER_S = 20_000
ENTRY_BYTES = 120  # and some 25 more on the wire
WANTED_PER_S = 1_500  # ten times what gets through
CARRIED = 800  # entries that are to get through before we look again: some seven seconds
QUEUE = 300  # writers ahead of one that is late: some four seconds
KEYS = 100
GROWTH_MAX = 8 * MIB
MODEL = "entries"


class Writer:
    """Appends numbered entries to a log, so many a second if it's let."""

    def __init__(self, daemon: Daemon, per_s: float = WANTED_PER_S) -> None:
        self.written = 0  # and acknowledged
        self._daemon, self._per_s = daemon, per_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._daemon.client(timeout_s=PATIENCE_S) as client:
            for _ in client.pipeline(self._requests()):
                self.written += 1

    def _requests(self) -> Iterator[tuple[str, dict[str, object]]]:
        began, number = time.monotonic(), 0
        while not self._over.is_set():
            entry = f"{number:0{ENTRY_BYTES}}"
            yield "call", {"model": MODEL, "operation": "append", "args": [entry]}
            number += 1
            time.sleep(max(0.0, began + number / self._per_s - time.monotonic()))

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def held_entries(daemon: Daemon) -> int:
    """How many a node has of the log."""
    models = {model["name"]: model["keys"] for model in daemon.ask("status")["models"]}
    count: int = models.get(MODEL, 0)
    return count


def flow(daemon: Daemon, data_type: str) -> dict[str, object]:
    """What `status` says of it; that takes a second from its first model on."""
    rows = daemon.ask("status")["flow"]
    return {
        "allowed_per_s": None,
        "held": 0,
        **{row["type"]: row for row in rows}.get(data_type, {}),
    }


def chain(fleet: Fleet, narrow: Narrow, c: Daemon, **env: str) -> tuple[Daemon, Daemon]:
    """a and b before c, to which b speaks through the narrow place."""
    b = fleet.daemon("b", args=("--peers", narrow.address), env=env)
    a = fleet.daemon("a", peers=["b"], env=env)
    b.wait("--peers", "2")
    return a, b


def test_writers_of_a_log_come_down_to_what_the_slowest_link_carries(fleet: Fleet) -> None:
    c = fleet.daemon("c")
    with Narrow(c.address, NARROW_BYTES_PER_S) as narrow:
        a, b = chain(fleet, narrow, c)
        a.ask("model_create", model=MODEL, type="log")
        with Writer(a) as writer:
            until(lambda: flow(a, "log")["held"], "the writer to be held back")
            assert "the link to c is behind" in str(flow(b, "log")["why"])
            assert "from b no more than" in str(flow(a, "log")["why"])
            written, carried = writer.written, held_entries(c)
            until(lambda: held_entries(c) >= carried + CARRIED, "the narrow link to carry on")
            assert writer.written - written <= held_entries(c) - carried
            late = expect_too_late(a)
        narrow.bytes_per_s = 100 * MIB
        until(lambda: held_entries(c) >= writer.written, "all that was acknowledged to arrive")
        entries = {int(value) for _, value, _ in c.state(MODEL).values()}
        assert entries >= set(range(writer.written))
        assert late not in entries


def expect_too_late(a: Daemon) -> int:
    """A command whose time is over before its turn: it says so, and nothing is written."""
    late = 9_999_999
    with ExitStack() as stack:
        for caller in [stack.enter_context(RawCaller(a.socket)) for _ in range(QUEUE)]:
            caller.say(request(1, "call", model=MODEL, operation="append", args=["0"]))
        until(lambda: int(str(flow(a, "log")["held"])) > QUEUE / 2, "them to be held back")
        done = a.cli("-m", MODEL, "--timeout", "300ms", "call", "append", str(late), check=False)
    assert (done.returncode, done.stdout) == (75, b"")
    assert done.stderr.startswith(b"scuttled: not written: held back for 0.3 s, flow control")
    return late


def test_a_map_that_nobody_slows_stays_bounded_all_the_same(fleet: Fleet) -> None:
    c = fleet.daemon("c")
    with Narrow(c.address, NARROW_BYTES_PER_S) as narrow:
        a, b = chain(fleet, narrow, c, SCUTTLED_ENFORCE="events")
        with Load(a, KEYS) as load:
            until(lambda: narrow.passed > 2 * NARROW_BYTES_PER_S, "the narrow link to be full")
            memory, written, passed = b.rss(), load.written, narrow.passed
            until(lambda: narrow.passed > passed + 5 * NARROW_BYTES_PER_S, "it to carry on")
            assert load.written - written > 10 * KEYS
            assert flow(a, "map")["enforced"] is False
            assert b.peers()["c"]["lag"] <= KEYS
            assert b.rss() - memory < GROWTH_MAX
        narrow.bytes_per_s = 100 * MIB
        until(lambda: c.state() == a.state(), "all of them to agree")


def test_a_stopped_peer_slows_no_writer(fleet: Fleet) -> None:
    a, b, c = fleet.mesh("a", "b", "c")
    a.ask("model_create", model=MODEL, type="log")
    with Writer(a, per_s=300) as writer:
        until(lambda: held_entries(b) and held_entries(c), "the others to follow")
        b.pause()
        for _ in range(5):
            written = writer.written
            until(lambda: writer.written > written + 300, "the writer to go on")  # noqa: B023
            assert flow(a, "log")["allowed_per_s"] is None
        b.resume()
        until(lambda: held_entries(b) >= writer.written - 300, "the stopped one to catch up")
        assert flow(a, "log")["allowed_per_s"] is None
    until(lambda: held_entries(b) == held_entries(c) == writer.written, "all to arrive")
