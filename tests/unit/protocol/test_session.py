from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    NOW,
    PLENTY,
    SKEW_MS,
    TICKS,
    WALL,
    a_map,
    at,
    drain,
    entries,
    examples,
    put,
    record,
    saved,
    sent,
    sessions,
    source,
    state,
    sync,
    values,
)

from scuttled.errors import RemoteProtocolError
from scuttled.models.map import Map
from scuttled.protocol import codec, in_flight, send_order, session
from scuttled.protocol.messages import Delta, Have
from scuttled.protocol.session import Session
from scuttled.replica.arrival_log import SEGMENT_ENTRIES
from scuttled.replica.change import slot_of
from scuttled.replica.update import RECORD_BYTES_MAX, Instant, Stamp, stamp

EVER = Stamp(stamp(2**62))


def keys(delta: Delta | None) -> list[str]:
    assert delta is not None
    return [slot_of(r).decode() for _, records in delta.runs for r in records]


def filled(count: int, number: int = 1) -> Map:
    model = a_map(number)
    for n in range(count):
        put(model, f"k{n}")
    return model


# --- catching up, live, and nothing twice --------------------------------------------------------


def test_a_peer_gets_what_its_clock_lacks_and_then_the_clock() -> None:
    one, two = filled(3), a_map(2)
    a, b = sessions(one, two)
    delta = a.next_delta(PLENTY, NOW)
    assert keys(delta) == ["k0", "k1", "k2"]
    assert delta is not None
    assert delta.commit == one.clock.copy_times()
    b.receive_delta(delta, NOW)
    assert state(two) == state(one)
    assert a.next_delta(PLENTY, NOW) is None


def test_a_write_goes_out_alone_once_the_peer_has_caught_up() -> None:
    one, two = filled(3), a_map(2)
    a, b = sync(one, two)
    put(one, "new")
    assert a.has_something(NOW)
    delta = a.next_delta(PLENTY, NOW)
    assert keys(delta) == ["new"]
    assert delta is not None
    b.receive_delta(delta, NOW)
    assert state(two) == state(one)


def test_what_was_superseded_before_it_was_sent_is_never_sent() -> None:
    one, two = a_map(1), a_map(2)
    a, _ = sessions(one, two)
    for n in range(1000):
        put(one, "k", str(n))
    assert len(sent(drain(a))) == 1


@examples(100)
@given(st.data())
def test_nothing_is_sent_twice_and_nothing_is_sent_back(data: st.DataObject) -> None:
    """Whatever is written meanwhile, at whichever size of frames."""
    one, two = a_map(1, stored=data.draw(st.booleans())), a_map(2, stored=data.draw(st.booleans()))
    for n in range(data.draw(st.integers(0, 30))):
        put(one, f"k{n}", "x" * (n % 7))
    saved(one)
    a, b = sessions(one, two)
    told: dict[int, list[tuple[bytes, bytes]]] = {0: [], 1: []}
    for _ in range(data.draw(st.integers(0, 40))):
        at = data.draw(st.integers(0, 1))
        what = data.draw(st.sampled_from(["put", "save", "talk", "talk"]))
        model, sender, receiver = ((one, a, b), (two, b, a))[at]
        if what == "put":
            put(model, f"k{data.draw(st.integers(0, 40))}", "x" * data.draw(st.integers(0, 9)))
        elif what == "save":
            saved(model)
        elif delta := sender.next_delta(data.draw(st.integers(2, 200)), NOW):
            told[at] += [(s, r[:8]) for s, r in sent([delta])]
            receiver.receive_delta(delta, NOW)
    for _ in range(3):
        saved(one, two)
        for at, sender, receiver in ((0, a, b), (1, b, a)):
            for delta in drain(sender, 50):
                told[at] += [(s, r[:8]) for s, r in sent([delta])]
                receiver.receive_delta(delta, NOW)
    everything = told[0] + told[1]
    assert len(everything) == len(set(everything))
    assert state(one) == state(two)


def test_what_a_peer_sent_is_not_sent_back_to_it_but_to_others() -> None:
    one, two, three = filled(3), a_map(2), a_map(3)
    a, b = sessions(one, two)
    c, _ = sessions(two, three)
    delta = a.next_delta(PLENTY, NOW)
    assert delta is not None
    b.receive_delta(replace(delta, commit=None), NOW)
    assert sent(drain(b)) == []
    assert len(sent(drain(c))) == 3


def test_to_reconnect_with_a_peer_that_has_everything_touches_no_entry() -> None:
    one = filled(3 * SEGMENT_ENTRIES + 10)
    two = a_map(2)
    sync(one, two)
    for segment in one.log.segments[:-1]:
        assert segment.known_to({one.author.source: stamp(one.clock[one.author.source])})
        segment.records = segment.sources = None  # type: ignore[assignment]
    a, _ = sessions(one, two)
    assert a.next_delta(PLENTY, NOW) is None
    assert a.cursor == one.log.end
    assert not a.has_something(NOW)


def test_one_draw_looks_at_a_bounded_part_of_the_log() -> None:
    one, two = a_map(1), a_map(2)
    for n in range(4 * session.SCAN_ENTRIES_MAX):
        one.receive([(source(n % 40), [record(f"k{n}", n + 1)])], EVER)
    two.commit([(source(n), TICKS) for n in range(40)])
    a, _ = sessions(one, two)
    assert a.next_delta(PLENTY, NOW) is None
    assert a.cursor <= session.SCAN_ENTRIES_MAX + SEGMENT_ENTRIES
    assert a.has_something(NOW)
    assert sent(drain(a)) == []


# --- what goes first -----------------------------------------------------------------------------


def test_far_behind_half_of_a_frame_is_the_oldest_and_half_the_newest() -> None:
    a, _ = sessions(filled(100), a_map(2))
    cost = len(record("k00")) + send_order.RECORD_OVERHEAD
    first = keys(a.next_delta(10 * cost, NOW))
    assert first[:4] == ["k0", "k1", "k2", "k3"]
    assert "k99" in first
    assert "k50" not in first


def test_what_arrives_while_the_peer_is_far_behind_goes_with_the_next_frame() -> None:
    one = filled(500)
    a, _ = sessions(one, a_map(2))
    for n in range(5):
        put(one, f"new{n}")
        assert f"new{n}" in keys(a.next_delta(300, NOW))


def test_what_was_sent_early_is_not_sent_again() -> None:
    one, two = filled(300), a_map(2)
    a, b = sessions(one, two)
    deltas = list(drain(a, 200))
    assert len(deltas) > 20
    assert len(sent(deltas)) == 300
    assert [delta.commit for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    for delta in deltas:
        b.receive_delta(delta, NOW)
    assert state(two) == state(one)


def test_a_key_that_is_written_again_while_it_waits_keeps_its_place_in_line() -> None:
    one = filled(100)
    a, _ = sessions(one, a_map(2))
    budget = 10 * (len(record("k00")) + send_order.RECORD_OVERHEAD)
    assert "k4" in keys(a.next_delta(budget, NOW))
    for n in range(20):
        put(one, f"more{n}")
    put(one, "k5")
    latest = put(one, "k5")
    for n in range(20):
        put(one, f"new{n}")
    delta = a.next_delta(budget, NOW)
    assert (latest.source, latest.record) in sent([delta] if delta is not None else [])


def test_to_a_peer_that_keeps_up_updates_go_in_the_order_in_which_they_came() -> None:
    one = filled(5)
    a, _ = sessions(one, a_map(2))
    assert a.next_delta(10_000, NOW) is not None
    for key in ("a", "b", "c", "a", "d", "b"):
        put(one, key)
    assert keys(a.next_delta(10_000, NOW)) == ["c", "a", "d", "b"]


@given(st.data())
def test_whatever_is_written_while_a_peer_lags_comes_once_and_in_the_end_all_is_the_same(
    data: st.DataObject,
) -> None:
    """No duplicate from places kept in line, none lost, and the commit is true (I3)."""
    one, two = filled(30), a_map(2)
    a, b = sessions(one, two)
    seen: set[tuple[bytes, bytes]] = set()
    for _ in range(data.draw(st.integers(1, 15))):
        for n in data.draw(st.lists(st.integers(0, 40), max_size=8)):
            put(one, f"k{n}")
        delta = a.next_delta(data.draw(st.integers(30, 300)), NOW)
        if delta is None:
            continue
        for where, records in delta.runs:
            for each in records:
                assert (where, each) not in seen
                seen.add((where, each))
        b.receive_delta(delta, NOW)
    for delta in drain(a, 200):
        b.receive_delta(delta, NOW)
    assert state(two) == state(one)
    assert two.clock == one.clock


def test_an_update_that_is_not_saved_is_not_passed_over_when_newer_ones_came_from_the_peer() -> (
    None
):
    one, two = a_map(1, stored=True), a_map(2)
    for n in range(40):
        put(one, f"k{n}", "x" * 40)
    saved(one)
    a, b = sessions(one, two)
    put(one, "not saved yet")
    put(two, "of the peer")
    for delta in drain(b):
        a.receive_delta(delta, NOW)
    for _ in range(2):
        for delta in drain(a, 400):
            b.receive_delta(delta, NOW)
        saved(one)
    assert "not saved yet" in values(two)
    assert state(one)[0] == state(two)[0]


def test_a_record_larger_than_a_frame_should_be_goes_alone() -> None:
    one = a_map(1)
    put(one, "small")
    put(one, "huge", "x" * 100_000)
    put(one, "last")
    a, _ = sessions(one, a_map(2))
    assert [keys(delta) for delta in drain(a, 1000) if delta.runs] == [
        ["small", "last"],
        ["huge"],
    ]


def test_the_largest_record_and_the_longest_commit_each_fit_in_a_frame() -> None:
    one, two = a_map(1), a_map(2)
    one.commit([(source(n % 250, 1 + n // 250), 5) for n in range(19_000)])
    for n in range(3):
        huge = record(f"k{n}", TICKS + n, b"x" * (RECORD_BYTES_MAX - 13))
        one.receive([(source(251), [huge])], EVER)
    one.commit([(source(251), TICKS + 2)])
    a, b = sessions(one, two)
    while a.behind:
        for delta in drain(a):
            b.receive_delta(delta, NOW)
            assert len(codec.encode(delta)) <= codec.FRAME_BYTES_MAX
        a.flight.delivered(NOW.mono_s)
    assert two.clock == one.clock
    assert two.count == 3
    assert len(codec.encode(b.clock_message())) <= codec.FRAME_BYTES_MAX
    b.theirs.clear()
    saved(two)
    have = Have("m", 1, b.model.clock.copy_times(), 1)
    assert len(codec.encode(have)) <= codec.FRAME_BYTES_MAX


# --- the commit ----------------------------------------------------------------------------------


def test_the_clock_moves_only_when_nothing_is_missing_any_more() -> None:
    one, two = filled(50), a_map(2)
    a, b = sessions(one, two)
    for delta in drain(a, 100):
        assert len(two.clock) == 0
        b.receive_delta(delta, NOW)
    assert two.clock == one.clock


def test_a_link_that_drops_before_the_commit_leaves_a_clock_that_claims_nothing() -> None:
    one, two = filled(50), a_map(2)
    a, b = sessions(one, two)
    for _ in range(5):
        delta = a.next_delta(100, NOW)
        assert delta is not None
        b.receive_delta(delta, NOW)
    assert values(two)
    assert len(two.clock) == 0
    sync(one, two)
    assert state(one) == state(two)


def test_what_is_not_saved_is_not_sent_and_not_committed() -> None:
    one, two = a_map(1, stored=True), a_map(2)
    put(one, "k")
    a, _ = sessions(one, two)
    assert not a.has_something(NOW)
    assert a.next_delta(PLENTY, NOW) is None
    one.log.saved = one.log.end
    delta = a.next_delta(PLENTY, NOW)
    assert keys(delta) == ["k"]
    put(one, "j")
    assert a.next_delta(PLENTY, NOW) is None


def test_nothing_is_committed_while_something_is_not_saved() -> None:
    one, two = a_map(1, stored=True), a_map(2)
    put(one, "k")
    saved(one)
    put(one, "j")
    a, _ = sessions(one, two)
    delta = a.next_delta(PLENTY, NOW)
    assert keys(delta) == ["k"]
    assert delta is not None
    assert delta.commit is None


def test_a_clock_that_rose_without_updates_is_told_as_well() -> None:
    one, two = a_map(1), a_map(2)
    a, b = sync(one, two)
    one.commit([(source(9), 5)])
    delta = a.next_delta(PLENTY, NOW)
    assert delta is not None
    assert (delta.runs, delta.commit) == ([], {source(9): 5})
    b.receive_delta(delta, NOW)
    assert two.clock[source(9)] == 5
    assert b.next_delta(PLENTY, NOW) is None


def test_a_long_commit_goes_in_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "COMMIT_SOURCES_MAX", 3)
    one, two = a_map(1), a_map(2)
    one.commit([(source(n), 5) for n in range(2, 10)])
    a, b = sessions(one, two)
    deltas = list(drain(a))
    assert [len(delta.commit or ()) for delta in deltas] == [3, 3, 2]
    for delta in deltas:
        b.receive_delta(delta, NOW)
    assert two.clock == one.clock


def test_a_forged_commit_silences_a_source_no_longer_than_clocks_may_differ() -> None:
    two = a_map(2)
    b = Session(two, SKEW_MS)
    b.clock_message()
    forged = Delta("default", 1, [], 1, {source(1): 2**62})
    b.receive_delta(forged, NOW)
    assert two.clock[source(1)] <= (WALL + SKEW_MS) * 4096


def test_an_update_that_is_none_closes_the_link_and_no_clock_moves() -> None:
    two = a_map(2)
    _, b = sessions(a_map(1), two)
    bad = Delta("default", 1, [(source(1), [record("k"), stamp(5) + b"?"])], 2, {source(1): TICKS})
    with pytest.raises(RemoteProtocolError):
        b.receive_delta(bad, NOW)
    assert len(two.clock) == 0


# --- rounds --------------------------------------------------------------------------------------


def test_a_commit_that_was_under_way_when_we_started_afresh_is_not_heeded() -> None:
    one, two = filled(1), a_map(2)
    a, b = sessions(one, two)
    late = a.next_delta(PLENTY, NOW)
    assert late is not None
    again = b.clock_message()
    b.receive_delta(late, NOW)
    assert values(two) == {"k0": "v"}
    assert len(two.clock) == 0
    a.receive_clock(again)
    b.receive_clock(a.clock_message())
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    assert two.clock == one.clock


def test_started_afresh_a_session_sends_what_the_clock_lacks_and_no_more() -> None:
    one, two = filled(10), a_map(2)
    a, b = sync(one, two)
    put(one, "new")
    a.receive_clock(b.clock_message())
    assert keys(a.next_delta(PLENTY, NOW)) == ["new"]


# --- acknowledgement -----------------------------------------------------------------------------


def test_have_acknowledges_only_what_is_saved() -> None:
    one, two = filled(3), a_map(2, stored=True)
    a, b = sessions(one, two)
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    assert b.receipts.pending
    assert not b.receipts.due
    assert b.receipts.next(b.round) is None
    assert (a.lag, a.acked) == (3, 0)
    saved(two)
    assert b.receipts.due
    have = b.receipts.next(b.round)
    assert have is not None
    a.receive_have(have)
    assert (a.lag, a.acked) == (0, 3)
    assert b.receipts.next(b.round) is None


def test_have_acknowledges_up_to_what_was_saved_when_more_came_since() -> None:
    one, two = a_map(1), a_map(2, stored=True)
    a, b = sessions(one, two)
    for n in range(3):
        put(one, f"k{n}")
        delta = a.next_delta(PLENTY, NOW)
        assert delta is not None
        b.receive_delta(delta, NOW)
    two.log.saved = 1
    have = b.receipts.next(b.round)
    assert have is not None
    a.receive_have(have)
    assert a.acked == 1
    two.log.saved = 2
    assert b.receipts.next(b.round) is None, "two marks are kept, the oldest and the latest"
    saved(two)
    have = b.receipts.next(b.round)
    assert have is not None
    a.receive_have(have)
    assert a.lag == 0


def test_have_tells_of_a_clock_only_once_that_is_saved() -> None:
    one, two = filled(1), a_map(2, stored=True)
    a, b = sessions(one, two)
    two.commit([(source(9), 5)])
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    two.log.saved = two.log.end
    have = b.receipts.next(b.round)
    assert have is not None
    assert have.times == {}
    assert not b.receipts.due
    assert b.receipts.pending
    put(one, "new")
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    saved(two)
    have = b.receipts.next(b.round)
    assert have is not None
    assert have.times == two.clock.copy_times(), "also what the peer told: it is confirmed"
    assert have.times[source(9)] == 5
    assert not b.receipts.pending


def test_what_have_tells_need_not_be_sent() -> None:
    one, two, three = filled(5), a_map(2), a_map(3)
    sync(one, three)
    a, b = sessions(one, two)
    sync(three, two)
    a.receive_have(Have("default", 1, two.clock.copy_times(), 0))
    assert sent(drain(a)) == []
    assert list(drain(b)) == []


def test_a_have_of_an_earlier_round_acknowledges_nothing() -> None:
    one, two = filled(3), a_map(2)
    a, b = sessions(one, two)
    first = list(drain(a))
    for delta in first:
        b.receive_delta(delta, NOW)
    stale = b.receipts.next(b.round)
    assert stale is not None
    two.clock._times.clear()
    a.receive_clock(b.clock_message())
    b.receive_clock(a.clock_message())
    assert sent(drain(a)), "all of it once more"
    a.receive_have(stale)
    assert a.acked == 0


def test_lag_counts_updates_and_how_long_the_oldest_waits() -> None:
    one, two = filled(3), a_map(2)
    a, b = sessions(one, two)
    assert a.lag == 3
    delta = a.next_delta(PLENTY, at(1.0))
    assert delta is not None
    assert a.flight.lag_s(3.5) == 2.5
    b.receive_delta(delta, at(4.0))
    have = b.receipts.next(b.round)
    assert have is not None
    a.receive_have(have)
    assert (a.lag, a.flight.lag_s(9.0)) == (0, 0.0)


def test_what_came_from_the_peer_counts_as_acknowledged() -> None:
    one, two = filled(3), a_map(2)
    _, b = sync(one, two)
    assert (b.lag, b.acked) == (0, 3)


def test_both_are_synced_when_each_has_on_disk_what_the_other_told_of() -> None:
    one, two = filled(3), filled(2, number=2)
    a, b = sessions(one, two)
    assert not a.synced
    for sender, receiver in ((a, b), (b, a)):
        for delta in drain(sender):
            receiver.receive_delta(delta, NOW)
    assert not a.synced
    for sender, receiver in ((a, b), (b, a)):
        have = receiver.receipts.next(receiver.round)
        assert have is not None
        sender.receive_have(have)
    assert a.synced
    assert b.synced


# --- pacing --------------------------------------------------------------------------------------


def test_a_sender_pauses_when_a_window_full_is_under_way() -> None:
    one, two = a_map(1), a_map(2)
    for n in range(40):
        put(one, f"k{n}", "x" * 30_000)
    a, b = sessions(one, two)
    deltas = list(drain(a))
    under_way = sum(len(r) for _, r in sent(deltas))
    assert a.paused(NOW)
    assert a.behind
    assert in_flight.WINDOW_BYTES <= under_way <= in_flight.WINDOW_BYTES + PLENTY
    b.receive_delta(deltas[0], NOW)
    have = b.receipts.next(b.round)
    assert have is not None
    a.receive_have(have)
    assert a.has_something(NOW)


def test_a_sender_pauses_when_what_it_sent_is_not_acknowledged_for_long() -> None:
    one = filled(1)
    a, _ = sessions(one, a_map(2))
    assert a.next_delta(PLENTY, at(0.0)) is not None
    put(one, "new")
    assert a.has_something(at(in_flight.STALL_S))
    assert not a.has_something(at(in_flight.STALL_S + 0.01))
    assert a.flight.stall_at() == in_flight.STALL_S
    a.flight.delivered(0.0)
    assert a.has_something(at(9.0))


def test_a_peer_that_does_not_read_finds_the_latest_value_when_it_does() -> None:
    """A slow peer has no queue: its backlog is a cursor, and what was overwritten is gone."""
    one = a_map(1)
    a, _ = sessions(one, a_map(2))
    put(one, "k", "0")
    under_way = list(drain(a, now=at(0.0)))
    for n in range(1, 10_000):
        put(one, "k", str(n))
        under_way += drain(a, now=at(1.0))
    assert len(under_way) == 1
    a.flight.delivered(0.0)
    assert len(sent(drain(a, now=at(2.0)))) == 1
    assert len(entries(one.log)) == 1


def test_what_is_remembered_of_deltas_under_way_is_bounded() -> None:
    one, two = a_map(1), a_map(2)
    a, b = sessions(one, two)
    for n in range(3 * in_flight.FLIGHT_MAX):
        put(one, f"k{n}")
        delta = a.next_delta(PLENTY, NOW)
        assert delta is not None
        b.receive_delta(delta, NOW)
        a.flight.delivered(NOW.mono_s)
    assert len(a.flight._drawn) <= in_flight.FLIGHT_MAX
    assert len(a._skips) <= session.SKIPS_MAX
    have = b.receipts.next(b.round)
    assert have is not None
    a.receive_have(have)
    assert a.lag == 0


# --- the future ----------------------------------------------------------------------------------


AHEAD_MS = SKEW_MS + 5000


def test_an_update_from_the_future_is_refused_and_all_else_taken() -> None:
    one, two = a_map(1), a_map(2)
    put(one, "now")
    put(one, "ahead", wall_ms=WALL + AHEAD_MS)
    a, b = sessions(one, two)
    delta = a.next_delta(PLENTY, NOW)
    assert delta is not None
    received = b.receive_delta(delta, NOW)
    assert values(two) == {"now": "v"}
    assert received.refused == 1
    assert two.author.hlc.last <= (WALL + SKEW_MS) * 4096


def test_no_commit_covers_what_was_refused_and_none_acknowledges_it() -> None:
    one, two = a_map(1), a_map(2)
    ahead = put(one, "ahead", wall_ms=WALL + AHEAD_MS)
    a, b = sessions(one, two)
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    assert not two.clock.covers(ahead.source, ahead.timestamp)
    assert b.receipts.next(b.round) is None
    assert not b.synced


def test_asked_again_when_its_time_has_come_the_receiver_is_whole() -> None:
    one, two = a_map(1), a_map(2)
    put(one, "now")
    put(one, "ahead", wall_ms=WALL + AHEAD_MS)
    a, b = sessions(one, two)
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    retry = b.retry_ms()
    assert retry is not None
    assert WALL + 5000 <= retry <= WALL + 5001
    later = Instant(10.0, retry)
    a.receive_clock(b.clock_message())
    b.receive_clock(a.clock_message())
    assert b.retry_ms() is None
    for delta in drain(a, now=later):
        b.receive_delta(delta, later)
    assert state(two) == state(one)
    assert list(drain(b, now=later)) == []


def test_no_commit_covers_what_only_a_refused_update_outranked() -> None:
    """The sender has no longer what the refused one outranks, and so did not send it (I3).

    Here u of node 1 is outranked at node 3 by v of node 2, which node 4 refuses. Were node 4's
    clock to cover u, nobody would ever send it u.
    """
    one, two, three, four = (a_map(number) for number in (1, 2, 3, 4))
    u = put(one, "k", "u")
    sync(one, two)
    put(two, "k", "v", wall_ms=WALL + AHEAD_MS)
    sync(two, three, Instant(0.0, WALL + AHEAD_MS))
    a, b = sessions(three, four)
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    assert values(four) == {}
    assert not four.clock.covers(u.source, u.timestamp)
    sync(one, four)
    assert values(four) == {"k": "u"}


# --- what the peer has confirmed -----------------------------------------------------------------


def test_confirmed_begins_with_the_peers_clock_and_what_we_send_adds_nothing() -> None:
    one, two = filled(3), a_map(2)
    theirs = put(two, "theirs")
    a, b = sessions(one, two)
    assert a.confirmed == {theirs.source: theirs.timestamp}
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    assert a.confirmed == {theirs.source: theirs.timestamp}
    again = b.clock_message()
    a.receive_clock(again)
    assert a.confirmed == two.clock.copy_times()


def test_nobody_is_synced_who_has_refused_something_of_the_future() -> None:
    """The peer has not told yet that its clock covers it: only the refusal says what is missing."""
    one, two = filled(1), a_map(2)
    a, b = sessions(one, two)
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    for delta in drain(b):
        a.receive_delta(delta, NOW)
    have = b.receipts.next(b.round)
    assert have is not None
    a.receive_have(have)
    assert b.synced
    late = record("late", TICKS + 2 * SKEW_MS * 4096)
    b.receive_delta(Delta("default", b.round, [(source(1), [late])], 2, None), NOW)
    assert b.future
    assert not b.synced
