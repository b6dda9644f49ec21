"""A link's heartbeat: when to ping, the round trip, and whether both ends are in step.

A PING carries a hash over all clocks if nothing moved since the last one. Hashes that differ on
two such PINGs in a row mean that something happened that should not: the sessions start afresh.

While a rate is limited somewhere, PING and PONG carry the rates (see flow_control), once a second.
"""

from collections.abc import Callable, Iterable
from math import inf

from scuttled.protocol.flow_control import RATES, ROUND_S, FlowControl
from scuttled.protocol.messages import FlowReport, Hello, Ping, Pong
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Instant

PING_IDLE_S = 3.0  # without having sent anything
UNEQUAL_MAX = 2  # quiet PINGs in a row


def clocks_hash(models: Iterable[Scuttlebutt]) -> bytes:
    """Eight bytes that are equal where all names and clocks are, in whatever order."""
    total = sum(int.from_bytes(model.clock_hash()) for model in models)
    return (total % 2**64).to_bytes(8, "big")


class Heartbeat:
    """PING and PONG of one link."""

    def __init__(self, now: Instant) -> None:
        self.rtt_s: float | None = None
        self.skew_ms = 0  # by how much the peer's wall clock is ahead, at the least
        self.measured_s: float | None = None  # when that was found
        self.sent_s = now.mono_s  # when something was sent last
        self._asked_s: float | None = None  # when the PING that has no PONG yet was sent
        self.sharing: FlowControl | None = None  # of rates, with a peer that knows of that
        self.leads = False  # our PINGs are exchanges, and not the peer's: they would cross
        self._reported: dict[str, FlowReport] = {}  # the rates in our last PING
        self._pinged_s = self._quiet_from_s = -inf
        self._quiet = False
        self._unequal = 0

    def begin(self, peer: Hello | None, sharing: FlowControl | None, *, leads: bool) -> None:
        """Share rates with that peer, if it knows of them."""
        self.leads = leads
        if peer is not None and RATES in peer.features:
            self.sharing = sharing

    def moved(self) -> None:
        """A DELTA went either way."""
        self._quiet = False

    def restarted(self) -> None:
        self._unequal = 0

    def due_s(self) -> float | None:
        """Monotonic seconds at which an idle link is to be pinged; None while a PONG is awaited."""
        if self._asked_s is not None:
            return None
        shares = self.sharing is not None and self.sharing.active
        return min(self.sent_s + PING_IDLE_S, self._pinged_s + ROUND_S if shares else inf)

    def wants_ping(self, now: Instant, *, paused: bool) -> bool:
        """Also when a session is paused: the PONG tells that all before it was read."""
        due_s = self.due_s()
        return due_s is not None and (paused or now.mono_s >= due_s)

    def quiet(self, now: Instant) -> bool:
        """No DELTA either way since a PING that is some time ago."""
        return self._quiet and now.mono_s >= self._quiet_from_s + PING_IDLE_S

    def ping(self, now: Instant, clocks: Callable[[], bytes]) -> Ping:
        """`clocks` gives the hash; b"" if there is none to tell."""
        hashed = clocks() if self.quiet(now) else b""
        self._asked_s = self._pinged_s = now.mono_s
        if now.mono_s >= self._quiet_from_s + PING_IDLE_S:
            self._quiet = True
            self._quiet_from_s = now.mono_s
        self._reported = self.sharing.tell(now.mono_s) if self.sharing else {}
        return Ping(int(now.mono_s * 1000), now.wall_ms, hashed, self._reported)

    def answer(self, ping: Ping, now: Instant) -> Pong:
        """The PONG to a peer's PING, whose rates are heeded."""
        mine = self.sharing.tell(now.mono_s) if self.sharing else {}
        if self.sharing:
            self.sharing.hear(ping.flows, now.mono_s)
            if not self.leads:
                self.sharing.meet(mine, ping.flows)
        return Pong(ping.sent_ms, now.wall_ms, mine)

    def pong(self, pong: Pong, now: Instant) -> float | None:
        """The time of the PING that this answers, and `rtt_s` is new; None if it answers none."""
        asked_s = self._asked_s
        if asked_s is None or pong.sent_ms != int(asked_s * 1000):
            return None
        self.rtt_s = now.mono_s - asked_s
        self._asked_s = None
        if self.sharing:
            self.sharing.hear(pong.flows, now.mono_s)
            if self.leads:
                self.sharing.meet(self._reported, pong.flows)
        # Answered at some time between then and now: who is slow to answer is not therefore off.
        latest = pong.wall_ms - now.wall_ms
        self.measured_s = now.mono_s
        self.skew_ms = max(latest, 0) + min(latest + round(self.rtt_s * 1000), 0)
        return asked_s

    def out_of_step(self, theirs: bytes, ours: bytes) -> bool:
        """True if the peer's hash, of a quiet PING, has differed from ours once too often."""
        if not theirs or not ours or not self._quiet or theirs == ours:
            self._unequal = 0
            return False
        self._unequal += 1
        if self._unequal < UNEQUAL_MAX:
            return False
        self._unequal = 0
        return True
