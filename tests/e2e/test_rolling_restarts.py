"""Daemons that restart, cleanly and not, under commands that follow them."""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.commands import Tail
from support.fleet import Daemon, Fleet
from support.waiting import until

from scuttled.client.client import Client
from scuttled.errors import ScuttledError

RESTARTS = int(os.environ.get("SCUTTLED_TEST_RESTARTS", "6"))
"""Half of them clean; `SCUTTLED_TEST_RESTARTS=40` for a campaign."""


class Writer(threading.Thread):
    """Sets keys that nobody else sets, and emits events, all along; what was acknowledged stands.

    What it got no answer for may be there or not.
    """

    def __init__(self, daemon: Daemon, rate_per_s: float = 8.0) -> None:
        super().__init__()
        self.daemon_ = daemon
        self.acknowledged: set[str] = set()
        self._pause_s = 1 / rate_per_s
        self._end = threading.Event()

    def run(self) -> None:
        number = 0
        client: Client | None = None
        while not self._end.wait(self._pause_s):
            number += 1
            key = f"{self.daemon_.name}-{number}"
            value = {"kind": "text", "value": key.encode()}
            try:
                client = client or self.daemon_.client()
                client.request("set", model="default", key=key, **value)
                client.request("emit", name=key, **value)
                self.acknowledged.add(key)
            except ScuttledError:
                if client is not None:
                    client.close()
                client = None
        if client is not None:
            client.close()

    def stop(self) -> None:
        self._end.set()
        self.join()


@contextmanager
def writing(*daemons: Daemon) -> Iterator[list[Writer]]:
    writers = [Writer(daemon) for daemon in daemons]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop()


@contextmanager
def handling(daemon: Daemon, out: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that notes each key it is run for in `out`."""
    script = f'echo "$SCUTTLED_KEY" >> {out}'
    with daemon.begin(*command, "--", "sh", "-c", script) as process:
        yield process
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def noted(out: Path) -> Counter[str]:
    return Counter(out.read_text().split()) if out.exists() else Counter()


def test_every_change_is_handled_once_whatever_becomes_of_the_daemon(
    fleet: Fleet, tmp_path: Path
) -> None:
    a, b = fleet.chain("a", "b")
    seen, heard = tmp_path / "seen", tmp_path / "heard"
    rng = random.Random(1)
    watch = ("watch", "--cursor-file", str(tmp_path / "watch.cursor"))
    on = ("on", "--cursor-file", str(tmp_path / "on.cursor"))
    a.cli("emit", "first")
    with begun(a, Path(watch[2])):
        pass
    with (
        handling(a, seen, *watch),
        handling(a, heard, *on),
        writing(a, b) as writers,
    ):
        for number in range(RESTARTS):
            count = noted(seen).total()
            until(lambda count=count: noted(seen).total() > count + 5, "the watch to go on")
            if number % 2:
                a.kill9()
            else:
                a.stop()
            threading.Event().wait(rng.random() * 0.3)  # b writes on meanwhile
            a.start()
        for writer in writers:
            writer.stop()
        wanted = set().union(*(writer.acknowledged for writer in writers))
        a.wait("--synced")
        for out in (seen, heard):
            until(
                lambda out=out: wanted <= noted(out).keys(),
                lambda out=out: f"{out.name} to have {sorted(wanted - noted(out).keys())}",
                90,
            )
    for found in (noted(seen), noted(heard)):
        assert {key for key, times in found.items() if times > 1} == set()
    assert len(wanted) > 4 * RESTARTS


def begun(daemon: Daemon, file: Path, *args: str) -> Tail:
    """A watch that has begun: what is written from now on, it tells."""
    tail = daemon.tail("watch", "--cursor-file", str(file), *args)
    until(file.exists, "the first cursor")
    return tail


def asked(daemon: Daemon, process: subprocess.Popen[bytes]) -> None:
    """It says that it is connected, and asks at once; another command takes longer than that."""
    assert process.stderr is not None
    assert b"connected to" in process.stderr.readline()
    daemon.cli("status")


def test_a_watch_of_a_terminal_goes_on_with_its_counts(fleet: Fleet, tmp_path: Path) -> None:
    daemon = fleet.daemon("a")
    with begun(daemon, tmp_path / "cursor", "-n", "3") as tail:
        daemon.cli("set", "k", "1")
        assert tail.line().startswith("set\tk\t1\t")
        daemon.kill9()
        daemon.start()
        daemon.cli("set", "k", "2")
        assert tail.line().startswith("set\tk\t2\t")
        daemon.restart()
        daemon.cli("del", "k")
        assert tail.line().startswith("del\tk\t")
        assert tail.process.wait(30) == 0
        said = tail.said().splitlines()
    assert [line.rpartition(": ")[2] for line in said] == [
        "waiting for it to come back",
        "the daemon is back",
    ] * 2


def test_without_reconnecting_a_watch_ends_with_its_daemon(fleet: Fleet, tmp_path: Path) -> None:
    daemon = fleet.daemon("a")
    for command in ("watch", "on"):
        with daemon.tail("-v", command, "--no-reconnect") as tail:
            asked(daemon, tail.process)
            daemon.restart()
            assert tail.process.wait(30) == 69


def test_an_on_without_a_cursor_misses_nothing_while_its_daemon_is_away(fleet: Fleet) -> None:
    """Emitted at a peer, before a single event was heard."""
    a, b = fleet.chain("a", "b")
    a.cli("emit", "old")
    with a.tail("-v", "on", "-n", "2") as tail:
        asked(a, tail.process)
        a.stop()
        b.cli("emit", "new", "1")
        a.start()
        assert tail.line().startswith("event\tnew\t1\t")
        b.cli("emit", "new", "2")
        assert tail.line().startswith("event\tnew\t2\t")
        assert tail.process.wait(30) == 0


def test_a_cursor_file_may_be_moved_to_another_node(fleet: Fleet, tmp_path: Path) -> None:
    a, b = fleet.chain("a", "b")
    file = tmp_path / "cursor"
    a.cli("set", "before", "v")
    with begun(a, file, "--once"):
        a.cli("set", "told", "v")
        until(lambda: "default=2@" in file.read_text(), "it to be noted")
    a.cli("set", "news", "v")
    b.wait("--synced")
    b.kill9()
    b.start()
    b.wait("--synced")
    watch = ("watch", "--cursor-file", str(file))
    assert b.text(*watch, "--once").startswith("set\tnews\t")
    b.cli("set", "more", "v")
    a.wait("--key", "more=v")
    assert a.text(*watch, "--once").startswith("set\tmore\t")
    assert a.cli(*watch, "--for", "200ms", check=False).returncode == 75


def test_a_cursor_that_is_shown_is_good_on_another_node(fleet: Fleet) -> None:
    a, b = fleet.chain("a", "b")
    with a.tail("watch", "-j", "--snapshot", "-n", "2") as tail:
        assert json.loads(tail.line())["op"] == "live"
        a.cli("set", "one", "v")
        cursor = json.loads(tail.line())["cursor"]
    b.wait("--key", "one=v")
    a.cli("set", "two", "v")
    (line,) = b.json("watch", "--after", cursor, "--once")
    assert (line["op"], line["key"]) == ("set", "two")


def test_a_daemon_without_a_disk_comes_back_empty_and_a_watch_goes_on(
    fleet: Fleet, tmp_path: Path
) -> None:
    b = fleet.daemon("b")
    a = fleet.daemon("a", peers=["b"], args=["--memory"])
    a.cli("set", "before", "v", "--wait", "all")
    with begun(a, tmp_path / "cursor", "-n", "2") as tail:
        b.cli("set", "one", "v")
        assert tail.line().startswith("set\tone\t")
        a.kill9()
        b.cli("set", "two", "v")
        a.start()
        assert tail.line().startswith("set\ttwo\t")
        assert tail.process.wait(30) == 0


def test_a_state_that_was_wiped_is_told_by_a_reset(fleet: Fleet, tmp_path: Path) -> None:
    daemon = fleet.daemon("a")
    with begun(daemon, tmp_path / "cursor") as tail:
        daemon.cli("set", "k", "v")
        assert tail.line().startswith("set\tk\t")
        daemon.stop()
        shutil.rmtree(daemon.data)
        daemon.start()
        assert tail.line().startswith("reset\t\tthis node does not have all")
        assert tail.line().startswith("live\t")


def test_a_damaged_cursor_file_is_named_and_left_as_it_is(fleet: Fleet, tmp_path: Path) -> None:
    daemon = fleet.daemon("a")
    file = tmp_path / "cursor"
    for command in ("watch", "on"):
        for text in ("garbage\n", "0123456789abcdef.1.00000000:default=1@x\n"):
            file.write_text(text)
            done = daemon.cli(command, "--cursor-file", str(file), "--once", check=False)
            assert done.returncode == 2
            assert done.stderr.startswith(b"scuttled: going on from " + str(file).encode())
            assert file.read_text() == text


def test_a_wait_outlives_its_daemon(fleet: Fleet) -> None:
    daemon = fleet.daemon("a")
    with daemon.begin("-v", "wait", "--key", "k=v") as process:
        asked(daemon, process)
        daemon.kill9()
        daemon.start()
        daemon.cli("set", "k", "v")
        assert process.wait(30) == 0
