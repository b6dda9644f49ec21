import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    NOW,
    TICKS,
    WALL,
    a_node,
    default,
    entries,
    examples,
    node_id,
    put,
    save,
    source,
    state,
    write,
)
from support.stores import ME, RNG, begun, kept, opened

from scuttled.errors import CantCreate, StorageError
from scuttled.node.node import DEFAULT_MODEL
from scuttled.replica.change import TEXT
from scuttled.simulation.nodes import MemoryDisk
from scuttled.storage.directory import PEERS_BYTES_MAX
from scuttled.storage.storage import FILE, SCHEMA, Batch, Identity, ModelBatch, Storage


def as_after_a_kill(storage: Storage, to: Path) -> Storage:
    """What is on disk at this instant, opened as a daemon would that starts again."""
    shutil.copytree(storage.path.parent, to)
    return opened(to)


def rows(storage: Storage) -> list[tuple[int, bytes]]:
    found = storage._database.db.execute("SELECT place, record FROM entries ORDER BY place")
    return [(place & ((1 << 43) - 1), record) for place, record in found]


# --- the same after a restart --------------------------------------------------------------------


def test_a_new_directory_belongs_to_nobody(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "new" / "deeper", "normal")
    assert storage.identity() is None
    assert list(storage.load()) == []
    storage.adopt(ME)
    storage.close()
    again = Storage(tmp_path / "new" / "deeper", "normal")
    assert again.identity() == ME
    again.close()


def test_what_was_saved_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    node = begun(storage)
    for n in range(100):
        write(node, f"k{n}", "x" * n)
    default(node).discard("k5", WALL)
    default(node).put("ttl", TEXT, b"v", WALL, ttl_ms=100)
    model = node.model_to_write("other", "map")
    put(model, "k", "of another model")  # type: ignore[arg-type]
    node.accepted(model)
    node.accepted(default(node))
    kept(node, storage)
    storage.close()
    storage = opened(tmp_path)
    again = begun(storage)
    assert list(again.models) == list(node.models)
    for model in again.user_models():
        name = model.name
        assert state(model) == state(node.models[name])
        assert entries(model.log) == entries(node.models[name].log)
        assert model.log.end >= node.models[name].log.end  # no place comes to mean another update
        assert model.is_saved
    assert default(again).count == default(node).count
    storage.close()


@examples(30)
@given(data=st.data())
def test_a_kill_at_any_time_loses_nothing_that_was_saved(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("state")
    storage = opened(directory)
    node = begun(storage)
    saved = state(default(node))
    for step in range(data.draw(st.integers(1, 8))):
        for _ in range(data.draw(st.integers(0, 6))):
            write(node, f"k{data.draw(st.integers(0, 5))}", str(step))
        if data.draw(st.booleans()):
            kept(node, storage)
            saved = state(default(node))
    after = as_after_a_kill(storage, directory / "copy")
    again = begun(after)
    assert state(default(again)) == saved
    kept(again, after)
    assert rows(after)
    after.close()
    storage.close()


def test_a_kill_between_two_batches_leaves_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scuttled.replica.checkpoint.SAVE_ENTRIES_MAX", 4)
    storage = opened(tmp_path / "state")
    node = begun(storage)
    updates = [put(default(node), f"k{n}") for n in range(10)]
    node.accepted(default(node))
    batch = node.durability.unsaved(clocks=True)
    assert batch is not None
    storage.write(batch)
    node.saved(batch)
    after = as_after_a_kill(storage, tmp_path / "copy")
    again = begun(after)
    assert default(again).count == 4
    assert default(again).clock[source(1)] == updates[3].timestamp
    assert write(again, "new", wall_ms=0).timestamp > updates[3].timestamp
    after.close()
    storage.close()


def test_positions_that_became_holes_are_deleted(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    node = begun(storage)
    for n in range(50):
        write(node, "k", str(n))
        kept(node, storage)
    default_rows = [record for _, record in rows(storage) if record.endswith(b"k49")]
    assert len(default_rows) == 1
    assert len(rows(storage)) == 2, "the key and the node's own row of the members"
    storage.close()


def test_a_saved_clock_never_covers_an_unsaved_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each and every transaction."""
    monkeypatch.setattr("scuttled.replica.checkpoint.SAVE_ENTRIES_MAX", 3)
    storage = opened(tmp_path / "state")
    node = begun(storage)
    history = []
    for n in range(12):
        for key in range(n % 5 + 1):
            history.append(put(default(node), f"k{key}", str(n)))
        node.accepted(default(node))
        batch = node.durability.unsaved(clocks=n % 3 == 0)
        assert batch is not None
        storage.write(batch)
        after = as_after_a_kill(storage, tmp_path / f"copy{n}")
        again = default(begun(after))
        for update in history:
            if again.clock.covers(update.source, update.timestamp):
                key = update.change[3:5]
                found = again.lookup(key)
                assert found is not None
                assert found.timestamp >= update.timestamp
        after.close()
        node.saved(batch)
    storage.close()


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    good = ModelBatch("a", "map", [(0, source(1), b"x" * 9)], [], [(source(1), 5)], 1, 1)
    bad = ModelBatch("b", "map", [(0, source(2), 2**70)], [], [(source(2), 2**70)], 1, 1)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        storage.write(Batch([good, bad], 1))
    assert list(storage.load()) == []
    assert storage.identity() == ME
    storage.write(Batch([good], 2))
    (saved,) = storage.load()
    assert (saved.name, saved.records, saved.clock) == ("a", [b"x" * 9], {source(1): 5})
    assert storage.identity() == Identity(node_id(1), 2)
    storage.close()


def test_models_keep_their_entries_apart(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    parts = [
        ModelBatch(name, "map", [(0, source(1), name.encode() * 9)], [], [], 1, 0)
        for name in ("a", "b", "c")
    ]
    storage.write(Batch(parts, 1))
    storage.write(Batch([ModelBatch("b", "map", [], [0], [], 1, 0)], 1))
    assert {model.name: model.records for model in storage.load()} == {
        "a": [b"a" * 9],
        "b": [],
        "c": [b"c" * 9],
    }
    storage.close()


def test_a_life_is_kept(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    node = begun(storage)
    kept(node, storage)
    node.peer_clock(default(node), {node.author.source: TICKS + 1}, NOW)
    kept(node, storage)
    storage.close()
    storage = opened(tmp_path)
    identity = storage.identity()
    assert identity is not None
    assert (identity.node_id, identity.life) == (node_id(1), 2)
    storage.close()


# --- who may open it -----------------------------------------------------------------------------


def test_a_directory_in_use_names_the_process_that_uses_it(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    with pytest.raises(CantCreate, match=rf"in use by another scuttled \(pid {os.getpid()}\)"):
        Storage(tmp_path, "off")
    storage.close()
    opened(tmp_path).close()


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    opened(tmp_path).close()
    _set_version(tmp_path, SCHEMA + 1)
    with pytest.raises(StorageError, match=rf"has schema {SCHEMA + 1}, .* knows up to {SCHEMA}"):
        Storage(tmp_path, "off")
    _set_version(tmp_path, SCHEMA)
    storage = Storage(tmp_path, "off")
    assert storage.identity() == ME
    storage.close()


def _set_version(directory: Path, version: int) -> None:
    db = sqlite3.connect(directory / FILE)
    db.execute(f"PRAGMA user_version = {version}")
    db.close()


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CantCreate, match="can't use the state directory"):
        Storage(tmp_path / "file", "off")


# --- peers, and keeping --------------------------------------------------------------------------


def test_saved_peers_are_kept_a_line_each(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    assert storage.read_peers() == []
    storage.write_peers({"db2:7960", "db1"})
    assert storage.read_peers() == ["db1", "db2:7960"]
    assert (tmp_path / "peers").read_text() == "db1\ndb2:7960\n"
    storage.write_peers([])
    assert storage.read_peers() == []
    storage.close()


def test_a_file_of_peers_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    (tmp_path / "peers").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageError, match=r"can't read .*peers"):
        storage.read_peers()
    storage.close()


def test_a_file_of_peers_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    (tmp_path / "peers").write_bytes(b"x" * (PEERS_BYTES_MAX + 1))
    with pytest.raises(StorageError, match="has more than 262,144 bytes"):
        storage.read_peers()
    storage.close()


def test_the_write_ahead_log_is_folded_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = opened(tmp_path)
    node = begun(storage)
    assert not storage.wants_checkpoint
    for n in range(40):
        write(node, f"k{n}", "x" * 10_000)
    kept(node, storage)
    before = storage.bytes
    assert before > 400_000
    monkeypatch.setattr("scuttled.storage.storage.CHECKPOINT_BYTES", 100_000)
    assert storage.wants_checkpoint
    storage.checkpoint()
    storage.close()
    assert (tmp_path / FILE).stat().st_size > 400_000
    again = opened(tmp_path)
    assert default(begun(again)).count == 40
    again.close()


def test_after_a_failed_write_the_next_one_is_right(tmp_path: Path) -> None:
    """Ids of sources and models that were drawn in a transaction that failed are drawn again."""
    storage = opened(tmp_path)
    fresh = ModelBatch("m", "map", [(0, source(5), b"x" * 9)], [], [], 1, 0)
    broken = ModelBatch("m", "map", [(1, source(6), b"y" * 9)], [], [(source(6), 2**70)], 2, 1)
    for _ in range(2):
        with pytest.raises((StorageError, OverflowError)):
            storage.write(Batch([fresh, broken], 1))
    storage.write(Batch([fresh], 1))
    (saved,) = storage.load()
    assert (saved.sources, saved.records) == ([source(5)], [b"x" * 9])
    storage.close()


def test_the_disk_of_the_simulation_keeps_what_storage_keeps(tmp_path: Path) -> None:
    storage, disk = opened(tmp_path), MemoryDisk(node_id(1))
    node = begun(storage)
    for n in range(30):
        write(node, f"k{n % 7}", str(n))
        if n % 4 == 0:
            batch = node.durability.unsaved(clocks=n % 8 == 0)
            assert batch is not None
            storage.write(batch)
            disk.write(batch)
            node.saved(batch)
    assert list(storage.load()) == list(disk.load())
    assert DEFAULT_MODEL in {model.name for model in disk.load()}
    save(a_node(1, disk=disk), disk)
    storage.close()


@pytest.mark.parametrize(
    ("level", "closed", "boot", "forgot"),
    [
        ("normal", False, "another", True),
        ("off", False, "another", True),
        ("full", False, "another", False),
        ("normal", True, "another", False),
        ("normal", False, "same", False),
    ],
)
def test_only_a_power_cut_under_a_weaker_level_may_have_taken_writes(
    tmp_path: Path, level: str, closed: bool, boot: str, forgot: bool
) -> None:
    storage = Storage(tmp_path / "state", level)
    storage.adopt(ME)
    assert not storage.may_have_forgotten("same")
    storage.begin("same", RNG.getrandbits)
    if closed:
        storage.close()
    shutil.copytree(tmp_path / "state", tmp_path / "after")
    again = Storage(tmp_path / "after", "normal")
    assert again.may_have_forgotten(boot) is forgot
    again.begin(boot, RNG.getrandbits)
    assert not again.may_have_forgotten(boot)
    again.close()
    if not closed:
        storage.close()


def test_a_place_in_a_log_outlives_its_last_entries(tmp_path: Path) -> None:
    """They were collected: only the marks tell how far the log went, and what was forgotten."""
    storage = opened(tmp_path)
    node = begun(storage)
    write(node, "kept")
    write(node, "gone")
    default(node).discard("gone", WALL)
    kept(node, storage)
    end = default(node).log.end
    default(node).collect(lambda source, time: True, WALL + 1, alone=True)
    node.accepted(default(node))
    kept(node, storage)
    storage.close()
    log = default(begun(opened(tmp_path))).log
    assert log.live == 1
    assert log.end >= end
    assert log.forgotten == end - 1


def test_an_announced_expiry_is_known_to_be_one(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    node = begun(storage)
    default(node).put("k", TEXT, b"v", WALL, ttl_ms=10)
    node.expire(WALL + 20)
    node.accepted(default(node))
    kept(node, storage)
    storage.close()
    again = default(begun(opened(tmp_path)))
    assert again.has_expired(b"k")
    assert again.expire(WALL + 30) == 0
    assert (again.count, again.grave_count) == (0, 1)
