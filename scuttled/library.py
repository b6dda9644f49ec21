"""Models in a program of one's own: what `from scuttled import ...` gives, but for the streams.

Here the core, which is told the time and draws nothing, gets a clock and an identity.
"""

import os
import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

from scuttled.core import wire
from scuttled.core.clock import Clock
from scuttled.core.hlc import Author
from scuttled.core.messages import ClockMessage, Delta
from scuttled.core.scuttlebutt import Scuttlebutt
from scuttled.core.security import Doubt, Seal, id_of_key
from scuttled.core.sources import check_together
from scuttled.core.update import NODE_ID_BYTES, TICKS_PER_MS, NodeId, Source, Stamp, stamp
from scuttled.errors import DataError, RemoteProtocolError, TooManySources, UsageError
from scuttled.signing import SEED_BYTES, check_with_ed25519, make_seal

MAX_SKEW_MS = 60_000
DUMP_BYTES = 64 << 10  # of updates, in one frame
READ_BYTES = 256 << 10
LIFE_MAX = 2**31  # of lives drawn at random; there is room to count on from there


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def new_author(
    seal: Seal | None = None, doubt: Callable[[str, Source, bytes], str] | None = None
) -> Author:
    """Somebody who never wrote before.

    A program that starts again and loads what it had is somebody new as well: so what it may have
    forgotten can't be mixed up with what it writes now (I5). With a `seal` all that is written is
    signed, and the id is that of the key, so that only the life is new; `doubt` says why an update
    is not to be believed.
    """
    if seal is None:
        author = Author(NodeId(secrets.token_bytes(NODE_ID_BYTES)), now_ms=wall_ms, is_guest=True)
    else:
        life = 1 + secrets.randbelow(LIFE_MAX)
        author = Author(id_of_key(seal.key), life, now_ms=wall_ms, is_guest=True)
    author.seal, author.doubt = seal, doubt
    return author


def signing_author(seed: bytes | None = None, trust: Collection[str] = ()) -> Author:
    """Somebody who signs with the Ed25519 key of that seed (32 bytes), a new one if there is none.

    Believes what is signed by those whose ids are trusted, all who sign if none are named. Raises
    Unavailable without the extra `secure`, UsageError at a seed or an id that is none.
    """
    seed = secrets.token_bytes(SEED_BYTES) if seed is None else seed
    if len(seed) != SEED_BYTES:
        raise UsageError(f"a seed of {len(seed)} bytes, expected {SEED_BYTES}")
    try:
        nodes = frozenset(NodeId(bytes.fromhex(node)) for node in trust)
    except ValueError:
        raise UsageError(f"trust in {trust!r:.80}, expected ids of 16 hexadecimal digits") from None
    return new_author(make_seal(seed), Doubt(check_with_ed25519(), nodes))


Scuttlebutt.new_author = staticmethod(new_author)


def dump(model: Scuttlebutt) -> bytes:
    """All of a model, in the frames in which it would be sent to a peer that has nothing."""
    clock = model.clock.copy_times()
    frames = [
        wire.encode(
            ClockMessage(model.name, model.data_type, clock, model.floor.copy_times(), round=1)
        )
    ]
    runs: dict[Source, list[bytes]] = {}
    size = 0
    for update in model.history(Clock()):
        record = update.record
        if runs and size + len(record) > DUMP_BYTES:
            frames.append(_delta(model, runs, None))
            runs, size = {}, 0
        runs.setdefault(update.source, []).append(record)
        size += len(record)
    frames.append(_delta(model, runs, None))
    frames.append(_delta(model, {}, clock))
    return b"".join(frames)


def _delta(
    model: Scuttlebutt, runs: dict[Source, list[bytes]], commit: dict[Source, int] | None
) -> bytes:
    return wire.encode(Delta(model.name, 1, list(runs.items()), 0, commit))


def save(model: Scuttlebutt, file: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write all of a model to a binary stream, or to a file: then as a whole or not at all."""
    if not isinstance(file, str | os.PathLike):
        file.write(dump(model))
        return
    path = Path(file)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as out:
            out.write(dump(model))
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(model: Scuttlebutt, file: str | os.PathLike[str] | IO[bytes]) -> int:
    """Merge what `save` wrote into a model; how many updates were news to it.

    Raises DataError, and the model is as it was, if the file is damaged, ends too early, is of
    another type, holds what is stamped too far in the future or not signed as it should be, lies
    above what the model knows of deletions, or brings more sources than a clock can have.
    """
    if isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as opened:
            return load(model, opened)
    gathered = type(model)(model.name, Author(model.author.node_id, now_ms=wall_ms))
    gathered.author.doubt = model.author.doubt
    try:
        _gather(gathered, file)
    except RemoteProtocolError as error:
        raise DataError(f"not a saved {model.data_type}: {error.message}") from None
    if model.log.live and not model.clock.covers_all(gathered.floor.items()):
        raise DataError(
            "what was saved has forgotten deletions that this model may not know: "
            "load it into an empty one"
        )
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
    frames, whole = wire.Frames(), False
    frames.trust()
    first = True
    while data := file.read(READ_BYTES):
        for message in frames.feed(data):
            if first and isinstance(message, ClockMessage):
                if message.data_type != model.data_type:
                    raise DataError(f"a saved {message.data_type}, not a {model.data_type}")
                model.floor.merge(message.floor.items())
            elif first or whole or not isinstance(message, Delta):
                raise RemoteProtocolError(f"{type(message).__name__} where none belongs")
            else:
                received = model.receive(message.runs, _limit())
                if received.refused:
                    raise DataError(f"{received.refused} updates are stamped in the future")
                if received.doubted:
                    raise DataError(f"updates that are {', '.join(received.doubted)}")
                if message.commit is not None:
                    model.clock.merge(message.commit.items())
                    whole = True
            first = False
    if not whole:
        raise DataError("the file ends too early: what was saved is not all there")


def _limit() -> Stamp:
    return stamp((wall_ms() + MAX_SKEW_MS) * TICKS_PER_MS)
