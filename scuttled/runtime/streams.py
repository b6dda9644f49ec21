"""Streams between nodes: TCP, and Unix sockets for tests. To add one: two functions and a line.

An address is `host[:port]`, `[v6]:port` or `unix:/path`. A name is looked up at every attempt,
and may lead to several addresses.
"""

import errno
import fcntl
import ipaddress
import select
import socket
import struct
import termios
from functools import partial
from typing import Any

import trio

from scuttled.config.config import Address, is_loopback, parse_address
from scuttled.errors import CantCreate, ConfigError

UNIX = "unix:"
BACKLOG = 64

# Of a peer that says nothing of itself: is asked after so long, so often, before it is given up.
KEEP_ALIVE_IDLE_S = 30
KEEP_ALIVE_INTERVAL_S = 10
KEEP_ALIVE_COUNT = 3
LOOK_UPS_MAX = 32  # threads that wait for the resolver; apart from those that write to the disk

_look_ups: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("look_ups")


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


async def look_up(text: str) -> list[str]:
    """All addresses that a name leads to at this moment, as `dial` takes them, each once.

    Raises OSError if nobody knows it, ConfigError if it can't be a name. May take as long as the
    system's resolver likes; who is cancelled leaves its thread behind, to end by itself.
    """
    address = parse_address(text)
    if address.host.startswith(UNIX) or _is_numeric(address.host):
        return [str(address)]
    ask = partial(socket.getaddrinfo, address.host, address.port, type=socket.SOCK_STREAM)
    try:
        found = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=_limiter())
    except UnicodeError as error:
        raise ConfigError(f"{address.host!r} can't be the name of a host") from error
    return list(dict.fromkeys(_numeric(where) for *_, where in found))


def _limiter() -> trio.CapacityLimiter:
    """Of this run of the loop: a thread that outlives its run never gives back its place."""
    try:
        return _look_ups.get()
    except LookupError:
        limiter = trio.CapacityLimiter(LOOK_UPS_MAX)
        _look_ups.set(limiter)
        return limiter


def _numeric(where: tuple[Any, ...]) -> str:
    """A socket's address as text; of a link-local one, the interface belongs to it."""
    host, port = where[:2]
    scope = where[3] if len(where) > 3 else 0
    if scope and "%" not in host:
        host = f"{host}%{scope}"
    return str(Address(host, port))


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def has_address(host: str) -> bool:
    """True if an address is one of this machine's own: only such a one can be bound to."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


async def dial(text: str, *, insecure: bool) -> trio.SocketStream:
    """Connect to an address; of a name, to the first of its addresses that takes us.

    Raises OSError, or ConfigError if plain TCP may not go there: then nobody was spoken to.
    """
    failure: OSError | ConfigError = OSError(f"{text} leads nowhere")
    for found in await look_up(text):
        try:
            return await _dial_one(parse_address(found), insecure=insecure)
        except (OSError, ConfigError) as error:
            failure = error
    raise failure


async def _dial_one(address: Address, *, insecure: bool) -> trio.SocketStream:
    if address.host.startswith(UNIX):
        return await trio.open_unix_socket(address.host.removeprefix(UNIX))
    if not insecure and not is_loopback(address.host):
        raise ConfigError(
            f"{address.host} is beyond loopback, and plain TCP is not encrypted",
            hint="add --insecure to allow plain TCP between machines",
        )
    return await trio.open_tcp_stream(address.host, address.port)


def keep_alive(stream: trio.SocketStream) -> None:
    """Have the kernel ask whether the other end is still there, or a machine that lost its power
    would be taken for one that has nothing to say, for ever."""
    wanted = {
        "TCP_KEEPIDLE": KEEP_ALIVE_IDLE_S,
        "TCP_KEEPINTVL": KEEP_ALIVE_INTERVAL_S,
        "TCP_KEEPCNT": KEEP_ALIVE_COUNT,
    }
    try:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in wanted.items():
            if (option := getattr(socket, name, None)) is not None:  # not on every system
                stream.socket.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        pass  # no TCP, or gone by now: whoever reads will see


def remote_name(stream: trio.abc.Stream) -> str:
    """The other end of a stream, for a log line."""
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
    """Bytes that came and were not yet received; 0 if the stream is closed, or is no socket."""
    descriptor = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else -1
    if descriptor < 0:
        return 0
    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]
    return count


def has_hung_up(stream: trio.abc.Stream) -> bool:
    """True once nobody is there any more to read an answer; False if the stream is no socket."""
    descriptor = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else -1
    if descriptor < 0:
        return isinstance(stream, trio.SocketStream)
    poll = select.poll()
    poll.register(descriptor, 0)  # POLLHUP and POLLERR are told unasked
    return bool(poll.poll(0))


def bound_address(listener: trio.abc.Listener[trio.abc.Stream]) -> str:
    """Address at which a listener listens, port included (it may have been 0)."""
    if not isinstance(listener, trio.SocketListener):
        return str(listener)
    name = listener.socket.getsockname()
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{UNIX}{name}"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
