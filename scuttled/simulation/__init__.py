"""Clusters in one process and in virtual time, from one seed: the proof of what is promised.

    scuttled simulate --seed 7

*Whole daemons.* Each machine runs the real daemon, unchanged: core, node, storage on a real SQLite
file, links, control. What a daemon takes from outside (time, chance, streams, threads) is handed
in: see `scuttled.outside`. Tasks are trio's, under a clock that jumps; which of those that are
ready goes first is drawn. The same seed gives the same bytes at the same times, in any process.

    faults     what can go wrong, a field each       mischief   does it
    disk       a directory that a cut may tear       network    streams that wait, trickle, break
    machine    a daemon on a disk, with a clock      programs   what writes and watches
    world      time, chance, the trace               history    what was written, what must hold
    trial      one run: safety, then liveness        many       thousands of them

*The pure core.* `heap` runs nodes and links alone, without a shell, under a heap of events: some
ten times as fast, with limits so small that every one of them is met all the time.
"""

from scuttled.simulation.faults import ALL, WORDS, Faults
from scuttled.simulation.history import Violation
from scuttled.simulation.many import Plan, Summary, run_many, run_one
from scuttled.simulation.trial import NODES, SAFETY_S, Outcome, Trial

__all__ = [
    "ALL",
    "NODES",
    "SAFETY_S",
    "WORDS",
    "Faults",
    "Outcome",
    "Plan",
    "Summary",
    "Trial",
    "Violation",
    "run_many",
    "run_one",
]
