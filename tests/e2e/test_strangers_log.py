"""Who knocks at a port again and again costs one line a minute, and descriptors suffice."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import until

from scuttled.daemon.start_up import DESCRIPTORS_MAX

TIMES = 50
FEW = 45  # descriptors: some are the daemon's own


def _limits(daemon: Daemon) -> tuple[int, int]:
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    found = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits)
    assert found
    return int(found[1]), int(found[2])


def _port(daemon: Daemon) -> tuple[str, int]:
    host, _, port = daemon.address.rpartition(":")
    return host, int(port)


def test_a_health_check_is_one_line_and_a_count(fleet: Fleet) -> None:
    npm = fleet.address("npm")
    a = fleet.daemon("a", args=["--npm", f"{npm}=default"])

    def knock(at: tuple[str, int] | str, words: bytes) -> None:
        family = socket.AF_UNIX if isinstance(at, str) else socket.AF_INET
        with socket.socket(family) as stranger:
            stranger.connect(at)
            stranger.sendall(words)

    host, _, port = npm.rpartition(":")
    doors: list[Callable[[], None]] = [
        lambda: knock(_port(a), b""),
        lambda: knock(_port(a), b"GET / HTTP/1.0\r\n\r\n"),
        lambda: knock((host, int(port)), b"nonsense\n"),
        lambda: knock(a.socket, b"\xff" * 8),
    ]
    for _ in range(TIMES):
        for door in doors:
            door()
    until(lambda: a.log().count("closed: ") >= 2, "a line of each")
    a.cli("status")
    a.stop()
    lines = [line for line in a.log().splitlines() if " closed" in line or "ended" in line]
    assert len(lines) <= 2 * len(doors), a.log()
    told = sum(int(count) for count in re.findall(r"\((\d+) more like it", a.log()))
    assert told + len(doors) - 1 >= TIMES * len(doors) - 5, "a count may lack the last ones"


def test_the_soft_limit_is_raised_to_what_the_maxima_add_up_to(fleet: Fleet) -> None:
    a = fleet.daemon("a", prefix=["sh", "-c", 'ulimit -S -n 100; exec "$@"', "sh"])
    soft, hard = _limits(a)
    if hard < DESCRIPTORS_MAX:
        pytest.skip(f"the hard limit here is {hard}")
    assert soft == DESCRIPTORS_MAX
    assert "may open" not in a.log()


def test_where_the_hard_limit_is_too_low_it_says_so_and_stays_alive_without_descriptors(
    fleet: Fleet,
) -> None:
    a = fleet.daemon("a", prefix=["sh", "-c", f'ulimit -n {FEW}; exec "$@"', "sh"])
    assert f"this process may open {FEW} files" in a.log()
    strangers = [socket.create_connection(_port(a)) for _ in range(FEW)]
    until(lambda: "Too many open files" in a.log(), "descriptors to be short")
    for stranger in strangers:
        stranger.close()
    a.cli("set", "k", "v")
    assert a.stop() == 0
    assert "Traceback" not in a.log()
    assert a.log().count("Too many open files") <= 3
