"""`--wait`: a write that returns when others have it on disk, and what is shown of who has not."""

import pytest
from fleet import Daemon, Fleet, until


@pytest.fixture
def chain(fleet: Fleet) -> list[Daemon]:
    """a and c know only b, so c's word reaches a through its row."""
    daemons = fleet.chain("a", "b", "c")
    for daemon in daemons:
        until(lambda d=daemon: len(d.ask("members")["members"]) == 3, "three members")
        daemon.wait("--synced")
    return daemons


def test_what_all_have_survives_all_the_others_without_the_writer(chain: list[Daemon]) -> None:
    a, b, c = chain
    done = a.json("set", "precious", "here", "--wait", "all")[0]
    assert (done["held"], done["members"]) == (2, 3)
    for daemon in (a, b, c):
        daemon.kill9()
    for daemon in (b, c):
        daemon.start()
        assert daemon.text("get", "precious").strip() == "here"


def test_a_stopped_member_keeps_all_from_being_reached_but_not_a_majority(
    chain: list[Daemon],
) -> None:
    a, _, c = chain
    c.pause()
    assert a.cli("set", "k", "v", "--wait", "majority").returncode == 0
    late = a.cli("set", "k", "w", "--wait", "all", "--timeout", "400ms", check=False)
    assert late.returncode == 75
    words = late.stderr.decode()
    assert "1 of 2 other members have it on disk by now; it was to be 2" in words
    assert "the write stands" in words
    assert a.text("get", "k").strip() == "w"
    c.resume()
    c.wait("--key", "k=w")
    assert a.cli("del", "k", "--wait", "2").returncode == 0
    assert "k" not in c.state()
    assert a.json("call", "set", "k", "x", "--wait", "all")[0]["held"] == 2


@pytest.mark.parametrize("level", ["0", "-1", "most", "1.5", ""])
def test_a_level_that_makes_no_sense_writes_nothing(fleet: Fleet, level: str) -> None:
    a = fleet.daemon("a")
    done = a.cli("set", "k", "v", f"--wait={level}", check=False)
    assert done.returncode == 2
    assert b"a number of other nodes, majority or all" in done.stderr
    assert a.state() == {}


def test_alone_there_is_nobody_to_wait_for_unless_a_number_is_named(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    for level in ("all", "majority"):
        assert a.cli("set", "k", level, "--wait", level).returncode == 0
    done = a.cli("set", "k", "v", "--wait", "1", "--timeout", "100ms", check=False)
    assert done.returncode == 75
    assert b"0 of 0 other members" in done.stderr


def test_writes_that_wait_on_one_connection_are_answered_each_for_itself(
    chain: list[Daemon],
) -> None:
    a, _, c = chain
    c.pause()
    with a.client() as client:
        fields: dict[str, object] = {"model": "default", "kind": "text", "value": b"v"}
        levels = [("one", 1), ("two", 2), ("one more", 1)]
        requests = [
            ("set", {**fields, "key": key, "wait": n, "wait_ms": 20_000}) for key, n in levels
        ]
        answers = client.pipeline(iter(requests))
        assert next(answers)["held"] == 1
        c.resume()
        assert next(answers)["held"] == 2
        assert next(answers)["held"] >= 1


def test_lag_counts_updates_and_time_and_goes_to_nothing(fleet: Fleet) -> None:
    a, b = fleet.mesh("a", "b")
    for daemon in (a, b):
        daemon.wait("--synced")
    b.pause()
    for number in range(30):
        a.ask("set", model="default", key=f"k{number}", kind="text", value=b"v")
    # 30 and the rows in _members that tell of them
    until(lambda: 30 <= a.peers()["b"]["lag"] <= 34, "30 updates of lag")
    first_ms = a.peers()["b"]["lag_ms"]
    until(lambda: a.peers()["b"]["lag_ms"] > first_ms, "the lag to grow older")
    row = next(row for row in a.json("members") if row["name"] == "b")
    assert row["behind"] == {"default": 30}
    b.resume()
    until(lambda: a.peers()["b"]["lag"] == 0, "b to have all")
    assert a.peers()["b"]["lag_ms"] == 0
    until(lambda: all(row["lag"] == 0 for row in a.json("members")), "the members to say so")


def test_synced_waits_for_who_is_linked_only_through_another(chain: list[Daemon]) -> None:
    a, _, c = chain
    c.pause()
    a.ask("set", model="default", key="far", kind="text", value=b"v")
    assert a.cli("wait", "--synced", "--timeout", "500ms", check=False).returncode == 75
    c.resume()
    a.wait("--synced")
    assert "far" in c.state()
