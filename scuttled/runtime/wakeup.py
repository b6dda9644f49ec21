"""Wakeup of one task by others: what every room with tasks rings when there is something to do."""

from threading import get_ident

import trio


class Wakeup:
    """Wakes one waiting task; rung while nobody waits, the next wait ends at once.

    It parks the task itself: a `trio.Event` for each wait costs twice as much, and a turn of the
    loop where the bell was rung before. There may be one waiter at a time.

    It is rung in the thread of its waiter. Trio can't be woken from another one, and would hand
    the waiter to a loop that runs there: so that is refused before anything moves.
    """

    def __init__(self) -> None:
        self._rung = False
        self._waiter: trio.lowlevel.Task | None = None
        self._thread = 0  # of the waiter

    def ring(self) -> None:
        """Wake the waiter. Raises RuntimeError in a thread that is not the waiter's."""
        if self._waiter is not None:
            if get_ident() != self._thread:
                raise RuntimeError("a bell was rung in a thread in which nobody waits for it")
            waiter = self._waiter
            self._waiter = None
            trio.lowlevel.reschedule(waiter)
        self._rung = True

    async def heard(self) -> None:
        """Return once it was rung since the last time. Not a checkpoint if it was by now."""
        if not self._rung:
            assert self._waiter is None, "two tasks wait for one bell"
            self._waiter = trio.lowlevel.current_task()
            self._thread = get_ident()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._rung = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED
