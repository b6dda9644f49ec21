"""A program's end of the control protocol: blocking, and light enough for a shell loop.

    from scuttled.client.client import Client

    with Client.connect() as client:
        client.request("set", model="default", key="greeting", kind="text", value=b"hello")
        print(client.request("get", model="default", key="greeting")["value"])
        for rows in client.stream("watch", live=True, model="default", patterns=["svc/"]):
            ...

The operations and their fields are told in docs/control.md. What goes wrong is a ScuttledError
whose class tells the kind and whose `message` and `hint` can be shown to a person.

The greeting travels with the first request, so a command is one round trip. `_socket` is used
instead of `socket`: the whole difference to us is 2 ms for every command.
"""

import _socket
import errno
import os
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from scuttled.client import protocol
from scuttled.errors import (
    DataError,
    RemoteProtocolError,
    ScuttledError,
    TimedOut,
    Unavailable,
    UsageError,
)
from scuttled.version import __version__

TIMEOUT_S = 5.0  # idle time: without a byte in either direction, not the whole of a call
KEY_BYTES_MAX = 4096  # docs/control.md; checked here where the place in a file can be named
VALUE_BYTES_MAX = 524_288
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path has 108, the last one a NUL

_RECEIVE_BYTES = 256 << 10
_WINDOW = 8  # requests in flight in a pipeline: enough to hide the round trip, bounded at both ends
_WRITES = frozenset(("set", "del", "load", "call", "emit"))  # what flow control may hold back
_HELLO = 0  # the id of the greeting
_NO_SIGPIPE = getattr(_socket, "MSG_NOSIGNAL", 0)

Row = list[Any]
Fields = dict[str, Any]


def socket_paths(explicit: str | None, environ: Mapping[str, str]) -> list[str]:
    """Paths where a daemon's socket may be, in the order in which to try.

    A path that was given (`--socket`, then `$SCUTTLED_SOCKET`) stands alone: who names a daemon
    does not want to talk to another one.
    """
    given = environ.get("SCUTTLED_SOCKET") if explicit is None else explicit
    if given is not None:
        if not given.strip():  # and who wrote nothing there does not want to talk to any
            words = f"{given!r} is no path of a control socket: a variable that is not set?"
            raise UsageError(words, hint="unset SCUTTLED_SOCKET")
        return [given]
    paths = []
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        paths.append(f"{runtime}/scuttled/control.sock")
    state = environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):  # the specification says to ignore relative ones
        home = environ.get("HOME") or os.path.expanduser("~")
        state = f"{home}/.local/state" if home.startswith("/") else ""  # nobody's home
    if state:
        paths.append(f"{state}/scuttled/run/control.sock")
    return [*paths, "/run/scuttled/control.sock"]


class Client:
    """One connection to a daemon. Not for use by several threads at once.

    Any error but one that the daemon answered leaves the connection unusable: close it.
    """

    def __init__(self, sock: _socket.socket, path: str, timeout_s: float | None) -> None:
        """Takes a connected socket over; see `connect` for the usual way in."""
        self.path = path
        self.timeout_s = timeout_s
        self.daemon: Fields = {}
        """The daemon's words on itself (node, name, version, ...); filled by the first answer."""
        self._sock = sock
        self._frames = protocol.ControlFrames()
        self._unread: dict[int, deque[protocol.Message]] = {}  # of each request in flight
        self._last_id = _HELLO
        self._ahead = protocol.encode(
            {
                "id": _HELLO,
                "op": "hello",
                "protocol": list(protocol.VERSIONS),
                "client": f"scuttled/{__version__}",
            }
        )  # goes out in one write with the first request

    @classmethod
    def connect(
        cls, paths: Sequence[str] | None = None, timeout_s: float | None = TIMEOUT_S
    ) -> "Client":
        """Connects to the first of `paths` that answers; without them, to this user's daemon.

        `timeout_s` is idle time for this and all that follows; None waits for ever. Raises
        Unavailable, or NotPermitted if a socket is there that this user may not use.
        """
        tried: list[tuple[str, OSError]] = []
        for path in paths if paths is not None else socket_paths(None, os.environ):
            try:
                return cls(_dial(path, timeout_s), path, timeout_s)
            except OSError as error:
                tried.append((path, error))
        from scuttled.client.explanations import unreachable

        raise unreachable(tried)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up; the daemon ends the streams of this connection. May be called twice."""
        self._sock.close()

    def fileno(self) -> int:
        """For poll(): readable when a stream's next rows may be here."""
        return self._sock.fileno()

    def hello(self) -> Fields:
        """The daemon's words on itself, asked now if nothing has been asked yet."""
        if not self.daemon:
            self._transmit(b"")
            while not self.daemon:
                self._receive(self.timeout_s)
        return self.daemon

    @property
    def namesakes(self) -> frozenset[str]:
        """Names that more than one member of the cluster bears, as of the hello."""
        found = self.daemon.get("namesakes")
        return frozenset(found) if isinstance(found, list) else frozenset()

    def request(self, op: str, *, wait_s: float | None = -1.0, **fields: object) -> Fields:
        """Asks for one thing and waits for the answer: its `ok` map.

        `wait_s` replaces the connection's idle time for this call, None waits for ever. Raises
        what the daemon answered, TimedOut, or Unavailable if it went away.
        """
        timeout_s = self.timeout_s if wait_s == -1.0 else wait_s
        return self._answer(self._send(op, _patient(op, fields, timeout_s)), timeout_s)

    def stream(self, op: str, *, live: bool = False, **fields: object) -> "Stream":
        """Starts an operation that gives rows. `live`: it may be silent for as long as it likes."""
        return Stream(self, self._send(op, fields), None if live else self.timeout_s)

    def pipeline(
        self, requests: Iterable[tuple[str, Fields]], *, window: int = _WINDOW
    ) -> Iterator[Fields]:
        """Carries out many requests, up to `window` of them in flight; gives their `ok` in order.

        The first error ends it; of the requests sent by then, later ones may have been done.
        """
        waiting: deque[int] = deque()
        for op, fields in requests:
            if len(waiting) >= window:
                yield self._answer(waiting.popleft(), self.timeout_s)
            waiting.append(self._send(op, _patient(op, fields, self.timeout_s)))
        while waiting:
            yield self._answer(waiting.popleft(), self.timeout_s)

    # -- what Stream uses

    def _send(self, op: str, fields: Fields) -> int:
        frame = _encoded({"id": self._last_id + 1, "op": op, **fields})
        self._last_id += 1
        self._unread[self._last_id] = deque()
        self._transmit(frame)
        return self._last_id

    def _answer(self, number: int, timeout_s: float | None) -> Fields:
        try:
            message = self._next(number, timeout_s)
        finally:
            self._forget(number)
        answer = message.get("ok")
        if not isinstance(answer, dict):
            raise RemoteProtocolError(f"daemon answered with {sorted(message)}, not with ok")
        return answer

    def _next(self, number: int, timeout_s: float | None) -> protocol.Message:
        """The next message for request `number`; raises it if it is an error."""
        queue = self._unread[number]
        while not queue:
            self._receive(timeout_s)
        message = queue.popleft()
        if "error" in message:
            raise _from_daemon(message["error"])
        return message

    def _forget(self, number: int) -> None:
        self._unread.pop(number, None)  # what still comes for it is dropped as it comes

    def _transmit(self, frame: bytes) -> None:
        view = memoryview(self._ahead + frame)
        self._ahead = b""
        self._sock.settimeout(self.timeout_s)
        try:
            while view:
                view = view[self._sock.send(view, _NO_SIGPIPE) :]
        except TimeoutError:
            raise _timed_out(self.timeout_s) from None
        except (BrokenPipeError, ConnectionResetError):
            self._receive(self.timeout_s)  # it may have said why before it hung up
            raise Unavailable("daemon hung up while it was asked") from None

    def _receive(self, timeout_s: float | None) -> None:
        """Waits for bytes and files the messages they complete under their requests."""
        self._sock.settimeout(timeout_s)
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except TimeoutError:
            raise _timed_out(timeout_s) from None
        except ConnectionResetError:
            data = b""
        if not data:
            raise Unavailable(f"daemon hung up: the connection to {self.path} was closed")
        for message in self._frames.feed(data):
            self._file(message)

    def _file(self, message: protocol.Message) -> None:
        number = message.get("id")
        if number in self._unread:
            self._unread[number].append(message)
        elif "error" in message and number in (_HELLO, None):
            raise _from_daemon(message["error"])
        elif number == _HELLO:
            self.daemon = message.get("ok") or {}


class Stream:
    """The rows of a running operation, in batches, until the daemon ends it or `close`."""

    def __init__(self, client: Client, number: int, timeout_s: float | None) -> None:
        self.end: Fields | None = None
        """The fields of the daemon's `end`; None before it and after `close`."""
        self.clock: dict[str, dict[str, int]] = {}
        """Of a `durable` watch: what the last part said of how its clock rose (docs/control.md)."""
        self._client = client
        self._number = number
        self._timeout_s = timeout_s

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> list[Row]:
        """The next rows, at least one; waits for them."""
        while self.running():
            rows = self._take(self._timeout_s)
            if rows:
                return rows
        raise StopIteration

    def poll(self) -> list[Row]:
        """The rows that are here; [] if none are yet, or no more will come: see `running`."""
        self.clock = {}
        if not self.running():
            return []
        try:
            return self._take(0.0)
        except BlockingIOError:
            return []

    def running(self) -> bool:
        """True while rows may still come."""
        return self._number in self._client._unread

    def buffered(self) -> bool:
        """True if `poll` has something to give without reading from the socket."""
        return bool(self._client._unread.get(self._number))

    def close(self) -> None:
        """Ends the operation early. The connection can be used on."""
        if self.running():
            self._client._forget(self._number)
            number = self._client._send("cancel", {"stream": self._number})
            self._client._forget(number)

    def _take(self, timeout_s: float | None) -> list[Row]:
        try:
            message = self._client._next(self._number, timeout_s)
        except (ScuttledError, ConnectionError):
            self._client._forget(self._number)
            raise
        rows: list[Row] = message.get("rows", [])
        self.clock = message.get("clock") or {}
        if "end" in message:
            self._client._forget(self._number)
            self.end = message["end"] or {}
        return rows


def _encoded(message: protocol.Message) -> bytes:
    """Raises DataError at what the protocol has no form for; nothing was sent then."""
    try:
        return protocol.encode(message)
    except OverflowError:
        raise DataError("a whole number beyond 64 bits: the daemon takes none") from None
    except UnicodeEncodeError:
        raise DataError("half a surrogate pair: the daemon takes none") from None
    except ValueError as error:
        raise DataError(f"this can't be sent to the daemon: {error}") from None


def _patient(op: str, fields: Fields, timeout_s: float | None) -> Fields:
    """A write says how long its caller waits: held back for longer, it is not to be made."""
    if op not in _WRITES or timeout_s is None:
        return fields
    return {"hold_ms": round(timeout_s * 1000), **fields}


def _dial(path: str, timeout_s: float | None) -> _socket.socket:
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES_MAX:
        words = f"too long: {size} bytes, at most {SOCKET_PATH_BYTES_MAX}"
        raise OSError(errno.ENAMETOOLONG, words)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        if timeout_s is not None:
            # connect() waits while the daemon's backlog is full, but not on a non-blocking
            # socket, which settimeout would make it: the kernel's own time-out does both.
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _timeval(timeout_s))
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _timeval(seconds: float) -> bytes:
    micros = max(1, int(seconds * 1_000_000))  # 0 would mean for ever
    return struct.pack("ll", micros // 1_000_000, micros % 1_000_000)


def _timed_out(timeout_s: float | None) -> TimedOut:
    return TimedOut(f"daemon does not answer: not a byte in {round(timeout_s or 0, 2):g} s")


def _from_daemon(error: object) -> ScuttledError:
    from scuttled.client.explanations import from_daemon

    return from_daemon(error)
