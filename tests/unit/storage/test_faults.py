"""What a state directory may come to: older, damaged, copied, lost, on a disk that fails."""

import os
import random
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from support.scenes import NOW, TICKS, WALL, a_node, default, node_id, record, source, state, write
from support.stores import RNG, begun, kept, opened

from scuttled.errors import StorageError
from scuttled.node.durability import HLC_AHEAD_TICKS
from scuttled.node.node import Node, NodeSettings
from scuttled.replica.hlc import Author
from scuttled.replica.update import TIMESTAMP_MAX, make_source, stamp
from scuttled.runtime.environment import Environment
from scuttled.storage import schema
from scuttled.storage.directory import LOCK
from scuttled.storage.flusher import Flusher
from scuttled.storage.storage import (
    FILE,
    RANDOM_LIFE,
    Batch,
    Begun,
    Damaged,
    Identity,
    ModelBatch,
    Storage,
    another_life,
)

SCHEMA_1 = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE models(id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, type TEXT NOT NULL);
CREATE TABLE sources(id INTEGER PRIMARY KEY, source BLOB UNIQUE NOT NULL);
CREATE TABLE clocks(model INTEGER, source INTEGER, time INTEGER NOT NULL,
    PRIMARY KEY(model, source)) WITHOUT ROWID;
CREATE TABLE entries(place INTEGER PRIMARY KEY, source INTEGER NOT NULL, record BLOB NOT NULL);
PRAGMA user_version = 1;
"""
ME = node_id(1)
EVER = stamp(TIMESTAMP_MAX)


def of_schema_1(directory: Path) -> Node:
    """A state directory as the first scuttled left it; the node that it holds."""
    node = a_node(1)
    for n in range(200):
        write(node, f"k{n}", "x" * n)
    directory.mkdir(exist_ok=True)
    db = sqlite3.connect(directory / FILE)
    db.executescript("PRAGMA journal_mode = WAL;" + SCHEMA_1)
    rows = [("node_id", ME), ("life", 3), ("run", ""), ("run_sync", "normal")]
    db.executemany("INSERT INTO meta VALUES(?, ?)", rows)
    db.execute("INSERT INTO sources VALUES(1, ?)", (source(1),))
    for i, model in enumerate(node.models.values(), 1):
        db.execute("INSERT INTO models VALUES(?, ?, ?)", (i, model.name, model.data_type))
        piece = model.log.piece(0, model.log.end)
        places = [(i << 43) + at for at in piece.positions]
        entries = list(zip(places, [1] * len(places), piece.records, strict=True))
        db.executemany("INSERT INTO entries VALUES(?, ?, ?)", entries)
        db.execute("INSERT INTO clocks VALUES(?, 1, ?)", (i, model.clock[source(1)]))
    db.commit()
    db.close()
    return node


def begin(storage: Storage, boot: str = "boot") -> Begun:
    return storage.begin(boot, RNG.getrandbits)


def run(directory: Path, boot: str = "boot", *, close: bool = True) -> Begun:
    """A daemon that comes up there; ended by a kill unless it is closed."""
    storage = Storage(directory, "normal", WALL)
    found = begin(storage, boot)
    list(storage.load())
    if close:
        storage.close()
    else:
        storage._abandon()
        storage.directory.close()
    return found


# --- an older database ---------------------------------------------------------------------------


def test_a_database_of_schema_1_becomes_one_of_today_with_all_that_it_held(tmp_path: Path) -> None:
    was = of_schema_1(tmp_path)
    storage = Storage(tmp_path, "normal")
    assert begin(storage) == Begun(Identity(ME, 3), []), "an upgrade is no copy"
    held = begun(storage)
    assert state(default(held)) == state(default(was))
    write(held, "more")
    kept(held, storage)
    storage.close()
    again = Storage(tmp_path, "normal")
    assert default(begun(again)).count == 201
    assert next(iter(again.load())).floor == {}
    again.close()


def test_a_kill_in_the_middle_of_a_migration_leaves_schema_1_whole(tmp_path: Path) -> None:
    was = of_schema_1(tmp_path)
    pid = os.fork()
    if pid == 0:
        count = iter(range(100))
        check = schema.entry_crc

        def cut(*row: object) -> int:
            if next(count, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return check(*row)  # type: ignore[arg-type]

        cut.__name__ = "entry_crc"
        schema.entry_crc = cut
        Storage(tmp_path, "normal")
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    db = sqlite3.connect(tmp_path / FILE)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert len(db.execute("SELECT place, source, record FROM entries").fetchall()) == 201
    assert len(db.execute("PRAGMA table_info(entries)").fetchall()) == 3
    db.close()
    storage = Storage(tmp_path, "normal")
    assert state(default(begun(storage))) == state(default(was))
    storage.close()


# --- what is new in a transaction ----------------------------------------------------------------


def test_a_floor_is_kept_and_rises(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    for time in (5, 9):
        floor = [(source(1), time)]
        storage.write(Batch([ModelBatch("m", "map", [], [], [], 0, 0, floor)], 1))
    (saved,) = storage.load()
    assert (saved.floor, saved.clock) == ({source(1): 9}, {})
    storage.close()


def test_a_batch_that_replaces_leaves_nothing_of_that_model_but_itself(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    one, two = source(1), source(2)
    rows: list[tuple[int, bytes, bytes | None]] = [(at, one, b"old" * 5) for at in range(9)]
    old = ModelBatch("m", "map", rows, [], [(one, 5)], 9, 1, [(one, 2)])  # type: ignore[arg-type]
    other = old._replace(name="other")
    storage.write(Batch([old, other], 1))
    new = ModelBatch("m", "map", [(9, two, b"new" * 5)], [], [(two, 7)], 10, 2, [(two, 1)], True)
    storage.write(Batch([new], 1))
    first, second = storage.load()
    assert (first.positions, first.records) == ([9], [b"new" * 5])
    assert (first.clock, first.floor) == ({two: 7}, {two: 1})
    assert len(second.positions) == 9
    storage.close()


def test_the_hlc_is_on_disk_ahead_of_its_use_and_exact_after_a_clean_stop(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    node = begun(storage)
    update = write(node, "k")
    batch = node.durability.unsaved(clocks=False)
    assert batch is not None
    assert batch.hlc == update.timestamp + HLC_AHEAD_TICKS
    storage.write(batch)
    node.saved(batch)
    write(node, "k2")
    batch = node.durability.unsaved(clocks=False)
    assert batch is not None
    assert batch.hlc == 0, "about once a second"
    storage.write(batch)
    node.saved(batch)
    identity = storage.identity()
    assert identity is not None
    assert identity.last == update.timestamp + HLC_AHEAD_TICKS
    storage.close(node.author.hlc.last)
    storage = opened(tmp_path)
    assert storage.identity() == Identity(ME, 1, node.author.hlc.last)
    storage.close()


def test_what_was_deleted_and_collected_does_not_set_the_clock_back(tmp_path: Path) -> None:
    """The hlc rises with what is accepted; after a restart it is where it was."""
    author = Author(ME, 1, TICKS + 500)
    node = Node(author, NodeSettings("n1", "test", b"12345678"), stored=True)
    node.begin((), WALL - 1000)
    assert write(node, "k", wall_ms=WALL - 1000).timestamp > TICKS + 500


# --- who it is -----------------------------------------------------------------------------------


def test_the_identity_beside_a_database_that_is_gone_is_gone_on_from(tmp_path: Path) -> None:
    me = run(tmp_path).identity
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"{FILE}{suffix}").unlink(missing_ok=True)
    after = run(tmp_path)
    assert after.identity.node_id == me.node_id
    assert after.identity.life >= RANDOM_LIFE
    assert "the database of this node is gone" in after.warnings[0]


def test_a_database_that_was_cut_to_nothing_is_a_database_that_is_gone(tmp_path: Path) -> None:
    me = run(tmp_path).identity
    (tmp_path / FILE).write_bytes(b"")
    after = run(tmp_path).identity
    assert (after.node_id, after.life >= RANDOM_LIFE) == (me.node_id, True)


@pytest.mark.parametrize("left", [b"", b"garbage", b"\xff\xfe", None])
def test_without_the_file_the_database_knows_who_it_is(tmp_path: Path, left: bytes | None) -> None:
    me = run(tmp_path).identity
    (tmp_path / "identity").unlink()
    if left is not None:
        (tmp_path / "identity").write_bytes(left)
    assert run(tmp_path) == Begun(me, [])
    assert ME.hex() not in (tmp_path / "identity").read_text()
    assert me.node_id.hex() in (tmp_path / "identity").read_text()


def test_of_two_that_differ_the_later_life_counts(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    begin(storage)
    storage.directory.write_identity(Identity(ME, 5))
    assert storage.identity() == Identity(ME, 5)
    storage._note({"life": 7})
    assert storage.identity() == Identity(ME, 7)
    storage.close()


def test_a_new_life_is_beside_the_database_before_it_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened(tmp_path)
    node = begun(storage)
    kept(node, storage)
    node.peer_clock(default(node), {node.author.source: TICKS + 1}, NOW)
    (tmp_path / "identity.new").mkdir()
    batch = node.durability.unsaved(clocks=True)
    assert batch is not None
    with pytest.raises(StorageError, match=r"can't write .*identity: Is a directory"):
        storage.write(batch)
    (tmp_path / "identity.new").rmdir()
    storage.write(batch)
    beside = storage.directory.read_identity()
    assert beside is not None
    assert beside.life == 2
    storage.close()


# --- a copy --------------------------------------------------------------------------------------


def test_a_directory_that_was_moved_or_started_again_is_no_copy(tmp_path: Path) -> None:
    me = run(tmp_path / "state").identity
    assert run(tmp_path / "state", close=False) == Begun(me, [])
    (tmp_path / "state").rename(tmp_path / "moved")
    assert run(tmp_path / "moved") == Begun(me, [])


def test_a_copy_goes_on_under_a_life_that_nobody_else_has(tmp_path: Path) -> None:
    me = run(tmp_path / "state").identity
    lives = {me.life}
    for name in ("one", "two"):
        shutil.copytree(tmp_path / "state", tmp_path / name)
        copy = run(tmp_path / name)
        assert copy.identity.node_id == me.node_id
        assert copy.identity.life >= RANDOM_LIFE
        (words,) = copy.warnings
        assert "the state directory was copied or restored from a backup: going on as" in words
        lives.add(copy.identity.life)
        assert run(tmp_path / name) == Begun(copy.identity, [])
    assert len(lives) == 3
    assert run(tmp_path / "state") == Begun(me, [])


def test_a_backup_that_is_put_back_is_noticed_even_if_files_are_overwritten_in_place(
    tmp_path: Path,
) -> None:
    run(tmp_path / "state")
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    run(tmp_path / "state")
    shutil.copytree(tmp_path / "backup", tmp_path / "state", dirs_exist_ok=True)
    assert run(tmp_path / "state").identity.life >= RANDOM_LIFE


def test_a_single_file_that_is_put_back_is_noticed(tmp_path: Path) -> None:
    run(tmp_path / "state")
    shutil.copy2(tmp_path / "state" / FILE, tmp_path / "backup")
    run(tmp_path / "state")
    os.replace(tmp_path / "backup", tmp_path / "state" / FILE)
    assert run(tmp_path / "state").identity.life >= RANDOM_LIFE


def test_a_random_life_is_another_one_and_leaves_room_to_count_on() -> None:
    draws = iter([5, 5, 7])
    life = another_life(1, lambda bits: next(draws))
    assert life == RANDOM_LIFE + 5
    assert another_life(life, lambda bits: next(draws)) == RANDOM_LIFE + 7
    most = another_life(1, lambda bits: (1 << bits) - 1)
    assert make_source(ME, most + (1 << 30))


def test_a_mark_that_was_left_means_that_something_may_be_forgotten(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    me = begin(storage).identity
    storage.mark()
    storage.close()
    after = run(tmp_path)
    assert after.identity.life >= RANDOM_LIFE
    assert "passed on updates that it could not save" in after.warnings[0]
    assert after.identity.node_id == me.node_id
    assert run(tmp_path) == Begun(after.identity, [])


def test_a_mark_that_was_cleared_means_nothing(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    me = begin(storage).identity
    storage.mark()
    storage.unmark()
    storage.close()
    assert run(tmp_path) == Begun(me, [])


# --- damage --------------------------------------------------------------------------------------


def filled(directory: Path, keys: int = 300) -> Identity:
    storage = Storage(directory, "normal", WALL)
    identity = begin(storage).identity
    node = begun(storage)
    for n in range(keys):
        write(node, f"key{n}", f"value{n}" * 5)
    kept(node, storage)
    storage.close()
    return identity


def test_a_file_that_is_no_database_is_set_aside_and_the_node_lives_anew(tmp_path: Path) -> None:
    me = filled(tmp_path)
    (tmp_path / FILE).write_bytes(random.Random(1).randbytes(50_000))
    for number in range(2):
        storage = Storage(tmp_path, "normal", WALL)
        suffix = ".2" if number else ""
        aside = tmp_path / f"{FILE}.damaged-20231114T221320Z{suffix}"
        assert storage.damage.endswith(f"file is not a database: it was set aside as {aside}")
        assert aside.stat().st_size == 50_000
        after = begin(storage)
        assert after.identity.node_id == me.node_id
        assert after.identity.life >= RANDOM_LIFE
        assert list(storage.load()) == []
        storage.close()
        (tmp_path / FILE).write_bytes(random.Random(1).randbytes(50_000))


def test_with_the_identity_gone_too_it_is_a_new_node(tmp_path: Path) -> None:
    me = filled(tmp_path)
    (tmp_path / FILE).write_bytes(b"x" * 5000)
    (tmp_path / "identity").unlink()
    after = run(tmp_path).identity
    assert after.node_id != me.node_id
    assert after.life >= RANDOM_LIFE


@pytest.mark.parametrize("what", ["a value", "its source", "its clock", "its type", "its life"])
def test_a_flipped_bit_is_found(tmp_path: Path, what: str) -> None:
    filled(tmp_path)
    db = sqlite3.connect(tmp_path / FILE)
    flipped = {
        "a value": "UPDATE entries SET record = CAST(substr(record, 1, 12) || x'58' || "
        "substr(record, 14) AS BLOB) WHERE place = (SELECT max(place) FROM entries)",
        "its source": "UPDATE sources SET source = CAST(x'09' || substr(source, 2) AS BLOB)",
        "its clock": "UPDATE clocks SET time = time + 4096",
        "its type": "UPDATE models SET type = 'mbp' WHERE id = 1",
        "its life": "UPDATE meta SET value = 33 WHERE key = 'life'",
    }
    db.execute(flipped[what])
    db.commit()
    db.close()
    try:
        storage = Storage(tmp_path, "normal", WALL)
    except Damaged:
        raise AssertionError("the constructor sets aside by itself") from None
    if not storage.damage:
        with pytest.raises(Damaged, match="not what was saved"):
            list(storage.load())
    storage.close()


def test_a_row_that_is_gone_is_missed(tmp_path: Path) -> None:
    filled(tmp_path)
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("DELETE FROM entries WHERE place = (SELECT max(place) FROM entries)")
    db.commit()
    db.close()
    storage = Storage(tmp_path, "normal", WALL)
    with pytest.raises(Damaged, match="rows of model"):
        list(storage.load())
    storage.close()


def test_whatever_bit_flips_the_state_is_what_was_saved_or_is_set_aside(tmp_path: Path) -> None:
    """Any bit of the file, and pages that are swapped, cut off or zeroed."""
    filled(tmp_path / "state", 200)
    good = (tmp_path / "state" / FILE).read_bytes()
    storage = Storage(tmp_path / "state", "normal", WALL)
    expected = [(m.name, m.records, m.clock) for m in storage.load()]
    storage.close()
    rng = random.Random(4)
    found, newer = 0, 0
    for number in range(150):
        bad = bytearray(good)
        at = rng.randrange(len(bad))
        match number % 5:
            case 0 | 1 | 2:
                bad[at] ^= 1 << rng.randrange(8)
            case 3:
                del bad[at:]
            case 4:
                page = at // 4096 * 4096
                bad[page : page + 4096] = bytes(4096)
        here = tmp_path / str(number)
        here.mkdir()
        (here / FILE).write_bytes(bad)
        try:
            storage = Storage(here, "normal", WALL)
        except StorageError:
            newer += 1
            continue
        try:
            held = [(m.name, m.records, m.clock) for m in storage.load()]
            if not storage.damage:
                assert held == expected or storage._database.fresh
        except Damaged:
            found += 1
        found += bool(storage.damage)
        storage.close()
        shutil.rmtree(here)
    assert found > 60
    assert newer <= 1, "a flipped bit in the schema's number"


def test_a_database_that_can_not_be_opened_is_not_damaged(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    with pytest.raises(StorageError, match=r"can't open .*scuttled\.db: unable to open") as caught:
        Storage(tmp_path, "normal", WALL)
    assert not isinstance(caught.value, Damaged)
    assert [p.name for p in tmp_path.iterdir() if "damaged" in p.name] == []


def test_while_it_runs_a_damaged_database_is_replaced_by_all_that_is_in_memory(
    tmp_path: Path,
) -> None:
    storage = Storage(tmp_path, "normal", WALL)
    begin(storage)
    node = begun(storage)
    for n in range(5000):
        write(node, f"k{n}")
    kept(node, storage)
    life = another_life(node.author.life, RNG.getrandbits)
    storage.begin_anew(Damaged("it is malformed"), WALL, Identity(ME, life))
    node.begin_anew(life, WALL)
    assert default(node).log.visible == 0
    write(node, "more")
    kept(node, storage)
    assert default(node).log.visible == default(node).log.end
    held = state(default(node))
    storage.close(node.author.hlc.last)
    again = Storage(tmp_path, "normal", WALL)
    assert begin(again).identity == Identity(ME, life, node.author.hlc.last)
    assert state(default(begun(again))) == held
    again.close()


# --- loading, and the write-ahead log ------------------------------------------------------------


def test_loading_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scuttled.storage.database.LOAD_ROWS", 500)
    filled(tmp_path, 3000)
    storage = Storage(tmp_path, "normal", WALL)
    told: list[tuple[int, int]] = []
    list(storage.load(lambda rows, about: told.append((rows, about))))
    storage.close()
    assert [rows for rows, _ in told][:6] == [500, 1000, 1500, 2000, 2500, 3000]
    assert all(rows <= about < 3 * 3001 for rows, about in told)


def test_a_start_that_fails_does_not_make_the_next_one_take_its_state_for_a_copy(
    tmp_path: Path,
) -> None:
    me = run(tmp_path).identity
    storage = Storage(tmp_path, "normal", WALL)
    storage.directory.close()
    storage._abandon()
    (tmp_path / "identity.new").mkdir()
    storage = Storage(tmp_path, "normal", WALL)
    with pytest.raises(StorageError, match="identity"):
        begin(storage)
    storage.close()
    (tmp_path / "identity.new").rmdir()
    assert run(tmp_path) == Begun(me, [])


# --- the write-ahead log -------------------------------------------------------------------------


def test_the_write_ahead_log_stays_bounded_under_constant_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that stops nobody never empties a log that is written to all the time."""
    limit = 1 << 20
    monkeypatch.setattr("scuttled.storage.storage.CHECKPOINT_BYTES", limit)
    storage = Storage(tmp_path, "off", WALL)
    begin(storage)
    node = begun(storage)
    most = []

    async def write_on() -> None:
        saving = Flusher(node, storage, Environment())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(saving.keep_saving)
            nursery.start_soon(saving.keep_checkpointing)
            for n in range(2500):
                for k in range(4):
                    write(node, f"k{n % 500}/{k}", "x" * 1000)
                await trio.lowlevel.checkpoint()
                most.append(storage._database.wal_bytes)
            nursery.cancel_scope.cancel()

    monkeypatch.setattr("scuttled.storage.flusher.CHECKPOINT_S", 0.01)
    trio.run(write_on)
    # writers wait from 3 times the limit on; a batch may be under way, here of 2 to 3 MiB
    assert max(most) < 6 * limit
    storage.close()


async def test_without_a_mark_on_disk_nothing_unsaved_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path, "off", WALL)
    begin(storage)
    node = begun(storage)
    failing = StorageError("can't write x: read-only file system")
    saves = []

    def fail(self: Storage, *_: object) -> None:
        saves.append(trio.current_time())
        raise failing

    whole = Storage.write, Storage.mark
    monkeypatch.setattr(Storage, "write", fail)
    monkeypatch.setattr(Storage, "mark", fail)
    saving = Flusher(node, storage, Environment())
    log = default(node).log
    async with trio.open_nursery() as nursery:
        nursery.start_soon(saving.keep_saving)
        nursery.start_soon(saving.keep_saving_clocks)
        write(node, "k")
        await trio.sleep(1)
        assert node.durability.failing == "x: read-only file system"
        assert (node.durability.adrift, log.visible, log.end) == (False, 0, 1)
        monkeypatch.setattr(Storage, "mark", whole[1])
        await trio.sleep(1.5)
        assert (node.durability.adrift, log.visible, log.durable) == (True, 1, 0)
        assert storage.marked
        await trio.sleep(20)
        assert len(saves) < 35, "backs off to a second"
        monkeypatch.setattr(Storage, "write", whole[0])
        await trio.sleep(1.5)
        assert (node.durability.failing, node.durability.adrift, log.durable) == ("", False, 1)
        assert not storage.marked
        nursery.cancel_scope.cancel()
    storage.close()


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM clocks", "DELETE FROM models WHERE name = '_members'", "DELETE FROM floors",
     "DELETE FROM meta WHERE key = 'run_sync'"],
    ids=["clock", "model", "floor", "meta"],
)  # fmt: skip
def test_a_row_of_the_small_tables_that_is_gone_is_missed(tmp_path: Path, statement: str) -> None:
    """No check of a row tells that it is not there. Without a floor deletions would be undone."""
    filled(tmp_path)
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("INSERT INTO floors SELECT model, source, 1, 0 FROM clocks LIMIT 1")
    counts = "SELECT count(*) FROM {}"
    known = [
        db.execute(counts.format(t)).fetchone()[0] for t in ("meta", "models", "clocks", "floors")
    ]
    text = " ".join(map(str, known))
    db.execute(
        "UPDATE meta SET value = ?, crc = ? WHERE key = 'counted'",
        (text, schema.meta_crc("counted", text)),
    )
    db.execute(statement)
    db.commit()
    db.close()
    storage = Storage(tmp_path, "normal", WALL)
    assert "some rows that were saved are not there" in storage.damage
    storage.close()


def test_a_table_whose_name_is_no_text_any_more_is_damage(tmp_path: Path) -> None:
    """What sqlite says of it is no text either, and can't be read by Python."""
    filled(tmp_path)
    path = tmp_path / FILE
    data = path.read_bytes()
    path.write_bytes(data.replace(b"tablemodelsmodels", b"tablemodel\xff\xff\xffdels"))
    storage = Storage(tmp_path, "normal", WALL)
    assert "a table is not what was saved" in storage.damage
    storage.close()


class LateError:
    """A connection whose next COMMIT is made, and fails all the same: the disk came too late."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._fails = True

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        done = self._db.execute(statement, *values)  # type: ignore[arg-type]
        if statement == "COMMIT" and self._fails:
            self._fails = False
            raise sqlite3.OperationalError("disk I/O error")
        return done

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)


def test_a_write_that_failed_and_is_there_all_the_same_is_written_once(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    begin(storage)
    node = begun(storage)
    write(node, "first")
    kept(node, storage)
    write(node, "first", "again")
    default(node).receive([(source(7), [record("new source", TICKS)])], EVER)
    node.create("another", "log")
    node.accepted(default(node))
    batch = node.durability.unsaved(clocks=True)
    assert batch is not None
    database = storage._database
    database.db = LateError(database.db)  # type: ignore[assignment]
    with pytest.raises(StorageError, match="disk I/O error"):
        storage.write(batch)
    kept(node, storage)
    storage.close()
    again = opened(tmp_path)
    held = begun(again)
    assert state(default(held)) == state(default(node))
    assert held.models.keys() == node.models.keys()
    again.close()


def test_a_marked_run_is_not_taken_for_whole_even_if_the_mark_is_lost(tmp_path: Path) -> None:
    """To mark changes the lock, of which the database notes what it was. So `close` might as well
    note a clean stop of a marked run: nobody would ever see the difference."""
    storage = opened(tmp_path)
    begin(storage)
    storage.mark()
    storage.close()
    lock = tmp_path / LOCK
    assert b"!" in lock.read_bytes()
    lock.write_bytes(lock.read_bytes().replace(b"!", b"-"))
    assert run(tmp_path).identity.life >= RANDOM_LIFE
