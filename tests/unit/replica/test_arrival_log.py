import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.scenes import a_map, entries, put, record, source

from scuttled.replica import arrival_log as room
from scuttled.replica.arrival_log import HEIRS_SEGMENTS, SEGMENT_ENTRIES, ArrivalLog, Marks
from scuttled.replica.update import Source, Stamp, stamp

A, B = source(1), source(2)


def filled(count: int, who: Source = A) -> ArrivalLog:
    log = ArrivalLog()
    for n in range(count):
        log.append(record("k", n + 1), who)
    return log


def test_entries_are_numbered_in_order_of_arrival() -> None:
    log = ArrivalLog()
    assert [log.append(record(key), A) for key in "abc"] == [0, 1, 2]
    assert log.end == log.live == 3
    assert entries(log) == [(0, record("a"), A), (1, record("b"), A), (2, record("c"), A)]


def test_what_is_not_saved_is_shown_only_adrift_and_is_never_called_durable() -> None:
    log = filled(5)
    assert (log.visible, log.durable) == (5, 5), "not stored: there is nothing to wait for"
    log.stored, log.saved = True, 3
    assert (log.visible, log.durable) == (3, 3)
    log.adrift = True
    assert (log.visible, log.durable) == (5, 3)
    log.adrift = False
    assert (log.visible, log.durable) == (3, 3)


def test_a_log_whose_storage_was_lost_is_to_be_saved_from_the_beginning() -> None:
    log = filled(5)
    log.stored, log.taken, log.saved = True, 5, 5
    log.free(2)
    assert log.freed == [2]
    log.forget_saved()
    assert (log.saved, log.taken, log.freed, log.replaced) == (0, 0, [], 0)


def test_a_hole_keeps_all_other_positions() -> None:
    log = filled(4)
    log.free(1)
    assert [position for position, _, _ in entries(log)] == [0, 2, 3]
    assert log.entry(2) == (record("k", 3), A)
    assert (log.end, log.live) == (4, 3)


def test_a_reader_stops_where_it_is_told() -> None:
    piece = filled(10).piece(3, 6)
    assert list(piece.positions) == [3, 4, 5]
    assert piece.next == 6


def test_a_reader_at_the_end_of_a_long_log_looks_at_what_is_new_and_nothing_else() -> None:
    log = filled(100_000)
    cursor = log.end
    log.append(record("new"), A)
    piece = log.piece(cursor, log.end)
    assert len(piece.records) == 1
    assert piece.next == log.end


def test_to_find_a_reader_that_is_at_the_end_no_segment_is_opened() -> None:
    log = filled(100_000)
    for segment in log.segments[:-1]:
        segment.records = segment.sources = None  # type: ignore[assignment]
    log.append(record("new"), A)
    assert len(log.piece(log.end - 1, log.end).records) == 1
    assert log.piece(log.end, log.end).records == []


def test_who_has_everything_steps_over_a_long_log_without_a_look_at_its_entries() -> None:
    log = filled(10 * SEGMENT_ENTRIES)
    theirs: dict[Source, Stamp] = {A: stamp(10 * SEGMENT_ENTRIES)}
    assert log.step_over(0, log.end, theirs) >= log.end - SEGMENT_ENTRIES
    for segment in log.segments[:-1]:
        segment.records = segment.sources = None  # type: ignore[assignment]
    assert log.step_over(0, log.end, theirs) >= log.end - SEGMENT_ENTRIES


def test_nobody_steps_over_a_segment_that_holds_something_new() -> None:
    log = filled(5 * SEGMENT_ENTRIES)
    theirs: dict[Source, Stamp] = {A: stamp(3 * SEGMENT_ENTRIES - 1)}
    assert log.step_over(0, log.end, theirs) == 2 * SEGMENT_ENTRIES


def test_segments_that_were_joined_are_stepped_over_only_by_who_has_all_of_both() -> None:
    log = filled(SEGMENT_ENTRIES)
    for n in range(SEGMENT_ENTRIES + 1):
        log.append(record("k", n + 1), B)
    has_all_of_a: dict[Source, Stamp] = {A: stamp(SEGMENT_ENTRIES)}
    assert log.step_over(0, log.end, has_all_of_a) == SEGMENT_ENTRIES
    for position in range(2 * SEGMENT_ENTRIES):
        if position % 1000:
            log.free(position)
    assert len(log.segments) == 2
    assert log.step_over(0, log.end, has_all_of_a) == 0


def test_stepping_over_stops_where_it_is_told() -> None:
    log = filled(5 * SEGMENT_ENTRIES)
    assert log.step_over(0, 100, {A: stamp(1 << 60)}) == 100


def test_a_segment_of_many_sources_is_never_stepped_over() -> None:
    log = ArrivalLog()
    for n in range(2 * SEGMENT_ENTRIES):
        log.append(record("k", n + 1), source(n % (room.TOPS_SOURCES_MAX + 1)))
    everything = {source(n): stamp(1 << 60) for n in range(room.TOPS_SOURCES_MAX + 1)}
    assert log.step_over(0, log.end, everything) == 0


def test_a_million_overwrites_of_a_hundred_keys_leave_a_log_of_bounded_size() -> None:
    log, where, rng = ArrivalLog(), dict[int, int](), random.Random(1)
    new, most = record("k"), 0
    for n in range(1_000_000):
        key = rng.randrange(100)
        if key in where:
            log.free(where[key])
        where[key] = log.append(new, A)
        if n % 1000 == 0:
            most = max(most, sum(len(segment.records) for segment in log.segments))
    assert log.live == 100
    assert len(log.segments) <= 3
    assert most <= 3 * SEGMENT_ENTRIES
    assert [at for at, _, _ in entries(log)] == sorted(where.values())


def test_the_memory_of_a_map_is_bounded_by_its_keys() -> None:
    model = a_map()
    for n in range(100_000):
        put(model, f"k{n % 100}", str(n))
    assert len(model.log.segments) <= 3
    assert sum(len(segment.sources) for segment in model.log.segments) <= 3 * SEGMENT_ENTRIES
    assert len(model._slots) == 100


def test_a_few_old_entries_that_stay_do_not_keep_their_segments() -> None:
    log = filled(20 * SEGMENT_ENTRIES)
    for position in range(log.end):
        if position % 1000:
            log.free(position)
    assert log.live == 82
    assert len(log.segments) <= 3
    assert [at for at, _, _ in entries(log)] == list(range(0, log.end, 1000))


def test_entries_between_are_counted_without_reading_all() -> None:
    log = filled(3 * SEGMENT_ENTRIES)
    for position in range(0, log.end, 2):
        log.free(position)
    assert log.count_between(0, log.end) == log.live
    assert log.count_between(10, 20) == 5
    assert log.count_between(20, 10) == 0
    assert (
        log.count_between(SEGMENT_ENTRIES - 3, 2 * SEGMENT_ENTRIES + 4) == SEGMENT_ENTRIES // 2 + 4
    )


def test_what_is_not_saved_is_not_visible() -> None:
    log = filled(3)
    assert log.visible == 3
    log.stored = True
    assert log.visible == 0
    log.saved = 2
    assert log.visible == 2


def test_only_holes_that_storage_may_hold_are_listed_for_it() -> None:
    log = filled(3)
    log.stored, log.taken = True, 2
    log.free(1)
    log.free(2)
    assert log.freed == [1]


def test_a_restored_log_goes_on_behind_its_last_position() -> None:
    log = ArrivalLog()
    log.restore([3, 7, 8], [record("a"), record("b"), record("c")], [A, B, A])
    assert log.append(record("d"), B) == 9
    assert [(at, who) for at, _, who in entries(log)] == [(3, A), (7, B), (8, A), (9, B)]
    assert log.live == 4


class Model(RuleBasedStateMachine):
    """A log against a dict, with segments so small that they are squeezed and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(room, "SEGMENT_ENTRIES", 4)
        self.log = ArrivalLog()
        self.held: dict[int, tuple[bytes, Source]] = {}
        self.end = 0

    def teardown(self) -> None:
        self.patch.undo()

    @rule(who=st.sampled_from([A, B]), count=st.integers(1, 6))
    def append(self, who: Source, count: int) -> None:
        for _ in range(count):
            assert self.log.append(record("k", self.end + 1), who) == self.end
            self.held[self.end] = (record("k", self.end + 1), who)
            self.end += 1

    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, 4))):
            if self.held:
                position = data.draw(st.sampled_from(sorted(self.held)))
                self.log.free(position)
                del self.held[position]

    @rule()
    def restart(self) -> None:
        rows = sorted(self.held.items())
        self.log = ArrivalLog()
        if rows:
            self.log.restore(
                [at for at, _ in rows], [r for _, (r, _) in rows], [s for _, (_, s) in rows]
            )
        self.end = self.log.end

    @rule(data=st.data(), cover=st.integers(0, 40))
    def step_over(self, data: st.DataObject, cover: int) -> None:
        start = data.draw(st.integers(0, self.end))
        stop = data.draw(st.integers(start, self.end))
        reached = self.log.step_over(start, stop, {A: stamp(cover)})
        assert start <= reached <= stop
        for position in range(start, reached):
            if position in self.held:
                who, time = self.held[position][1], position + 1
                assert (who, time <= cover) == (A, True)

    @rule(data=st.data())
    def count(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, self.end))
        stop = data.draw(st.integers(0, self.end))
        assert self.log.count_between(start, stop) == len(
            [position for position in self.held if start <= position < stop]
        )

    @rule(data=st.data())
    def read_from_anywhere(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, self.end))
        assert entries(self.log, start) == [
            (at, *entry) for at, entry in sorted(self.held.items()) if at >= start
        ]

    @invariant()
    def all_is_there(self) -> None:
        assert self.log.live == len(self.held)
        assert self.log.end == self.end
        assert all(self.log.entry(at) == entry for at, entry in self.held.items())
        assert len(self.log.segments) <= 2 + self.end // 4


TestModel = Model.TestCase
TestModel.settings = settings(stateful_step_count=30)


# --- forgetting ----------------------------------------------------------------------------------


def test_what_is_forgotten_leaves_a_hole_that_nothing_replaces() -> None:
    log = filled(4)
    log.stored, log.taken, log.saved = True, 4, 4
    log.free(0)
    replaced = log.replaced
    log.append(record("new", 9), A)
    log.forget(2)
    assert log.replaced == replaced, "it may come to disk at any time"
    assert log.freed == [0, 2]
    assert log.forgotten == 2
    log.forget(1)
    assert log.forgotten == 2, "the highest counts"


def test_a_new_log_has_forgotten_all_that_stands_before_it() -> None:
    assert ArrivalLog().forgotten == -1
    assert ArrivalLog(100).forgotten == 99


def test_what_a_peer_lacks_is_counted() -> None:
    log = filled(SEGMENT_ENTRIES + 10)
    log.append(record("k", 5), B)
    log.free(SEGMENT_ENTRIES + 8)
    assert log.count_missing({}) == SEGMENT_ENTRIES + 10
    assert log.count_missing({A: Stamp(stamp(SEGMENT_ENTRIES))}) == 10
    assert log.count_missing({A: Stamp(stamp(99_999)), B: Stamp(stamp(5))}) == 0


def test_what_is_saved_is_durable_and_without_storage_all_is() -> None:
    log = filled(3)
    assert log.durable == 3
    log.stored = True
    log.saved = 2
    assert log.durable == 2


# --- what took the place of a hole ---------------------------------------------------------------


def overwritten(log: ArrivalLog, position: int) -> int:
    """As a slot that is written anew; the new position."""
    log.room()
    log.free(position, log.end)
    return log.append(record("k", log.end + 1), A)


def test_a_hole_leads_to_what_fills_its_slot_now_however_often_that_changed() -> None:
    log = filled(5)
    latest = 2
    for _ in range(100):
        latest = overwritten(log, latest)
    assert log.heir(2) == latest
    assert log.heir(latest) == latest
    assert log.heir(50) == latest
    log.forget(latest)  # collected: nothing fills it any more
    assert log.heir(2) == -1


def test_a_hole_whose_slot_was_emptied_leads_nowhere() -> None:
    log = filled(5)
    log.free(3)
    assert log.heir(3) == -1


def test_only_the_latest_segments_know_what_took_the_place_of_their_holes() -> None:
    log = filled(5)
    latest = overwritten(log, 2)
    for n in range(HEIRS_SEGMENTS * SEGMENT_ENTRIES):
        log.append(record(f"n{n}"), A)
    assert log.heir(2) == -1
    assert log.heir(latest) == latest
    assert sum(bool(segment.heirs) for segment in log.segments) == 0


def test_what_comes_after_a_restart_stands_behind_all_places_ever_given() -> None:
    log = ArrivalLog()
    log.restore([3, 4], [record("a"), record("b")], [A, A], Marks(ahead=1000, forgotten=7))
    assert (log.end, log.saved, log.taken, log.forgotten, log.live) == (1000, 1000, 1000, 7, 2)
    assert log.append(record("c"), A) == 1000
    assert [at for at, _, _ in entries(log)] == [3, 4, 1000]
    assert [at for at, _, _ in entries(log, 5)] == [1000]


def test_an_empty_log_goes_on_there_too() -> None:
    log = ArrivalLog()
    log.restore([], [], [], Marks(ahead=50))
    assert (log.first, log.end, log.saved) == (50, 50, 50)
    assert log.append(record("a"), A) == 50
    assert log.entry(50).source == A


def test_a_gap_is_stepped_over_at_once() -> None:
    log = ArrivalLog()
    log.restore([3, 90_000], [record("a"), record("b")], [A, A], Marks(ahead=200_000))
    assert [log.past_gap(at) for at in (0, 3, 4, 90_000)] == [3, 3, 90_000, 90_000]
    assert [log.past_gap(at) for at in (90_001, 200_000)] == [200_000, 200_000]
    log.append(record("c"), A)
    assert [log.past_gap(at) for at in (90_001, 200_000, 200_001)] == [200_000, 200_000, 200_001]
