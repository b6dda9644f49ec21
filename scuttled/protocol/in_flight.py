"""In-flight window of one session: how far the peer is, and when to wait for it.

`acked` is exact: all that stands below it in our log is on disk at the peer, or came from there.

*Pacing.* At most WINDOW_BYTES, or what was drawn in `stall_s`, may be under way, neither
acknowledged nor known to have been read (a PONG says so). So a peer that has stopped finds little
of what was overwritten since in its socket; its backlog is the cursor.
"""

from collections import deque
from math import inf
from typing import NamedTuple

from scuttled.protocol.codec import FRAME_BYTES_MAX

WINDOW_BYTES = 512 << 10  # under way
STALL_S = 0.25  # under way for this long (and two round trips), the sender waits
FLIGHT_MAX = 1024  # DELTAs remembered one by one until they are acknowledged


class InFlight(NamedTuple):
    """A drawn DELTA that the peer has not acknowledged."""

    start: int  # the cursor before it was drawn
    cursor: int  # and after
    drawn_s: float
    updates: int


class Paced(NamedTuple):
    """A drawn DELTA that, for all we know, may still be in a socket's buffer."""

    drawn_s: float
    cursor: int
    size: int


class Flight:
    """The DELTAs of one session that are under way."""

    def __init__(self) -> None:
        self.stall_s = STALL_S  # and two round trips, once they are known
        # Both ascend by cursor and by time: TCP keeps the order, so what is acknowledged or read is
        # a beginning of them. What is in `_pace` was neither; `_drawn` waits for the disk.
        self._drawn: deque[InFlight] = deque()
        self._pace: deque[Paced] = deque()
        self._pace_bytes = 0  # the sum of their sizes
        self.arrived = 0  # updates that the peer has acknowledged so far
        self.left_s = inf  # since when each draw has left something for the next

    def clear(self) -> None:
        self.left_s = inf
        self._drawn.clear()
        self._pace.clear()
        self._pace_bytes = 0

    def add(self, start: int, cursor: int, size: int, now_s: float, updates: int) -> None:
        """A DELTA of so many updates was drawn that took the cursor from `start` to `cursor`."""
        drawn_s = now_s
        # One too many is joined with the last: both are acknowledged when the later one is.
        if len(self._drawn) >= FLIGHT_MAX:
            start, _, drawn_s, before = self._drawn.pop()
            updates += before
        self._drawn.append(InFlight(start, cursor, drawn_s, updates))
        self._pace.append(Paced(now_s, cursor, size))
        self._pace_bytes += size

    def acknowledged(self, cursor: int) -> None:
        """The peer has on disk what was drawn up to that cursor."""
        while self._drawn and self._drawn[0].cursor <= cursor:
            self.arrived += self._drawn.popleft().updates
        while self._pace and self._pace[0].cursor <= cursor:
            self._pace_bytes -= self._pace.popleft().size

    def delivered(self, before_s: float, rtt_s: float = 0.0) -> None:
        """The peer has read everything that was drawn before that time."""
        self.stall_s = STALL_S + 2 * rtt_s
        while self._pace and self._pace[0].drawn_s <= before_s:
            self._pace_bytes -= self._pace.popleft().size

    def bounds(self) -> dict[str, tuple[int, int]]:
        """The size of what is held, and the most: a window, and a frame drawn below it (I7)."""
        return {
            "deltas under way": (len(self._drawn), FLIGHT_MAX),
            "bytes under way": (self._pace_bytes, WINDOW_BYTES + FRAME_BYTES_MAX),
        }

    def paused(self, now_s: float) -> bool:
        """True while too much is under way; an acknowledgement or `delivered` ends it."""
        pace = self._pace
        return bool(pace) and (
            self._pace_bytes >= WINDOW_BYTES or now_s - pace[0].drawn_s > self.stall_s
        )

    def stall_at(self) -> float:
        """The monotonic time from which what is under way has been so for too long."""
        return self._pace[0].drawn_s + self.stall_s if self._pace else inf

    def drew(self, now_s: float, *, left: bool) -> None:
        """All that could be sent was drawn, or some of it was left."""
        self.left_s = min(self.left_s, now_s) if left else inf

    def acked(self, cursor: int) -> int:
        """The position below which the peer has all, if the session's cursor is `cursor`."""
        return self._drawn[0].start if self._drawn else cursor

    def lag_s(self, now_s: float) -> float:
        """For how long the oldest DELTA has waited to be acknowledged; 0 if there is none."""
        return now_s - self._drawn[0].drawn_s if self._drawn else 0.0
