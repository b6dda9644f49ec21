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
    world      chance and trace of a run             history    what was written, what must hold
    trio_world virtual time for its tasks
    trial      one run: safety, then liveness        campaign   thousands of them

*Nodes alone.* `nodes` runs nodes and links without a shell, under a heap of events.

Why two: whole daemons are the proof, for what awaits, reads clocks and writes files is in it, and a
fault there is found nowhere else. Nodes alone are thirteen times as fast, and their limits are so
small that each is met all the time: there the rules of replication are searched for a hole, run by
run, and nothing that a shell does can hide one. They share world and history; a disk is a real
directory here and a dict there, and a network is trio's streams here and chunks there.
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
