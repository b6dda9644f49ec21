from math import inf
from typing import Any

import pytest
from support.scenes import a_node, at

from scuttled.control.backpressure import Backpressure, Ticket, TokenBucket, cost
from scuttled.errors import TimedOut
from scuttled.node.node import Node

EMIT: dict[str, Any] = {"id": 1, "op": "emit", "name": "n"}
APPEND: dict[str, Any] = {"id": 1, "op": "call", "model": "m", "operation": "append", "args": ["x"]}


def paced(per_s: float = 10, *enforced: str) -> tuple[Backpressure, Node]:
    """Every type of a node is allowed that much."""
    node = a_node(1)
    node.create("m", "log")
    for name in ("log", "events", "map"):
        course = node.sharing.course(name)
        assert course is not None
        course.flow.allowed = per_s
    return Backpressure(node, enforced or ("log", "events")), node


def gate_of(pacing: Backpressure, request: dict[str, Any] = EMIT) -> TokenBucket:
    gate = pacing.gate(request)
    assert gate is not None
    return gate


# --- who has to wait -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "set", "key": "k"},
        {"op": "get", "key": "k"},
        {"op": "status"},
        {**APPEND, "operation": "size"},  # it reads
        {**APPEND, "operation": "nonsense"},
        {**APPEND, "model": "unknown"},
        {**APPEND, "model": ["no", "name"]},
        {},
    ],
)
def test_who_writes_nothing_of_an_enforced_type_passes(request_: dict[str, Any]) -> None:
    pacing, _ = paced()
    assert pacing.gate(request_) is None


@pytest.mark.parametrize(
    ("request_", "enforced"),
    [
        (EMIT, "events"),
        (APPEND, "log"),
        ({"op": "set"}, "map"),
        ({"op": "del", "keys": ["a"]}, "map"),
        ({"op": "load", "pairs": []}, "map"),
    ],
)
def test_who_writes_one_that_is_enforced_has_to_wait_for_its_turn(
    request_: dict[str, Any], enforced: str
) -> None:
    pacing, _ = paced(10, enforced)
    assert pacing.gate(request_) is not None
    assert paced(10, "doc")[0].gate(request_) is None


def test_a_load_that_is_only_tried_passes() -> None:
    assert paced(10, "map")[0].gate({"op": "load", "pairs": [], "dry_run": True}) is None


def test_without_a_limit_nobody_waits() -> None:
    pacing, _ = paced(inf)
    assert pacing.gate(EMIT) is None


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        (EMIT, 1),
        ({"op": "load", "pairs": ["a", 1, "b", 2, "c", 3]}, 3),
        ({"op": "load", "pairs": "nonsense"}, 1),
        ({"op": "del", "keys": ["a", "b"]}, 2),
        ({"op": "del", "keys": []}, 1),
    ],
)
def test_a_request_costs_what_it_writes(request_: dict[str, Any], tokens: int) -> None:
    assert cost(request_) == tokens


# --- the bucket ----------------------------------------------------------------------------------


def passed(gate: TokenBucket, per_second: int, seconds: int, request: dict[str, Any] = EMIT) -> int:
    """How many of so many callers a second have their turn by the end."""
    tickets = [Ticket(gate, request, at(n / per_second)) for n in range(per_second * seconds)]
    return sum(not ticket.wait_s(at(seconds)) for ticket in tickets)


def test_as_many_pass_as_are_allowed() -> None:
    assert 100 <= passed(gate_of(paced(10)[0]), 100, 10) <= 103


def test_who_writes_less_than_is_allowed_never_waits() -> None:
    gate = gate_of(paced(10)[0])
    for second in range(100):
        ticket = Ticket(gate, EMIT, at(second))
        assert ticket.wait_s(at(second)) == 0
        ticket.leave(done=True)


def test_nobody_may_save_up_for_long() -> None:
    gate = gate_of(paced(100)[0])
    Ticket(gate, EMIT, at(0)).leave(done=True)
    tickets = [Ticket(gate, EMIT, at(1000)) for _ in range(200)]
    assert sum(not ticket.wait_s(at(1000)) for ticket in tickets) <= 26


def test_turns_come_in_the_order_of_asking() -> None:
    gate = gate_of(paced(10)[0])
    tickets = [Ticket(gate, EMIT, at(0)) for _ in range(20)]
    for tenth in range(30):
        waits = [bool(ticket.wait_s(at(tenth / 10))) for ticket in tickets]
        assert waits == sorted(waits)


def test_a_large_request_goes_at_its_turn_and_the_next_one_pays() -> None:
    gate = gate_of(paced(10, "map")[0], {"op": "set"})
    large = Ticket(gate, {"op": "del", "keys": ["k"] * 50}, at(0))
    small = Ticket(gate, {"op": "set"}, at(0))
    assert large.wait_s(at(0)) == 0
    assert small.wait_s(at(4.8)) > 0
    assert small.wait_s(at(5.2)) == 0


def test_who_gives_up_takes_nothing() -> None:
    gate = gate_of(paced(10, "map")[0], {"op": "set"})
    Ticket(gate, {"op": "set"}, at(0)).leave(done=True)
    large = Ticket(gate, {"op": "del", "keys": ["k"] * 1_000}, at(0))
    small = Ticket(gate, {"op": "set"}, at(0))
    large.leave(done=False)
    assert small.wait_s(at(0.3)) == 0
    assert gate.waiting == 1


def test_who_is_held_back_goes_when_the_limit_is_lifted_and_when_the_daemon_stops() -> None:
    for lift in (True, False):
        pacing, node = paced(1)
        gate = gate_of(pacing)
        tickets = [Ticket(gate, EMIT, at(0)) for _ in range(100)]
        assert tickets[-1].wait_s(at(0)) > 0
        if lift:
            node.sharing.courses["events"].flow.allowed = inf
        else:
            pacing.unhinge()
        assert tickets[-1].wait_s(at(0)) == 0


def test_a_caller_is_told_before_its_own_time_is_over_that_nothing_was_written() -> None:
    gate = gate_of(paced(1)[0])
    request = {**EMIT, "hold_ms": 2_000}
    for _ in range(50):
        Ticket(gate, EMIT, at(0))
    ticket = Ticket(gate, request, at(0))
    assert 0 < ticket.wait_s(at(1.7)) <= 0.25
    with pytest.raises(TimedOut) as caught:
        ticket.wait_s(at(1.8))
    assert caught.value.message == (
        "not written: held back for 1.8 s, flow control allows 1.0 updates/s here"
    )
    assert caught.value.code == 75


@pytest.mark.parametrize("hold_ms", [None, "5", True, 1.5])
def test_who_does_not_say_how_long_it_waits_waits(hold_ms: object) -> None:
    gate = gate_of(paced(1)[0])
    for _ in range(50):
        Ticket(gate, EMIT, at(0))
    assert Ticket(gate, {**EMIT, "hold_ms": hold_ms}, at(0)).wait_s(at(40)) > 0


def test_who_is_held_back_wants_more() -> None:
    pacing, node = paced(100)
    gate = gate_of(pacing)
    for _ in range(100):
        Ticket(gate, EMIT, at(0)).wait_s(at(0))
    course = node.sharing.courses["events"]
    assert course.held
    course.turn(100, 100, 1)
    assert course.flow.wanted == 200


# --- what is told of it --------------------------------------------------------------------------


def test_status_tells_the_rates_and_why() -> None:
    pacing, node = paced(10)
    node.sharing.courses["map"].flow.allowed = inf
    Ticket(gate_of(pacing), EMIT, at(0))
    rows = {row["type"]: row for row in pacing.facts(at(1))}
    assert rows["map"] == {
        "type": "map",
        "enforced": False,
        "wanted_per_s": 0.0,
        "allowed_per_s": None,
        "total_per_s": 0.0,
        "held": 0,
        "why": "no limit",
    }
    assert (rows["events"]["allowed_per_s"], rows["events"]["held"]) == (10.0, 1)
    assert rows["log"]["why"] == "rising: nothing was too slow for 0 s"
