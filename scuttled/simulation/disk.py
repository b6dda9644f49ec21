"""A machine's disk: a real state directory, of which a cut may take what was not synced.

The storage of a daemon runs on it as it is. What a disk holds at an instant is kept as bytes: so a
kill can put back what was there when it came, whatever the dying daemon still wrote, and a backup
can take the place of what was written since.
"""

import os
import random
import shutil
from pathlib import Path

from scuttled.storage.storage import FILE

WAL = f"{FILE}-wal"
PAGE_BYTES = 4096

Contents = dict[str, bytes]  # by file


class Disk:
    """One state directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def contents(self) -> Contents:
        """Files on it, but for SQLite's shared memory, which no machine takes along."""
        files = (path for path in self.path.iterdir() if not path.name.endswith("-shm"))
        return {path.name: path.read_bytes() for path in sorted(files)}

    @property
    def log_bytes(self) -> int:
        """Of the write-ahead log."""
        path = self.path / WAL
        return path.stat().st_size if path.exists() else 0

    def put_back(self, contents: Contents) -> None:
        """The same files, with these bytes: nothing that tells a copy from its original moves."""
        for path in self.path.iterdir():
            if path.name not in contents:
                path.unlink()
        for name, data in contents.items():
            path = self.path / name
            if not path.exists() or path.read_bytes() != data:
                with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                    file.write(data)
                    file.truncate()

    def replace(self, contents: Contents) -> None:
        """A restored backup, or a copy of another machine's: other files, these bytes."""
        shutil.rmtree(self.path)
        self.path.mkdir()
        for name, data in contents.items():
            (self.path / name).write_bytes(data)


def torn(contents: Contents, rng: random.Random, synced: int) -> Contents:
    """Contents that a power cut leaves: of the write-ahead log behind `synced` bytes, any part."""
    log = contents.get(WAL, b"")
    kept = log[:synced]
    loose = bytearray(log[synced:])
    if loose and rng.random() < 0.7:
        del loose[rng.randrange(len(loose)) :]
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(loose) // PAGE_BYTES + 1) * PAGE_BYTES
        loose[at : at + PAGE_BYTES] = bytes(len(loose[at : at + PAGE_BYTES]))
    return {**contents, WAL: kept + loose} if WAL in contents else contents
