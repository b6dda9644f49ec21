from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import examples, node_id, source

from scuttled.protocol.handshake import lies_below, replaced, who_resets
from scuttled.protocol.messages import ClockMessage, Code, Hello
from scuttled.replica.update import Source

A, B = source(1), source(2)


def clock(
    times: dict[Source, int],
    floor: dict[Source, int] | None = None,
    members: int = 1,
    size: int = 0,
) -> ClockMessage:
    return ClockMessage("default", "map", times, floor or {}, 1, members, size)


def decided(one: ClockMessage, two: ClockMessage) -> str | None:
    """Who resets, as both ends see it."""
    seen, mirrored = who_resets(one, two), who_resets(two, one)
    assert (seen, mirrored) in [(None, None), ("i", "peer"), ("peer", "i")]
    return {None: None, "i": "one", "peer": "two"}[seen]


# What one has and has forgotten, likewise two.
@pytest.mark.parametrize(
    ("one", "two", "who"),
    [
        (clock({}), clock({}), None),
        (clock({A: 9}), clock({A: 5, B: 3}), None),
        (clock({A: 9}, {A: 5}), clock({A: 5}), None),
        (clock({A: 9}, {A: 5}), clock({A: 4}), "two"),
        (clock({A: 9}, {A: 5}), clock({B: 99}), "two"),
        (clock({A: 4}, {}), clock({A: 9}, {A: 5}), "one"),
        (clock({A: 9, B: 9}, {A: 5}), clock({A: 9, B: 9}, {B: 5}), None),
        (clock({A: 9}, {A: 5}, members=9, size=9), clock({A: 4}, members=99, size=99), "two"),
    ],
    ids=["new", "nothing forgotten", "covers it", "below", "never met it", "mirrored", "both cover",
         "size does not count where only one lies below"],
)  # fmt: skip
def test_who_lies_below_the_others_floor_resets(
    one: ClockMessage, two: ClockMessage, who: str | None
) -> None:
    assert decided(one, two) == who


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((2, 900), (3, 100)),
        ((2, 100), (2, 900)),
    ],
    ids=["fewer members", "as many members, fewer updates"],
)
def test_of_two_strangers_the_smaller_resets(one: tuple[int, int], two: tuple[int, int]) -> None:
    a = clock({A: 9}, {A: 5}, *one)
    b = clock({B: 1}, {B: 1}, *two)
    assert decided(a, b) == "one"
    assert decided(b, a) == "two"


def test_of_two_strangers_of_one_size_the_one_of_the_lesser_floor_resets() -> None:
    lesser, greater = clock({A: 9}, {A: 5}), clock({B: 9}, {B: 6})
    assert decided(lesser, greater) == "one"
    more = clock({B: 9, A: 1}, {B: 5, A: 1})
    assert decided(clock({source(3): 9}, {source(3): 5}), more) == "two", "then by source"


times = st.dictionaries(st.sampled_from([source(n) for n in range(4)]), st.integers(1, 4))


@st.composite
def clocks(draw: st.DrawFn) -> ClockMessage:
    """What a node may say: its clock covers its floor."""
    floor = draw(times)
    held = {s: max(t, floor.get(s, 0)) for s, t in {**floor, **draw(times)}.items()}
    return clock(held, floor, draw(st.integers(1, 2)), draw(st.integers(0, 1)))


@examples(500)
@given(clocks(), clocks())
def test_both_ends_always_agree_and_nobody_below_a_floor_goes_on(
    one: ClockMessage, two: ClockMessage
) -> None:
    below = lies_below(one, two), lies_below(two, one)
    who = decided(one, two)
    assert (who is None) == (not any(below))
    if who is not None:
        assert below[0 if who == "one" else 1]
    assert decided(one, replace(one, floor=one.floor)) is None


def test_who_takes_the_place_of_a_later_start_is_its_twin_and_the_later_has_to_yield() -> None:
    older = Hello(1, 1, "c", node_id(1), b"older...", "n1", "", "0.1", 9, (), 5)
    later = replace(older, incarnation=b"later...", began_ms=6)
    assert replaced(older, later) == (Code.DUPLICATE, "another link takes over")
    assert replaced(older, older)[0] == Code.DUPLICATE
    at_once = replace(older, incarnation=b"later...")
    assert replaced(older, at_once)[0] == Code.DUPLICATE, "nobody began later"
    code, words = replaced(later, older)
    assert code == Code.TWIN
    assert "two live nodes have the id" in words
