"""The database: one SQLite file that mirrors every model's arrival log.

What is loaded is what was saved at one instant, and every row is checked. Positions rise, so rows
are added at the end of a model's stretch of the tree.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from operator import lt
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from scuttled.replica.arrival_log import Marks
from scuttled.replica.checkpoint import Batch, ModelBatch, SavedModel
from scuttled.replica.update import Source
from scuttled.storage.errors import Damaged, told
from scuttled.storage.schema import (
    PLACE_BITS,
    bring_up,
    meta_crc,
    model_crc,
    seed,
    time_crc,
)

CACHE_KIB = 2048
LOAD_ROWS = 50_000  # read at a time
ROW_BYTES = 22  # of a row of entries, about, besides its record

COUNTED = "counted"  # of meta: how many rows the small tables had at a clean stop; else ""
MARKS = "log "  # of meta, before the name of a model: the marks of its log
UNCOUNTED = -1  # rows of a model that is being written to; a clean stop notes their number

Meta = dict[str, object]
Progress = Callable[[int, int], None]  # rows read so far, and of about how many


class _Held(NamedTuple):
    """A model on disk, as far as it is known."""

    number: int
    data_type: str
    rows: int
    counted: int  # as the database says


class Database:
    """An open database. Raises StorageError when the disk does, Damaged if it is not whole."""

    def __init__(self, path: Path, sync: str) -> None:
        self.path = path
        self.sync = sync
        self._source_ids: dict[Source, int] = {}
        self._models: dict[str, _Held] = {}
        self._wal = f"{path}-wal"
        self._unsure = True  # whether a write that failed may be there all the same...
        self._in_doubt = False  # ...with whatever it changed: a COMMIT failed, and was not undone
        with told(path, "can't open"):
            self.db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, cached_statements=32
            )
            try:
                self.fresh = self._set_up(sync)
            except BaseException:
                self.db.close()
                raise

    def _set_up(self, sync: str) -> bool:
        db = self.db
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {sync}")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return bring_up(db, self.path)

    # --- loading ---

    def meta(self) -> Meta:
        with told(self.path, "can't read"):
            rows = self.db.execute("SELECT key, value, crc FROM meta").fetchall()
        if any(meta_crc(key, value) != crc for key, value, crc in rows):
            raise Damaged(f"can't read {self.path}: what it says of its node is not what was saved")
        meta = {key: value for key, value, _ in rows}
        if meta.get(COUNTED) and meta[COUNTED] != self._counts():
            raise Damaged(f"can't read {self.path}: some rows that were saved are not there")
        return meta

    def _counts(self) -> str:
        """Counts of the rows there are besides the entries, whose number each model knows.

        Their checks tell that a row was changed; a model, clock or floor that is gone has none.
        """
        with told(self.path, "can't read"):
            row = self.db.execute(
                "SELECT (SELECT count(key) FROM meta), (SELECT count(rows) FROM models), "
                "(SELECT count(time) FROM clocks), (SELECT count(time) FROM floors)"
            ).fetchone()
        return " ".join(map(str, row))

    def load(self, progress: Progress) -> Iterator[SavedModel]:
        """Every model that was saved. Raises Damaged, maybe after some."""
        reader = _Reader(self.path, progress)
        with told(self.path, "can't read"), reader.sane():
            db = self.db
            reader.bytes_all = _first(db, "PRAGMA page_count") * _first(db, "PRAGMA page_size")
            sources = {i: Source(s) for i, s in db.execute("SELECT id, source FROM sources")}
            self._source_ids = {source: i for i, source in sources.items()}
            self._models.clear()
            for row in db.execute("SELECT id, name, type, rows, crc FROM models").fetchall():
                i, name, data_type, count, crc = row
                reader.demand(model_crc(i, name, data_type, count) == crc, "its list of models")
                saved = self._load_model(reader, i, name, data_type, sources, count)
                self._models[name] = _Held(i, data_type, len(saved.positions), count)
                yield saved

    def _load_model(
        self,
        reader: "_Reader",
        i: int,
        name: str,
        data_type: str,
        sources: dict[int, Source],
        count: int,
    ) -> SavedModel:
        saved = SavedModel(name, data_type, [], [], [], {}, marks=self._load_marks(name))
        seeds = {number: seed(source, name) for number, source in sources.items()}
        rows = self.db.execute(
            "SELECT place - ?, source, record, crc FROM entries WHERE place BETWEEN ? AND ? "
            "ORDER BY place",
            (i << PLACE_BITS, i << PLACE_BITS, ((i + 1) << PLACE_BITS) - 1),
        )
        while some := rows.fetchmany(LOAD_ROWS):
            bad = sum([crc32(record, seeds[s] ^ at) != crc for at, s, record, crc in some])
            reader.demand(not bad, f"{bad} of its rows, in model {name},")
            records = [record for _, _, record, _ in some]
            saved.positions.extend([at for at, _, _, _ in some])
            saved.sources.extend([sources[s] for _, s, _, _ in some])
            saved.records.extend(records)
            reader.read(records)
        whole = count in (UNCOUNTED, len(saved.positions))
        in_order = all(map(lt, saved.positions, saved.positions[1:]))
        reader.demand(whole and in_order, f"the {count} rows of model {name}")
        for table, times in (("clocks", saved.clock), ("floors", saved.floor)):
            statement = f"SELECT source, time, crc FROM {table} WHERE model = ?"  # noqa: S608 - ours
            for s, time, crc in self.db.execute(statement, (i,)):
                reader.demand(time_crc(time, sources[s], name) == crc, f"its {table} of {name}")
                times[sources[s]] = time
        return saved

    def _load_marks(self, name: str) -> Marks:
        """As they were noted; none in a database that an older scuttled wrote."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (MARKS + name,)).fetchone()
        return Marks(*map(int, row[0].split())) if row else Marks()

    # --- saving ---

    def write(self, batch: Batch, meta: Meta) -> None:
        """All of it, or on StorageError nothing."""
        with told(self.path, "can't write"), self._transaction():
            for model in batch.models:
                self._write_model(model)
                if model.marks is not None:
                    self._note({MARKS + model.name: " ".join(map(str, model.marks))})
            if meta:
                self._note(meta)
        self._unsure = False

    def note(self, meta: Meta) -> None:
        """Durable when this returns, with all that was written before, whatever the level is.

        Who runs must be on disk before anything that a power cut may take: else the next start
        would find the last stop clean, and go on as a source that has forgotten (I5).
        """
        with told(self.path, "can't write"), self._synced(), self._transaction():
            self._note(meta)

    @contextmanager
    def _synced(self) -> Iterator[None]:
        self.db.execute("PRAGMA synchronous = full")
        try:
            yield
        finally:
            self.db.execute(f"PRAGMA synchronous = {self.sync}")

    def _note(self, meta: Meta) -> None:
        rows = [(key, value, meta_crc(key, value)) for key, value in meta.items()]
        self.db.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?, ?)", rows)

    def _write_model(self, batch: ModelBatch) -> None:
        held = self._models.get(batch.name)
        if held is None:
            held = _Held(self._new_model(batch), batch.data_type, 0, 0)
        i = held.number
        count = held.rows
        if batch.replace:
            self._clear(i)
            count = 0
        ids = self._ids(batch)
        count += self._write_entries(batch, i << PLACE_BITS, ids)
        for table, times in (("clocks", batch.times), ("floors", batch.floor)):
            if times:
                self.db.executemany(
                    f"INSERT OR REPLACE INTO {table} VALUES(?, ?, ?, ?)",
                    [(i, ids[s], time, time_crc(time, s, batch.name)) for s, time in times],
                )
        if held.counted != UNCOUNTED:
            self._count(batch.name, held, UNCOUNTED)
        self._models[batch.name] = _Held(i, held.data_type, count, UNCOUNTED)

    def _count(self, name: str, held: "_Held", count: int) -> None:
        """Note how many rows there are. To do so with each write would cost a page each time."""
        crc = model_crc(held.number, name, held.data_type, count)
        statement = "UPDATE models SET rows = ?, crc = ? WHERE id = ?"
        self.db.execute(statement, (count, crc, held.number))

    def _write_entries(self, batch: ModelBatch, base: int, ids: dict[Source, int]) -> int:
        """Delete and insert rows; by how many there are more now."""
        db = self.db
        more = 0
        if batch.freed:
            gone = [(base + position,) for position in batch.freed]
            more -= db.executemany("DELETE FROM entries WHERE place = ?", gone).rowcount
        seeds = {source: seed(source, batch.name) for source in ids}
        rows = [
            (base + at, ids[source], record, crc32(record, seeds[source] ^ at))
            for at, source, record in batch.entries
            if record is not None
        ]
        if rows and self._unsure:  # what a failed write left stands where these are to stand
            stretch = (rows[0][0], base + (1 << PLACE_BITS) - 1)
            more -= db.execute("DELETE FROM entries WHERE place BETWEEN ? AND ?", stretch).rowcount
        if rows:
            db.executemany("INSERT INTO entries VALUES(?, ?, ?, ?)", rows)
        return more + len(rows)

    def _ids(self, batch: ModelBatch) -> dict[Source, int]:
        """The numbers of the sources in a batch; new ones are given one."""
        named = dict.fromkeys(s for _, s, _ in batch.entries)  # no set: in the same order each time
        named.update((s, None) for s, _ in batch.times)
        named.update((s, None) for s, _ in batch.floor)
        ids = self._source_ids
        for source in named:
            if source not in ids:
                ids[source] = self._insert("INSERT INTO sources(source) VALUES(?)", (source,))
        return {source: ids[source] for source in named}

    def _new_model(self, batch: ModelBatch) -> int:
        values = (batch.name, batch.data_type)
        return self._insert("INSERT INTO models(name, type, rows, crc) VALUES(?, ?, 0, 0)", values)

    def _clear(self, i: int) -> None:
        stretch = (i << PLACE_BITS, ((i + 1) << PLACE_BITS) - 1)
        self.db.execute("DELETE FROM entries WHERE place BETWEEN ? AND ?", stretch)
        self.db.execute("DELETE FROM clocks WHERE model = ?", (i,))
        self.db.execute("DELETE FROM floors WHERE model = ?", (i,))

    def _insert(self, statement: str, values: Sequence[object]) -> int:
        i = self.db.execute(statement, values).lastrowid
        assert i is not None
        return i

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._in_doubt:  # nobody else writes here, so what is seen now stays so
            self._look_again()
            self._in_doubt = False
        models = dict(self._models)
        sources = len(self._source_ids)  # new ones come at the end
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._in_doubt = True
            self.db.execute("COMMIT")
            self._in_doubt = False
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
                self._in_doubt = False
            self._unsure = True
            self._models = models
            self._source_ids = dict(list(self._source_ids.items())[:sources])
            raise

    def _look_again(self) -> None:
        """Learn from the database what it holds; it may be more than was said to be there."""
        sources = self.db.execute("SELECT source, id FROM sources ORDER BY id")
        self._source_ids = {Source(source): i for source, i in sources}
        self._models = {
            name: _Held(i, data_type, self._rows_of(i), counted)
            for i, name, data_type, counted in self.db.execute(
                "SELECT id, name, type, rows FROM models"
            ).fetchall()
        }

    def _rows_of(self, i: int) -> int:
        stretch = (i << PLACE_BITS, ((i + 1) << PLACE_BITS) - 1)
        statement = "SELECT count(*) FROM entries WHERE place BETWEEN ? AND ?"
        return int(self.db.execute(statement, stretch).fetchone()[0])

    # --- keeping ---

    @property
    def wal_bytes(self) -> int:
        try:
            return os.stat(self._wal).st_size
        except OSError:
            return 0

    def checkpoint(self, mode: str) -> None:
        """Fold the write-ahead log into the database, on a connection of its own."""
        with (
            told(self.path, "can't checkpoint"),
            closing(sqlite3.connect(self.path, isolation_level=None)) as db,
        ):
            db.execute(f"PRAGMA wal_checkpoint({mode})")

    def close(self, meta: Meta) -> None:
        """Note that, fold all in, and close."""
        try:
            if meta:
                self.note(meta)
                self._count_all()
            with told(self.path, "can't close"), self._synced():
                self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self.abandon()

    def _count_all(self) -> None:
        """So that the next start can tell whether a row has vanished."""
        with told(self.path, "can't write"), self._transaction():
            for name, held in self._models.items():
                if held.counted != held.rows:
                    self._count(name, held, held.rows)
            self._note({COUNTED: ""})  # its own row counts, too
            self._note({COUNTED: self._counts()})

    def abandon(self) -> None:
        """Close, whatever state it is in."""
        try:
            self.db.close()
        except sqlite3.Error:
            pass  # it is damaged, or the disk fails; both were told


class _Reader:
    """A loading under way: how far it is, and what to say if something is not as it was written."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path = path
        self.progress = progress
        self.bytes_all = 0
        self._rows = 0
        self._bytes = 0

    def demand(self, holds: bool, what: str) -> None:
        if not holds:
            raise Damaged(f"can't read {self.path}: {what} are not what was saved")

    def read(self, records: Sequence[bytes]) -> None:
        self._rows += len(records)
        self._bytes += sum(map(len, records)) + ROW_BYTES * len(records)
        about = self._rows * max(self.bytes_all, self._bytes) // self._bytes
        self.progress(self._rows, about)

    @contextmanager
    def sane(self) -> Iterator[None]:
        """Values of a type that no daemon writes, or that name a source that is not there."""
        try:
            yield
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise Damaged(f"can't read {self.path}: a row is not what was saved") from error


def _first(db: sqlite3.Connection, statement: str) -> int:
    value: int = db.execute(statement).fetchone()[0]
    return value
