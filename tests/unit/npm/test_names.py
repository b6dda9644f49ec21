"""Ids of npm peers: echoes, late updates, aliases, ties, and what is remembered of a peer."""

from typing import Any

import pytest
from support.npm_talk import header, meet, said, say, updates
from support.scenes import NOW, SKEW_MS, WALL, a_node, default, values

from scuttled.models.value import Value
from scuttled.node.node import Node
from scuttled.npm import shared as shared_room
from scuttled.npm.bridge import Bridge
from scuttled.npm.session import LOOKED_AT_MAX, Talk
from scuttled.npm.shared import Shared
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant, life_of, source_text


def events(node: Node) -> Slots:
    node.create("news", "events")
    model = node.models["news"]
    assert isinstance(model, Slots)
    return model


def test_an_echo_says_nothing_of_what_came_before_it() -> None:
    x, y = a_node(1), a_node(2)
    say(Talk(Bridge(x, "default"), NOW), header("P"), [["early", 1], WALL, "P"])
    bridge = Bridge(y, "default")
    say(Talk(bridge, NOW), header("P"), [["late", 2], WALL + 5, "P"])
    third = Talk(bridge, NOW)
    say(third, header("Q"))
    assert updates(third) == [[["late", 2], WALL + 5, "P"]]
    say(third, [["late", 2], WALL + 5, "P"])  # as npm echoes everything
    meet(x, y)
    assert updates(third) == [[["early", 1], WALL, "P~"]]
    say(third, [["early", 1], WALL, "P~"])
    assert updates(third) == []
    assert values(default(y)) == {"early": "1", "late": "2"}


def test_the_second_life_of_an_id_is_told_of_its_first_and_not_of_itself() -> None:
    x, y = a_node(1), a_node(2)
    say(Talk(Bridge(x, "events:news"), NOW), header("P"), [["msg", 1], WALL, "P"])
    again = Talk(Bridge(y, "events:news"), NOW)
    say(again, header("P"), [["msg", 2], WALL + 5, "P"])
    assert updates(again) == []
    meet(x, y, "news")
    assert updates(again) == [[["msg", 1], WALL, "P~"]]


def test_an_alias_that_is_spent_gives_way_to_the_next() -> None:
    """Three nodes have heard of one id; what they have comes to a fourth in the wrong order."""
    nodes = [a_node(number) for number in (1, 2, 3)]
    for n, node in enumerate(nodes):
        say(Talk(Bridge(node, "default"), NOW), header("P"), [[f"k{n}", n], WALL + n, "P"])
    fourth = a_node(4)
    talk = Talk(Bridge(fourth, "default"), NOW)
    say(talk, header("Q"))
    told = []
    for node in reversed(nodes):
        meet(node, fourth)
        told += updates(talk)
    assert [update[1:] for update in told] == [
        [WALL + 2, "P"],
        [WALL + 1, "P~"],
        [WALL, "P~~"],
    ]


def test_one_event_that_two_nodes_have_heard_is_told_once() -> None:
    x, y = a_node(1), a_node(2)
    talks = [Talk(Bridge(node, "events:news"), NOW) for node in (x, y)]
    third = Talk(Bridge(y, "events:news"), NOW)
    say(third, header("Q"))
    for talk in talks:
        say(talk, header("P"), [["msg", 1], WALL, "P"], [["msg", 2], WALL + 1, "P"])
    assert len(updates(third)) == 2
    meet(x, y, "news")
    assert events(x).count == events(y).count == 2
    assert updates(third) == updates(talks[0]) == updates(talks[1]) == []


def test_what_comes_after_later_ones_of_its_id_is_taken_under_its_alias() -> None:
    node = a_node()
    bridge = Bridge(node, "default")
    writer, third = Talk(bridge, NOW), Talk(bridge, NOW)
    say(third, header("Q"))
    say(writer, header("P"), [["a", 1], WALL + 5, "P"], [["b", 2], WALL, "P"])
    assert values(default(node)) == {"a": "1", "b": "2"}
    # What was lower already when the two were told: in order, so it needs no alias at the third.
    assert sorted(update[2] for update in updates(third)) == ["P", "P~"]
    assert updates(writer) == []
    assert not writer.left_out


def test_what_comes_late_and_is_outranked_makes_no_source() -> None:
    node = a_node()
    talk = Talk(Bridge(node, "default"), NOW)
    say(talk, header("P"), [["a", 1], WALL + 5, "P"], [["a", 2], WALL, "P"])
    assert values(default(node)) == {"a": "1"}
    assert sum(not life_of(source) for source, _ in default(node).clock.items()) == 1


def test_an_echo_of_what_we_wrote_and_have_replaced_makes_no_source() -> None:
    node = a_node()
    update = default(node).put("k", 1, b"old", WALL)
    old = [["k", "old"], update.timestamp / 4096, source_text(update.source)]
    default(node).put("k", 1, b"new", WALL)
    talk = Talk(Bridge(node, "default"), NOW)
    say(talk, header("Q"), old)
    assert [life_of(source) for source, _ in default(node).clock.items()] == [1]
    assert values(default(node)) == {"k": "new"}


def test_a_peer_whose_id_ends_like_an_alias_is_heard() -> None:
    node = a_node()
    bridge = Bridge(node, "default")
    talk, third = Talk(bridge, NOW), Talk(bridge, NOW)
    say(talk, header("me~"), [["k", 1], WALL, "me~"])
    assert values(default(node)) == {"k": "1"}
    say(third, header("Q"))
    assert updates(third) == [[["k", 1], WALL, "me~"]]


def test_two_writes_of_a_key_at_one_time_are_written_anew() -> None:
    node = a_node()
    bridge = Bridge(node, "default")
    talk = Talk(bridge, NOW)
    say(talk, header("Q"), [["k", "a"], WALL, "A"], [["k", "b"], WALL, "B"])
    winner = values(default(node))["k"]
    [told] = updates(talk)
    assert told[0] == ["k", winner]
    assert told[1] > WALL
    assert told[2] == source_text(node.author.source)
    say(talk, [["k", "a"], WALL, "A"], [["k", "b"], WALL, "B"])  # it settles them once
    assert updates(talk) == []


def test_two_writes_of_a_value_at_one_time_are_written_anew() -> None:
    """npm lets the greater id win, and we the greater source."""
    node = a_node()
    talk = Talk(Bridge(node, "value:motd"), NOW)
    say(talk, header("Q"), ["a", WALL, "A"], ["b", WALL, "B"])
    motd = node.models["motd"]
    assert isinstance(motd, Value)
    [told] = updates(talk)
    assert told[0] == motd.get()
    assert told[1] > WALL


def test_writes_at_different_times_are_no_tie() -> None:
    node = a_node()
    for target in ("default", "value:motd"):
        talk = Talk(Bridge(node, target), NOW)
        change: Any = ["k", 1] if target == "default" else 1
        say(talk, header("Q"), [change, WALL, "A"], [change, WALL + 1, "B"])
        assert updates(talk) == []


def test_what_a_peer_has_sent_it_need_not_send_again() -> None:
    bridge = Bridge(a_node(), "default")
    first = Talk(bridge, NOW)
    say(first, header("P", P=WALL), [["k", 1], WALL, "P"], "SYNC")
    first.end()
    again = Talk(bridge, NOW)
    say(again, header("P", P=WALL))
    assert said(again)[0]["clock"]["P"] == WALL


def test_of_a_history_that_was_cut_nothing_is_remembered() -> None:
    """Scuttlebucket, for one, does not send by time over all ids."""
    bridge = Bridge(a_node(), "default")
    first = Talk(bridge, NOW)
    say(first, header("P", P=WALL + 1), [["k", 1], WALL, "P"])
    first.end()
    again = Talk(bridge, NOW)
    say(again, header("P", P=WALL + 1))
    assert "P" not in said(again)[0]["clock"]


def test_another_peer_of_that_id_is_not_taken_for_it() -> None:
    """Its own clock is lower than what we heard; if we claimed that, it would send nothing."""
    bridge = Bridge(a_node(), "default")
    first = Talk(bridge, NOW)
    say(first, header("P", P=WALL), [["k", 1], WALL, "P"], "SYNC")
    first.end()
    other = Talk(bridge, NOW)
    say(other, header("P", P=WALL - 5))
    assert "P" not in said(other)[0]["clock"]


def test_what_was_left_out_as_of_the_future_comes_again() -> None:
    node = a_node()
    bridge = Bridge(node, "default")
    soon = WALL + SKEW_MS + 1000
    first = Talk(bridge, NOW)
    claims = {"P": soon + 5}
    update = [["k", 1], soon, "P"]
    say(first, header("P", **claims), [["now", 0], WALL, "P"], update, "SYNC")
    assert first.left_out == {"an update from the future": 1}
    first.end()
    later = Instant(5.0, WALL + 5000)
    again = Talk(bridge, later)
    say(again, header("P", **claims), now=later)
    assert WALL <= said(again, later)[0]["clock"]["P"] < soon
    say(again, update, now=later)
    assert values(default(node), later.wall_ms) == {"now": "0", "k": "1"}


def test_what_crossed_is_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_room, "SHARED_MAX", 3)
    crossed = Shared()
    for ticks in range(1, 6):
        crossed.add("P", ticks, b"slot", "")
    assert [crossed.has("P", ticks, b"slot", "") for ticks in (2, 3, 5)] == [False, True, True]
    assert crossed.may_have("P", 2)
    assert not crossed.may_have("P", 3)
    assert not crossed.may_have("Q", 1)
    assert not crossed.has("P", 5, b"other", "")
    assert not crossed.has("P", 5, b"slot", "part")


def test_a_long_history_comes_back_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what came to this node, order says what one by one is no longer known."""
    monkeypatch.setattr(shared_room, "SHARED_MAX", 3)
    node = a_node()
    for target in ("default", "events:news"):
        talk = Talk(Bridge(node, target), NOW)
        say(talk, header("P"), *[[[f"k{n}", n], WALL + n, "P"] for n in range(20)])
        assert updates(talk) == []
        assert not talk.not_sent


def test_two_updates_of_one_id_at_one_time_go_under_two_names() -> None:
    """Two peers that were given one id; npm takes the first alone."""
    nodes = [a_node(1), a_node(2)]
    for n, node in enumerate(nodes):
        say(Talk(Bridge(node, "default"), NOW), header("P"), [[f"k{n}", n], WALL, "P"])
    meet(*nodes)
    third = Talk(Bridge(nodes[0], "default"), NOW)
    say(third, header("Q"))
    told = updates(third)
    assert sorted(update[0] for update in told) == [["k0", 0], ["k1", 1]]
    assert [update[1:] for update in told] == [[WALL, "P"], [WALL, "P~"]]


def test_the_end_of_the_history_is_said_after_all_of_all_parts() -> None:
    node = a_node()
    for part, count in (("many", 2 * LOOKED_AT_MAX), ("few", 1)):
        node.create(f"app.{part}", "map")
        model = node.models[f"app.{part}"]
        assert isinstance(model, Slots)
        for n in range(count):
            model.fill(f"k{n}".encode(), 1, b"v", WALL)
    for target in ("bucket:app.{many=map,few=map}", "app.many"):
        talk = Talk(Bridge(node, target), NOW)
        say(talk, header("Q"))
        messages = said(talk)
        assert messages[-1] == "SYNC"
        assert messages.count("SYNC") == 1
        assert len(messages) >= 2 * LOOKED_AT_MAX + 2


@pytest.mark.parametrize("arrived", [True, False])
def test_a_peer_that_was_away_is_told_what_came_late_meanwhile(arrived: bool) -> None:
    x, y = a_node(1), a_node(2)
    bridge = Bridge(y, "events:news")
    say(Talk(Bridge(x, "events:news"), NOW), header("P"), [["msg", 1], WALL, "P"])
    say(Talk(bridge, NOW), header("P"), [["msg", 2], WALL + 5, "P"], [["msg", 3], WALL + 6, "P"])
    first = Talk(bridge, NOW)
    say(first, header("Q"))
    told = updates(first)
    assert [update[0][1] for update in told] == [2, 3]
    say(first, *told)  # as npm echoes everything
    first.end()
    meet(x, y, "news")
    again = Talk(bridge, NOW)
    say(again, header("Q", P=WALL + 6 if arrived else WALL + 5))
    late = [[["msg", 1], WALL, "P~"]] if arrived else [[["msg", 3], WALL + 6, "P"]]
    assert updates(again) == late
    again.end()
    third = Talk(bridge, NOW)
    say(third, header("Q", P=WALL + 6, **({"P~": WALL} if arrived else {})))
    assert updates(third) == []


def test_what_a_peer_has_by_another_way_is_not_told_for_late() -> None:
    x, y = a_node(1), a_node(2)
    bridge = Bridge(y, "events:news")
    say(Talk(Bridge(x, "events:news"), NOW), header("P"), [["msg", 1], WALL, "P"])
    say(Talk(bridge, NOW), header("P"), [["msg", 2], WALL + 5, "P"])
    for begin, news in (
        (header("Q", P=WALL - 5), []),
        (header("R"), [[["msg", 0], WALL - 5, "P"]]),
    ):
        first = Talk(bridge, NOW)
        say(first, begin, *news)
        say(first, *updates(first))
        first.end()
    meet(x, y, "news")
    for peer in ("Q", "R"):
        again = Talk(bridge, NOW)
        say(again, header(peer, P=WALL + 5))
        assert [update[2] for update in updates(again) if update[0][1] == 1] == []


def test_a_peer_whose_clock_was_set_back_is_not_silenced_by_its_own_past() -> None:
    """npm takes for old what it writes itself, if its own id stands higher in its clock."""
    bridge = Bridge(a_node(), "default")
    say(Talk(bridge, NOW), header("P"), [["before", 1], WALL - 5, "P"])
    again = Talk(bridge, NOW)
    say(again, header("P", P=WALL - 1000), [["after", 2], WALL - 1000, "P"])
    assert updates(again) == [[["before", 1], WALL - 5, "P~"]]
    anew = Talk(bridge, NOW)
    say(anew, header("P"))  # it has nothing: this is its own
    assert [update[2] for update in updates(anew)] == ["P~", "P"]
