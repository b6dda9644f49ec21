"""Files that commands read and write. `-` is standard input or output everywhere."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, BinaryIO

from scuttled.errors import CantCreate, DataError, NoInput, StorageError
from scuttled.runtime.whole_file import replacing

LINE_BYTES_MAX = 16 << 20  # the largest value, every byte of it escaped, twice: below 8 MiB

_COPY_IN_MEMORY_BYTES = 8 << 20
_COPY_PIECE_BYTES = 1 << 20


@contextmanager
def open_to_read(path: str) -> Iterator[BinaryIO]:
    """The file's bytes. Raises NoInput if it is not there or may not be read."""
    if path == "-":
        if sys.stdin is None:
            raise NoInput("standard input is closed")
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")
    except OSError as error:
        raise NoInput(f"{path} not read: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def open_to_reread(path: str) -> Iterator[IO[bytes]]:
    """The file's bytes, to be read more than once.

    Standard input and what else can't be rewound is copied first, to memory and, what is large, to
    a file without a name.
    """
    with open_to_read(path) as file:
        if path != "-" and file.seekable():
            yield file
            return
        from tempfile import SpooledTemporaryFile

        name = "standard input" if path == "-" else path
        with SpooledTemporaryFile(_COPY_IN_MEMORY_BYTES) as copy:
            while piece := read_piece(file, name, _COPY_PIECE_BYTES):
                try:
                    copy.write(piece)
                except OSError as error:
                    raise _not_copied(name, error) from error
            yield copy


def _not_copied(name: str, error: OSError) -> StorageError:
    return StorageError(
        f"{name} not copied to a temporary file: {error.strerror}",
        hint="TMPDIR names the directory for it",
    )


def read_piece(file: BinaryIO, path: str, most: int) -> bytes:
    """Bytes that one system call gives; b"" at the end.

    `read` makes as many calls as it takes, in C: a signal between two of them would be heeded
    only when the last one is over, which from a pipe may be never.
    """
    with reading(path):
        return file.read1(most)  # type: ignore[attr-defined, no-any-return]


def read_all(file: BinaryIO, path: str, most: int) -> bytes:
    """All there is, up to `most` bytes."""
    content = b""
    while len(content) < most and (piece := read_piece(file, path, most - len(content))):
        content += piece
    return content


def lines_of(file: IO[bytes], path: str) -> Iterator[bytes]:
    """Its lines. Raises DataError at one that is too long, StorageError if the disk fails."""
    number = 0
    while True:
        with reading(path):
            line = file.readline(LINE_BYTES_MAX + 1)
        if not line:
            return
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise DataError(f"line {number}: longer than {LINE_BYTES_MAX} bytes")
        yield line


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Around reads: a disk or a pipe that fails is an error with the file's name."""
    try:
        yield
    except IsADirectoryError as error:
        raise NoInput(f"{path} not read: it is a directory") from error
    except OSError as error:
        raise StorageError(f"{path} not read: {error.strerror}") from error


def write_whole(path: str, text: str) -> None:
    """A small file, replaced as a whole or not at all."""
    with open_whole(path, durable=False) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


@contextmanager
def open_whole(path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write that takes its name when all is written; after an error all is as before.

    What is there and is no regular file (a pipe, /dev/stdout) is written to as it is. `durable`
    waits for the disk before the old file goes. Raises CantCreate, StorageError.
    """
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        try:
            there = os.fdopen(os.open(path, os.O_WRONLY | os.O_CLOEXEC), "wb")
        except OSError as error:
            raise CantCreate(f"{path} not written: {error.strerror}") from error
        with _writing(path), there:
            yield there
            there.flush()
        return
    folder, name = os.path.split(path)
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}.unfinished")
    with _writing(path), ExitStack() as stack:
        try:
            file = stack.enter_context(replacing(path, unfinished, durable=durable))
        except OSError as error:
            raise CantCreate(f"{path} not written: {error.strerror}") from error
        yield file


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise StorageError(f"{path} not written: {error.strerror}") from error
