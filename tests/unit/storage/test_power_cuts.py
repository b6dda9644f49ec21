"""The power goes while a node writes: what is on disk then is what was acknowledged, or is known
not to be.

A process writes through the real storage and says what is acknowledged. It is stopped at random
instants, and its files are copied as they are: that is what a kill leaves. A power cut leaves
less: of what was not synced, any part and any page may be missing. Where the disk was told to
sync, at `full` with every transaction, nothing that was acknowledged is.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.scenes import default, node_id, values, write
from support.stores import RNG, begun, kept

from scuttled.storage.storage import FILE, Damaged, Identity, Storage

WRITER = """
import random, sys
from pathlib import Path
from support.scenes import default, write
from support.stores import begun, kept
import scuttled.storage.storage
scuttled.storage.storage.CHECKPOINT_BYTES = 200_000
storage = scuttled.storage.storage.Storage(Path(sys.argv[1]), sys.argv[2])
storage.begin("before", random.Random(1).getrandbits)
node = begun(storage)
n = 0
while True:
    for _ in range(n % 7 + 1):
        n += 1
        write(node, f"k{n % 300}", str(n))
    kept(node, storage)
    print(n, flush=True)
    if storage.wants_checkpoint:
        folding = Path(sys.argv[1], "folding")
        folding.touch()
        storage.checkpoint()
        if n % 2:
            storage.empty_log()
        folding.unlink()
"""
PAGE = 4096
CUTS = 6
TESTS = Path(__file__).parents[2]


@contextmanager
def writing(directory: Path, sync: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), sync],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def instants(directory: Path, sync: str, rng: random.Random) -> Iterator[tuple[int, Path]]:
    """Copies of the state at random instants, each with the last write acknowledged before."""
    with writing(directory, sync) as process:
        assert process.stdout is not None
        for number in range(CUTS):
            for _ in range(rng.randrange(5, 120)):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            copy = directory.with_name(f"copy{number}")
            shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("*-shm"))
            process.send_signal(signal.SIGCONT)
            yield acknowledged, copy


def lose(copy: Path, rng: random.Random) -> None:
    """What was not synced since the log was last folded in: its tail, or any pages of it."""
    wal = copy / f"{FILE}-wal"
    if not wal.exists() or (copy / "folding").exists():
        return  # before it is folded in, the log is synced
    data = bytearray(wal.read_bytes())
    if rng.random() < 0.5:
        del data[rng.randrange(len(data) + 1) :]
    for _ in range(rng.randrange(4)):
        page = rng.randrange(len(data) // PAGE + 1) * PAGE
        data[page : page + PAGE] = bytes(len(data[page : page + PAGE]))
    wal.write_bytes(data)


def check_sane(held: dict[str, str], last: int) -> None:
    """What is there was written, and is the state of one instant up to the last write."""
    for key, value in held.items():
        assert int(value) % 300 == int(key[1:])
    newest = max(map(int, held.values()), default=0)
    assert {key: int(value) for key, value in held.items()} == {
        f"k{n % 300}": n for n in range(max(1, newest - 299), newest + 1)
    }
    assert newest >= last


def test_at_full_what_was_acknowledged_is_there_after_a_power_cut(tmp_path: Path) -> None:
    for acknowledged, copy in instants(tmp_path / "state", "full", random.Random(1)):
        storage = Storage(copy, "full")
        assert not storage.may_have_forgotten("after")
        check_sane(values(default(begun(storage))), acknowledged)
        storage.close()


def test_after_a_kill_what_was_acknowledged_is_there_at_any_level(tmp_path: Path) -> None:
    for acknowledged, copy in instants(tmp_path / "state", "off", random.Random(2)):
        storage = Storage(copy, "off")
        assert not storage.may_have_forgotten("before"), "the machine was not started anew"
        check_sane(values(default(begun(storage))), acknowledged)
        storage.close()


@pytest.mark.parametrize("sync", ["normal", "off"])
def test_where_not_every_write_is_synced_a_power_cut_begins_a_new_life(
    tmp_path: Path, sync: str
) -> None:
    """What is left is the state of one instant: never a value from nowhere."""
    rng = random.Random(3)
    for _, copy in instants(tmp_path / "state", sync, rng):
        lose(copy, rng)
        storage = Storage(copy, sync)
        assert not storage.damage
        assert storage.may_have_forgotten("after")
        check_sane(values(default(begun(storage))), 0)
        storage._meta.pop("places")  # the test's copy is none to the node
        begun_as = storage.begin("after", RNG.getrandbits)
        assert begun_as.identity.life == 2
        assert "the machine was cut off" in begun_as.warnings[0]
        storage.close()


def test_a_database_whose_pages_were_not_written_either_loads_or_is_set_aside(
    tmp_path: Path,
) -> None:
    """`off` never syncs: pages of the database itself may be those of before, or zeros."""
    rng = random.Random(4)
    before: bytes | None = None
    for _, copy in instants(tmp_path / "state", "off", rng):
        lose(copy, rng)
        data = bytearray((copy / FILE).read_bytes())
        old = before or bytes(len(data))
        before = bytes(data)
        for _ in range(rng.randrange(1, 4)):
            page = rng.randrange(len(data) // PAGE + 1) * PAGE
            data[page : page + PAGE] = old[page : page + PAGE]
        (copy / FILE).write_bytes(data)
        storage = Storage(copy, "off")
        try:
            held = {r[9:] for model in storage.load() for r in model.records}
            assert all(record for record in held)
        except Damaged as found:
            storage.begin_anew(found, 0, Identity(node_id(1), 2))
            assert list(storage.load()) == []
        storage.close()


@pytest.mark.parametrize("sync", ["normal", "off"])
def test_that_a_daemon_runs_is_synced_before_anything_it_writes(tmp_path: Path, sync: str) -> None:
    """Else a power cut takes the note together with the writes, and the last stop looks clean."""
    first = Storage(tmp_path / "state", sync)
    first.begin("first", RNG.getrandbits)
    first.close()
    storage, said = Storage(tmp_path / "state", sync), list[str]()
    assert storage._db is not None
    storage._db.db.set_trace_callback(said.append)
    storage.begin("second", RNG.getrandbits)
    level, levels = sync, set()
    for statement in said:
        if statement.startswith("PRAGMA synchronous = "):
            level = statement.rpartition(" ")[2]
        elif statement == "COMMIT":
            levels.add(level)
    assert levels == {"full"}
    assert level == sync, "what follows is at the level that was asked for"
    synced = (tmp_path / "state" / f"{FILE}-wal").stat().st_size
    write(node := begun(storage), "k", "1")
    kept(node, storage)
    lost = shutil.copytree(
        tmp_path / "state", tmp_path / "lost", ignore=shutil.ignore_patterns("*-shm")
    )
    os.truncate(lost / f"{FILE}-wal", synced)
    after = Storage(lost, sync)
    assert after.may_have_forgotten("third")
    after.close()
    storage.close()
