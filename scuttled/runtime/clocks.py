"""Clocks of this machine, for rooms that are told the time and must not look themselves."""

import time

from scuttled.replica.update import Instant

# The monotonic clock stands still while a machine sleeps, and the wall clock does not.
STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read_clocks() -> Instant:
    """The monotonic and the wall clock; before 1970 it is 1970."""
    return Instant(time.monotonic(), max(time.time_ns() // 1_000_000, 0))


def read_steady_s() -> float:
    """Seconds that passed since some instant, also while the machine slept."""
    return time.clock_gettime(STEADY_CLOCK)
