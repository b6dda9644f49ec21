"""`replicate` where a program does what programs do: leaves at once, raises, uses threads."""

import io
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from support.streams import comes_to, joined
from trio.testing import memory_stream_pair

from scuttled import Log, Map, Replicated, Scuttlebutt, Set, load, new_author, replicate, save
from scuttled.errors import Refused, RemoteProtocolError, UsageError
from scuttled.library.model_file import dump


def family(*names: str) -> list[Map]:
    author = new_author()
    return [Map(name, author) for name in names]


async def ended(results: dict[str, Replicated], count: int = 2) -> None:
    with trio.fail_after(60):
        while len(results) < count:  # noqa: ASYNC110  (an end has no event of its own)
            await trio.sleep(0.01)


# --- dispose -------------------------------------------------------------------------------------


async def test_what_is_written_in_the_tick_of_dispose_still_arrives() -> None:
    a, b = Map(), Map()
    async with joined(a, b) as streams:
        await streams.synced.wait()
        a.set("last", 1)
        a.dispose()
        await ended(streams.results)
    assert b.get("last") == 1
    assert b.clock == a.clock
    assert streams.results["left"].synced
    assert streams.results["left"].reason == "was disposed of"


async def test_what_is_written_and_disposed_of_before_the_handshake_arrives() -> None:
    a, b = Map(), Map()
    here, there = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replicate, a, here)
        while not a.streams:
            await trio.lowlevel.checkpoint()
        a.set("k", "v")
        a.dispose()
        nursery.start_soon(replicate, b, there)
    assert b.to_json() == {"k": "v"}


async def test_a_large_backlog_arrives_whole_before_the_end() -> None:
    a, b = Map(), Map()
    async with joined(a, b) as streams:
        await streams.synced.wait()
        for n in range(2000):
            a.set(f"k{n}", "x" * 500)
        a.dispose()
        a.set("after", 1)
        await ended(streams.results)
    assert len(b.to_json()) in (2000, 2001)
    assert b.get("k1999") == "x" * 500


async def test_dispose_ends_although_the_other_end_takes_nothing_and_is_not_called_synced() -> None:
    a, b = Map(), Map()
    here, there = memory_stream_pair()
    results: list[Replicated] = []

    async def run() -> None:
        results.append(await replicate(a, here))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.CancelScope() as scope:
            await replicate(b, there, on_synced=scope.cancel, framing=_Kept)
        a.set("lost", 1)
        a.dispose()
    assert (results[0].synced, b.get("lost")) == (False, None)


class _Kept(trio.abc.Stream):
    """A stream that is left open when its user goes: nobody reads it any more."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.send_all, self.receive_some = inner.send_all, inner.receive_some  # type: ignore[method-assign]
        self.wait_send_all_might_not_block = inner.wait_send_all_might_not_block  # type: ignore[method-assign]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...
    async def wait_send_all_might_not_block(self) -> None: ...
    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...  # type: ignore[empty-body]
    async def aclose(self) -> None: ...


# --- models that one end has and the other has not -----------------------------------------------


async def test_a_model_that_the_other_end_has_not_is_left_out_and_the_rest_goes_on() -> None:
    common, extra = family("common", "extra")
    (other,) = family("common")
    left_out: list[tuple[str, str]] = []
    options = {"on_left_out": lambda *what: left_out.append(what)}
    async with joined([common, extra], other, left=options) as streams:
        await streams.synced.wait()
        common.set("k", 1)
        await comes_to(other, lambda: other.get("k") == 1)
        other.set("back", 2)
        await comes_to(common, lambda: common.get("back") == 2)
        other.dispose()
        await ended(streams.results)
    assert left_out == [("extra", "no model 'extra' here")]
    assert streams.results["left"].left_out == {"extra": "no model 'extra' here"}
    assert streams.results["right"].left_out == {}


async def test_what_is_left_out_does_not_keep_a_single_exchange_from_its_end() -> None:
    ours, theirs = family("common", "ours"), family("theirs", "common")
    ours[0].set("k", 1)
    here, there = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: replicate(ours, here, tail=False))
        result = await replicate(theirs, there, tail=False)
    assert result.synced
    assert theirs[1].to_json() == {"k": 1}
    assert "theirs" in result.left_out


async def test_a_model_of_another_type_is_left_out_and_the_rest_goes_on() -> None:
    one, two = new_author(), new_author()
    ours: list[Scuttlebutt] = [Map("common", one), Set("odd", one)]
    theirs: list[Scuttlebutt] = [Map("common", two), Log("odd", two)]
    async with joined(ours, theirs) as streams:
        await streams.synced.wait()
        theirs[0].dispose()
        await ended(streams.results)
    for result in streams.results.values():
        assert "'odd'" in result.left_out["odd"]


async def test_who_shares_nothing_is_refused_on_both_ends_with_every_name() -> None:
    here, there = memory_stream_pair()
    words: list[str] = []

    async def attempt(models: list[Map], stream: trio.abc.Stream) -> None:
        with pytest.raises((Refused, RemoteProtocolError)) as caught:
            await replicate(models, stream)
        words.append(caught.value.message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, family("a", "b"), here)
        nursery.start_soon(attempt, family("c"), there)
    assert len(words) == 2
    assert any("no model" in said for said in words)


@pytest.mark.parametrize("stream", [None, "host:7070", threading.Event()])
async def test_what_is_no_stream_is_refused(stream: Any) -> None:
    with pytest.raises(UsageError, match="a trio stream is wanted"):
        await replicate(Map(), stream)


# --- callbacks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), BrokenPipeError("a pipe of ours"), OSError()]
)
@pytest.mark.parametrize("where", ["on_synced", "on_header", "update"])
async def test_what_a_callback_raises_comes_out_as_it_is(error: Exception, where: str) -> None:
    def fail(*_: object) -> None:
        raise error

    a, b = Map(), Map()
    a.set("k", 1)
    options: dict[str, Any] = {}
    if where == "update":
        b.on("update", fail)
    else:
        options[where] = fail
    here, there = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replicate, a, here)
        with pytest.raises(type(error)) as caught:
            await replicate(b, there, **options)
    assert caught.value is error
    assert b.streams == 0


async def test_ctrl_c_comes_out_as_it_is() -> None:
    a, b = Map(), Map()
    here, there = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replicate, a, here)
        with pytest.raises(KeyboardInterrupt):
            await replicate(b, there, on_synced=lambda: signal.raise_signal(signal.SIGINT))
    assert b.streams == 0


async def test_a_cancelled_call_leaves_nothing_behind_and_the_next_goes_on() -> None:
    a, b = Map(), Map()
    here, there = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replicate, a, here)
        with trio.CancelScope() as scope:
            await replicate(b, there, on_synced=scope.cancel)
        assert scope.cancelled_caught
    assert (a.streams, b.streams) == (0, 0)
    assert b.observed.wakers == b.observed.guards == b.observed.closers == set()
    b.set("k", 1)
    async with joined(a, b) as streams:
        await streams.synced.wait()
    assert a.to_json() == {"k": 1}


# --- threads -------------------------------------------------------------------------------------


async def from_thread(function: Callable[[], object]) -> BaseException | None:
    """Run it in a thread that trio does not know; what it raised."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            function()
            raised.append(None)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return raised[0]


async def test_a_write_from_a_wrong_thread_is_refused_and_later_ones_arrive() -> None:
    a, b = Map(), Map()
    state = dump(b)
    async with joined(a, b) as streams:
        await streams.synced.wait()
        for wrong in (
            lambda: a.set("k", "wrong"),
            lambda: a.clone().set("k", "wrong"),
            lambda: a.dispose(),
            lambda: save(a, io.BytesIO()),
            lambda: load(a, io.BytesIO(state)),
        ):
            error = await from_thread(wrong)
            assert isinstance(error, UsageError)
            assert "trio.from_thread.run_sync" in error.message
        assert a.get("k") is None, "nothing had moved"
        a.set("k", "right")
        await comes_to(b, lambda: b.get("k") == "right")
    assert await from_thread(lambda: a.set("k", "alone")) is None, "it is nobody's any more"


async def test_a_clone_is_guarded_by_the_stream_of_its_original() -> None:
    a, b = Map(), Map()
    further = a.clone().clone()
    async with joined(a, b) as streams:
        await streams.synced.wait()
        assert isinstance(await from_thread(lambda: further.set("k", 1)), UsageError)
        assert (further.get("k"), a.get("k")) == (None, None)
        further.set("k", 2)
        await comes_to(b, lambda: b.get("k") == 2)


async def test_a_model_can_not_be_replicated_in_two_threads_at_once() -> None:
    a, b = Map(), Map()

    def elsewhere() -> None:
        here, _ = memory_stream_pair()
        trio.run(replicate, a, here)

    async with joined(a, b) as streams:
        await streams.synced.wait()
        assert isinstance(await from_thread(elsewhere), UsageError)
        a.set("k", 1)
        await comes_to(b, lambda: b.get("k") == 1)


async def test_a_write_through_trio_from_a_thread_of_its_own_arrives() -> None:
    a, b = Map(), Map()
    async with joined(a, b) as streams:
        await streams.synced.wait()
        await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(a.set, "k", 1))
        await comes_to(b, lambda: b.get("k") == 1)
