"""The two things every trio room needs: a bell to be woken by, and what time it is."""

import time

import trio

from scuttled.core.update import Instant


class Bell:
    """Wakes one waiting task; rung while nobody waits, the next wait ends at once."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()

    async def heard(self) -> None:
        await self._event.wait()
        self._event = trio.Event()


def read_clocks() -> Instant:
    """The two clocks, for a core that must not look itself."""
    return Instant(time.monotonic(), time.time_ns() // 1_000_000)
