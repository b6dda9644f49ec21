"""The paper's two experiments on one order: the load that doubles, and flow control."""

from collections.abc import Sequence

import numpy as np

from scuttled.paper.measurements import Measurements
from scuttled.paper.orders import choose
from scuttled.paper.replicas import Copies
from scuttled.paper.schedule import (
    BUDGET,
    FIG2_S,
    KEYS,
    LIMITED_FROM_S,
    NODES,
    UNLIMITED,
    Event,
    Timetable,
    rate_per_s,
)
from scuttled.protocol.rate_law import PAPER, Flow

FLOW_S = 180
HALVED_FROM_S = 90


class Run:
    """One order in one cluster; whoever runs it says how fast nodes write."""

    def __init__(self, order: str, seed: int, nodes: int = NODES, keys: int = KEYS) -> None:
        self.order = order
        self.budget = UNLIMITED
        self.timetable = Timetable(seed, nodes, keys)
        self.copies = Copies(nodes, keys)
        self.course = Measurements(order, nodes)
        self._luck = np.random.default_rng([seed, 1])  # of the orders; the timetable is another's

    def second(self, second: int, rates: Sequence[float]) -> None:
        """All that happens in one second, and what is measured at its end."""
        for event in self.timetable.second(second, rates):
            if event.is_write:
                self.copies.write(event.node, event.other, event.at_s)
            else:
                self.meet(event)
        self.course.measure(self.copies, second + 1)
        self.course.rate.append(float(np.mean(rates)))

    def meet(self, event: Event) -> int:
        """Push and pull; how many keys the first one wanted to send. Digests go first, both ways,
        so neither answers to what the other is about to say.
        """
        copies = self.copies
        one = event.node
        other = event.other
        push, wanted = choose(self.order, copies, one, other, self.budget, self._luck)
        pull, _ = choose(self.order, copies, other, one, self.budget, self._luck)
        copies.give(one, other, push)
        copies.give(other, one, pull)
        return wanted


def run_fig2(
    order: str, seed: int, *, nodes: int = NODES, keys: int = KEYS, budget: int = BUDGET
) -> Measurements:
    """The rate of updates doubles for fifty seconds."""
    run = Run(order, seed, nodes, keys)
    for second in range(FIG2_S):
        run.budget = budget if second >= LIMITED_FROM_S else UNLIMITED
        run.second(second, [rate_per_s(second)] * nodes)
    return run.course


class FlowRun(Run):
    """Everybody wants to write without end, and writes as much as flow control allows."""

    def __init__(self, order: str, seed: int, nodes: int = NODES, keys: int = KEYS) -> None:
        super().__init__(order, seed, nodes, keys)
        self.flows = [Flow(0.0, laws=PAPER) for _ in range(nodes)]

    def meet(self, event: Event) -> int:
        """The rates are exchanged, too, and who began counts a round of its own."""
        wanted = super().meet(event)
        if event.at_s >= LIMITED_FROM_S:
            one = self.flows[event.node]
            other = self.flows[event.other]
            mine = one.rates
            theirs = other.rates
            one.meet(mine, theirs)
            other.meet(theirs, mine)
            one.next_round(over=wanted > self.budget)
        return wanted


def run_flow(
    order: str, seed: int, *, nodes: int = NODES, keys: int = KEYS, budget: int = BUDGET
) -> Measurements:
    """Nobody writes until messages are limited; later the limit is halved."""
    run = FlowRun(order, seed, nodes, keys)
    for second in range(FLOW_S):
        half = budget // 2 if second >= HALVED_FROM_S else budget
        run.budget = half if second >= LIMITED_FROM_S else UNLIMITED
        run.second(second, [max(flow.allowed, 0.0) for flow in run.flows])
    return run.course
