"""Order in which a session's updates go: a key that changes while it waits keeps its place in line.

The log stands in order of arrival, and who is written anew goes to its end. For a reader that is
far behind that would be unfair: a key that is written often would run ahead of the cursor for as
long as the peer lags, while its copy there gets older and older. So the log remembers of a hole
what fills its slot now (`Heir`), and whoever comes to the hole sends that, unless the peer had what
stood there. It need not be sent in its own turn, then; such positions are in `early`.

That is for peers that lag. To one that keeps up updates go in the order in which they came here,
and so a watcher there sees them.

Under the paper's overload this is the difference between a peak staleness a little below that of
scuttle-depth, and a fifth below; at the worst node, as bad as there, and a third below it:
docs/paper.md.

Forgetting costs a place in line, or a duplicate, nothing else: the log knows heirs of its latest
segments only, and a session at most EARLY_MAX positions.
"""

from bisect import bisect_right
from collections.abc import Mapping
from math import inf

from scuttled.replica.arrival_log import Piece
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import STAMP_BYTES, Source, Stamp

RECORD_OVERHEAD = 3  # bytes of msgpack around a record
EARLY_MAX = 8192  # sent before their turn


class Turns:
    """Updates that one session has sent before their turn, and so need not send in it."""

    def __init__(self, model: Scuttlebutt) -> None:
        self.model = model
        self.lags = True  # the last frame could not hold all that was missing
        self._early: set[int] = set()  # positions; EARLY_MAX at most

    def clear(self) -> None:
        """Nothing that stands in the log was sent early."""
        self._early.clear()

    def bounds(self) -> dict[str, tuple[int, int]]:
        """The size of what is held, and the most that it may be (I7)."""
        return {"positions sent early": (len(self._early), EARLY_MAX)}

    def forget_below(self, cursor: int) -> None:
        """Make room, if there is none, by what was stepped over."""
        if len(self._early) >= EARLY_MAX:
            self._early = {position for position in self._early if position >= cursor}

    def pick(
        self,
        runs: dict[Source, list[bytes]],
        piece: Piece,
        budget: int,
        theirs: Mapping[Source, Stamp],
        skips: list[tuple[int, int]],
    ) -> tuple[int, int]:
        """Add to `runs` what a peer that covers `theirs` lacks of a piece of the log.

        The number of entries looked at until the budget was used up, and the bytes taken. The
        first record of a frame is taken however large it is. `skips` are stretches that the peer
        needs nothing of.
        """
        heirs = piece.heirs if self.lags else {}
        early = self._early
        positions = piece.positions
        size = at = 0
        for record, source in zip(piece.records, piece.sources, strict=True):
            ahead = -1  # where that stands which goes in the place of a hole
            if record is None:
                # A hole: its slot was written anew, further on. If the peer lacked what stood
                # here, its heir goes now: the key keeps its place in line.
                if heirs and (heir := heirs.get(positions[at])) is not None:
                    known = theirs.get(source)
                    if known is None or heir.stamp > known:
                        ahead = self._instead(positions[at], skips)
                if ahead >= 0:
                    record, source = self.model.log.entry(ahead)
            elif early and positions[at] in early:
                # Its turn has come, and it went before, in the place of a hole.
                early.remove(positions[at])
                record = None
            if record is not None:
                known = theirs.get(source)
                if known is None or record[:STAMP_BYTES] > known:  # the peer's clock lacks it
                    cost = len(record) + RECORD_OVERHEAD
                    if runs and size + cost > budget:
                        return at, size  # nothing of this entry is noted: it is looked at again
                    size += cost
                    run = runs.get(source)
                    if run is None:
                        runs[source] = [record]
                    else:
                        run.append(record)
                    if ahead >= 0:
                        early.add(ahead)
            at += 1
        return at, size

    def _instead(self, position: int, skips: list[tuple[int, int]]) -> int:
        """The position of what is to be sent in the place of a hole; -1: nothing is."""
        early = self._early
        log = self.model.log
        if position in early:
            early.remove(position)  # that was sent, so its heir waits since it came
            return -1
        ahead = log.heir(position)
        # Not what is unknown, or not on disk yet (I5), or went early for another hole.
        if not position < ahead < log.visible or ahead in early:
            return -1
        # Nor what lies in a stretch to be skipped: it was sent, or came from the peer.
        before = bisect_right(skips, (ahead, inf)) - 1
        skipped = before >= 0 and ahead < skips[before][1]
        return -1 if skipped or len(early) >= EARLY_MAX else ahead
