"""Many runs, on several cores: what happened in them, what was checked, what was violated."""

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from scuttled.simulation.faults import Faults
from scuttled.simulation.history import Violation
from scuttled.simulation.trial import SAFETY_S, Outcome, Trial

CHUNK = 8  # seeds that a process is given at a time


@dataclass(frozen=True, slots=True)
class Plan:
    """What all runs have in common. `nodes` 0 and `faults` None: drawn for each."""

    nodes: int = 0
    for_s: float = SAFETY_S
    faults: Faults | None = None


@dataclass(slots=True)
class Summary:
    """What many runs came to."""

    runs: int = 0
    updates: int = 0
    virtual_s: float = 0.0
    resets: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # of each fault that happened
    checks: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)  # seeds

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.updates += outcome.updates
        self.virtual_s += outcome.virtual_s
        self.resets += outcome.resets
        self.counts.update(outcome.counts)
        self.checks.update(outcome.checks)
        if outcome.violation:
            self.failed.append(outcome.seed)


def run_one(plan: Plan, seed: int) -> Outcome:
    """What a run came to; a Violation is told in it."""
    trial = Trial(seed, nodes=plan.nodes, for_s=plan.for_s, faults=plan.faults)
    try:
        return trial.run()
    except Violation:
        return trial.outcome


def run_many(plan: Plan, seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """One after the other, in the order of the seeds, `jobs` of them at a time."""
    if jobs == 1:
        yield from (run_one(plan, seed) for seed in seeds)
        return
    context = multiprocessing.get_context("spawn")  # no run finds anything of another's
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(_Run(plan), seeds, chunksize=CHUNK)


@dataclass(frozen=True, slots=True)
class _Run:
    """A plan as a function, which can be sent to another process."""

    plan: Plan

    def __call__(self, seed: int) -> Outcome:
        return run_one(self.plan, seed)
