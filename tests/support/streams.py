"""Models of a program of one's own, joined by streams in memory."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import memory_stream_pair

from scuttled import Replicated, Scuttlebutt, replicate


class Joined:
    """Two calls of `replicate` at the ends of one stream."""

    def __init__(self) -> None:
        self.results: dict[str, Replicated] = {}
        self.synced = trio.Event()


@asynccontextmanager
async def joined(
    one: Scuttlebutt | Iterable[Scuttlebutt],
    two: Scuttlebutt | Iterable[Scuttlebutt],
    *,
    left: dict[str, Any] | None = None,
    right: dict[str, Any] | None = None,
) -> AsyncIterator[Joined]:
    """The two replicate with each other until the block is left."""
    here, there = memory_stream_pair()
    joined = Joined()
    missing = {"left", "right"}

    async def run(side: str, models: Any, stream: trio.abc.Stream, options: dict[str, Any]) -> None:
        def synced() -> None:
            missing.discard(side)
            if not missing:
                joined.synced.set()

        options = {"on_synced": synced, **options}
        joined.results[side] = await replicate(models, stream, **options)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "left", one, here, left or {})
        nursery.start_soon(run, "right", two, there, right or {})
        yield joined
        nursery.cancel_scope.cancel()


async def comes_to(model: Scuttlebutt, condition: Callable[[], bool]) -> None:
    """Return when that holds; it is looked at whenever something comes to the model."""
    came = trio.Event()
    model.observed.wakers.add(lambda: came.set())
    with trio.fail_after(3600):
        while not condition():
            came = trio.Event()
            if not condition():
                await came.wait()
