"""State directories that a disk, or somebody's hand, has changed: opened as a daemon opens them.

What is loaded is what was saved, or it is set aside and said so; nothing but our errors comes out,
and what can be loaded can be written to, closed and loaded again.
"""

import random
import tempfile
import zlib
from pathlib import Path

import msgpack
from support.doors import CORPUS, Door, check_words
from support.mutate import Mutator
from support.scenes import state

from scuttled.errors import StorageError
from scuttled.node.membership import NodeSettings
from scuttled.node.node import Node
from scuttled.replica.hlc import Author
from scuttled.replica.update import timestamp_of
from scuttled.storage.directory import FILE
from scuttled.storage.storage import Damaged, SavedModel, Storage

PAGE = 4096
HEADER = 100  # bytes; a shorter file is an empty one
BASE = "base"  # of an input: the name of the corpus file it was made from
WAL = f"{FILE}-wal"
NOW_MS = 1_795_401_400_000


class DatabaseDoor(Door):
    name = "database"
    rooms = (
        "storage/storage.py",
        "storage/database.py",
        "storage/schema.py",
        "storage/directory.py",
        "storage/errors.py",
        "replica/checkpoint.py",
        "replica/arrival_log.py",
    )

    def corpus(self) -> list[bytes]:
        files = sorted((CORPUS / self.name).iterdir())
        return [
            pack({BASE: file.name.encode(), **unpack(file.read_bytes())})
            if not file.name.startswith("found")
            else file.read_bytes()
            for file in files
        ]

    def mutated(self, m: Mutator, data: bytes, corpus: list[bytes]) -> bytes:
        files = unpack(data)
        for _ in range(m.times()):
            name = m.rng.choice([FILE, FILE, FILE, FILE, *(name for name in files if name != BASE)])
            if name not in files:
                continue
            if m.rng.random() < 0.02:
                del files[name]
            elif name in (FILE, WAL) and files[name] and m.rng.random() < 0.4:
                files[name] = self._page(m, files[name])
            else:
                files[name] = self._poke(m, files[name])
        return pack(files)

    def _poke(self, m: Mutator, data: bytes) -> bytes:
        """A change that leaves everything else where it is; now and then any."""
        if m.rng.random() < 0.1 or not data:
            return m.bytes(data)
        at = max((m.rng.randrange(len(data)) for _ in range(8)), key=lambda at: data[at] > 0)
        if m.rng.random() < 0.4:  # where pages say what is in them
            at = at // PAGE * PAGE + m.rng.randrange(120)
        size = m.rng.choice((1, 1, 2, 4, 8))
        piece = m.bytes(data[at : at + size])[:size].ljust(size, b"\0")
        return data[:at] + piece[: len(data) - at] + data[at + size :]

    def _page(self, m: Mutator, data: bytes) -> bytes:
        pages = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
        at, to = m.rng.randrange(len(pages)), m.rng.randrange(len(pages))
        match m.rng.randrange(4):
            case 0:
                pages[at] = bytes(len(pages[at]))
            case 1:
                pages[at] = pages[to]
            case 2:
                del pages[at:]
            case 3:
                pages[at], pages[to] = pages[to], pages[at]
        return b"".join(pages)

    def take(self, data: bytes, rng: random.Random) -> None:
        files = unpack(data)
        base = files.pop(BASE).decode()
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            try:
                self._open(Path(folder), base, rng)
            except StorageError as error:
                check_words(error.message, most=1000, any_of=(folder,))

    def _open(self, folder: Path, base: str, rng: random.Random) -> None:
        """As a daemon does."""
        path = folder / FILE
        gone = not path.exists() or path.stat().st_size < HEADER  # a new database, for SQLite
        storage = Storage(folder, "normal", NOW_MS)
        try:
            begun = storage.begin("boot", rng.getrandbits)
            assert begun.identity.node_id
            try:
                node = load(storage, begun.identity.node_id, begun.identity.life)
            except Damaged as found:
                storage.set_aside(found, NOW_MS)
                storage.begin("boot", rng.getrandbits)
                node = load(storage, begun.identity.node_id, begun.identity.life)
            if not storage.damage and not gone:
                check(node, saved(base), whole=not base.startswith("crashed"))
            elif not gone:
                assert "set aside as" in storage.damage
                assert list(folder.glob(f"{FILE}.damaged-*"))
            storage.read_peers()
            node.create("more", "map")
            while (batch := node.durability.unsaved(clocks=True)) is not None:
                storage.write(batch)
                node.saved(batch)
        finally:
            storage.close()
        self._open_again(folder, node)

    def _open_again(self, folder: Path, node: Node) -> None:
        storage = Storage(folder, "normal", NOW_MS)
        try:
            assert not storage.damage
            again = load(storage, node.author.node_id, node.author.life)
            for name, model in node.models.items():
                assert state(again.models[name])[0] == state(model)[0]
        finally:
            storage.close()


def pack(files: dict[str, bytes]) -> bytes:
    return zlib.compress(msgpack.packb(files), 1)


def unpack(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = msgpack.unpackb(zlib.decompress(data))
    return files


class _Loaded(Node):
    """A node that keeps what it was given."""

    given: list[SavedModel]


def load(storage: Storage, node_id: bytes, life: int) -> _Loaded:
    author = Author(node_id, life, now_ms=lambda: NOW_MS)  # type: ignore[arg-type]
    node = _Loaded(author, NodeSettings("n", "default", bytes(8)), stored=True)
    node.given = list(storage.load())
    node.begin(node.given, NOW_MS)
    return node


_SAVED: dict[str, dict[str, SavedModel]] = {}


def saved(base: str) -> dict[str, SavedModel]:
    """What a state of the corpus holds."""
    if base not in _SAVED:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in unpack((CORPUS / "database" / base).read_bytes()).items():
                (Path(folder) / name).write_bytes(content)
            storage = Storage(Path(folder), "normal")
            _SAVED[base] = {model.name: model for model in storage.load()}
            storage.close()
    return _SAVED[base]


def check(node: _Loaded, saved: dict[str, SavedModel], *, whole: bool) -> None:
    """Loaded is what was saved; of a state that was cut off, something that it once was."""
    given = {model.name: model for model in node.given}
    if whole:
        assert given == saved, (
            f"not what was saved, and nothing was said: {differing(given, saved)}"
        )
        return
    for name, model in given.items():
        known = saved[name]
        rows = set(zip(known.positions, known.records, known.sources, strict=True))
        loaded = list(zip(model.positions, model.records, model.sources, strict=True))
        held = {(source, timestamp_of(record)) for _, record, source in loaded}
        for source, time in model.clock.items():
            assert time <= known.clock.get(source, 0)
            needed = {
                (s, t)
                for _, record, s in rows
                if s == source and (t := timestamp_of(record)) <= time
            }
            assert needed <= held, f"the clock of {name} covers what is not there (I3)"


def differing(one: dict[str, SavedModel], other: dict[str, SavedModel]) -> list[str]:
    return [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]


def test_whatever_a_disk_gives_back_it_is_what_was_saved_or_is_set_aside() -> None:
    DatabaseDoor().fuzz(150)
