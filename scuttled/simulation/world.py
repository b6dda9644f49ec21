"""World of one run, in either simulator: its chance, its trace, and all that was written in it."""

import random
from hashlib import blake2b

from scuttled.simulation.history import History

EPOCH_MS = 1_700_000_000_000  # of the wall clocks, but for each machine's own error


class World:
    """Whatever is drawn is drawn here, from one seed: so a run can be had again, byte for byte."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311  (a simulation)
        self.history = History()
        self._trace = blake2b(digest_size=8)

    def trace_on(self, what: bytes) -> None:
        """Add to the trace what happened, and when."""
        self._trace.update(what)

    @property
    def trace(self) -> str:
        """A hash over everything that has happened so far."""
        return self._trace.hexdigest()
