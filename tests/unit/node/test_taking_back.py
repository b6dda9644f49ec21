"""A node with a future of its own, on a link: what it holds back, and how it comes out of that."""

import pytest
from support.scenes import NOW, SKEW_MS, WALL, Line, a_node, at, default, put, save, values, write

from scuttled.control.write_concern import WriteConcern
from scuttled.errors import TimedOut
from scuttled.node.node import Node
from scuttled.node.timekeeping import SETTLE_S
from scuttled.protocol.messages import Code
from scuttled.replica.update import Instant
from scuttled.simulation.nodes import MemoryDisk

DAY = 86_400_000
AGREED = at(SETTLE_S + 0.1)


def ahead(number: int = 1, *, disk: MemoryDisk | None = None) -> Node:
    """One that wrote when its clock was a day ahead, and whose clock is right now."""
    node = a_node(number, disk=disk)
    write(node, "k", "ahead", WALL + DAY)
    save(node, disk)
    node.tend(NOW)
    assert node.holds_back
    return node


def tend(line: Line, *nows: Instant) -> None:
    for now in nows:
        for node in line.nodes:
            node.tend(now)
        line.settle(now)


def test_a_node_that_is_ahead_begins_no_session_and_goes_on_writing() -> None:
    one, two = ahead(), a_node(2)
    line = Line(one, two)
    line.settle()
    assert line.up
    assert not any(session.open for link in line.links for session in link.sessions.values())
    write(one, "k", "later")
    assert values(default(one)) == {"k": "later"}
    assert values(default(two)) == {}


def test_it_takes_its_future_back_when_a_peer_agrees_and_all_comes_over() -> None:
    one, two = ahead(), a_node(2)
    line = Line(one, two)
    line.settle()
    tend(line, NOW, AGREED)
    assert not one.holds_back
    assert [report.issued for report in one.replaced.taken_back] == [["k"]]
    end = line.links[0].ended
    assert end is not None
    assert end.code == Code.AFRESH
    line = Line(one, two)
    line.settle(AGREED)
    assert values(default(two)) == {"k": "ahead"}
    assert default(one).clock == default(two).clock


def test_a_peers_clock_that_was_held_back_is_followed_by_what_it_asked_for() -> None:
    """Time itself may be what ends it."""
    one, two = a_node(1), a_node(2)
    write(one, "k", "x", WALL + SKEW_MS + 6000)
    one.tend(NOW)
    line = Line(one, two)
    line.settle()
    one.tend(at(8))
    line.settle(at(8))
    assert values(default(two)) == {"k": "x"}


@pytest.mark.parametrize("off_ms", [-DAY, DAY])
def test_not_while_the_peers_clock_differs(off_ms: int) -> None:
    """It was right when the link came up."""
    one, two = ahead(), a_node(2)
    line = Line(one, two)
    line.settle()
    line.links[0].pulse.skew_ms, line.links[0].pulse.measured_s = off_ms, 0.0
    tend(line, NOW, AGREED)
    assert not one.replaced.taken_back


def test_what_is_taken_back_is_on_disk_as_a_whole_or_not_at_all() -> None:
    """Killed before: it is ahead again. Killed after: it is not, and its hlc neither (I5)."""
    disk = MemoryDisk(a_node(1).author.node_id)
    one = ahead(disk=disk)
    line = Line(one, a_node(2))
    for end in (0, 1, 0, 1):
        line.draw(end)
        line.deliver(end)
    one.tend(NOW)
    one.tend(AGREED)
    assert one.replaced.taken_back
    assert default(one).saved.replaced
    assert a_node(1, disk=disk).holds_back
    save(one, disk)
    again = a_node(1, disk=disk)
    assert not again.holds_back
    assert again.author.life == 2
    assert disk.last < (WALL + SKEW_MS) * 4096
    assert values(default(again)) == {"k": "ahead"}


def test_a_save_that_was_under_way_does_not_bring_the_old_hlc_back() -> None:
    disk = MemoryDisk(a_node(1).author.node_id)
    one = ahead(disk=disk)
    line = Line(one, a_node(2))
    for end in (0, 1, 0, 1):
        line.draw(end)
        line.deliver(end)
    one.tend(NOW)
    write(one, "more")
    batch = one.durability.unsaved(clocks=True)
    assert batch is not None
    one.tend(AGREED)
    disk.write(batch)
    one.saved(batch)
    save(one, disk)
    assert disk.last < (WALL + SKEW_MS) * 4096
    assert values(default(a_node(1, disk=disk))).keys() == {"k", "more"}


def test_who_waits_for_others_is_told_why_it_is_in_vain() -> None:
    one = ahead()
    holders = WriteConcern(one, default(one), "all")
    assert not holders.enough(WALL)
    late = holders.too_late(WALL)
    assert isinstance(late, TimedOut)
    assert "can't go on to the rest yet: what is written here is stamped 1d ahead" in late.message
    assert "timedatectl" in late.hint


def test_who_waits_through_it_waits_for_what_was_issued_anew() -> None:
    one, two = ahead(), a_node(2)
    line = Line(one, two)
    line.settle()
    holders = WriteConcern(one, default(one), "all")
    tend(line, NOW, AGREED)
    line = Line(one, two)
    assert not values(default(two))
    line.settle(AGREED)
    tend(line, at(SETTLE_S + 2))
    line.settle(at(SETTLE_S + 2))
    assert holders.enough(WALL)
    assert values(default(two)) == {"k": "ahead"}


def test_both_ends_of_a_refusal_for_the_clock_see_by_how_much() -> None:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.draw(0)
    line.deliver(0, Instant(0.0, WALL + DAY))
    line.draw(1, Instant(0.0, WALL + DAY))
    line.deliver(1)
    assert "1d behind that of n2" in one.time.odd_one
    assert "1d ahead of that of n1" in two.time.odd_one
    for link in line.links:
        assert link.ended is not None
        assert link.ended.code == Code.SKEW


def test_a_jump_has_own_leases_issued_anew_before_they_expire() -> None:
    node = a_node(1)
    node.look_at_clock(NOW, 0.0)
    default(node).put("k", 1, b"x", WALL, ttl_ms=60_000)
    put(default(node), "stays", "x")
    later = Instant(1.0, WALL + DAY)
    node.look_at_clock(later, 1.0)
    node.expire(later.wall_ms)
    assert values(default(node), later.wall_ms).keys() == {"k", "stays"}
