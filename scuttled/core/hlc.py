"""What makes timestamps: a hybrid logical clock, and the author who signs with it (I1).

A timestamp is the wall clock's milliseconds shifted by twelve bits of counter, but never at or
below one that this node has made or accepted. So a write beats whatever its writer could see,
even on a machine whose wall clock was set back (Kulkarni et al. 2014; npm tests for equality
only, and loses local writes after a backward step).
"""

from collections.abc import Callable

from scuttled.core.update import TICKS_PER_MS, NodeId, Source, make_source


class Hlc:
    """Makes timestamps in ticks; strictly rising."""

    __slots__ = ("last",)

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def next(self, wall_ms: int) -> int:
        self.last = max(self.last + 1, wall_ms * TICKS_PER_MS)
        return self.last

    def observe(self, timestamp: int) -> None:
        """Stay above an accepted timestamp. Callers have refused what is too far ahead (I9)."""
        if timestamp > self.last:
            self.last = timestamp


class Author:
    """Who writes on this node: one life of one node id, with the clock they share.

    Every model of a node has the same author; a new life shows in all at once.
    """

    __slots__ = (
        "another_id", "doubt", "hlc", "is_guest", "life", "node_id", "now_ms", "seal", "source",
    )  # fmt: skip

    def __init__(
        self,
        node_id: NodeId,
        life: int = 1,
        last: int = 0,
        now_ms: Callable[[], int] | None = None,
        *,
        is_guest: bool = False,
    ) -> None:
        self.node_id = node_id
        self.is_guest = is_guest  # a program, not a daemon: see scuttlebutt.GUEST_SOURCES_MAX
        self.hlc = Hlc(last)
        # How its writes are signed, and why others' are not believed: see security. None: not.
        self.seal: Callable[[str, Source, bytes], bytes] | None = None
        self.doubt: Callable[[str, Source, bytes], str] | None = None
        self.another_id: Callable[[], NodeId] | None = None  # if ours is taken; None: any will do
        # What time it is for operations called by name; without a wall clock, that of the newest
        # timestamp it knows.
        self.now_ms = now_ms or (lambda: self.hlc.last // TICKS_PER_MS)
        self.live_as(life)

    def live_as(self, life: int) -> None:
        """Go on under another source, since this node may have forgotten what it wrote (I5)."""
        self.life = life
        self.source: Source = make_source(self.node_id, life)
