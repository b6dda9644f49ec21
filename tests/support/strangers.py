"""Hand-made other ends of a daemon's links, for what no daemon would say; and its busy clients.

stranger = Stranger(a)                     # dials a's gossip port
stranger.greet(name="eve")                 # HELLO, and a's HELLO
stranger.say(b"garbage")
assert "not msgpack" in stranger.last_words()
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from scuttled.errors import ScuttledError, Unavailable
from scuttled.protocol import codec
from scuttled.protocol.messages import (
    PROTOCOL,
    Bye,
    ClockMessage,
    ErrorMessage,
    Hello,
    Message,
    Ping,
    Pong,
)
from scuttled.replica.update import NodeId, Source, make_source
from scuttled.version import __version__
from support.fleet import Daemon
from support.waiting import PATIENCE_S

_CHUNK = 256 << 10


class Stranger:
    """One connection to a daemon's gossip port."""

    def __init__(self, daemon: Daemon, name: str = "stranger") -> None:
        host, port = daemon.address.split(":")
        self.sock = socket.create_connection((host, int(port)), PATIENCE_S)
        self.port: int = self.sock.getsockname()[1]
        self.name = name
        self.node_id = NodeId(os.urandom(8))
        self.source: Source = make_source(self.node_id, 1)
        self.theirs: Hello | None = None
        self.answers = True  # PINGs
        self._frames = codec.Frames()
        self._frames.trust()
        self._unread: list[Message] = []
        self._until = time.monotonic() + PATIENCE_S  # PINGs come for ever

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()

    def say(self, *what: Message | bytes) -> None:
        """Messages, or bytes as they are; that the daemon has hung up does not matter."""
        data = b"".join(w if isinstance(w, bytes) else codec.encode(w) for w in what)
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def greet(self, **changes: Any) -> Message:
        """Says HELLO, with `changes`; what comes first as an answer."""
        fields: dict[str, Any] = {
            "oldest": PROTOCOL[0],
            "newest": PROTOCOL[1],
            "cluster": "default",
            "node_id": self.node_id,
            "incarnation": os.urandom(8),
            "name": self.name,
            "address": "",
            "version": __version__,
            "wall_ms": time.time_ns() // 1_000_000,
            "began_ms": time.time_ns() // 1_000_000,
        }
        self.say(Hello(**{**fields, **changes}))
        answer = self.heard()
        assert answer is not None, "closed without a word"
        if isinstance(answer, Hello):
            self.theirs = answer
        return answer

    def open(self, model: str = "default", data_type: str = "map") -> None:
        """Starts the session of a model, as one who has nothing; the daemon's CLOCK is read."""
        self.say(ClockMessage(model, data_type, {}, {}, 1))
        self.until(lambda m: isinstance(m, ClockMessage) and m.model == model)

    def heard(self) -> Message | None:
        """The next message; None once the daemon has hung up."""
        while not self._unread:
            assert time.monotonic() < self._until, f"{self.name}: in vain for {PATIENCE_S:g} s"
            try:
                data = self.sock.recv(_CHUNK)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._unread += self._frames.feed(data)
        message = self._unread.pop(0)
        if isinstance(message, Ping) and self.answers:
            self.say(Pong(message.sent_ms, message.wall_ms))
        return message

    def until(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message of that kind."""
        while True:
            message = self.heard()
            assert message is not None, f"{self.name}: closed before the message came"
            if wanted(message):
                return message

    def last_words(self) -> str:
        """Reads until the daemon hangs up; what it gave as the reason."""
        words = ""
        while (message := self.heard()) is not None:
            if isinstance(message, Bye | ErrorMessage):
                words = message.words
        return words


class Load:
    """Overwrites `keys` keys of a daemon's default model for ever, as fast as it answers.

    The value of every write is its number, so a reader sees what it missed and in what order.
    """

    def __init__(self, daemon: Daemon, keys: int = 100, *, window: int = 64) -> None:
        self.written = 0  # and acknowledged
        self.error: Exception | None = None
        self._daemon = daemon
        self._keys = keys
        self._window = window
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            with self._daemon.client() as client:
                for _ in client.pipeline(self._requests(), window=self._window):
                    self.written += 1
        except (Unavailable, ConnectionError) as error:
            self.error = error  # the daemon went away

    def _requests(self) -> Iterator[tuple[str, dict[str, object]]]:
        number = 0
        while not self._over.is_set():
            key = f"key-{number % self._keys}"
            yield "set", {"model": "default", "key": key, "kind": "text", "value": str(number)}
            number += 1

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE_S)


class Watcher:
    """Follows a daemon's default model; `rows` are (when it was read, key, value)."""

    def __init__(self, daemon: Daemon) -> None:
        self.rows: list[tuple[float, str, bytes]] = []
        self._client = daemon.client(timeout_s=None)
        self._stream = self._client.stream("watch", live=True, model="default")
        next(self._stream)  # `live`: from now on
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for part in self._stream:
                now = time.monotonic()
                self.rows += [(now, row[2], row[4]) for row in part if row[0] == "set"]
        except (ScuttledError, OSError):
            pass  # closed, by us or by the daemon

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        self._thread.join(PATIENCE_S)
        self._client.close()

    def between(self, start: float, end: float) -> list[tuple[float, str, bytes]]:
        """The rows that were read in that time."""
        return [row for row in self.rows if start <= row[0] < end]
