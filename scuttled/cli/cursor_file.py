"""Cursor files: up to where a stream was dealt with, kept from one run to the next."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

from scuttled.cli import files
from scuttled.errors import DataError, NoInput, UsageError

_CHECK = b"crc32="  # before the check of a cursor file


class CursorFile:
    """Cursor behind what was dealt with, in a file that is replaced as a whole.

        9f3ac21b44d0e713.1.3610a686:default=12
        crc32=5d0a9c1e

    A flipped bit in a number would skip changes without a word, so the file has a check. What
    older versions wrote has none, and is believed.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._saved = ""
        self._was_read = False  # something, from the file

    def read(self) -> str:
        """The cursor, or "" if there is none yet (an empty file, as mktemp makes it, too)."""
        if self.path is None:
            return ""
        try:
            with files.open_to_read(self.path) as file, files.reading(self.path):
                self._saved = self._checked(file.read())
        except NoInput:
            if os.path.exists(self.path):
                raise
        self._was_read = bool(self._saved)
        return self._saved

    def _checked(self, data: bytes) -> str:
        """The cursor in the file. Raises DataError if its check does not fit."""
        cursor, *checks = data.strip().splitlines() or [b""]
        if checks == [_check(cursor)] or not (checks or _CHECK in cursor):
            return cursor.decode("utf-8", "surrogateescape")
        raise DataError(
            f"going on from {self.path}: it is damaged: its check does not fit",
            hint=f"mv {self.path} {self.path}.old",
        )

    @contextmanager
    def named(self) -> Iterator[None]:
        """Around what may find that the cursor from this file is none: the file is named then."""
        try:
            yield
        except UsageError as error:
            if not self._was_read:
                raise
            hint = error.hint or f"mv {self.path} {self.path}.old"
            raise UsageError(f"going on from {self.path}: {error.message}", hint=hint) from error

    def save(self, cursor: str) -> None:
        """Does nothing if it is saved already. Raises CantCreate, StorageError."""
        if self.path is not None and cursor and cursor != self._saved:
            check = _check(cursor.encode("utf-8", "surrogateescape")).decode()
            files.write_whole(self.path, f"{cursor}\n{check}\n")
            self._saved = cursor


def _check(cursor: bytes) -> bytes:
    return _CHECK + b"%08x" % crc32(cursor)
