"""systemd's side of a daemon: readiness, the watchdog, inherited sockets.

Each is a few lines over what systemd puts in the environment, and does nothing when it put nothing
there. What goes wrong with them in other daemons: READY=1 tied to having peers (a lone node is
then killed as a failed start), WATCHDOG=1 from a timer that a stuck loop can't stop, sockets taken
by a child because LISTEN_PID was not looked at.
"""

import logging
import os
import socket
from collections.abc import Mapping, MutableMapping

logger = logging.getLogger(__name__)

CONTROL = "control"  # the FileDescriptorName of the control socket
FIRST_FD = 3  # SD_LISTEN_FDS_START
LISTEN_FDS_MAX = 1024  # looked at; who names more has something else in mind
NUMBER_DIGITS_MAX = 18
WATCHDOG_S_MIN = 0.05  # between two signs of life; in less nobody can tell that a loop is stuck
NOTIFY_TIMEOUT_S = 1.0  # systemd reads at once; should it not, the daemon goes on without it
_ONCE = ("READY=", "STOPPING=")  # what does not come again is worth a wait


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
            sock.settimeout(NOTIFY_TIMEOUT_S if fields.startswith(_ONCE) else 0)
            sock.sendto(fields.encode("utf-8", "replace"), os.fsencode(address))
    except OSError:
        return False
    return True


def watchdog_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Interval between WATCHDOG=1: half the time systemd allows. None: no watchdog for us."""
    allowed_us = _number(environ, "WATCHDOG_USEC")
    ours = _number(environ, "WATCHDOG_PID") in (None, pid)
    return max(allowed_us / 2_000_000, WATCHDOG_S_MIN) if allowed_us and ours else None


def inherited_sockets(environ: MutableMapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The listening sockets that systemd opened for process `pid`, by FileDescriptorName.

    To be asked for before anything else is opened: a descriptor that was closed when this process
    began would be another one's by now. What does not listen is left alone, with a warning.

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
    unfit: list[str] = []
    for at in range(min(count, LISTEN_FDS_MAX)):
        name = names[at] if at < len(names) and names[at] else "unknown"
        try:
            sockets[_unused(name, sockets)] = _adopt(FIRST_FD + at, local=name == CONTROL)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            unfit.append(f"descriptor {FIRST_FD + at} ({name:.40}): {why}")
    if unfit:
        more = f" (and {count - len(sockets) - 1} others)" if count > len(sockets) + 1 else ""
        logger.warning("LISTEN_FDS names what is of no use, left alone: %s%s", unfit[0], more)
    return sockets


def _adopt(fd: int, *, local: bool) -> socket.socket:
    """Raises OSError, ValueError; the descriptor is then as it was."""
    sock = socket.socket(fileno=fd)
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError("a socket that does not listen")
        if local and (sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM):
            raise ValueError("no Unix stream socket")
    except BaseException:
        sock.detach()
        raise
    os.set_inheritable(fd, False)
    sock.setblocking(False)
    return sock


def _unused(name: str, taken: Mapping[str, object]) -> str:
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{name}.{number}"
    return candidate


def _number(environ: Mapping[str, str], variable: str) -> int | None:
    text = environ.get(variable, "")
    sane = text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX
    return int(text) if sane else None
