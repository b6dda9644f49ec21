"""One link for each pair of nodes, however they are configured, and dialled until it is there."""

import re

from support.fleet import Daemon, Fleet
from support.waiting import until


def _port(daemon: Daemon) -> str:
    return daemon.address.rsplit(":", 1)[1]


def _links(daemon: Daemon) -> list[str]:
    """The names of those it is linked with; a name twice for two links."""
    return [row["name"] for row in daemon.ask("peers")["peers"] if row["state"] == "up"]


def _settled(*daemons: Daemon) -> None:
    """All links are up and quiet: updates went both ways on each of them."""
    for daemon in daemons:
        daemon.ask("set", model="default", key=daemon.name, kind="text", value="x")
    for daemon in daemons:
        for other in daemons:
            daemon.wait("--key", other.name)
        daemon.wait("--peers", str(len(daemons) - 1), "--synced")


def test_nodes_that_dial_each_other_at_once_keep_one_link_of_two(fleet: Fleet) -> None:
    daemons = fleet.mesh("a", "b", "c")
    _settled(*daemons)
    a, b, c = daemons
    for daemon, others in ((a, "bc"), (b, "ac"), (c, "ab")):
        assert sorted(_links(daemon)) == list(others)
        assert daemon.ask("status")["peers_up"] == 2
    logs = [daemon.log() for daemon in daemons]
    connections = _established(a, b, c)
    assert connections == 3, f"{connections} connections between three nodes: {logs}"


def _established(*daemons: Daemon) -> int:
    """TCP connections between these: each has one end whose local port is a listening one."""
    ports = {f"{int(_port(daemon)):04X}" for daemon in daemons}
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    local = [row[1].split(":")[1] for row in rows if row[3] == "01"]
    return sum(port in ports for port in local)


def test_a_link_that_both_dialled_outlives_what_its_twin_left_behind(fleet: Fleet) -> None:
    """Its age says so: it is not dialled anew when the other one was closed."""
    a, b = fleet.mesh("a", "b")
    _settled(a, b)
    closed = a.log().count("link to b closed"), b.log().count("link to a closed")
    for number in range(20):
        a.ask("set", model="default", key="n", kind="text", value=str(number))
        b.wait("--key", f"n={number}")
    assert (a.log().count("link to b closed"), b.log().count("link to a closed")) == closed
    assert max(closed) <= 1


def test_a_node_under_two_addresses_has_one_link(fleet: Fleet) -> None:
    b = fleet.daemon("b")
    a = fleet.daemon("a", args=["--peers", f"127.0.0.1:{_port(b)},localhost:{_port(b)}"])
    _settled(a, b)
    assert _links(a) == ["b"]
    assert _links(b) == ["a"]
    until(lambda: a.ask("status")["healthy"], "both addresses to be up")
    assert a.ask("status")["peers_up"] == 1, "they are one peer"
    assert _established(a, b) == 1
    assert a.ask("status")["healthy"]


def test_a_node_that_lists_itself_knows_so_and_says_nothing_of_it(fleet: Fleet) -> None:
    a = fleet.daemon("a", peers=["a", "b"])
    b = fleet.daemon("b", peers=["a"])
    _settled(a, b)
    rows = a.ask("peers")["peers"]
    assert [(row["name"], row["state"]) for row in rows] == [("a", "self"), ("b", "up")]
    status = a.ask("status")
    assert (status["peers_up"], status["peers_configured"], status["problems"]) == (1, 1, [])
    assert a.address not in re.sub("gossip .*", "", a.log())
    assert _established(a, b) == 1


def test_a_peer_that_comes_later_is_found_and_so_is_one_that_comes_back(fleet: Fleet) -> None:
    a = fleet.daemon("a", peers=["b"])
    b_address = fleet.address("b")
    until(lambda: a.peers()[b_address]["reason"] == "Connection refused", "the first attempt")
    until(lambda: a.peers()[b_address]["state"] == "never", "an attempt in vain")
    b = fleet.daemon("b")
    a.wait("--peers", "1", "--synced")
    b.kill9()
    until(lambda: a.peers()["b"]["state"] == "down", "the end of the link")
    a.ask("set", model="default", key="meanwhile", kind="text", value="x")
    b.start()
    b.wait("--key", "meanwhile")
    assert a.log().count("Connection refused") <= 4, "said anew at every attempt"
