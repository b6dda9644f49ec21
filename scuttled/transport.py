"""Streams between nodes: TCP, and Unix sockets for tests. To add one: two functions and a line.

An address is `host[:port]`, `[v6]:port` or `unix:/path`. A name is looked up at every attempt
and all its addresses are tried (trio does that, happy eyeballs included).
"""

import errno
import fcntl
import os
import select
import struct
import termios

import trio

from scuttled.config import is_loopback, parse_address
from scuttled.errors import CantCreate, ConfigError

UNIX = "unix:"
BACKLOG = 64


async def open_listeners(text: str) -> list[trio.SocketListener]:
    """Listen at an address. The caller closes them. Raises CantCreate."""
    address = parse_address(text)
    try:
        if address.host.startswith(UNIX):
            return [await _listen_unix(address.host.removeprefix(UNIX))]
        listeners = await trio.open_tcp_listeners(
            address.port, host=address.host or None, backlog=BACKLOG
        )
    except OSError as error:
        raise CantCreate(
            f"can't listen on {text}: {_reason(error)}",
            hint=_listen_hint(error),
        ) from error
    return list(listeners)


def _listen_hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE or isinstance(error.__cause__, ExceptionGroup):
        return "another scuttled may run here: scuttled status; or name another --listen ADDR"
    return ""


async def _listen_unix(path: str) -> trio.SocketListener:
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        await sock.bind(path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return trio.SocketListener(sock)


async def dial(text: str, *, insecure: bool) -> trio.SocketStream:
    """Connect to an address, looked up now. Raises OSError, ConfigError."""
    address = parse_address(text)
    if address.host.startswith(UNIX):
        return await trio.open_unix_socket(address.host.removeprefix(UNIX))
    stream = await trio.open_tcp_stream(address.host, address.port)
    remote = stream.socket.getpeername()[0]
    if not insecure and not is_loopback(remote):
        await trio.aclose_forcefully(stream)
        raise ConfigError(
            f"{remote} is beyond loopback, and plain TCP is not encrypted",
            hint="add --insecure to allow plain TCP between machines",
        )
    return stream


def dial_reason(error: Exception) -> str:
    """The kernel's own words where there are any: trio's name the address, which is said anyway."""
    while isinstance(error.__cause__, ExceptionGroup):
        error = error.__cause__.exceptions[0]
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


def remote_name(stream: trio.abc.Stream) -> str:
    """Who is at the other end, for a log line."""
    if not isinstance(stream, trio.SocketStream):
        return str(stream)
    try:
        name = stream.socket.getpeername()
    except OSError:
        return "?"
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "a Unix socket"


def bytes_unread(stream: trio.abc.Stream) -> int:
    """How much has come that was not yet received; 0 if the stream is closed, or is no socket."""
    descriptor = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else -1
    if descriptor < 0:
        return 0
    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]
    return count


def has_hung_up(stream: trio.abc.Stream) -> bool:
    """Whether nobody is there any more to read an answer; False if the stream is no socket."""
    descriptor = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else -1
    if descriptor < 0:
        return isinstance(stream, trio.SocketStream)
    poll = select.poll()
    poll.register(descriptor, 0)  # POLLHUP and POLLERR are told unasked
    return bool(poll.poll(0))


def bound_address(listener: trio.abc.Listener[trio.abc.Stream]) -> str:
    """Where a listener listens, port included (it may have been 0)."""
    if not isinstance(listener, trio.SocketListener):
        return str(listener)
    name = listener.socket.getsockname()
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{UNIX}{name}"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
