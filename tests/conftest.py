"""How tests run: async ones under trio with a clock that jumps, slow ones only when asked for.

    pytest --within 1m      what can be known in a minute; `--within 10m` likewise

begins with the quickest files, and begins no further test when the time is over. It ends by saying
how many were not begun. How long each took is kept in pytest's cache; on a first run a guess is.
"""

import inspect
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import settings
from support.fleet import Fleet

from scuttled.units import parse_duration

HERE = Path(__file__).parent
TOOK = "scuttled/seconds"  # in pytest's cache: of a test of each file, about
GUESSES_S = {"property": 1.0, "e2e": 2.0, "interop": 2.0, "simulation": 5.0, "fuzz": 5.0}
SLOW = os.environ.get("SCUTTLED_SLOW") == "1"

settings.register_profile("ci", deadline=None, print_blob=True)
settings.register_profile("slow", settings.get_profile("ci"), max_examples=1000)
settings.load_profile("slow" if SLOW else "ci")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """No daemon yet, and none left behind: `fleet.daemon("a", peers=["b"])`."""
    with Fleet(tmp_path) as fleet:
        yield fleet


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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--within", type=parse_duration, metavar="D", help="Begin no test after D.")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Budget(config))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is slow, unless `-m` names it or SCUTTLED_SLOW=1 is set."""
    if not (SLOW or "slow" in config.getoption("markexpr")):
        slow = [item for item in items if item.get_closest_marker("slow")]
        if slow:
            config.hook.pytest_deselected(items=slow)
            items[:] = [item for item in items if not item.get_closest_marker("slow")]
    if config.getoption("within") is not None:
        cache = _cache(config)
        took_s = cache.get(TOOK, {}) if cache is not None else {}
        items.sort(key=lambda item: _expected_s(item.path, took_s))


def _cache(config: pytest.Config) -> pytest.Cache | None:
    """None under `-p no:cacheprovider`."""
    return getattr(config, "cache", None)


def _expected_s(path: Path, took_s: dict[str, float]) -> tuple[float, str]:
    """Of a test in that file. Files stay together, for fixtures that their tests share."""
    name = path.relative_to(HERE).as_posix()
    return took_s.get(name, GUESSES_S.get(name.split("/")[0], 0.1)), name


class Budget:
    """The time that `--within` grants, what was not begun in it, and what each file takes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._granted_s: float | None = config.getoption("within")
        self._began_s = time.monotonic()
        self._not_begun = 0
        self._took: dict[str, list[float]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if self._granted_s is None or time.monotonic() - self._began_s < self._granted_s:
            return None
        self._not_begun += 1
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.split("::")[0].removeprefix("tests/")
        took = self._took.setdefault(name, [0.0, 0.0])
        took[0] += report.duration
        took[1] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._granted_s is not None:
            words = f"within {self._granted_s:g} s: {self._not_begun} tests were not begun"
            terminalreporter.write_line(words)

    def pytest_sessionfinish(self) -> None:
        cache = _cache(self._config)
        if cache is not None and self._took:
            known = cache.get(TOOK, {})
            news = {name: took / max(tests, 1) for name, (took, tests) in self._took.items()}
            cache.set(TOOK, {**known, **news})
