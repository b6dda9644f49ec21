"""A daemon under systemd, played here by its own systemd-socket-activate and a notify socket."""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleet import Daemon, Fleet
from support.notify_socket import Systemd
from support.waiting import until

ACTIVATE = shutil.which("systemd-socket-activate")
WATCHDOG_S = 0.5


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path / "notify")
    with systemd.sock:
        yield systemd


def _answers(daemon: Daemon) -> bool:
    return bool(daemon.ask("hello", protocol=[1, 1]))


def test_systemd_is_told_when_the_control_socket_answers_what_goes_on_and_when_it_ends(
    fleet: Fleet, systemd: Systemd
) -> None:
    a = fleet.daemon("a", peers=["b"], env={"NOTIFY_SOCKET": systemd.path}, start=False)
    a.start(wait=False)
    first = systemd.next()
    assert first["READY"] == "1"
    assert first["STATUS"] == "0/1 peers, 0 keys, lag 0"
    assert _answers(a)  # at once: no second try

    fleet.daemon("b")
    a.ask("set", model="default", key="k", kind="text", value="v")
    until(lambda: systemd.until("STATUS")["STATUS"] == "1/1 peers, 1 keys, lag 0", "the status")
    assert "WATCHDOG" not in str(systemd.pending())

    assert a.stop() == 0
    told = systemd.pending()
    assert told[-1] == {"STOPPING": "1"}


def test_the_watchdog_is_fed_only_while_the_loop_turns(fleet: Fleet, systemd: Systemd) -> None:
    a = fleet.daemon(
        "a",
        env={"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))},
    )
    for _ in range(3):
        began = time.monotonic()
        systemd.until("WATCHDOG")
        assert time.monotonic() - began < WATCHDOG_S * 4  # this machine may be busy
    a.pause()
    systemd.pending()
    assert systemd.next(2 * WATCHDOG_S) == {}
    a.resume()
    systemd.until("WATCHDOG")
    assert a.stop() == 0


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed(
    fleet: Fleet, systemd: Systemd
) -> None:
    environ = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}
    fleet.daemon("a", env=environ)
    systemd.until("READY")
    end = time.monotonic() + 0.6
    while (left_s := end - time.monotonic()) > 0:
        assert "WATCHDOG" not in systemd.next(left_s)


@pytest.mark.skipif(ACTIVATE is None and not os.environ.get("CI"), reason="needs systemd")
def test_the_control_socket_is_systemd_s_if_systemd_gave_one(
    fleet: Fleet, systemd: Systemd
) -> None:
    """Made by the first caller; and it stays when the daemon ends, for systemd listens on."""
    assert ACTIVATE is not None, "systemd-socket-activate is missing (apt: systemd)"
    path = fleet.sockets / "a.sock"
    prefix = [ACTIVATE, "-l", str(path), "--fdname=control", f"-ENOTIFY_SOCKET={systemd.path}"]
    a = fleet.daemon("a", prefix=prefix, start=False)
    a.start(wait=False)
    until(path.exists, "the socket")
    assert systemd.next(0.3) == {}, "it is there before anybody calls"
    inode = path.stat().st_ino

    assert _answers(a)  # the first call waits until the daemon is up, and is answered
    assert systemd.until("READY")
    a.cli("set", "greeting", "hello")
    assert a.text("get", "greeting") == "hello"
    with a.client() as client:
        client.hello()
        a.log_path.write_text("")
        assert a.stop() == 0
    assert path.stat().st_ino == inode
    assert "Traceback" not in a.log()


@pytest.mark.skipif(ACTIVATE is None and not os.environ.get("CI"), reason="needs systemd")
def test_a_socket_of_another_name_is_left_alone(fleet: Fleet, systemd: Systemd) -> None:
    assert ACTIVATE is not None, "systemd-socket-activate is missing (apt: systemd)"
    other = fleet.sockets / "other.sock"
    prefix = [ACTIVATE, "-l", str(other), "--fdname=web", f"-ENOTIFY_SOCKET={systemd.path}"]
    a = fleet.daemon("a", prefix=prefix, start=False)
    a.start(wait=False)
    until(other.exists, "the socket")
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(other))
        systemd.until("READY")
        assert _answers(a)
    assert a.stop() == 0
