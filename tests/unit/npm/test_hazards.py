"""What is said to an npm peer: nothing that ends its process; see tests/interop for real ones."""

from typing import Any

import pytest
from support.npm_talk import header, meet, say, updates
from support.scenes import NOW, WALL, a_node, default, values

from scuttled.config.settings import BRIDGES
from scuttled.errors import ConfigError, RemoteProtocolError
from scuttled.models.log import Log
from scuttled.npm import codec as lines_room
from scuttled.npm import removals as removals_room
from scuttled.npm.bridge import Bridge, BridgeTarget
from scuttled.npm.codec import LeftOut, LineDecoder, read_line
from scuttled.npm.hazards import INHERITED, INTERNAL, NESTING_MAX, Unsayable, nesting
from scuttled.npm.removals import Removals
from scuttled.npm.session import Talk
from scuttled.npm.translation import name_of
from scuttled.replica.change import JSON, TEXT
from scuttled.replica.slots import Slots

LONG = "a line of more than 1048576 bytes"


def told(target: str, *changes: Any) -> tuple[list[Any], dict[str, int]]:
    """What a peer is told of what was written here, and what it is not told, by cause."""
    node = a_node()
    talk = Talk(Bridge(node, target), NOW)
    model = node.models[talk.bridge.name]
    assert isinstance(model, Slots)
    for change in changes:
        if isinstance(model, Log):
            model.append(change)
        else:
            model.emit(*change)  # type: ignore[attr-defined]
    say(talk, header("Q"))
    return [update[0] for update in updates(talk)], dict(talk.not_sent)


@pytest.mark.parametrize("name", sorted(INHERITED | INTERNAL))
def test_an_event_of_such_a_name_is_not_told(name: str) -> None:
    changes, missing = told("events:news", (name, 1), ("fine", 2))
    assert changes == [["fine", 2]]
    assert sum(missing.values()) == 1
    assert name in next(iter(missing))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        5,
        True,
        "text",
        {"push": 5},
        {"push": "text"},
        {"push": True},
        {"remove": "nobody:1795401741654"},
        {"remove": "no time"},
        {"remove": "P:0"},
        {"remove": "P:1795401741654.1234567"},
        {"remove": ":1795401741654"},
        {"remove": ["nobody:1795401741654"]},
        {"remove": {"__id": "nobody:1"}},
        {"__proto__": {"x": 1}},
        {"hasOwnProperty": 1},
        ["constructor", {"a": 1}],
        ["toString", None],
        ["row", {"hasOwnProperty": 1}],
        ["row", {"error": "boom"}],
        [[["__proto__", "polluted"], 1]],
        [[["a", "constructor"]], [["b"], 1]],
    ],
)
def test_an_entry_that_would_end_a_peer_is_not_told(entry: Any) -> None:
    changes, missing = told("log:shared", entry, {"k": 1})
    assert changes == [{"k": 1}]
    assert sum(missing.values()) == 1


@pytest.mark.parametrize(
    "entry",
    [
        {},
        [],
        {"V143": "one", "k143": None},
        {"push": {"constructor": 1}},
        {"push": []},
        {"push": None},
        {"remove": None},
        ["row", {"text": "constructor", "tags": ["__proto__"]}],
        ["row", None],
        [[["a", "b"], 1], [["c"]]],
        {"deep": {"error": 1}},
    ],
)
def test_an_entry_that_ends_nobody_is_told_as_it_is(entry: Any) -> None:
    assert told("log:shared", entry) == ([entry], {})


def test_what_an_npm_peer_wrote_goes_to_others_as_it_is() -> None:
    """A type of one's own may mean anything by a number, or by `remove`."""
    bridge = Bridge(a_node(), "log:own")
    writer, other = Talk(bridge, NOW), Talk(bridge, NOW)
    changes = [5, None, "text", {"remove": "an element"}, {"push": 5}, ["row", {"error": 1}]]
    say(writer, header("P"), *[[change, WALL + n, "P"] for n, change in enumerate(changes)])
    say(other, header("Q"))
    assert [update[0] for update in updates(other)] == changes


def test_a_removal_of_an_entry_that_did_not_cross_is_left_out_whoever_wrote_it() -> None:
    bridge = Bridge(a_node(), "log:list")
    writer = Talk(bridge, NOW)
    say(writer, header("P"), [{"push": {"n": 1}}, WALL, "P"], [{"push": {"n": 2}}, WALL + 0.5, "P"])
    say(writer, [{"remove": f"P:{WALL}"}, WALL + 1, "Z"])
    say(writer, [{"remove": f"P:{WALL}"}, WALL + 2, "P"])  # a second one: npm dies of it
    newcomer, known = Talk(bridge, NOW), Talk(bridge, NOW)
    say(newcomer, header("Q"))
    say(known, header("R", P=WALL + 0.5))
    assert [update[0] for update in updates(newcomer)] == [
        {"push": {"n": 1}},
        {"push": {"n": 2}},
        {"remove": f"P:{WALL}"},
    ]
    assert updates(known) == []
    words = "a removal of what was not sent, or was removed, on this connection"
    assert dict(newcomer.not_sent) == {words: 1}
    assert dict(known.not_sent) == {words: 2}
    say(writer, [{"remove": f"P:{WALL + 0.5}"}, WALL + 3, "P"])
    assert [update[0] for update in updates(newcomer)] == [{"remove": f"P:{WALL + 0.5}"}]


def test_a_removal_that_is_written_here_is_told_to_whom_the_entry_was_sent() -> None:
    bridge = Bridge(a_node(), "log:list")
    model = bridge.node.models["list"]
    assert isinstance(model, Log)
    writer, other = Talk(bridge, NOW), Talk(bridge, NOW)
    say(writer, header("P"), [{"push": {"n": 1}}, WALL, "P"], [{"push": {"n": 2}}, WALL + 1, "P"])
    say(other, header("Q"))
    assert len(updates(other)) == 2
    model.append({"remove": f"P:{WALL}"})
    for talk in (writer, other):
        assert [update[0] for update in updates(talk)] == [{"remove": f"P:{WALL}"}]
    say(other, [{"remove": f"P:{WALL + 1}"}, WALL + 5, "Q"])
    model.append({"remove": f"P:{WALL + 1}"})  # too late: it is removed there
    assert updates(other) == []
    assert sum(other.not_sent.values()) == 1


def test_an_entry_that_went_under_an_alias_can_not_be_removed_there() -> None:
    """append-only names it by the alias, and dies of the name that we know."""
    x, y = a_node(1), a_node(2)
    say(Talk(Bridge(x, "log:list"), NOW), header("P"), [{"push": {"n": 1}}, WALL, "P"])
    talk = Talk(Bridge(y, "log:list"), NOW)
    say(talk, header("Q"), [["row", {"a": 1}], WALL + 1, "P"])
    meet(x, y, "list")
    assert [update[2] for update in updates(talk)] == ["P~"]
    model = y.models["list"]
    assert isinstance(model, Log)
    model.append({"remove": f"P:{WALL}"})
    assert updates(talk) == []
    assert sum(talk.not_sent.values()) == 1


def test_removals_are_remembered_as_long_as_what_crossed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals_room, "SHARED_MAX", 2)
    removals = Removals()
    for slot in (b"a", b"b", b"c"):
        removals.settle(slot)
    removals.check(b"a", has_crossed=True)
    for slot in (b"b", b"c"):
        with pytest.raises(Unsayable):
            removals.check(slot, has_crossed=True)


def test_a_key_that_npm_inherits_is_told_to_a_model_and_not_to_a_bucket() -> None:
    node = a_node()
    for model in ("default", "app.meta"):
        node.create(model, "map")
        for key in ("constructor", "__proto__", "fine"):
            held = node.models[model]
            assert isinstance(held, Slots)
            held.fill(key.encode(), TEXT, b"v", WALL)
    alone = Talk(Bridge(node, "default"), NOW)
    bucket = Talk(Bridge(node, "bucket:app.{meta=map}"), NOW)
    for talk in (alone, bucket):
        say(talk, header("Q"))
    assert [update[0][0] for update in updates(alone)] == ["constructor", "fine"]
    assert [update[0] for update in updates(bucket)] == [["meta", ["fine", "v"]]]
    assert sum(bucket.not_sent.values()) == 2


def test_how_deep_a_text_is_nested() -> None:
    assert nesting(b'{"a":[1,[2]],"b":"[[[[\\"[["}') == (3, 0)
    assert nesting(b"[[[") == (3, 3)
    node = a_node()
    default(node).fill(b"deep", JSON, b"[" * (NESTING_MAX + 1) + b"]" * (NESTING_MAX + 1), WALL)
    talk = Talk(Bridge(node, "default"), NOW)
    say(talk, header("Q"))
    assert updates(talk) == []
    assert dict(talk.not_sent) == {
        f"a value nested {NESTING_MAX + 1} deep, at most {NESTING_MAX}": 1
    }


# --- lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1 << 20, 3 << 20, 700_000])
def test_a_line_that_is_too_long_is_left_out_however_it_comes(size: int) -> None:
    data = b'"' + b"x" * (2 << 20) + b'"\n"SYNC"\n'
    lines = LineDecoder()
    found = [m for at in range(0, len(data), size) for m in lines.feed(data[at : at + size])]
    assert found == [LeftOut(LONG), "SYNC"]
    assert len(lines._rest) <= lines_room.LINE_BYTES_MAX


def test_a_line_nested_too_deep_for_us_is_left_out_and_one_that_never_ends_is_no_json() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000  # Python 3.13 reads some thousand
    assert list(LineDecoder().feed(deep + b"\n7\n")) == [
        LeftOut("a line that is nested too deep"),
        7,
    ]
    for bad in (deep, b"[" * 100_000):
        with pytest.raises(RemoteProtocolError, match="nested too deep"):
            read_line(bad)
    with pytest.raises(RemoteProtocolError, match="nested too deep"):
        list(LineDecoder().feed(b"[" * 100_000 + b"\n"))


def test_whoever_begins_with_such_a_line_is_no_npm_peer() -> None:
    talk = Talk(Bridge(a_node(), "default"), NOW)
    with pytest.raises(RemoteProtocolError, match=LONG):
        talk.feed(b"x" * (1 << 20) + b"x", NOW)


# --- names, targets and parts ----------------------------------------------------------------


def test_numbers_and_booleans_name_what_javascript_has_them_name() -> None:
    assert [name_of(value) for value in (5, -3, 1.5, 0.25, True, False, 10**20, 2.0)] == [
        "5", "-3", "1.5", "0.25", "true", "false", "100000000000000000000", "2",
    ]  # fmt: skip
    assert [name_of(value) for value in (1e-7, 10**21, None, [1])] == [1e-7, 10**21, None, [1]]


def test_a_signed_change_is_not_passed_on_under_another_name_of_its_key() -> None:
    talk = Talk(Bridge(a_node(), "default"), NOW)
    say(talk, header("P"), [[5, "v"], WALL, "P", "signature"], [["k", "v"], WALL + 1, "P", "s"])
    assert sum(talk.left_out.values()) == 1
    assert values(default(talk.bridge.node)) == {"k": "v"}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("bucket:app.{", "not closed"),
        ("bucket:app.{}", "expected 1 to 64 parts"),
        ("bucket:app.{a=map,a=log}", "each once"),
        ("bucket:app.{a=set}", "part 'a' is a 'set', allowed: map, value, events, log"),
        ("bucket:app.{a}", "part 'a' is a ''"),
        ("bucket:app.{=map}", "part ''"),
        ("bucket:app.{constructor=map}", "a name that ends an npm process"),
        ("thing:x", "'thing' is not one of bucket, map, value, events, log"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(target: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BridgeTarget.read(target)


def test_parts_with_their_types_are_one_item_of_a_list_in_the_environment() -> None:
    text = "127.0.0.1:1=bucket:a.{m=map, c=events},127.0.0.1:2=default"
    assert BRIDGES.from_text is not None
    assert BRIDGES.read(BRIDGES.from_text(text)) == (
        "127.0.0.1:1=bucket:a.{m=map, c=events}",
        "127.0.0.1:2=default",
    )
    assert BridgeTarget.read("bucket:a.{m=map, c=events}").parts == {"m": "map", "c": "events"}


def test_a_bucket_takes_only_the_parts_that_it_names() -> None:
    node = a_node()
    talk = Talk(Bridge(node, "bucket:app.{meta=map,chat=events}"), NOW)
    say(talk, header("B"), [["chat", ["msg", "hi"]], WALL, "B"], [["x", ["k", 1]], WALL + 1, "B"])
    assert {name for name in node.models if name.startswith("app.")} == {"app.meta", "app.chat"}
    assert node.models["app.chat"].data_type == "events"
    words = "the part 'x', which bucket:app.{meta=map,chat=events} does not name"
    assert dict(talk.left_out) == {words: 1}


def test_a_part_that_gets_a_type_ends_the_conversation_so_that_all_comes_again() -> None:
    node = a_node()
    talk = Talk(Bridge(node, "bucket:app."), NOW)
    say(talk, header("B"), [["chat", ["msg", "hi"]], WALL, "B"], "SYNC")
    assert updates(talk) == []
    assert "app.chat" not in node.models
    node.create("app.chat", "events")
    assert talk.wants_to_send(NOW)
    with pytest.raises(RemoteProtocolError, match="a part has a type now"):
        talk.draw(NOW)
    talk.end()
    again = Talk(Bridge(node, "bucket:app."), NOW)
    say(again, header("B"), [["chat", ["msg", "hi"]], WALL, "B"])
    model = node.models["app.chat"]
    assert isinstance(model, Slots)
    assert model.count == 1


def test_a_bridge_leaves_the_options_that_are_on_their_way() -> None:
    node = a_node()
    talk = Talk(Bridge(node, "cache"), NOW)
    model = node.models["cache"]
    assert isinstance(model, Slots)
    assert model.options == {}
    model.set_options(WALL, ttl_ms=1000)  # as comes from another node
    say(talk, header("P"), [["k", 1], WALL, "P"])
    updates(talk)
    assert model.options == {"ttl_ms": 1000, "keep_deleted": True}
    found = model.lookup(b"k")
    assert found is not None
    assert found.expires_ms == WALL + 1000
