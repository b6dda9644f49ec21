"""peers, join, leave, wait, status and the spreading of models, on several real daemons."""

import json
import re

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import PATIENCE_S, until


def models(daemon: Daemon) -> list[str]:
    return [line.split("\t")[0] for line in daemon.text("model", "ls").splitlines()]


# -- models


def test_a_model_spreads_with_its_first_key_or_without_any(fleet: Fleet, model: str) -> None:
    a, b = fleet.chain("a", "b")
    a.cli("model", "create", "empty", "--type", "map", "--ttl", "1h")
    a.cli("-m", "full", "set", "k", "v")
    b.wait("-m", "full", "--key", "k=v")
    until(lambda: models(b) == ["default", "empty", "full"], "the models")
    until(lambda: b.json("model", "info", "empty")[0]["ttl_ms"] == 3_600_000, "the options")
    b.cli("-m", "empty", "set", "k", "v")
    assert b.json("-m", "empty", "get", "k")[0]["expires_ms"]


def test_a_dropped_model_is_gone_everywhere_and_does_not_come_back(fleet: Fleet) -> None:
    """Neither by a restart, nor by a node that was away when it was dropped."""
    a, b, c = fleet.linked({"a": ["b"], "b": [], "c": ["b"]})
    lines = "".join(f"key/{number}\tv\n" for number in range(500))
    a.cli("-m", "old", "import", "--tsv", "-", stdin=lines.encode())
    c.wait("-m", "old", "--key", "key/499")
    c.stop()
    b.cli("model", "drop", "old", "--yes")
    until(lambda: models(a) == ["default"], "the drop")
    a.restart()
    b.kill9()
    b.start()
    c.start()
    a.wait("--peers", "1")
    c.wait("--peers", "1")
    until(lambda: models(c) == ["default"], "the drop")
    for daemon in (a, b, c):
        daemon.wait("--synced")
    for daemon in (a, b, c):
        assert models(daemon) == ["default"]
        assert daemon.cli("-m", "old", "get", "key/0", check=False).returncode == 1
    a.cli("-m", "old", "set", "new", "v")
    c.wait("-m", "old", "--key", "new")
    assert c.text("-m", "old", "ls") == "new\n"


# -- who is there


def test_peers_tells_who_is_up_down_or_never_was(fleet: Fleet) -> None:
    a, b = fleet.linked({"a": ["b", "nobody"], "b": []})
    # while "nobody" is being dialled, it is "connecting"
    rows = until(
        lambda: (
            (seen := {row["name"]: row for row in a.json("peers")})[""]["state"] == "never" and seen
        ),
        "the attempts in vain",
    )
    assert [rows[name]["state"] for name in ("a", "b")] == ["self", "up"]
    assert rows[""]["address"] == fleet.address("nobody")
    assert rows[""]["reason"] == "Connection refused"
    assert rows["b"]["version"]
    until(lambda: a.peers()["b"]["rtt_ms"] is not None, "a round trip")
    b.kill9()

    def state_in_a_pipe() -> str:
        line = next(line for line in a.text("peers").splitlines() if line.startswith("b\t"))
        return line.split("\t")[3]

    # between two attempts; while one is made it is "connecting"
    until(lambda: state_in_a_pipe() == "down", "b to be missed")


def test_a_node_of_another_cluster_is_refused_and_says_why(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    b = fleet.daemon("b", peers=["a"], args=["--cluster", "other"])
    until(lambda: b.peers()[fleet.address("a")]["state"] == "refused", "the refusal")
    reason = b.peers()[fleet.address("a")]["reason"]
    assert reason == "'other' and 'default' are different clusters"
    assert a.peers().keys() == {"a"}


def test_peers_that_join_are_dialled_and_with_save_after_a_restart_too(fleet: Fleet) -> None:
    a, b, c = (fleet.daemon(name) for name in "abc")
    b_at = fleet.address("b")
    assert a.text("join", b_at) == f"{b_at}\tadded\tup\tb\t{b_at}\t\n"
    assert a.text("join", b_at) == f"{b_at}\tknown\tup\tb\t{b_at}\t\n"
    a.cli("join", "--save", fleet.address("c"))
    a.wait("--peers", "2")
    a.cli("set", "k", "v")
    b.wait("--key", "k=v")
    c.wait("--key", "k=v")
    a.restart()
    a.wait("--peers", "1")
    assert a.peers().keys() == {"a", "c"}
    memory = fleet.daemon("memory", args=["--memory"])
    refused = memory.cli("join", "--save", fleet.address("a"), check=False)
    assert (refused.returncode, b"--memory" in refused.stderr) == (1, True)


def test_a_peer_that_can_not_be_had_is_told_at_once_and_taken_back(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    for address, words in (
        ("10.255.255.1:1", b"beyond loopback, and plain TCP is not encrypted"),
        (a.address, b"is this very node"),
        ("127.0.0.1:1", b"is not up: Connection refused"),
    ):
        done = a.cli("join", address, check=False)
        assert done.returncode == 1
        assert words in done.stderr
        assert b"\nhint: " in done.stderr
        assert address in _settings(a)["cluster.peers joined"]
        assert a.text("part", address) == f"{address}\tparted\n"
        assert "cluster.peers joined" not in _settings(a)
    assert a.json("status", "--check")[0]["healthy"]
    assert a.cli("part", "127.0.0.1:1", check=False).returncode == 1
    assert a.cli("join", "a..b", check=False).returncode == 2


def _settings(daemon: Daemon) -> dict[str, str]:
    return {row["key"]: row["value"] for row in daemon.json("config", "show", "--origin")}


def test_a_peer_that_was_saved_is_taken_back_for_good(fleet: Fleet) -> None:
    a, b = fleet.daemon("a"), fleet.daemon("b")
    a.cli("join", "--save", b.address)
    assert b.address in _settings(a)["cluster.peers saved"]
    a.stop()
    env = {"SCUTTLED_DATA": str(a.data)}
    assert b.address in a.cli("config", "show", "--origin", env=env).stdout.decode()
    a.start()
    a.cli("part", b.address)
    until(lambda: not b.json("status")[0]["peers_up"], "the link to end")
    a.restart()
    assert a.peers().keys() == {"a"}


def test_two_members_of_one_name_are_told_apart_by_their_ids(fleet: Fleet) -> None:
    a = fleet.daemon("a", args=["--name", "web"])
    b = fleet.daemon("b", peers=["a"], args=["--name", "web"])
    b.wait("--peers", "1")
    until(lambda: "more than one member is named web" in a.log(), "the warning")
    b.cli("set", "k", "v")
    a.wait("--key", "k=v")
    ids = [daemon.json("status")[0]["node"] for daemon in (a, b)]
    for words in (["peers"], ["ls", "-l"]):
        code, screen = a.on_terminal(*words, "--color", "never")
        assert f"web ({ids[1][:8]})" in screen
        assert code == 0
    assert {row["name"] for row in a.json("peers")} == {"web"}


def test_a_node_that_leaves_says_goodbye_and_stops(fleet: Fleet) -> None:
    a, b, c = fleet.linked({"a": ["b"], "b": [], "c": ["b"]})
    b.cli("set", "k", "v")
    done = b.cli("-j", "leave")
    assert json.loads(done.stdout) == {"v": 1, "peers": 2}
    assert b.ended() == 0
    for daemon in (a, c):
        row = until(lambda d=daemon: (r := d.peers()["b"])["state"] == "down" and r, "b to be gone")
        assert row["reason"] in ("b stops", "Connection refused")
    assert "link to b closed after 0 s: b stops" in re.sub(r"after \d+ s", "after 0 s", a.log())
    b.start()
    b.wait("--peers", "2", "--key", "k=v")


def test_wait_for_peers_and_keys_ends_when_they_come(fleet: Fleet) -> None:
    a, b = fleet.daemon("a", peers=["b"]), fleet.daemon("b", start=False)
    with (
        a.begin("wait", "--peers", "1") as peers,
        a.begin("wait", "--synced") as synced,
        a.begin("wait", "--key", "k=v", "--peers", "1") as key,
    ):
        b.start()
        assert peers.wait(PATIENCE_S) == 0
        assert synced.wait(PATIENCE_S) == 0
        assert key.poll() is None
        b.cli("set", "k", "v")
        assert key.wait(PATIENCE_S) == 0


def test_wait_synced_needs_the_configured_peers(fleet: Fleet) -> None:
    a = fleet.daemon("a", peers=["b"])
    assert a.cli("wait", "--synced", "--timeout", "200ms", check=False).returncode == 75
    alone = fleet.daemon("alone")
    alone.cli("wait", "--synced", "--timeout", "5s")


# -- status


def test_status_check_is_1_and_says_what_is_wrong(fleet: Fleet) -> None:
    a, b = fleet.linked({"a": ["b"], "b": []})
    assert a.cli("status", "--check", "-q").stdout == b""
    (told,) = a.json("status", "--check")
    assert told["healthy"] is True
    b.stop()
    until(lambda: a.cli("status", "--check", "-q", check=False).returncode == 1, "a problem")
    done = a.cli("status", "--check", check=False)
    assert b"scuttled: a is degraded: no other node is linked: what is written" in done.stderr
    assert re.search(rb"; peer .* is down", done.stderr)
    quiet = a.cli("status", "--check", "-q", check=False)
    assert (quiet.stdout, quiet.stderr) == (b"", b"")
    b.start()
    until(lambda: a.cli("status", "--check", "-q", check=False).returncode == 0, "b to be back")


def test_status_is_one_screen_on_a_terminal(fleet: Fleet) -> None:
    a, _ = fleet.linked({"a": ["b"], "b": []})
    a.cli("set", "k", "v")
    code, screen = a.on_terminal("status", "--color", "never")
    assert code == 0
    assert len(screen.splitlines()) < 24
    for words in ("healthy, 1 of 1 peers up", "cluster default", "keys 1", str(a.data), "sync"):
        assert words in screen
    node = a.ask("hello", protocol=[1, 1])["node"]
    assert screen.startswith(f"a ({node})  healthy, 1 of 1 peers up\n")


@pytest.mark.parametrize("command", ["status", "peers", "model ls"])
def test_what_a_daemon_tells_of_itself_agrees_with_the_other_side(
    fleet: Fleet, command: str
) -> None:
    a, b = fleet.linked({"a": ["b"], "b": []})
    a.cli("-m", "m", "set", "k", "v")
    a.wait("--synced")
    b.wait("--synced")
    rows = [daemon.json(*command.split()) for daemon in (a, b)]
    if command == "status":
        for name in ("models", "keys", "bytes", "tombstones", "cluster"):
            assert rows[0][0][name] == rows[1][0][name]
        assert rows[0][0]["updates_out"] == rows[1][0]["updates_in"]
    elif command == "peers":
        nodes = [{row["node"]: row["name"] for row in side} for side in rows]
        assert nodes[0] == nodes[1]
    else:
        assert rows[0] == rows[1]
