"""Events and who listens to them."""

import pytest
from support.scenes import node_id

from scuttled.errors import DataError, UsageError
from scuttled.models.event_listener import LOOKED_AT_MAX, Listener, read_cursor
from scuttled.models.events import NAME_BYTES_MAX, Events
from scuttled.replica.change import BYTES, parse
from scuttled.replica.hlc import Author
from scuttled.replica.subscription import SCAN_ENTRIES_MAX
from scuttled.replica.update import Stamp, stamp
from scuttled.replica.version_vector import Clock

EVER = Stamp(stamp(2**62))


class Wall:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def some_events(number: int = 1, wall: Wall | None = None) -> Events:
    return Events("events", Author(node_id(number), now_ms=wall or Wall()))


def give(there: Events, here: Events, *, commit: bool = True) -> None:
    """All that `there` has and `here` lacks."""
    here.receive([(u.source, [u.record]) for u in there.history(here.clock)], EVER)
    if commit:
        here.commit(there.clock.items())


def payloads(listener: Listener, most: int = 1000) -> list[bytes]:
    return [event.payload for event in listener.next(most)]


def test_each_event_is_heard_once_and_in_order() -> None:
    model = some_events()
    listener = Listener(model)
    for n in range(3):
        model.emit("n", n)
    assert listener.has_something()
    assert payloads(listener) == [b"0", b"1", b"2"]
    assert not listener.has_something()
    model.emit("n", 3)
    assert payloads(listener) == [b"3"]


def test_only_the_names_that_were_asked_for_are_heard() -> None:
    model = some_events()
    model.emit("a", "1")
    model.emit("b", "2")
    assert [(e.name, e.payload) for e in Listener(model, ["b"]).next(9)] == [("b", b"2")]


def test_what_no_clock_covers_is_not_heard_yet() -> None:
    here, there = some_events(1), some_events(2)
    listener = Listener(here)
    there.emit("a", "1")
    give(there, here, commit=False)
    assert payloads(listener) == []
    here.commit(there.clock.items())
    assert listener.has_something()
    assert payloads(listener) == [b"1"]


def test_an_event_that_comes_before_an_earlier_one_waits_for_it() -> None:
    here, there = some_events(1), some_events(2)
    there.emit("a", "first")
    there.emit("a", "second")
    first, second = there.history(Clock())
    listener = Listener(here)
    here.receive([(second.source, [second.record])], EVER)
    assert payloads(listener) == []
    here.receive([(first.source, [first.record])], EVER)
    here.commit(there.clock.items())
    assert payloads(listener) == [b"first", b"second"]


def test_what_is_not_on_disk_is_not_heard_and_holds_up_only_its_own_source() -> None:
    here, there = some_events(1), some_events(2)
    here.log.stored = True
    listener = Listener(here)
    here.emit("a", "mine")
    here.log.saved = here.log.end
    there.emit("a", "theirs")
    give(there, here)
    assert payloads(listener) == [b"mine"]
    assert not listener.has_something()
    here.log.saved = here.log.end
    assert listener.has_something()
    assert payloads(listener) == [b"theirs"]


def test_a_cursor_is_good_on_any_node_and_after_a_restart() -> None:
    here, there = some_events(1), some_events(2)
    here.emit("a", "1")
    there.emit("a", "2")
    give(there, here)
    listener = Listener(here)
    assert len(payloads(listener)) == 2
    here.emit("a", "3")
    give(here, there)
    assert payloads(Listener(there, heard=read_cursor(listener.cursor()))) == [b"3"]
    assert payloads(Listener(there, heard=read_cursor(""))) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "7:default=3",
        "0101010101010101.1=x",
        "a.1=1",
        "=1",
        *(f"0101010101010101.1={n}" for n in ("+5", " 5", "1_0", "\u0663", "05", "5.0", "true")),
    ],
)
def test_a_cursor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not one that `on` gave"):
        read_cursor(text)


def test_a_long_history_is_heard_a_part_at_a_time() -> None:
    model = some_events()
    for n in range(SCAN_ENTRIES_MAX + 5):
        model.emit("n", n)
    listener, heard, calls = Listener(model), 0, 0
    while listener.has_something():
        found = payloads(listener, 1000)
        assert len(found) <= 1000
        heard += len(found)
        calls += 1
    assert heard == SCAN_ENTRIES_MAX + 5
    assert calls <= 2 + heard // 1000 + 1


def test_a_reset_repeats_nothing_and_loses_nothing() -> None:
    here, there = some_events(1), some_events(2)
    here.emit("a", "1")
    give(here, there)
    listener = Listener(here)
    assert payloads(listener) == [b"1"]
    there.emit("a", "2")
    whole = here.blank()
    assert isinstance(whole, Events)
    give(there, whole)
    here.become(whole)
    assert listener.has_something()
    assert payloads(listener) == [b"2"]


def test_what_was_removed_or_kept_long_enough_is_not_heard() -> None:
    wall = Wall()
    model = some_events(1, wall)
    gone = model.emit("a", "removed")
    assert model.remove(gone) is True
    assert model.remove(gone) is False
    model.set_options(wall.ms, keep_ms=1000)
    model.emit("a", "old")
    wall.ms += 1000
    model.emit("a", "new")
    assert payloads(Listener(model)) == [b"new"]
    assert model.to_json() == [{"name": "a", "payload": "new"}]
    assert model.expire(wall.ms) == 1
    assert model.size() == 1


def test_a_callback_may_emit_and_hears_that_too_but_nothing_twice() -> None:
    model = some_events()
    told: list[object] = []

    def answer(name: str, payload: object) -> None:
        told.append(payload)
        if isinstance(payload, int) and payload < 3:
            model.emit("n", payload + 1)

    listener = model.listen(answer, "n")
    model.emit("n", 1)
    assert told == [1, 2, 3]
    listener.close()
    model.emit("n", 1)
    assert told == [1, 2, 3]


@pytest.mark.parametrize("name", ["dispose", "error", "__proto__", "update", "constructor"])
def test_an_event_of_a_peer_touches_nothing_but_listeners_of_its_name(name: str) -> None:
    here, there = some_events(1), some_events(2)
    disposed: list[None] = []
    here.on("dispose", lambda: disposed.append(None))
    told: list[object] = []
    here.listen(lambda _, payload: told.append(payload), name)
    there.emit(name, {"__proto__": 1})
    give(there, here)
    assert told == [{"__proto__": 1}]
    assert not disposed


@pytest.mark.parametrize("name", ["", "x" * (NAME_BYTES_MAX + 1), "\ud800"])
def test_a_name_that_can_not_be_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="event"):
        some_events().emit(name)


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x03\x00\xff", b"\x09\x00\x01\xff\xfe"])
def test_what_a_peer_made_wrong_is_shown_all_the_same(payload: bytes) -> None:
    model = some_events()
    model.enter(BYTES, payload)
    slot = parse(*model.log.entry(0))
    model.label(slot).decode()
    assert model.value(slot)[0] in ("bytes", "text", "json")
    assert len(model.to_json()) == len(Listener(model).next(9)) == 1


def test_one_call_looks_at_so_many_events_for_others_and_no_more() -> None:
    """The loop must not stand still for a listener to whom a long history says nothing."""
    events = some_events()
    for _ in range(2 * LOOKED_AT_MAX):
        events.emit("for others")
    events.emit("deploy", "at last")
    listener = Listener(events, ["deploy"])
    calls = [payloads(listener, most=10) for _ in range(3)]
    assert calls[0] == []
    assert [payload for call in calls for payload in call] == [b"at last"]
