"""What is read back from a disk is what was written, or is not believed: every bit is flipped.

The saved file of a program is in library/test_saved_file, its note in library/test_persistence,
the database in test_faults.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.scripted_daemon import ScriptedDaemon, Scuttled

from scuttled.cli.import_format import JsonLinesReader
from scuttled.errors import DataError, StorageError
from scuttled.replica.update import NodeId
from scuttled.runtime import keys
from scuttled.storage.directory import IDENTITY, LOCK, Directory, Identity

SEED = bytes(range(32))


def flipped(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        for bit in range(8):
            bad = bytearray(data)
            bad[at] ^= 1 << bit
            yield bytes(bad)


def damaged(data: bytes) -> Iterator[bytes]:
    """Flipped, cut, added to, and of another kind."""
    yield from flipped(data)
    yield from (data[:end] for end in range(len(data) - 1))
    yield from (data + junk for junk in (b"x", b"00", b"\0", b" 1"))
    yield from (b"", b"\0" * 100, b"\xff" * 100, b"SQLite format 3\0", b"[]\n", b"\n\n\n")


def test_an_identity_is_the_one_that_was_written_or_none(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    identity = Identity(NodeId(b"\x9f:\xc2\x1bD\xd0\xe7\x13"), 2**31 + 7)
    directory.write_identity(identity)
    found = directory.read_identity()
    assert found == identity
    data = (tmp_path / IDENTITY).read_bytes()
    for bad in damaged(data):
        (tmp_path / IDENTITY).write_bytes(bad)
        # White space says nothing, so another one in its place does no harm.
        assert directory.read_identity() == (identity if bad.split() == data.split() else None)
    directory.close()


def test_a_mark_that_is_neither_there_nor_not_is_taken_for_one(tmp_path: Path) -> None:
    Directory(tmp_path).close()
    clean = (tmp_path / LOCK).read_bytes()
    directory = Directory(tmp_path)
    directory.mark()
    directory.close()
    marked = (tmp_path / LOCK).read_bytes()
    (at,) = [at for at in range(len(clean)) if clean[at] != marked[at]]
    for data in (marked, clean):
        for bit in range(8):
            bad = bytearray(data)
            bad[at] ^= 1 << bit
            (tmp_path / LOCK).write_bytes(bad)
            directory = Directory(tmp_path)
            assert directory.marked, bytes(bad)
            directory.close()


def test_a_key_is_the_one_that_was_written_or_an_error_that_names_the_file(tmp_path: Path) -> None:
    keys.write_key(tmp_path, SEED)
    assert keys.read_key(tmp_path) == SEED
    key, check = tmp_path / "key", tmp_path / "key.check"
    assert {file.stat().st_mode & 0o777 for file in (key, check)} == {0o600}
    for file in (key, check):
        whole = file.read_bytes()
        for bad in damaged(whole):
            file.write_bytes(bad)
            # An "A" is as good as an "a" in the key, and so is another space at the end.
            same = bad.strip() == whole.strip() or (
                file == key and bad.strip().lower() == whole.strip()
            )
            if same:
                assert keys.read_key(tmp_path) == SEED
            else:
                with pytest.raises(StorageError, match="key is damaged"):
                    keys.read_key(tmp_path)
        file.write_bytes(whole)


def test_another_key_comes_with_another_check(tmp_path: Path) -> None:
    keys.write_key(tmp_path, SEED)
    keys.write_key(tmp_path, SEED[::-1])
    assert keys.read_key(tmp_path) == SEED[::-1]


def test_a_key_from_before_there_was_a_check_is_read_and_given_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SEED.hex() + "\n")
    assert keys.read_key(tmp_path) == SEED
    assert not keys.has_check(tmp_path)
    keys.write_check(tmp_path, SEED)
    assert keys.read_key(tmp_path) == SEED
    (tmp_path / "key").write_text(SEED.hex().replace("1f", "1e") + "\n")
    with pytest.raises(StorageError, match="it is not the key that"):
        keys.read_key(tmp_path)


@pytest.mark.parametrize("args", [[], ["--all-models"]], ids=["one model", "all models"])
def test_an_export_is_the_one_that_was_written_or_refused(
    daemon: ScriptedDaemon, scuttled: Scuttled, args: list[str]
) -> None:
    daemon.put("a", b"1")
    daemon.put("b", b"\xff", "bytes")
    whole = scuttled("export", *args).out
    expected = list(JsonLinesReader(whole.splitlines(keepends=True)))
    for bad in flipped(whole):
        try:
            found = list(JsonLinesReader(bad.splitlines(keepends=True)))
        except DataError:
            continue
        assert found == expected, bad
