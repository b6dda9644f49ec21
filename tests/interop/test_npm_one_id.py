"""Ids of npm peers that live twice, come late or by two ways: nothing is lost, nothing comes twice.

In npm an id is for one life in one place; its clock of an id says "all of it up to there".
"""

from collections.abc import Callable
from typing import Any

from support.fleet import Daemon, Fleet
from support.npm_door import bridged, holds, npm_rows
from support.waiting import until

Start = Callable[..., Any]
HOUR_MS = 3_600_000


def join(one: Daemon, other: Daemon) -> None:
    one.cli("join", other.address)
    one.wait("--peers", "1")


def test_an_id_that_began_anew_at_another_daemon_keeps_its_first_write(
    fleet: Fleet, npm: Start
) -> None:
    x, at_x = bridged(fleet, "x")
    y, at_y = bridged(fleet, "y")
    first = npm("model", "P", at_x)
    first("set", "early", 1)
    holds(x, {"early": 1})
    first.kill()
    again = npm("model", "P", at_y)
    third = npm("model", "Q", at_y)
    again("set", "late", 2)
    for peer in (again, third):
        peer.becomes({"late": 2})
    join(x, y)
    everything = {"early": 1, "late": 2}
    for peer in (again, third, npm("model", "R", at_x), npm("model", "S", at_y)):
        peer.becomes(everything)
    for daemon in (x, y):
        holds(daemon, everything)


def test_events_of_an_id_that_began_anew_elsewhere_come_once_each(fleet: Fleet, npm: Start) -> None:
    x, at_x = bridged(fleet, "x", target="events:news")
    y, at_y = bridged(fleet, "y", target="events:news")
    first = npm("events", "P", at_x)
    for n in range(3):
        first("emit", "msg", n)
    until(lambda: x.json("-m", "news", "call", "size")[0]["result"] == 3, "the first life")
    first.kill()
    again = npm("events", "P", at_y)
    third = npm("events", "Q", at_y)
    for n in range(3, 6):
        again("emit", "msg", n)
    until(lambda: len(third("heard")) == 3, "the second life")
    join(x, y)
    y.cli("-m", "news", "emit", "msg", "--json-value", "6")
    expected = [["msg", n] for n in range(7)]
    for peer in (again, third, npm("events", "R", at_x)):
        until(lambda peer=peer: ["msg", 6] in peer("heard"), "the last event")
        until(lambda peer=peer: len(peer("heard")) >= 7, "all events")
        assert sorted(peer("heard")) == expected
    assert y.json("-m", "news", "call", "size")[0]["result"] == 7


def test_two_peers_of_one_id_at_two_daemons_are_heard_by_all_others(
    fleet: Fleet, npm: Start
) -> None:
    x, at_x = bridged(fleet, "x")
    y, at_y = bridged(fleet, "y", peers=["x"])
    y.wait("--peers", "1")
    twins = (npm("model", "P", at_x), npm("model", "P", at_y))
    others = (npm("model", "Q", at_x), npm("model", "R", at_y))
    for n in range(40):
        twins[n % 2]("set", f"k{n}", n)
    twins[0]("many", "x", 50)
    twins[1]("many", "y", 50)
    expected = {f"k{n}": n for n in range(40)}
    expected |= {f"{who}{n}": {"n": n} for who in "xy" for n in range(50)}
    for daemon in (x, y):
        holds(daemon, expected)
    for peer in (*others, npm("model", "S", at_x)):
        peer.becomes(expected)


def test_two_peers_of_one_id_at_one_daemon_are_heard_by_all_others(
    fleet: Fleet, npm: Start
) -> None:
    x, at_x = bridged(fleet, "x")
    twins = (npm("model", "P", at_x), npm("model", "P", at_x))
    other = npm("model", "Q", at_x)
    twins[0]("set", "zero", 0)
    other.becomes({"zero": 0})
    twins[0]("many", "x", 50)
    twins[1]("many", "y", 50)
    expected = {f"{who}{n}": {"n": n} for who in "xy" for n in range(50)} | {"zero": 0}
    holds(x, expected)
    for peer in (other, npm("model", "R", at_x)):
        peer.becomes(expected)


def test_a_peer_at_two_daemons_hears_each_event_once(fleet: Fleet, npm: Start) -> None:
    """Both daemons take its events in; while they are apart, and when they meet."""
    x, at_x = bridged(fleet, "x", target="events:news")
    y, at_y = bridged(fleet, "y", target="events:news")
    both = npm("events", "P", at_x, at_y)
    third = npm("events", "Q", at_x)
    fourth = npm("events", "R", at_y)
    until(lambda: len(both.headers) == 2, "both connections")
    for n in range(100):
        both("emit", "msg", n)
    for peer in (third, fourth):
        until(lambda peer=peer: len(peer("heard")) == 100, "the events while apart")
    join(x, y)
    for n in range(100, 200):
        both("emit", "msg", n)
    y.cli("-m", "news", "emit", "msg", "--json-value", "200")
    expected = [["msg", n] for n in range(201)]
    for peer in (both, third, fourth):
        until(lambda peer=peer: ["msg", 200] in peer("heard"), "the last event")
        until(lambda peer=peer: len(peer("heard")) >= 201, "all events")
        assert sorted(peer("heard")) == expected
    assert x.clock("news") == y.clock("news")


def test_a_peer_whose_clock_was_set_back_is_still_heard(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    first = npm("model", "P", port)
    other = npm("model", "Q", port)
    first("set", "before", 1)
    holds(daemon, {"before": 1})
    first.kill()
    again = npm("model", "P")
    again("clock", -HOUR_MS)
    again("set", "after", 2)
    again("connect", int(port.partition(":")[2]))
    again("set", "live", 3)
    expected = {"before": 1, "after": 2, "live": 3}
    holds(daemon, expected)
    other.becomes(expected)
    npm("model", "R", port).becomes(expected)


def test_a_clock_that_is_ahead_is_said_in_status(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    peer = npm("model", "AHEAD", port)
    peer("set", "now", 1)
    holds(daemon, {"now": 1})
    peer("clock", HOUR_MS)
    peer("set", "soon", 2)
    words = "updates of npm peer AHEAD: 1 left out: an update from the future"
    until(lambda: words in daemon.ask("status")["problems"], "the problem")
    done = daemon.cli("status", "--check", check=False)
    assert done.returncode == 1
    assert words in done.stderr.decode()
    row = npm_rows(daemon)["AHEAD"]
    assert row["state"] == "npm"
    assert row["npm"]["left_out"] == {"an update from the future": 1}
    [shown] = [line for line in daemon.text("peers").splitlines() if line.startswith("AHEAD")]
    assert shown.split("\t")[3] == "npm"
    assert "1 left out: an update from the future" in shown
    assert "an update was left out: an update from the future" in daemon.log()


def test_a_line_that_is_too_long_blocks_nothing_behind_it(fleet: Fleet, npm: Start) -> None:
    daemon, port = bridged(fleet)
    peer = npm("model", "N1")
    peer("set", "huge", "x" * (2 << 20))
    peer("set", "small", 1)
    peer("connect", int(port.partition(":")[2]))
    holds(daemon, {"small": 1})
    peer("set", "live-huge", "x" * (2 << 20))
    peer("set", "live", 2)
    holds(daemon, {"small": 1, "live": 2})
    daemon.cli("set", "ours", "x")
    until(lambda: peer("state").get("ours") == "x", "our key")
    assert npm_rows(daemon)["N1"]["npm"]["left_out"] == {"a line of more than 1048576 bytes": 2}
    assert daemon.ask("status")["healthy"] is False
    assert len(peer.headers) == 1


def test_a_value_whose_json_is_too_long_is_not_sent_and_ends_nothing(
    fleet: Fleet, npm: Start
) -> None:
    """npm echoes what it hears, so it would come back as a line that is too long for us."""
    daemon, port = bridged(fleet)
    peer = npm("model", "N1", port)
    with daemon.client() as client:
        client.request("set", model="default", key="big", kind="text", value=b"\x01" * (400 << 10))
    daemon.cli("set", "small", "1")
    peer.becomes({"small": "1"})
    [(why, count)] = npm_rows(daemon)["N1"]["npm"]["not_sent"].items()
    assert why.startswith("a change of 2457")
    assert count == 1
    assert len(peer.headers) == 1


def test_documents_of_crdt_are_joined_by_a_log(fleet: Fleet, npm: Start) -> None:
    a, at_a = bridged(fleet, "a", target="log:doc")
    _, at_b = bridged(fleet, "b", target="log:doc", peers=["a"])
    one, two = npm("doc", "ONE", at_a), npm("doc", "TWO", at_b)
    one("row", "r1", {"type": "todo", "text": "x"})
    two.becomes({"r1": {"id": "r1", "type": "todo", "text": "x"}})
    two("row", "r1", {"text": "y"})
    two("row", "r2", {"done": True})
    a.cli("-m", "doc", "call", "append", '["r3",{"from":"scuttled"}]')
    expected = {
        "r1": {"id": "r1", "type": "todo", "text": "y"},
        "r2": {"id": "r2", "done": True},
        "r3": {"id": "r3", "from": "scuttled"},
    }
    for peer in (one, two, npm("doc", "THREE", at_b)):
        peer.becomes(expected)
    a.kill9()
    one("row", "r2", {"done": False})
    expected["r2"]["done"] = False
    a.start()
    for peer in (one, two, npm("doc", "FOUR", at_a)):
        peer.becomes(expected)


def test_a_model_with_a_ttl_forgets_as_an_expiry_model_does(fleet: Fleet, npm: Start) -> None:
    daemon = fleet.daemon("a")
    daemon.cli("model", "create", "cache", "--type", "map", "--ttl", "1s")
    other, at_cache = bridged(fleet, "b", target="cache", peers=["a"])
    until(lambda: "cache" in [row["name"] for row in daemon.json("model", "ls")], "the model")
    peer = npm("expiry", "E1", at_cache)
    peer("set", "k", {"a": 1})
    until(lambda: daemon.state("cache"), "it to come")
    until(lambda: not daemon.state("cache") and not other.state("cache"), "it to go")


def test_two_writes_of_a_value_at_one_time_are_the_same_everywhere(
    fleet: Fleet, npm: Start
) -> None:
    daemon, port = bridged(fleet, target="value:motd")
    peers = []
    for n in range(6):
        peer = npm("value", f"V{n}", port)
        peer("at", 1_795_401_741_654)
        peers.append(peer)
    for n, peer in enumerate(peers):
        peer("assign", n)
    until(lambda: len({peer("state") for peer in peers}) == 1, "all peers to agree")
    value = peers[0]("state")
    until(lambda: daemon.text("-m", "motd", "get").strip() == str(value), "the daemon to agree")
