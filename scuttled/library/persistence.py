"""State directory of a program: its models, and who it is, from one start to the next (I5).

    lock         held by flock while a program runs; its state is `!` until it has ended in order
    identity     node id, life and a check
    NAME.model   a model, as `save` writes it
    ended        how the last one left it all: | crc32, 8 digits | blank | JSON | newline |

A program that is somebody new at each start is a new source at each start, and a clock has room
for so many. To go on as the same source is right only for who can't have forgotten anything that
a peer may have of it. So a program goes on under its life if the one before has ended in order,
and left behind just these files, in this place; else it takes a life that nobody has drawn:

    it was killed             the lock is marked
    the directory was copied, or restored from a backup       other inodes, or another time
    a model was restored      its file is not the one that was saved last
"""

import json
import os
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from zlib import crc32

from scuttled.errors import DataError, StorageError, UsageError
from scuttled.library.model_file import dump, load, write_whole
from scuttled.models.registry import check_name
from scuttled.replica.default_author import new_author, same_author
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import TIMESTAMP_MAX
from scuttled.storage.directory import FILE as DATABASE
from scuttled.storage.directory import Directory, Identity
from scuttled.storage.storage import another_life

SUFFIX = ".model"
ENDED = "ended"

M = TypeVar("M", bound=Scuttlebutt)


class _LastRun(NamedTuple):
    """State in which a program left its directory."""

    places: str  # see storage.directory
    last: int  # the author has made no timestamp above it
    digests: Mapping[str, str]  # of the files of models, by name


class StateDirectory:
    """The directory of one program; until `close`, or the end of the `with`, nobody else's.

    `author` writes in its models: the same one from start to start, if that is safe; `renewed`
    says why it took a new life, "" if it did not. With an author who signs it is that one.

    Raises CantCreate if another program or a daemon uses it, or it can't be made; UsageError if
    it is another author's; DataError if it is a daemon's.
    """

    def __init__(self, path: str | Path, author: Author | None = None) -> None:
        if not os.fspath(path):
            raise UsageError("a state directory without a name: an empty variable, maybe")
        self.path = Path(path)
        if (self.path / DATABASE).exists():
            raise DataError(
                f"{self.path} is the state of a daemon: give the program one of its own"
            )
        self._directory = Directory(self.path)
        self._closed = False
        self._pid = os.getpid()
        self._models: dict[str, Scuttlebutt] = {}
        try:
            ended = self._read_ended()
            self._digests = {file.stem: _digest(file) for file in self._files()}
            known = self._directory.read_identity()
            self.renewed = "" if known is None else self._why_renewed(ended)
            self.author = self._as_author(author, known, ended)
            self._write_identity()
            self._directory.mark()  # before anybody writes
            self._directory.enter()
        except BaseException:
            self._directory.close()
            raise

    # --- as whom ---

    def _as_author(
        self, author: Author | None, known: Identity | None, ended: _LastRun | None
    ) -> Author:
        if known is None:
            return author or new_author()
        life = another_life(known.life, secrets.randbits) if self.renewed else known.life
        if author is None:
            author = same_author(known.node_id, life)
        elif author.node_id == known.node_id:
            author.live_as(life)
        else:
            raise UsageError(
                f"{self.path} is the state of {known.node_id.hex()}, and the author that was "
                f"given is {author.node_id.hex()}"
            )
        author.hlc.observe(ended.last if ended is not None else 0)
        return author

    def _why_renewed(self, ended: _LastRun | None) -> str:
        if self._directory.marked:
            return "the program before did not end in order: what it wrote last may be lost"
        if ended is None:
            return f"{self.path / ENDED} is gone or damaged"
        if ended.places != self._directory.found:
            return "the directory was copied, or restored from a backup"
        changed = sorted(
            name
            for name in ended.digests.keys() | self._digests.keys()
            if ended.digests.get(name) != self._digests.get(name)
        )
        if changed:
            return f"not what was saved last: {', '.join(changed)}"
        return ""

    def _write_identity(self) -> None:
        self._directory.write_identity(Identity(self.author.node_id, self.author.life))

    # --- models ---

    def open(self, kind: type[M], name: str = "default") -> M:
        """The model of that name, with what was saved of it.

        Raises DataError at a name that can't be, or if its file is damaged or of another type;
        UsageError if it is open as another type.
        """
        self._demand_open()
        check_name(name)
        known = self._models.get(name)
        if known is None:
            model = kind(name, self.author)
            file = self._file(name)
            if file.exists():
                load(model, file)
            self._models[name] = model
            return model
        if not isinstance(known, kind):
            raise UsageError(f"'{name}' is open as a {known.data_type}, not a {kind.data_type}")
        return known

    def _file(self, name: str) -> Path:
        return self.path / f"{name}{SUFFIX}"

    def _files(self) -> list[Path]:
        return sorted(self.path.glob(f"*{SUFFIX}"))

    def save(self) -> None:
        """Write all open models; on disk when this returns. Each file is replaced as a whole."""
        self._demand_open()
        if self.author.life != self._life_on_disk():
            self._write_identity()  # a peer knew more of it than we
        for name, model in self._models.items():
            data = dump(model)
            write_whole(self._file(name), data)
            self._digests[name] = sha256(data).hexdigest()

    def _life_on_disk(self) -> int:
        known = self._directory.read_identity()
        return known.life if known is not None else 0

    def _demand_open(self) -> None:
        if self._closed:
            raise UsageError(f"the state directory {self.path} was closed")
        if os.getpid() != self._pid:
            raise UsageError(f"the state directory {self.path} is that of process {self._pid}")

    # --- the end ---

    def close(self) -> None:
        """Save all, and let go of the directory. Nothing if that was done.

        The models can still be used, but what is written to them from now on is written under a
        life of its own, and is not saved. If saving fails the next program takes a new life.
        """
        if self._closed or os.getpid() != self._pid:
            return  # a process that was forked off leaves it to the one it comes from
        try:
            self.save()
            last = self.author.hlc.last
            self.author.live_as(another_life(self.author.life, secrets.randbits))
            self._directory.unmark()
            self._write_ended(_LastRun(self._directory.places(), last, self._digests))
        finally:
            self._closed = True
            self._directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write_ended(self, ended: _LastRun) -> None:
        text = json.dumps({"v": 1, **ended._asdict()}, sort_keys=True)
        line = f"{crc32(text.encode()):08x} {text}\n"
        write_whole(self.path / ENDED, line.encode())

    def _read_ended(self) -> _LastRun | None:
        """None if the file is gone, or is not what was written."""
        try:
            check, _, text = (self.path / ENDED).read_text("utf-8").partition(" ")
            if check != f"{crc32(text.removesuffix(chr(10)).encode()):08x}":
                return None
            fields: dict[str, Any] = json.loads(text)
            ended = _LastRun(fields["places"], fields["last"], fields["digests"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        except OSError as error:
            raise StorageError(f"can't read {self.path / ENDED}: {error.strerror}") from error
        sane = type(ended.last) is int and 0 <= ended.last <= TIMESTAMP_MAX
        return ended if sane and isinstance(ended.digests, dict) else None


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        hashed = sha256()
        while data := opened.read(1 << 20):
            hashed.update(data)
    return hashed.hexdigest()
