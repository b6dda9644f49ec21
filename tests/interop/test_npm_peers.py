"""Real npm `scuttlebutt` 5.6.15 and its family, in node, against real daemons."""

import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from support.fleet import Fleet
from support.npm_door import bridged, holds, values
from support.waiting import until

COUNT = 10_000
Start = Callable[..., Any]


def test_both_ways_what_was_there_and_what_comes(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    daemon.cli("set", "ours/text", "hello")
    daemon.cli("set", "ours/json", "--json-value", '{"deep":[1,{"x":null}]}')
    peer = npm("model", "N1", port)
    peer("set", "theirs", {"a": [1, 2.5, "é→\u2028x", True, None]})
    expected = {
        "ours/text": "hello",
        "ours/json": {"deep": [1, {"x": None}]},
        "theirs": {"a": [1, 2.5, "é→\u2028x", True, None]},
    }
    peer.becomes(expected)
    holds(daemon, expected)
    daemon.cli("set", "live", "1")
    peer("set", "back", 2)
    peer.becomes({**expected, "live": "1", "back": 2})
    holds(daemon, {**expected, "live": "1", "back": 2})
    assert len(peer.headers) == 1


def test_a_write_beats_what_its_writer_could_see_on_either_side(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    peer = npm("model", "N1", port)
    for n in range(5):
        peer("set", "k", f"npm{n}")
        holds(daemon, {"k": f"npm{n}"})
        daemon.cli("set", "k", f"ours{n}")
        peer.becomes({"k": f"ours{n}"})


def test_deletes_go_both_ways_and_survive_a_reconnect(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    peer = npm("model", "N1", port)
    peer("set", "a", 1)
    peer("set", "b", 2)
    holds(daemon, {"a": 1, "b": 2})
    daemon.cli("del", "a")
    peer.becomes({"b": 2})
    peer("set", "b", None)
    holds(daemon, {})
    peer("set", "c", 3)
    holds(daemon, {"c": 3})
    daemon.kill9()
    peer("set", "c", None)
    daemon.start()
    holds(daemon, {})
    peer.becomes({})
    again = npm("model", "N2", port)
    again.becomes({})


def test_chain_of_npm_scuttled_npm_keeps_ids_and_times(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    one, two = npm("model", "ONE", port), npm("model", "TWO", port)
    one("set", "x", "from one")
    two("set", "y", "from two")
    one.becomes({"x": "from one", "y": "from two"})
    two.becomes({"x": "from one", "y": "from two"})
    assert sorted(map(str, one("history"))) == sorted(map(str, two("history")))
    assert {update[2] for update in two("history")} == {"ONE", "TWO"}
    holds(daemon, {"x": "from one", "y": "from two"})


def test_two_npm_processes_are_joined_by_two_daemons(fleet: Fleet, npm: Start) -> None:
    a, at_a = bridged(fleet, "a")
    b, at_b = bridged(fleet, "b", peers=["a"])
    b.wait("--peers", "1")
    one, two = npm("model", "ONE", at_a), npm("model", "TWO", at_b)
    one("set", "x", 1)
    two("set", "y", {"n": 2})
    a.cli("set", "z", "3")
    everything = {"x": 1, "y": {"n": 2}, "z": "3"}
    for peer in (one, two):
        peer.becomes(everything)
    for daemon in (a, b):
        holds(daemon, everything)
    assert {u[2] for u in two("history")} >= {"ONE", "TWO"}
    one("set", "x", None)
    two.becomes({"y": {"n": 2}, "z": "3"})
    assert a.clock() == b.clock()


def test_a_ring_with_a_link_between_the_npm_peers(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    direct = fleet.address("direct").rpartition(":")[2]
    one = npm("model", "ONE", port, f"listen:{direct}")
    two = npm("model", "TWO", port, f"connect:{direct}")
    for n in range(20):
        one("set", f"one{n}", n)
        two("set", f"two{n}", n)
        daemon.cli("set", "turn", str(n))
    expected = {f"{who}{n}": n for who in ("one", "two") for n in range(20)} | {"turn": "19"}
    for peer in (one, two):
        peer.becomes(expected)
    holds(daemon, expected)


def test_concurrent_writers_of_the_same_keys_converge(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    peers = [npm("model", f"P{n}", port) for n in range(3)]
    for n in range(60):
        peers[n % 3]("set", f"k{n % 5}", f"{n}")
    daemon.cli("set", "k0", "ours")
    until(
        lambda: peers[0]("state") == peers[1]("state") == peers[2]("state") == values(daemon),
        "all four to agree",
    )


def test_ten_thousand_keys_each_way(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    pairs = "".join(f"ours{n}\t{n}\n" for n in range(COUNT))
    daemon.cli("import", "-", "--tsv", stdin=pairs.encode())
    peer = npm("model", "N1", port)
    peer("many", "theirs", COUNT)
    peer.becomes(2 * COUNT, "size")
    until(lambda: daemon.text("ls", "--count") == f"{2 * COUNT}\n", "all keys")


def test_it_goes_on_after_either_side_was_killed(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    peer = npm("model", "N1", port)
    peer("set", "a", 1)
    holds(daemon, {"a": 1})
    daemon.kill9()
    peer("set", "b", 2)
    daemon.start()
    holds(daemon, {"a": 1, "b": 2})
    daemon.cli("set", "c", "3")
    peer.becomes({"a": 1, "b": 2, "c": "3"})
    peer.kill()
    daemon.cli("set", "d", "4")
    other = npm("model", "N2", port)
    other.becomes({"a": 1, "b": 2, "c": "3", "d": "4"})


def test_a_peer_that_comes_back_sends_only_what_is_new(fleet: Fleet, npm: Start) -> None:
    daemon, _ = bridged(fleet)
    address = fleet.address("npm-server")
    other = fleet.daemon("b", args=["--npm-connect", f"{address}=default"])
    peer = npm("model", "N1", f"listen:{address.rpartition(':')[2]}")
    peer("many", "k", 50)
    until(lambda: other.text("ls", "--count") == "50\n", "all keys")
    assert daemon.text("ls", "--count") == "0\n"
    assert "npm peer N1 is up" in other.log()


def test_signed_updates_pass_through_unchanged(fleet: Fleet, npm: Start) -> None:
    a, at_a = bridged(fleet, "a")
    b, at_b = bridged(fleet, "b", peers=["a"])
    b.wait("--peers", "1")
    one, two = npm("signed", "ONE", at_a), npm("signed", "TWO", at_b)
    one("set", "k", {"z": 1, "a": [1.5, "ü", None]})
    until(lambda: two("state") == {"k": {"z": 1, "a": [1.5, "ü", None]}}, "the signed update")
    a.cli("set", "unsigned", "x")
    until(lambda: len(two("unverified")) == 1, "the unsigned one to be refused")
    assert [update[0][0] for update in two("unverified")] == ["unsigned"]


def test_events_reach_all_once(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet, target="events:news")
    daemon.cli("-m", "news", "emit", "msg", "before")
    peer = npm("events", "N1", port)
    peer("emit", "msg", {"n": 1})
    peer("emit", "other", "two", "arguments")
    peer("emit", "msg")
    until(lambda: len(peer("heard")) == 4, "all events")
    rows = daemon.json("-m", "news", "on", "--all", "-n", "4", "-j")
    told = [(row["key"], row["value"]) for row in rows]
    assert sorted(map(str, told)) == sorted(
        map(
            str,
            [("msg", "before"), ("msg", {"n": 1}), ("other", ["two", "arguments"]), ("msg", None)],
        )
    )
    second = npm("events", "N2", port)
    until(lambda: len(second("heard")) == 4, "the history")
    expected = [["msg", "before"], ["msg", {"n": 1}], ["msg"], ["other", "two", "arguments"]]
    assert sorted(map(str, second("heard"))) == sorted(map(str, expected))
    daemon.cli("-m", "news", "emit", "other", "live")
    until(lambda: len(second("heard")) == 5, "the live one")
    until(lambda: len(peer("heard")) == 5, "the live one")


def test_a_value_and_an_expiry_model(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet, target="value:motd")
    peer = npm("value", "V1", port)
    peer("assign", {"v": 1})
    until(lambda: daemon.cli("-m", "motd", "get").stdout == b'{"v": 1}\n', "their value")
    daemon.cli("-m", "motd", "call", "set", "ours")
    peer.becomes("ours")
    other, port = bridged(fleet, "b")
    peer = npm("expiry", "E1", port)
    peer("set", "k", {"a": 1})
    holds(other, {"k": {"a": 1}})
    other.cli("set", "m", "x")
    until(lambda: peer("state").get("m") == "x", "ours")


def test_a_bucket_of_models_and_events(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet, target="bucket:app.")
    daemon.cli("model", "create", "app.chat", "--type", "events")
    daemon.cli("-m", "app.meta", "set", "title", "T")
    peer = npm("bucket", "B1", port)
    peer("put", "lang", "en")
    peer("emit", "msg", "hi")
    holds(daemon, {"title": "T", "lang": "en"}, "app.meta")
    peer.becomes({"title": "T", "lang": "en"})
    rows = daemon.json("-m", "app.chat", "on", "--all", "-n", "1", "-j")
    assert [(row["key"], row["value"]) for row in rows] == [("msg", "hi")]
    daemon.cli("-m", "app.chat", "emit", "msg", "back")
    until(lambda: ["msg", "back"] in peer("heard"), "our event")
    second = npm("bucket", "B2", port)
    second.becomes({"title": "T", "lang": "en"})


def test_a_type_that_only_npm_has_is_joined_by_a_log_of_its_changes(
    fleet: Fleet, npm: Start
) -> None:
    a, at_a = bridged(fleet, "a", target="log:npm")
    _, at_b = bridged(fleet, "b", target="log:npm", peers=["a"])
    one, two = npm("array", "ONE", at_a), npm("array", "TWO", at_b)
    one("push", "a", {"b": 1}, "c")
    one("splice", 0, 1)
    two.becomes([{"b": 1}, "c"])
    a.kill9()
    two("splice", 1, 0, "x")
    two("push", "d")
    a.start()
    for peer in (one, two, npm("array", "THREE", at_a)):
        peer.becomes([{"b": 1}, "x", "c", "d"])
    assert {update[2] for update in one("history")} <= {"ONE", "TWO"}
    assert sorted(map(str, one("history"))) == sorted(map(str, two("history")))


def test_a_stopped_peer_costs_nothing_and_gets_what_is_true_later(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    stuck, other = npm("model", "STUCK", port), npm("model", "OTHER", port)
    daemon.cli("set", "k", "0")
    for peer in (stuck, other):
        peer.becomes({"k": "0"})
    stuck.process.send_signal(signal.SIGSTOP)
    before = daemon.rss()
    with daemon.client() as client:
        for n in range(300):  # 30 MB of one key: a queue would show
            client.request("set", key="k", kind="text", value=b"%d" % n + b"x" * 100_000)
        client.request("set", key="k", kind="text", value=b"last")
    other.becomes({"k": "last"})
    assert daemon.rss() - before < 20 << 20
    stuck.process.send_signal(signal.SIGCONT)
    stuck.becomes({"k": "last"})


def test_a_peer_that_is_reset_leaves_nothing_behind(fleet: Fleet) -> None:
    daemon, port = bridged(fleet)
    for n in range(20):
        stream = socket.create_connection(("127.0.0.1", int(port.partition(":")[2])), 10)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.sendall(b'{"id":"R%d","clock":{}}\n' % n)
        stream.recv(10)
        stream.close()
    until(lambda: len(daemon.ask("peers")["peers"]) == 1, "all to be over")
    assert "ended: the connection broke" in daemon.log()
    assert "Traceback" not in daemon.log()


GARBAGE = {
    "not JSON": b"GET / HTTP/1.1\r\n\r\n",
    "blank line": b"\n",
    "no clock": b"{}\n",
    "null clock": b'{"id":"x","clock":null}\n',
    "proto id": b'{"id":"__proto__","clock":{}}\n',
    "second header": b'{"id":"x","clock":{}}\n{"id":"x","clock":{}}\n',
    "deep": b'{"id":"x","clock":{}}\n' + b"[" * 100_000 + b"\n",
    "huge": b'"' + b"x" * (2 << 20),
    "not UTF-8": b'{"id":"x\xff","clock":{}}\n',
    "NaN": b'{"id":"x","clock":{}}\n[["k",NaN],1,"x"]\n',
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_ends_that_connection_only(what: str, fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    peer = npm("model", "N1", port)
    with socket.create_connection(("127.0.0.1", int(port.partition(":")[2])), 10) as stream:
        try:
            stream.sendall(GARBAGE[what])
            while stream.recv(65536):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass
    peer("set", "alive", 1)
    holds(daemon, {"alive": 1})
    until(lambda: daemon.log().count(" ended: ") == 1, "one line in the log")
    assert "Traceback" not in daemon.log()


def test_updates_that_make_no_sense_are_left_out_and_told_of(fleet: Fleet) -> None:
    daemon, port = bridged(fleet)
    lines = [
        '{"id":"x","clock":{"A":"zzz","B":true,"__proto__":5}}',
        '[null,1,"x"]',
        '[["__proto__",1],2,"x"]',
        '[["k",1],9e15,"x"]',
        '[["k",1],1e308,"x"]',
        '[["k",1],2100000000000.5,"x"]',
        '[["k",1],-1,"x"]',
        '[["k",1],true,"x"]',
        '[["k",1],3,"__proto__"]',
        '["dispose"]',
        "7",
        '[["constructor","fine"],1795401318666.002,"constructor"]',
        '"SYNC"',
    ]
    with socket.create_connection(("127.0.0.1", int(port.partition(":")[2])), 10) as stream:
        for line in lines:
            stream.sendall(line.encode() + b"\n")
        holds(daemon, {"constructor": "fine"})
    until(lambda: " ended: " in daemon.log(), "the end")
    assert "1 left out: an update from the future" in daemon.log()
    assert "Traceback" not in daemon.log()
