"""Signals as a daemon heeds them: noted at once, dealt with by the loop, or breaking work off."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
import trio

from scuttled.runtime.signals import HEEDED, Signals, StopAsked


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in HEEDED}
    yield
    for number, action in before.items():
        signal.signal(number, action)


def _come(number: int) -> None:
    os.kill(os.getpid(), number)


async def test_each_that_came_is_dealt_with_and_the_first_that_asks_to_stop_counts() -> None:
    with Signals().installed() as signals:
        _come(signal.SIGHUP)
        assert signals.stop is None
        assert await signals.next() == signal.SIGHUP
        _come(signal.SIGTERM)
        _come(signal.SIGTERM)
        _come(signal.SIGINT)
        assert signals.stop == signal.SIGTERM
        assert [await signals.next(), await signals.next()] == [signal.SIGTERM, signal.SIGINT]
        with trio.move_on_after(1) as patience:
            await signals.next()
        assert patience.cancelled_caught


async def test_who_waits_is_woken() -> None:
    with Signals().installed() as signals:
        found = []

        async def wait() -> None:
            found.append(await signals.next())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            _come(signal.SIGINT)
        assert found == [signal.SIGINT]


async def test_once_a_stop_is_asked_for_no_other_breaks_in_not_even_after_the_end() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Signals().installed():
        _come(signal.SIGTERM)
        _come(signal.SIGHUP)
    _come(signal.SIGTERM)
    _come(signal.SIGHUP)
    assert signal.getsignal(signal.SIGINT) is before


async def test_after_an_error_they_are_as_before() -> None:
    before = {number: signal.getsignal(number) for number in HEEDED}
    with pytest.raises(ZeroDivisionError), Signals().installed():
        _come(signal.SIGTERM) or 1 / 0
    assert {number: signal.getsignal(number) for number in HEEDED} == before


async def test_work_that_holds_the_loop_up_sees_that_it_is_to_end() -> None:
    with Signals().installed() as signals:
        _come(signal.SIGHUP)
        signals.check()
        _come(signal.SIGTERM)
        with pytest.raises(StopAsked):
            signals.check()
        assert await signals.next() == signal.SIGTERM
        assert await signals.next() == signal.SIGHUP
        with pytest.raises(StopAsked):
            signals.check()


async def test_no_function_of_python_is_called_in_which_the_next_one_could_break() -> None:
    """A flood of them is sent in tests/e2e/test_interrupted.py."""
    with Signals().installed():
        assert not any(hasattr(signal.getsignal(number), "__code__") for number in HEEDED)


async def test_one_that_comes_again_and_again_hides_no_other() -> None:
    with Signals().installed() as signals:
        for _ in range(100):
            _come(signal.SIGHUP)
            assert await signals.next() == signal.SIGHUP
        _come(signal.SIGHUP)
        _come(signal.SIGTERM)
        assert await signals.next() == signal.SIGTERM


def test_beside_the_main_thread_there_are_none() -> None:
    async def run() -> None:
        with Signals().installed() as signals:
            assert signals.stop is None

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before
