"""A link that carries less than is written, byte by byte; what comes of it on both ends."""

from collections.abc import Callable
from math import inf

import pytest
from support.scenes import Line, a_node, at

from scuttled.models.log import Log
from scuttled.node.node import Node
from scuttled.node.throughput import JUDGED_S, ThroughputMeter
from scuttled.protocol.flow_control import LEAST_PER_S
from scuttled.replica.update import Instant

STEP_S = 0.05
ENTRY = "x" * 100
ENTRY_BYTES = 140  # on the wire, about


class Stretch:
    """A chain of nodes, some of whose links pass only so many bytes a second."""

    def __init__(self, *bytes_per_s: float) -> None:
        self.nodes = [a_node(number + 1) for number in range(len(bytes_per_s) + 1)]
        self.measures = [ThroughputMeter(node) for node in self.nodes]
        self.bytes_per_s = list(bytes_per_s)
        self.credit = [0.0] * len(bytes_per_s)
        self.now_s = 0.0
        self.tokens = 1.0
        self.written = 0
        self.lines = [Line(one, two) for one, two in zip(self.nodes, self.nodes[1:], strict=False)]
        for node in self.nodes:
            node.create("m", "log")
        for line in self.lines:
            line.settle()
        for measure in self.measures:
            measure.turn(at(0))

    def log(self, number: int = 0) -> Log:
        model = self.nodes[number].models["m"]
        assert isinstance(model, Log)
        return model

    def run(self, seconds: float, write: Callable[["Stretch"], None]) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            write(self)
            for number, line in enumerate(self.lines):
                self.talk(number, line, at(self.now_s))
            for measure in self.measures:
                measure.turn(at(self.now_s))

    def talk(self, number: int, line: Line, now: Instant) -> None:
        for link in line.links:
            link.tick(now)
        most = self.bytes_per_s[number] * STEP_S
        self.credit[number] = min(self.credit[number] + most, max(most, 1.0))
        for end in (0, 1):
            if end == 1 or len(line.under_way[0]) < 16_384:  # what the stream takes
                if line.links[end].wants_to_send(now):
                    line.under_way[end] += line.links[end].draw(now)
            passes = int(self.credit[number]) if end == 0 and most < inf else 1 << 30
            passes = min(passes, len(line.under_way[end]))
            line.deliver(end, now, most=passes)
            if end == 0 and most < inf:
                self.credit[number] -= passes

    def append(self, count: int) -> None:
        for _ in range(count):
            self.log().append(ENTRY)
        self.written += count
        self.nodes[0].accepted(self.log())

    def course(self, number: int = 0):  # type: ignore[no-untyped-def]
        return self.nodes[number].sharing.courses["log"]


def at_rate(per_s: float) -> Callable[[Stretch], None]:
    """A writer that heeds nothing."""

    def write(stretch: Stretch) -> None:
        stretch.tokens += per_s * STEP_S
        stretch.append(int(stretch.tokens))
        stretch.tokens -= int(stretch.tokens)

    return write


def obeying(per_s: float) -> Callable[[Stretch], None]:
    """A writer that wants so much, and is held back."""

    def write(stretch: Stretch) -> None:
        course = stretch.course()
        course.held = course.per_s < per_s
        at_rate(min(per_s, course.per_s))(stretch)

    return write


def test_what_gets_through_is_no_strait() -> None:
    stretch = Stretch(1e9)
    stretch.run(20, at_rate(1_000))
    assert stretch.course().flow.limited is False
    assert stretch.course().total_per_s == pytest.approx(1_000, rel=0.1)
    assert stretch.course().flow.wanted == pytest.approx(1_000, rel=0.1)
    assert stretch.course(1).flow.wanted == 0


def test_a_narrow_link_is_found_and_its_writers_come_down_to_it() -> None:
    capacity_per_s = 100
    stretch = Stretch(capacity_per_s * ENTRY_BYTES)
    stretch.run(60, obeying(1_000))
    before = stretch.written
    assert before - stretch.log(1).log.live < 10 * capacity_per_s
    stretch.run(60, obeying(1_000))
    per_s = (stretch.written - before) / 60
    assert 0.4 * capacity_per_s < per_s < 1.1 * capacity_per_s
    assert stretch.written - stretch.log(1).log.live < 10 * capacity_per_s


def test_pressure_far_away_slows_the_writer_and_not_for_ever() -> None:
    stretch = Stretch(1e9, 100 * ENTRY_BYTES)
    stretch.run(30, obeying(1_000))
    assert stretch.course(0).flow.limited
    assert stretch.course(0).per_s < 200
    assert stretch.measures[1].behind("log")
    assert not stretch.measures[0].behind("log")
    stretch.bytes_per_s[1] = 1e9
    stretch.run(90, obeying(1_000))
    assert not stretch.course(0).flow.limited
    assert stretch.log(2).log.live == pytest.approx(stretch.written, abs=100)


def test_a_peer_that_makes_no_progress_slows_nobody() -> None:
    stretch = Stretch(1e9)
    stretch.run(3, at_rate(1_000))
    stretch.bytes_per_s[0] = 0  # its process is stopped
    stretch.run(9, at_rate(1_000))
    assert not stretch.course().flow.limited
    assert stretch.lines[0].links[0].sessions["m"].behind
    stretch.bytes_per_s[0] = 1e9  # and goes on
    stretch.run(5, at_rate(1_000))
    assert not stretch.course().flow.limited
    assert stretch.log(1).log.live == pytest.approx(stretch.written, abs=100)


def test_a_peer_that_has_to_catch_up_slows_nobody_who_is_slower_than_half_its_link() -> None:
    stretch = Stretch(100 * ENTRY_BYTES)
    stretch.append(5_000)
    stretch.run(40, at_rate(20))
    assert stretch.lines[0].links[0].sessions["m"].behind
    assert not stretch.course().flow.limited


def test_models_of_the_system_are_not_counted() -> None:
    stretch = Stretch(1e9)
    stretch.run(5, at_rate(0))
    assert set(stretch.nodes[0].sharing.courses) <= {"log", "map"}
    assert stretch.course().total_per_s == 0


def test_a_limit_leaves_a_trickle_for_everybody() -> None:
    stretch = Stretch(ENTRY_BYTES / 2)
    stretch.run(60, obeying(1_000))
    assert stretch.course().per_s >= LEAST_PER_S


def test_what_happened_before_the_first_turn_is_no_rate() -> None:
    node: Node = a_node(1)
    node.create("m", "log")
    model = node.models["m"]
    assert isinstance(model, Log)
    for _ in range(1_000):
        model.append("x")
    measure = ThroughputMeter(node)
    for second in range(5):
        measure.turn(at(second))
    assert node.sharing.courses["log"].total_per_s == 0


def test_a_link_is_not_judged_by_a_time_in_which_its_peer_was_away() -> None:
    assert JUDGED_S <= 10  # by then a link is over anyway: SILENCE_S
