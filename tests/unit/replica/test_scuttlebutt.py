"""What a data type has that writes only the two methods of the text this project was born from."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    NOW,
    TICKS,
    WALL,
    a_map,
    drain,
    entries,
    node_id,
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

from scuttled.errors import DataError, RemoteProtocolError
from scuttled.replica.change import SEAL_BYTES, SLOT_BYTES_MAX, TEXT, make_change
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import COMPACT_ENTRIES_MIN, Scuttlebutt
from scuttled.replica.sources import SOURCES_MAX
from scuttled.replica.update import CHANGE_BYTES_MAX, RECORD_BYTES_MAX, Stamp, Update, stamp
from scuttled.replica.version_vector import Clock

EVER = Stamp(stamp(2**62))


class Tallies(Scuttlebutt):
    """How much each source has counted: its latest word stands."""

    data_type = "tallies"

    def __init__(self, number: int) -> None:
        super().__init__("tallies", Author(node_id(number)))
        self.latest: dict[bytes, Update] = {}

    def history(self, clock: Clock) -> Iterable[Update]:
        held = self.latest.values()
        missing = (update for update in held if not clock.covers(update.source, update.timestamp))
        return sorted(missing, key=lambda update: (update.timestamp, update.source))

    def apply_update(self, update: Update) -> bool:
        if not update.change.isdigit():
            raise RemoteProtocolError(f"a tally of {update.change!r:.20}")
        known = self.latest.get(update.source)
        if known is not None and known.timestamp >= update.timestamp:
            return False
        self.latest[update.source] = update
        return True

    def count(self, what: int) -> Update:
        return self.write(b"%d" % what, WALL)

    @property
    def total(self) -> int:
        return sum(int(update.change) for update in self.latest.values())


def test_it_is_replicated() -> None:
    one, two = Tallies(1), Tallies(2)
    one.count(3)
    two.count(4)
    two.count(5)
    sync(one, two)
    assert one.total == two.total == 8
    assert state(one) == state(two)


def test_updates_arrive_through_a_third_node() -> None:
    one, two, three = Tallies(1), Tallies(2), Tallies(3)
    one.count(3)
    sync(one, two)
    sync(two, three)
    assert three.total == 3
    assert three.clock == one.clock


def test_a_write_is_seen_at_once_and_covered_by_the_clock() -> None:
    model = Tallies(1)
    update = model.count(3)
    assert model.total == 3
    assert model.clock.copy_times() == {model.author.source: update.timestamp}
    assert entries(model.log) == [(0, update.record, update.source)]


def test_what_is_received_moves_the_state_and_not_the_clock() -> None:
    model = Tallies(1)
    model.receive([(source(2), [stamp(5) + b"7"])], EVER)
    assert model.total == 7
    assert len(model.clock) == 0
    model.commit([(source(2), 5)])
    assert model.clock[source(2)] == 5


def test_what_is_dominated_leaves_no_trace() -> None:
    model = Tallies(1)
    model.receive([(source(2), [stamp(5) + b"7", stamp(4) + b"6"])], EVER)
    before = entries(model.log)
    model.receive([(source(2), [stamp(5) + b"7"]), (source(2), [stamp(3) + b"9"])], EVER)
    assert entries(model.log) == before
    assert model.total == 7


def test_what_is_no_update_of_this_type_is_refused_and_the_clock_stays() -> None:
    model = Tallies(1)
    with pytest.raises(RemoteProtocolError, match="a tally of b'x'"):
        model.receive([(source(2), [stamp(5) + b"7", stamp(6) + b"x"])], EVER)
    assert model.total == 7
    assert len(model.clock) == 0


def test_a_log_of_what_is_no_longer_held_is_compacted() -> None:
    model = Tallies(1)
    for n in range(10 * COMPACT_ENTRIES_MIN):
        model.count(n)
    assert model.log.live <= COMPACT_ENTRIES_MIN
    assert entries(model.log)[-1][1] == next(iter(model.history(Clock()))).record


def test_storage_gives_it_back() -> None:
    model, again = Tallies(1), Tallies(1)
    model.receive([(source(2), [stamp(5) + b"7"]), (source(3), [stamp(TICKS) + b"1"])], EVER)
    model.commit([(source(2), 5)])
    rows = entries(model.log)
    again.restore(
        [at for at, _, _ in rows], [r for _, r, _ in rows], [s for _, _, s in rows], {source(2): 5}
    )
    assert state(again) == state(model)
    assert again.count(1).timestamp > TICKS


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), max_size=12), st.randoms())
def test_any_order_gives_the_same_tallies(told, rng) -> None:  # type: ignore[no-untyped-def]
    runs = [(source(who), [stamp(time) + b"%d" % time]) for who, time in told]
    one, two = Tallies(8), Tallies(9)
    one.receive(runs, EVER)
    rng.shuffle(runs)
    two.receive(runs + runs, EVER)
    assert one.latest == two.latest


# --- the future, and forgery ---------------------------------------------------------------------


def test_what_is_stamped_above_the_limit_is_left_out_and_told() -> None:
    model = a_map()
    received = model.receive(
        [(source(2), [record("a", 5), record("b", 9), record("c", 7)])], stamp(6)
    )
    assert values(model) == {"a": "v"}
    assert received.future == {source(2): stamp(7)}
    assert (received.start, received.end, received.refused) == (0, 1, 2)


def test_a_write_stands_above_all_that_was_accepted_even_if_the_rest_was_nonsense() -> None:
    model = a_map()
    ahead = TICKS + 5000 * 4096
    with pytest.raises(RemoteProtocolError):
        model.receive([(source(2), [record("k", ahead, b"theirs"), stamp(ahead) + b"?"])], EVER)
    put(model, "k", "mine", WALL)
    assert values(model) == {"k": "mine"}


def test_no_clock_grows_beyond_what_a_frame_can_tell() -> None:
    model = a_map()
    many = [(source(n % 250, 1 + n // 250), 5) for n in range(SOURCES_MAX)]
    model.commit(many)
    with pytest.raises(RemoteProtocolError, match="20001 sources in the model 'default'"):
        model.commit([(source(251), 5)])
    assert len(model.clock) == SOURCES_MAX
    assert model.commit([(source(0), 6)])


# --- who is saved, who is equal ------------------------------------------------------------------


def test_a_model_is_saved_when_log_and_clock_are() -> None:
    model = a_map(stored=True)
    assert model.is_saved
    put(model, "k")
    assert not model.is_saved
    model.log.saved = model.log.taken = model.log.end
    assert not model.is_saved
    model.saved.revision = model.clock.revision
    assert model.is_saved
    put(model, "k")
    saved(model)
    assert model.is_saved


def test_without_storage_there_is_nothing_to_save() -> None:
    model = a_map()
    put(model, "k")
    assert model.is_saved


def test_hashes_of_clocks_are_equal_where_clocks_are() -> None:
    one, two, other = a_map(1), a_map(2), a_map(3, "other")
    put(one, "k")
    before = one.clock_hash()
    assert before != two.clock_hash()
    sync(one, two)
    assert one.clock_hash() == two.clock_hash() == before
    other.commit(one.clock.items())
    assert other.clock_hash() != one.clock_hash()


def test_a_peer_that_has_all_is_told_nothing() -> None:
    one, two = Tallies(1), Tallies(2)
    one.count(3)
    sync(one, two)
    again, _ = sessions(one, two)
    assert sent(drain(again)) == []
    assert again.next_delta(100, NOW) is None


# --- what peers would not take -------------------------------------------------------------------


def test_a_change_larger_than_peers_take_is_refused_by_who_writes_it() -> None:
    """It would close every link, for all models, as often as it was sent."""
    model = Tallies(1)
    with pytest.raises(DataError, match=f"at most {CHANGE_BYTES_MAX}"):
        model.local_update(bytes(CHANGE_BYTES_MAX + 1))
    assert (model.latest, len(model.clock), model.log.end) == ({}, 0, 0)
    update = model.local_update(b"9" * CHANGE_BYTES_MAX)
    assert len(update.record) + SEAL_BYTES <= RECORD_BYTES_MAX


def test_a_slot_longer_than_peers_take_is_refused_by_who_writes_it() -> None:
    model = a_map()
    for size in (SLOT_BYTES_MAX + 1, 1 << 16):
        with pytest.raises(DataError, match="at most 4096"):
            model.fill(b"k" * size, TEXT, b"v", WALL)
    assert model.log.end == 0
    model.fill(b"k" * SLOT_BYTES_MAX, TEXT, b"v", WALL)


def test_of_a_bridged_source_nothing_is_taken_that_does_not_rise() -> None:
    model = a_map()
    change = make_change(b"k", TEXT, b"first")
    assert model.adopt(change, TICKS, source(9))
    before = state(model)
    for late in (TICKS, TICKS - 1):
        assert not model.adopt(make_change(b"k", TEXT, b"second"), late, source(9))
        assert not model.adopt(make_change(b"other", TEXT, b"v"), late, source(9))
    assert state(model) == before
