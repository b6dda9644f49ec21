"""A network between virtual machines: bounded streams on which bytes take their time.

A way leads from one machine to another, and its faults belong to it: bytes wait where it is
blocked, trickle where it is slow, and each piece has a delay of its own, so what went out later
over one connection overtakes what went out earlier over another. A stream is two pipes, one each
way. A pipe holds at most PIPE_BYTES: who sends more has to wait, as on a socket.

Streams are trio's own kind, so that the shell around links runs on them as it is. A connection
that breaks loses what was under way, but for a part that may end in the middle of a frame.
"""

import errno
import os
import random
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import trio

from scuttled.runtime.wakeup import Wakeup

PIPE_BYTES = 64 << 10  # under way, before its sender has to wait
PIECE_BYTES = 16 << 10  # the most that arrives at once
SLOW_S = 4.0  # of what a slow way carries, under way...
SLOW_BYTES_MIN = 1000  # ...but so much in any case
BACKLOG = 64  # connections that wait to be taken

Note = Callable[[bytes], None]  # what arrived, for the trace


@dataclass(slots=True)
class Way:
    """From one machine to another."""

    blocks: int = 0  # faults that block it at this time
    delay_s: float = 0.001  # at most
    bytes_per_s: float = 0.0  # 0: no limit
    pipes: "dict[Pipe, None]" = field(default_factory=dict)

    def block(self) -> None:
        self.blocks += 1

    def free(self) -> None:
        """One fault less."""
        self.blocks = max(self.blocks - 1, 0)
        for pipe in self.pipes:
            pipe.readable.ring()

    def heal(self) -> None:
        self.blocks = 0
        self.bytes_per_s = 0.0
        self.free()


class Pipe:
    """One direction of a connection."""

    def __init__(self, way: Way, rng: random.Random, note: Note) -> None:
        self.way = way
        self.rng = rng
        self.note = note
        self.size = 0  # bytes under way
        self.ended = False  # nothing comes after what is under way
        self.broken = False
        self.closed = False  # nobody reads it
        self.readable, self.writable = Wakeup(), Wakeup()
        self._pieces: deque[tuple[float, bytes]] = deque()  # when each arrives
        self._last_s = 0.0
        self._wait = trio.CancelScope()  # the reader's
        way.pipes[self] = None

    @property
    def room(self) -> int:
        """Bytes that can be sent off now; a slow way has small buffers, too."""
        rate = self.way.bytes_per_s
        most = min(PIPE_BYTES, max(SLOW_BYTES_MIN, int(SLOW_S * rate))) if rate else PIPE_BYTES
        return most - self.size

    def push(self, data: bytes) -> None:
        """Send it off, in pieces."""
        while data:
            size = min(len(data), PIECE_BYTES)
            if size > 1 and self.rng.random() < 0.2:
                size = self.rng.randint(1, size)
            self._last_s = max(self._last_s, trio.current_time() + self._delay_s(size))
            self._pieces.append((self._last_s, data[:size]))
            self.size += size
            data = data[size:]
        self._arm()

    def _arm(self) -> None:
        """Let the reader be woken when the first piece arrives, and not before."""
        due_s = self._due_s()
        self._wait.deadline = inf if due_s is None else due_s

    def _delay_s(self, size: int) -> float:
        way = self.way
        if way.bytes_per_s:
            busy_s = max(0.0, self._last_s - trio.current_time())
            return busy_s + size / way.bytes_per_s
        return self.rng.uniform(0, way.delay_s)

    async def pull(self) -> bytes:
        """The next piece; nothing if that was all. Raises BrokenResourceError."""
        while True:
            due_s = self._due_s()
            if self.closed or (self.broken and not self._pieces and not self.way.blocks):
                raise trio.BrokenResourceError("the connection was reset")
            if due_s is None and self.ended and not self._pieces and not self.way.blocks:
                return b""
            if due_s is not None and due_s <= trio.current_time():
                return self._arrived()
            self._wait = trio.CancelScope(deadline=inf if due_s is None else due_s)
            with self._wait:
                await self.readable.heard()

    def _due_s(self) -> float | None:
        """Time at which the next piece arrives; None if there is none, or its way is blocked."""
        return self._pieces[0][0] if self._pieces and not self.way.blocks else None

    def _arrived(self) -> bytes:
        _, data = self._pieces.popleft()
        self.size -= len(data)
        self.writable.ring()
        self.note(data)
        return data

    def end(self) -> None:
        """Its sender says no more."""
        self.ended = True
        self.readable.ring()

    def cut(self) -> None:
        """It breaks: a part of what is under way still arrives, maybe in the middle of a frame."""
        if not self.broken:
            self.broken = True
            kept = list(self._pieces)[: self.rng.randint(0, len(self._pieces))]
            if kept and self.rng.random() < 0.7:
                due_s, last = kept[-1]
                kept[-1] = due_s, last[: self.rng.randint(1, len(last))]
            if self.way.blocks:
                kept.clear()
            self._pieces = deque(kept)
            self.size = sum(len(data) for _, data in kept)
            self.readable.ring()
            self.writable.ring()

    def gone(self) -> None:
        self.way.pipes.pop(self, None)


class SimulatedStream(trio.abc.HalfCloseableStream):
    """One end of a connection."""

    def __init__(self, out: Pipe, into: Pipe, name: str) -> None:
        self.out = out
        self.into = into
        self.name = name
        self.closed = False

    def __str__(self) -> str:
        return self.name

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError
        return await self.into.pull()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self.out.broken or self.closed) and self.out.room <= 0:
            await self.out.writable.heard()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = bytes(data)
        while True:
            await self.wait_send_all_might_not_block()
            if self.closed:
                raise trio.ClosedResourceError
            if self.out.broken or self.out.ended:
                raise trio.BrokenResourceError("the connection was reset")
            room = self.out.room
            self.out.push(rest[:room])
            if not (rest := rest[room:]):
                return

    async def send_eof(self) -> None:
        self.out.end()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        if not self.closed:
            self.closed = True
            self.out.end()
            self.into.closed = self.into.broken = True  # what still comes is answered by a reset
            for bell in (self.into.readable, self.into.writable, self.out.writable):
                bell.ring()
            self.out.gone()
        await trio.lowlevel.checkpoint()


class SimulatedListener(trio.abc.Listener[trio.abc.Stream]):
    """Listener of a machine."""

    def __init__(self, network: "Network", name: str) -> None:
        self.network = network
        self.name = name
        self._waiting: deque[SimulatedStream] = deque()
        self._bell = Wakeup()

    def __str__(self) -> str:
        return self.name

    def take(self, stream: SimulatedStream) -> None:
        if len(self._waiting) >= BACKLOG:
            raise _refused()
        self._waiting.append(stream)
        self._bell.ring()

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            await self._bell.heard()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self.network.listeners.pop(self.name, None)
        for stream in self._waiting:
            await stream.aclose()
        await trio.lowlevel.checkpoint()


class Network:
    """All machines by name, the ways between them, and their connections."""

    def __init__(self, rng: random.Random, note: Callable[[str, bytes], None]) -> None:
        self.rng = rng
        self.note = note
        self.delay_s = 0.001  # of ways to come
        self.listeners: dict[str, SimulatedListener] = {}
        self.names: dict[str, tuple[str, ...]] = {}  # where they lead; a machine's own, to it
        self.homes: dict[str, tuple[str, str]] = {}  # of names: who asks, and whom they are for
        self.ways: dict[tuple[str, str], Way] = {}
        self.connections: dict[tuple[str, str, int], tuple[Pipe, Pipe]] = {}  # (dialler, listener)
        self._count = 0

    def way(self, source: str, target: str) -> Way:
        return self.ways.setdefault((source, target), Way(delay_s=self.delay_s))

    def listen(self, name: str) -> SimulatedListener:
        listener = self.listeners[name] = SimulatedListener(self, name)
        return listener

    def name_for(self, asker: str, target: str) -> str:
        """A name by which one machine dials another; where it leads may change."""
        name = f"{asker}-{target}"
        self.homes[name] = asker, target
        self.names.setdefault(name, (target,))
        return name

    async def look_up(self, name: str) -> list[str]:
        """The machines that a name leads to now. Raises OSError if there is none."""
        await trio.sleep(self.rng.uniform(0, self.delay_s))
        found = self.names.get(name, (name,))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(found)

    async def connect(self, source: str, target: str) -> SimulatedStream:
        """Raises OSError if nobody listens there; waits for ever where the way is blocked."""
        there = self.way(source, target)
        back = self.way(target, source)
        await trio.sleep(self.rng.uniform(0, there.delay_s + back.delay_s))
        if there.blocks or back.blocks:
            await trio.sleep_forever()
        if (listener := self.listeners.get(target)) is None:
            raise _refused()
        self._drop_ended()
        out = Pipe(there, self.rng, lambda data: self.note(f"{source}>{target}", data))
        into = Pipe(back, self.rng, lambda data: self.note(f"{target}>{source}", data))
        listener.take(SimulatedStream(into, out, source))
        self._count += 1
        self.connections[source, target, self._count] = out, into
        return SimulatedStream(out, into, target)

    def _drop_ended(self) -> None:
        for key, (out, into) in list(self.connections.items()):
            if (out.ended or out.broken) and (into.ended or into.broken):
                del self.connections[key]

    def cut(self, key: tuple[str, str, int]) -> None:
        for pipe in self.connections.pop(key):
            pipe.cut()

    def cut_all(self, name: str) -> None:
        """Every connection of a machine breaks."""
        for key in [key for key in self.connections if name in key[:2]]:
            self.cut(key)


def _refused() -> OSError:
    return OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
