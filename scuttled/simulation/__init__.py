"""Clusters in one process and in virtual time, from one seed: the proof of what is promised.

    scuttled simulate --seed 7

*Whole daemons.* Each machine runs the real daemon, unchanged: replicas, node, storage on a real
SQLite file, links, control. What a daemon takes from outside (time, chance, streams, threads) is
handed in: see `scuttled.runtime.environment`. Tasks are trio's, under a clock that jumps; which of
those that are ready goes first is drawn. The same seed gives the same bytes at the same times, in
any process.

    faults     what can go wrong, a field each       nemesis    does it
    disk       a directory that a cut may tear       network    streams that wait, trickle, break
    machine    a daemon on a disk, with a clock      workload   what writes and watches
    world      time, chance, the trace               history    what was written, what must hold
    trial      one run: safety, then liveness        campaign   thousands of them

*Nodes alone.* `nodes` runs nodes and links without a shell, under a heap of events: some ten times
as fast, with limits so small that every one of them is met all the time.
"""

from scuttled.simulation.campaign import Plan, Summary, run_many, run_one
from scuttled.simulation.faults import ALL, WORDS, Faults
from scuttled.simulation.history import Violation
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
