"""A file that is replaced as a whole or not at all.

It is written under another name in the same folder, and takes its own by a rename: whoever reads
it finds the old one or the new one, also after a power cut. Raises OSError; callers give it words.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


@contextmanager
def replacing(
    path: str | os.PathLike[str],
    unfinished: str | os.PathLike[str],
    *,
    mode: int = 0o666,
    durable: bool = True,
) -> Iterator[BinaryIO]:
    """A file to write that takes the name `path` when the block ends without an error.

    Until then it is `unfinished`, in the same folder; after an error that is gone, and all is as
    before. `durable` waits for the disk before the old file goes; see also `sync_folder`.
    """
    with suppress(FileNotFoundError):
        os.unlink(unfinished)  # of a writer that was killed
    try:  # before it is made: a signal may come between that and the next line
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(unfinished, flags, mode), "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):  # it could not be made
            os.unlink(unfinished)
        raise


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Have the names in a folder on disk: the rename of `replacing` may else be lost."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
