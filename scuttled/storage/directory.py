"""The state directory around the database: who uses it, whose it is, and whether it was copied.

    lock        | pid, 10 wide | blank | state | newline |     held by flock while a daemon runs
    identity    node id, life and a check, in text; replaced as a whole
    peers       the addresses of `join --save`, a line each

The lock's bytes are written once and then only in place: that works on a disk that is full. Its
state is `!` while a daemon passes on what it could not save. One that starts and finds that mark
may have forgotten something.

`places` is what no copy has in common with its original: the inode numbers of database, lock and
directory, and when the lock was last changed (which tells where files were overwritten in place).
The database notes it. What it notes is compared with what is found by the next daemon.
"""

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from scuttled.errors import CantCreate, StorageError
from scuttled.replica.update import NODE_ID_BYTES, NodeId
from scuttled.runtime.whole_file import replacing, sync_folder
from scuttled.storage.errors import told

FILE = "scuttled.db"
LOCK = "lock"
IDENTITY = "identity"
PEERS = "peers"
PEERS_BYTES_MAX = 1 << 18  # 512 of the longest names there are
COMPANIONS = ("", "-wal", "-shm")  # of a database

_PID_WIDTH = 10
_STATE_AT = _PID_WIDTH + 1
_LINE_BYTES = _STATE_AT + 2
_MARK = b"!"
_NO_MARK = b"-"


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity that a state belongs to."""

    node_id: NodeId
    life: int
    last: int = 0  # the node has made no timestamp above it


class Directory:
    """A state directory that is ours until `close`."""

    def __init__(self, path: Path) -> None:
        """Raises CantCreate if it can't be used, or is used by another daemon."""
        self.path = path
        self._lock = _lock(path)
        try:
            self.found = self.places()  # before anything is written
            state = os.pread(self._lock, 1, _STATE_AT)
            # What is neither is damage: believe the worst.
            self.marked = state not in (b"", _NO_MARK)
            if not state:
                self.enter()
        except OSError as error:
            os.close(self._lock)
            raise StorageError(f"can't read {path / LOCK}: {error.strerror}") from error
        except BaseException:
            os.close(self._lock)
            raise

    def enter(self) -> None:
        """Say who uses it, once nothing but this can fail: it makes `places` another."""
        line = f"{os.getpid():<{_PID_WIDTH}} ".encode() + (_MARK if self.marked else _NO_MARK)
        with told(self.path / LOCK, "can't write"):
            os.pwrite(self._lock, line + b"\n", 0)
            os.ftruncate(self._lock, _LINE_BYTES)
            os.fsync(self._lock)

    def close(self) -> None:
        os.close(self._lock)

    # --- the mark ---

    def mark(self) -> None:
        """Note that this run may forget. Raises StorageError."""
        self._set_state(_MARK)
        self.marked = True

    def unmark(self) -> None:
        self._set_state(_NO_MARK)
        self.marked = False

    def _set_state(self, state: bytes) -> None:
        with told(self.path / LOCK, "can't write"):
            os.pwrite(self._lock, state, _STATE_AT)
            os.fsync(self._lock)

    # --- whose it is, and whether it is the original ---

    def places(self) -> str:
        lock = os.fstat(self._lock)
        inodes = [os.stat(self.path).st_ino, lock.st_ino]
        try:
            inodes.append(os.stat(self.path / FILE).st_ino)
        except FileNotFoundError:
            inodes.append(0)
        return " ".join(map(str, [*inodes, lock.st_ctime_ns]))

    def read_identity(self) -> Identity | None:
        """None if the file is gone or is not what was written; the database knows, too."""
        try:
            node, life, check = (self.path / IDENTITY).read_text("ascii").split()
            node_id = bytes.fromhex(node)
            if _check(node, life) == check and len(node_id) == NODE_ID_BYTES:
                return Identity(NodeId(node_id), int(life))
        except (FileNotFoundError, ValueError):
            pass
        except OSError as error:
            raise StorageError(f"can't read {self.path / IDENTITY}: {error.strerror}") from error
        return None

    def write_identity(self, identity: Identity) -> None:
        node = identity.node_id.hex()
        life = str(identity.life)
        self._replace(IDENTITY, f"{node} {life} {_check(node, life)}\n")

    def _replace(self, name: str, text: str) -> None:
        """All of the file or, on StorageError, the old one; durable when this returns."""
        path = self.path / name
        with told(path, "can't write"):
            with replacing(path, self.path / f"{name}.new") as file:
                file.write(text.encode())
            sync_folder(self.path)

    # --- a damaged database ---

    def set_aside(self, now_ms: int) -> Path:
        """Rename the database and its companions; where it is now. Overwrites nothing."""
        when = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        path = self.path / FILE
        number = 1
        aside = path.with_name(f"{FILE}.damaged-{when}")
        while any(os.path.lexists(f"{aside}{suffix}") for suffix in COMPANIONS):
            number += 1
            aside = path.with_name(f"{FILE}.damaged-{when}.{number}")
        with told(path, "can't set aside"):
            for suffix in reversed(COMPANIONS):
                try:
                    os.rename(f"{path}{suffix}", f"{aside}{suffix}")
                except FileNotFoundError:
                    pass
        return aside

    # --- peers that were joined for good ---

    def read_peers(self) -> list[str]:
        return read_peers(self.path)

    def write_peers(self, addresses: Iterable[str]) -> None:
        self._replace(PEERS, "".join(f"{address}\n" for address in sorted(addresses)))


def read_peers(home: Path) -> list[str]:
    """The words of the file in a state directory, unchecked. Raises StorageError."""
    path = home / PEERS
    try:
        with path.open("rb") as file:
            text = file.read(PEERS_BYTES_MAX + 1)
        if len(text) > PEERS_BYTES_MAX:
            raise StorageError(f"{path} has more than {PEERS_BYTES_MAX:,} bytes")
        return text.decode("utf-8").split()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise StorageError(f"can't read {path}: {error}") from error


def _check(node: str, life: str) -> str:
    return f"{crc32(f'{node} {life}'.encode()):08x}"


def _lock(directory: Path) -> int:
    """Keep other daemons out; a descriptor that holds the lock."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CantCreate(
            f"can't use the state directory {directory}: {_why_not(directory, error)}",
            hint="name another one with --data DIR, or keep nothing on disk with --memory",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.pread(lock, _PID_WIDTH, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise CantCreate(
            f"the state directory {directory} is in use by another scuttled (pid {pid or '?'})",
            hint="stop it, or give this one a state of its own with --data DIR",
        ) from None
    return lock


def _why_not(directory: Path, error: OSError) -> str:
    """ "File exists" is what the kernel says of anything in the way that is no directory."""
    if os.path.islink(directory) and not os.path.exists(directory):
        return f"it is a link to {os.readlink(directory)}, which is not there"
    if os.path.exists(directory) and not os.path.isdir(directory):
        return "it is not a directory"
    return error.strerror or str(error)
