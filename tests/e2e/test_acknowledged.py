"""Writes that wait until others have them on disk (`--wait`), and how far behind each node is."""

import json
from typing import Any

import pytest
from support.control_caller import RawCaller, request
from support.fleet import Daemon, Fleet
from support.waiting import PATIENCE_S, until

BIG = "x" * 50_000


def know_each_other(daemons: list[Daemon]) -> None:
    """All are members for all, and nobody has anything under way."""
    for daemon in daemons:
        until(lambda d=daemon: len(d.json("members")) == len(daemons), f"members at {daemon.name}")
    for daemon in daemons:
        daemon.wait("--synced")


def set_(daemon: Daemon, key: str, **fields: object) -> dict[str, Any]:
    return daemon.ask("set", key=key, kind="text", value="v", **fields)


# -- on disk with others


@pytest.mark.parametrize(
    "write",
    [
        ("set", "k", "new", "--wait", "all"),
        ("set", "k", "new", "--wait", "2"),
        ("del", "k", "--wait", "all"),
        ("call", "--wait", "all", "set", "k", "new"),
    ],
    ids=" ".join,
)
def test_what_a_waiting_writer_was_told_of_is_on_the_disks_of_the_others(
    fleet: Fleet, write: tuple[str, ...]
) -> None:
    """c is not linked with a: that it has it comes back through b."""
    daemons = a, b, c = fleet.chain("a", "b", "c")
    a.cli("set", "k", "old")
    know_each_other(daemons)
    a.cli(*write)
    for daemon in (b, c, a):
        daemon.kill9()
    for daemon in (c, b):  # each alone
        daemon.start()
        if write[0] == "del":
            assert daemon.cli("get", "k", check=False).returncode == 1
        else:
            assert daemon.text("get", "k") == "new"
        daemon.kill9()


def test_json_shows_how_many_have_it(fleet: Fleet) -> None:
    daemons = a, _, _ = fleet.chain("a", "b", "c")
    know_each_other(daemons)
    for command in (["set", "k", "v"], ["call", "set", "n", "1"], ["del", "k"]):
        (told,) = a.json(*command, "--wait", "all")
        assert (told["v"], told["held"], told["members"]) == (1, 2, 3)
    done = a.cli("del", "n", "--wait", "all")
    assert done.stderr == b"1 key deleted from default, held by 2 of 2 other members\n"
    (told,) = a.json("set", "k", "v")
    assert "held" not in told
    assert a.cli("set", "k", "v", "--wait", "all").stdout == b""


def test_alone_there_is_nobody_to_wait_for(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    for level in ("all", "majority"):
        (told,) = a.json("set", level, "v", "--wait", level)
        assert (told["held"], told["members"]) == (0, 1)
    a.cli("set", "there", "v")
    for command in (["set", "k", "v"], ["del", "there"], ["call", "set", "k", "v"]):
        done = a.cli(*command, "--wait", "1", check=False)
        assert (done.returncode, done.stdout) == (1, b"")
        assert (
            b"not written: it was to be on disk on 1 other member, and there are 0" in done.stderr
        )
    assert set(a.state()) == {"all", "majority", "there"}


def test_more_members_than_there_are_is_refused_at_once(fleet: Fleet) -> None:
    a, b = fleet.mesh("a", "b")
    know_each_other([a, b])
    done = a.cli("set", "k", "v", "--wait", "5", "--timeout", "1h", check=False)
    assert done.returncode == 1
    assert b"on 5 other members, and there is 1 other member" in done.stderr
    assert a.state() == {}


def test_with_a_member_that_hangs_all_is_75_and_majority_is_0(fleet: Fleet) -> None:
    daemons = a, b, c = fleet.mesh("a", "b", "c")
    know_each_other(daemons)
    c.pause()
    done = a.cli("set", "all", "v", "--wait", "all", "--timeout", "1s", check=False)
    assert (done.returncode, done.stdout) == (75, b"")
    assert b"1 of 2 other members have it on disk by now; it was to be 2" in done.stderr
    assert b"the write stands, and goes on to c (linked, not acknowledged)" in done.stderr
    assert a.text("get", "all") == "v"
    assert b.text("get", "all") == "v"
    (told,) = a.json("set", "majority", "v", "--wait", "majority")
    assert (told["held"], told["members"]) == (1, 3)
    for command in (["del", "majority"], ["call", "set", "called", "v"]):
        done = a.cli(*command, "--wait", "all", "--timeout", "200ms", check=False)
        assert (done.returncode, b"the write stands" in done.stderr) == (75, True)
    with a.begin("set", "patient", "v", "--wait", "all", "--timeout", "30s") as patient:
        b.wait("--key", "patient")
        assert patient.poll() is None
        c.resume()
        assert patient.wait(PATIENCE_S) == 0
    assert set(c.state()) == {"all", "called", "patient"}


def test_a_level_that_makes_no_sense_is_a_usage_error_and_nothing_is_written(
    daemon: Daemon,
) -> None:
    daemon.cli("set", "there", "v")
    for level in ("0", "-1", "some", "", "1.5", "99999999"):
        for command in (["set", "k", "v"], ["del", "there"], ["call", "set", "k", "v"]):
            done = daemon.cli(*command, f"--wait={level}", check=False)
            assert (done.returncode, done.stdout) == (2, b""), (level, command)
    wrong: list[object] = [0, -1, "most", True, 1.0, 10_001, [1], {}, b"all"]
    requests = [
        request(number, op, **fields, wait=level)
        for number, (op, fields, level) in enumerate(
            (
                (op, fields, level)
                for level in wrong
                for op, fields in (
                    ("set", {"key": "k", "kind": "text", "value": "v"}),
                    ("del", {"keys": ["there"]}),
                    ("call", {"operation": "set", "args": ["k", "v"]}),
                )
            ),
            1,
        )
    ]
    with RawCaller(daemon.socket) as caller:
        caller.say(b"".join(requests))
        answers = [caller.heard() or {} for _ in requests]
    assert {answer["error"]["code"] for answer in answers} == {2}
    assert set(daemon.state()) == {"there"}


def test_a_deletion_of_nothing_waits_for_nobody(fleet: Fleet) -> None:
    daemons = a, b = fleet.chain("a", "b")
    know_each_other(list(daemons))
    b.pause()
    a.cli("set", "k", "v")  # b is behind, but not because of what follows
    done = a.cli("del", "nothing", "--wait", "all", check=False)
    assert done.returncode == 1
    assert b"no key 'nothing'" in done.stderr
    b.resume()


def test_waits_on_one_connection_are_answered_each_in_its_time(fleet: Fleet) -> None:
    daemons = a, _, c = fleet.mesh("a", "b", "c")
    know_each_other(daemons)
    c.pause()
    fields = {"kind": "text", "value": "v"}
    with RawCaller(a.socket) as caller:
        caller.say(
            request(1, "set", key="1", wait="all", wait_ms=30_000, **fields)
            + request(2, "set", key="2", wait=1, **fields)
            + request(3, "set", key="3", wait="all", wait_ms=300, **fields)
            + request(4, "set", key="4", **fields)
            + request(5, "get", key="1")
        )
        answers = [caller.heard() or {} for _ in range(4)]
        order = [answer["id"] for answer in answers]
        assert order[0] == 5, "who reads does not wait for who writes"
        assert order[-1] == 3, "the one who was in vain is told when its time is over"
        by_id = {answer["id"]: answer for answer in answers}
        assert by_id[2]["ok"]["held"] == 1
        assert "ok" in by_id[4]
        assert by_id[3]["error"]["code"] == 75
        c.resume()
        last = caller.heard() or {}
    assert (last["id"], last["ok"]["held"], last["ok"]["members"]) == (1, 2, 3)


def test_a_disk_that_takes_no_more_is_74_for_a_waiting_writer_too(fleet: Fleet) -> None:
    """And not 75, although the others never get it."""
    a = fleet.daemon("a", prefix=["prlimit", "--fsize=400000"])
    b = fleet.daemon("b", peers=["a"])
    know_each_other([a, b])
    for number in range(20):
        done = a.cli("set", f"big/{number}", BIG, "--wait", "all", check=False)
        if done.returncode:
            break
    assert done.returncode == 74, done.stderr
    assert b"not on disk: " in done.stderr or b"can't write: " in done.stderr
    done = a.cli("set", "refused", "v", "--wait", "all", check=False)
    assert done.returncode == 74
    b.wait("--key", "big/0")


# -- how far behind


def test_lag_is_exactly_what_a_stopped_peer_lacks(fleet: Fleet) -> None:
    b, a, c = fleet.chain("b", "a", "c")
    know_each_other([a, b, c])
    until(lambda: a.peers()["b"]["lag"] == 0, "b to have acknowledged all")
    b.pause()
    for number in range(7):
        set_(a, f"a/{number}")
    for number in range(5):
        set_(c, f"c/{number}")
    a.wait("--key", "c/4")
    told = until(lambda: (row := a.peers()["b"])["lag_ms"] > 600 and row, "lag to grow")
    assert told["lag"] == 12
    members = {row["name"]: row for row in a.json("members")}
    assert (members["b"]["lag"], members["b"]["behind"]) == (12, {"default": 12})
    until(lambda: a.peers()["b"]["lag_ms"] > told["lag_ms"] + 500, "lag to grow on")
    until(lambda: a.peers()["c"]["lag"] == 0, "c to have all")
    assert a.peers()["c"]["lag_ms"] == 0
    code, screen = a.on_terminal("peers", "--color", "never")
    assert code == 0
    assert any(" 12 (" in line for line in screen.splitlines() if line.startswith("b "))
    b.resume()
    row = until(lambda: (row := a.peers()["b"])["lag"] == 0 and row, "b to have all")
    assert row["lag_ms"] == 0
    until(lambda: {row["lag"] for row in a.json("members")} == {0}, "no lag in members")


def test_lag_of_a_node_that_is_gone_and_of_one_behind_another_is_known_too(fleet: Fleet) -> None:
    daemons = a, _, c = fleet.chain("a", "b", "c")
    know_each_other(daemons)
    c.kill9()
    with a.client() as client:
        for number in range(7):
            client.request("set", key=f"k/{number}", kind="text", value="v")
            client.request("set", model="m", key=f"k/{number % 2}", kind="text", value="v")

    def behind() -> dict[str, dict[str, int]]:
        return {row["name"]: row["behind"] for row in a.json("members")}

    until(lambda: behind()["b"] == {}, "b to have all")
    assert behind()["c"] == {"default": 7, "m": 2}  # what was overwritten is not to be sent
    line = next(row for row in a.text("members").splitlines() if row.startswith("c\t"))
    assert line.split("\t")[3] == "9"
    c.start()
    until(lambda: behind()["c"] == {}, "c to have all")


def test_synced_on_a_chain_means_the_far_end_too(fleet: Fleet) -> None:
    daemons = a, b, c = fleet.chain("a", "b", "c")
    know_each_other(daemons)
    c.pause()
    set_(a, "k")
    done = a.cli("wait", "--synced", "--timeout", "500ms", check=False)
    assert done.returncode == 75
    assert b"waited 500ms in vain: c, which is not linked" in done.stderr
    with a.begin("wait", "--synced") as waiting:
        b.wait("--key", "k")
        assert waiting.poll() is None
        c.resume()
        assert waiting.wait(PATIENCE_S) == 0
    c.kill9()
    c.start()
    assert c.text("get", "k") == "v"


def test_the_answer_of_a_waiting_writer_is_told_on_a_terminal(fleet: Fleet) -> None:
    daemons = a, b = fleet.chain("a", "b")
    know_each_other(list(daemons))
    code, screen = a.on_terminal("set", "k", "v", "--wait", "all")
    assert code == 0
    assert ", held by 1 of 1 other members)" in screen
    assert json.loads(b.text("-j", "get", "k"))["value"] == "v"
