from hypothesis import given
from hypothesis import strategies as st
from support.scenes import WALL, a_map, node_id, put, sync, values

from scuttled.replica.hlc import Author, Hlc
from scuttled.replica.update import TICKS_PER_MS

HOUR_MS = 3_600_000


@given(st.lists(st.integers(0, 2**42), min_size=2))
def test_timestamps_rise_whatever_the_wall_clock_does(walls: list[int]) -> None:
    hlc = Hlc()
    made = [hlc.next(wall_ms) for wall_ms in walls]
    assert made == sorted(set(made))


def test_a_timestamp_is_the_wall_clock_if_that_is_ahead() -> None:
    assert Hlc(5).next(1000) == 1000 * TICKS_PER_MS


def test_a_timestamp_stands_above_all_that_was_accepted() -> None:
    hlc = Hlc()
    hlc.observe(9000 * TICKS_PER_MS)
    assert hlc.next(1000) == 9000 * TICKS_PER_MS + 1
    hlc.observe(5)
    assert hlc.last == 9000 * TICKS_PER_MS + 1


def test_more_than_4096_writes_in_a_millisecond_run_on_into_the_next() -> None:
    hlc = Hlc()
    made = [hlc.next(1000) for _ in range(5000)]
    assert made == list(range(1000 * TICKS_PER_MS, 1000 * TICKS_PER_MS + 5000))
    assert hlc.next(1001) == made[-1] + 1


def test_a_new_life_goes_on_above_the_old_one() -> None:
    author = Author(node_id(1), life=1)
    first, before = author.source, author.hlc.next(1000)
    author.live_as(2)
    assert author.source != first
    assert author.hlc.next(0) > before


def test_no_local_write_vanishes_when_the_wall_clock_is_set_back_an_hour() -> None:
    model, peer = a_map(1), a_map(2)
    put(model, "k", "before", WALL)
    for n in range(10):
        put(model, "k", f"after{n}", WALL - HOUR_MS)
        assert values(model) == {"k": f"after{n}"}
    sync(model, peer)
    assert values(peer) == {"k": "after9"}


def test_a_node_an_hour_behind_overwrites_what_it_sees() -> None:
    model, behind = a_map(1), a_map(2)
    put(model, "k", "old", WALL)
    sync(model, behind)
    put(behind, "k", "new", WALL - HOUR_MS)
    sync(model, behind)
    assert values(model) == values(behind) == {"k": "new"}


def test_equal_ticks_on_two_nodes_end_with_the_same_value() -> None:
    one, two = a_map(1), a_map(2)
    mine, theirs = put(one, "k", "of one"), put(two, "k", "of two")
    assert mine.timestamp == theirs.timestamp
    sync(one, two)
    assert values(one) == values(two) == {"k": "of two"}
