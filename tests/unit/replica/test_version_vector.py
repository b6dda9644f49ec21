from hypothesis import given
from hypothesis import strategies as st
from support.scenes import source

from scuttled.replica.update import Source
from scuttled.replica.version_vector import Clock

A, B, C = source(1), source(2), source(3)
times = st.dictionaries(st.sampled_from([A, B, C]), st.integers(1, 9))


def test_a_clock_covers_what_came_up_to_its_time() -> None:
    clock = Clock({A: 5})
    assert clock.covers(A, 5)
    assert not clock.covers(A, 6)
    assert not clock.covers(B, 1)
    assert clock[B] == 0


def test_a_clock_only_rises() -> None:
    clock = Clock({A: 5})
    assert not clock.rise(A, 4)
    assert not clock.rise(A, 5)
    assert clock[A] == 5
    assert clock.rise(A, 6)


@given(times, times)
def test_a_merge_takes_the_greater_of_both(one: dict[Source, int], two: dict[Source, int]) -> None:
    clock = Clock(one)
    rose = clock.merge(two.items())
    assert clock.copy_times() == {s: max(one.get(s, 0), two.get(s, 0)) for s in {*one, *two}}
    assert rose == (clock != Clock(one))
    assert clock.covers_all(one.items())
    assert clock.covers_all(two.items())


@given(st.lists(times, max_size=8), st.data())
def test_what_rose_since_a_revision_is_told_latest_first(rises, data) -> None:  # type: ignore[no-untyped-def]
    clock, before, revision = Clock(), Clock(), 0
    mark = data.draw(st.integers(0, len(rises)))
    for at, rise in enumerate(rises):
        if at == mark:
            before, revision = Clock(clock.copy_times()), clock.revision
        clock.merge(rise.items())
    if mark == len(rises):
        before, revision = Clock(clock.copy_times()), clock.revision
    assert dict(clock.since(revision)) == {s: t for s, t in clock.items() if t > before[s]}


def test_to_see_what_rose_nothing_else_is_looked_at() -> None:
    clock = Clock({source(n % 250, n // 250): 1 for n in range(5000)})
    before = clock.revision
    clock.rise(A, 7)
    since = clock.since(before)
    assert next(since) == (A, 7)
    assert next(since, None) is None


def test_a_revision_counts_rises_and_nothing_else() -> None:
    clock = Clock({A: 1})
    before = clock.revision
    clock.rise(A, 1)
    clock.merge([(A, 1), (B, 0)])
    assert clock.revision == before


def test_clocks_are_equal_by_their_times_however_they_came_about() -> None:
    slow = Clock()
    for time in (1, 2, 3):
        slow.rise(A, time)
    assert slow == Clock({A: 3})
    assert slow != Clock({A: 2})
    assert len(slow) == 1
