"""Disks that fill up, forbid, forget and lie, under real daemons: what is said, and how it ends."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import PATIENCE_S, until

IN_MEMORY = "this node holds it in memory and goes on trying"
BIG = "x" * 100_000
AGAIN = "the disk takes writes again"


@contextmanager
def mounted(point: Path, *options: str) -> Iterator[None]:
    """A file system of our own there, until the end. Fails under CI, skips elsewhere."""
    point.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(point)], capture_output=True, text=True)
    if done.returncode:
        words = f"can't mount here: {done.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True)


@contextmanager
def small_disk(point: Path) -> Iterator[Callable[[], None]]:
    """A disk with 64 KiB left; what is yielded makes room."""
    with mounted(point, "-t", "tmpfs", "-o", "size=4m,mode=700", "none"):

        def fill() -> None:
            free = os.statvfs(point)
            ballast = max(free.f_bavail * free.f_bsize - (64 << 10), 0)
            with (point / "ballast").open("ab") as file:
                file.write(bytes(ballast))

        small_disk.fill = fill  # type: ignore[attr-defined]
        yield (point / "ballast").unlink


def fill_up(daemon: Daemon) -> str:
    """One write that there is room for, and one for which there is none; what that is told."""
    daemon.cli("set", "small", "v")
    done = daemon.cli("set", "big", BIG, check=False)
    assert done.returncode == 74, done.stderr
    return done.stderr.decode()


def problems(daemon: Daemon) -> str:
    return " | ".join(daemon.ask("status")["problems"])


def set_aside(daemon: Daemon) -> list[Path]:
    return sorted(daemon.data.glob("scuttled.db.damaged-*Z"))


def life(daemon: Daemon) -> int:
    found: int = daemon.ask("status")["life"]
    return found


# --- full, read-only -----------------------------------------------------------------------------


def test_a_full_disk_refuses_writes_and_nothing_else_until_there_is_room(fleet: Fleet) -> None:
    with small_disk(fleet.directory / "a") as make_room:
        a, b = fleet.chain("a", "b")
        small_disk.fill()  # type: ignore[attr-defined]
        words = fill_up(a)
        assert f"not on disk: {a.data}/scuttled.db: " in words
        assert "database or disk is full" in words
        assert IN_MEMORY in words
        refused = a.cli("set", "refused", "v", check=False)
        assert refused.returncode == 74
        assert b"can't write: " in refused.stderr
        assert b"reads and gossip go on" in refused.stderr
        assert a.cli("get", "refused", check=False).returncode == 1
        assert a.cli("status", "--check", check=False).returncode == 1
        assert f"the disk fails: {a.data}/scuttled.db: database or disk is full" in problems(a)
        assert a.text("get", "small") == "v"
        b.cli("set", "from-b", "v")
        a.wait("--key", "from-b=v")
        b.wait("--key", "big")  # what was not saved is passed on, and marked as such
        make_room()
        until(lambda: not problems(a), "the disk to take writes")
        a.cli("set", "refused", "now")
        b.wait("--key", "refused=now")
        assert a.log().count("users' writes are refused") == 1
        assert a.log().count(AGAIN) == 1
        a.kill9()
        a.start()
        assert life(a) == 1, "all was saved, so nothing is forgotten"
        assert a.text("get", "big") == BIG
        assert a.text("get", "from-b") == "v"
        a.stop()


def test_a_daemon_that_ends_on_a_full_disk_gets_back_what_it_passed_on(fleet: Fleet) -> None:
    with small_disk(fleet.directory / "a") as make_room:
        a, b = fleet.chain("a", "b")
        small_disk.fill()  # type: ignore[attr-defined]
        assert IN_MEMORY in fill_up(a)
        b.wait("--key", "big")
        assert a.stop() == 74
        assert "database or disk is full: 1 updates are not on disk" in a.log()
        make_room()
        a.start()
        assert life(a) >= 1 << 31
        assert "passed on updates that it could not save" in a.log()
        a.cli("set", "new", "v")
        a.wait("--peers", "1", "--synced")
        assert a.text("get", "big") == BIG
        assert a.state() == b.state()
        a.stop()


def test_on_a_read_only_file_system_it_does_not_start_and_nothing_is_set_aside(
    fleet: Fleet,
) -> None:
    point = fleet.directory / "a"
    with mounted(point, "-t", "tmpfs", "-o", "mode=700", "none"):
        a, b = fleet.chain("a", "b")
        a.cli("set", "before", "v")
        a.stop()
        subprocess.run(["mount", "-o", "remount,ro", str(point)], check=True)
        a.start(wait=False)
        assert a.ended() in (73, 74)
        assert f"can't use the state directory {a.data}" in a.log()
        assert "ead-only" in a.log()
        subprocess.run(["mount", "-o", "remount,rw", str(point)], check=True)
        a.start()
        assert a.text("get", "before") == "v"
        assert set_aside(a) == []
        assert life(a) == 1
        b.stop()
        a.stop()


def test_a_database_that_may_not_be_written_is_named_and_not_set_aside(fleet: Fleet) -> None:
    """Nothing is forbidden to root; so it runs without the rights that make it root."""
    a = fleet.daemon("a")
    a.cli("set", "before", "v")
    a.stop()
    database = a.data / "scuttled.db"
    database.chmod(0o400)
    a.prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    a.prefix += ["--inh-caps", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    a.start(wait=False)
    assert a.ended() == 74
    assert f"{database}: attempt to write a readonly database" in a.log()
    database.chmod(0o000)
    a.start(wait=False)
    assert a.ended() == 74
    assert f"can't open {database}: unable to open database file" in a.log()
    a.data.chmod(0o000)
    a.start(wait=False)
    assert a.ended() == 73
    assert f"can't use the state directory {a.data}: Permission denied" in a.log()
    a.data.chmod(0o700)
    for path in a.data.glob("scuttled.db*"):  # SQLite gives the others the database's mode
        path.chmod(0o600)
    a.start()
    assert a.text("get", "before") == "v"
    assert (life(a), set_aside(a)) == (1, [])


# --- damaged -------------------------------------------------------------------------------------


def garble(path: Path) -> None:
    """In place, as a disk or a program gone mad would."""
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(path.stat().st_size))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.rindex(b"key/7") + 10] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [garble, cut, flip_a_bit])
def test_a_database_that_was_damaged_is_set_aside_and_the_state_fetched_anew(
    fleet: Fleet, harm: Callable[[Path], None]
) -> None:
    a, b = fleet.chain("a", "b")
    node = a.ask("status")["node"]
    pairs = "".join(f"key/{number}\tvalue {number}\n" for number in range(2000))
    a.cli("import", "--tsv", "-", stdin=pairs.encode())
    b.wait("--peers", "1", "--synced")
    a.stop()
    harm(a.data / "scuttled.db")
    a.start()
    (aside,) = set_aside(a)
    assert f"it was set aside as {aside}; this node begins anew as life" in a.log()
    assert "Traceback" not in a.log()
    a.cli("set", "key/5", "new")  # before it has met a peer, maybe
    a.wait("--peers", "1", "--synced")
    b.wait("--key", "key/5=new")
    assert len(a.state()) == 2000
    assert a.state() == b.state()
    assert (a.ask("status")["node"], life(a) >= 1 << 31) == (node, True)
    before = life(a)
    a.restart()
    assert (life(a), len(a.state())) == (before, 2000)


def test_a_database_that_is_damaged_while_it_runs_is_saved_anew_from_memory(fleet: Fleet) -> None:
    a, b = fleet.chain("a", "b")
    pairs = "".join(f"key/{number}\t{'x' * 500}\n" for number in range(40_000))
    a.cli("import", "--tsv", "-", stdin=pairs.encode())
    database = a.data / "scuttled.db"
    until(lambda: database.stat().st_size > 10 << 20, "a checkpoint")
    garble(database)
    more = "".join(f"key/{number}\t{'y' * 500}\n" for number in range(0, 40_000, 2))
    a.cli("import", "--tsv", "-", stdin=more.encode())
    until(lambda: set_aside(a), "the damage to be noticed")
    until(lambda: "all that is in memory is saved anew" in a.log(), "a word about it")
    a.cli("set", "after", "v")
    b.wait("--key", "after=v")
    a.wait("--peers", "1", "--synced")
    a.kill9()
    a.start()
    assert a.text("get", "after") == "v"
    a.wait("--peers", "1", "--synced")
    assert len(a.state()) == 40_001
    assert a.state() == b.state()
    assert len(set_aside(a)) == 1
    assert "Traceback" not in a.log()


# --- restored ------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True])
def test_a_backup_that_is_restored_and_written_to_before_it_meets_a_peer(
    fleet: Fleet, in_place: bool
) -> None:
    a, b = fleet.chain("a", "b")
    a.cli("set", "old", "v")
    a.stop()
    backup = fleet.directory / "backup"
    shutil.copytree(a.data, backup)
    a.start()
    for number in range(20):
        a.cli("set", f"forgotten/{number}", "v")
    b.wait("--peers", "1", "--synced")
    a.kill9()
    b.stop()
    if not in_place:
        shutil.rmtree(a.data)
    shutil.copytree(backup, a.data, dirs_exist_ok=True)
    if in_place:  # whoever puts a backup back has the write-ahead log of another time removed
        for suffix in ("-wal", "-shm"):
            (a.data / f"scuttled.db{suffix}").unlink(missing_ok=True)
    a.start()
    assert "the state directory was copied or restored from a backup" in a.log()
    a.cli("set", "new", "v")
    b.start()
    b.wait("--peers", "1", "--synced", timeout_s=PATIENCE_S)
    a.wait("--key", "forgotten/19")
    b.wait("--key", "new=v")
    assert a.state() == b.state()
    assert len(a.state()) == 22
