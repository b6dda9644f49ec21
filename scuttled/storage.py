"""The state directory: one SQLite file that mirrors every model's arrival log.

Storage is a reader of the log like any other: it takes what stands behind its cursor and writes
it in one transaction, with the positions that became holes, the clock and the hlc. So a saved
clock never covers an unsaved update, and what is loaded is what was saved at one instant. The
writers of one turn of the loop share a transaction (group commit).

    entries(place, source, record)     place = model << PLACE_BITS | position
    clocks(model, source, time)        a record is its own wire bytes

Positions rise, so rows are added at the end of a model's stretch of the tree. Checkpoints of the
write-ahead log are made beside the loop on a connection of their own, never inside a commit.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from scuttled.core.update import NodeId, Source
from scuttled.errors import CantCreate, StorageError

SCHEMA = 1
FILE = "scuttled.db"
LOCK = "lock"
PEERS = "peers"
CACHE_KIB = 2048
CHECKPOINT_BYTES = 16 << 20  # of write-ahead log, after which it is folded into the database
PLACE_BITS = 43  # of a position: 8.8e12 updates in one model; the 20 above are for models
LOAD_ROWS = 50_000  # read at a time
SYNC_LEVELS = ("off", "normal", "full")

_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE models(id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, type TEXT NOT NULL);
CREATE TABLE sources(id INTEGER PRIMARY KEY, source BLOB UNIQUE NOT NULL);
CREATE TABLE clocks(model INTEGER, source INTEGER, time INTEGER NOT NULL,
    PRIMARY KEY(model, source)) WITHOUT ROWID;
CREATE TABLE entries(place INTEGER PRIMARY KEY, source INTEGER NOT NULL, record BLOB NOT NULL);
"""


class ModelBatch(NamedTuple):
    """What is new in one model since the last save."""

    name: str
    data_type: str
    entries: list[tuple[int, Source, bytes | None]]  # position, source, record; None: a hole
    freed: list[int]  # positions that became holes
    times: list[tuple[Source, int]]  # of the clock, what rose
    end: int  # the log's position up to which this goes
    revision: int  # the clock's, likewise
    floor: Sequence[tuple[Source, int]] = ()  # what rose
    floor_revision: int = 0
    replace: bool = False  # this is all there is: what was saved before goes


class Batch(NamedTuple):
    """One transaction."""

    models: list[ModelBatch]
    life: int

    @property
    def rows(self) -> int:
        """Roughly what it costs to write."""
        return sum(len(model.entries) + len(model.freed) for model in self.models)


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model as it was saved; positions ascend."""

    name: str
    data_type: str
    positions: list[int]
    records: list[bytes]
    sources: list[Source]
    clock: dict[Source, int]
    floor: dict[Source, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    node_id: NodeId
    life: int


class Storage:
    """The open database of one daemon. Raises StorageError when the disk does."""

    def __init__(self, directory: Path, sync: str) -> None:
        self.path = directory / FILE
        self.sync = sync
        self._lock = _lock(directory)
        self._life = 0
        self._source_ids: dict[Source, int] = {}
        self._model_ids: dict[str, int] = {}
        with ExitStack() as undo, _errors(self.path, "can't open"):
            undo.callback(os.close, self._lock)
            self._db = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, cached_statements=32
            )
            undo.callback(self._db.close)
            self._set_up()
            undo.pop_all()

    def _set_up(self) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {self.sync}")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise StorageError(
                f"{self.path} has schema {version}, this scuttled knows up to {SCHEMA}",
                hint="run the newer scuttled that wrote it, or name another --data directory",
            )
        if version == 0:
            db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")

    # --- loading ---

    def identity(self) -> Identity | None:
        """Who this state belongs to; None if it is new."""
        with _errors(self.path, "can't read"):
            meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if "node_id" not in meta:
            return None
        self._life = meta["life"]
        return Identity(NodeId(meta["node_id"]), self._life)

    def adopt(self, identity: Identity) -> None:
        """Belong to that node from now on."""
        self._life = identity.life
        rows = [("node_id", identity.node_id), ("life", identity.life)]
        with _errors(self.path, "can't write"), self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", rows)

    def begin_run(self, boot: str) -> bool:
        """Note that a daemon runs, in that boot; whether the one before may have forgotten.

        It may if it was not closed, the machine was started anew since (a power cut), and not
        every transaction was synced: what it had acknowledged, or told its peers, may be lost.
        """
        with _errors(self.path, "can't write"), self._transaction():
            meta = dict(self._db.execute("SELECT key, value FROM meta"))
            self._db.executemany(
                "INSERT OR REPLACE INTO meta VALUES(?, ?)", [("run", boot), ("run_sync", self.sync)]
            )
        last, level = meta.get("run", ""), meta.get("run_sync", self.sync)
        return bool(last) and last != boot and level != "full"

    def load(self) -> Iterator[SavedModel]:
        """Every model that was saved."""
        with _errors(self.path, "can't read"):
            sources = {i: Source(s) for i, s in self._db.execute("SELECT id, source FROM sources")}
            self._source_ids = {source: i for i, source in sources.items()}
            for i, name, data_type in self._db.execute(
                "SELECT id, name, type FROM models"
            ).fetchall():
                self._model_ids[name] = i
                yield self._load_model(i, name, data_type, sources)

    def _load_model(
        self, i: int, name: str, data_type: str, sources: dict[int, Source]
    ) -> SavedModel:
        saved = SavedModel(name, data_type, [], [], [], {})
        rows = self._db.execute(
            "SELECT place - ?1, source, record FROM entries WHERE place BETWEEN ?1 AND ?2 "
            "ORDER BY place",
            (i << PLACE_BITS, ((i + 1) << PLACE_BITS) - 1),
        )
        while some := rows.fetchmany(LOAD_ROWS):
            saved.positions.extend([position for position, _, _ in some])
            saved.sources.extend([sources[source] for _, source, _ in some])
            saved.records.extend([record for _, _, record in some])
        times = self._db.execute("SELECT source, time FROM clocks WHERE model = ?", (i,))
        saved.clock.update((sources[source], time) for source, time in times)
        return saved

    # --- saving ---

    def write(self, batch: Batch) -> None:
        """All of it, or on StorageError nothing. May run beside the loop; one at a time."""
        with _errors(self.path, "can't write"), self._transaction():
            for model in batch.models:
                self._write_model(model)
            if batch.life != self._life:
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'life'", (batch.life,))
        self._life = batch.life

    def _write_model(self, batch: ModelBatch) -> None:
        db, i = self._db, self._model_id(batch.name, batch.data_type)
        ids, base = self._source_ids, i << PLACE_BITS
        for source in {source for _, source, _ in batch.entries} | {s for s, _ in batch.times}:
            if source not in ids:
                ids[source] = self._insert("INSERT INTO sources(source) VALUES(?)", (source,))
        if batch.freed:
            db.executemany(
                "DELETE FROM entries WHERE place = ?",
                [(base + position,) for position in batch.freed],
            )
        if batch.entries:
            db.executemany(
                "INSERT OR REPLACE INTO entries VALUES(?, ?, ?)",
                [
                    (base + position, ids[source], record)
                    for position, source, record in batch.entries
                    if record is not None
                ],
            )
        if batch.times:
            db.executemany(
                "INSERT OR REPLACE INTO clocks VALUES(?, ?, ?)",
                [(i, ids[source], time) for source, time in batch.times],
            )

    def _model_id(self, name: str, data_type: str) -> int:
        i = self._model_ids.get(name)
        if i is None:
            i = self._insert("INSERT INTO models(name, type) VALUES(?, ?)", (name, data_type))
            self._model_ids[name] = i
        return i

    def _insert(self, statement: str, values: Sequence[object]) -> int:
        i = self._db.execute(statement, values).lastrowid
        assert i is not None
        return i

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        known = dict(self._model_ids), len(self._source_ids)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._model_ids = known[0]
            self._source_ids = dict(list(self._source_ids.items())[: known[1]])
            raise

    # --- peers that were joined for good ---

    def read_peers(self) -> list[str]:
        """The addresses of `join --save`, a line each."""
        try:
            return (self.path.parent / PEERS).read_text().split()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise StorageError(f"can't read {self.path.parent / PEERS}: {error}") from error

    def write_peers(self, addresses: Iterable[str]) -> None:
        path = self.path.parent / PEERS
        new = path.with_name(f"{PEERS}.new")
        with _errors(path, "can't write"):
            new.write_text("".join(f"{address}\n" for address in sorted(addresses)))
            new.replace(path)

    # --- keeping ---

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the write-ahead log has grown enough to be folded in."""
        try:
            return os.stat(f"{self.path}-wal").st_size > CHECKPOINT_BYTES
        except OSError:
            return False

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the database; beside the loop, it stops no writer."""
        with (
            _errors(self.path, "can't checkpoint"),
            closing(sqlite3.connect(self.path, isolation_level=None)) as db,
        ):
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @property
    def bytes(self) -> int:
        """On disk, write-ahead log included."""
        total = 0
        for path in (self.path, Path(f"{self.path}-wal")):
            try:
                total += path.stat().st_size
            except OSError:
                pass
        return total

    def close(self) -> None:
        """Fold all in and let go of the directory. Nothing is lost if this never happens."""
        try:
            with _errors(self.path, "can't close"):
                self._db.execute("UPDATE meta SET value = '' WHERE key = 'run'")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._db.close()
        finally:
            os.close(self._lock)


def _lock(directory: Path) -> int:
    """Keep other daemons out of the state directory; a descriptor that holds the lock."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CantCreate(f"can't use the state directory {directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        raise CantCreate(
            f"the state directory {directory} is in use by another scuttled (pid {pid or '?'})",
            hint="stop it, or give this one a state of its own with --data DIR",
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


@contextmanager
def _errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"{what} {path}: {error}") from error
