"""Copies of every key on every node, as numbers.

A write has a number, and a later write a greater one. So a row of numbers is all that a node
holds: which write of each key. All else is told of a write once: when it was made, and when
its owner wrote the key anew, which is from when on a copy of it is stale.

    held      nodes x (owners * keys)   the number of the write that is held; 0: none
    seen      nodes x owners            the greatest number seen from each owner (scuttlebutt)
"""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]


class Copies:
    """All keys on all nodes. At time nought each owner has written all of its own."""

    def __init__(self, nodes: int, keys: int) -> None:
        self.nodes = nodes
        self.keys = keys
        self.held = np.zeros((nodes, nodes * keys), np.int64)
        self.seen = np.zeros((nodes, nodes), np.int64)
        self.latest = np.arange(1, nodes * keys + 1)  # of each key, its owner's
        self.owners = np.repeat(np.arange(nodes), keys)
        self.writes = nodes * keys
        self.stale_from_s = np.full(nodes * keys + 1024, np.inf)  # by number of write
        self.stale_from_s[0] = 0.0
        self.held[self.owners, np.arange(nodes * keys)] = self.latest
        self.seen[np.arange(nodes), np.arange(nodes)] = self.latest[keys - 1 :: keys]

    def write(self, node: int, key: int, at_s: float) -> None:
        """The owner writes one of its keys anew."""
        index = node * self.keys + key
        self.writes += 1
        if self.writes >= len(self.stale_from_s):
            more = np.full(len(self.stale_from_s), np.inf)
            self.stale_from_s = np.concatenate([self.stale_from_s, more])
        self.stale_from_s[self.latest[index]] = at_s
        self.latest[index] = self.held[node, index] = self.seen[node, node] = self.writes

    def missing(self, giver: int, taker: int) -> Numbers:
        """The keys of which the giver has what the taker lacks, told key by key (precise)."""
        return np.flatnonzero(self.held[giver] > self.held[taker])

    def unseen(self, giver: int, taker: int) -> Numbers:
        """The same, as a vector of the greatest number from each owner tells it (scuttlebutt)."""
        return np.flatnonzero(self.held[giver] > self.seen[taker][self.owners])

    def give(self, giver: int, taker: int, keys: Numbers) -> None:
        """The taker takes what is newer than its own."""
        given = self.held[giver, keys]
        newer = given > self.held[taker, keys]
        keys = keys[newer]
        given = given[newer]
        self.held[taker, keys] = given
        np.maximum.at(self.seen[taker], self.owners[keys], given)

    def waiting_s(self, now_s: float) -> Times:
        """For how long each copy has been stale, since the first write that it lacks; 0: it isn't.

        One row for each node.
        """
        return np.where(self.held != self.latest, now_s - self.stale_from_s[self.held], 0.0)
