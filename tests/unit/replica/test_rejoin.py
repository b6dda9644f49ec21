from dataclasses import replace

import pytest
from support.scenes import (
    NOW,
    PLENTY,
    SKEW_MS,
    TICKS,
    WALL,
    Line,
    a_map,
    a_node,
    at,
    default,
    drain,
    entries,
    node_id,
    put,
    record,
    save,
    saved,
    source,
    state,
    values,
    write,
)

from scuttled.errors import RemoteProtocolError
from scuttled.models.map import Map
from scuttled.node.node import MEMBERS, Node
from scuttled.node.throughput import ThroughputMeter
from scuttled.protocol.messages import Code, Have, Reset
from scuttled.protocol.session import Session
from scuttled.replica import sources
from scuttled.replica.change import CLEAR, TEXT, slot_of
from scuttled.replica.rejoin import KEYS_BYTES_MAX, KEYS_MAX, NAMED_MAX, Rejoin, Rejoined, rejoin
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Instant, Stamp, stamp
from scuttled.simulation.nodes import MemoryDisk

EVER = Stamp(stamp(2**62))
LATER = WALL + 1000  # when the RESET comes


def a_peer(*keys: str, number: int = 2) -> Map:
    """A model that lies above the floor of everybody else."""
    peer = a_map(number)
    for key in keys:
        put(peer, key, "peer's")
    peer.floor.merge(peer.clock.items())
    return peer


def take_over(model: Map, peer: Map, mode: Rejoin = Rejoin.OWN) -> Rejoined:
    """What a RESET does, in one step."""
    whole = model.blank()
    assert isinstance(whole, Map)
    for _, entry, who in entries(peer.log):
        whole.receive([(who, [entry])], EVER)
    whole.commit(peer.clock.items())
    whole.floor.merge(peer.floor.items())
    report = Rejoined(model.name, "peer", LATER)
    rejoin(model, whole, model.author, mode, report)
    return report


def received(model: Map, number: int, *records: bytes) -> None:
    model.receive([(source(number), list(records))], EVER)


# --- what becomes of each key --------------------------------------------------------------------


def mixed() -> Map:
    """A model that holds an update of its own, and one of node 7, that the peer lacks."""
    model = a_map(1)
    put(model, "mine", "1")
    received(model, 7, record("others", TICKS, b"7"))
    return model


@pytest.mark.parametrize(
    ("mode", "issued", "dropped"),
    [
        (Rejoin.OWN, ["mine"], ["others"]),
        (Rejoin.ALL, ["mine", "others"], []),
        (Rejoin.NONE, [], ["mine", "others"]),
    ],
)
def test_what_it_alone_holds_is_issued_anew_as_asked(
    mode: Rejoin, issued: list[str], dropped: list[str]
) -> None:
    model, peer = mixed(), a_peer("k")
    report = take_over(model, peer, mode)
    assert sorted(report.issued) == issued
    assert sorted(report.dropped) == dropped
    assert (report.issued_count, report.dropped_count) == (len(issued), len(dropped))
    assert sorted(values(model)) == sorted(["k", *issued])
    for key in issued:
        found = model.lookup(key.encode())
        assert found is not None
        assert found.source == model.author.source
        assert found.timestamp >= LATER * 4096, "a write of now"
        assert not peer.clock.covers(found.source, found.timestamp)


def test_the_peers_state_clock_and_floor_are_taken_whole() -> None:
    model, peer = mixed(), a_peer("j", "k")
    peer.discard("j", WALL)
    take_over(model, peer, Rejoin.NONE)
    assert state(model) == state(peer)
    assert model.floor == peer.floor
    assert (model.count, model.tombstones, model.bytes) == (peer.count, 1, peer.bytes)
    assert model.log.live == peer.log.live


def test_what_came_back_from_the_dead_goes_again() -> None:
    """The reason of a RESET: `gone` was deleted, and the deletion forgotten, while we slept."""
    model, peer = a_map(1), a_peer("kept")
    received(model, 2, record("gone", TICKS - 5))
    report = take_over(model, peer, Rejoin.ALL)
    assert values(model) == {"kept": "peer's"}
    assert (report.held, report.covered, report.taken) == (1, 1, 1)
    assert report.lost_nothing


def test_what_the_peers_state_outranks_is_superseded_silently() -> None:
    model, peer = a_map(1), a_map(2)
    put(model, "k", "older")
    put(peer, "k", "newer", LATER)
    report = take_over(model, peer)
    assert values(model) == {"k": "newer"}
    assert (report.issued_count, report.dropped_count) == (0, 0)
    assert (report.held, report.covered) == (1, 0)


def test_what_outranks_the_peers_state_is_issued_anew() -> None:
    model, peer = a_map(1), a_map(2)
    put(peer, "k", "older")
    put(model, "k", "newer", WALL + 5)
    assert take_over(model, peer).issued == ["k"]
    assert values(model) == {"k": "newer"}


def test_what_a_drop_at_the_peer_outranks_is_superseded_silently_too() -> None:
    model, peer = a_map(1), a_map(2)
    put(model, "k", "before the drop")
    put(model, "l", "after it", LATER)
    peer.drop(WALL + 5)
    report = take_over(model, peer)
    assert values(model) == {"l": "after it"}
    assert report.issued == ["l"]
    assert report.dropped_count == 0


def test_our_own_deletions_are_issued_anew() -> None:
    model, peer = a_map(1), a_peer("k")
    received(model, 2, *(r for _, r, _ in entries(peer.log)))
    model.discard("k", WALL + 5)
    report = take_over(model, peer)
    assert report.issued == ["k"]
    assert values(model) == {}


@pytest.mark.parametrize("mode", Rejoin)
def test_a_drop_is_never_issued_anew(mode: Rejoin) -> None:
    """Of now, it would void what others wrote since."""
    model, peer = a_map(1), a_peer("k")
    model.drop(LATER)
    report = take_over(model, peer, mode)
    assert values(model) == {"k": "peer's"}
    assert model.lookup(CLEAR) is None
    assert (report.issued, report.dropped) == ([], ["clear"])


@pytest.mark.parametrize("mode", Rejoin)
def test_what_has_expired_is_not_issued_anew_and_not_worth_a_word(mode: Rejoin) -> None:
    model, peer = a_map(1), a_peer("k")
    model.put("over", TEXT, b"", WALL, ttl_ms=1000)
    model.put("not over", TEXT, b"", WALL, ttl_ms=1001)
    report = take_over(model, peer, mode)
    assert [*report.issued, *report.dropped] == ["not over"]


def test_settings_are_issued_anew() -> None:
    model, peer = a_map(1), a_peer("k")
    model.set_options(WALL, ttl_ms=777)
    assert take_over(model, peer).issued == ["options"]
    assert model.ttl_ms == 777


def test_what_is_issued_anew_keeps_its_order() -> None:
    model, peer = a_map(1), a_peer("k")
    for key in "cab":
        put(model, key)
    assert take_over(model, peer).issued == ["c", "a", "b"]


# --- lives ---------------------------------------------------------------------------------------


def test_a_new_life_begins_if_our_own_clock_would_go_back() -> None:
    model, peer = a_map(1), a_peer("k")
    put(model, "mine")
    report = take_over(model, peer)
    assert report.life == model.author.life == 2
    found = model.lookup(b"mine")
    assert found is not None
    assert found.source == source(1, 2)
    assert "going on as life 2" in report.words


def test_no_new_life_if_the_peer_knows_all_of_ours() -> None:
    model, peer = a_map(1), a_peer("k")
    mine = put(model, "mine")
    received(model, 7, record("others"))
    peer.receive([(mine.source, [mine.record])], EVER)
    peer.commit(model.clock.items())
    report = take_over(model, peer)
    assert (report.life, model.author.life) == (0, 1)
    assert report.dropped == ["others"]
    assert "life" not in report.words


def test_a_write_after_a_reset_stands_above_all_that_was_taken() -> None:
    model, peer = a_map(1), a_map(2)
    put(peer, "k", wall_ms=WALL + 50_000)
    take_over(model, peer)
    assert put(model, "k", "mine").timestamp > (WALL + 50_000) * 4096
    assert values(model) == {"k": "mine"}


# --- the report ----------------------------------------------------------------------------------


def test_the_report_says_it_in_words() -> None:
    report = take_over(mixed(), a_peer("k"))
    assert report.words == (
        "model default was reset to the state of peer, which has forgotten deletions that this "
        "node never saw: 0 of 2 updates here were known there, 1 (mine) issued anew, "
        "1 (others) dropped; going on as life 2"
    )


def test_who_has_but_caught_up_is_told_so() -> None:
    report = take_over(a_map(1), a_peer("j", "k"))
    assert report.words == (
        "model default: took over the state of peer, 2 updates (of 0 here all were known there)"
    )


def test_keys_in_a_report_are_bounded_and_the_rest_is_counted() -> None:
    model = a_map(1)
    for n in range(KEYS_MAX + 5):
        put(model, f"k{n}")
    report = take_over(model, a_peer("k"))
    assert (len(report.issued), report.issued_count) == (KEYS_MAX, KEYS_MAX + 5)
    assert f"{KEYS_MAX + 5} (k0, k1, " in report.words
    assert f"k{NAMED_MAX - 1}, ...) issued anew, none dropped" in report.words


# --- over a session ------------------------------------------------------------------------------


def below(model: Map, peer: Map) -> tuple[Session, Session]:
    """Both ends of a session in which `model` has to reset: ours, the peer's."""
    mine, theirs = Session(model, SKEW_MS), Session(peer, SKEW_MS)
    first, second = mine.clock_message(), theirs.clock_message()
    theirs.receive_clock(first)
    mine.receive_clock(second)
    assert mine.staging is not None
    assert theirs.serving
    return mine, theirs


def parts(session: Session, bytes_max: int = PLENTY, now: Instant = NOW) -> list[Reset]:
    return [part for part in drain(session, bytes_max, now) if isinstance(part, Reset)]


def keys(part: Reset) -> list[str]:
    return [slot_of(r).decode() for _, records in part.runs for r in records]


def test_parts_are_gathered_apart_and_readers_see_the_old_state_until_the_last() -> None:
    model, peer = a_map(1), a_peer(*(f"k{n}" for n in range(50)))
    put(model, "old")
    mine, theirs = below(model, peer)
    served = parts(theirs, 200)
    assert len(served) > 5
    before = state(model), len(entries(model.log))
    for part in served[:-1]:
        assert part.end is None
        assert mine.receive_reset(part, NOW) is None
        assert (state(model), len(entries(model.log))) == before
    whole = mine.receive_reset(served[-1], NOW)
    assert whole is not None
    assert state(whole) == state(peer)
    assert whole.floor == peer.floor
    assert (state(model), len(entries(model.log))) == before, "until it becomes that"


def test_all_of_the_state_is_served_though_our_clock_covers_it() -> None:
    model, peer = a_map(1), a_peer("j", "k")
    peer.floor.rise(source(9), 5)
    peer.commit([(source(9), 5)])
    model.commit([(peer.author.source, TICKS * 2)])
    _, theirs = below(model, peer)
    assert sorted(key for part in parts(theirs) for key in keys(part)) == ["j", "k"]


def test_what_we_have_told_to_have_is_not_left_out_either() -> None:
    """A HAVE, or a commit, of what will be replaced as a whole."""
    model, peer = a_map(1), a_peer("j", "k")
    _, theirs = below(model, peer)
    theirs.receive_have(Have("default", 1, peer.clock.copy_times(), 0))
    assert sorted(key for part in parts(theirs) for key in keys(part)) == ["j", "k"]


def test_what_the_peer_writes_meanwhile_is_served_before_the_end() -> None:
    model, peer = a_map(1), a_peer(*(f"k{n}" for n in range(9)))
    mine, theirs = below(model, peer)
    first = theirs.next_delta(60, NOW)
    assert isinstance(first, Reset)
    assert mine.receive_reset(first, NOW) is None
    put(peer, "k1", "again")
    put(peer, "new")
    for part in parts(theirs, 60):
        whole = mine.receive_reset(part, NOW)
    assert whole is not None
    assert state(whole) == state(peer)


def test_what_is_not_on_the_peers_disk_is_not_served() -> None:
    model, peer = a_map(1), a_peer("k")
    peer.log.stored = True
    saved(peer)
    put(peer, "unsaved")
    _, theirs = below(model, peer)
    (part,) = [theirs.next_delta(PLENTY, NOW)]
    assert isinstance(part, Reset)
    assert (keys(part), part.end) == (["k"], None)
    assert theirs.next_delta(PLENTY, NOW) is None
    saved(peer)
    *_, last = parts(theirs)
    assert last.end == (peer.clock.copy_times(), peer.floor.copy_times())


def test_the_end_is_said_once() -> None:
    _, theirs = below(a_map(1), a_peer("k"))
    assert [part.end is not None for part in parts(theirs)] == [False, True]
    assert not theirs.behind


def test_parts_of_an_older_round_are_ignored() -> None:
    model, peer = a_map(1), a_peer("j", "k")
    mine, theirs = below(model, peer)
    late = parts(theirs)
    again = mine.clock_message()
    for part in late:
        assert mine.receive_reset(part, NOW) is None
    theirs.receive_clock(again)
    mine.receive_clock(theirs.clock_message())
    assert mine.staging is not None
    assert mine.staging.log.live == 0
    for part in late:
        assert mine.receive_reset(part, NOW) is None
    assert mine.staging.log.live == 0
    for part in parts(theirs):
        whole = mine.receive_reset(part, NOW)
    assert whole is not None


def test_a_reset_that_nobody_waits_for_is_ignored() -> None:
    session = Session(a_map(1), SKEW_MS)
    session.clock_message()
    assert session.receive_reset(Reset("default", 1, [], 1, ({}, {})), NOW) is None


def test_with_an_update_from_the_future_it_is_not_taken_and_asked_for_again() -> None:
    model, peer = a_map(1), a_peer("k")
    put(peer, "ahead", wall_ms=WALL + SKEW_MS + 5000)
    mine, theirs = below(model, peer)
    for part in parts(theirs):
        assert mine.receive_reset(part, NOW) is None
    assert len(model.clock) == 0
    retry_ms = mine.retry_ms()
    assert retry_ms is not None
    later = Instant(9.0, retry_ms)
    theirs.receive_clock(mine.clock_message())
    mine.receive_clock(theirs.clock_message())
    for part in parts(theirs, now=later):
        whole = mine.receive_reset(part, later)
    assert whole is not None
    assert state(whole) == state(peer)


# --- between nodes -------------------------------------------------------------------------------


def above(node: Node, *keys: str) -> None:
    """Everybody else lies below that node's floor."""
    for key in keys:
        write(node, key, "peer's")
    default(node).floor.merge(default(node).clock.items())
    save(node)


def step(line: Line, *, saving: bool = False) -> None:
    for end in (0, 1):
        if saving:
            save(line.nodes[end])
        line.draw(end)
        line.deliver(end)


def until_reset(line: Line) -> None:
    """Let both talk, and save nothing, until a node was reset."""
    for _ in range(20):
        step(line)
        if any(node.replaced.resets for node in line.nodes):
            return
    raise AssertionError("nobody was reset")


def test_all_links_end_and_then_all_is_well() -> None:
    one, two, three = a_node(1), a_node(2), a_node(3)
    above(two, "k")
    write(one, "mine")
    third = Line(one, three)
    third.settle()
    line = Line(one, two)
    line.settle()
    third.settle()
    for link in (*line.links, *third.links):
        assert link.ended is not None
        assert link.ended.code == Code.AFRESH
    third.hang_up()
    line.hang_up()
    assert [report.issued for report in one.replaced.resets] == [["mine"]]
    assert one.new_lives == 1
    assert one.notices.warnings == [one.replaced.resets[0].words]
    for pair in ((one, two), (one, three), (one, two)):
        for _ in range(2):
            line = Line(*pair)
            line.settle()
            line.hang_up()
    assert values(default(one)) == {"k": "peer's", "mine": "v"}
    assert state(default(one)) == state(default(two)) == state(default(three))


def have_met(one: Node, two: Node) -> None:
    """Both hold a key, and are parted again."""
    write(two, "old")
    line = Line(one, two)
    line.settle()
    line.hang_up()


def test_who_lost_nothing_is_not_warned_about() -> None:
    one, two = a_node(1), a_node(2)
    have_met(one, two)
    above(two, "k")
    Line(one, two).settle()
    assert one.notices.warnings == []
    assert one.notices.news == [one.replaced.resets[0].words]


def test_a_newcomer_takes_over_all_models_on_the_links_it_has_and_says_so_in_one_line() -> None:
    one, two, three = a_node(1), a_node(2), a_node(3)
    above(two, "k", "j")
    two.create("more", "map")
    other = two.models["more"]
    assert isinstance(other, Map)
    put(other, "x")
    other.floor.merge(other.clock.items())
    save(two)
    third = Line(three, two)
    for line in (third, Line(one, two), Line(one, three)):
        line.settle()
        line.settle()
        assert line.up
    assert state(default(one)) == state(default(two)) == state(default(three))
    assert default(one).floor == default(two).floor
    assert one.replaced.resets == []
    one.tend(NOW)
    name = two.settings.name
    assert one.notices.warnings == []
    assert one.notices.news == [
        f"new here: took over the state of {name}: default (2 updates), more (1 updates)"
    ]


def test_what_was_under_way_to_a_newcomer_does_not_bring_back_what_is_forgotten() -> None:
    """One is new. Three holds what two has forgotten, and has it under way when one becomes two."""
    one, two, three = a_node(1), a_node(2), a_node(3)
    write(three, "dead")
    write(three, "old")
    third, line = Line(one, three), Line(one, two)
    third.draw(0)
    third.deliver(0)
    third.draw(1)
    third.deliver(1)  # three has our clock, of nothing
    third.draw(0)
    third.deliver(0)
    third.draw(1)  # the entries and their commit, under way
    assert third.under_way[1]
    default(two).floor.merge(default(three).clock.items())
    default(two).commit(default(three).clock.items())
    above(two, "k")
    line.settle()
    line.settle()
    assert values(default(one)) == {"k": "peer's"}
    third.deliver(1)
    assert values(default(one)) == {"k": "peer's"}
    assert default(one).clock == default(two).clock
    assert third.up


def test_what_a_reset_brings_is_not_taken_for_what_is_written_here() -> None:
    one, two = a_node(1), a_node(2)
    measure = ThroughputMeter(one)
    measure.turn(at(0))
    above(two, *(f"k{n}" for n in range(100)))
    Line(one, two).settle()
    measure.turn(at(1))
    measure.turn(at(2))
    course = one.sharing.courses["map"]
    assert course.flow.wanted < 10
    assert course.total_per_s <= 101


def test_writes_during_the_gathering_are_not_lost() -> None:
    one, two = a_node(1), a_node(2)
    above(two, *(f"k{n}" for n in range(5000)))
    line = Line(one, two)
    for _ in range(100):
        for end in (0, 1):
            line.draw(end)
            line.deliver(end, most=2000)
        session = line.links[0].sessions.get("default")
        if session and session.staging and session.staging.log.live:
            break
    else:
        raise AssertionError("nothing was gathered")
    write(one, "meanwhile")
    assert values(default(one)) == {"meanwhile": "v"}
    line.settle()
    assert values(default(one))["meanwhile"] == "v"
    assert len(values(default(one))) == 5001


def test_storage_gets_the_whole_in_one_batch_and_links_see_nothing_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scuttled.replica.checkpoint.SAVE_ENTRIES_MAX", 2)
    disk = MemoryDisk(node_id(1))
    one, two = a_node(1, disk=disk), a_node(2)
    write(one, "mine")
    save(one, disk)
    above(two, *"abcdef")
    until_reset(Line(one, two))
    model = default(one)
    assert sorted(values(model)) == [*"abcdef", "mine"], "readers see it at once"
    assert model.log.visible <= min(at for at, _, _ in entries(model.log))
    session = Session(model, SKEW_MS)
    session.clock_message()
    session.receive_clock(Session(a_map(5), SKEW_MS).clock_message())
    assert session.next_delta(PLENTY, NOW) is None
    assert values(default(a_node(1, disk=disk))) == {"mine": "v"}
    batch = one.durability.unsaved(clocks=False)
    assert batch is not None
    (part,) = [part for part in batch.models if part.name == "default"]
    assert part.replace
    assert len(part.entries) == 7
    assert dict(part.times) == model.clock.copy_times()
    assert dict(part.floor) == model.floor.copy_times()
    assert batch.life == 2
    disk.write(batch)
    one.saved(batch)
    assert model.log.visible == model.log.end
    assert not model.saved.replaced
    assert model.durable_clock == model.clock
    again = a_node(1, disk=disk)
    assert state(default(again)) == state(model)
    assert default(again).floor == model.floor


def test_a_second_reset_is_not_taken_while_the_first_is_not_on_disk() -> None:
    one, two, three = a_node(1, stored=True), a_node(2), a_node(3)
    have_met(one, two)
    above(two, "k")
    above(three, "j")
    default(three).floor.rise(source(9), 5)
    default(three).commit([(source(9), 5), *default(two).clock.items()])
    until_reset(line := Line(one, two))
    line.hang_up()
    line = Line(one, three)
    for _ in range(20):
        step(line)
    assert len(one.replaced.resets) == 1
    assert line.links[0].ended is not None
    assert line.links[0].ended.code == Code.AFRESH
    assert values(default(one)) == {"k": "peer's", "old": "v"}
    line.hang_up()
    save(one)
    Line(one, three).settle()
    assert len(one.replaced.resets) == 2


def test_our_rows_tell_the_new_life_and_not_the_clock_of_the_old() -> None:
    one, two = a_node(1), a_node(2)
    above(two, "k")
    write(one, "mine")
    Line(one, two).settle()
    rows = one.models[MEMBERS]
    assert isinstance(rows, Map)
    row = rows.lookup(f"{node_id(1).hex()}/default".encode())
    assert row is not None
    assert row.source == source(1, 2)
    assert one.members.model is rows


# --- becoming ------------------------------------------------------------------------------------


def test_no_reader_of_before_stands_within_the_new_log() -> None:
    model = a_map(1)
    for n in range(5):
        put(model, f"k{n}")
    whole = model.blank()
    before = model.log.end
    put(model, "meanwhile")
    assert isinstance(whole, Map)
    put(whole, "new")
    model.become(whole)
    assert model.log.forgotten > before
    assert [at for at, _, _ in entries(model.log)] == [model.log.forgotten + 1]


def test_models_of_any_kind_can_become_another() -> None:
    model: Scuttlebutt = a_map(1)
    author, name = model.author, model.name
    model.become(model.blank())
    assert (model.author, model.name) == (author, name)


def test_a_state_whose_clock_does_not_cover_its_own_floor_is_not_taken() -> None:
    """Who took it would lie below its own floor, and spread that: all would wait for a RESET."""
    mine, theirs = below(a_map(1), a_peer("k"))
    *_, last = parts(theirs)
    assert last.end is not None
    times, floor = last.end
    assert floor
    gone = {source: time for source, time in times.items() if source not in floor}
    with pytest.raises(RemoteProtocolError, match="a clock below its own floor"):
        mine.receive_reset(replace(last, end=(gone, floor)), NOW)


def test_what_finds_no_place_in_a_state_full_of_sources_is_told_as_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new life would be a source too many; an error in the midst of it would be worse."""
    monkeypatch.setattr(sources, "SOURCES_MAX", 50)
    model, peer = a_map(1), a_peer("k")
    put(model, "mine", "1")
    peer.clock.merge([(source(n), 1) for n in range(10, 59)])
    report = take_over(model, peer)
    assert (report.issued, report.dropped, report.life) == ([], ["mine"], 2)
    assert values(model) == values(peer)


def test_keys_are_named_as_far_as_an_answer_of_status_has_room() -> None:
    model, peer = a_map(1), a_peer("k")
    for n in range(100):
        put(model, f"{n:04}" * 900, "mine")
    report = take_over(model, peer)
    assert report.issued_count == 100
    assert sum(map(len, report.issued)) <= KEYS_BYTES_MAX
    assert len(report.issued) == KEYS_BYTES_MAX // 3600


def test_what_is_written_while_a_state_is_gathered_is_told_to_no_reader_twice() -> None:
    """The new log begins where no reader of the old one comes to meanwhile."""
    model, peer = a_map(1), a_peer("k")
    whole = model.blank()
    for n in range(5000):
        put(model, f"meanwhile{n}")
    end = model.log.end
    whole.receive([(source(2), [record("k", TICKS, b"peer's")])], EVER)
    whole.commit(peer.clock.items())
    rejoin(model, whole, model.author, Rejoin.OWN, Rejoined("default", "peer", LATER))  # type: ignore[arg-type]
    assert model.log.first > end
    assert len(values(model)) == 5001
