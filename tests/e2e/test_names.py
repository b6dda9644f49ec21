"""Names that lead to several addresses, to the node itself, to nothing, and elsewhere later.

Each daemon runs in a mount namespace in which /etc/hosts is the test's own file.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import until

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]
MOUNT = 'mount --bind "$0" /etc/hosts && exec "$@"'


class Hosts:
    """A file of names, in force for those that are started with `prefix`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.prefix = [*UNSHARE, "sh", "-c", MOUNT, str(path)]
        self.say("127.0.0.1 localhost")

    def say(self, *lines: str) -> None:
        """From now on the names are these; the file stays the same one, as a mount needs it."""
        self.path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    hosts = Hosts(tmp_path / "hosts")
    if shutil.which("unshare") is None or subprocess.run([*hosts.prefix, "true"]).returncode:
        words = "no mount namespace of one's own here"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return hosts


PLACES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def start(
    fleet: Fleet, hosts: Hosts, name: str, place: str, port: int, peers: str, *args: str
) -> Daemon:
    listen = ["--listen", f"{place}:{port}", "--peers", peers]
    daemon = fleet.daemon(name, args=[*listen, *args], prefix=hosts.prefix, start=False)
    return daemon.start()


def free_port(fleet: Fleet) -> int:
    return int(fleet.address("port").rpartition(":")[2])


def rows(daemon: Daemon) -> dict[str, str]:
    """The peers of a daemon by address, and the state of each."""
    return {row["address"]: row["state"] for row in daemon.json("peers") if row["state"] != "self"}


def is_alone(daemon: Daemon) -> bool:
    (status,) = daemon.json("status")
    return "alone" in [problem["code"] for problem in status["diagnoses"]]


def three(fleet: Fleet, hosts: Hosts) -> tuple[int, list[Daemon]]:
    port = free_port(fleet)
    hosts.say(*(f"{place} all.test" for place in PLACES))
    peers = f"all.test:{port}"
    names = zip("abc", PLACES, strict=True)
    return port, [start(fleet, hosts, name, place, port, peers) for name, place in names]


def test_the_first_of_three_that_name_all_of_them_comes_back_after_a_restart(
    fleet: Fleet, hosts: Hosts
) -> None:
    """It reaches itself, too; which is no reason never to dial again."""
    port, daemons = three(fleet, hosts)
    for daemon in daemons:
        daemon.wait("--peers", "2")
    for daemon in daemons:
        daemon.restart()
        for each in daemons:
            each.wait("--peers", "2")
        assert daemon.cli("status", "--check", check=False).returncode == 0
    a, b, c = daemons
    a.cli("set", "k", "v")
    c.wait("--key", "k=v")
    assert rows(a) == {f"127.0.0.2:{port}": "up", f"127.0.0.3:{port}": "up"}
    (status,) = b.json("status")
    assert (status["peers_up"], status["peers_configured"]) == (2, 2)
    b.kill9()
    until(lambda: rows(a).get(f"127.0.0.2:{port}") == "down", "b to be missed")
    assert {row["configured"] for row in a.json("peers")} == {"", f"all.test:{port}"}
    c.stop()
    until(lambda: is_alone(a), "a to know that it is alone")
    words = "no other node is linked: what is written here reaches nobody"
    until(lambda: words in a.log(), "a to say so in its log")
    assert a.log().count(words) == 1


def test_a_name_that_led_to_the_node_itself_is_followed_when_it_moves(
    fleet: Fleet, hosts: Hosts
) -> None:
    port = free_port(fleet)
    hosts.say("127.0.0.1 moves.test")
    a = start(fleet, hosts, "a", "127.0.0.1", port, f"moves.test:{port}")
    b = fleet.daemon("b", args=["--listen", f"127.0.0.2:{port}"])
    until(lambda: is_alone(a), "a to find that it has named itself only")
    done = a.cli("status", "--check", check=False)
    assert done.returncode == 1
    assert b"leads to this very node" in done.stderr
    hosts.say("127.0.0.2 moves.test")
    b.wait("--peers", "1")
    until(lambda: rows(a) == {f"moves.test:{port}": "up"}, "one peer, by its name")
    assert a.cli("status", "--check", check=False).returncode == 0


def test_a_name_that_nobody_knows_is_asked_for_again(fleet: Fleet, hosts: Hosts) -> None:
    port = free_port(fleet)
    a = start(fleet, hosts, "a", "127.0.0.1", port, f"late.test:{port}")
    b = fleet.daemon("b", args=["--listen", f"127.0.0.2:{port}"])
    until(lambda: rows(a) == {f"late.test:{port}": "never"}, "a to be told that nobody knows it")
    (row,) = (row for row in a.json("peers") if row["state"] == "never")
    assert row["reason"]
    assert row["hint"].endswith(f"scuttled part late.test:{port}")
    hosts.say("127.0.0.2 late.test")
    b.wait("--peers", "1")


def test_a_machine_that_is_not_reached_by_ipv6_is_one_peer_and_all_is_well(
    fleet: Fleet, hosts: Hosts
) -> None:
    port = free_port(fleet)
    hosts.say("::1 both.test", "127.0.0.2 both.test")
    fleet.daemon("b", args=["--listen", f"127.0.0.2:{port}"])
    a = start(fleet, hosts, "a", "127.0.0.1", port, f"both.test:{port}")
    a.wait("--peers", "1")
    until(lambda: rows(a) == {f"127.0.0.2:{port}": "up"}, "the one that is reached")
    a.wait("--synced")
    assert a.cli("status", "--check", check=False).returncode == 0
