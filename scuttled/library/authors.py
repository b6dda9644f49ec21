"""Authors of a program of one's own: who writes in its models, and what time it is there.

Core is told the time and draws nothing; a program's models are told by these. A model that is
made without an author asks the front door of the package for `new_author`.
"""

import os
import secrets
import time
from collections.abc import Callable, Collection
from functools import cache
from weakref import WeakSet

from scuttled.errors import UsageError
from scuttled.replica.hlc import Author
from scuttled.replica.signatures import Signer, Verifier, id_of_key
from scuttled.replica.update import NODE_ID_BYTES, NodeId, Source
from scuttled.runtime.keys import SEED_BYTES, check_with_ed25519, make_seal

MAX_SKEW_MS = 60_000  # that a timestamp may be ahead of our clock (I9)
LIFE_MAX = 2**31  # of lives drawn at random; there is room to count on from there


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def new_author(
    seal: Signer | None = None, doubt: Callable[[str, Source, bytes], str] | None = None
) -> Author:
    """Somebody who never wrote before.

    A program that starts again and loads what it had is somebody new as well: so what it may have
    forgotten can't be mixed up with what it writes now (I5). With a `seal` all that is written is
    signed, and the id is that of the key, so that only the life is new; `doubt` says why an update
    is not to be believed.
    """
    if seal is None:
        author = same_author(NodeId(secrets.token_bytes(NODE_ID_BYTES)), 1)
    else:
        author = same_author(id_of_key(seal.key), 1 + secrets.randbelow(LIFE_MAX))
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
    return new_author(make_seal(seed), Verifier(check_with_ed25519(), nodes))


def same_author(node_id: NodeId, life: int) -> Author:
    """Somebody who wrote before under that life, and has forgotten nothing of it (I5)."""
    author = Author(node_id, life, now_ms=wall_ms, is_guest=True)
    _renew_in_forks()
    _AUTHORS.add(author)
    return author


# --- processes that are forked off: they write as others than the one they come from (I5) --------

_AUTHORS: WeakSet[Author] = WeakSet()  # of this process


@cache
def _renew_in_forks() -> None:
    """Once, for all authors to come. Not at import: it can't be undone, and changes all forks."""
    os.register_at_fork(after_in_child=_renew_all)


def _renew_all() -> None:
    for author in tuple(_AUTHORS):
        author.live_as(1 + secrets.randbelow(LIFE_MAX))
