"""Time and chance: a queue of what is to happen, and one source of randomness for all of it."""

import random
from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush

from scuttled.simulation.history import History

EPOCH_MS = 1_700_000_000_000  # of the wall clocks, but for each machine's own error

Call = Callable[[], object]


class World:
    """Whatever happens in a run happens here, one thing after the other."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311  (a simulation)
        self.now_s = 0.0
        self.history = History()
        self._queue: list[tuple[float, int, Call]] = []
        self._count = 0
        self._trace = blake2b(digest_size=8)

    def later(self, delay_s: float, call: Call) -> None:
        self._count += 1
        heappush(self._queue, (self.now_s + delay_s, self._count, call))

    def run_until(self, end_s: float) -> None:
        while self._queue and self._queue[0][0] <= end_s:
            self.now_s, _, call = heappop(self._queue)
            call()
        self.now_s = end_s

    def note(self, what: bytes) -> None:
        """Add to the trace."""
        self._trace.update(b"%d " % int(self.now_s * 1e6) + what)

    @property
    def trace(self) -> str:
        """A hash over everything that has happened so far."""
        return self._trace.hexdigest()
