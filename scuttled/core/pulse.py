"""A link's heartbeat: when to ping, the round trip, and whether both ends are in step.

A PING carries a hash over all clocks if nothing moved since the last one. Hashes that differ on
two such PINGs in a row mean that something happened that should not: the sessions start afresh.
"""

from collections.abc import Iterable

from scuttled.core.messages import Ping, Pong
from scuttled.core.scuttlebutt import Scuttlebutt
from scuttled.core.update import Instant

PING_IDLE_S = 3.0  # without having sent anything
UNEQUAL_MAX = 2  # quiet PINGs in a row


def clocks_hash(models: Iterable[Scuttlebutt]) -> bytes:
    """Eight bytes that are equal where all names and clocks are, in whatever order."""
    total = sum(int.from_bytes(model.clock_hash()) for model in models)
    return (total % 2**64).to_bytes(8, "big")


class Pulse:
    """PING and PONG of one link."""

    def __init__(self, now: Instant) -> None:
        self.rtt_s: float | None = None
        self.skew_ms = 0  # by how much the peer's wall clock is ahead, at the least
        self.sent_s = now.mono_s  # when something was sent last
        self._asked_s: float | None = None  # when the PING that has no PONG yet was sent
        self._quiet = False
        self._unequal = 0

    def moved(self) -> None:
        """A DELTA went either way."""
        self._quiet = False

    def restarted(self) -> None:
        self._unequal = 0

    def due_s(self) -> float | None:
        """When an idle link is to be pinged; None while a PONG is awaited."""
        return self.sent_s + PING_IDLE_S if self._asked_s is None else None

    def wants_ping(self, now: Instant, *, paused: bool) -> bool:
        """Also when a session is paused: the PONG tells that all before it was read."""
        return self._asked_s is None and (paused or now.mono_s >= self.sent_s + PING_IDLE_S)

    @property
    def quiet(self) -> bool:
        """No DELTA either way since the last PING."""
        return self._quiet

    def ping(self, now: Instant, clocks: bytes) -> Ping:
        self._asked_s = now.mono_s
        self._quiet = True
        return Ping(int(now.mono_s * 1000), now.wall_ms, clocks)

    def pong(self, pong: Pong, now: Instant) -> float | None:
        """The time of the PING that this answers, and `rtt_s` is new; None if it answers none."""
        asked_s = self._asked_s
        if asked_s is None or pong.sent_ms != int(asked_s * 1000):
            return None
        self.rtt_s = now.mono_s - asked_s
        self._asked_s = None
        # Answered at some time between then and now: who is slow to answer is not therefore off.
        latest = pong.wall_ms - now.wall_ms
        self.skew_ms = max(latest, 0) + min(latest + round(self.rtt_s * 1000), 0)
        return asked_s

    def out_of_step(self, theirs: bytes, ours: bytes) -> bool:
        """Whether the peer's hash, of a quiet PING, has differed from ours once too often."""
        if not theirs or not ours or not self._quiet or theirs == ours:
            self._unequal = 0
            return False
        self._unequal += 1
        if self._unequal < UNEQUAL_MAX:
            return False
        self._unequal = 0
        return True
