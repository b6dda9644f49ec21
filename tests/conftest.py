"""How tests run: async ones under trio with a clock that jumps, slow ones only when asked for."""

import inspect
import os
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import settings

SLOW = os.environ.get("SCUTTLED_SLOW") == "1"

settings.register_profile("ci", deadline=None, print_blob=True)
settings.register_profile("slow", settings.get_profile("ci"), max_examples=1000)
settings.load_profile("slow" if SLOW else "ci")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """An `async def` test runs under trio, where sleeping takes no time."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(partial(pyfuncitem.obj, **arguments), clock=clock)
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is slow, unless `-m` names it or SCUTTLED_SLOW=1 is set."""
    if SLOW or "slow" in config.getoption("markexpr"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
