"""Bells are heard however they are rung; an outlet takes what the socket can take."""

import threading
import time

import pytest
import trio
import trio.testing
from support.sockets import on_sockets, socket_pair

from scuttled.runtime.clocks import read_clocks
from scuttled.runtime.stream_writer import AT_ONCE_BYTES, StreamWriter
from scuttled.runtime.wakeup import Wakeup


async def test_a_bell_that_was_rung_before_is_heard_at_once_and_once() -> None:
    bell = Wakeup()
    bell.ring()
    bell.ring()
    await bell.heard()
    with trio.move_on_after(1) as scope:
        await bell.heard()
    assert scope.cancelled_caught


async def test_a_bell_wakes_who_waits() -> None:
    bell, heard = Wakeup(), []

    async def wait() -> None:
        for _ in range(2):
            await bell.heard()
            heard.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        began = trio.current_time()
        for _ in range(2):
            await trio.sleep(1)
            bell.ring()
    assert [at - began for at in heard] == [1, 2]


@pytest.mark.parametrize("size", [1, AT_ONCE_BYTES, AT_ONCE_BYTES + 1, 3_000_000])
@on_sockets
async def test_what_goes_into_an_outlet_comes_out_at_the_other_end(size: int) -> None:
    one, two = await socket_pair()
    data, received = bytes(range(256)) * (size // 256 + 1), bytearray()

    async def send() -> None:
        outlet = StreamWriter(one)
        await outlet.wait()
        await outlet.send_all(data[:size])
        await one.aclose()

    async with one, two, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        async for part in two:
            received += part
    assert received == data[:size]


@on_sockets
async def test_an_outlet_waits_until_somebody_reads() -> None:
    one, two = await socket_pair()
    async with one, two:
        outlet = StreamWriter(one)
        with trio.move_on_after(0.05) as stuck:
            while True:
                await outlet.wait()
                await outlet.send_all(bytes(AT_ONCE_BYTES))
        assert stuck.cancelled_caught
        with trio.move_on_after(0.05) as stuck:
            await outlet.wait()
        assert stuck.cancelled_caught

        async with trio.open_nursery() as nursery:
            nursery.start_soon(two.receive_some, 1 << 20)
            await outlet.wait()
            await outlet.send_all(b"x")


@on_sockets
async def test_an_outlet_to_nobody_says_so() -> None:
    one, two = await socket_pair()
    await two.aclose()
    async with one:
        for size in (1, 3_000_000):
            with pytest.raises((OSError, trio.BrokenResourceError)):
                await StreamWriter(one).send_all(bytes(size))


def test_both_clocks_are_read() -> None:
    before, now, after = time.time(), read_clocks(), time.monotonic()
    assert abs(now.wall_ms - before * 1000) < 1000
    assert 0 <= after - now.mono_s < 1


async def test_a_bell_rung_in_a_wrong_thread_says_so_and_is_heard_when_rung_in_the_right_one() -> (
    None
):
    bell, errors = Wakeup(), list[BaseException]()

    def ring() -> None:
        try:
            bell.ring()
        except RuntimeError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bell.heard)
        await trio.testing.wait_all_tasks_blocked()
        wrong = threading.Thread(target=ring)
        wrong.start()
        wrong.join()
        assert "in which nobody waits" in str(errors[0])
        bell.ring()
