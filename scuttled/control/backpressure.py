"""Holds writers back to the rate that flow control allows: gates at the doorway of control.

A gate is a bucket of tokens that fills at the allowed rate. A request takes as many as it writes
updates; who finds none waits for its turn, in the order in which requests came. Its connection is
not read meanwhile: what the caller sends after it stays in the socket, so no queue grows here, and
the answers come late, and in order. Nothing is refused, but for one case: a caller that has said
how long it waits (`hold_ms`) is told in time that nothing was written, so a timeout is no riddle.

A request that writes many updates at once goes as soon as it finds one token; those after it pay.
Where there's no limit a request costs a look into a dictionary.

Plain and synchronous: it's control that sleeps.
"""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from scuttled.control.control_operation import NOTHING
from scuttled.control.operations import operation_of
from scuttled.errors import TimedOut
from scuttled.node.node import Node
from scuttled.node.throughput import ThroughputMeter
from scuttled.protocol.flow_control import TypeFlow
from scuttled.replica.update import Instant
from scuttled.units import format_duration

BURST_S = 0.25  # of the allowed rate, that may be written at once
WAKE_S = 0.25  # until who is held back looks again: rates change
MARGIN = 0.1  # of what a caller waits: so much earlier it's told
IDLE_S = 3600.0  # for which a bucket fills at most


class TokenBucket:
    """Token bucket of one data type. Counts tokens from the start on, so `granted` only rises, but
    for `leave`, and a ticket waits for a number, not in a queue.
    """

    def __init__(self, type_flow: TypeFlow) -> None:
        self.type_flow = type_flow
        self.granted = 0.0
        self.asked = 0.0
        self.waiting = 0  # callers
        self.unhinged = False  # the daemon stops: whoever waits is let through
        self._at_s = -inf

    @property
    def is_open(self) -> bool:
        return self.unhinged or not self.type_flow.flow.limited

    def fill(self, now_s: float) -> None:
        per_s = self.type_flow.per_s
        since_s = min(now_s - self._at_s, IDLE_S)
        most = self.asked + max(1.0, per_s * BURST_S)
        self.granted = min(self.granted + per_s * since_s, most)
        self._at_s = now_s


class Ticket:
    """The turn of a request that may have to wait. `leave` it, whatever comes of it."""

    def __init__(self, gate: TokenBucket, request: Mapping[str, Any], now: Instant) -> None:
        self._gate = gate
        hold_ms = request.get("hold_ms")
        hold_s = hold_ms / 1000 * (1 - MARGIN) if type(hold_ms) is int else inf
        self._began_s = now.mono_s
        self._deadline_s = now.mono_s + hold_s
        gate.fill(now.mono_s)
        self._turn = gate.asked + 1  # the token that it waits for
        self._cost = cost(request)
        gate.asked += self._cost
        gate.waiting += 1

    def wait_s(self, now: Instant) -> float:
        """For how long to sleep before asking again; 0: it may go. Raises TimedOut."""
        gate = self._gate
        if gate.is_open:
            return 0.0
        gate.fill(now.mono_s)
        lacking = self._turn - gate.granted
        if lacking <= 0:
            return 0.0
        gate.type_flow.held = True
        if now.mono_s >= self._deadline_s:
            raise self._too_late(now)
        return min(
            max(lacking / gate.type_flow.per_s, 0.001), WAKE_S, self._deadline_s - now.mono_s
        )

    def leave(self, *, done: bool) -> None:
        """It was let through or, if not `done`, goes away: who is behind need not wait for it."""
        self._gate.waiting -= 1
        if not done:
            self._gate.granted += self._cost

    def _too_late(self, now: Instant) -> TimedOut:
        held_s = now.mono_s - self._began_s
        per_s = self._gate.type_flow.per_s
        return TimedOut(
            f"not written: held back for {held_s:.1f} s, "
            f"flow control allows {per_s:,.1f} updates/s here",
            hint="scuttled status tells why; --timeout waits longer",
        )


class Backpressure:
    """The gates of one daemon, and what there is to tell of its flows."""

    def __init__(self, node: Node, enforced: Iterable[str]) -> None:
        self.node = node
        self.measure = ThroughputMeter(node)
        self.enforced = frozenset(enforced)
        self._gates: dict[str, TokenBucket] = {}

    def gate(self, request: Mapping[str, Any]) -> TokenBucket | None:
        """The bucket that the request has to pass; None in the common case. A bad one passes."""
        courses = self.node.sharing.courses
        limited = [name for name in self.enforced if name in courses and courses[name].flow.limited]
        if not limited:
            return None  # before it is asked what is written, which for a `call` is dear
        operation = operation_of(request)
        data_type = operation.writes_to(self.node, request) if operation is not None else NOTHING
        if data_type not in limited:
            return None
        return self._gates.setdefault(data_type, TokenBucket(courses[data_type]))

    def unhinge(self) -> None:
        """The daemon stops: whoever waits is let through, one request of each caller."""
        for gate in self._gates.values():
            gate.unhinged = True

    def facts(self, now: Instant) -> list[dict[str, Any]]:
        """Of each data type, for `status`."""
        return [
            {
                "type": name,
                "enforced": name in self.enforced,
                "wanted_per_s": round(type_flow.flow.wanted, 1),
                "allowed_per_s": round(type_flow.per_s, 1) if type_flow.flow.limited else None,
                "total_per_s": round(type_flow.total_per_s, 1),
                "held": self._gates[name].waiting if name in self._gates else 0,
                "why": self._why(name, type_flow, now),
            }
            for name, type_flow in sorted(self.node.sharing.courses.items())
        ]

    def _why(self, name: str, type_flow: TypeFlow, now: Instant) -> str:
        if behind := self.measure.behind(name):
            words = [f"{who} is behind for {_since(at_s, now)}" for who, at_s in behind]
            return "the link to " + ", to ".join(words)
        if strait := type_flow.narrowest(now.mono_s):
            who = self.node.members.names.get(strait.node_id) or strait.node_id.hex()
            return f"from {who} no more than {strait.per_s:,.1f}/s get through to a peer"
        if type_flow.flow.limited:
            return f"rising: nothing was too slow for {type_flow.flow.quiet_rounds} s"
        return "no limit"


def _since(at_s: float, now: Instant) -> str:
    return format_duration(round(max(now.mono_s - at_s, 0)))


def cost(request: Mapping[str, Any]) -> int:
    """Updates that a request may write."""
    operation = operation_of(request)
    return operation.cost(request) if operation is not None else 1
