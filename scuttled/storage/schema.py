"""The tables, the checks in their rows, and how an older database becomes one of today.

    entries(place, source, record, crc)     place = model << PLACE_BITS | position
    clocks, floors(model, source, time, crc)     a record is its own wire bytes

The check of a row is over all that the row means: an entry's over its record, position, source
and model's name. So a flipped bit is found when the state is loaded, be it in a value or in the
number that says whose value it is. `models.rows` counts a model's entries after a clean stop.
"""

import sqlite3
from pathlib import Path
from zlib import crc32

from scuttled.errors import StorageError
from scuttled.storage.errors import Damaged

SCHEMA = 2
PLACE_BITS = 43  # of a position: 8.8e12 updates in one model; the 20 above are for models
_PLAUSIBLE = 1000  # no scuttled writes a schema above that soon: a flipped bit did

TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE models(id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, type TEXT NOT NULL,
    rows INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE sources(id INTEGER PRIMARY KEY, source BLOB UNIQUE NOT NULL);
CREATE TABLE clocks(model INTEGER, source INTEGER, time INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY(model, source)) WITHOUT ROWID;
CREATE TABLE floors(model INTEGER, source INTEGER, time INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY(model, source)) WITHOUT ROWID;
CREATE TABLE entries(place INTEGER PRIMARY KEY, source INTEGER NOT NULL, record BLOB NOT NULL,
    crc INTEGER NOT NULL);
"""

# ruff: noqa: S608 - the numbers in these statements are ours
_FROM_1 = f"""
BEGIN IMMEDIATE;
ALTER TABLE meta ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET crc = meta_crc(key, value);
ALTER TABLE models ADD COLUMN rows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE models SET rows = (SELECT count(*) FROM entries
    WHERE place BETWEEN models.id << {PLACE_BITS} AND (models.id + 1 << {PLACE_BITS}) - 1);
UPDATE models SET crc = model_crc(id, name, type, rows);
ALTER TABLE clocks ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE clocks SET crc = time_crc(time,
    (SELECT source FROM sources WHERE id = clocks.source),
    (SELECT name FROM models WHERE id = clocks.model));
CREATE TABLE floors(model INTEGER, source INTEGER, time INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY(model, source)) WITHOUT ROWID;
ALTER TABLE entries ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE entries SET crc = entry_crc(record, place & {(1 << PLACE_BITS) - 1},
    (SELECT source FROM sources WHERE id = entries.source),
    (SELECT name FROM models WHERE id = entries.place >> {PLACE_BITS}));
PRAGMA user_version = 2;
COMMIT;
"""


# --- checks ---


def seed(source: bytes, model: str) -> int:
    """Value at which the checks of that source's rows in that model begin."""
    return crc32(source, crc32(model.encode()))


def entry_crc(record: bytes, position: int, source: bytes, model: str) -> int:
    """Loading and saving, which know the seed, do the same by hand."""
    return crc32(record, seed(source, model) ^ position)


def time_crc(time: int, source: bytes, model: str) -> int:
    return crc32(b"%d" % time, seed(source, model))


def model_crc(number: int, name: str, data_type: str, rows: int) -> int:
    return crc32(repr((number, name, data_type, rows)).encode())


def meta_crc(key: str, value: object) -> int:
    return crc32(repr((key, value)).encode())


# --- bringing a database up to date ---


def bring_up(db: sqlite3.Connection, path: Path) -> bool:
    """Make the tables if there are none, which is what is returned, or migrate them.

    Each in one transaction. Raises StorageError at a newer schema.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not 0 <= version < _PLAUSIBLE:
        raise Damaged(f"can't read {path}: its schema is {version}")
    if version > SCHEMA:
        raise StorageError(
            f"{path} has schema {version}, this scuttled knows up to {SCHEMA}",
            hint="run the newer scuttled that wrote it, or name another --data directory",
        )
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
    elif version == 1:
        _migrate(db)
    return bool(version == 0)


def _migrate(db: sqlite3.Connection) -> None:
    for check, arguments in ((entry_crc, 4), (time_crc, 3), (model_crc, 4), (meta_crc, 2)):
        db.create_function(check.__name__, arguments, check, deterministic=True)
    try:
        db.executescript(_FROM_1)
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
