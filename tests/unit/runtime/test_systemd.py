"""systemd's side, with a stand-in for systemd: sockets, variables, a child that inherits."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scuttled.runtime.systemd import inherited_sockets, notify, watchdog_interval_s

# Puts the sockets where systemd would, for systemd starts from a clean slate and pytest does not.
CHILD = """
import json, os, sys
for at, fd in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(fd, 30 + at)
for at in range(int(os.environ["LISTEN_FDS"])):
    os.dup2(30 + at, 3 + at)
from scuttled.runtime.systemd import inherited_sockets
os.environ["LISTEN_PID"] = os.environ["LISTEN_PID"] or str(os.getpid())
given = inherited_sockets(os.environ, os.getpid())
print(json.dumps({
    "sockets": {name: [s.fileno(), s.getsockname()] for name, s in given.items()},
    "plain": [n for n, s in given.items() if s.getblocking() or os.get_inheritable(s.fileno())],
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
}))
"""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def _child(listeners: list[socket.socket], names: str, pid: str = "") -> Any:
    fds = [sock.fileno() for sock in listeners]
    listen = {"LISTEN_PID": pid, "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": names}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, ",".join(map(str, fds))],
        env=os.environ | listen,
        pass_fds=fds,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def _listener(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


# --- telling systemd -----------------------------------------------------------------------------


def test_fields_arrive_in_one_datagram(systemd: socket.socket) -> None:
    assert notify("READY=1\nSTATUS=3 peers", {"NOTIFY_SOCKET": systemd.getsockname()})
    assert systemd.recv(100) == b"READY=1\nSTATUS=3 peers"


def test_an_abstract_socket_is_reached_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel picks an abstract name
        name = sock.getsockname()[1:].decode()
        assert notify("WATCHDOG=1", {"NOTIFY_SOCKET": "@" + name})
        assert sock.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("path", [None, "", "relative", "/nowhere/notify", "/" + "x" * 200])
def test_a_socket_that_is_not_there_is_no_error(path: str | None) -> None:
    assert not notify("READY=1", {} if path is None else {"NOTIFY_SOCKET": path})


def test_a_socket_whose_reader_is_gone_is_no_error(systemd: socket.socket) -> None:
    path = systemd.getsockname()
    systemd.close()
    assert not notify("READY=1", {"NOTIFY_SOCKET": path})


# --- the watchdog --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time_and_only_by_us(
    environ: dict[str, str], interval_s: float | None
) -> None:
    assert watchdog_interval_s(environ, 7) == interval_s


# --- sockets from systemd ------------------------------------------------------------------------


def test_inherited_sockets_are_found_by_name_and_kept_from_children(tmp_path: Path) -> None:
    with closing(_listener(tmp_path / "a")) as a, closing(_listener(tmp_path / "b")) as b:
        answer = _child([a, b], "control:peers")
    assert answer == {
        "sockets": {"control": [3, str(tmp_path / "a")], "peers": [4, str(tmp_path / "b")]},
        "plain": [],
        "left": [],
    }


def test_names_that_are_missing_or_taken_lose_no_socket(tmp_path: Path) -> None:
    with closing(_listener(tmp_path / "a")) as a, closing(_listener(tmp_path / "b")) as b:
        assert list(_child([a, b], "")["sockets"]) == ["unknown", "unknown.2"]
        assert list(_child([a, b], "control:control")["sockets"]) == ["control", "control.2"]


def test_sockets_meant_for_another_process_are_left_alone(tmp_path: Path) -> None:
    with closing(_listener(tmp_path / "a")) as a:
        assert _child([a], "control", pid="1") == {"sockets": {}, "plain": [], "left": []}


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "7"}, {"LISTEN_PID": "x", "LISTEN_FDS": "y"}]
)
def test_without_systemd_nothing_is_inherited(environ: dict[str, str]) -> None:
    assert inherited_sockets(environ, 7) == {}
    assert environ == {}
