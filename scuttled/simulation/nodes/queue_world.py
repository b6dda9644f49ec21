"""World of nodes alone: a queue of what is to happen, one thing after the other."""

from collections.abc import Callable
from heapq import heappop, heappush

from scuttled.simulation.world import World

Call = Callable[[], object]


class QueueWorld(World):
    """Whatever happens in a run happens here. There is no time but that of what comes next."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.now_s = 0.0
        self._queue: list[tuple[float, int, Call]] = []
        self._count = 0

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
        self.trace_on(b"%d " % int(self.now_s * 1e6) + what)
