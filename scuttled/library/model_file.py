"""A model in a file: what `save` writes and `load` merges, as a whole or not at all.

    file:  CLOCK | DELTA ... | DELTA with the commit, and the check in the place of its cursor

The frames in which the model would be sent to a peer that has nothing. The check is over all
bytes of the file, its own taken as 0; one of 0 is that of a file from before there was one. So
an older scuttled reads what is written today, and the other way round.
"""

import os
import secrets
import warnings
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import IO

from scuttled.errors import DataError, RemoteProtocolError, TooManySources, UsageError
from scuttled.library.authors import MAX_SKEW_MS
from scuttled.protocol import codec
from scuttled.protocol.messages import ClockMessage, Delta
from scuttled.replica.default_author import wall_ms
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.sources import check_together
from scuttled.replica.update import TICKS_PER_MS, Source, Stamp, stamp
from scuttled.replica.version_vector import Clock
from scuttled.runtime.whole_file import replacing, sync_folder

DUMP_BYTES = 64 << 10  # of updates, in one frame
READ_BYTES = 256 << 10
HEADER_BYTES = 4  # of a frame: its length
CHECK_BIT = 1 << 62  # set in every check, so that none is 0


class UncheckedFile(UserWarning):
    """A file was loaded that an older scuttled saved: damage in it can't be seen."""


def dump(model: Scuttlebutt) -> bytes:
    """All of a model, in the form of a file.

    Raises UsageError in another thread than the one that replicates it: it may change meanwhile.
    """
    model.observed.admit()
    clock = model.clock.copy_times()
    frames = [
        codec.encode(
            ClockMessage(model.name, model.data_type, clock, model.floor.copy_times(), round=1)
        )
    ]
    runs: dict[Source, list[bytes]] = {}
    size = 0
    for update in model.history(Clock()):
        record = update.record
        if runs and size + len(record) > DUMP_BYTES:
            frames.append(_delta(model, runs, None))
            runs = {}
            size = 0
        runs.setdefault(update.source, []).append(record)
        size += len(record)
    frames.append(_delta(model, runs, None))
    last = Delta(model.name, 1, [], 0, clock)
    check = _check(blake2b(b"".join(frames)), last)
    frames.append(codec.encode(replace(last, cursor=check)))
    return b"".join(frames)


def _delta(
    model: Scuttlebutt, runs: dict[Source, list[bytes]], commit: dict[Source, int] | None
) -> bytes:
    return codec.encode(Delta(model.name, 1, list(runs.items()), 0, commit))


def _check(before: blake2b, last: Delta) -> int:
    """Over all that stands before the last frame, and that frame."""
    whole = before.copy()
    whole.update(codec.encode(replace(last, cursor=0)))
    return int.from_bytes(whole.digest()[:8], "big") >> 2 | CHECK_BIT


def save(model: Scuttlebutt, file: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write all of a model to a binary stream, or to a file: then as a whole or not at all.

    A file keeps its mode, and is on disk when this returns.
    """
    if isinstance(file, str | os.PathLike):
        write_whole(Path(file), dump(model))
    else:
        file.write(dump(model))


def write_whole(path: Path, data: bytes) -> None:
    """Put that into a file, in the place of what it held; on an error that is left as it was."""
    path = path.resolve()  # behind a link
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with replacing(path, part) as out:
        if path.exists():
            os.fchmod(out.fileno(), path.stat().st_mode & 0o7777)
        out.write(data)
    sync_folder(path.parent)


def load(model: Scuttlebutt, file: str | os.PathLike[str] | IO[bytes]) -> int:
    """Merge what `save` wrote into a model; how many updates were news to it.

    Raises DataError, and the model is as it was, if the file is damaged, ends too early, is of
    another type, holds what is stamped too far in the future or not signed as it should be, lies
    above what the model knows of deletions, or brings more sources than a clock can have. Warns
    of UncheckedFile if it is so old that it has no check.
    """
    if isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as opened:
            return load(model, opened)
    gathered = type(model)(model.name, Author(model.author.node_id, now_ms=wall_ms))
    gathered.author.verifier = model.author.verifier
    try:
        _gather(gathered, file)
    except RemoteProtocolError as error:
        raise DataError(f"not a saved {model.data_type}: {error.message}") from None
    if model.log.live and not model.clock.covers_all(gathered.floor.items()):
        raise DataError(
            "what was saved has forgotten deletions that this model may not know: "
            "load it into an empty one"
        )
    model.observed.admit()
    if len(model.clock):
        # A file that alone has too many sources was written by a version that did not look: it can
        # still be read into an empty model, though no peer can be told of that.
        try:
            check_together(model.clock, gathered.clock.copy_times(), model.name)
        except TooManySources as error:
            words = f"together with what is there {error.message}: load it into an empty one"
            raise DataError(words) from None
    model.floor.merge(gathered.floor.items())
    before = model.log.end
    held = [(update.source, [update.record]) for update in gathered.history(Clock())]
    model.receive(held, _limit())
    model.clock.merge(gathered.clock.items())
    model.commit(())
    return model.log.end - before


def _gather(model: Scuttlebutt, file: IO[bytes]) -> None:
    """All that the file holds, into an empty model. Raises RemoteProtocolError, DataError."""
    before = blake2b()  # over the frames so far
    whole = False  # the last frame was there
    for number, frame in enumerate(_frames(file)):
        message = codec.decode(frame[HEADER_BYTES:])
        if whole:
            raise DataError("something stands behind the end of what was saved")
        if number == 0 and isinstance(message, ClockMessage):
            if message.data_type != model.data_type:
                raise DataError(f"a saved {message.data_type}, not a {model.data_type}")
            model.floor.merge(message.floor.items())
        elif number == 0 or not isinstance(message, Delta):
            raise RemoteProtocolError(f"{type(message).__name__} where none belongs")
        else:
            if message.commit is not None:
                whole = True
                _verify(before, frame, message)
            received = model.receive(message.runs, _limit())
            if received.refused:
                raise DataError(f"{received.refused} updates are stamped in the future")
            if received.doubted:
                raise DataError(f"updates that are {', '.join(received.doubted)}")
            if message.commit is not None:
                model.clock.merge(message.commit.items())
        before.update(frame)
    if not whole:
        raise DataError("the file ends too early: what was saved is not all there")


def _verify(before: blake2b, frame: bytes, last: Delta) -> None:
    """That all is as it was saved. Raises DataError; warns where that can't be told."""
    if last.cursor == 0:
        warnings.warn(
            "the file has no check, since an older scuttled saved it: damage in it can't be seen; "
            "save it anew",
            UncheckedFile,
            stacklevel=2,
        )
    elif last.cursor != _check(before, last) or frame != codec.encode(last):
        raise DataError("the file is damaged: it is not what was saved")


def _frames(file: IO[bytes]) -> Iterator[bytes]:
    """The frames of a file, one by one. Raises DataError, RemoteProtocolError."""
    buffer = bytearray()
    read = 0
    while data := file.read(READ_BYTES):
        if not isinstance(data, bytes):
            raise UsageError("the file gives text: open it with mode 'rb'")
        if not read and (what := _other_kind(data)):
            raise DataError(f"not a saved model, but {what}")
        read += len(data)
        buffer += data
        while len(buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(buffer[:HEADER_BYTES], "big")
            if end > HEADER_BYTES + codec.FRAME_BYTES_MAX:
                raise RemoteProtocolError(
                    f"a frame of {end - HEADER_BYTES} bytes, at most {codec.FRAME_BYTES_MAX}"
                )
            if len(buffer) < end:
                break
            yield bytes(buffer[:end])
            del buffer[:end]
    if not read:
        raise DataError("the file is empty: it ends too early to be a saved model")
    if buffer:
        raise DataError(f"the file ends too early, or {len(buffer)} bytes were added to it")


def _other_kind(begin: bytes) -> str:
    """The kind of a file that begins so, if it is easily mistaken for a saved model."""
    if begin.startswith(b"{"):
        return "JSON, as `scuttled export` writes it: that is for `scuttled import`"
    if begin.startswith(b"SQLite format 3\0"):
        return "a database, as a daemon keeps it in its state directory"
    return ""


def _limit() -> Stamp:
    return stamp((wall_ms() + MAX_SKEW_MS) * TICKS_PER_MS)
