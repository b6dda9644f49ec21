"""Who is in the cluster, deletions that are forgotten, and what comes of who missed them."""

from collections.abc import Callable

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import until

SOON = {"SCUTTLED_KEEP_DELETED": "50ms"}


def _know_each_other(*daemons: Daemon) -> None:
    for daemon in daemons:
        until(lambda d=daemon: len(d.json("members")) == len(daemons), "all members")  # type: ignore[misc]
        daemon.wait("--synced")


def _set(daemon: Daemon, key: str, value: str) -> None:
    daemon.ask("set", model="default", key=key, kind="text", value=value)


def _graves(daemon: Daemon) -> int:
    return int(daemon.ask("status")["deleted"]["count"])


def _remembers_nothing(*daemons: Daemon) -> Callable[[], bool]:
    return lambda: all(_graves(daemon) == 0 for daemon in daemons)


def test_every_member_is_shown_linked_or_not(fleet: Fleet) -> None:
    a, b, c = fleet.chain("a", "b", "c")
    _know_each_other(a, b, c)
    rows = {row["name"]: row for row in a.json("members")}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a": "self",
        "b": "up",
        "c": "seen",
    }
    assert rows["c"]["node"] == c.ask("status")["node"]
    assert rows["c"]["address"] == c.address
    assert rows["c"]["life"] == 1
    assert rows["c"]["version"]
    lines = a.text("members").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["a", "b", "c"]
    code, screen = a.on_terminal("members")
    assert code == 0
    assert "NAME" in screen
    a.restart()
    assert {row["name"] for row in a.json("members")} == {"a", "b", "c"}


def test_who_is_there_is_not_forgotten_and_who_is_unknown_can_not_be(fleet: Fleet) -> None:
    a, b, c = fleet.chain("a", "b", "c")
    _know_each_other(a, b, c)
    for name, words in (
        ("b", "b is linked with this node"),
        ("c", "it can be forgotten when it was silent for 90 s"),
        ("a", "this node is not forgotten by itself"),
        ("nobody", "no member 'nobody'"),
    ):
        done = a.cli("forget", name, check=False)
        assert done.returncode == 1
        assert words in done.stderr.decode()
    assert len(a.json("members")) == 3


def test_deletions_are_forgotten_when_all_have_them_and_not_before(fleet: Fleet) -> None:
    a, b, c = (
        fleet.daemon("a", env=SOON),
        fleet.daemon("b", peers=["a"], env=SOON),
        fleet.daemon("c", peers=["b"], env=SOON),
    )
    _know_each_other(a, b, c)
    for key in ("kept", "gone"):
        _set(a, key, "v")
    a.ask("set", model="default", key="short", kind="text", value="v", ttl_ms=300)
    a.wait("--synced")
    c.pause()
    b.cli("del", "gone")
    until(lambda: _graves(a) and "short" not in a.state(), "the deletion, and the expiry")
    until(lambda: a.ask("status")["deleted"]["held_up_by"] == ["c"], "c to hold it up")
    assert "gone" in a.text("ls", "--deleted")
    assert "not yet seen by c" in a.on_terminal("status")[1]
    c.resume()
    until(_remembers_nothing(a, b, c), "all to forget")
    for daemon in (a, b, c):
        assert daemon.text("ls", "--deleted").split() == ["kept"]
        assert daemon.state().keys() == {"kept"}


@pytest.mark.parametrize("rejoin", ["own", "all", "none"])
def test_who_was_silent_for_long_is_reset_and_says_what_became_of_its_own(
    fleet: Fleet, rejoin: str
) -> None:
    env = {**SOON, "SCUTTLED_FORGET_AFTER": "3s", "SCUTTLED_REJOIN": rejoin}
    a = fleet.daemon("a", env=env)
    b = fleet.daemon("b", peers=["a"], env=env)
    c = fleet.daemon("c", env=env)
    c.cli("join", b.address)  # for this run only
    _know_each_other(a, b, c)
    for key in ("gone", "kept"):
        _set(a, key, "v")
    c.wait("--key", "kept")
    c.wait("--synced")
    life = c.ask("status")["life"]
    c.kill9()
    c.start()  # it does not know b now
    _set(c, "mine", "c's")
    a.cli("del", "gone")
    until(_remembers_nothing(a, b), "the others to forget, without c")
    assert {r["name"]: r["state"] for r in a.json("members")}["c"] == "forgotten"
    assert "gone" in c.state()

    c.cli("join", b.address)
    until(lambda: c.ask("status")["resets"], "c to be reset")
    kept = {"kept"} if rejoin == "none" else {"kept", "mine"}
    for daemon in (a, b, c):
        until(lambda d=daemon: d.state().keys() == kept, f"{kept} on {daemon.name}")  # type: ignore[misc]
    report = c.ask("status")["resets"][0]
    named = report["dropped"] if rejoin == "none" else report["issued"]
    assert named == ["mine"]
    assert (report["peer"], report["model"]) == ("b", "default")
    assert report["covered"] == report["held"] - 1
    assert c.ask("status")["life"] == life + 1
    assert "model default was reset to the state of b" in c.log()
    assert "mine" in c.on_terminal("status")[1]
    assert a.cli("verify").returncode == 0


def test_of_two_clusters_that_meet_the_smaller_is_reset_and_writes_its_own_anew(
    fleet: Fleet,
) -> None:
    a, b = fleet.daemon("a", env=SOON), fleet.daemon("b", peers=["a"], env=SOON)
    x, y = fleet.daemon("x", env=SOON), fleet.daemon("y", peers=["x"], env=SOON)
    c = fleet.daemon("c", peers=["a"], env=SOON)
    for cluster in ((a, b, c), (x, y)):
        _know_each_other(*cluster)
        for key in ("gone", cluster[0].name):
            _set(cluster[0], key, "v")
        cluster[0].wait("--synced")
        cluster[1].cli("del", "gone")
        until(_remembers_nothing(*cluster), "a floor")
    y.cli("join", b.address)
    for daemon in (a, b, c, x, y):
        until(lambda d=daemon: d.state().keys() == {"a", "x"}, f"both on {daemon.name}")  # type: ignore[misc]
    assert all(not daemon.ask("status")["resets"] for daemon in (a, b, c))
    assert all(daemon.ask("status")["resets"] for daemon in (x, y))


def test_a_node_without_disk_that_is_stopped_is_no_member_any_more(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    b = fleet.daemon("b", peers=["a"], args=["--memory"])
    _know_each_other(a, b)
    b.stop()
    until(lambda: [row["name"] for row in a.json("members")] == ["a"], "b to be gone")
    b.start()
    _know_each_other(a, b)
    b.kill9()
    assert [row["name"] for row in a.json("members")] == ["a", "b"], "it may come back"
