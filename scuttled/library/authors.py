"""Authors of a program of one's own that sign (extra `secure`)."""

import secrets
from collections.abc import Collection

from scuttled.errors import UsageError
from scuttled.replica.default_author import new_author
from scuttled.replica.hlc import Author
from scuttled.replica.signatures import Verifier
from scuttled.replica.update import NodeId
from scuttled.runtime.keys import SEED_BYTES, check_with_ed25519, make_seal

MAX_SKEW_MS = 60_000  # that a timestamp may be ahead of our clock (I9)


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
