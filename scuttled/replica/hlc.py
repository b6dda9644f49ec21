"""Hybrid logical clock, which makes timestamps, and the author who signs with it (I1).

A timestamp is the wall clock's milliseconds shifted by twelve bits of counter, but never at or
below one that this node has made or accepted. So a write beats whatever its writer could see,
even on a machine whose wall clock was set back (Kulkarni et al. 2014; npm tests for equality
only, and loses local writes after a backward step).
"""

from collections.abc import Callable

from scuttled.errors import UsageError
from scuttled.replica.update import (
    NODE_ID_BYTES,
    TICKS_PER_MS,
    TIMESTAMP_MAX,
    NodeId,
    Source,
    make_source,
)

LIFE_MAX = 2**32 - 1


class Hlc:
    """Makes timestamps in ticks; strictly rising."""

    __slots__ = ("last",)

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def next(self, wall_ms: int) -> int:
        """A timestamp above all that it has made or seen."""
        self.last = max(self.last + 1, wall_ms * TICKS_PER_MS)
        return self.last

    def observe(self, timestamp: int) -> None:
        """Stay above an accepted timestamp. Callers have refused what is too far ahead (I9)."""
        if timestamp > self.last:
            self.last = timestamp


class Author:
    """Author of what is written on this node: one life of one node id, with the clock they share.

    Every model of a node has the same author; a new life shows in all at once. `last` is the
    highest timestamp that it knows of. Raises UsageError at arguments that can't be.
    """

    __slots__ = (
        "__weakref__",
        "another_id",
        "hlc",
        "is_guest",
        "life",
        "node_id",
        "now_ms",
        "signer",
        "source",
        "verifier",
    )

    def __init__(
        self,
        node_id: NodeId,
        life: int = 1,
        last: int = 0,
        now_ms: Callable[[], int] | None = None,
        *,
        is_guest: bool = False,
    ) -> None:
        if not isinstance(node_id, bytes) or len(node_id) != NODE_ID_BYTES:
            raise UsageError(f"an author's node id {node_id!r:.60}, expected {NODE_ID_BYTES} bytes")
        if type(last) is not int or not 0 <= last <= TIMESTAMP_MAX:
            raise UsageError(f"an author's last timestamp {last!r:.40}, expected 0 to 2**63 - 1")
        if not (now_ms is None or callable(now_ms)):
            raise UsageError(f"an author's now_ms {now_ms!r:.40}, expected a function")
        self.node_id = node_id
        self.is_guest = is_guest  # a program, not a daemon: see sources.GUEST_SOURCES_MAX
        self.hlc = Hlc(last)
        # How its writes are signed, and why others' are not believed: see signatures. None: not.
        self.signer: Callable[[str, Source, bytes], bytes] | None = None
        self.verifier: Callable[[str, Source, bytes], str] | None = None
        self.another_id: Callable[[], NodeId] | None = None  # if ours is taken; None: any will do
        # What time it is for operations called by name; without a wall clock, that of the newest
        # timestamp it knows.
        self.now_ms = now_ms or (lambda: self.hlc.last // TICKS_PER_MS)
        self.live_as(life)

    def __repr__(self) -> str:
        return f"<Author {self.node_id.hex()}, life {self.life}>"

    def live_as(self, life: int) -> None:
        """Go on under another source, since this node may have forgotten what it wrote (I5)."""
        if type(life) is not int or not 1 <= life <= LIFE_MAX:
            raise UsageError(f"an author's life {life!r:.40}, expected 1 to {LIFE_MAX}")
        self.life = life
        self.source: Source = make_source(self.node_id, life)
