"""Waiting for what no test can await: it is asked for again and again, up to a limit."""

import time
from collections.abc import Callable
from typing import Any

import trio

PATIENCE_S = 30.0  # for what takes well below a second on a machine that is not overloaded


def until(
    condition: Callable[[], object],
    what: str | Callable[[], str] = "it",
    timeout_s: float = PATIENCE_S,
    poll_s: float = 0.01,
) -> Any:
    """Asks again and again until the answer is true, and gives it. For what can't be awaited."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            words = what() if callable(what) else what
            raise AssertionError(f"waited {timeout_s:g} s in vain for {words}")
        time.sleep(poll_s)
    return answer


async def comes_true(condition: Callable[[], object], poll_s: float = 0.005) -> None:
    """Likewise in trio, for what rings no bell that a test could hear. The caller sets a limit."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(poll_s)
