"""Many runs, on several cores: what happened in them, what was checked, what was violated."""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from scuttled.simulation.faults import Faults
from scuttled.simulation.history import Violation
from scuttled.simulation.trial import SAFETY_S, Outcome, Trial

CHUNK = 8  # seeds that a process is given at a time
_ENDING = frozenset((signal.SIGTERM, signal.SIGHUP))


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of all runs. `nodes` 0 and `faults` None: drawn for each."""

    nodes: int = 0
    for_s: float = SAFETY_S
    faults: Faults | None = None


@dataclass(slots=True)
class Summary:
    """Summary of many runs."""

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
    """Outcome of a run; a Violation is told in it."""
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
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker) as pool:
        try:
            yield from _begin_all(pool, plan, seeds)
        except BaseException:
            # Leaving waits for every run that was asked for, and there may be hours of them.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _begin_all(pool: ProcessPoolExecutor, plan: Plan, seeds: Iterable[int]) -> Iterator[Outcome]:
    """Signals wait meanwhile, or one might come between a process's start and what it is told.

    What is blocked here is so in these processes, too: Ctrl-C, which a terminal sends to all of
    them, stays it, for it is the parent's matter.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *_ENDING})
    try:
        return pool.map(_Run(plan), seeds, chunksize=CHUNK)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    """A process for runs ends with the one that wants them, however that one ends."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@dataclass(frozen=True, slots=True)
class _Run:
    """A plan as a function, which can be sent to another process."""

    plan: Plan

    def __call__(self, seed: int) -> Outcome:
        return run_one(self.plan, seed)
