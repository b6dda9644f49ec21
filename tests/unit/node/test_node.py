import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    NOW,
    SKEW_MS,
    TICKS,
    WALL,
    Line,
    a_node,
    default,
    examples,
    node_id,
    put,
    record,
    save,
    source,
    state,
    values,
    write,
)

from scuttled.errors import DataError, Refused
from scuttled.models.map import Map
from scuttled.node.node import DEFAULT_MODEL, MEMBERS, Node
from scuttled.protocol.messages import Code
from scuttled.replica.change import JSON, TEXT, make_change
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant, make_source, stamp
from scuttled.replica.version_vector import Clock
from scuttled.simulation.nodes import MemoryDisk

DEEP = b"[" * 100_000


def row(node: Node, number: int) -> Any:
    """What `_members` says of a node."""
    members = node.models[MEMBERS]
    assert isinstance(members, Map)
    found = members.find(node_id(number).hex(), WALL)
    return None if found is None else json.loads(found.payload)


# --- models --------------------------------------------------------------------------------------


def test_every_node_has_a_default_model_and_the_members() -> None:
    node = a_node(1)
    assert set(node.models) == {DEFAULT_MODEL, MEMBERS}
    assert [model.name for model in node.user_models()] == [DEFAULT_MODEL]
    assert row(node, 1)["name"] == "n1"


def test_a_model_is_created_once() -> None:
    node = a_node(1)
    assert node.create("packages", "map")
    assert not node.create("packages", "map")
    assert node.model("packages") is node.model_to_write("packages", "map")


@pytest.mark.parametrize("name", ["", "a b", "ü", "-x", ".x", "x" * 65, "a/b", "a\n"])
def test_a_name_that_can_not_be_is_refused(name: str) -> None:
    node = a_node(1)
    with pytest.raises(DataError, match="allowed are 1 to 64 of letters"):
        node.create(name, "map")
    assert name not in node.models


def test_users_do_not_write_to_the_systems_models() -> None:
    node = a_node(1)
    for name in (MEMBERS, "_other"):
        with pytest.raises(Refused, match="system's"):
            node.model_to_write(name, "map")


def test_a_model_that_is_not_there_or_of_another_type_is_refused() -> None:
    node = a_node(1)
    with pytest.raises(Refused, match="no model 'x'"):
        node.model("x")
    with pytest.raises(DataError, match="data type 'tree'"):
        node.create("x", "tree")
    with pytest.raises(Refused, match="is a map, not a log"):
        node.create(DEFAULT_MODEL, "log")


def test_there_is_a_most_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scuttled.node.node.MODELS_MAX", 3)
    node = a_node(1)
    node.create("one", "map")
    with pytest.raises(Refused, match="there are 3 models already"):
        node.create("two", "map")


# --- the doorway ---------------------------------------------------------------------------------


def test_what_is_accepted_wakes_watchers_at_once_and_links_once_it_is_saved() -> None:
    rung: list[str] = []
    one, two = a_node(1, stored=True), a_node(2)
    line = Line(one, two)
    line.settle()
    one.subscribe(lambda: rung.append("watcher"))
    one.durability.subscribe(lambda: rung.append("storage"))
    line.links[0].wake = lambda: rung.append("link")
    write(one, "k")
    assert rung == ["watcher", "storage"]
    assert one.durability.urgent
    assert not line.links[0].wants_to_send(NOW)
    save(one)
    assert rung == ["watcher", "storage", "link"]
    assert line.links[0].wants_to_send(NOW)


def test_without_storage_links_are_woken_at_once() -> None:
    one = a_node(1)
    line = Line(one, a_node(2))
    line.settle()
    write(one, "k")
    assert line.links[0].wants_to_send(NOW)
    assert one.durability.is_saved()


def test_a_peers_updates_pass_the_same_door() -> None:
    rung: list[str] = []
    one, two = a_node(1), a_node(2, stored=True)
    line = Line(one, two)
    line.settle()
    write(one, "k")
    two.durability.saving_begins()
    two.subscribe(lambda: rung.append("watcher"))
    two.durability.subscribe(lambda: rung.append("storage"))
    line.draw(0)
    line.deliver(0)
    assert rung[:2] == ["watcher", "storage"]
    assert not two.durability.urgent
    assert not two.durability.is_saved()


def test_an_update_travels_through_a_node_in_the_middle() -> None:
    one, two, three = a_node(1), a_node(2, stored=True), a_node(3)
    lines = Line(one, two), Line(two, three)
    for line in lines:
        line.settle()
    write(one, "k")
    for line in lines:
        line.settle()
    assert values(default(three)) == {"k": "v"}
    assert default(three).clock == default(one).clock


def test_keys_whose_time_is_over_go_through_the_door_too() -> None:
    node = a_node(1)
    default(node).put("k", TEXT, b"v", WALL, ttl_ms=100)
    node.accepted(default(node))
    rung: list[str] = []
    node.subscribe(lambda: rung.append("watcher"))
    assert node.next_expiry_ms() == WALL + 100
    node.expire(WALL + 99)
    assert rung == []
    node.expire(WALL + 100)
    assert rung == ["watcher"]
    assert node.next_expiry_ms() is None


# --- what storage is given -----------------------------------------------------------------------


def part(node: Node, name: str = DEFAULT_MODEL, *, clocks: bool = True) -> Any:
    batch = node.durability.unsaved(clocks=clocks)
    assert batch is not None
    (found,) = [part for part in batch.models if part.name == name]
    return batch, found


def test_a_batch_is_what_is_new_since_the_last_one() -> None:
    node = a_node(1, stored=True)
    save(node)
    assert node.durability.unsaved(clocks=True) is None
    first, second = write(node, "a"), write(node, "b")
    batch, saved = part(node)
    assert saved.entries == [
        (0, first.source, first.record),
        (1, second.source, second.record),
    ]
    assert saved.times == [(second.source, second.timestamp)]
    node.saved(batch)
    assert node.durability.is_saved()
    assert node.durability.unsaved(clocks=True) is None


def test_positions_that_became_holes_are_told_once() -> None:
    node = a_node(1, stored=True)
    write(node, "k", "1")
    save(node)
    write(node, "k", "2")
    batch, saved = part(node)
    assert saved.freed == [0]
    node.saved(batch)
    write(node, "j")
    assert part(node)[1].freed == []


def test_a_clock_may_be_saved_later_than_the_updates_but_never_before() -> None:
    node = a_node(1, stored=True)
    write(node, "k")
    batch, saved = part(node, clocks=False)
    assert len(saved.entries) == 1
    assert saved.times == []
    node.saved(batch)
    assert default(node).log.visible == 1
    assert not node.durability.is_saved()
    assert node.durability.unsaved(clocks=False) is None
    batch, saved = part(node)
    assert (saved.entries, len(saved.times)) == ([], 1)
    node.saved(batch)
    assert node.durability.is_saved()


def test_the_clock_comes_with_the_last_part_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scuttled.replica.checkpoint.SAVE_ENTRIES_MAX", 4)
    node = a_node(1, stored=True)
    for n in range(10):
        put(default(node), f"k{n}")
    node.accepted(default(node))
    seen = []
    while (batch := node.durability.unsaved(clocks=True)) is not None:
        seen += [(len(p.entries), len(p.times)) for p in batch.models if p.name == DEFAULT_MODEL]
        node.saved(batch)
    assert seen == [(4, 0), (4, 0), (2, 1)]


def test_what_is_no_longer_there_goes_to_disk_with_what_replaced_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a kill between two parts would take a saved value and leave neither."""
    monkeypatch.setattr("scuttled.replica.checkpoint.SAVE_ENTRIES_MAX", 4)
    disk = MemoryDisk(node_id(1))
    node = a_node(1, disk=disk)
    write(node, "k", "saved")
    save(node, disk)
    for n in range(6):
        put(default(node), f"k{n}")
    put(default(node), "k", "new")
    node.accepted(default(node))
    batch = node.durability.unsaved(clocks=True)
    assert batch is not None
    disk.write(batch)
    assert values(default(a_node(1, disk=disk)))["k"] in ("saved", "new")


def test_what_was_acknowledged_is_on_disk_even_if_it_was_overwritten_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scuttled.replica.checkpoint.SAVE_ENTRIES_MAX", 4)
    disk = MemoryDisk(node_id(1))
    node = a_node(1, disk=disk)
    write(node, "k", "first")
    until = default(node).log.end
    for n in range(6):
        put(default(node), f"k{n}")
    put(default(node), "k", "second")
    node.accepted(default(node))
    batch = node.durability.unsaved(clocks=True)
    assert batch is not None
    disk.write(batch)
    node.saved(batch)
    assert default(node).log.visible >= until
    assert "k" in values(default(a_node(1, disk=disk)))


def test_what_came_while_a_batch_was_written_is_in_the_next() -> None:
    disk = MemoryDisk(node_id(1))
    node = a_node(1, disk=disk)
    write(node, "k", "1")
    batch, _ = part(node)
    write(node, "k", "2")
    write(node, "j")
    disk.write(batch)
    node.saved(batch)
    assert default(node).log.visible == 1
    save(node, disk)
    assert values(default(a_node(1, disk=disk))) == {"k": "2", "j": "v"}


def test_a_node_that_was_killed_goes_on_where_its_disk_is() -> None:
    disk = MemoryDisk(node_id(1))
    node = a_node(1, disk=disk)
    write(node, "kept")
    save(node, disk)
    write(node, "lost")
    again = a_node(1, disk=disk)
    assert values(default(again)) == {"kept": "v"}
    assert state(default(again)) != state(default(node))
    assert again.author.life == 1
    update = write(again, "new", wall_ms=0)
    assert update.timestamp > min(u.timestamp for u in default(node).history(Clock()))


def test_a_node_whose_clock_was_not_saved_still_covers_what_it_wrote_itself() -> None:
    disk = MemoryDisk(node_id(1))
    node = a_node(1, disk=disk)
    update = write(node, "k")
    batch = node.durability.unsaved(clocks=False)
    assert batch is not None
    disk.write(batch)
    again = a_node(1, disk=disk)
    assert default(again).clock.covers(update.source, update.timestamp)


def test_a_node_that_starts_again_unchanged_says_nothing_new_of_itself() -> None:
    disk = MemoryDisk(node_id(1))
    save(a_node(1, disk=disk), disk)
    again = a_node(1, disk=disk)
    log = again.models[MEMBERS].log
    assert (log.live, log.saved) == (1, log.end)


# --- a node that may have forgotten (I5) ---------------------------------------------------------


def test_a_node_of_which_a_peer_knows_more_than_itself_goes_on_under_a_new_source() -> None:
    backup, disk = MemoryDisk(node_id(1)), MemoryDisk(node_id(1))
    node, peer = a_node(1, disk=disk), a_node(2)
    write(node, "old")
    save(node, backup)
    forgotten = write(node, "forgotten")
    line = Line(node, peer)
    line.settle()
    line.hang_up()
    restored = a_node(1, disk=backup, incarnation=b"restored")
    line = Line(restored, peer)
    line.settle()
    assert restored.author.life == 2
    assert restored.new_lives == 1
    assert "a peer knows more" in restored.notices.warnings[0]
    assert values(default(restored)) == {"old": "v", "forgotten": "v"}
    update = write(restored, "new")
    assert update.source == make_source(node_id(1), 2) != forgotten.source
    line.settle()
    assert state(default(restored)) == state(default(peer))
    assert row(peer, 1)["life"] == 2


def test_a_new_life_is_on_disk_before_anybody_sees_an_update_of_it() -> None:
    disk = MemoryDisk(node_id(1))
    node = a_node(1, disk=disk)
    node.peer_clock(default(node), {node.author.source: TICKS}, NOW)
    assert node.author.life == 2
    assert node.models[MEMBERS].log.visible == 0
    save(node, disk)
    assert disk.life == 2


def test_a_peers_word_does_not_carry_the_own_clock_away() -> None:
    """Else one forged CLOCK would make all that this node writes be of the future, for ever."""
    node = a_node(1)
    node.peer_clock(default(node), {node.author.source: 2**63 - 1}, NOW)
    assert node.author.life == 2
    assert write(node, "k").timestamp <= (WALL + SKEW_MS) * 4096 + 2


def test_a_peer_that_knows_as_much_or_less_is_nothing_special() -> None:
    node = a_node(1)
    update = write(node, "k")
    node.peer_clock(default(node), {update.source: update.timestamp}, NOW)
    node.peer_clock(default(node), {source(2): 2**60}, NOW)
    assert node.author.life == 1
    assert not node.notices


# --- two links between two nodes -----------------------------------------------------------------


@examples(200)
@given(st.data())
def test_of_two_nodes_that_dial_each_other_the_link_of_the_smaller_id_stays(
    data: st.DataObject,
) -> None:
    """In any interleaving of the bytes of both."""
    smaller, larger = a_node(1), a_node(2)
    lines = Line(smaller, larger), Line(larger, smaller)
    steps = st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(1, 200)), max_size=40
    )
    for which, end, most in data.draw(steps):
        lines[which].draw(end)
        lines[which].deliver(end, most=most)
        hang_up_what_ended(lines)
    for _ in range(3):
        for line in lines:
            line.settle()
        hang_up_what_ended(lines)
    assert lines[0].up
    assert not lines[1].up
    for link in lines[1].links:
        assert link.ended is not None
        assert link.ended.code == Code.DUPLICATE
    assert smaller.links == {node_id(2): lines[0].links[0]}
    assert larger.links == {node_id(1): lines[0].links[1]}
    write(larger, "k")
    lines[0].settle()
    assert values(default(smaller)) == {"k": "v"}


def hang_up_what_ended(lines: tuple[Line, Line]) -> None:
    """As the shell does, once an end has nothing more to say."""
    for line in lines:
        for node, link in zip(line.nodes, line.links, strict=True):
            if link.ended is not None and not link.wants_to_send(NOW):
                node.gone(link)


def test_a_node_that_dials_the_same_peer_twice_keeps_its_first_link() -> None:
    one, two = a_node(1), a_node(2)
    first, second = Line(one, two), Line(one, two)
    first.settle()
    second.settle()
    assert first.up
    assert [link.ended.code for link in second.links if link.ended] == [Code.DUPLICATE] * 2
    assert two.links == {node_id(1): first.links[1]}


def test_a_peer_that_was_restarted_takes_the_place_of_its_ghost() -> None:
    one = a_node(1)
    ghost = Line(one, a_node(2))
    ghost.settle()
    line = Line(a_node(2, incarnation=b"restart!"), one)
    line.settle()
    assert line.up
    assert one.links == {node_id(2): line.links[1]}
    ended = ghost.links[0].ended
    assert ended is not None
    assert ended.code == Code.DUPLICATE


def test_a_link_that_is_gone_makes_room_and_its_late_end_does_no_harm() -> None:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.settle()
    line.hang_up()
    assert (one.links, two.links) == ({}, {})
    again = Line(one, two)
    again.settle()
    line.hang_up()
    assert one.links == {node_id(2): again.links[0]}


# --- members -------------------------------------------------------------------------------------


def test_a_nodes_name_is_known_wherever_its_updates_are() -> None:
    one, two, three = a_node(1), a_node(2), a_node(3)
    Line(one, two).settle()
    Line(two, three).settle()
    assert three.name_of(source(1)) == "n1"
    assert three.name_of(source(1, life=7)) == "n1"
    assert three.name_of(source(9)) == ""


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b'{"name": "web1"}', "web1"),
        (b'{"name": 5}', ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"", ""),
        (b"\xff", ""),
        (DEEP, ""),
        (b'{"name": "\\ud800"}', "\\ud800"),
        (b'{"name": "' + b"x" * 5000 + b'"}', "x" * 255),
    ],
    ids=["good", "number", "none", "list", "empty", "bytes", "deep", "surrogate", "long"],
)
def test_no_row_of_the_members_can_do_harm(payload: bytes, name: str) -> None:
    node = a_node(1)
    members = node.models[MEMBERS]
    theirs = stamp(TICKS) + make_change(node_id(2).hex().encode(), JSON, payload)
    members.receive([(source(2), [theirs])], stamp(2**62))
    node.accepted(members)
    assert node.name_of(source(2)) == name
    assert name.encode() is not None


def test_nobody_names_a_node_but_itself() -> None:
    node = a_node(1)
    members = node.models[MEMBERS]
    forged = stamp(TICKS * 2) + make_change(node_id(1).hex().encode(), JSON, b'{"name": "evil"}')
    members.receive([(source(2), [forged])], stamp(2**62))
    node.accepted(members)
    assert node.name_of(source(1)) == "n1"


# --- notices -------------------------------------------------------------------------------------


def test_what_was_refused_is_counted_and_told_with_name_and_distance() -> None:
    one, two = a_node(1), a_node(2)
    line = Line(one, two)
    line.settle()
    default(one).put("k", TEXT, b"v", WALL + 90_000)
    one.accepted(default(one))
    line.settle()
    assert two.future == 1
    assert two.notices.warnings == [
        "1 updates of n1 in default are stamped 90.0 s ahead of this node's clock, allowed are "
        "60 s: not taken until then"
    ]


def test_notices_do_not_pile_up() -> None:
    node = a_node(1)
    for _ in range(1000):
        node.notices.warn("words")
    assert len(node.notices.warnings) == 100


def test_small_models_are_shared_first_and_members_before_all() -> None:
    node = a_node(1)
    for name, count in (("large", 20), ("small", 2)):
        model = node.model_to_write(name, "map")
        assert isinstance(model, Map)
        for n in range(count):
            put(model, f"k{n}")
    assert [m.name for m in node.models_to_share()] == [MEMBERS, DEFAULT_MODEL, "small", "large"]


def test_a_link_far_in_the_past_is_told_by_its_own_clock() -> None:
    node = a_node(1)
    hello = node.hello(Instant(5.0, 12345))
    assert (hello.wall_ms, hello.name, hello.node_id) == (12345, "n1", node_id(1))


def test_every_model_of_a_node_has_the_same_author() -> None:
    node = a_node(1)
    node.create("other", "map")
    first = write(node, "k")
    other = node.model("other")
    assert isinstance(other, Slots)
    second = other.fill(b"k", TEXT, b"", 0)
    assert second.timestamp > first.timestamp
    assert record("k", second.timestamp)[:8] > first.record[:8]
