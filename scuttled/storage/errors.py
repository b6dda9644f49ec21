"""Errors of a disk: it fails, or what it gives is not what was written.

A disk that fails (full, read-only, no permission, I/O error) may do better soon, and what is on
it is whole. A damaged database is never written again: it is set aside, and begun anew.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scuttled.errors import StorageError

_DISK_FAILS = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_AUTH,
}
_WE_ERR = (sqlite3.ProgrammingError, sqlite3.InterfaceError)


class Damaged(StorageError):
    """The database is not what was written to it. What it holds can't be relied upon."""


@contextmanager
def told(path: Path, what: str) -> Iterator[None]:
    """Errors of the disk become StorageError, or Damaged, with their words."""
    try:
        yield
    except sqlite3.Error as error:
        kind = Damaged if _is_damage(error) else StorageError
        raise kind(f"{what} {path}: {error}") from error
    except UnicodeDecodeError as error:  # what sqlite had to say, with a damaged name in it
        raise Damaged(f"{what} {path}: a table is not what was saved") from error
    except OSError as error:
        raise StorageError(f"{what} {path}: {error.strerror or error}") from error


def _is_damage(error: sqlite3.Error) -> bool:
    if isinstance(error, _WE_ERR):
        return False
    code: int | None = getattr(error, "sqlite_errorcode", None)  # none: text that is not UTF-8
    return code is None or code & 0xFF not in _DISK_FAILS
