"""The version vector {source: timestamp} of one model on one node.

It is *truthful* (I3): whatever it covers is in the state, or is dominated there by a higher rank.
So it moves only by a node's own writes and by a peer's COMMIT, never entry by entry.

Every rise takes the next revision, and entries stand in the order of their last rise. So what
changed since a peer was last told is found without looking at the rest (a fleet may have
thousands of sources, most of them silent).
"""

from collections.abc import Iterable, Iterator, Mapping

from scuttled.replica.update import Source


class Clock:
    """{source: timestamp in ticks}, only ever rising."""

    __slots__ = ("_risen", "_times", "revision")

    def __init__(self, times: Mapping[Source, int] | None = None) -> None:
        self._times: dict[Source, int] = {}
        self._risen: dict[Source, int] = {}  # revision of the last rise, oldest first
        self.revision = 0
        if times:
            self.merge(times.items())

    def __getitem__(self, source: Source) -> int:
        """0 for a source that was never heard of."""
        return self._times.get(source, 0)

    def __len__(self) -> int:
        return len(self._times)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Clock) and self._times == other._times

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Clock({self._times!r})"

    def items(self) -> Iterable[tuple[Source, int]]:
        """Sources and their times, in the order in which they were first heard of."""
        return self._times.items()

    def copy_times(self) -> dict[Source, int]:
        """The times, as a dict that does not rise with the clock."""
        return dict(self._times)

    def covers(self, source: Source, timestamp: int) -> bool:
        """True if what that source wrote then is in the state, or outranked there."""
        return self._times.get(source, 0) >= timestamp

    def covers_all(self, times: Iterable[tuple[Source, int]]) -> bool:
        """True if it covers each of these."""
        mine = self._times
        return all(mine.get(source, 0) >= timestamp for source, timestamp in times)

    def rise(self, source: Source, timestamp: int) -> bool:
        """Cover `source` up to `timestamp`; False if it did already."""
        if self._times.get(source, 0) >= timestamp:
            return False
        self.revision += 1
        self._times[source] = timestamp
        self._risen.pop(source, None)
        self._risen[source] = self.revision
        return True

    def merge(self, times: Iterable[tuple[Source, int]]) -> bool:
        """Rise to the greater of both, source by source; whether anything rose."""
        before = self.revision
        for source, timestamp in times:
            self.rise(source, timestamp)
        return self.revision > before

    def since(self, revision: int) -> Iterator[tuple[Source, int]]:
        """Sources that rose after `revision`, latest first; walks only over those."""
        for source in reversed(self._risen):
            if self._risen[source] <= revision:
                return
            yield source, self._times[source]
