from itertools import pairwise
from math import inf

import pytest
from support.scenes import NOW, WALL, Line, a_node, at, node_id

from scuttled.node.node import Node
from scuttled.protocol import codec
from scuttled.protocol.flow_codec import STRAITS_MAX, TYPES_MAX
from scuttled.protocol.flow_control import (
    FRESH_S,
    HOLD_S,
    KNOWN_S,
    LEAST_PER_S,
    FlowControl,
    TypeFlow,
)
from scuttled.protocol.messages import FlowReport, Ping, Pong, Strait
from scuttled.protocol.rate_law import Rates


def strait(per_s: float, *, number: int = 1, at_ms: int = WALL) -> Strait:
    return Strait(node_id(number), at_ms, per_s)


def narrowed(course: TypeFlow, per_s: float, wrote_per_s: float, now_s: float) -> None:
    """A round in which that was written here, and in all, and a strait was told of."""
    course.note(strait(per_s, at_ms=WALL + int(now_s * 1000)), now_s)
    course.turn(wrote_per_s, wrote_per_s, now_s)


# --- straits -------------------------------------------------------------------------------------


def test_without_a_strait_there_is_no_limit_and_nothing_is_told() -> None:
    sharing = FlowControl()
    course = sharing.course("log")
    assert course is not None
    for second in range(100):
        course.turn(1e6, 2e6, second)
    assert course.per_s == inf
    assert not sharing.active
    assert sharing.tell(100) == {}


def test_writers_come_down_to_what_a_strait_lets_through_at_once() -> None:
    course = TypeFlow()
    narrowed(course, 100, 1_000, 1)
    assert course.per_s == pytest.approx(100)


def test_a_node_takes_its_part_of_what_all_are_too_fast_by() -> None:
    course = TypeFlow()
    course.note(strait(100), 1)
    course.turn(250, 1_000, 1)
    assert course.per_s == pytest.approx(25)


def test_there_is_one_cut_until_it_can_be_felt() -> None:
    course = TypeFlow()
    narrowed(course, 100, 1_000, 1)
    narrowed(course, 100, 700, 2)  # measured over some seconds, so it is still high
    assert course.per_s == pytest.approx(100)
    narrowed(course, 50, 100, 1 + HOLD_S)
    assert course.per_s == pytest.approx(50)


def test_who_came_down_too_far_comes_up_to_what_gets_through() -> None:
    course = TypeFlow()
    narrowed(course, 10, 1_000, 1)
    course.held = True
    narrowed(course, 30, 10, 1 + HOLD_S)
    assert course.per_s == pytest.approx(30)


def test_nobody_comes_up_who_does_not_want_to() -> None:
    course = TypeFlow()
    narrowed(course, 10, 1_000, 1)
    narrowed(course, 30, 5, 1 + HOLD_S)
    assert course.per_s == pytest.approx(10)


def test_nobody_is_held_back_for_good() -> None:
    course = TypeFlow()
    narrowed(course, 0, 1_000, 1)
    assert course.per_s == LEAST_PER_S


def test_who_does_not_obey_is_told_the_rate_all_the_same() -> None:
    course = TypeFlow()
    for second in range(1, 30):
        narrowed(course, 100, 1_000, second)
    assert course.per_s == pytest.approx(100)


def test_an_old_strait_is_not_heeded_and_not_taken_for_news() -> None:
    course = TypeFlow()
    course.note(strait(5, at_ms=WALL), 0)
    for second in range(1, int(KNOWN_S)):
        course.note(strait(5, at_ms=WALL), second)  # as it goes round a ring
        assert bool(course.straits(second)) == (second < FRESH_S)
        course.turn(1, 1, second)


def test_what_a_node_says_later_takes_the_place_of_what_it_said_before() -> None:
    course = TypeFlow()
    for per_s, at_ms in ((5, WALL), (9, WALL + 1), (1, WALL - 1)):
        course.note(strait(per_s, at_ms=at_ms), 0)
    assert course.narrowest(1) == strait(9, at_ms=WALL + 1)


def test_of_several_straits_the_narrowest_counts() -> None:
    course = TypeFlow()
    for number, per_s in ((1, 50), (2, 20), (3, 70)):
        course.note(strait(per_s, number=number), 0)
    assert course.narrowest(1) == strait(20, number=2)


def test_what_is_remembered_is_bounded() -> None:
    sharing = FlowControl()
    for number in range(1, 200):
        told = FlowReport(Rates(1, 1), (strait(1, number=number),))
        sharing.hear({"log": told, f"type{number}": told}, number)
    assert len(sharing.courses) == TYPES_MAX
    course = sharing.course("log")
    assert course is not None
    assert len(course._straits) == STRAITS_MAX
    assert sharing.course("another") is None


# --- on a link -----------------------------------------------------------------------------------


def limit(node: Node, allowed: float, wanted: float = 0.0, peers: int = 1) -> None:
    node.sharing.peers = peers
    course = node.sharing.course("log")
    assert course is not None
    course.flow.allowed, course.flow.wanted = allowed, wanted


def allowed(node: Node) -> float:
    return node.sharing.courses["log"].flow.allowed


def linked() -> tuple[Line, Node, Node]:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.settle()
    return line, one, two


def test_a_ping_and_its_pong_exchange_rates() -> None:
    line, one, two = linked()
    limit(one, 100, wanted=10)
    limit(two, 20, wanted=70)
    line.pass_time(0, 2)
    assert (allowed(one), allowed(two)) == (pytest.approx(30), pytest.approx(90))


def test_rates_of_three_in_a_row_keep_their_sum_and_become_equal() -> None:
    one, two, three = (a_node(number) for number in (1, 2, 3))
    lines = [Line(one, two), Line(two, three)]
    for line in lines:
        line.settle()
    for node, rate, peers in zip((one, two, three), (90.0, 0.0, 0.0), (1, 2, 1), strict=True):
        limit(node, rate, wanted=1000, peers=peers)
    for second in range(20):
        for line in lines:
            line.pass_time(second, second + 1)
    rates = [allowed(node) for node in (one, two, three)]
    assert sum(rates) == pytest.approx(90)
    assert rates == [pytest.approx(30, rel=0.05)] * 3


def test_who_meets_many_at_the_same_time_does_not_swing() -> None:
    hub, leaves = a_node(1), [a_node(number) for number in range(2, 10)]
    lines = [Line(hub, leaf) for leaf in leaves]
    for line in lines:
        line.settle()
    limit(hub, 90, wanted=1000, peers=len(leaves))
    for leaf in leaves:
        limit(leaf, 0, wanted=1000)
    for step in range(1, 60 * 20):
        now = at(step / 20)
        for line in lines:  # all tell before any hears
            line.links[0].tick(now)
            line.draw(0, now)
        for line in lines:
            line.settle(now)
        assert allowed(hub) > -1e-6
    rates = [allowed(node) for node in (hub, *leaves)]
    assert sum(rates) == pytest.approx(90)
    assert rates == [pytest.approx(10, rel=0.05)] * 9


def test_news_of_a_strait_travels_over_third_nodes_and_dies_in_a_ring() -> None:
    nodes = [a_node(number) for number in range(1, 5)]
    pairs = [*pairwise(nodes), (nodes[-1], nodes[0])]
    lines = [Line(one, two) for one, two in pairs]
    for line in lines:
        line.settle()
    course = nodes[0].sharing.course("log")
    assert course is not None
    course.note(strait(7), 0.0)
    for second in range(8):
        for line in lines:
            line.pass_time(second, second + 1)
        if second == 3:
            for node in nodes:
                assert node.sharing.courses["log"].narrowest(3.5) == strait(7)
    for second in range(8, 20):
        for line in lines:
            line.pass_time(second, second + 1)
    assert not any(node.sharing.courses["log"].straits(20) for node in nodes)


def pings(line: Line, start_s: int, seconds: int) -> int:
    """How many are said by both ends, while nothing else is."""
    count = 0
    for step in range(seconds * 20):
        now = at(start_s + step / 20)
        for end in (0, 1):
            line.links[end].tick(now)
            line.draw(end, now)
            frames = codec.Frames()
            frames.trust()
            count += sum(isinstance(m, Ping) for m in frames.feed(line.under_way[end]))
            line.deliver(end, now)
    return count


def test_there_is_a_ping_a_second_while_a_rate_is_limited_and_not_one_more_else() -> None:
    line, one, two = linked()
    line.pass_time(0, 100)
    idle = pings(line, 100, 30)
    assert idle <= 21
    limit(one, 10)
    limit(two, 10)
    assert 50 <= pings(line, 130, 30) <= 62


def test_a_peer_that_knows_nothing_of_rates_is_told_nothing() -> None:
    line, one, _two = linked()
    limit(one, 10)
    line.links[0].pulse.sharing = None  # as after a HELLO without the feature
    line.links[0].receive(codec.encode(Ping(1, WALL, b"")), NOW)
    line.draw(0)
    frames = codec.Frames()
    frames.trust()
    said = [m for m in frames.feed(line.under_way[0]) if isinstance(m, Ping | Pong)]
    assert [message.flows for message in said] == [{}]
    assert codec.encode(Pong(1, 2))[4:5] == b"\x93"  # an array of three, as ever


def test_two_nodes_say_that_they_know_of_rates() -> None:
    line, one, two = linked()
    assert [link.pulse.sharing for link in line.links] == [one.sharing, two.sharing]
