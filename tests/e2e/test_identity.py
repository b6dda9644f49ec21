"""Two daemons must not be one node: a state directory that was copied."""

import shutil

from support.fleet import Daemon, Fleet
from support.waiting import until


def _copy(fleet: Fleet, original: Daemon, name: str) -> None:
    """The state of a daemon that is down, for another one; not its sockets."""
    original.stop()
    shutil.copytree(original.data, fleet.directory / name)
    original.start()


def _write(daemon: Daemon, count: int) -> None:
    for number in range(count):
        key = f"{daemon.name}{number}"
        daemon.ask("set", model="default", key=key, kind="text", value=b"v")


def _all_agree(*daemons: Daemon) -> None:
    first = daemons[0]
    keys = {f"{daemon.name}{number}" for daemon in daemons for number in range(20)}
    for daemon in daemons:
        until(lambda d=daemon: keys <= d.state().keys(), f"all on {daemon.name}")  # type: ignore[misc]
        until(lambda d=daemon: d.state() == first.state(), "equal states")  # type: ignore[misc]
    assert len({daemon.ask("status")["node"] for daemon in daemons}) == len(daemons)


def test_a_copy_that_dials_the_original_takes_another_id(fleet: Fleet) -> None:
    a, b = fleet.daemon("a"), fleet.daemon("b", peers=["a"])
    b.wait("--synced", "--peers", "1")
    _write(a, 20)
    _copy(fleet, a, "copy")
    mine = a.ask("status")["node"]
    copy = fleet.daemon("copy", peers=["a"])
    _write(copy, 20)
    _write(b, 20)
    until(lambda: copy.ask("status")["node"] != mine, "the copy to take another id")
    _all_agree(a, b, copy)
    assert a.ask("status")["node"] == mine
    assert "was a state directory copied?" in copy.log()
    assert f"going on as {copy.ask('status')['node']}" in copy.log()
    assert "the state directory was copied or restored" in copy.log()
    named = copy.ask("status")["node"]
    copy.restart()
    assert copy.ask("status")["node"] == named


def test_twins_that_know_only_a_third_node_are_told_by_it(fleet: Fleet) -> None:
    hub = fleet.daemon("hub")
    a = fleet.daemon("a", peers=["hub"])
    a.wait("--synced", "--peers", "1")
    _write(a, 20)
    a.wait("--synced")
    _copy(fleet, a, "copy")
    mine = a.ask("status")["node"]
    copy = fleet.daemon("copy", peers=["hub"])
    _write(copy, 20)
    _write(hub, 20)
    until(lambda: copy.ask("status")["node"] != mine, "the later one to take another id")
    _all_agree(hub, a, copy)
    assert a.ask("status")["node"] == mine
    assert a.cli("verify").returncode == 0
