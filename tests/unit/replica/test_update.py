import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import record, source

from scuttled.errors import RemoteProtocolError
from scuttled.replica import update
from scuttled.replica.update import NodeId, Update, make_source, outranks

times = st.integers(0, update.TIMESTAMP_MAX)
sources = st.builds(make_source, st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1))


@given(times, sources, st.binary(min_size=1))
def test_a_record_holds_the_change_and_the_time_and_no_source(time, who, change) -> None:  # type: ignore[no-untyped-def]
    there = Update(change, time, who)
    assert Update.of(there.record, who) == there
    assert len(there.record) == 8 + len(change)


@given(times, times)
def test_stamps_compare_like_the_times_they_stand_for(one: int, two: int) -> None:
    assert (update.stamp(one) < update.stamp(two)) == (one < two)


def test_the_later_update_outranks_whatever_its_source() -> None:
    assert outranks(record("k", 2), source(1), record("k", 1), source(2))
    assert not outranks(record("k", 1), source(2), record("k", 2), source(1))


def test_equal_timestamps_fall_by_source() -> None:
    assert outranks(record("k", 5, b"a"), source(2), record("k", 5, b"b"), source(1))
    assert not outranks(record("k", 5, b"b"), source(1), record("k", 5, b"a"), source(2))


def test_an_update_does_not_outrank_itself() -> None:
    assert not outranks(record("k", 5), source(1), record("k", 5), source(1))


@given(times, sources, times, sources)
def test_of_two_different_ranks_exactly_one_outranks(t1, s1, t2, s2) -> None:  # type: ignore[no-untyped-def]
    one, two = record("k", t1), record("k", t2)
    beats = outranks(one, s1, two, s2), outranks(two, s2, one, s1)
    assert sorted(beats) == ([False, False] if (t1, s1) == (t2, s2) else [False, True])


def test_a_later_life_is_another_source_of_the_same_node() -> None:
    first, second = source(1, life=1), source(1, life=2)
    assert first != second
    assert update.node_of(first) == update.node_of(second) == NodeId(b"\x01" * 8)
    assert (update.life_of(first), update.life_of(second)) == (1, 2)


@given(sources)
def test_a_source_is_read_as_it_was_written(who) -> None:  # type: ignore[no-untyped-def]
    assert update.parse_source(update.source_text(who)) == who


@pytest.mark.parametrize(
    "text",
    ["", "1", "0101.1", "zz.1", "0101010101010101.99999999999", "0101010101010101. 1", "AB" * 8],
)
def test_what_is_no_source_is_none(text: str) -> None:
    assert update.parse_source(text) is None


@pytest.mark.parametrize("value", [None, 7, "text", b"", b"short", b"x" * 13])
def test_a_source_that_is_none_is_the_peers_fault(value: object) -> None:
    with pytest.raises(RemoteProtocolError, match="expected 12 bytes"):
        update.checked_source(value)
