"""The flows of one node, one for each data type, and what it and its peers tell of them.

Why one for each type: what cannot be coalesced (a log) must not be starved by what can (a map that
is written ten times as fast as it is sent, and harms nobody). Every type finds its own share.

*Straits.* The paper's nodes all meet each other, so all see at the same time that messages have
become too small. Ours are linked as it happens, and perhaps one single link is too slow. Its
sender then says so: "from me no more than so many updates a second get through". That travels from
node to node with the rates; what a node says later takes the place of what it said before, so it
goes round no ring twice. Every node sees all updates, so each can tell by itself by how much the
whole is too fast, cuts its own allowance by that part, and the exchange does the rest: fairness.

Such a step takes a while to be felt. So for HOLD_S there is no other, and since a strait names a
rate and not a factor, hearing of the same one from two sides, or of two at once, cuts but once. And
who came down too far comes up again: all go for the rate that was named last. Only above it do they
feel their way.

Where nothing is limited nothing is told, and no PING is sent for it.   [rate_law; docs/protocol.md]
"""

from math import inf

from scuttled.protocol.flow_codec import RATE_MAX, STRAITS_MAX, TYPES_MAX
from scuttled.protocol.messages import FlowReport, Strait
from scuttled.protocol.rate_law import Flow, Rates
from scuttled.replica.update import NodeId

RATES = "rates"  # the feature of a HELLO whose sender takes flows in PING and PONG
ROUND_S = 1.0  # of the adaptation, and between two PINGs while there is something to tell
HOLD_S = 3.0  # between two steps down, or up to what a strait lets through
FRESH_S = 5.0  # for which a strait is heeded
KNOWN_S = 60.0  # for which it is known, so that it is not taken for news
LEAST_PER_S = 1.0  # nobody is held back for good
HELD_PER_S = 10.0  # who is held back wants this at least


class TypeFlow:
    """The flow of one data type at this node."""

    def __init__(self) -> None:
        self.flow = Flow(wanted=0.0)
        self.total_per_s = 0.0  # of all nodes, as seen here
        self.held = False  # a writer was held back in this round
        self._steered_s = -inf
        self._straits: dict[NodeId, tuple[Strait, float]] = {}  # and when it was heard of

    @property
    def per_s(self) -> float:
        """The rate at which this node's writers may write."""
        return max(LEAST_PER_S, self.flow.allowed)

    @property
    def is_reported(self) -> bool:
        """True while peers are to hear of it."""
        return self.flow.limited or bool(self._straits)

    def straits(self, now_s: float, within_s: float = FRESH_S) -> list[Strait]:
        """Those that are to be heeded."""
        return [strait for strait, at_s in self._straits.values() if now_s - at_s < within_s]

    def narrowest(self, now_s: float, within_s: float = FRESH_S) -> Strait | None:
        return min(self.straits(now_s, within_s), key=lambda strait: strait.per_s, default=None)

    def note(self, strait: Strait, now_s: float) -> None:
        """Somebody said that; heed it if it is news."""
        known = self._straits.pop(strait.node_id, None)
        is_news = known is None or known[0].at_ms < strait.at_ms
        self._straits[strait.node_id] = (strait, now_s) if known is None or is_news else known
        if len(self._straits) > STRAITS_MAX:
            del self._straits[min(self._straits, key=lambda node: self._straits[node][1])]

    def turn(self, own_per_s: float, total_per_s: float, now_s: float) -> None:
        """A round has passed, in which so much was written here, and came in all."""
        flow = self.flow
        strait = self.narrowest(now_s)
        flow.wanted = own_per_s
        self.total_per_s = total_per_s
        if self.held and flow.limited:  # nobody knows how much more
            flow.wanted = max(own_per_s, 2 * self.per_s, HELD_PER_S)
        self.held = False
        if strait is None:
            flow.next_round(over=False)
            strait = self.narrowest(now_s, KNOWN_S)  # it was not too much
            if strait is not None and total_per_s > strait.per_s:
                strait = None
        if strait is not None and now_s - self._steered_s >= HOLD_S:
            self._steer(strait.per_s, own_per_s, total_per_s, now_s)
        self._straits = {n: s for n, s in self._straits.items() if now_s - s[1] < KNOWN_S}

    def _steer(self, per_s: float, own_per_s: float, total_per_s: float, now_s: float) -> None:
        """So much gets through: come down, or up, to that."""
        if total_per_s > per_s:
            self._steered_s = now_s
            self.flow.next_round(over=True, part=per_s / total_per_s, used=own_per_s)
        elif self.flow.limited:
            self._steered_s = now_s
            self.flow.approach(per_s / max(total_per_s, LEAST_PER_S))


class FlowControl:
    """All flows of a node."""

    def __init__(self) -> None:
        self.courses: dict[str, TypeFlow] = {}
        self.came: dict[str, int] = {}  # updates that peers brought so far
        self.peers = 1  # how many there are to exchange with

    def course(self, data_type: str) -> TypeFlow | None:
        """None if there are too many types."""
        found = self.courses.get(data_type)
        if found is None and len(self.courses) < TYPES_MAX:
            found = self.courses[data_type] = TypeFlow()
        return found

    def count(self, data_type: str, updates: int) -> None:
        """A peer brought that many."""
        self.came[data_type] = self.came.get(data_type, 0) + updates

    @property
    def active(self) -> bool:
        """True while there is something to tell."""
        return any(course.is_reported for course in self.courses.values())

    def tell(self, now_s: float) -> dict[str, FlowReport]:
        """For a PING or PONG; only of what is limited somewhere."""
        return {
            name: FlowReport(_sayable(course.flow.rates), tuple(course.straits(now_s)), self.peers)
            for name, course in self.courses.items()
            if course.is_reported
        }

    def hear(self, theirs: dict[str, FlowReport], now_s: float) -> None:
        """Heed a peer's word of straits."""
        for name, report in theirs.items():
            if (course := self.course(name)) is not None:
                for strait in report.straits:
                    course.note(strait, now_s)

    def meet(self, mine: dict[str, FlowReport], theirs: dict[str, FlowReport]) -> None:
        """An exchange: what the peer was told, and what it said."""
        for name in mine.keys() & theirs.keys():
            one = mine[name]
            other = theirs[name]
            share = 1 / max(one.peers, other.peers)
            self.courses[name].flow.meet(one.rates, other.rates, share=share)


def _sayable(rates: Rates) -> Rates:
    """As it goes over the wire, so that both ends reckon with the same."""
    allowed = rates.allowed if rates.allowed == inf else max(rates.allowed, -RATE_MAX)
    return Rates(min(rates.wanted, RATE_MAX), min(allowed, RATE_MAX) if allowed < inf else inf)
