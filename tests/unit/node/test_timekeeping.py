"""Whose clock is wrong: what a node concludes from its own clocks and from those of its peers."""

import pytest

from scuttled.node.timekeeping import (
    DOUBT_S,
    HEARD_MAX,
    HEARD_S,
    PLAUSIBLE_MS,
    SETTLE_S,
    Timekeeping,
)
from scuttled.protocol.link import Link
from scuttled.replica.update import Instant, NodeId

WALL = 1_700_000_000_000
YEAR = 365 * 86_400_000
MAX_SKEW = 60_000
LONG_S = DOUBT_S + 1
NO_LINKS: list[Link] = []


def at(seconds: float, wall_ms: int = WALL) -> Instant:
    return Instant(seconds, wall_ms + round(seconds * 1000))


def ahead(wall_ms: int = WALL) -> Timekeeping:
    time = Timekeeping(MAX_SKEW)
    time.measure(wall_ms + YEAR, wall_ms)
    return time


def hear(time: Timekeeping, agree: int, differ: int, at_s: float = 0.0) -> None:
    for number in range(agree):
        time.hear(b"a%d" % number, f"a{number}", 10, at_s)
    for number in range(differ):
        time.hear(b"d%d" % number, f"d{number}", YEAR, at_s)


@pytest.mark.parametrize(
    ("agree", "differ", "taken"),
    [(0, 0, False), (0, 1, False), (1, 0, True), (1, 1, True), (1, 2, False), (2, 2, True)],
)
def test_the_future_is_taken_back_when_more_clocks_agree_than_differ(
    agree: int, differ: int, taken: bool
) -> None:
    time = ahead()
    hear(time, agree, differ)
    assert not time.may_take_back(NO_LINKS, at(0))
    assert time.may_take_back(NO_LINKS, at(LONG_S)) is taken


def test_it_waits_longer_while_all_that_agree_may_be_ahead_too() -> None:
    time = ahead()
    hear(time, 1, 0)
    time.may_take_back(NO_LINKS, at(0))
    assert SETTLE_S < DOUBT_S
    assert not time.may_take_back(NO_LINKS, at(SETTLE_S + 0.1))
    assert time.may_take_back(NO_LINKS, at(DOUBT_S + 0.1))


def test_a_clock_from_before_this_program_existed_is_not_believed_whoever_agrees() -> None:
    wall_ms = PLAUSIBLE_MS - 1_000_000
    time = ahead(wall_ms)
    hear(time, 5, 0)
    time.may_take_back(NO_LINKS, at(0, wall_ms))
    assert not time.may_take_back(NO_LINKS, at(LONG_S, wall_ms))


def test_nothing_is_ahead_that_time_itself_brings_within_seconds() -> None:
    time = Timekeeping(MAX_SKEW)
    for ahead_ms, found in ((0, 0), (MAX_SKEW + 4000, 0), (MAX_SKEW + 6000, MAX_SKEW + 6000)):
        time.measure(WALL + ahead_ms, WALL)
        assert time.ahead_ms == found
    time.measure(WALL - YEAR, WALL)
    assert not time.ahead_ms


def test_what_was_heard_before_a_jump_says_nothing_of_the_clock_as_it_is() -> None:
    time = ahead()
    time.look(at(0), 0.0)
    hear(time, 3, 0)
    assert time.look(at(1, WALL - YEAR), 1.0) == -YEAR
    hear(time, 3, 0, at_s=0.5)  # measured before
    time.may_take_back(NO_LINKS, at(1))
    assert not time.may_take_back(NO_LINKS, at(LONG_S))


def test_a_clock_that_runs_a_little_fast_or_was_asleep_has_not_jumped() -> None:
    time = Timekeeping(MAX_SKEW)
    for second in range(100):
        assert time.look(Instant(second / 10, WALL + second * 1010), float(second)) == 0
    assert time.look(Instant(10, WALL + 3_600_000 + 100 * 1010), 3700.0) == 0


def test_a_clock_that_was_not_heard_for_long_does_not_count() -> None:
    time = ahead()
    hear(time, 1, 0)
    time.may_take_back(NO_LINKS, at(0))
    time.hear_links(NO_LINKS, at(HEARD_S + 1))
    assert not time.may_take_back(NO_LINKS, at(HEARD_S + 1))


def test_one_that_differed_and_is_gone_is_no_trouble_for_ever() -> None:
    time = Timekeeping(MAX_SKEW)
    hear(time, 0, 1)
    time.hear_links(NO_LINKS, at(HEARD_S - 1))
    assert time.odd_one
    time.hear_links(NO_LINKS, at(HEARD_S + 1))
    assert not time.odd_one


def test_strangers_that_say_any_id_do_not_pile_up() -> None:
    time = Timekeeping(MAX_SKEW)
    hear(time, 1, 2 * HEARD_MAX)
    assert len(time._heard) == HEARD_MAX
    hear(time, 1, 0, at_s=1.0)
    assert len(time._agree()) == 1, "whom we knew before is heard on"


def test_who_differs_is_named_and_by_how_much() -> None:
    time = Timekeeping(MAX_SKEW)
    assert time.odd_one == ""
    hear(time, 0, 2)
    assert time.odd_one == "the wall clock of this machine is 365d behind that of d0 and d1"
    hear(time, 2, 0)
    assert time.odd_one == "", "as many agree: it is the others that are odd"


def test_an_older_peer_that_refuses_us_without_its_time_differs_too() -> None:
    time = Timekeeping(MAX_SKEW)
    time.hear_first("db1:7960", NodeId(b"x" * 8), at(0))
    assert time.odd_one == "the wall clock of this machine differs too much from that of db1:7960"
    time.hear(b"x", "db1", -YEAR, 0.0)  # the same one, when it dialled us
    assert "ahead of that of db1" in time.odd_one


def test_what_is_the_matter_and_what_it_waits_for_is_said() -> None:
    time = ahead()
    assert "stamped 365d ahead" in time.future
    assert "once a peer is linked whose clock agrees" in time.future
    hear(time, 1, 0)
    time.may_take_back(NO_LINKS, at(0))
    assert "it is being taken back: a0" in time.future
    hear(time, 0, 5)
    assert "once most peers' clocks agree" in time.future
    assert time.trouble == time.future
