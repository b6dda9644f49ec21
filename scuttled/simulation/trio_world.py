"""World of whole daemons: virtual time for trio's tasks, and what was seen of a run.

Everything is one trio run under a clock that jumps when all tasks wait. Which of the tasks that
are ready goes first is drawn, as all else, from one seed: so a run can be had again, byte for
byte. For that trio has a switch that it names as one for tests; it is set here for the length of
a run, and put back.
"""

import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import ceil, inf

import trio
from trio._core import _run as internals  # its switch for tests has no public name
from trio.testing import MockClock

from scuttled.runtime.environment import GC_THRESHOLDS
from scuttled.simulation.history import Violation
from scuttled.simulation.network import Network
from scuttled.simulation.world import World

STEP_S = 1 / 256  # of virtual time: what is due within one of them is due at once
ROUNDING = 1e-9  # of a step


class TrioWorld(World):
    """All that the machines of a run share."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.network = Network(self.rng, self.note)
        self.local = Network(self.rng, self.note)  # between programs and their daemons
        self.local.delay_s = 0.0
        self.counts: Counter[str] = Counter()  # of what happened
        self.checks: Counter[str] = Counter()  # of what was looked at
        self.violation: Violation | None = None
        self.over = trio.CancelScope()

    def note(self, who: str, data: bytes) -> None:
        """Add to the trace bytes that arrived somewhere."""
        now_us = round(trio.current_time() * 1e6)
        self.trace_on(b"%d %s %d " % (now_us, who.encode(), len(data)) + data)

    def violate(self, found: Violation | str) -> None:
        """The first violation ends the run; whoever finds it may be deep in a daemon."""
        if self.violation is None:
            words = str(found)
            self.violation = Violation(f"at {trio.current_time():.3f} s: {words}")
            self.over.cancel()

    def check(self, what: str, look: Callable[[], object]) -> None:
        """Count that check, and what it finds."""
        self.checks[what] += 1
        try:
            look()
        except AssertionError as found:
            self.violate(f"{found}")


class _Bugs(logging.Handler):
    """Daemons go on after a bug that a peer or caller can reach, and log it; a run does not."""

    def __init__(self, world: TrioWorld) -> None:
        super().__init__(logging.ERROR)
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.world.violate(f"{record.getMessage()}: {record.exc_info[1]!r}")


@contextmanager
def _bugs_told(world: TrioWorld) -> Iterator[None]:
    """Nothing is logged but what is a violation."""
    logger = logging.getLogger("scuttled")
    bugs = _Bugs(world)
    before = logger.level, logger.propagate
    logger.addHandler(bugs)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(bugs)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _stepping_clock() -> MockClock:
    """Jumps when all tasks wait, but in whole steps.

    So more tasks are ready at one time, of which one has to be drawn, and the loop turns less.
    """
    clock = MockClock(autojump_threshold=0)

    def jump() -> None:
        sleep_s = trio.lowlevel.current_statistics().seconds_to_next_deadline
        if 0 < sleep_s < inf:
            clock.jump(max(1, ceil(sleep_s / STEP_S - ROUNDING)) * STEP_S)

    clock._autojump = jump  # type: ignore[method-assign]
    return clock


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Collect garbage seldom: daemons make few cycles, and the search is a sixth of a long run."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _seeded_scheduling(seed: int) -> Iterator[None]:
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING
    state = internals._r.getstate()
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    internals._r.seed(seed)
    try:
        yield
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        internals._r.setstate(state)


def run(world: TrioWorld, seed: int, main: Callable[[], Awaitable[object]]) -> None:
    """Run all of it, in virtual time. Raises Violation."""

    async def until_over() -> None:
        with world.over:
            await main()

    with _bugs_told(world), _garbage_left(), _seeded_scheduling(seed):
        trio.run(until_over, clock=_stepping_clock())
    if world.violation is not None:
        raise world.violation
