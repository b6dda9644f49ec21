"""A whole cluster in one process and in virtual time: real nodes and links, a bad network.

    Cluster(seed=7).run()

A run has two phases. *Safety*: programs write, while connections break in the middle of a frame,
networks part, readers are slow, clocks are wrong and step, and nodes are killed and come back
with what their disk had. *Liveness*: all that heals, and within bounded virtual time every node
must hold the same updates and the same clocks, and then be quiet. All along it is checked that

    I1  a source's timestamps rise, and a write is seen by its writer, whatever its clock does
    I3  clocks are truthful: what one covers is in that node's state or dominated there
    I5  what was acknowledged is still there after a kill
    I8  no honest node breaks the protocol

against a history of all that was ever written. The seed decides everything: the same seed gives
the same trace, byte for byte. Which faults a run has at all is drawn first, since a run with few
of them comes to places that one with all of them never reaches.

From below: history (what must hold) and world (chance, the trace), which whole daemons have, too;
queue_world (what happens next), machine (a node on a disk in memory, with a clock), network (cables
that break), cluster (what happens). `meetings` and `futures` try two rules alone, in `encounters`.
"""

from scuttled.simulation.history import Violation
from scuttled.simulation.nodes.cluster import FAULTS, Cluster
from scuttled.simulation.nodes.machine import MemoryDisk, NodeMachine

__all__ = ["FAULTS", "Cluster", "MemoryDisk", "NodeMachine", "Violation"]
