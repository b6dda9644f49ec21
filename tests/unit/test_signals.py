"""Signals as a daemon heeds them: noted at once, dealt with by the loop, or breaking work off."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
import trio

from scuttled.signals import HEEDED, Signals, StopAsked


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


async def test_work_that_holds_the_loop_up_is_broken_off() -> None:
    steps = []
    with Signals().installed() as signals:
        with signals.breaking_off():
            _come(signal.SIGHUP)
            steps.append("SIGHUP breaks off nothing")
        with pytest.raises(StopAsked), signals.breaking_off():
            _come(signal.SIGTERM) or steps.append("not reached")
        with pytest.raises(StopAsked), signals.breaking_off():
            steps.append("nor this, after it was asked for")
    assert steps == ["SIGHUP breaks off nothing"]


async def test_where_an_exception_can_not_get_out_it_is_raised_at_the_end() -> None:
    class Odd:
        def __del__(self) -> None:
            signals.note(signal.SIGTERM)

    with Signals().installed() as signals:
        with pytest.raises(StopAsked), signals.breaking_off():
            del (odd := [Odd()])[0]
        assert odd == []


def test_beside_the_main_thread_there_are_none() -> None:
    async def run() -> None:
        with Signals().installed() as signals:
            assert signals.stop is None

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before
