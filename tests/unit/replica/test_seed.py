"""What the tests of the text this project was born from assert: one section for each of its files.

Where we do better than the seed, the name says so. `events.js`, `persist.js` and `sync.js` use its
emitter; here, too.
"""

import io
from collections.abc import Iterable
from hashlib import blake2b

import pytest
import trio
from support.streams import comes_to, joined
from trio.testing import memory_stream_pair

from scuttled import (
    GONE,
    Clock,
    Events,
    Header,
    Map,
    Scuttlebutt,
    Signer,
    Update,
    Verifier,
    load,
    new_author,
    replicate,
    save,
    signing_author,
)
from scuttled.errors import DataError
from scuttled.replica.update import Stamp, make_source, stamp

EVER = Stamp(stamp(2**62))


def history(model: Scuttlebutt) -> list[Update]:
    return list(model.history(Clock()))


def heard(events: Events, *names: str) -> list[object]:
    """What a listener is told, from the beginning on."""
    told: list[object] = []
    events.listen(lambda name, payload: told.append(payload), *names)
    return told


# --- cleanup.js ----------------------------------------------------------------------------------


async def test_cleanup_a_stream_that_ended_leaves_nothing_behind() -> None:
    a, b = Map(), Map()
    for _ in range(20):
        async with joined(a, b) as streams:
            await streams.synced.wait()
            assert a.streams == b.streams == 1
        assert a.streams == b.streams == 0
        assert not a.observed.wakers
        assert not b.observed.wakers


# --- clone.js ------------------------------------------------------------------------------------


def test_clone_is_of_one_type_has_one_history_and_counts() -> None:
    a = Map()
    a.set("x", 1)
    b = a.clone()
    assert type(b) is Map
    assert history(b) == history(a)
    assert len(a.observed.clones) == 1
    b.set("y", 2)
    a.set("z", 3)
    assert a.to_json() == b.to_json() == {"x": 1, "y": 2, "z": 3}
    assert a.clock == b.clock


def test_clone_disposing_one_tells_how_many_are_left() -> None:
    a = Map()
    b, left = a.clone(), list[int]()
    a.on("unclone", left.append)
    b.dispose()
    assert left == [0]
    assert not a.observed.clones
    b.set("alone", 1)
    assert a.to_json() == {}


# --- dispose.js ----------------------------------------------------------------------------------


async def test_dispose_ends_all_streams() -> None:
    a, b = Events(), Events()
    a.emit("one", 1)
    a.emit("two", 2)
    async with joined(a, b) as streams:
        await streams.synced.wait()
        a.dispose()
        await until_over(streams)
    assert history(b) == history(a)


async def until_over(streams: object) -> None:
    with trio.fail_after(60):
        while len(streams.results) < 2:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await trio.sleep(0.01)


# --- events.js -----------------------------------------------------------------------------------


async def test_events_both_hear_all_six_once() -> None:
    a, b = Events(), Events()
    at_a, at_b = heard(a, "msg"), heard(b, "msg")
    for n in range(3):
        a.emit("msg", f"a{n}")
        b.emit("msg", f"b{n}")
    async with joined(a, b):
        await comes_to(b, lambda: len(at_b) == 6)
        await comes_to(a, lambda: len(at_a) == 6)
    assert sorted(map(str, at_a)) == sorted(map(str, at_b)) == ["a0", "a1", "a2", "b0", "b1", "b2"]


# --- header.js -----------------------------------------------------------------------------------


async def test_header_names_the_other_end_on_each_stream_once() -> None:
    a, b, c = Map(), Map(), Map()
    met: dict[str, list[str]] = {"ab": [], "ba": [], "ac": [], "ca": []}

    def at(way: str) -> dict[str, object]:
        return {"on_header": lambda header: met[way].append(header.id)}

    async with (
        joined(a, b, left=at("ab"), right=at("ba")) as one,
        joined(a, c, left=at("ac"), right=at("ca")) as two,
    ):
        await one.synced.wait()
        await two.synced.wait()
    assert met == {"ab": [b.id], "ba": [a.id], "ac": [c.id], "ca": [a.id]}


# --- index.js ------------------------------------------------------------------------------------


def test_index_news_is_taken_and_what_is_older_changes_nothing() -> None:
    model, other = Map(), Map()
    older, newer = other.put("k", 1, b"old", 1), other.put("k", 1, b"new", 2)
    got = model.receive([(newer.source, [newer.record])], EVER)
    assert got.end - got.start == 1
    assert model.get("k") == "new"
    assert history(model) == [newer]
    got = model.receive([(older.source, [older.record])], EVER)
    assert got.end == got.start
    assert model.get("k") == "new"
    assert history(model) == [newer]


def test_index_history_is_what_a_clock_does_not_cover_in_order() -> None:
    model = Map()
    one, two = (make_source(new_author().node_id, 1) for _ in range(2))
    change = Map().put("k", 1, b"", 1).change
    keys = [change.replace(b"k", key) for key in (b"p", b"q", b"r", b"s")]
    times = [(one, 3), (two, 3), (one, 7), (two, 9)]
    updates = [Update(key, time, source) for key, (source, time) in zip(keys, times, strict=True)]
    model.receive([(u.source, [u.record]) for u in reversed(updates)], EVER)
    in_order = sorted(updates, key=lambda u: (u.timestamp, u.source))
    assert history(model) == in_order
    assert list(model.history(Clock({one: 3}))) == [u for u in in_order if u != updates[0]]
    assert list(model.history(Clock({one: 7, two: 9}))) == []


# --- integrate.js, integrate2.js -----------------------------------------------------------------


async def test_integrate_what_is_set_on_one_side_can_be_read_on_the_other() -> None:
    a, b = Map(), Map()
    async with joined(a, b):
        a.set("hello", "world")
        await comes_to(b, lambda: b.get("hello") == "world")


async def test_integrate2_in_a_ring_every_update_comes_to_all_and_none_is_stale() -> None:
    a, b, c = Map(), Map(), Map()
    stale: list[Update] = []
    for model in (a, b, c):
        model.on("stale", stale.append)
    async with joined(a, b) as ab, joined(b, c) as bc, joined(c, a) as ca:
        for streams in (ab, bc, ca):
            await streams.synced.wait()
        a.set("x", 1)
        for model in (b, c):
            await comes_to(model, lambda model=model: model.get("x") == 1)  # type: ignore[misc]
        b.set("x", 2)
        for model in (a, c):
            await comes_to(model, lambda model=model: model.get("x") == 2)  # type: ignore[misc]
    # One of two ways round may be on its way when the other has come: the seed has four more.
    assert len(stale) <= 2


# --- iterate.js ----------------------------------------------------------------------------------


def test_iterate_all_keys_and_values_are_visited() -> None:
    model = Map()
    for key in ("c", "a", "b"):
        model.set(key, key.upper())
    assert [slot.slot.decode() for slot in model.shown()] == ["a", "b", "c"]
    assert model.to_json() == {"a": "A", "b": "B", "c": "C"}


# --- meta.js -------------------------------------------------------------------------------------


async def test_meta_arrives_with_the_header() -> None:
    a, b = Map(), Map()
    met: list[Header] = []
    async with joined(
        a, b, left={"meta": {"role": "ü", "n": [1]}}, right={"on_header": met.append}
    ) as streams:
        await streams.synced.wait()
    assert [(header.id, header.meta) for header in met] == [(a.id, {"role": "ü", "n": [1]})]


# --- model.js ------------------------------------------------------------------------------------


def test_model_changes_are_told_and_what_is_deleted_is_gone() -> None:
    model = Map()
    assert model.to_json() == {}
    changes: list[tuple[object, object]] = []
    model.on("change", lambda key, value: changes.append((key, value)))
    model.set("key", {"deep": [1]})
    model.delete("key")
    assert changes == [("key", {"deep": [1]}), ("key", GONE)]
    assert model.get("key") is None
    assert model.to_json() == {}


# --- persist.js ----------------------------------------------------------------------------------


def test_persist_what_was_saved_gives_an_equal_history() -> None:
    one, two = Events(), Events()
    for n in range(3):
        one.emit("msg", n)
    file = io.BytesIO()
    save(one, file)
    file.seek(0)
    told: list[Update] = []
    two.on("update", told.append)
    assert load(two, file) == 3
    assert history(two) == history(one)
    assert two.clock == one.clock
    assert len(told) == 3


# --- secure.js -----------------------------------------------------------------------------------


def test_secure_what_is_signed_can_be_verified_and_the_id_is_that_of_the_key() -> None:
    author = signing_author(b"s" * 32)
    assert author.node_id == signing_author(b"s" * 32).node_id != signing_author().node_id
    assert author.life != signing_author(b"s" * 32).life  # a program that starts again (I5)
    events = Events("e", author)
    events.emit("msg", "hello")
    (update,) = history(events)
    assert author.verifier is not None
    assert author.verifier("e", update.source, update.record) == ""
    assert author.verifier("e", update.source, update.record[:-1] + b"x") == "with a bad signature"


async def test_secure_who_is_trusted_is_heard_and_of_others_is_told_once() -> None:
    known, unknown = Events("e", signing_author()), Events("e", signing_author())
    listener = Events("e", signing_author(trust=[known.id]))
    unverified, came = list[Update](), trio.Event()
    told = heard(listener, "msg")
    listener.on("unverified", unverified.append)
    listener.on("unverified", lambda update: came.set())
    known.emit("msg", "mine")
    unknown.emit("msg", "not mine")
    forged = history(unknown)
    async with joined(known, listener):
        await comes_to(listener, lambda: bool(told))
    async with joined(unknown, listener):
        with trio.fail_after(60):
            await came.wait()
    assert told == ["mine"]
    assert unverified == forged
    assert listener.clock[unknown.author.source] == 0


def test_secure_how_to_sign_and_to_verify_is_handed_in() -> None:
    """The key stays secret among friends, as with npm's `sign` and `verify`."""

    def sign(message: bytes) -> bytes:
        return blake2b(message, key=b"secret").digest()

    friends = Verifier(lambda key, signature, message: signature == sign(message))
    one = Map("m", new_author(Signer(b"1" * 32, sign), friends))
    two = Map("m", new_author(Signer(b"2" * 32, sign), friends))
    stranger = Map("m", new_author(Signer(b"3" * 32, lambda message: bytes(64)), friends))
    one.set("k", "of a friend")
    stranger.set("k", "of a stranger")
    for other in (one, stranger):
        two.receive([(update.source, [update.record]) for update in history(other)], EVER)
    assert two.to_json() == {"k": "of a friend"}


def test_secure_a_file_is_verified_as_a_stream_is() -> None:
    """A forged update in it must not silence its source (I4)."""
    one, two = Map("m", signing_author()), Map("m", signing_author())
    forger = Map("m", new_author())
    one.set("k", "v")
    forger.set("k", "forged")
    file = io.BytesIO()
    save(forger, file)
    file.seek(0)
    with pytest.raises(DataError, match="not signed"):
        load(two, file)
    assert len(two.clock) == 0
    file = io.BytesIO()
    save(one, file)
    file.seek(0)
    assert load(two, file) == 1
    assert two.get("k") == "v"


# --- sendclock.js --------------------------------------------------------------------------------


async def test_sendclock_a_master_sends_and_a_slave_keeps_its_own_to_itself() -> None:
    master, slave = Map(), Map()
    master.set("known", 1)
    async with joined(master, slave) as streams:
        await streams.synced.wait()
    slave.set("x", "slave's")
    async with joined(
        master, slave, left={"send_only": True}, right={"receive_only": True}
    ) as streams:
        await streams.synced.wait()
        assert streams.results == {}
        master.set("y", "master's")
        await comes_to(slave, lambda: slave.get("y") == "master's")
        assert master.get("x") is None
        master.set("x", "newer")
        await comes_to(slave, lambda: slave.get("x") == "newer")
    assert master.to_json() == {"known": 1, "x": "newer", "y": "master's"}
    assert slave.to_json() == master.to_json()


async def test_sendclock_the_clock_is_sent_so_only_what_is_missing_comes() -> None:
    master, slave = Map(), Map()
    for n in range(100):
        master.set(f"k{n}", n)
    load(slave, io.BytesIO(_saved(master)))
    master.set("new", 1)
    here, there = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_only, master, here)
        result = await replicate(slave, there, receive_only=True, tail=False)
    assert result.updates_in == 1


async def _send_only(model: Map, stream: trio.abc.Stream) -> None:
    await replicate(model, stream, send_only=True)


def _saved(model: Scuttlebutt) -> bytes:
    file = io.BytesIO()
    save(model, file)
    return file.getvalue()


# --- sync.js -------------------------------------------------------------------------------------


async def test_sync_comes_once_to_both_and_then_the_histories_are_equal() -> None:
    a, b = Events(), Events()
    for n in range(3):
        a.emit("a", n)
        b.emit("b", n)
    told: list[str] = []
    seen: list[tuple[list[Update], list[Update]]] = []

    def synced(who: str) -> dict[str, object]:
        def tell() -> None:
            told.append(who)
            seen.append((history(a), history(b)))

        return {"on_synced": tell}

    assert told == []
    async with joined(a, b, left=synced("a"), right=synced("b")):
        with trio.fail_after(60):
            while len(told) < 2:  # noqa: ASYNC110
                await trio.sleep(0.01)
        a.emit("a", "later")
        await comes_to(b, lambda: history(b) == history(a))
    assert sorted(told) == ["a", "b"]
    assert all(left == right for left, right in seen)


# --- unstream.js ---------------------------------------------------------------------------------


async def test_unstream_tells_how_many_are_left() -> None:
    a, b, c = Map(), Map(), Map()
    left: list[int] = []
    a.on("unstream", left.append)
    async with joined(a, b) as outer:
        await outer.synced.wait()
        async with joined(a, c) as inner:
            await inner.synced.wait()
        assert left == [1]
    assert left == [1, 0]


# --- and what the seed itself shows in its text --------------------------------------------------


class Longest(Scuttlebutt):
    """A subclass that writes the two methods of the seed's text: of all words the longest."""

    data_type = "longest"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.best: Update | None = None

    def history(self, clock: Clock) -> Iterable[Update]:
        best = self.best
        return [best] if best and not clock.covers(best.source, best.timestamp) else []

    def apply_update(self, update: Update) -> bool:
        def rank(u: Update) -> tuple[int, int, bytes]:
            return len(u.change), u.timestamp, u.source

        if self.best is not None and rank(update) <= rank(self.best):
            return False
        self.best = update
        return True


@pytest.mark.parametrize("kind", [Map, Longest])
async def test_any_subclass_is_replicated(kind: type[Scuttlebutt]) -> None:
    a, b = kind(), kind()
    if isinstance(a, Map):
        a.set("key", "value")
    else:
        a.local_update("word")
    async with joined(a, b) as streams:
        await streams.synced.wait()
    assert history(b) == history(a) != []


def test_an_update_is_known_as_ones_own_by_its_source() -> None:
    a = Map()
    b = a.clone()
    told: list[bool] = []
    b.on("update", lambda update: told.append(update.source == b.id))
    a.set("x", 1)
    assert told == [True]


def test_an_update_brings_key_value_and_source_as_the_seed_has_it() -> None:
    """`on('update', function (key, value, source))`: if source !== this.id, it was a remote one."""
    a, b = Map(), Map()
    told: list[tuple[str, object, bool]] = []
    b.on("update", lambda key, value, source: told.append((key, value, source == b.id)))
    a.set("theirs", 1)
    b.receive([(u.source, [u.record]) for u in a.history(Clock())], EVER)
    b.set("ours", 2)
    assert told == [("theirs", 1, False), ("ours", 2, True)]


def test_a_change_of_one_key_is_an_event_of_its_own() -> None:
    model, told = Map(), list[object]()
    model.on("change:a/b", told.append)
    model.set("a/b", 1)
    model.set("a", 2)
    model.set("a/b", None)
    model.delete("a/b")
    assert told == [1, None, GONE]
