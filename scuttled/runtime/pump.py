"""Pump between a conversation and its stream: what goes out, and how time passes.

The writer draws only when the stream can take more: so what is sent is chosen last, and a slow peer
has no queue. A link has a reader, a writer and a timer, which end together: the writer decides,
once the last words are sent. What is read differs from door to door, and stays there.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from scuttled.protocol.host import End
from scuttled.protocol.link import SILENCE_S, Link
from scuttled.replica.update import Instant
from scuttled.runtime.wakeup import Wakeup

TIMER_S = 0.001  # the least that a timer waits, so that no timer can make it spin
PARTING_S = 1.0  # for the last words on a link


class Outlet(Protocol):
    """The sending side of a stream."""

    async def wait(self) -> None:
        """Return when the stream can take more."""

    async def send_all(self, data: bytes) -> None: ...


class Drawn(Protocol):
    """Source of what is sent, which chooses when it is drawn."""

    def draw(self, now: Instant) -> bytes: ...


class Timed(Protocol):
    """A link, or what stands around it and has timers of its own."""

    @property
    def ended(self) -> End | None: ...

    def next_timer(self, now: Instant) -> float:
        """The second of the monotonic clock at which it is due."""

    def tick(self, now: Instant) -> None: ...


async def send_drawn(source: Drawn, outlet: Outlet, now: Callable[[], Instant]) -> None:
    """Send the next thing there is, once the stream can take it."""
    await outlet.wait()
    if data := source.draw(now()):
        await outlet.send_all(data)
    else:
        await trio.lowlevel.checkpoint()  # a search in vain; there may be more of it


async def keep_sending(
    link: Link, outlet: Outlet, wakeup: Wakeup, now: Callable[[], Instant]
) -> None:
    """Send what the link has. Returns when it is over: at once if the peer has ended it, else
    behind the last words. `wakeup` is rung when there may be something.
    """
    while True:
        if link.wants_to_send(now()):
            if link.ended is not None and link.ended.by_peer:
                return
            await send_drawn(link, outlet, now)
        elif link.ended is not None:
            return
        else:
            await wakeup.heard()


async def keep_time(
    timed: Timed,
    rearmed: Wakeup,
    wakeup: Wakeup,
    now: Callable[[], Instant],
    scope: trio.CancelScope,
) -> None:
    """Let time pass; when it is over, grant the last words a second: then `scope` is cancelled.

    `rearmed` is rung when a timer is due earlier than it was; after each tick there may be
    something to be sent.
    """
    while timed.ended is None:
        due_s = timed.next_timer(now()) - now().mono_s
        with trio.move_on_after(min(max(TIMER_S, due_s), SILENCE_S)):
            await rearmed.heard()
        timed.tick(now())
        wakeup.ring()
    wakeup.ring()
    scope.deadline = trio.current_time() + PARTING_S
