"""Exact memory of one conversation: which updates went over it, whoever sent them.

npm's clock of an id says "I have all of it up to there". That is true of an id that lives in one
place. One that two daemons have heard of comes to a third in two strands, and a peer that has the
later half may well lack the earlier one. So what crossed is remembered one by one, for as long as
that is needed: until the other strand, which gossip brings, has come.
"""

from collections import OrderedDict

SHARED_MAX = 4096  # updates: some half a megabyte


class Shared:
    """The last SHARED_MAX updates that both ends have; bounded (I7)."""

    def __init__(self) -> None:
        self._recent: OrderedDict[int, tuple[str, int]] = OrderedDict()
        self._forgotten: dict[str, int] = {}  # by id, up to when one was let go of

    def add(self, npm: str, ticks: int, slot: bytes, part: str) -> None:
        """That update has crossed, one way or the other."""
        self._recent[hash((npm, ticks, slot, part))] = (npm, ticks)
        while len(self._recent) > SHARED_MAX:
            _, (gone, upto) = self._recent.popitem(last=False)
            self._forgotten[gone] = max(upto, self._forgotten.get(gone, 0))

    def has(self, npm: str, ticks: int, slot: bytes, part: str) -> bool:
        """True if it has crossed for certain."""
        return hash((npm, ticks, slot, part)) in self._recent

    def may_have(self, npm: str, ticks: int) -> bool:
        """True if it may have crossed so long ago that nobody knows any more."""
        return ticks <= self._forgotten.get(npm, 0)
