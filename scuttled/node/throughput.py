"""Throughput: how fast updates are written and get through each link, once a second.

*A strait.* A link is judged for each data type, by what is acknowledged. It is behind if each draw
since the last judgement has left something for the next, so that no commit could be given. Then a
rate is told (see protocol/flow_control): what got through, less what it takes to work off the
backlog in DRAIN_S; but not less than half of it, so a peer that has to be sent very much, because
it is new, does not slow writers by more than that.

*Only progress counts.* A link is judged when an acknowledgement has come since the last time, and
over just that time. From a peer that is stopped, dead or cut off none comes: it is never judged,
and nobody is held back for its sake; its backlog is a cursor. Nor is a time judged that is longer
than JUDGED_S, or much longer than the one before: then the peer was away, and not slow. (A slow
link is slow all the time: of 20 kB/s, it takes three seconds for each large frame.)
The law that rates follow is that of van Renesse et al. 2008, section 4: protocol/rate_law.
"""

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from scuttled.node.node import Node
from scuttled.protocol.flow_control import ROUND_S
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Strait
from scuttled.protocol.session import Session
from scuttled.replica.update import Instant

JUDGED_S = 10.0  # between two acknowledgements; more, and the peer was away
DRAIN_S = 30.0  # in which a backlog is to be worked off
SPARE = 0.9  # of what gets through: as fast as all may write while there is a backlog
RATE_ROUNDS = 3  # that a rate is measured over


class Seen(NamedTuple):
    """Of one data type on one link, when it was judged last."""

    at_s: float
    arrived: int  # updates acknowledged by then
    gap_s: float = ROUND_S  # after the one before
    left_s: float = inf  # since when it is behind


class ThroughputMeter:
    """Measures one node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._turned_s = -inf
        self._ends: dict[str, int] | None = None  # of the models' logs
        self._arrived: dict[str, int] = {}  # updates of each type so far, from wherever
        self._rounds: dict[str, list[tuple[float, int, int]]] = {}  # time, arrived, from peers
        self._seen: dict[Link, dict[str, Seen]] = {}

    def turn(self, now: Instant) -> None:
        """Time has passed: if that makes a round, judge all links, and adapt."""
        if now.mono_s - self._turned_s < ROUND_S * 0.9:
            return
        self._turned_s = now.mono_s
        sharing = self.node.sharing
        was_active = sharing.active
        sharing.peers = max(len(self.node.links), 1)
        self._count()
        for name, per_s in self._judge(now).items():
            if (course := sharing.course(name)) is not None:
                course.note(Strait(self.node.author.node_id, now.wall_ms, per_s), now.mono_s)
        for name in dict.fromkeys([*self._arrived, *sharing.courses]):
            if (course := sharing.course(name)) is not None:
                course.turn(*self._rates(name, now.mono_s), now.mono_s)
        if sharing.active and not was_active:
            for link in self.node.links.values():
                link.rearm()

    def behind(self, name: str) -> list[tuple[str, float]]:
        """Peers to whom not all of that type gets through, and since when."""
        return [
            (link.peer.name, seen[name].left_s)
            for link, seen in self._seen.items()
            if link.peer is not None and name in seen and seen[name].left_s < inf
        ]

    # --- how fast is written ---

    def _count(self) -> None:
        before = self._ends
        self._ends = {model.name: model.log.end for model in self.node.user_models()}
        for model in self.node.user_models():
            since = before.get(model.name, 0) if before is not None else model.log.end
            more = max(model.log.end - max(since, model.log.born), 0)  # a RESET's gap is no update
            self._arrived[model.data_type] = self._arrived.get(model.data_type, 0) + more

    def _rates(self, name: str, now_s: float) -> tuple[float, float]:
        """Updates a second that were written here, and that arrived in all."""
        rounds = self._rounds.setdefault(name, [])
        rounds.append((now_s, self._arrived.get(name, 0), self.node.sharing.came.get(name, 0)))
        del rounds[: -RATE_ROUNDS - 1]
        since_s, arrived, came = (new - old for new, old in zip(rounds[-1], rounds[0], strict=True))
        if since_s <= 0:
            return 0.0, 0.0
        return max(arrived - came, 0) / since_s, arrived / since_s

    # --- how fast it gets through ---

    def _judge(self, now: Instant) -> dict[str, float]:
        """The least that gets through, of each type that does not."""
        found: dict[str, float] = {}
        self._seen = {link: self._seen.get(link, {}) for link in self.node.links.values()}
        for link, seen in self._seen.items():
            for name, sessions in _by_type(link):
                per_s = self._judge_type(seen, name, sessions, now.mono_s)
                found[name] = min(per_s, found.get(name, inf))
        return {name: per_s for name, per_s in found.items() if per_s < inf}

    def _judge_type(
        self, seen: dict[str, Seen], name: str, sessions: list[Session], now_s: float
    ) -> float:
        """To how many updates a second that link limits that type; infinite: to none."""
        for session in sessions:
            if session.open and session.cursor < session.model.log.visible:
                session.flight.drew(now_s, left=True)  # or the stream may take no more
        flights = [session.flight for session in sessions]
        arrived = sum(flight.arrived for flight in flights)
        left_s = min(flight.left_s for flight in flights)
        last = seen.get(name, Seen(now_s, arrived))
        since_s = now_s - last.at_s
        if arrived <= last.arrived and left_s < inf and since_s <= JUDGED_S:
            seen[name] = last  # nothing came that it could be judged by
            return inf
        was_away = since_s > min(JUDGED_S, 2 * (last.gap_s + ROUND_S))
        if left_s > last.at_s or arrived <= last.arrived or was_away:
            seen[name] = Seen(now_s, arrived, max(since_s, ROUND_S) if was_away else ROUND_S)
            return inf
        seen[name] = Seen(now_s, arrived, since_s, left_s)
        per_s = (arrived - last.arrived) / since_s
        backlog = sum(session.lag for session in sessions)
        return max(per_s / 2, min(SPARE * per_s, per_s - backlog / DRAIN_S))


def _by_type(link: Link) -> Iterator[tuple[str, list[Session]]]:
    types: dict[str, list[Session]] = {}
    if link.sends:
        for session in link.sessions.values():
            if not session.model.is_system:
                types.setdefault(session.model.data_type, []).append(session)
    return iter(types.items())
