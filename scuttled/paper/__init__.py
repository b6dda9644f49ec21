"""The paper's experiments, run again, with our own order beside its four.

`experiments` has the two that `scuttled simulate --paper` shows. They count copies with numpy
(`replicas`, `orders`, `gossip`); `sessions` runs the same timetable of writes and meetings over the
real models, logs and sessions, so that it can be seen that the order which is counted
is the one that is drawn. `spread` needs neither: one write of each of a thousand real replicas.

numpy and matplotlib come with the extra `plot`; nothing of them is imported before it's needed.
                                                          [van Renesse et al. 2008; docs/paper.md]
"""
