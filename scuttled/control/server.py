"""The control socket: takes requests of local callers, gives answers and streams.

A connection has a reader, which carries out requests in the order they come, and a writer, which
alone sends. What a stream (a watch, a listing) says is drawn when the socket can take more, so a
caller that reads slowly has no queue here; while its answers wait to be read, no further
requests are taken from it.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import trio

from scuttled.client import protocol
from scuttled.client.rows import StreamRow
from scuttled.control.backpressure import Backpressure, Ticket, TokenBucket
from scuttled.control.cursors import Clocks
from scuttled.control.event_stream import EventStream
from scuttled.control.operations import Requests
from scuttled.control.results import Answer, Cancellation, Waiting
from scuttled.control.scan import Scan
from scuttled.control.tally import Tally
from scuttled.control.watch import Watch
from scuttled.errors import (
    SOFTWARE,
    DataError,
    RemoteProtocolError,
    ScuttledError,
    StorageError,
    TimedOut,
    UsageError,
)
from scuttled.node.node import Node
from scuttled.node.subscribers import Subscription
from scuttled.replica.update import Instant
from scuttled.runtime.repeats import FROM_STRANGERS
from scuttled.runtime.stream_writer import StreamWriter
from scuttled.runtime.streams import bytes_unread, has_hung_up
from scuttled.runtime.wakeup import Wakeup

logger = logging.getLogger(__name__)

CALLERS_MAX = 512  # connections at a time
STREAMS_MAX = 64  # of one connection, and as many waits
UNSAVED_MAX = 20_000  # writes not yet on disk; likewise
ANSWERS_BYTES_MAX = 1 << 20  # not yet read by the caller; then no more requests are taken


class Control:
    """Serves callers. `now` gives the time."""

    def __init__(
        self,
        node: Node,
        requests: Requests,
        now: Callable[[], Instant],
        pacing: Backpressure | None = None,
    ) -> None:
        self.node = node
        self.pacing = pacing or Backpressure(node, ())
        self.requests = requests
        self.now = now
        self._open: set[Connection] = set()
        self._left = Wakeup()  # a caller went

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One caller's connection, which is closed at the end. Raises nothing but Cancelled."""
        if len(self._open) >= CALLERS_MAX:
            words = "control connection closed: %d are open"
            logger.warning(words, CALLERS_MAX, extra=FROM_STRANGERS)
            await trio.aclose_forcefully(stream)
            return
        caller = Connection(self, stream)
        self._open.add(caller)
        try:
            async with stream:
                await caller.run()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the caller went away; that is how watches end
        finally:
            self._open.discard(caller)
            self._left.ring()

    async def finish(self) -> None:
        """Answer what was asked by now, and nothing else; returns when all callers are gone."""
        self.pacing.unhinge()
        for caller in self._open:
            caller.finish()
        while self._open:
            await self._left.heard()


class Connection:
    """One connection of the control socket."""

    def __init__(self, control: Control, stream: trio.abc.Stream) -> None:
        self.control = control
        self.node = control.node
        self.stream = stream
        self._answers = bytearray()
        self._unsaved: deque[tuple[Answer, int]] = deque()  # and the request's id
        self._waiting: dict[int, Waiting] = {}
        self._streams: dict[int, Scan | Tally | Watch | EventStream] = {}
        self._bell = Wakeup()
        self._on_accepted: Subscription | None = None  # once anything waited or was streamed
        self._on_progress: Subscription | None = None  # while somebody waits for disk or peers
        self._sent = trio.Event()  # set when answers were sent
        self._last = False  # the caller says no more
        self._greeted = False
        self._to_read = math.inf  # bytes; finite once the daemon stops
        self._receiving = False
        self._reading = trio.CancelScope()

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                with self._reading:
                    await self._read()
                self._last = True  # what was asked is answered; streams end with the connection
                stays = Scan | Tally if self._to_read < math.inf else ()
                self._streams = {i: s for i, s in self._streams.items() if isinstance(s, stays)}
                self._waiting.clear()
                self._bell.ring()
        finally:
            for subscription in (self._on_accepted, self._on_progress):
                if subscription is not None:
                    subscription.close()

    def finish(self) -> None:
        """Read no further than what was sent by now, answer that, and hang up."""
        self._to_read = bytes_unread(self.stream)
        if self._receiving and not self._to_read:
            self._reading.cancel()

    # --- reading ---

    async def _read(self) -> None:
        frames = protocol.ControlFrames()
        while data := await self._receive():
            try:
                for request in frames.feed(data):
                    gate = self.control.pacing.gate(request)
                    if gate is None or await self._was_let_through(gate, request):
                        self._take(request)
                    while self._is_full():
                        self._sent = trio.Event()
                        await self._sent.wait()
            except RemoteProtocolError as error:
                words = "control connection closed: %s"
                logger.warning(words, error.message, extra=FROM_STRANGERS)
                self._say(None, {"error": _told(error)})
                return

    async def _receive(self) -> bytes:
        """What was said next; nothing if that was all."""
        if self._to_read <= 0:
            return b""
        self._receiving = True
        data = bytes(await self.stream.receive_some())
        self._receiving = False
        self._to_read -= len(data)
        return data

    async def _was_let_through(self, gate: TokenBucket, request: protocol.Message) -> bool:
        """Hold back a write until its turn. False: it is not to be made, and the caller was told,
        or is gone.
        """
        ticket, done = Ticket(gate, request, self.control.now()), False
        try:
            while not has_hung_up(self.stream):
                wait_s = ticket.wait_s(self.control.now())
                if not wait_s:
                    done = True
                    break
                await trio.sleep(wait_s)
        except TimedOut as error:
            self._say(request.get("id"), {"error": _told(error)})
        finally:
            ticket.leave(done=done)
        return done

    def _is_full(self) -> bool:
        return len(self._answers) > ANSWERS_BYTES_MAX or len(self._unsaved) > UNSAVED_MAX

    def _take(self, request: protocol.Message) -> None:
        i = request.get("id")
        i = i if type(i) is int else None
        try:
            if protocol.is_too_deep(request):
                raise UsageError(f"a request nested more than {protocol.DEPTH_MAX} levels deep")
            if i is None:
                raise UsageError(f"request with the id {request.get('id')!r:.60}, not a number")
            if not self._greeted and request.get("op") != "hello":
                raise UsageError("the first request must be hello")
            self._carry_out(i, request)
        except ScuttledError as error:
            self._say(i, {"error": _told(error)})
        except Exception as error:
            # A bug in one operation must not end the daemon (I8); the log has the whole of it.
            logger.exception("operation %r failed", request.get("op"))
            words = f"a bug in {request.get('op')!r:.40}: {type(error).__name__}: {error}"
            self._say(i, {"error": {"code": SOFTWARE, "message": words, "hint": ""}})

    def _carry_out(self, i: int, request: protocol.Message) -> None:
        result = self.control.requests.carry_out(request, self.control.now())
        match result:
            case Answer():
                self._greeted = True
                if result.saved:
                    self._say(i, {"ok": result.ok})
                else:
                    self._unsaved.append((result, i))
                    self._hear_progress()
                    if self.node.durability.failing:
                        self._bell.ring()
            case Waiting():
                if len(self._waiting) >= STREAMS_MAX:
                    raise UsageError(f"{STREAMS_MAX} waits on one connection, no more")
                self._waiting[i] = result
                self._hear_progress()
                self._hear_accepted()
                self._bell.ring()
            case Scan() | Tally() | Watch() | EventStream():
                if len(self._streams) >= STREAMS_MAX:
                    raise UsageError(f"{STREAMS_MAX} streams on one connection, no more")
                self._streams[i] = result
                self._hear_accepted()
                if self._reads_disk():
                    self._hear_progress()
                self._bell.ring()
            case Cancellation(stream):
                self._cancel(i, stream)
            case _:
                assert_never(result)

    def _hear_accepted(self) -> None:
        if self._on_accepted is None:
            self._on_accepted = self.node.subscribe(self._bell.ring)

    def _hear_progress(self) -> None:
        if self._on_progress is None:
            self._on_progress = self.node.subscribe(self._bell.ring, saved=True)

    def _cancel(self, i: int, stream: object) -> None:
        if type(stream) is int and self._streams.pop(stream, None) is not None:
            self._say(stream, {"end": {"cancelled": True}})
        self._say(i, {"ok": {}})

    def _say(self, i: object, answer: dict[str, Any]) -> None:
        self._answers += _frame(i, answer)
        self._bell.ring()

    # --- writing ---

    async def _write(self) -> None:
        outlet = StreamWriter(self.stream)
        while True:
            now = self.control.now()
            self._settle(now)
            if self._answers:
                data = bytes(self._answers)
                self._answers.clear()
                self._sent.set()
                await outlet.send_all(data)
            elif self._has_rows():
                await outlet.wait()
                await outlet.send_all(self._draw(self.control.now()))
                await trio.lowlevel.checkpoint()  # a long search must not keep others waiting
            elif self._last and not self._unsaved:
                return
            elif self._waiting or self._streams:
                await self._next_event()
            else:
                await self._bell.heard()

    def _settle(self, now: Instant) -> None:
        """Turn what has come true into answers."""
        while self._unsaved and self._unsaved[0][0].saved:
            answer, i = self._unsaved.popleft()
            self._answers += _frame(i, {"ok": answer.ok})
        if self._unsaved and self.node.durability.failing:
            error = {"error": _told(_not_on_disk(self.node.durability.failing))}
            for _, i in self._unsaved:
                self._answers += _frame(i, error)
            self._unsaved.clear()
        for i, waiting in list(self._waiting.items()):
            if (outcome := self._outcome(waiting, now)) is not None:
                del self._waiting[i]
                self._answers += _frame(i, outcome)
        for watch in self._watches():
            watch.lose_patience(now)
        if self._on_progress is not None:
            if not (self._unsaved or self._waiting or self._reads_disk()):
                self._on_progress.close()
                self._on_progress = None

    def _watches(self) -> list[Watch]:
        return [stream for stream in self._streams.values() if isinstance(stream, Watch)]

    def _reads_disk(self) -> bool:
        """Whether a stream is told of what is saved, and so has news when something was."""
        streams = self._streams.values()
        return any(isinstance(s, Watch | EventStream) and s.durable for s in streams)

    def _outcome(self, waiting: Waiting, now: Instant) -> dict[str, Any] | None:
        """What is to be said to who waits; None as long as it is too early."""
        failing = self.node.durability.failing
        if waiting.holds(now):
            return {"ok": waiting.answer(now)}
        if failing and not Answer({}, waiting.until).saved:
            return {"error": _told(_not_on_disk(failing))}
        if now.mono_s < waiting.deadline_s:
            return None
        try:
            return {"ok": waiting.late(now)}
        except ScuttledError as error:
            return {"error": _told(error)}

    async def _next_event(self) -> None:
        """Until the bell rings, or the time of somebody who waits is over."""
        dues = [waiting.deadline_s for waiting in self._waiting.values()]
        due_s = min(
            [*dues, *(watch.patient_until_s for watch in self._watches())], default=math.inf
        )
        if due_s == math.inf:
            await self._bell.heard()
            return
        with trio.move_on_after(max(0.0, due_s - self.control.now().mono_s)):
            await self._bell.heard()

    def _has_rows(self) -> bool:
        return any(
            isinstance(stream, Scan | Tally) or stream.has_something()
            for stream in self._streams.values()
        )

    def _draw(self, now: Instant) -> bytes:
        """The next part of each stream that has one."""
        data = bytearray()
        for i, stream in list(self._streams.items()):
            rows = stream.rows(now)
            clock: Clocks = {}
            if isinstance(stream, Watch) and stream.durable:
                clock = stream.covered()
            if rows or clock:
                data += _row_frames(i, rows, clock)
            if isinstance(stream, Scan | Tally) and stream.done:
                del self._streams[i]
                end = {"count": stream.count, "cursor": stream.cursor()}
                data += protocol.encode({"id": i, "end": end})
        return bytes(data)


def _frame(i: object, answer: dict[str, Any]) -> bytes:
    """An answer, or that it is larger than a client takes: it would hang up (I7)."""
    frame = protocol.encode({"id": i, **answer})
    if len(frame) <= protocol.FRAME_BYTES_MAX:
        return frame
    size, most = len(frame), protocol.FRAME_BYTES_MAX
    error = DataError(f"what was asked is done, but the answer is {size:,} bytes, at most {most:,}")
    return protocol.encode({"id": i, "error": _told(error)})


def _row_frames(i: int, rows: Sequence[StreamRow], clock: Clocks) -> bytes:
    """A part of a stream, in as many frames as it needs: a single row, or clock, always fits.

    The clock is true behind the last row, so it comes with that or after it.
    """
    part: dict[str, Any] = {"id": i, "rows": rows}
    if clock:
        part["clock"] = clock
    frame = protocol.encode(part)
    if len(frame) <= protocol.FRAME_BYTES_MAX:
        return frame
    if len(rows) > 1:
        half = len(rows) // 2
        return _row_frames(i, rows[:half], {}) + _row_frames(i, rows[half:], clock)
    if rows and clock:
        return _row_frames(i, rows, {}) + _row_frames(i, [], clock)
    if len(clock) > 1:
        return b"".join(_row_frames(i, [], {name: times}) for name, times in clock.items())
    return frame


def _not_on_disk(why: str) -> StorageError:
    return StorageError(
        f"not on disk: {why}; this node holds it in memory and goes on trying, "
        "so it may yet come true"
    )


def _told(error: ScuttledError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint}
