"""Schedule of writes and meetings: who writes which key when, the same for every order.

Each node gossips once a second, at a moment of its own, with one of the others at random. It
writes at random moments of the second, so many times as a Poisson draw says, each time one of its
own keys at random. (That updates are Poisson is a guess of ours; the paper's rates are means.)
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NODES = 128
KEYS = 64  # of each node
BUDGET = 100  # updates in a message
LIMITED_FROM_S = 15  # until then messages are as long as need be
UNLIMITED = 1 << 30

OVERLOAD_S = (25, 75)
RATES = ((25, 1.0), (75, 2.0), (120, 1.0), (140, 0.0))  # until when, updates/s of each node
FIG2_S = 140


class Event(NamedTuple):
    """A write of `node`'s key number `other`, or its meeting with the node `other`."""

    at_s: float
    is_write: bool
    node: int
    other: int


def rate_per_s(second: int) -> float:
    """Writes a second of each node in the paper's first experiment."""
    return next((rate for until_s, rate in RATES if second < until_s), 0.0)


class Timetable:
    """Draws the events of one second after the other."""

    def __init__(self, seed: int, nodes: int = NODES, keys: int = KEYS) -> None:
        self.nodes = nodes
        self.keys = keys
        self._rng = np.random.default_rng(seed)
        self._phases = self._rng.random(nodes)

    def second(self, second: int, rates: Sequence[float]) -> list[Event]:
        """Events from `second` on, in order; `rates` are the nodes' own, in updates/s."""
        rng = self._rng
        events = []
        for node, count in enumerate(rng.poisson(rates)):
            moments = rng.random(count)
            keys = rng.integers(self.keys, size=count)
            for moment, key in zip(moments.tolist(), keys.tolist(), strict=True):
                events.append(Event(second + moment, True, node, key))
        for node, drawn in enumerate(rng.integers(self.nodes - 1, size=self.nodes).tolist()):
            peer = drawn + (drawn >= node)
            events.append(Event(second + float(self._phases[node]), False, node, peer))
        return sorted(events)
