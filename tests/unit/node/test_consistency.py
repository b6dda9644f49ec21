import pytest
from support.scenes import NOW, WALL, Line, a_node, default, node_id, save, write

from scuttled.node.consistency import BUCKETS_ASKED_MAX, JOBS_MAX, ROWS_BYTES_MAX, Check, Finding
from scuttled.node.node import Node
from scuttled.protocol import codec
from scuttled.protocol.codec import BUCKETS
from scuttled.protocol.messages import Ask, Tell
from scuttled.replica.fingerprint import bucket_of
from scuttled.replica.slots import Slots


def two_nodes(count: int = 30) -> tuple[Node, Node, Line]:
    one, two = a_node(1), a_node(2)
    for n in range(count):
        write(one, f"k{n}")
    line = Line(one, two)
    line.settle()
    return one, two, line


def settle(line: Line) -> None:
    """Work and talk until both are done."""
    for _ in range(20):
        for node in line.nodes:
            while node.verifier.step():
                pass
        line.settle()


def checked(line: Line) -> Finding:
    """What node 1 finds out about node 2."""
    check = begun(line.nodes[0])
    settle(line)
    assert check.done
    (finding,) = check.findings.values()
    return finding


def begun(node: Node) -> Check:
    return node.verifier.begin([default(node)], WALL)


def damage(node: Node, key: str) -> None:
    """A bit falls over in memory."""
    model = default(node)
    position = model._slots[key.encode()]
    segment = model.log._segment(position)
    at = segment.index(position)
    held = segment.records[at]
    assert held is not None
    segment.records[at] = held[:-1] + bytes((held[-1] ^ 1,))


def test_two_nodes_that_hold_the_same_find_so() -> None:
    _, _, line = two_nodes()
    finding = checked(line)
    assert (finding.state, finding.peer, finding.keys) == ("same", "n2", [])


def test_a_peer_whose_clock_differs_is_behind_and_not_different() -> None:
    one, _, line = two_nodes()
    check = begun(one)
    line.draw(0)
    line.deliver(0)
    line.nodes[1].verifier.step()
    write(one, "meanwhile")
    line.draw(1)
    line.deliver(1)
    while one.verifier.step():
        pass
    (finding,) = check.findings.values()
    assert finding.state == "behind"


def test_keys_that_differ_are_named_and_no_others() -> None:
    _, two, line = two_nodes()
    for key in ("k7", "k3"):
        damage(two, key)
    finding = checked(line)
    assert (finding.state, finding.keys, finding.more) == ("differs", ["k3", "k7"], False)


def test_a_key_that_is_missing_is_named_too() -> None:
    _, two, line = two_nodes()
    model = default(two)
    model.log.forget(model._slots.pop(b"k5"))
    assert checked(line).keys == ["k5"]


def test_of_too_many_keys_that_differ_it_says_that_there_are_more() -> None:
    _, two, line = two_nodes(200)
    for n in range(200):
        damage(two, f"k{n}")
    finding = checked(line)
    assert finding.state == "differs"
    assert finding.more
    assert 0 < len(finding.keys) < 200
    assert len({bucket_of(key.encode()) for key in finding.keys}) == BUCKETS_ASKED_MAX


def test_what_a_peer_has_no_room_to_tell_is_not_taken_for_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scuttled.node.consistency.BUCKETS_ASKED_MAX", BUCKETS)
    monkeypatch.setattr("scuttled.node.consistency.ROWS_BYTES_MAX", 5000)
    _, two, line = two_nodes(2000)
    damage(two, "k0")
    finding = checked(line)
    assert (finding.state, finding.keys) in (("differs", ["k0"]), ("behind", []))
    damaged = [f"k{n}" for n in range(0, 2000, 2)]
    for key in damaged[1:]:
        damage(two, key)
    finding = checked(line)
    assert finding.state == "differs"
    assert finding.more
    assert finding.keys
    assert set(finding.keys) <= set(damaged)


def test_keys_are_named_as_far_as_an_answer_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scuttled.node.consistency.KEYS_BYTES_MAX", 7)
    _, two, line = two_nodes()
    for key in ("k1", "k2", "k3", "k4"):
        damage(two, key)
    finding = checked(line)
    assert (finding.keys, finding.more) == (["k1", "k2", "k3"], True)


def test_a_peer_that_does_not_answer_stays_silent() -> None:
    one, _, line = two_nodes()
    check = begun(one)
    line.settle()
    assert not check.done
    (finding,) = check.findings.values()
    assert finding.state == "silent"
    one.verifier.end(check)
    settle(line)
    assert finding.state == "silent", "nobody waits any more"


def test_nobody_to_ask_is_no_wait() -> None:
    assert begun(a_node(1)).done


def test_what_a_peer_asks_is_bounded() -> None:
    one, _, line = two_nodes()
    for number in range(JOBS_MAX + 50):
        one.verify(line.links[0], Ask(number, "default", WALL, []))
    one.verify(line.links[0], Ask(1, "no such model", WALL, []))
    assert len(one.verifier._jobs) == JOBS_MAX


def test_what_a_peer_tells_over_and_over_is_bounded_too() -> None:
    one, _, line = two_nodes()
    check = begun(one)
    tell = Tell(check.number, "default", bytes(8), [], [0] * BUCKETS, {})
    for _ in range(50):
        one.verify(line.links[0], tell)
    assert len(one.verifier._jobs) == 1
    while one.verifier.step():
        pass
    one.verify(line.links[0], tell)
    assert len(one.verifier._jobs) == 0, "it was answered"


def test_an_answer_that_nobody_asked_for_is_let_pass() -> None:
    one, _, line = two_nodes()
    one.verify(line.links[0], Tell(99, "default", bytes(8), [], [0] * BUCKETS, {}))
    assert not one.verifier.step()


def test_it_is_told_when_there_is_work_and_when_a_check_may_be_over() -> None:
    one, two, line = two_nodes()
    rung: list[str] = []
    two.verifier.subscribe(lambda: rung.append("work"))
    one.subscribe(lambda: rung.append("over"), saved=True)
    checked(line)
    assert rung[0] == "work"
    assert rung[-1] == "over"
    assert isinstance(default(one), Slots)
    assert node_id(2) in one.links
    save(one)
    assert not line.links[0].wants_to_send(NOW)


@pytest.mark.parametrize("size", [1, 30, 4096])
def test_all_that_one_answer_may_tell_fits_in_a_frame(size: int) -> None:
    count = ROWS_BYTES_MAX // (size + 12)
    told = {n.to_bytes(8, "big")[-size:].rjust(size, b"k"): 2**64 - 1 for n in range(count)}
    told |= {b"k" * (size - 1) + bytes((n,)) + b"!" * 12: 2**64 - 1 for n in range(5)}
    assert codec.encode(Tell(1, "m" * 64, bytes(8), list(range(256)), [], told))
