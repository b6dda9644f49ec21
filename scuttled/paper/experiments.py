"""The paper's two experiments, whole: every order on as many processors as there are."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from scuttled.paper.gossip import run_fig2, run_flow
from scuttled.paper.measurements import Measurements
from scuttled.paper.orders import ORDERS
from scuttled.paper.reference_points import FIG2, FLOW, Courses, Row, rows
from scuttled.paper.schedule import FIG2_S, LIMITED_FROM_S, NODES

FLOW_ORDERS = ("newest", "oldest", "depth", "ours")
FLOW_NODES = (64, 128)
PROCESSES_MAX = 8  # as many runs as there are at once


@dataclass(frozen=True)
class Experiment:
    """One experiment, and what came out."""

    name: str  # fig2 or flow
    seed: int
    courses: Courses
    rows: list[Row]

    def peak_s(self, order: str) -> float:
        """Of the nodes' mean of greatest staleness under the paper's overload."""
        return self.courses[order, NODES].peak_of_mean_s(LIMITED_FROM_S + 1, FIG2_S)[0]


def fig2(seed: int) -> Experiment:
    """The load doubles for fifty seconds: the paper's four orders and ours."""
    courses = _run(run_fig2, [(order, NODES) for order in ORDERS], seed)
    return Experiment("fig2", seed, courses, list(rows(FIG2, courses)))


def flow(seed: int) -> Experiment:
    """Flow control finds what gets through, and finds it again when that is halved."""
    cases = [(order, nodes) for nodes in FLOW_NODES for order in FLOW_ORDERS]
    courses = _run(run_flow, cases, seed)
    return Experiment("flow", seed, courses, list(rows(FLOW, courses)))


EXPERIMENTS = {"fig2": fig2, "flow": flow}


def _run(run: Callable[..., Measurements], cases: list[tuple[str, int]], seed: int) -> Courses:
    workers = min(len(cases), os.cpu_count() or 1, PROCESSES_MAX)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_leave_ctrl_c)
    try:
        running = {case: pool.submit(run, case[0], seed, nodes=case[1]) for case in cases}
        return {case: future.result() for case, future in running.items()}
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_ctrl_c() -> None:
    """It is for the command, which lets the runs that have begun come to their end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
