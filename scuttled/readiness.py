"""systemd's side of a daemon: readiness, the watchdog, inherited sockets.

Each is a few lines over what systemd puts in the environment, and does nothing when it put nothing
there. What goes wrong with them in other daemons: READY=1 tied to having peers (a lone node is
then killed as a failed start), WATCHDOG=1 from a timer that a stuck loop can't stop, sockets taken
by a child because LISTEN_PID was not looked at.
"""

import os
import socket
from collections.abc import Mapping, MutableMapping

FIRST_FD = 3  # SD_LISTEN_FDS_START
NOTIFY_TIMEOUT_S = 1.0  # systemd reads at once; should it not, the daemon goes on without it


def notify(fields: str, environ: Mapping[str, str]) -> bool:
    """Send newline-joined `fields` such as "READY=1" in one datagram. Whether systemd got them.

    Never raises: that nobody listens must not end the daemon.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(NOTIFY_TIMEOUT_S)
            sock.sendto(fields.encode("utf-8", "replace"), os.fsencode(address))
    except OSError:
        return False
    return True


def watchdog_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """How often to send WATCHDOG=1: twice in the time systemd allows. None: no watchdog for us."""
    allowed_us = _number(environ, "WATCHDOG_USEC")
    ours = _number(environ, "WATCHDOG_PID") in (None, pid)
    return allowed_us / 2_000_000 if allowed_us and ours else None


def inherited_sockets(environ: MutableMapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The listening sockets that systemd opened for process `pid`, by FileDescriptorName.

    They are non-blocking and stay here when a child is started, as do the variables, which are
    removed. Never unlink their paths nor shut them down: systemd goes on listening on them. A
    second one of the same name gets the name `name.2`.
    """
    ours = _number(environ, "LISTEN_PID") == pid
    count = _number(environ, "LISTEN_FDS") or 0
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(variable, None)
    if not ours:
        return {}
    sockets: dict[str, socket.socket] = {}
    for at in range(count):
        name = names[at] if at < len(names) and names[at] else "unknown"
        sockets[_unused(name, sockets)] = _adopt(FIRST_FD + at)
    return sockets


def _adopt(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def _unused(name: str, taken: Mapping[str, object]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}.{number}"
    return candidate


def _number(environ: Mapping[str, str], variable: str) -> int | None:
    text = environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() else None
