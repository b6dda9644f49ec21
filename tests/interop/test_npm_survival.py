"""What would end the process of a real npm peer is not said to it, and is shown."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.fleet import Daemon, Fleet
from support.npm_door import bridged, holds, npm_rows
from support.waiting import until

Start = Callable[..., Any]

INHERITED = (
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
)
INTERNAL = (
    "error",
    "dispose",
    "_update",
    "_remove",
    "newListener",
    "removeListener",
    "old_data",
    "unverified_data",
    "unstream",
    "unclone",
)


def not_sent(daemon: Daemon, peer: str) -> dict[str, int]:
    """What was not sent to that npm peer, by cause."""
    found: dict[str, int] = npm_rows(daemon)[peer]["npm"]["not_sent"]
    return found


def test_no_event_name_ends_a_peer_or_a_newcomer(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet, target="events:news")
    peer = npm("events", "N1", port)
    daemon.cli("-m", "news", "emit", "__proto__", "x")
    daemon.cli("-m", "news", "emit", "error", "boom")
    names = [*INHERITED, *INTERNAL]
    with daemon.client() as client:
        for name in names:
            for value in (b"null", b'"x"', b'[["x"],1795401741654,"forged"]'):
                client.request("emit", model="news", name=name, kind="json", value=value)
    daemon.cli("-m", "news", "emit", "msg", "--json-value", '{"__proto__":{"x":1}}')
    daemon.cli("-m", "news", "emit", "msg", "last")
    newcomer = npm("events", "N2", port)
    for each in (peer, newcomer):
        until(lambda each=each: ["msg", "last"] in each("heard"), "the last event")
        assert each.is_alive()
        assert len(each.headers) == 1
        assert len(each("heard")) == 2
    assert sum(not_sent(daemon, "N1").values()) == 3 * len(names) + 2
    assert "the event name __proto__, which ends" in npm_rows(daemon)["N1"]["reason"]
    assert "forged" not in peer("sources")


@pytest.mark.parametrize("target", ["default", "bucket:app.{meta=map}"])
def test_no_key_and_no_value_ends_a_peer(target: str, fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet, target=target)
    model = "default" if target == "default" else "app.meta"
    kinds = "model" if target == "default" else "bucket{meta=model}"
    peers = [npm(kinds, "N1", port)]
    if target == "default":
        peers.append(npm("expiry", "E1", port))
    odd = ['{"__proto__":{"x":1}}', '{"hasOwnProperty":1}', '{"toJSON":1,"then":1}', "1e300", "0"]
    with daemon.client() as client:
        for key in [*INHERITED, *INTERNAL, "k"]:
            for value in odd:
                client.request("set", model=model, key=key, kind="json", value=value.encode())
            client.request("del", model=model, keys=[key])
            client.request("set", model=model, key=key, kind="text", value=b"v")
    deep = "[" * 900 + "]" * 900
    daemon.cli("-m", model, "set", "deep", "--json-value", deep)
    daemon.cli("-m", model, "set", "last", "1")
    peers.append(npm(kinds, "N2", port))
    for peer in peers:
        until(lambda peer=peer: peer("state").get("last") == "1", "the last key")
        assert peer.is_alive()
        assert len(peer.headers) == 1


def test_no_entry_of_a_log_ends_a_peer_of_any_type(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet, target="log:shared")
    kinds = ("append", "array", "doc")
    peers = [npm(kind, f"{kind}-1", port) for kind in kinds]
    entries = ["null", "5", '"text"', "true", '{"push":5}', '{"push":"text"}']
    entries += ['{"remove":"nobody:1795401741654"}', '{"remove":5}', '{"remove":"what"}']
    entries += ['["row",{"error":"x"}]']
    for name in INHERITED:
        entries += [f'{{"{name}":1}}', f'["{name}",{{"a":1}}]', f'["{name}",null]']
        entries += [f'["row",{{"{name}":1}}]', f'[[["{name}","x"],1]]']
    daemon.cli("-m", "shared", "call", "append", "null")
    with daemon.client() as client:
        for entry in entries[1:]:
            args = [json.loads(entry)]
            client.request("call", model="shared", operation="append", args=args)
    daemon.cli("-m", "shared", "call", "append", '["last",{"a":1}]')
    peers += [npm(kind, f"{kind}-2", port) for kind in kinds]
    for peer in peers:
        until(lambda peer=peer: len(peer("sources")) == 1, "the last entry")
        assert peer.is_alive()
        assert len(peer.headers) == 1
    assert peers[2]("state") == {"last": {"id": "last", "a": 1}}
    assert sum(not_sent(daemon, "append-1").values()) == len(entries)


def test_a_removal_is_said_where_the_entry_is_and_once(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet, target="log:list")
    one, two = npm("append", "ONE", port), npm("append", "TWO", port)
    for n in range(3):
        one("push", {"n": n})
    until(lambda: len(two("names")) == 3, "the entries")
    first, second, third = two("names")
    two("remove", first)
    one.becomes([{"n": 1}, {"n": 2}])
    removal = json.dumps({"remove": second})
    for _ in range(2):  # the second one would end them
        daemon.cli("-m", "list", "call", "append", removal)
    daemon.cli("-m", "list", "call", "append", json.dumps({"remove": first}))
    daemon.cli("-m", "list", "call", "append", '{"push":{"last":1}}')
    for peer in (one, two, npm("append", "THREE", port)):
        peer.becomes([{"n": 2}, {"last": 1}])
        assert peer.is_alive()
    assert third in one("names")


def test_a_bucket_is_told_of_no_part_that_it_has_not(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet, target="bucket:app.{meta=map,chat=events}")
    other, at_other = bridged(fleet, "b", target="bucket:app.")
    for each in (daemon, other):
        each.cli("-m", "app.unknown", "set", "k", "v")
        each.cli("-m", "app.constructor", "set", "k", "v")
        each.cli("-m", "app.meta", "set", "k", "v")
    peer, second = npm("bucket", "B1", port), npm("bucket", "B2", at_other)
    peer.becomes({"k": "v"})
    until(lambda: "B2" in npm_rows(other), "the second peer")
    assert "part 'unknown' not sent" in npm_rows(other)["B2"]["reason"]
    second("put", "theirs", 1)
    second.becomes({"k": "v", "theirs": 1})
    for each in (peer, second):
        assert each.is_alive()
        assert len(each.headers) == 1


def test_a_part_that_has_no_type_is_refused_in_words_and_comes_once_it_has(
    fleet: Fleet, npm: Start
) -> None:
    daemon, port = bridged(fleet, target="bucket:app.")
    peer = npm("bucket{meta=model,chat=events,motd=value}", "B1", port)
    for n in range(3):
        peer("part", "chat", "emit", "msg", n)
    peer("part", "motd", "set", "hello")
    until(lambda: "B1" in npm_rows(daemon), "the peer")
    until(lambda: len(npm_rows(daemon)["B1"]["npm"]["left_out"]) == 2, "both parts to be named")
    words = npm_rows(daemon)["B1"]["reason"]
    assert "3 left out: the part 'chat' has no type" in words
    assert "scuttled model create app.chat --type TYPE" in words
    assert "--npm ADDR=bucket:app.{chat=TYPE}" in words
    assert daemon.ask("status")["healthy"] is False
    assert [row["name"] for row in daemon.json("model", "ls")] == ["default"]
    daemon.cli("model", "create", "app.chat", "--type", "events")
    daemon.cli("model", "create", "app.motd", "--type", "value")
    rows = daemon.json("-m", "app.chat", "on", "--all", "-n", "3", "-j")
    assert [row["value"] for row in rows] == [0, 1, 2]
    until(lambda: daemon.text("-m", "app.motd", "get") == "hello", "the value")
    newcomer = npm("bucket{meta=model,chat=events,motd=value}", "B2", port)
    until(lambda: len(newcomer("heard")) == 3, "all three events")
    assert newcomer("parts")["motd"] == "hello"


def test_numbers_and_booleans_are_keys_and_names(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    one, two = npm("model", "N1", port), npm("model", "N2", port)
    expected = {"5": "a", "-1.5": "b", "true": "c", "text": "d"}
    for key, value in zip((5, -1.5, True, "text"), "abcd", strict=True):
        one("set", key, value)
    holds(daemon, expected)
    two.becomes(expected)
    one("set", "", "empty")
    until(lambda: npm_rows(daemon)["N1"]["npm"]["left_out"], "the empty key to be told of")
    assert "1 left out: key of 0 bytes" in npm_rows(daemon)["N1"]["reason"]
