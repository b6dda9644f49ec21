"""Default author of a model in a program of one's own: somebody who never wrote before.

A node hands in its own author, and then nothing of this is imported. A program that makes a model
without one wants an identity and the time; this is the one file of the core that draws and looks.
"""

import os
import secrets
import time
from collections.abc import Callable
from functools import cache
from weakref import WeakSet

from scuttled.replica.hlc import Author
from scuttled.replica.signatures import Signer, id_of_key
from scuttled.replica.update import NODE_ID_BYTES, NodeId, Source

LIFE_MAX = 2**31  # of lives drawn at random; there is room to count on from there


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def new_author(
    signer: Signer | None = None, verifier: Callable[[str, Source, bytes], str] | None = None
) -> Author:
    """Somebody who never wrote before.

    A program that starts again and loads what it had is somebody new as well: so what it may have
    forgotten can't be mixed up with what it writes now (I5). With a `signer` all that is written is
    signed, and the id is that of the key, so that only the life is new; `verifier` says why an
    update is not to be believed.
    """
    if signer is None:
        author = same_author(NodeId(secrets.token_bytes(NODE_ID_BYTES)), 1)
    else:
        author = same_author(id_of_key(signer.key), 1 + secrets.randbelow(LIFE_MAX))
    author.signer = signer
    author.verifier = verifier
    return author


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
