"""Cursors of watches: what outlives the daemon, and what is good on another node."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    NOW,
    WALL,
    a_node,
    default,
    node_id,
    put,
    save,
    source,
    write,
)
from support.scenes import sync as sync_models

from scuttled.client.rows import ChangeRow
from scuttled.control.cursors import (
    CLOCK_ENTRIES_MAX,
    Clocks,
    check_clocks,
    clocks_text,
    merge_clocks,
    read_cursor,
    split_cursor,
)
from scuttled.control.watch import Watch, log_of
from scuttled.errors import UsageError
from scuttled.node.node import Node
from scuttled.replica.arrival_log import Marks
from scuttled.replica.change import TEXT
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Instant, Update, source_text, stamp
from scuttled.replica.version_vector import Clock
from scuttled.simulation.nodes import MemoryDisk

LOG = "9f3ac21b44d0e713.1.3610a686"


class Reader:
    """A client that watches: it keeps the last cursor and the clock, as the command line does."""

    def __init__(self) -> None:
        self.cursor = ""
        self.clock: Clocks = {}

    def watch(self, node: Node, *, snapshot: bool = False) -> None:
        """From now on, or behind where it was, on whatever node."""
        self.on = Watch(
            node,
            "",
            [],
            snapshot=snapshot,
            after=self.cursor,
            clock={model: dict(times) for model, times in self.clock.items()},
            durable=True,
            patient_until_s=5.0,
        )

    def read(self, now: Instant = NOW, rows_max: int = 1 << 30) -> list[tuple[Any, ...]]:
        """`("set", key, value)`, `("del", key)`, `("live",)`; stops after so many."""
        found: list[tuple[Any, ...]] = []
        while self.on.has_something() and len(found) < rows_max:
            rows = self.on.rows(now)
            clock = self.on.covered()
            for number, row in enumerate(rows, 1):
                if len(found) == rows_max:
                    break
                found.append(short(row))
                self.cursor = row.cursor
                if row.op == "reset":
                    self.clock = {}
                if number == len(rows):
                    merge_clocks(self.clock, clock)
            if not rows:
                merge_clocks(self.clock, clock)
        return found


def short(row: ChangeRow) -> tuple[Any, ...]:
    parts = (row.op, row.key, row.value)
    return tuple(part.decode() if isinstance(part, bytes) else part for part in parts if part)


def reading(node: Node) -> Reader:
    reader = Reader()
    reader.watch(node)
    assert reader.read() == [("live",)]
    return reader


def a_stored(number: int = 1) -> tuple[Node, MemoryDisk]:
    disk = MemoryDisk(node_id(number))
    return a_node(number, disk=disk), disk


def again(disk: MemoryDisk) -> Node:
    """The same node after a restart. What was not saved was never there."""
    return a_node(disk.node_id[0], disk=disk, incarnation=b"restart!")


def sync(one: Node, two: Node) -> None:
    """Until both have all that the other may send; what is saved, if it has a disk."""
    sync_models(default(one), default(two))
    for node in (one, two):
        node.accepted(default(node))


# --- the same node, restarted --------------------------------------------------------------------


def test_a_watch_goes_on_after_a_restart_as_if_nothing_had_been() -> None:
    node, disk = a_stored()
    write(node, "before")
    save(node, disk)
    reader = reading(node)
    write(node, "k")
    save(node, disk)
    assert reader.read() == [("set", "k", "v")]
    write(node, "missed")
    save(node, disk)
    node = again(disk)
    reader.watch(node)
    assert reader.read() == [("set", "missed", "v")]
    write(node, "news")
    save(node, disk)
    assert reader.read() == [("set", "news", "v")]


def test_what_a_kill_takes_back_was_not_told_and_what_it_left_is_told_once() -> None:
    """A peer's update wakes watchers before it is on disk."""
    node, disk = a_stored()
    reader = reading(node)
    write(node, "saved")
    save(node, disk)
    unsaved = Update(b"\x01\x00\x01k" + b"v", WALL * 4096, source(9))
    other = a_node(2)
    update = write(other, "k")
    default(node).receive([(update.source, [update.record])], stamp(2**62))
    node.accepted(default(node))
    assert reader.read() == [("set", "saved", "v")]
    assert unsaved.timestamp
    node = again(disk)  # killed
    reader.watch(node)
    assert reader.read() == []
    default(node).receive([(update.source, [update.record])], stamp(2**62))
    node.accepted(default(node))
    save(node, disk)
    assert reader.read() == [("set", "k", "v")]


def test_a_place_never_comes_to_mean_another_update() -> None:
    """The end of the log was collected: its entries alone do not tell how long it was."""
    node, disk = a_stored()
    reader = reading(node)
    write(node, "kept")
    write(node, "gone")
    default(node).discard("gone", WALL)
    save(node, disk)
    assert reader.read() == [("set", "kept", "v"), ("del", "gone")]
    default(node).collect(lambda source, time: True, WALL + 1)
    node.accepted(default(node))
    save(node, disk)
    node = again(disk)
    write(node, "news")
    save(node, disk)
    reader.watch(node)
    assert reader.read() == [("set", "news", "v")]


def test_a_deletion_that_was_forgotten_before_the_restart_gives_a_reset() -> None:
    node, disk = a_stored()
    reader = reading(node)
    write(node, "gone")
    write(node, "kept")
    save(node, disk)
    reader.read()
    default(node).discard("gone", WALL)
    save(node, disk)
    default(node).collect(lambda source, time: True, WALL + 1, alone=True)
    node.accepted(default(node))
    save(node, disk)
    node = again(disk)
    reader.watch(node)
    assert reader.read() == [
        ("reset", "model default was reset, or has forgotten deletions"),
        ("set", "kept", "v"),
        ("live",),
    ]


def test_an_expiry_that_was_told_is_not_told_again_after_a_restart() -> None:
    node, disk = a_stored()
    reader = reading(node)
    default(node).put("k", TEXT, b"v", WALL, ttl_ms=10)
    default(node).put("later", TEXT, b"v", WALL, ttl_ms=1000)
    save(node, disk)
    reader.read()
    late = Instant(0.0, WALL + 20)
    node.expire(late.wall_ms)
    save(node, disk)
    assert reader.read(late) == [("expire", "k")]
    node = again(disk)
    node.expire(late.wall_ms)
    save(node, disk)
    reader.watch(node)
    assert reader.read(late) == []
    assert default(node).count == 1
    later = Instant(0.0, WALL + 2000)
    node.expire(later.wall_ms)
    save(node, disk)
    assert reader.read(later) == [("expire", "later")]


def test_an_expiry_that_was_not_told_before_the_restart_is_told_after_it() -> None:
    node, disk = a_stored()
    reader = reading(node)
    default(node).put("k", TEXT, b"v", WALL, ttl_ms=10)
    save(node, disk)
    reader.read()
    node = again(disk)
    late = Instant(0.0, WALL + 20)
    reader.watch(node)
    assert reader.read(late) == []
    node.expire(late.wall_ms)
    save(node, disk)
    assert reader.read(late) == [("expire", "k")]


def test_a_model_that_was_reset_before_the_restart_gives_a_reset() -> None:
    node, disk = a_stored()
    reader = reading(node)
    write(node, "k")
    save(node, disk)
    reader.read()
    model = default(node)
    whole = model.blank()
    update = write(a_node(2), "theirs")
    whole.receive([(update.source, [update.record])], stamp(2**62))
    model.become(whole)
    node.accepted(model)
    assert not reader.on.has_something()  # not on disk yet
    save(node, disk)
    node = again(disk)
    reader.watch(node)
    assert reader.read() == [
        ("reset", "model default was reset, or has forgotten deletions"),
        ("set", "theirs", "v"),
        ("live",),
    ]


def test_a_state_that_an_older_scuttled_saved_has_no_marks_and_is_read() -> None:
    node, disk = a_stored()
    write(node, "k")
    save(node, disk)
    disk._marks.clear()
    node = again(disk)
    assert default(node).log.marks == Marks()
    old = f"{'ab' * 8}:default=1"
    watch = Watch(node, "", [], snapshot=False, after=old)
    rows = watch.rows(NOW)
    assert [short(row)[0] for row in rows + watch.rows(NOW)] == ["reset", "set", "live"]


# --- another node --------------------------------------------------------------------------------


def linked_pair() -> tuple[Node, Node, Reader]:
    """Two nodes that have the same, and a reader of the first who has it, too."""
    a, b = a_node(1), a_node(2)
    reader = reading(a)
    write(a, "a")
    write(b, "b")
    sync(a, b)
    assert sorted(reader.read()) == [("set", "a", "v"), ("set", "b", "v")]
    return a, b, reader


def test_a_cursor_is_good_on_another_node() -> None:
    a, b, reader = linked_pair()
    write(a, "a", "2")
    default(b).discard("b", WALL)
    sync(a, b)
    reader.watch(b)
    assert sorted(reader.read()) == [("del", "b"), ("set", "a", "2")]
    write(b, "news")
    assert reader.read() == [("set", "news", "v")]
    sync(a, b)
    reader.watch(a)
    assert reader.read() == []


def test_a_node_that_is_behind_tells_nothing_until_it_has_what_the_cursor_covers() -> None:
    """What it has may be outranked by what was told elsewhere."""
    a, b, reader = linked_pair()
    write(b, "a", "outranked")
    write(a, "k")
    write(a, "a", "2")
    write(a, "a", "3")
    assert len(reader.read()) == 2
    reader.watch(b)
    write(b, "news")
    assert reader.read() == []
    sync(a, b)
    assert reader.read() == [("set", "news", "v")]
    write(b, "more")
    assert reader.read() == [("set", "more", "v")]
    assert "~" not in reader.cursor


def test_a_node_without_a_disk_that_starts_empty_is_such_a_node() -> None:
    _, b, reader = linked_pair()
    fresh = a_node(4)
    reader.watch(fresh)
    sync(fresh, b)
    assert reader.read() == []
    write(b, "news")
    sync(fresh, b)
    assert reader.read() == [("set", "news", "v")]


def test_a_reader_that_stops_on_its_way_goes_on_there() -> None:
    _, b, reader = linked_pair()
    for n in range(5):
        write(b, f"k{n}")
    reader.watch(b)
    assert reader.read(rows_max=2) == [("set", "k0", "v"), ("set", "k1", "v")]
    reader.watch(b)
    assert reader.read() == [("set", f"k{n}", "v") for n in (2, 3, 4)]


def test_deletions_that_were_forgotten_elsewhere_give_a_reset_and_those_that_were_told_do_not() -> (
    None
):
    a, b, reader = linked_pair()
    default(a).discard("a", WALL)
    sync(a, b)
    told = Reader()
    told.cursor, told.clock = reader.cursor, {m: dict(t) for m, t in reader.clock.items()}
    told.watch(a)
    assert told.read() == [("del", "a")]
    default(b).collect(lambda source, time: True, WALL + 1)
    told.watch(b)
    assert told.read() == []
    reader.watch(b)
    assert reader.read() == [
        ("reset", "model default has forgotten deletions since"),
        ("set", "b", "v"),
        ("live",),
    ]


def test_a_drop_is_told_on_another_node_by_starting_over_and_once() -> None:
    a, b, reader = linked_pair()
    default(b).drop(WALL)
    write(b, "after")
    reader.watch(b)
    assert [row[0] for row in reader.read()] == ["reset", "set", "live"]
    sync(a, b)
    reader.watch(a)
    assert reader.read() == []


def test_an_expiry_is_told_on_one_of_two_nodes() -> None:
    a, b, reader = linked_pair()
    default(a).put("k", TEXT, b"v", WALL, ttl_ms=10)
    default(a).put("j", TEXT, b"v", WALL, ttl_ms=1000)
    sync(a, b)
    reader.read()
    late = Instant(0.0, WALL + 20)
    b.expire(late.wall_ms)
    reader.watch(b)
    assert reader.read(late) == [("expire", "k")]
    a.expire(late.wall_ms)
    reader.watch(a)
    assert reader.read(late) == []
    later = Instant(0.0, WALL + 2000)
    a.expire(later.wall_ms)
    assert reader.read(later) == [("expire", "j")]


def test_a_cursor_without_a_clock_gives_a_reset_elsewhere() -> None:
    _, b, reader = linked_pair()
    reader.clock = {}
    reader.watch(b)
    assert reader.read()[0] == (
        "reset",
        "the cursor is of another run of the daemon, or of another node",
    )


def test_a_cursor_of_another_cluster_gives_a_reset() -> None:
    reader = linked_pair()[2]
    reader.watch(a_node(5, cluster="other"))
    assert reader.read() == [("reset", "the cursor is of another cluster"), ("live",)]


def test_a_node_that_never_gets_what_the_cursor_covers_says_so_in_the_end() -> None:
    """Its state was wiped: silence would be about a gap."""
    reader = linked_pair()[2]
    node = a_node(6)
    write(node, "k")
    reader.watch(node)
    reader.on.lose_patience(Instant(4.9, WALL))
    assert reader.read() == []
    assert reader.on.patient_until_s == 5.0
    reader.on.lose_patience(Instant(5.0, WALL))
    assert reader.read() == [
        ("reset", "this node does not have all of model default that the cursor covers"),
        ("set", "k", "v"),
        ("live",),
    ]
    reader.watch(node)
    assert reader.read() == []


def test_a_newcomer_that_takes_over_the_whole_state_is_no_reset_for_who_knows_it() -> None:
    a, _, reader = linked_pair()
    fresh = a_node(7)
    reader.watch(fresh)
    assert reader.read() == []
    model = default(fresh)
    whole = model.blank()
    for update in default(a).history(Clock()):
        whole.receive([(update.source, [update.record])], stamp(2**62))
    whole.commit(default(a).clock.items())
    model.become(whole)
    fresh.accepted(model)
    assert reader.read() == []
    write(fresh, "news")
    assert reader.read() == [("set", "news", "v")]


def test_a_power_cut_begins_a_new_life_and_the_clock_is_what_counts() -> None:
    node, disk = a_stored()
    other = a_node(2)
    sync(node, other)
    reader = reading(node)
    save(node, disk)
    write(node, "k")
    node.accepted(default(node))
    old = {name: dict(held) for name, held in disk._entries.items()}
    save(node, disk)
    assert reader.read() == [("set", "k", "v")]
    sync(node, other)
    disk._entries = old  # what was saved last is gone, and the node knows that it may be
    disk.life += 1
    node = again(disk)
    save(node, disk)
    reader.watch(node)
    sync(node, other)
    save(node, disk)
    assert reader.read() == []
    write(node, "news")
    node.accepted(default(node))
    save(node, disk)
    assert reader.read() == [("set", "news", "v")]


@given(st.data())
def test_whoever_wanders_between_nodes_that_talk_knows_what_they_know(
    data: st.DataObject,
) -> None:
    """No key is missed: in the end the last row of each key is what the nodes hold.

    And nothing is told twice, if no part of a stream was cut short.
    """
    cut = data.draw(st.booleans())
    nodes = [a_node(1), a_node(2), a_node(3)]
    reader, found = reading(nodes[0]), dict[str, str]()
    told: set[tuple[Any, ...]] = set()
    at = nodes[0]

    def read(upto: int) -> None:
        for op, *rest in reader.read(rows_max=upto):
            if op == "reset":
                found.clear()
            elif op == "set":
                found[rest[0]] = rest[1]
                assert cut or (op, *rest) not in told, "told twice"
                told.add((op, *rest))
            elif op == "del":
                found.pop(rest[0], None)

    for number in range(data.draw(st.integers(1, 30))):
        node = data.draw(st.sampled_from(nodes))
        match data.draw(st.sampled_from(["set", "set", "del", "sync", "read", "move"])):
            case "set":
                write(node, f"k{data.draw(st.integers(0, 4))}", str(number))
            case "del":
                default(node).discard(f"k{data.draw(st.integers(0, 4))}", WALL)
            case "sync":
                if node is not nodes[0]:
                    sync(nodes[0], node)
            case "read":
                read(data.draw(st.integers(1, 3)) if cut else 1 << 30)
                if cut:
                    reader.watch(at)
            case _:
                at = node
                reader.watch(at)
    for _ in range(2):
        for node in nodes[1:]:
            sync(nodes[0], node)
    read(1 << 30)
    held = {slot.slot.decode(): slot.payload.decode() for slot in default(nodes[0]).shown()}
    assert found == held


# --- what a durable watch is told ----------------------------------------------------------------


def test_a_clock_that_rises_after_the_rows_is_told_when_it_does() -> None:
    a, b = a_node(1), a_node(2)
    reader = reading(b)
    update = write(a, "k")
    default(b).receive([(update.source, [update.record])], stamp(2**62))
    assert reader.read() == [("set", "k", "v")]
    assert source_text(update.source) not in reader.clock.get("default", {})
    default(b).commit([(update.source, update.timestamp)])
    assert reader.on.has_something()
    assert reader.read() == []
    assert reader.clock["default"][source_text(update.source)] == update.timestamp
    assert not reader.on.has_something()


def test_who_lags_is_not_told_of_a_clock_that_is_ahead_of_it() -> None:
    node = a_node(1)
    reader = reading(node)
    for n in range(3000):
        put(default(node), f"k{n}")
    reader.on.rows(NOW)
    assert reader.on.covered() == {}
    reader.read()
    assert reader.clock["default"] == {
        source_text(node.author.source): default(node).clock[node.author.source]
    }


def test_a_watch_that_is_not_durable_is_told_at_once() -> None:
    node, _ = a_stored()
    watch = Watch(node, "", [], snapshot=False, after="")
    watch.rows(NOW)
    write(node, "k")
    assert [short(row) for row in watch.rows(NOW)] == [("set", "k", "v")]


# --- models of one's own types -------------------------------------------------------------------


class Longest(Scuttlebutt):
    data_type = "longest"
    best: Update | None = None

    def history(self, clock: Clock) -> list[Update]:
        best = self.best
        return [best] if best and not clock.covers(best.source, best.timestamp) else []

    def apply_update(self, update: Update) -> bool:
        if self.best and len(update.change) <= len(self.best.change):
            return False
        self.best = update
        return True


class Shown(Longest):
    data_type = "shown"

    def told(self, update: Update) -> tuple[Any, Any]:
        if update.change == b"bad":
            raise ValueError
        return "best", {"word": update.change.decode()} if update.change != b"gone!!" else None


def with_model(kind: type[Scuttlebutt]) -> tuple[Node, Scuttlebutt]:
    node = a_node(1)
    model = kind("mine", node.author)
    node.models["mine"] = model
    return node, model


def test_a_type_of_ones_own_is_watched_as_its_updates_tell() -> None:
    node, model = with_model(Longest)
    reader = reading(node)
    model.write(b"a", WALL)
    model.write(b"abc", WALL)
    assert reader.read() == [
        ("set", source_text(node.author.source), text) for text in ("a", "abc")
    ]
    snapshot = Reader()
    snapshot.watch(node, snapshot=True)
    assert [row[-1] for row in snapshot.read()] == ["abc", "live"]
    model.write(b"abcd", WALL)
    snapshot.watch(node)
    assert [row[-1] for row in snapshot.read()] == ["abcd"]


def test_a_type_that_tells_keys_and_values_has_them_shown_and_matched() -> None:
    node, model = with_model(Shown)
    watch = Watch(node, "mine", ["best"], snapshot=False, after="")
    other = Watch(node, "mine", ["worst"], snapshot=False, after="")
    watch.rows(NOW)
    other.rows(NOW)
    model.write(b"a", WALL)
    model.write(b"bad", WALL)  # it fails: shown as it came, under no such key
    model.write(b"gone!!", WALL)
    rows = watch.rows(NOW)
    assert [row[:5] for row in rows] == [
        ("set", "mine", "best", "json", b'{"word": "a"}'),
        ("del", "mine", "best", "deleted", b""),
    ]
    assert other.rows(NOW) == []


# --- the text ------------------------------------------------------------------------------------


def test_a_cursor_with_a_clock_is_read_as_it_was_written() -> None:
    clocks = {"default": {"9f3ac21b44d0e713.1": 7, "expired": 3}, "a.b-c": {}}
    text = f"{LOG}:default=5,a.b-c~=6@{clocks_text(clocks)}"
    cursor, read = split_cursor(text)
    assert (cursor, read) == (f"{LOG}:default=5,a.b-c~=6", clocks)
    places = read_cursor(text).places
    assert (places["default"], places["a.b-c"]) == ((5, False), (6, True))


@pytest.mark.parametrize(
    "text",
    ["x:a=1@", "x:a=1@b", "x:a=1@b:c", "x:a=1@b:c=-1", "x:a=1@b:c=1;b:c=2", "x@b:c=" + "9" * 30],
)
def test_a_clock_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not one that a watch gave"):
        split_cursor(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "x:a=1",
        f"{LOG}",
        f"{LOG}:a",
        f"{LOG}:a=-1",
        f"{LOG}:a=1_0",
        f"{LOG}:a=\u0661",
        "\0:",
    ],
)
def test_a_cursor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not one that a watch gave"):
        read_cursor(text)


@pytest.mark.parametrize(
    "clock",
    [
        1,
        [],
        {"m": 1},
        {1: {}},
        {"m": {1: 1}},
        {"m": {"s": "1"}},
        {"m": {"s": -1}},
        {"m": {"s": True}},
    ],
)
def test_a_clock_of_a_wrong_form_is_refused_in_words(clock: object) -> None:
    with pytest.raises(UsageError, match="clock"):
        check_clocks(clock)


def test_a_clock_has_a_maximum() -> None:
    times = {f"s{n}": 1 for n in range(CLOCK_ENTRIES_MAX + 1)}
    with pytest.raises(UsageError, match="at most 60000"):
        check_clocks({"m": times})


def test_a_source_that_is_none_is_refused() -> None:
    node = a_node(1)
    with pytest.raises(UsageError, match="not a source"):
        Watch(
            node,
            "",
            [],
            snapshot=False,
            after=f"{'ab' * 8}.1.{log_of(node)[-8:]}:default=3",
            clock={"default": {"nonsense": 1}},
        )


def test_the_log_is_named_after_the_source_and_the_cluster() -> None:
    node, _ = a_stored()
    assert log_of(node).startswith(source_text(node.author.source) + ".")
    assert log_of(a_node(1)) != log_of(a_node(2))
