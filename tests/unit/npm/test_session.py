"""Conversations that no npm peer has: what of them is kept, and what is not passed on."""

import json
from typing import Any

import pytest
from support.scenes import NOW, WALL, a_node, default, put, values, write

from scuttled.errors import RemoteProtocolError
from scuttled.node.node import Node
from scuttled.npm import session as room
from scuttled.npm.bridge import Bridge
from scuttled.npm.codec import LineDecoder, ticks_of
from scuttled.npm.session import CAUSES_MAX, Talk
from scuttled.replica import sources
from scuttled.replica.change import JSON

HEADER = {"id": "A", "clock": {}}


def a_talk(node: Node | None = None, target: str = "default") -> Talk:
    return Talk(Bridge(node or a_node(), target), NOW)


def say(talk: Talk, *messages: Any) -> None:
    talk.feed(b"".join(json.dumps(message).encode() + b"\n" for message in messages), NOW)


def said(talk: Talk) -> list[Any]:
    lines = b""
    while talk.wants_to_send(NOW):
        lines += talk.draw(NOW)
    return [json.loads(line) for line in lines.splitlines()]


def test_a_conversation_remembers_no_more_sources_than_a_clock_can_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "SOURCES_MAX", 50)
    talk = a_talk()
    say(talk, HEADER, *[[["k", n], WALL, f"source{n}"] for n in range(50)])
    say(talk, [["k", 0], WALL + 1, "source0"])
    say(talk, [["k", 0], WALL, "another"])
    assert len(talk._heard) == 50


def test_why_something_was_left_out_is_told_apart_for_so_many_causes_only() -> None:
    talk = a_talk(target="bucket:app-")
    count = 3 * CAUSES_MAX
    say(talk, HEADER, *[[[f"no name {n}", ["k", 1]], WALL + n, "A"] for n in range(count)])
    assert len(talk.left_out) == CAUSES_MAX + 1
    assert talk.left_out.total() == count


@pytest.mark.parametrize("number", ["1e999", "-1e999", "[1.5, 1e400]"])
def test_a_number_that_javascript_has_not_ends_the_conversation(number: str) -> None:
    with pytest.raises(RemoteProtocolError, match="a line that is no JSON"):
        a_talk().feed(f'[["k","v"],{WALL},"A",{number}]\n'.encode(), NOW)


def test_a_time_of_four_hundred_digits_is_no_time() -> None:
    assert ticks_of(10**400) is None
    assert ticks_of(-(10**400)) is None
    assert ticks_of(float("nan")) is None
    assert ticks_of(WALL) == WALL * 4096


def test_what_npm_has_no_word_for_is_left_out_and_the_rest_is_said() -> None:
    """It came from a peer of ours. An error would end every conversation, now and later."""
    node = a_node()
    default(node).fill(b"k", JSON, b"1e999", WALL)
    default(node).fill(b"deep", JSON, b"[" * 900 + b"]" * 900, WALL)
    default(node).fill(b"good", JSON, b"1", WALL)
    talk = a_talk(node)
    say(talk, HEADER)
    changes = [message[0] for message in said(talk) if isinstance(message, list)]
    assert ["good", 1] in changes
    assert ["k", "1e999"] in changes


def test_characters_that_come_in_pieces_are_whole_again() -> None:
    """In the seed a chunk that ends within a character puts a replacement in its place."""
    said = [["é→\u2028😀", 1], {"id": "ü"}]
    data = b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in said)
    for size in (1, 2, 3, 7, len(data)):
        lines = LineDecoder()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert [each for piece in pieces for each in lines.feed(piece)] == said


def test_an_npm_id_too_many_is_left_out_and_the_conversation_and_the_model_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "BRIDGED_SOURCES_MAX", 50)
    node = a_node()
    talk = a_talk(node)
    say(talk, HEADER, *[[[f"k{n}", n], WALL, f"source{n}"] for n in range(60)])
    assert len(default(node).clock) == 50
    assert dict(talk.left_out) == {
        "model 'default' has 50 sources, so there can be no new one": 60 - default(node).count
    }
    say(talk, [["k0", "again"], WALL + 1, "source0"])
    assert values(default(node))["k0"] == "again"
    write(node, "ours")
    assert values(default(node))["ours"] == "v"


def test_a_header_of_more_sources_than_are_remembered_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "SOURCES_MAX", 50)
    talk = a_talk()
    say(talk, {"id": "A", "clock": {f"source{n}": WALL for n in range(100)}})
    say(talk, [["k", 1], WALL, "new"])
    assert values(default(talk.bridge.node)) == {"k": "1"}


def test_each_part_of_a_bucket_is_a_model_of_its_own_and_no_other_is_told_of() -> None:
    node = a_node()
    for name in ("app-x", "app-y"):
        node.create(name, "map")
        put(node.models[name], name, "ours")  # type: ignore[arg-type]
    write(node, "default", "not meant")
    talk = a_talk(node, target="bucket:app-{x=map,y=map}")
    say(talk, HEADER, [["y", ["k", "theirs"]], WALL, "A"])
    told = [line[0] for line in said(talk) if isinstance(line, list)]
    assert sorted(told) == [["x", ["app-x", "ours"]], ["y", ["app-y", "ours"]]]
    assert values(node.models["app-y"]) == {"app-y": "ours", "k": "theirs"}  # type: ignore[arg-type]
    assert values(node.models["app-x"]) == {"app-x": "ours"}  # type: ignore[arg-type]
