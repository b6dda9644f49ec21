"""`scuttled verify`: equal clocks must mean equal contents, and what to do if they don't."""

import sqlite3
from subprocess import DEVNULL, PIPE
from zlib import crc32

from support.fleet import Daemon, Fleet
from support.waiting import until

from scuttled.replica.update import Source
from scuttled.storage.schema import PLACE_BITS, seed

KEYS = 3000


def _fill(daemon: Daemon) -> None:
    lines = "".join(f"key{number:05}\tvalue{number}\n" for number in range(KEYS))
    daemon.cli("import", "--tsv", "-", stdin=lines.encode())


def _change_below(daemon: Daemon, key: bytes) -> None:
    """Another value under the same revision, checked as if it had been saved so."""
    daemon.stop()
    with sqlite3.connect(daemon.data / "scuttled.db") as db:
        rows = db.execute(
            "SELECT place, sources.source, record FROM entries "
            "JOIN sources ON sources.id = entries.source"
        ).fetchall()
        place, source, record = next(row for row in rows if key in row[2])
        other = record[:-1] + b"!"
        position = place & ((1 << PLACE_BITS) - 1)
        crc = crc32(other, seed(Source(source), "default") ^ position)
        db.execute("UPDATE entries SET record = ?, crc = ? WHERE place = ?", (other, crc, place))
    db.close()
    daemon.start()


def test_nodes_that_agree_are_found_the_same(fleet: Fleet) -> None:
    a, b = fleet.mesh("a", "b")
    _fill(a)
    a.wait("--synced")
    for daemon, peer in ((a, "b"), (b, "a")):
        found = daemon.json("verify")
        assert [(row["model"], row["name"], row["state"]) for row in found] == [
            ("default", peer, "same")
        ]


def test_a_difference_under_equal_clocks_is_named_and_repaired(fleet: Fleet) -> None:
    a, b = fleet.mesh("a", "b")
    _fill(a)
    a.wait("--synced")
    b.wait("--synced")
    _change_below(b, b"key01234")
    for daemon in (a, b):
        daemon.wait("--peers", "1", "--synced")
        done = daemon.cli("verify", check=False)
        assert done.returncode == 1
        assert b"clocks agree, and contents do not" in done.stderr
        assert b"scuttled verify --repair" in done.stderr
        assert done.stdout.decode().rstrip("\n").split("\t")[3:] == ["differs", "key01234"]
    assert a.cli("verify", "--repair").returncode == 0
    until(lambda: a.state() == b.state(), "equal states")
    assert len(a.state()) == KEYS


def test_verify_comes_to_an_end_under_constant_writes(fleet: Fleet) -> None:
    a, b = fleet.mesh("a", "b")
    _fill(a)
    writer = b.begin("import", "--tsv", "-", stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL)
    assert writer.stdin is not None
    try:
        for number in range(3):
            writer.stdin.write(b"".join(b"k%d\tv%d\n" % (n, number) for n in range(2000)))
            done = a.cli("verify", "--timeout", "2s", check=False)
            assert done.returncode in (0, 75), done.stderr
        writer.stdin.close()
        writer.wait()
    finally:
        writer.kill()
        writer.wait()


def test_a_peer_that_does_not_answer_is_silent(fleet: Fleet) -> None:
    a, b = fleet.mesh("a", "b")
    a.wait("--synced")
    b.pause()
    done = a.cli("verify", "--timeout", "500ms", check=False)
    assert done.returncode == 75
    assert done.stdout.decode().split("\t")[3] == "silent"
    b.resume()
    until(lambda: a.cli("verify", check=False).returncode == 0, "b to answer")


def test_alone_there_is_nothing_to_compare_with(fleet: Fleet) -> None:
    done = fleet.daemon("a").cli("verify")
    assert (done.stdout, b"no peer is linked" in done.stderr) == (b"", True)


def test_many_models_are_all_compared(fleet: Fleet) -> None:
    a, b = fleet.mesh("a", "b")
    for number in range(100):
        a.ask("set", model=f"m{number}", key="k", kind="text", value=b"v")
    for daemon in (a, b):
        daemon.wait("--synced")
    found = a.json("verify")
    assert len(found) == 101
    assert {row["state"] for row in found} == {"same"}
