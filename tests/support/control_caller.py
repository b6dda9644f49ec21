"""The control protocol, spoken by hand: what no client would say, or not so bare.

    with RawCaller(daemon.socket) as caller:
        caller.say(request(1, "get", model="default", key="k"))
        assert caller.heard()["ok"]["value"] == b"v"

What a client does say is said by scuttled.client.
"""

import socket
from collections.abc import Iterable, Iterator
from types import TracebackType

import trio

from scuttled.client import protocol
from support.waiting import PATIENCE_S

HELLO: protocol.Message = {
    "id": 0,
    "op": "hello",
    "protocol": list(protocol.VERSIONS),
    "client": "test",
}
_CHUNK = 256 << 10


def request(i: int, op: str, **fields: object) -> bytes:
    """A frame for a control socket."""
    return protocol.encode({"id": i, "op": op, **fields})


class RawCaller:
    """One connection to a control socket that says what it likes and reads when it likes."""

    def __init__(self, path: str, *, greet: bool = True) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(path)
        self.frames = protocol.ControlFrames()
        self.unread: list[protocol.Message] = []
        if greet:
            self.sock.sendall(protocol.encode(HELLO))
            assert "ok" in (self.heard() or {})

    def __enter__(self) -> "RawCaller":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()

    def say(self, data: bytes) -> None:
        """Bytes as they are; that the daemon has hung up does not matter."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def heard(self) -> protocol.Message | None:
        """The next message; None once the daemon has hung up."""
        while not self.unread:
            try:
                data = self.sock.recv(_CHUNK)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.unread += self.frames.feed(data)
        return self.unread.pop(0)

    def rest(self) -> Iterator[protocol.Message]:
        """All messages until the daemon hangs up."""
        while (message := self.heard()) is not None:
            yield message

    def flood(self, frames: Iterable[bytes], *, stuck_s: float = 1.0) -> tuple[int, bytes]:
        """Sends until the daemon takes no more for so long: frames sent whole, rest of the last."""
        self.sock.settimeout(stuck_s)
        sent = 0
        try:
            for frame in frames:
                view = memoryview(frame)
                try:
                    while view:
                        view = view[self.sock.send(view) :]
                except TimeoutError:
                    return sent, bytes(view)
                sent += 1
            return sent, b""
        finally:
            self.sock.settimeout(PATIENCE_S)


class Caller:
    """The same in trio, on any stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._frames = protocol.ControlFrames()
        self._unread: list[protocol.Message] = []

    async def say(self, *requests: protocol.Message) -> None:
        await self.stream.send_all(b"".join(map(protocol.encode, requests)))

    async def heard(self) -> protocol.Message | None:
        """The next message; None at the end."""
        while not self._unread:
            data = await self.stream.receive_some()
            if not data:
                return None
            self._unread += self._frames.feed(bytes(data))
        return self._unread.pop(0)

    async def rest(self) -> list[protocol.Message]:
        found = []
        while (message := await self.heard()) is not None:
            found.append(message)
        return found
