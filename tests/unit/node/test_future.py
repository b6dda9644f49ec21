"""Taking back the future: what becomes of each kind of update, of clocks and floors (I3, I9)."""

from typing import Any

import pytest

from scuttled.models.counter import Counter
from scuttled.models.events import Events
from scuttled.models.log import Log
from scuttled.models.map import Map
from scuttled.node.future import TakenBack, take_back
from scuttled.replica.change import CLEAR, TEXT, make_change, parse
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import Rejoin, Rejoined, rejoin
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import TICKS_PER_MS, NodeId, make_source, stamp
from scuttled.replica.version_vector import Clock

WALL = 1_700_000_000_000
YEAR = 365 * 86_400_000
SKEW = 60_000
LIMIT = (WALL + SKEW) * TICKS_PER_MS
ME, OTHER = NodeId(b"a" * 8), NodeId(b"b" * 8)


def an_author(node_id: NodeId = ME, *, now: int = WALL) -> Author:
    return Author(node_id, now_ms=lambda: now)


def back(*models: Scuttlebutt, now: int = WALL) -> TakenBack:
    report, _, _ = take_back(models, models[0].author, now, (now + SKEW) * TICKS_PER_MS)
    for model in models:
        assert all(time <= LIMIT for _, time in [*model.clock.items(), *model.floor.items()])
    return report


def put(model: Map, key: str, value: str, wall_ms: int, **more: Any) -> None:
    model.put(key, TEXT, value.encode(), wall_ms, **more)


def row() -> bytes:
    return stamp(WALL * TICKS_PER_MS) + make_change(b"peer", TEXT, b"x")


def give(model: Map, theirs: Map) -> None:
    """As a node does whose clock is ahead, too."""
    never = (1 << 62).to_bytes(8, "big")
    updates = theirs.history(model.clock)
    model.receive([(u.source, [u.record]) for u in updates], never)  # type: ignore[arg-type]
    model.commit(theirs.clock.items())


def test_own_writes_are_issued_anew_in_order_under_a_new_life() -> None:
    model = Map("default", an_author())
    put(model, "sane", "1", WALL)
    for key in "zay":
        put(model, key, key, WALL + YEAR)
    report = back(model)
    assert (report.issued, report.life, report.unclaimed) == (["z", "a", "y"], 2, [])
    held = list(model.history(Clock()))
    assert [parse(update.record, update.source).slot for update in held] == [
        b"sane",
        *b"z a y".split(),
    ]
    assert {update.source for update in held[1:]} == {make_source(ME, 2)}
    assert all(update.timestamp < (WALL + 2) * TICKS_PER_MS for update in held)
    assert model.author.hlc.last == held[-1].timestamp


def test_what_is_issued_anew_outranks_all_that_the_clock_claims() -> None:
    """Else it would be dominated, elsewhere, by what it had superseded here."""
    model, theirs = Map("default", an_author()), Map("default", an_author(OTHER))
    put(theirs, "k", "old", WALL + 30_000)  # its clock is ahead, by less than is allowed
    give(model, theirs)
    put(model, "k", "new", WALL + YEAR)
    back(model)
    slot = model.lookup(b"k")
    assert slot is not None
    assert slot.payload == b"new"
    assert slot.timestamp > max(time for s, time in model.clock.items() if s != slot.source)
    assert model.clock[theirs.author.source] == theirs.clock[theirs.author.source]


def test_what_others_wrote_is_kept_at_the_bottom_and_the_clock_claims_nothing() -> None:
    model, theirs = Map("default", an_author()), Map("default", an_author(OTHER))
    put(model, "mine", "1", WALL)
    put(theirs, "k", "ahead", WALL + YEAR)
    give(model, theirs)
    report = back(model)
    assert (report.kept_count, report.issued_count, report.unclaimed) == (1, 0, ["default"])
    slot = model.lookup(b"k")
    assert slot is not None
    assert (slot.payload, slot.timestamp, slot.source) == (b"ahead", 1, make_source(ME, 2))
    assert dict(model.clock.items()) == {slot.source: 1}
    assert model.lookup(b"mine") is not None


def test_a_value_that_a_sane_node_wrote_stands_above_what_was_kept() -> None:
    model, theirs = Map("default", an_author()), Map("default", an_author(OTHER))
    put(theirs, "k", "ahead", WALL + YEAR)
    give(model, theirs)
    back(model)
    sane = Map("default", an_author(NodeId(b"c" * 8)))
    put(sane, "k", "sane", WALL - YEAR)
    give(model, sane)
    found = model.find("k", WALL)
    assert found is not None
    assert found.payload == b"sane"


def test_a_deletion_of_others_is_let_go_and_an_own_one_is_issued_anew() -> None:
    model, theirs = Map("default", an_author()), Map("default", an_author(OTHER))
    for each in (model, theirs):
        put(each, each.author.node_id.hex(), "x", WALL)
        each.discard(each.author.node_id.hex(), WALL + YEAR)
    give(model, theirs)
    report = back(model)
    assert (report.issued, report.dropped_count) == ([ME.hex()], 1)
    assert model.tombstones == 1


def test_a_drop_is_never_issued_anew() -> None:
    """As of now it would void what others wrote since."""
    model = Map("default", an_author())
    put(model, "before", "x", WALL)
    model.drop(WALL + YEAR)
    put(model, "after", "x", WALL + YEAR)
    report = back(model)
    assert (report.issued, report.dropped_count, report.unclaimed) == (["after"], 1, ["default"])
    assert model.lookup(CLEAR) is None


def test_what_is_kept_stands_above_a_drop_that_is_left() -> None:
    model, theirs = Map("default", an_author()), Map("default", an_author(OTHER))
    model.drop(WALL)
    put(theirs, "k", "ahead", WALL + YEAR)
    give(model, theirs)
    back(model)
    assert model.find("k", WALL) is not None


def test_a_floor_in_the_future_is_let_go_with_all_claims() -> None:
    model = Map("default", an_author())
    put(model, "k", "x", WALL)
    model.discard("k", WALL + YEAR)
    assert model.collect(lambda source, time: True, WALL + 2 * YEAR)
    report = back(model)
    assert report.unclaimed == ["default"]
    assert not list(model.floor.items())
    assert not list(model.clock.items())


@pytest.mark.parametrize("ttl_ms", [1000, YEAR])
def test_a_lease_keeps_its_length(ttl_ms: int) -> None:
    model = Map("default", an_author())
    put(model, "k", "x", WALL + YEAR, ttl_ms=ttl_ms)
    back(model)
    found = model.lookup(b"k")
    assert found is not None
    assert found.expires_ms == WALL + ttl_ms


def test_a_lease_that_was_over_does_not_come_back() -> None:
    model = Map("default", an_author())
    put(model, "k", "x", WALL + YEAR, ttl_ms=1000)
    model.expire(WALL + YEAR + 1000)
    back(model)
    assert model.find("k", WALL) is None


def test_a_lease_that_a_jump_has_set_right_is_left_so() -> None:
    """The clock was set back: what is stamped ahead ends soon after now."""
    model = Map("default", an_author())
    put(model, "k", "x", WALL + YEAR, ttl_ms=-YEAR + 5000)
    back(model)
    found = model.lookup(b"k")
    assert found is not None
    assert found.expires_ms == WALL + 5000


def test_rows_of_members_are_not_issued_anew() -> None:
    """They are written by whom they are about."""
    author = an_author()
    rows, model = Map("_members", author), Map("default", author)
    put(rows, ME.hex(), "{}", WALL + YEAR)
    report = back(rows, model)
    assert (report.issued_count, report.unclaimed) == (0, [])
    assert not rows.log.live


def test_a_model_without_a_future_is_left_alone() -> None:
    author = an_author()
    ahead, calm = Map("ahead", author), Map("calm", author)
    put(calm, "k", "x", WALL)
    put(ahead, "k", "x", WALL + YEAR)
    log = calm.log
    back(ahead, calm)
    assert calm.log is log
    assert not calm.saved.replaced


def test_a_hlc_that_is_ahead_without_any_update_is_set_back() -> None:
    """It is persisted ahead of use."""
    model = Map("default", an_author())
    put(model, "k", "x", WALL)
    model.author.hlc.observe((WALL + YEAR) * TICKS_PER_MS)
    back(model)
    assert model.author.hlc.last == WALL * TICKS_PER_MS
    assert model.author.life == 2


def test_a_sum_is_counted_once_whatever_life_it_was_added_in() -> None:
    author = an_author(now=WALL + YEAR)
    model = Counter("sum", author)
    model.add(3)
    author.now_ms = lambda: WALL
    back(model)
    model.add(4)
    assert model.to_json() == 7


def test_entries_of_a_future_stand_where_they_were_issued_anew() -> None:
    author = an_author(now=WALL + YEAR)
    log = Log("log", author)
    log.append("one")
    log.append("two")
    author.now_ms = lambda: WALL
    back(log)
    log.append("three")
    assert log.to_json() == ["one", "two", "three"]


def test_an_event_of_a_future_is_heard_once() -> None:
    author = an_author(now=WALL + YEAR)
    events = Events("events", author)
    told: list[Any] = []
    events.listen(lambda name, payload: told.append(payload))
    events.emit("deploy", 1)
    author.now_ms = lambda: WALL
    back(events)
    events.emit("deploy", 2)
    assert told == [1, 2]


def test_at_a_reset_after_that_nothing_sane_is_lost_and_the_bottom_is_let_go() -> None:
    """The peer has forgotten deletions; who claims nothing knows something all the same."""
    model, theirs = Map("default", an_author()), Map("default", an_author(OTHER))
    put(theirs, "sane", "x", WALL)
    give(model, theirs)
    put(theirs, "ahead", "x", WALL + YEAR)
    give(model, theirs)
    back(model)
    peer = model.blank()
    peer.receive([(make_source(NodeId(b"c" * 8), 1), [row()])], stamp(LIMIT))
    report = Rejoined("default", "peer", WALL)
    assert isinstance(peer, Map)
    rejoin(model, peer, model.author, Rejoin.OWN, report)
    assert (report.issued, report.dropped) == (["sane"], ["ahead"])
    assert model.find("peer", WALL) is not None
    assert not model.unclaimed


def test_the_report_names_what_was_done() -> None:
    report = TakenBack(WALL, YEAR, 2, ["k"], 1, 2, 3, ["default"])
    for words in (
        "365d",
        "life 2",
        "1 of its own (k)",
        "2 are kept",
        "3 deletions",
        "all of default",
    ):
        assert words in report.words
    assert "of others" not in TakenBack(WALL, YEAR, 2).words
