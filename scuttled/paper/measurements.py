"""Measurements on every node at the end of each second of an experiment."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from scuttled.paper.replicas import Copies


@dataclass
class Measurements:
    """One run of one order: a row for each second, the first after one second."""

    order: str
    nodes: int
    stale: list[list[int]] = field(default_factory=list)  # keys, on each node
    age_s: list[list[float]] = field(default_factory=list)  # greatest staleness, on each node
    rate: list[float] = field(default_factory=list)  # updates/s a node may write, mean

    def measure(self, copies: Copies, now_s: float) -> None:
        waiting_s = copies.waiting_s(now_s)
        self.stale.append((waiting_s > 0).sum(1).tolist())
        self.age_s.append(waiting_s.max(1).tolist())

    def peaks_s(self, start_s: int, stop_s: int) -> list[float]:
        """The greatest staleness that each node has seen in that time."""
        return [max(ages) for ages in zip(*self.age_s[start_s:stop_s], strict=True)]

    def peak_of_mean_s(self, start_s: int, stop_s: int) -> tuple[float, int]:
        """The peak of the nodes' mean of greatest staleness, and the second at whose end it was."""
        means = [fmean(ages) for ages in self.age_s[start_s:stop_s]]
        return max(means), start_s + means.index(max(means)) + 1

    def fresh_at_s(self) -> list[int]:
        """The end of the first second after which nothing is stale any more, for each node."""
        return [
            max((second for second, count in enumerate(counts, 1) if count), default=0) + 1
            for counts in zip(*self.stale, strict=True)
        ]


def at(rows: Sequence[Sequence[float]], second: int) -> list[float]:
    """Row of what each node saw at the end of that many seconds."""
    return list(rows[second - 1])


def means_between(rows: Sequence[Sequence[float]], start_s: int, stop_s: int) -> list[float]:
    """Averages, by node."""
    return [fmean(values) for values in zip(*rows[start_s:stop_s], strict=True)]
