import json

import pytest
from support.scenes import (
    NOW,
    TICKS,
    WALL,
    Line,
    a_map,
    a_node,
    at,
    default,
    node_id,
    put,
    save,
    source,
    state,
    values,
    write,
)

from scuttled.models.map import Map
from scuttled.node.membership import (
    COLLECT_AGE_MS,
    FRESH_MS,
    MEMBERS,
    MEMORY_SILENT_MS,
    REFRESH_MS,
    ROW_S,
    Membership,
    NodeSettings,
)
from scuttled.node.node import DEFAULT_MODEL, Node
from scuttled.protocol import codec
from scuttled.protocol.messages import ClockMessage, Code
from scuttled.replica.change import BYTES, DELETED, JSON, make_change
from scuttled.replica.hlc import Author
from scuttled.replica.update import NodeId, Stamp, Update, stamp
from scuttled.replica.version_vector import Clock
from scuttled.simulation.nodes import MemoryDisk
from scuttled.version import __version__

EVER = Stamp(stamp(2**62))
LATE = WALL + COLLECT_AGE_MS  # when what was deleted at WALL may be forgotten
ME = NodeSettings("me", "test", bytes(8))


def some_members(*, stored: bool = False) -> Membership:
    model = Map(MEMBERS, Author(node_id(1)))
    model.log.stored = stored
    return Membership(model, model.author, ME)


def packed(*times: tuple[int, int]) -> bytes:
    return b"".join(source(number) + stamp(time) for number, time in times)


def told(
    members: Membership, key: str, payload: bytes = b"{}", *, by: int = 2, time: int = TICKS,
    kind: int | None = None, life: int = 1,
) -> None:  # fmt: skip
    """A row comes from a peer."""
    number = (BYTES if "/" in key else JSON) if kind is None else kind
    change = make_change(key.encode(), number, payload)
    members.model.receive([(source(by, life), [stamp(time) + change])], EVER)
    members.read()


def hers(number: int = 2) -> str:
    return node_id(number).hex()


# --- whose word counts ---------------------------------------------------------------------------


def test_a_node_is_known_by_its_rows() -> None:
    members = some_members()
    row = {"name": "n2", "address": "there:1", "version": "0.9", "life": 3}
    told(members, hers(), json.dumps(row).encode())
    told(members, f"{hers()}/default", packed((2, 9), (5, 7)), time=TICKS + 1)
    member = members.known[node_id(2)]
    assert (member.name, member.address, member.version, member.life) == ("n2", "there:1", "0.9", 3)
    assert member.seen_ms == WALL
    assert member.clocks == {"default": {source(2): 9, source(5): 7}}
    assert member.covers("default", source(5), 7)
    assert not member.covers("default", source(5), 8)
    assert not member.covers("other", source(5), 1)
    assert members.count(WALL) == 2


def test_rows_are_only_believed_from_their_own_node() -> None:
    members = some_members()
    told(members, hers(), b'{"name": "forged"}', by=3)
    told(members, f"{hers()}/default", packed((1, 99)), by=3)
    assert members.known == {}
    assert members.names == {}
    told(members, hers(), b'{"name": "n2"}', time=TICKS + 1, life=7)
    assert members.names == {node_id(2): "n2"}, "in whichever life"


def test_a_deletion_is_believed_from_anybody_and_the_name_survives_it() -> None:
    members = some_members()
    told(members, hers(), b'{"name": "n2"}')
    told(members, f"{hers()}/default", packed((2, 9)))
    told(members, hers(), by=3, time=TICKS + 9, kind=DELETED)
    assert list(members.others(WALL)) == []
    assert members.names[node_id(2)] == "n2"


def test_a_member_whose_clock_was_deleted_covers_nothing() -> None:
    members = some_members()
    told(members, hers())
    told(members, f"{hers()}/default", packed((2, 9)))
    told(members, f"{hers()}/default", by=3, time=TICKS + 9, kind=DELETED)
    assert members.known[node_id(2)].clocks == {"default": {}}
    assert members.count(WALL) == 2


@pytest.mark.parametrize(
    "payload",
    [b"", b"x", b"\xff" * 19, b"\x00" * 20, b"\xff" * 20, packed((2, 9)) + b"tail", b"{}" * 999],
)
def test_no_clock_in_a_row_does_harm(payload: bytes) -> None:
    members = some_members()
    told(members, hers())
    told(members, f"{hers()}/default", payload)
    clock = members.known[node_id(2)].clocks["default"]
    assert len(clock) <= len(payload) // 20
    stable = members.stability(a_map(1), (), WALL)
    assert stable is not None
    assert not stable(source(4), 1)


@pytest.mark.parametrize(
    "payload",
    [
        *[b"", b"[]", b"5", b"\xff", b"[" * 99_999, b'{"name": 5, "life": "x"}'],
        *[b'{"life": %b}' % odd for odd in (b"1e999", b"true", b"-1", b"4294967296", b"1.0")],
    ],
)
def test_no_facts_in_a_row_do_harm(payload: bytes) -> None:
    members = some_members()
    told(members, hers(), payload)
    assert (members.known[node_id(2)].name, members.known[node_id(2)].life) == ("", 0)
    assert members.count(WALL) == 2


def test_a_name_in_a_row_commands_no_terminal() -> None:
    members = some_members()
    facts = {"name": "web1\x1b[2J\n\u202e", "address": "a\u2028", "version": "\ud800"}
    told(members, hers(), json.dumps(facts).encode())
    known = members.known[node_id(2)]
    assert known.name == "web1\\x1b[2J\\x0a\\u202e"
    assert (known.address, known.version) == ("a\\u2028", "\\ud800")


@pytest.mark.parametrize(
    "key", ["x", "/", "02", "02" * 9, "zz" * 8, "/default", "ü", " " * 16, "02 " * 8, "AB" * 8]
)
def test_keys_that_name_no_node_are_let_pass(key: str) -> None:
    members = some_members()
    told(members, key)
    assert members.known == {}


def test_a_member_that_was_silent_for_long_does_not_count() -> None:
    members = some_members()
    members.settings = ME._replace(forget_after_ms=1000)
    told(members, hers())
    assert [member.node_id for member in members.others(WALL + 999)] == [node_id(2)]
    assert members.count(WALL + 1000) == 1
    told(members, f"{hers()}/default", packed((2, 9)), time=TICKS + 500 * 4096)
    assert members.count(WALL + 1000) == 2, "any row is a sign of life"


def test_nobody_is_silent_for_a_leap_of_our_own_clock() -> None:
    """Nor for the time that this node itself was away: only for what it could hear."""
    members, week_ms = some_members(), ME.forget_after_ms
    told(members, hers())
    members.leap(10 * week_ms)
    assert members.count(WALL + 10 * week_ms) == 2
    assert members.count(WALL + 11 * week_ms) == 1
    members.leap(-10 * week_ms)
    assert members.count(WALL + week_ms) == 1
    members.begin(WALL, WALL + 2 * week_ms)
    assert members.count(WALL + 2 * week_ms) == 2


def _facts(name: str = "", *, memory: bool = False, address: str = "") -> bytes:
    facts = {"name": name, "address": address, "version": "", "life": 1}
    return json.dumps({**facts, **({"memory": True} if memory else {})}).encode()


def test_a_node_without_disk_that_was_killed_soon_does_not_count_and_its_rows_go() -> None:
    """Each of its starts is another member: what it held is gone, and nobody is to wait for it."""
    members = some_members()
    told(members, hers(2), _facts("job", memory=True))
    told(members, hers(3), _facts("db"), by=3)
    late = WALL + MEMORY_SILENT_MS + ME.max_skew_ms
    assert len(list(members.others(late - 1))) == 2
    assert not members.forget_ghosts(late - 1)
    assert [member.name for member in members.others(late)] == ["db"]
    assert members.forget_ghosts(late)
    members.read()
    assert [member.name for member in members.known.values()] == ["db"]
    assert not members.forget_ghosts(late), "once is enough"


def test_a_node_without_disk_says_so_in_its_row_and_one_with_a_disk_does_not() -> None:
    rows = {}
    for stored in (False, True):
        node = Node(Author(node_id(1)), ME, stored=stored)
        node.begin((), WALL)
        found = node.members.model.find(node_id(1).hex(), WALL)
        assert found is not None
        rows[stored] = json.loads(found.payload)
    assert (rows[False].get("memory"), rows[True].get("memory")) == (True, None)


def test_a_name_that_two_members_bear_is_known_while_both_are_there() -> None:
    members = some_members()
    assert members.namesakes(WALL) == set()
    told(members, hers(2), _facts("web", address="a:1"))
    assert members.namesakes(WALL) == set()
    told(members, hers(3), _facts("web", address="b:1"), by=3)
    told(members, hers(4), _facts("me", address="c:1"), by=4)
    assert members.namesakes(WALL) == {"web", "me"}
    assert members.namesakes(WALL + FRESH_MS) == set()


def test_a_node_without_disk_that_was_started_again_is_no_second_one() -> None:
    members = some_members()
    told(members, hers(2), _facts("job", memory=True, address="a:1"))
    told(members, hers(3), _facts("job", memory=True, address="a:1"), by=3)
    assert members.namesakes(WALL) == set()


def test_two_members_of_one_name_are_warned_of_once() -> None:
    node = a_node(1)
    twin = _facts(node.settings.name, address="b:1")
    told(node.members, hers(2), twin)
    for second in range(3):
        node.tend(at(second * 2))
    assert [w for w in node.notices.warnings if "more than one member" in w] == [
        f"more than one member is named {node.settings.name} (hint: scuttled members)"
    ]


def test_rows_are_rarer_in_a_large_cluster() -> None:
    members = some_members()
    assert members.interval_s(WALL) == ROW_S
    for number in range(2, 82):
        told(members, hers(number), by=number)
    assert members.interval_s(WALL) == pytest.approx(ROW_S * 81 / 40)


# --- our own rows --------------------------------------------------------------------------------


def rows(members: Membership) -> dict[str, bytes]:
    found = {key: members.model.find(key, WALL) for key in (hers(1), f"{hers(1)}/default")}
    return {key: row.payload for key, row in found.items() if row is not None}


def test_a_row_is_written_often_enough_for_its_node_to_go_on_counting() -> None:
    model = Map(MEMBERS, Author(node_id(1)))
    members = Membership(model, model.author, ME._replace(forget_after_ms=3000))
    members.announce([], WALL)
    assert not members.announce([], WALL + 999)
    assert members.announce([], WALL + 1000)


def test_a_row_is_written_anew_after_a_minute_and_not_before() -> None:
    members = some_members()
    assert members.announce([], WALL)
    assert json.loads(rows(members)[hers(1)]) == {
        "name": "me",
        "address": "",
        "version": __version__,
        "life": 1,
    }
    assert not members.announce([], WALL + REFRESH_MS - 1)
    assert members.announce([], WALL + REFRESH_MS)
    assert not members.announce([], WALL + REFRESH_MS + 1)


def test_a_row_is_written_anew_when_a_fact_changes() -> None:
    members = some_members()
    members.announce([], WALL)
    members.settings = ME._replace(address="new:1")
    assert members.announce([], WALL + 1)


def test_the_clock_of_a_model_is_told_when_it_moves_and_not_otherwise() -> None:
    members, model = some_members(), a_map(1)
    members.announce([model], WALL)
    assert f"{hers(1)}/default" not in rows(members), "nothing to tell yet"
    first = put(model, "k")
    assert members.announce([model], WALL + 1)
    assert rows(members)[f"{hers(1)}/default"] == packed((1, first.timestamp))
    assert not members.announce([model], WALL + 2 * 1000)
    model.commit([(source(5), 7)])
    assert members.announce([model], WALL + 3)
    assert rows(members)[f"{hers(1)}/default"] == packed((1, first.timestamp), (5, 7))


def test_a_row_speaks_of_what_is_on_disk() -> None:
    node = a_node(1, stored=True)
    save(node)
    update = write(node, "k")
    node.tend(at(1))
    key = f"{hers(1)}/default"
    assert node.members.model.find(key, WALL) is None
    save(node)
    node.tend(at(2))
    row = node.members.model.find(key, WALL)
    assert row is not None
    assert row.payload == packed((1, update.timestamp))


def test_rows_do_not_tell_how_far_members_themselves_have_come() -> None:
    node = a_node(1)
    for second in range(1, 5):
        node.tend(at(second))
    assert node.members.model.log.end == 1, "or each row would be a reason for another"


def test_a_new_life_writes_all_rows_anew() -> None:
    members, model = some_members(), a_map(1)
    put(model, "k")
    members.announce([model], WALL)
    members.author.live_as(2)
    assert members.announce([model], WALL + 1)
    row = members.model.find(hers(1), WALL)
    assert row is not None
    assert (row.source, json.loads(row.payload)["life"]) == (source(1, 2), 2)


def test_the_rows_of_an_earlier_life_are_written_anew_though_the_clock_stands() -> None:
    """The clock may have gone back since (a RESET, a restored disk): the row may claim too much."""
    disk = MemoryDisk(node_id(1))
    node = a_node(1, disk=disk)
    write(node, "k")
    save(node, disk)
    node.tend(at(1))
    save(node, disk)
    disk.life = 2
    again = a_node(1, disk=disk)
    row = again.members.model.find(f"{hers(1)}/default", WALL)
    assert row is not None
    assert row.source == source(1, 2)


def test_who_was_forgotten_tells_of_itself_again_at_once_and_says_so() -> None:
    one, two = a_node(1), a_node(2)
    write(one, "k")
    line = Line(one, two)
    line.settle()
    one.tend(at(1))
    line.settle()
    line.hang_up()
    two.members.forget(node_id(1), WALL)
    two.accepted(two.members.model)
    assert two.members.count(WALL) == 1
    called: list[str] = []
    one.subscribe_tending(lambda: called.append("tend"))
    line = Line(one, two)
    line.settle()
    assert called
    one.tend(at(1.001))
    line.settle()
    assert [notice for notice in one.notices.warnings if "was forgotten by the others" in notice]
    assert two.members.count(WALL) == 2
    covers = two.members.known[node_id(1)].clocks[DEFAULT_MODEL]
    assert covers == default(one).clock.copy_times()
    one.notices.clear()
    one.tend(at(2))
    assert not one.notices


def test_a_clock_of_which_the_forgetter_did_not_know_is_told_again_too() -> None:
    """Else it is lost with the member: nobody could forget a deletion until the clock moves."""
    members, model = some_members(), a_map(1)
    put(model, "k")
    members.announce([model], WALL)
    members.read()
    told(members, hers(1), by=2, time=TICKS * 2, kind=DELETED)
    assert members.forgot_me
    assert members.announce([model], WALL + 1)
    assert not members.forgot_me
    other = some_members()
    other.author = Author(node_id(9))
    everything = sorted(members.model.history(Clock()), key=lambda update: update.timestamp)
    other.model.receive([(u.source, [u.record]) for u in everything], EVER)
    other.read()
    assert other.known[node_id(1)].clocks == {"default": model.clock.copy_times()}
    first = members.model.lookup(f"{hers(1)}/default".encode())
    assert first is not None
    assert first.timestamp > TICKS * 2


def test_to_forget_deletes_all_rows_of_a_member_and_of_no_other() -> None:
    members = some_members()
    for number in (2, 3):
        told(members, hers(number), by=number)
        told(members, f"{hers(number)}/default", packed((number, 9)), by=number)
        told(members, f"{hers(number)}/other", packed((number, 9)), by=number)
    members.forget(node_id(2), WALL + 1)
    members.read()
    assert [member.node_id for member in members.others(WALL)] == [node_id(3)]
    assert members.model.count == 3
    members.forget(NodeId(bytes(8)), WALL + 1)


# --- what is stable ------------------------------------------------------------------------------


def a_grave(node: Node, key: str = "gone") -> Update:
    write(node, key)
    update = default(node).discard(key, WALL)
    assert update is not None
    node.accepted(default(node))
    return update


def graves(*nodes: Node) -> list[int]:
    return [default(node).grave_count for node in nodes]


def tend(*lines: Line, since_s: float = 100.0) -> None:
    """All talk and tend for some seconds, long after COLLECT_AGE_MS."""
    for step in range(8):
        now = at(since_s + step * 1.01)
        for line in lines:
            for link in line.links:
                link.heard_at = now
            line.settle(now)
        for line in lines:
            for node in line.nodes:
                node.tend(now)


def test_a_deletion_is_forgotten_by_all_once_all_have_it_and_raises_the_floor() -> None:
    one, two = a_node(1, stored=True), a_node(2, stored=True)
    grave = a_grave(one)
    line = Line(one, two)
    line.settle()
    for node in line.nodes:
        node.tend(at(COLLECT_AGE_MS / 1000 - 2))
    assert graves(one, two) == [1, 1], "not yet, so that watchers may be behind"
    tend(line)
    assert graves(one, two) == [0, 0]
    for node in (one, two):
        assert default(node).floor.copy_times() == {grave.source: grave.timestamp}
        assert default(node).lookup(b"gone") is None
    assert state(default(one)) == state(default(two))
    assert line.up


def test_our_own_clock_must_cover_it_on_disk() -> None:
    """One in memory that is ahead does not count."""
    model = a_map(1, stored=True)
    members = some_members()
    grave = put(model, "k")
    stable = members.stability(model, (), LATE)
    assert stable is not None
    assert model.clock.covers(grave.source, grave.timestamp)
    assert not stable(grave.source, grave.timestamp)
    model.saved.clock.merge(model.clock.items())
    stable = members.stability(model, (), LATE)
    assert stable is not None
    assert stable(grave.source, grave.timestamp)
    assert not stable(grave.source, grave.timestamp + 1)


def test_it_is_saved_clocks_that_a_node_collects_by() -> None:
    node = a_node(1, stored=True)
    a_grave(node)
    batch = node.durability.unsaved(clocks=False)
    assert batch is not None
    node.saved(batch)
    node.tend(at(100))
    assert graves(node) == [1]
    save(node)
    node.tend(at(102))
    assert graves(node) == [0]


def test_the_row_of_every_member_that_counts_must_cover_it() -> None:
    node = a_node(1)
    grave = a_grave(node)
    members = node.members
    for number in (2, 3):
        told(members, hers(number), by=number, time=LATE * 4096)
    told(members, f"{hers(2)}/default", packed((1, grave.timestamp)))
    told(members, f"{hers(3)}/default", packed((1, grave.timestamp - 1)), by=3)
    slot = default(node).lookup(b"gone")
    assert slot is not None
    assert [m.node_id for m in members.holding_up(default(node), slot, LATE)] == [node_id(3)]
    node.tend(at(100))
    assert graves(node) == [1]
    told(members, f"{hers(3)}/default", packed((1, grave.timestamp)), by=3, time=TICKS + 1)
    assert members.holding_up(default(node), slot, LATE) == []
    node.tend(at(102))
    assert graves(node) == [0]


@pytest.mark.parametrize("how", ["forgotten", "silent"])
def test_who_no_longer_counts_holds_nothing_up(how: str) -> None:
    node = a_node(1)
    a_grave(node)
    told(node.members, hers(2), time=TICKS)
    node.members.settings = node.members.settings._replace(forget_after_ms=1 << 60)
    node.tend(at(100))
    assert graves(node) == [1]
    if how == "forgotten":
        node.members.forget(node_id(2), WALL)
        node.accepted(node.members.model)
    else:
        node.members.settings = node.members.settings._replace(forget_after_ms=90_000)
    node.tend(at(102))
    assert graves(node) == [0]


def test_a_linked_peer_must_have_confirmed_it_on_that_very_link() -> None:
    """Though its row says so already, and though it was sent there."""
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.settle()
    grave = a_grave(one)
    line.draw(0)
    told(one.members, f"{hers(2)}/default", packed((1, grave.timestamp)), time=TICKS + (1 << 24))
    session = line.links[0].sessions[DEFAULT_MODEL]
    assert session.theirs[grave.source] >= stamp(grave.timestamp), "sent, with a commit"
    one.tend(at(100))
    assert graves(one) == [1]
    line.deliver(0)
    line.links[1].tick(NOW)
    line.draw(1, at(0.1))
    line.deliver(1, at(0.1))
    assert session.confirmed[grave.source] == grave.timestamp
    one.tend(at(102))
    assert graves(one) == [0]


@pytest.mark.parametrize("how", ["clock", "commit", "have"])
def test_confirmed_is_what_the_peer_said_itself(how: str) -> None:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    if how == "clock":
        default(two).commit([(source(9), 5)])
    line.settle()
    if how == "commit":
        default(two).commit([(source(9), 5)])
        two.accepted(default(two))
        line.draw(1)
        line.deliver(1)
    elif how == "have":
        default(one).commit([(source(9), 5)])
        one.accepted(default(one))
        line.draw(0)
        assert source(9) not in line.links[0].sessions[DEFAULT_MODEL].confirmed
        line.deliver(0)
        line.draw(1, at(0.1))
        line.deliver(1, at(0.1))
    assert line.links[0].sessions[DEFAULT_MODEL].confirmed[source(9)] == 5


def test_what_is_under_way_on_a_link_can_not_bring_back_what_was_collected() -> None:
    """E's row comes to A through C, while an older update of E is under way on the link E-A.

    C deleted the key, having seen E's update; E has the deletion and says so in its row. A has
    the deletion and both rows by C. Were A to collect now, the late update would be new to it.
    """
    a, c, e = a_node(1), a_node(3), a_node(5)
    ac, ce, ea = Line(a, c), Line(c, e), Line(e, a)
    for line in (ac, ce, ea):
        line.settle()
    late = write(e, "k", "old")
    ea.draw(0)  # and not delivered
    ce.settle()
    grave = default(c).discard("k", WALL)
    assert grave is not None
    c.accepted(default(c))
    for now in (at(0.1), at(0.2)):  # E has it on "disk", and tells so in its row
        ce.settle(now)
    e.tend(at(1))
    c.tend(at(1))
    ce.settle(at(1.1))
    for now in (at(1.2), at(1.3)):
        ac.settle(now)
    a.tend(at(2))
    ac.settle(at(2.1))
    rows = a.members.known[node_id(5)].clocks[DEFAULT_MODEL]
    assert rows[grave.source] >= grave.timestamp
    assert default(a).clock.covers(late.source, late.timestamp)
    assert a.members.known[node_id(3)].covers(DEFAULT_MODEL, grave.source, grave.timestamp)
    a.tend(at(100))
    assert graves(a) == [1], "E has not said so on its own link"
    ea.deliver(0, at(2.2))
    assert values(default(a)) == {}, "dominated"
    assert graves(a) == [1]
    for now in (at(2.3), at(2.4)):
        ea.settle(now)
    a.tend(at(102))
    assert graves(a) == [0]
    assert values(default(a)) == {}


def test_nothing_is_collected_while_a_session_is_half_open() -> None:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.draw(0)
    line.deliver(0)
    line.draw(1)
    line.deliver(1)
    line.draw(0)
    session = line.links[0].sessions[DEFAULT_MODEL]
    assert session.round == 1
    assert not session.open
    assert one.members.stability(default(one), [line.links[0]], LATE) is None
    a_grave(one)
    one.tend(at(100))
    assert graves(one) == [1]
    line.settle()
    assert session.open
    assert one.members.stability(default(one), [line.links[0]], LATE) is not None


def test_nor_before_it_began_nor_while_it_starts_afresh() -> None:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.settle()
    links = [line.links[0]]
    other = one.model_to_write("other", "map")
    assert one.members.stability(other, links, LATE) is None
    line.settle()
    one.accepted(other)
    line.settle()
    assert one.members.stability(other, links, LATE) is not None
    links[0].send_whole("other")
    line.draw(0)
    assert one.members.stability(other, links, LATE) is None
    line.settle()
    assert one.members.stability(other, links, LATE) is not None


def test_nor_while_a_peers_whole_state_is_served_or_gathered() -> None:
    below, above = a_node(1), a_node(2)
    put(default(above), "k")
    default(above).floor.merge(default(above).clock.items())
    line = Line(below, above)
    for _ in range(3):  # HELLO, CLOCK; but no RESET yet
        for end in (0, 1):
            line.links[end]._ready.clear()
            line.draw(end)
            line.deliver(end)
    gathering, serving = (link.sessions[DEFAULT_MODEL] for link in line.links)
    assert gathering.staging is not None
    assert serving.serving
    for node, link in zip(line.nodes, line.links, strict=True):
        assert node.members.stability(default(node), [link], LATE) is None


def test_a_model_that_is_stopped_on_a_link_does_not_wait_for_that_peer() -> None:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.settle()
    other = one.model_to_write("other", "map")
    assert one.members.stability(other, [line.links[0]], LATE) is None
    line.links[0].receive(codec.encode(ClockMessage("other", "log", {}, {}, 1)), NOW)
    assert list(line.links[0].stopped) == ["other"]
    assert one.members.stability(other, [line.links[0]], LATE) is not None


# --- alone ---------------------------------------------------------------------------------------


def test_a_node_that_never_met_another_forgets_without_a_floor() -> None:
    node = a_node(1)
    a_grave(node)
    node.tend(at(100))
    assert graves(node) == [0]
    assert len(default(node).floor) == 0


def test_a_node_that_was_linked_once_is_not_alone() -> None:
    node = a_node(1)
    line = Line(node, a_node(2))
    line.settle()
    line.hang_up()
    node.members.forget(node_id(2), WALL)
    node.accepted(node.members.model)
    grave = a_grave(node)
    node.tend(at(100))
    assert graves(node) == [0]
    assert default(node).floor.copy_times() == {grave.source: grave.timestamp}


def test_nor_is_one_that_was_loaded_from_disk() -> None:
    disk = MemoryDisk(node_id(1))
    save(a_node(1, disk=disk), disk)
    node = a_node(1, disk=disk)
    a_grave(node)
    save(node)
    node.tend(at(100))
    assert graves(node) == [0]
    assert len(default(node).floor) == 1


def test_who_comes_back_from_below_the_floor_is_reset() -> None:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.settle()
    write(one, "gone")
    line.settle()
    line.hang_up()
    one.members.forget(node_id(2), WALL)
    one.accepted(one.members.model)
    default(one).discard("gone", WALL)
    one.accepted(default(one))
    one.tend(at(100))
    assert graves(one) == [0]
    line = Line(one, two)
    line.settle()
    assert [link.ended.code for link in line.links if link.ended] == [Code.AFRESH] * 2
    line.hang_up()
    line = Line(one, two)
    line.settle()
    assert line.up
    assert values(default(two)) == values(default(one)) == {}
    assert state(default(two)) == state(default(one))
    message = line.links[1].sessions[DEFAULT_MODEL].clock_message()
    assert message.floor == default(one).floor.copy_times()
