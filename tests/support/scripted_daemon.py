"""A daemon for tests of its clients: a real Unix socket, real frames, and scripted answers.

It keeps one model in a dict. Whatever a test wants otherwise it puts into `answers`: a function
from a request to the frames that answer it, without their id. `HANG_UP` ends the connection;
`push` sends more to the last request of an operation.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from scuttled.client import protocol

NODE = "9f3ac21b44d0e713"
MS = 1_795_400_461_123
HANG_UP = object()

Request = dict[str, Any]


class Result(NamedTuple):
    """Exit code and output of a command that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """stdout, as the JSON lines it should be."""
        return [json.loads(line) for line in self.out.splitlines()]


Scuttled = Callable[..., Result]
Answer = Callable[[Request], Iterable[Any]]


def rev(number: int) -> str:
    return f"{(MS + number) << 12}.{NODE}.1"


def error(code: int, message: str, hint: str = "") -> Request:
    return {"error": {"code": code, "message": message, "hint": hint}}


def ok(**fields: Any) -> Answer:
    return lambda request: [{"ok": fields}]


class ScriptedDaemon:
    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.requests: list[Request] = []
        self.writes: list[int] = []  # how many messages came with each read
        self.state: dict[str, tuple[str, bytes, str]] = {}
        self.answers: dict[str, Answer] = {
            "hello": ok(
                protocol=1, node=NODE, name="web1", version="0.1.0", incarnation=1, cluster="c"
            ),
            "get": self._get,
            "set": self._set,
            "del": self._del,
            "load": self._load,
            "watch": self._watch,
            "cancel": ok(),
            "list": self._list,
            "tally": self._tally,
            "model_list": self._model_list,
            "model_info": ok(type="map", keys=0, ttl_ms=0),
            "model_create": ok(created=True),
        }
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._connections: list[socket.socket] = []
        self._last: dict[str, tuple[socket.socket, int]] = {}
        self._answered: list[Request] = []
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> "ScriptedDaemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.drop_connections()
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def drop_connections(self) -> None:
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def asked(self, op: str) -> list[Request]:
        return [request for request in self.requests if request["op"] == op]

    def await_request(self, op: str, number: int = 1) -> Request:
        """The `number`-th request of `op`, once it is answered."""
        with self._news:

            def answered() -> list[Request]:
                return [request for request in self._answered if request["op"] == op]

            assert self._news.wait_for(lambda: len(answered()) >= number, 10), f"no {op} came"
            return answered()[number - 1]

    def push(self, op: str, **frame: Any) -> None:
        """Sends a frame more to whoever asked `op` last."""
        self.await_request(op)
        connection, number = self._last[op]
        connection.sendall(protocol.encode({"id": number, **frame}))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        frames = protocol.ControlFrames()
        try:
            while data := connection.recv(1 << 20):
                messages = list(frames.feed(data))
                self.writes.append(len(messages))
                for message in messages:
                    self.requests.append(message)
                    go_on = self._answer(connection, message)
                    with self._news:
                        self._last[message["op"]] = (connection, message["id"])
                        self._answered.append(message)
                        self._news.notify_all()
                    if not go_on:
                        return
        except OSError:
            pass

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        answer = self.answers.get(request["op"])
        frames: Iterable[Any] = (
            answer(request) if answer else [error(2, f"no operation {request['op']}")]
        )
        for frame in frames:
            if frame is HANG_UP:
                connection.shutdown(socket.SHUT_RDWR)
                return False
            if isinstance(frame, bytes):
                connection.sendall(frame)
            else:
                connection.sendall(protocol.encode({"id": request["id"], **frame}))
        return True

    # -- one model

    def put(self, key: str, value: bytes, kind: str = "text") -> str:
        self.state[key] = (kind, value, rev(len(self.requests) + len(self.state)))
        return self.state[key][2]

    def _get(self, request: Request) -> Iterable[Any]:
        if request["key"] not in self.state:
            return [error(1, f"no key {request['key']!r} in model {request['model']}")]
        kind, value, rev = self.state[request["key"]]
        return [{"ok": {"kind": kind, "value": value, "rev": rev, "name": "web1", "expires_ms": 0}}]

    def _set(self, request: Request) -> Iterable[Any]:
        return [{"ok": {"rev": self.put(request["key"], request["value"], request["kind"])}}]

    def _del(self, request: Request) -> Iterable[Any]:
        found = [self.state.pop(key, None) for key in request["keys"]]
        return [{"ok": {"count": sum(one is not None for one in found)}}]

    def _load(self, request: Request) -> Iterable[Any]:
        pairs = request["pairs"]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not request.get("dry_run"):
                self.put(key, value, request["kind"])
        return [{"ok": {"count": len(pairs) // 2, "left": 0, "expired": 0}}]

    def _model_list(self, request: Request) -> Iterable[Any]:
        return [{"ok": {"models": [{"name": "default", "type": "map", "keys": len(self.state)}]}}]

    def _list(self, request: Request) -> Iterable[Any]:
        pattern = request["pattern"]
        for key, (kind, value, rev) in self.state.items():
            if _matches(key, pattern):
                shown = value if request.get("values") else None
                yield {"rows": [[key, kind, shown, rev, "web1", 0]]}
        yield {"end": {"count": len(self.state), "cursor": "c0"}}

    def _tally(self, request: Request) -> Iterable[Any]:
        """One row for each key, so that a caller has to add them up."""
        pattern, depth = request["pattern"], request["depth"]
        below = pattern if pattern.endswith("/") else ""
        found = [key for key in self.state if _matches(key, pattern)]
        for key in found if depth else ():
            parts = key[len(below) :].split("/", depth)
            yield {"rows": [[below + "/".join(parts[:depth]) + "/" * (len(parts) > depth), 1]]}
        yield {"end": {"count": len(found), "cursor": ""}}

    def _watch(self, request: Request) -> Iterable[Any]:
        """From now on, or from a cursor; then a test pushes the changes."""
        if not request.get("after"):
            yield {"rows": [["live", "", "", None, None, "", "", "c0", None]]}


def _matches(key: str, pattern: str) -> bool:
    if pattern.endswith(("/", "*")):
        return key.startswith(pattern.rstrip("*"))
    return not pattern or key == pattern
