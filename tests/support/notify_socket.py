"""A stand-in for systemd: the socket that a service tells how it goes."""

import socket
import time
from pathlib import Path

from support.waiting import PATIENCE_S


class Systemd:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)

    def next(self, timeout_s: float = PATIENCE_S) -> dict[str, str]:
        """The fields of the next datagram; none if none comes in time."""
        self.sock.settimeout(timeout_s)
        try:
            lines = self.sock.recv(4096).decode().splitlines()
        except (TimeoutError, BlockingIOError):
            return {}
        return dict(line.split("=", 1) for line in lines)

    def until(self, field: str) -> dict[str, str]:
        """The first datagram with that field."""
        end = time.monotonic() + PATIENCE_S
        while field not in (fields := self.next()):
            assert fields, f"systemd was told no {field}"
            assert time.monotonic() < end, f"systemd was told no {field}"
        return fields

    def pending(self) -> list[dict[str, str]]:
        """What was told by now."""
        told = []
        while fields := self.next(0):
            told.append(fields)
        return told
