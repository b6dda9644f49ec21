"""A file that is replaced as a whole or not at all."""

import os
from pathlib import Path

import pytest

from scuttled.runtime.whole_file import replacing, sync_folder


def test_until_the_end_the_old_file_is_there_and_then_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path, tmp_path / "file.new") as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    sync_folder(tmp_path)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_after_an_error_all_is_as_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path, tmp_path / "file.new") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_no_hindrance_and_lends_its_mode_to_nobody(
    tmp_path: Path,
) -> None:
    left = tmp_path / "file.new"
    left.write_bytes(b"much longer than what comes")
    left.chmod(0o644)
    with replacing(tmp_path / "file", left, mode=0o600) as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_made_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "file.new").mkdir()
    with (
        pytest.raises(OSError, match="directory"),
        replacing(tmp_path / "file", tmp_path / "file.new"),
    ):
        pytest.fail("there is nothing to write to")
    assert not (tmp_path / "file").exists()
