"""Models in a program of one's own: saving, observers, streams, and documentation that is true."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
import trio
from support.scenes import TICKS, record, source, state
from support.streams import comes_to, joined
from trio.testing import memory_stream_pair

import scuttled
from scuttled import (
    Clock,
    Events,
    Map,
    Scuttlebutt,
    Set,
    Update,
    load,
    new_author,
    replicate,
    save,
)
from scuttled.errors import DataError, Refused, RemoteProtocolError, UsageError
from scuttled.replica import sources
from scuttled.replica.update import TIMESTAMP_MAX, stamp

EVER = stamp(TIMESTAMP_MAX)
DOCS = Path(scuttled.__file__).with_name("docs") / "library.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)


async def test_a_type_of_ones_own_is_less_than_thirty_lines_and_is_replicated() -> None:
    (code,) = [block for block in blocks() if "class Longest" in block]
    assert len(code.splitlines()) < 30
    room: dict[str, Any] = {}
    exec(code, room)  # noqa: S102  (it is our own documentation)
    words, other = room["words"], room["Longest"]()
    other.local_update("hi")
    async with joined(words, other) as streams:
        await streams.synced.wait()
        assert other.best == words.best
        words.local_update("longer still")
        await comes_to(other, lambda: other.best == words.best)


def test_everything_that_is_offered_is_there_and_all_of_it_is_in_the_stub() -> None:
    source = Path(scuttled.__file__).read_text("utf-8")
    for name in scuttled._ROOMS:
        assert getattr(scuttled, name) is not None
        assert f"import {name} as {name}\n" in source
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        scuttled.Nothing  # noqa: B018


# --- saving --------------------------------------------------------------------------------------


def saved(model: Scuttlebutt) -> bytes:
    file = io.BytesIO()
    save(model, file)
    return file.getvalue()


def test_what_was_saved_to_a_file_is_loaded_by_somebody_new(tmp_path: Path) -> None:
    one, two = Map(), Map()
    one.set("a", {"x": 1})
    one.set("b", 2)
    one.delete("b")
    save(one, tmp_path / "state")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert load(two, tmp_path / "state") == 2
    assert load(two, tmp_path / "state") == 0
    assert two.to_json() == {"a": {"x": 1}}
    assert two.clock == one.clock
    two.set("a", "newer")
    load(one, io.BytesIO(saved(two)))
    assert one.to_json() == {"a": "newer"}


@pytest.mark.parametrize("cut", [0, 1, 5, 40, -1, -9])
def test_a_file_that_ends_too_early_changes_nothing(cut: int) -> None:
    one, two = Map(), Map()
    one.set("a", 1)
    two.set("b", 2)
    with pytest.raises(DataError, match=r"too early|not a saved"):
        load(two, io.BytesIO(saved(one)[:cut]))
    assert two.to_json() == {"b": 2}
    assert len(two.clock) == 1


@pytest.mark.parametrize("data", [b"not ours at all", b"\x00\x00\x00\x02\x91\x07", b"\xff" * 99])
def test_a_file_that_is_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="not a saved map"):
        load(Map(), io.BytesIO(data))


def test_another_type_is_refused() -> None:
    with pytest.raises(DataError, match="a saved set, not a map"):
        load(Map(), io.BytesIO(saved(Set())))


def test_a_large_model_is_saved_in_parts() -> None:
    one, two = Map(), Map()
    for n in range(3000):
        one.set(f"k{n}", "x" * 100)
    load(two, io.BytesIO(saved(one)))
    assert two.to_json() == one.to_json()


# --- observers -----------------------------------------------------------------------------------


async def test_a_write_made_while_being_told_of_one_is_not_lost() -> None:
    a, b = Map(), Map()
    a.on("change", lambda key, value: key == "x" and a.set("derived", value))
    b.on("change", lambda key, value: key == "derived" and b.set("seen", value))
    async with joined(a, b) as streams:
        await streams.synced.wait()
        a.set("x", 1)
        await comes_to(a, lambda: a.get("seen") == 1)
    assert a.to_json() == b.to_json() == {"x": 1, "derived": 1, "seen": 1}
    assert a.clock == b.clock


def test_all_that_happens_to_an_update_is_told() -> None:
    model, other = Map(), Map()
    told: list[tuple[str, bytes]] = []
    for event in ("update", "stale", "removed"):
        model.on(event, lambda update, event=event: told.append((event, update.change)))
    old = other.put("k", 1, b"old", 1)
    new = other.put("k", 1, b"new", 2)
    for update in (old, new, old):
        model.receive([(update.source, [update.record])], b"\x7f" * 8)  # type: ignore[arg-type]
    assert told == [
        ("update", old.change),
        ("update", new.change),
        ("removed", old.change),
        ("stale", old.change),
    ]


def test_an_event_that_there_is_not_is_refused_and_off_ends_it() -> None:
    model, told = Map(), list[Any]()
    with pytest.raises(UsageError, match="there is update, change"):
        model.on("updated", print)
    callback = model.on("update", told.append)
    model.off("update", callback)
    model.off("update", callback)
    model.set("k", 1)
    assert told == []


def test_what_a_callback_raises_comes_out_and_the_write_stands() -> None:
    model = Map()

    def fail(update: Update) -> None:
        raise ZeroDivisionError

    model.on("update", fail)
    with pytest.raises(ZeroDivisionError):
        model.set("k", 1)
    assert model.get("k") == 1
    model.off("update", fail)
    model.set("k", 2)
    assert model.get("k") == 2


# --- streams -------------------------------------------------------------------------------------


async def test_several_models_share_a_stream() -> None:
    author, other = new_author(), new_author()
    here = [Map("m", author), Events("e", author)]
    there = [Events("e", other), Map("m", other)]
    here[0].set("k", 1)  # type: ignore[union-attr]
    there[0].emit("x")  # type: ignore[union-attr]
    async with joined(here, there) as streams:
        await streams.synced.wait()
    assert here[0].to_json() == there[1].to_json() == {"k": 1}
    assert here[1].to_json() == there[0].to_json() == [{"name": "x", "payload": None}]


@pytest.mark.parametrize(
    ("models", "options", "words"),
    [
        ([], {}, "not none"),
        ([Map("a"), Map("a")], {}, "not a, a"),
        ([Map("a"), Map("b")], {}, "one author"),
        (["m"], {}, "a model that is a str"),
        ([Map()], {"send_only": True, "receive_only": True}, "nothing is left"),
        ([Map()], {"meta": {1, 2}}, "JSON can't say"),
        ([Map()], {"meta": "x" * 3000}, "at most 2000"),
        ([Map("m" * 256)], {}, "expected at most 255 characters"),
        (
            [Map()],
            {"name": "𝄞" * 255, "cluster": "𝄞" * 255, "meta": "x" * 1998},
            "name, cluster and meta make 41.. bytes, at most 4096",
        ),
    ],
)
async def test_arguments_that_make_no_sense_are_refused(
    models: list[Any], options: dict[str, Any], words: str
) -> None:
    here, _ = memory_stream_pair()
    with pytest.raises(UsageError, match=words):
        await replicate(models, here, **options)


@pytest.mark.parametrize(
    ("other", "options", "words"),
    [(Set(), {}, "is a"), (Map(), {"cluster": "elsewhere"}, "different clusters")],
)
async def test_who_does_not_fit_is_refused_on_both_ends(
    other: Any, options: dict[str, Any], words: str
) -> None:
    here, there = memory_stream_pair()
    refusals: list[str] = []

    async def attempt(model: Any, stream: Any, more: dict[str, Any]) -> None:
        try:
            await replicate(model, stream, **more)
        except (Refused, RemoteProtocolError) as error:
            refusals.append(error.message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, Map(), here, {})
        nursery.start_soon(attempt, other, there, options)
    assert len(refusals) == 2
    assert any(words in refusal for refusal in refusals)


async def test_garbage_is_an_error_and_the_model_stays() -> None:
    model = Map()
    model.set("k", 1)
    here, there = memory_stream_pair()
    await there.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(RemoteProtocolError, match="frame"):
        await replicate(model, here)
    assert model.to_json() == {"k": 1}
    assert model.streams == 0


async def test_a_stream_that_breaks_is_an_end_and_the_next_call_goes_on() -> None:
    a, b = Map(), Map()
    here, there = memory_stream_pair()
    a.set("k", 1)
    await there.aclose()
    result = await replicate(a, here)
    assert result.synced is False
    async with joined(a, b) as streams:
        await streams.synced.wait()
    assert b.to_json() == {"k": 1}


async def test_what_is_known_is_not_sent_again_and_nothing_is_echoed() -> None:
    a, b = Map(), Map()
    for n in range(50):
        a.set(f"k{n}", n)
    for expected in (50, 0):
        here, there = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replicate, a, here)
            result = await replicate(b, there, tail=False)
        assert (result.updates_in, result.updates_out) == (expected, 0)


class Upper(trio.abc.Stream):
    """A framing of one's own: every byte turned over."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(bytes(255 - byte for byte in bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(255 - byte for byte in await self.inner.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_a_framing_of_ones_own_is_put_around_the_stream() -> None:
    a, b = Map(), Map()
    a.set("k", 1)
    async with joined(a, b, left={"framing": Upper}, right={"framing": Upper}) as streams:
        await streams.synced.wait()
    assert b.to_json() == {"k": 1}


# --- flaws of the seed that must not be ours -----------------------------------------------------


def exchange(a: Scuttlebutt, b: Scuttlebutt) -> None:
    for here, there in ((a, b), (b, a)):
        here.receive([(u.source, [u.record]) for u in there.history(Clock())], b"\x7f" * 8)  # type: ignore[arg-type]
        here.commit(there.clock.items())


def test_equal_times_do_not_make_replicas_differ() -> None:
    a, b = Map("m", new_author()), Map("m", new_author())
    for model, value in ((a, "a"), (b, "b")):
        model.author.now_ms = lambda: 1_000
        model.set("k", value)
    exchange(a, b)
    assert a.to_json() == b.to_json()


def test_a_wall_clock_that_steps_back_loses_no_write() -> None:
    model = Map("m", new_author())
    model.author.now_ms = lambda: 2_000_000
    model.set("k", 1)
    model.author.now_ms = lambda: 1_000
    model.set("k", 2)
    assert model.get("k") == 2


def test_a_tight_loop_in_a_frozen_millisecond_ends() -> None:
    model = Map("m", new_author())
    model.author.now_ms = lambda: 1_000
    for n in range(10_000):
        model.set("k", n)
    assert model.get("k") == 9_999


def test_a_write_beats_what_its_writer_could_see_from_a_clock_ahead() -> None:
    ahead, behind = Map("m", new_author()), Map("m", new_author())
    ahead.author.now_ms = lambda: 5_000_000
    behind.author.now_ms = lambda: 1_000
    ahead.set("k", "ahead")
    exchange(ahead, behind)
    behind.set("k", "behind")
    exchange(ahead, behind)
    assert ahead.get("k") == behind.get("k") == "behind"


@pytest.mark.parametrize("key", ["__proto__", "constructor", "toString", "hasOwnProperty"])
def test_names_that_are_special_in_javascript_are_names(key: str) -> None:
    model = Map()
    assert model.get(key) is None
    model.set(key, 1)
    assert model.to_json() == {key: 1}


def test_clocks_are_copied_where_they_leave() -> None:
    a, b = Map(), Map()
    a.set("k", 1)
    exchange(a, b)
    before = dict(a.clock.items())
    b.set("k", 2)
    assert dict(a.clock.items()) == before


# --- more sources than there can be --------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SOURCES_MAX", 20)
    monkeypatch.setattr(sources, "GUEST_SOURCES_MAX", 10)


def written_by(count: int) -> Map:
    model = Map()
    for n in range(count):
        model.receive([(source(n), [record(f"k{n}")])], EVER)
        model.clock.rise(source(n), TICKS)
    return model


@pytest.mark.usefixtures("few")
def test_a_program_that_is_somebody_new_at_each_start_is_refused_before_the_bound() -> None:
    held = b""
    for start in range(10):
        model = Map()
        if held:
            load(model, io.BytesIO(held))
        model.set(f"start{start}", 1)
        held = saved(model)
    model = Map()
    load(model, io.BytesIO(held))
    with pytest.raises(Refused, match="'default' has 10 sources, so there can be no new one") as no:
        model.set("start10", 1)
    assert "an author that stays the same" in no.value.hint
    assert (model.size(), len(model.clock)) == (10, 10)


@pytest.mark.usefixtures("few")
def test_what_is_loaded_brings_no_source_too_many_and_then_nothing_was_done() -> None:
    model = Map()
    model.set("mine", 1)
    before = state(model)
    with pytest.raises(DataError, match="together with what is there 21 sources in the model"):
        load(model, io.BytesIO(saved(written_by(20))))
    assert state(model) == before
    assert load(model, io.BytesIO(saved(written_by(19)))) == 19
    assert load(model, io.BytesIO(saved(written_by(19)))) == 0


@pytest.mark.usefixtures("few")
def test_a_file_with_too_many_sources_from_before_there_was_a_look_can_be_read() -> None:
    model = Map()
    assert load(model, io.BytesIO(saved(written_by(25)))) == 25
    assert model.get("k24") == "v"
    with pytest.raises(Refused, match="no new one"):
        model.set("more", 1)
