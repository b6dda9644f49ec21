import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    TICKS,
    WALL,
    a_map,
    entries,
    examples,
    put,
    record,
    source,
    state,
    sync,
    values,
)

from scuttled.errors import RemoteProtocolError
from scuttled.models.map import Map
from scuttled.replica import slots as room
from scuttled.replica import tombstones
from scuttled.replica.change import (
    BYTES,
    CLEAR,
    DELETED,
    EXPIRES,
    JSON,
    OPTIONS,
    OWN,
    TEXT,
    make_change,
    parse,
    slot_of,
)
from scuttled.replica.update import RECORD_BYTES_MAX, Instant, Stamp, Update, outranks, stamp
from scuttled.replica.version_vector import Clock

EVER = Stamp(stamp(2**62))
S2 = source(2)


def receive(model: Map, *records: bytes) -> None:
    model.receive([(S2, list(records))], EVER)


def restored(model: Map) -> Map:
    again = Map(model.name, model.author)
    rows = entries(model.log)
    again.restore(
        [at for at, _, _ in rows],
        [r for _, r, _ in rows],
        [s for _, _, s in rows],
        model.clock.copy_times(),
    )
    return again


# --- records -------------------------------------------------------------------------------------


@given(
    st.text(max_size=9).map(str.encode),
    st.sampled_from([DELETED, TEXT, BYTES, JSON]),
    st.binary(max_size=9),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=9),
)
def test_a_record_is_read_as_it_was_made(slot, kind, payload, expires_ms, origin) -> None:  # type: ignore[no-untyped-def]
    made = Update(make_change(slot, kind, payload, expires_ms, origin), 7, S2).record
    assert slot_of(made) == slot
    assert parse(made, S2) == (slot, kind, payload, expires_ms, 7, S2, origin)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (b"\x01", "too short to name its slot"),
        (b"\x01\x00", "too short to name its slot"),
        (make_change(b"k", 9), "unknown kind 9"),
        (make_change(b"k", DELETED, b"", 5), "unknown kind 128"),
        (make_change(b"k", OWN, b"", 5), "unknown kind 132"),
        (bytes((TEXT | EXPIRES,)) + b"\x00\x01k1234567", "does not say when"),
        (make_change(b"\xff", TEXT), "not UTF-8"),
        (make_change(b"k", OWN), "of kind 4 for the slot"),
        (make_change(CLEAR, TEXT), "of kind 1 for the slot"),
        (make_change(CLEAR, DELETED), "of kind 0 for the slot"),
        (make_change(OPTIONS, JSON), "of kind 3 for the slot"),
        (make_change(b"\x00other", TEXT), "of kind 1 for the slot"),
        (make_change(b"\x00other", OWN), "of kind 4 for the slot"),
    ],
)
def test_a_record_that_breaks_the_rules_is_refused_and_changes_nothing(
    change: bytes, words: str
) -> None:
    model = a_map()
    with pytest.raises(RemoteProtocolError, match=words):
        receive(model, record("good"), stamp(TICKS) + change)
    assert values(model) == {"good": "v"}
    assert len(model.clock) == 0
    assert [slot_of(r) for _, r, _ in entries(model.log)] == [b"good"]


@examples(200)
@given(st.lists(st.binary(min_size=9, max_size=40), max_size=6))
def test_no_bytes_of_a_peer_raise_anything_but_a_protocol_error(records: list[bytes]) -> None:
    model = a_map()
    try:
        receive(model, *records)
    except RemoteProtocolError:
        pass
    assert state(restored(model)) == state(model)
    assert model.log.live == len(entries(model.log)) == len(model._slots)


def test_the_largest_record_is_taken() -> None:
    model = a_map()
    receive(model, record("k", value=b"x" * (RECORD_BYTES_MAX - 12)))
    assert model.bytes == RECORD_BYTES_MAX


# --- rank ----------------------------------------------------------------------------------------


def test_the_highest_rank_fills_the_slot_in_any_order_of_arrival() -> None:
    for order in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
        model = a_map()
        for time in order:
            receive(model, record("k", time, b"%d" % time))
        assert values(model) == {"k": "3"}


def test_what_is_outranked_leaves_the_log_without_a_trace() -> None:
    model = a_map()
    receive(model, record("k", 5), record("k", 4), record("k", 5))
    assert [at for at, _, _ in entries(model.log)] == [0]
    receive(model, record("k", 6))
    assert [at for at, _, _ in entries(model.log)] == [1]


def test_history_is_what_a_clock_lacks_in_rank_order() -> None:
    model = a_map()
    model.receive([(S2, [record("b", 5), record("a", 7)]), (source(1), [record("c", 7)])], EVER)
    ranks = [(update.timestamp, update.source) for update in model.history(Clock())]
    assert ranks == [(5, S2), (7, source(1)), (7, S2)]
    assert [u.timestamp for u in model.history(Clock({S2: 5, source(1): 9}))] == [7]


# --- counting ------------------------------------------------------------------------------------


@examples(100)
@given(st.data())
def test_counts_are_those_of_a_recount(data: st.DataObject) -> None:
    model, wall_ms = a_map(), WALL
    for _ in range(data.draw(st.integers(0, 25))):
        wall_ms += data.draw(st.integers(0, 40))
        key, what = f"k{data.draw(st.integers(0, 4))}", data.draw(st.integers(0, 9))
        if what < 5:
            put(model, key, "x" * data.draw(st.integers(0, 9)), wall_ms)
        elif what < 7:
            model.discard(key, wall_ms)
        elif what < 9:
            model.put(key, TEXT, b"ttl", wall_ms, ttl_ms=50)
        else:
            model.drop(wall_ms)
        model.expire(wall_ms)
    rows = entries(model.log)
    slots = [parse(r, s) for _, r, s in rows]
    assert model.bytes == sum(len(r) for _, r, _ in rows)
    assert model.tombstones == sum(slot.kind == DELETED for slot in slots)
    assert model.count == sum(slot.shown(wall_ms) for slot in slots) == len(values(model, wall_ms))
    again = restored(model)
    again.expire(wall_ms)
    assert (again.count, again.tombstones, again.bytes) == (
        model.count,
        model.tombstones,
        model.bytes,
    )


# --- expiry --------------------------------------------------------------------------------------


def test_a_key_is_hidden_from_its_expiry_on_before_anybody_announced_it() -> None:
    model = a_map()
    model.put("k", TEXT, b"v", WALL, ttl_ms=100)
    assert model.find("k", WALL + 99) is not None
    assert model.find("k", WALL + 100) is None
    assert not model.has_expired(b"k")


def test_an_expired_key_moves_to_the_end_of_the_log_once() -> None:
    model = a_map()
    model.put("k", TEXT, b"v", WALL, ttl_ms=100)
    put(model, "other")
    assert model.next_expiry_ms() == WALL + 100
    assert model.expire(WALL + 99) == 0
    assert model.expire(WALL + 100) == 1
    assert model.expire(WALL + 200) == 0
    assert [(at, slot_of(r)) for at, r, _ in entries(model.log)] == [(1, b"other"), (2, b"k")]
    assert model.has_expired(b"k")
    assert model.next_expiry_ms() is None
    assert model.count == 1


def test_a_key_that_was_overwritten_does_not_expire() -> None:
    model = a_map()
    model.put("k", TEXT, b"v", WALL, ttl_ms=100)
    put(model, "k", "for good")
    assert model.expire(WALL + 100) == 0
    assert values(model, WALL + 100) == {"k": "for good"}


def test_a_key_that_expired_can_be_written_again() -> None:
    model = a_map()
    model.put("k", TEXT, b"v", WALL, ttl_ms=100)
    model.expire(WALL + 100)
    put(model, "k", "again", WALL + 100)
    assert values(model, WALL + 100) == {"k": "again"}
    assert (model.count, model.has_expired(b"k")) == (1, False)


def test_a_million_keys_that_expire_together_do_so_a_part_at_a_time() -> None:
    model = a_map()
    count = room.EXPIRED_PER_CALL_MAX + 10
    for n in range(count):
        model.put(f"k{n}", TEXT, b"v", WALL, ttl_ms=100)
    assert model.expire(WALL + 100) == room.EXPIRED_PER_CALL_MAX
    assert model.next_expiry_ms() == WALL + 100
    assert model.expire(WALL + 100) == 10
    assert model.count == 0


def test_expiry_is_not_gossip() -> None:
    one, two = a_map(1), a_map(2)
    one.put("k", TEXT, b"v", WALL, ttl_ms=100)
    a, _ = sync(one, two)
    one.expire(WALL + 100)
    assert a.next_delta(10_000, Instant(0.0, WALL + 100)) is None
    assert two.find("k", WALL + 100) is None


# --- dropping a model ----------------------------------------------------------------------------


def test_clear_voids_what_was_written_before_and_nothing_after() -> None:
    model = a_map()
    put(model, "before")
    assert model.drop(WALL) == 1
    assert model.cleared
    put(model, "after")
    assert values(model) == {"after": "v"}
    assert not model.cleared
    assert [slot_of(r) for _, r, _ in entries(model.log)] == [CLEAR, b"after"]


def test_what_a_clear_outranks_is_refused_when_it_comes_late() -> None:
    model = a_map()
    model.drop(WALL)
    receive(model, record("old", TICKS - 1), record("new", TICKS + 4096))
    assert values(model) == {"new": "v"}


def test_a_clear_arrives_like_any_update_and_in_any_order() -> None:
    writer = a_map(1)
    put(writer, "before", wall_ms=WALL)
    writer.drop(WALL + 1)
    put(writer, "after", wall_ms=WALL + 2)
    runs = [(u.source, [u.record]) for u in writer.history(Clock())]
    before = record("before", TICKS)
    for order in (runs, runs[::-1], [(S2, [before]), *runs], [*runs, (S2, [before])]):
        model = a_map(3)
        model.receive(order, EVER)
        assert values(model) == {"after": "v"}


def test_a_clear_is_in_force_even_if_the_rest_of_its_batch_was_nonsense() -> None:
    model = a_map()
    put(model, "before")
    late = stamp(TICKS + 4096)
    with pytest.raises(RemoteProtocolError):
        receive(model, late + make_change(CLEAR, OWN), late + b"?")
    assert values(model) == {}
    assert (model.count, model.bytes) == (0, len(entries(model.log)[0][1]))


def test_of_two_clears_the_later_stands() -> None:
    one, two = a_map(1), a_map(2)
    one.drop(WALL)
    two.drop(WALL + 5)
    put(one, "between", wall_ms=WALL + 2)
    sync(one, two)
    assert values(one) == values(two) == {}
    assert state(one) == state(two)


def test_a_model_that_was_dropped_is_dropped_after_a_restart_and_others_can_be_told() -> None:
    model = a_map(1)
    put(model, "before")
    model.drop(WALL)
    again = restored(model)
    assert again.cleared
    receive(again, record("old", TICKS - 1))
    assert values(again) == {}
    put(again, "after")
    peer = a_map(3)
    sync(again, peer)
    assert values(peer) == {"after": "v"}


# --- storage had no time -------------------------------------------------------------------------


def test_of_two_records_for_one_slot_that_storage_kept_the_higher_rank_stands() -> None:
    rows = [record("k", 5, b"a"), record("k", 9, b"b"), record("k", 7, b"c")]
    model = a_map(stored=True)
    model.restore([0, 1, 2], rows, [S2, S2, S2], {})
    assert values(model) == {"k": "b"}
    assert sorted(model.log.freed) == [0, 2]
    assert outranks(rows[1], S2, rows[2], S2)


# --- forgetting deletions ------------------------------------------------------------------------


def always(source: bytes, time: int) -> bool:
    return True


def test_only_what_was_deleted_or_expired_before_that_is_collected() -> None:
    model = a_map()
    put(model, "kept")
    put(model, "gone")
    model.discard("gone", WALL + 10)
    model.put("short", TEXT, b"", WALL, ttl_ms=20)
    model.expire(WALL + 20)
    assert model.grave_count == 2
    assert [grave.slot for grave in model.graves()] == [b"gone", b"short"]
    assert model.collect(always, WALL + 9) == 0
    assert model.collect(always, WALL + 10) == 1
    assert model.collect(always, WALL + 19) == 0
    assert model.collect(always, WALL + 20) == 1
    assert (model.count, model.tombstones, model.grave_count, model.log.live) == (1, 0, 0, 1)
    assert model.bytes == sum(len(entry) for _, entry, _ in entries(model.log))


def test_what_is_not_stable_stays_and_does_not_hold_up_the_rest() -> None:
    model = a_map()
    for key in "ab":
        put(model, key)
    first, second = model.discard("a", WALL), model.discard("b", WALL)
    assert first is not None
    assert second is not None
    assert model.collect(lambda _, time: time == second.timestamp, WALL) == 1
    assert model.lookup(b"a") is not None
    assert model.lookup(b"b") is None
    assert model.floor.copy_times() == {second.source: second.timestamp}


def test_a_deletion_that_was_under_way_when_it_was_collected_does_not_come_back() -> None:
    """Nor is a watcher told of it again."""
    model = a_map()
    put(model, "k")
    gone = model.discard("k", WALL)
    assert gone is not None
    assert model.collect(lambda source, time: True, WALL) == 1
    end = model.log.end
    assert not model.apply_update(gone)
    assert (model.log.end, model.tombstones, model.grave_count) == (end, 0, 0)
    assert model.apply_update(gone._replace(timestamp=gone.timestamp + 1)), "a later one is news"


def test_alone_nothing_raises_the_floor() -> None:
    model = a_map()
    put(model, "k")
    model.discard("k", WALL)
    assert model.collect(always, WALL, alone=True) == 1
    assert len(model.floor) == 0


def test_a_key_that_was_collected_can_be_written_again() -> None:
    model = a_map()
    put(model, "k")
    model.discard("k", WALL)
    model.collect(always, WALL)
    put(model, "k", "again")
    assert values(model) == {"k": "again"}
    assert (model.count, model.tombstones) == (1, 0)


def test_a_grave_that_was_written_over_is_none() -> None:
    model = a_map()
    put(model, "k")
    model.discard("k", WALL)
    put(model, "k", "again")
    assert model.grave_count == 0
    assert model.collect(always, WALL + 99) == 0


def test_one_call_collects_a_bounded_part() -> None:
    model = a_map()
    for n in range(tombstones.GRAVES_PER_CALL_MAX + 5):
        put(model, f"k{n}")
        model.discard(f"k{n}", WALL)
    assert model.collect(always, WALL + 99) == tombstones.GRAVES_PER_CALL_MAX
    assert model.collect(always, WALL + 99) == 5


def test_what_stands_in_a_slot_or_dropped_all_dominates() -> None:
    model = a_map()
    receive(model, record("k", TICKS + 5))
    older, newer = parse(record("k", TICKS), S2), parse(record("k", TICKS + 6), S2)
    assert model.dominates(older)
    assert not model.dominates(newer)
    assert not model.dominates(parse(record("other", TICKS), S2))
    model.drop(WALL + 1)
    assert model.dominates(parse(record("other", TICKS), S2))
    assert not model.dominates(parse(record("other", TICKS * 2), S2))
