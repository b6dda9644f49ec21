"""One live connection to a peer: the handshake, the sessions of all models, and keeping alive.

The link is pure. Its shell feeds it the bytes that arrive (`receive`), asks it for bytes when,
and only when, the stream can take more (`draw`), and calls `tick` when `next_timer` is due. All
that is to be sent is decided in `draw`, at the last moment; what waits before that is a few
small messages (see outbox) and names of models that have something (`_ready`).

The shell ends the link when `ended` is set or RemoteProtocolError is raised; what was received
until then stands, and the next handshake knows what is missing.
"""

from collections.abc import Callable
from typing import assert_never

from scuttled.errors import RemoteProtocolError, TooManySources
from scuttled.protocol import codec
from scuttled.protocol.acks import AckDelay
from scuttled.protocol.framing import Frames
from scuttled.protocol.handshake import Refusal, Twin, check_hello, directions
from scuttled.protocol.heartbeat import Heartbeat, clocks_hash
from scuttled.protocol.host import End, Host
from scuttled.protocol.in_flight import STALL_S
from scuttled.protocol.messages import (
    Ask,
    Bye,
    ClockMessage,
    Code,
    Delta,
    ErrorMessage,
    Have,
    Hello,
    Message,
    Ping,
    Pong,
    Reset,
    Tell,
)
from scuttled.protocol.outbox import OUTBOX_MAX, Outbox
from scuttled.protocol.session import Session
from scuttled.replica.scuttlebutt import Received, Scuttlebutt
from scuttled.replica.update import Instant, NodeId

DRAW_BYTES = 64 << 10  # drawn for one write; bounds how long others wait
FUTURE_RETRY_S = 0.5  # between looks whether what was refused may be asked for again
SILENCE_S = 10.0  # without a byte from the peer, the link is over
HELLO_S = 10.0  # to shake hands
STOPPED_MAX = 2 * 1024  # models that ended on one link; as many as both ends can have together
# Nobody did anything wrong then.
PARTING = (Code.LEAVING, Code.DUPLICATE, Code.SELF, Code.AFRESH, Code.DONE)


class Link:
    """A connection, from the first HELLO to its end."""

    def __init__(self, host: "Host[Link]", *, dialled: str, now: Instant) -> None:
        self.host = host
        self.dialled = dialled  # the address as configured; "" if the peer dialled us
        self.wake: Callable[[], None] = lambda: None  # there is something to send
        self.rearm: Callable[[], None] = lambda: None  # a timer is due earlier than was said

        # --- how far the conversation is: peer, then up, then ended; none is taken back.
        self.peer: Hello | None = None  # its HELLO was accepted
        self.up = False  # sessions may begin; the dialler has chosen this link
        self.ended: End | None = None  # nothing is heard any more; last words may be left to say
        self.sends = True  # updates go out; a peer may want but one way
        self.receives = True  # and come in
        self._known_as: NodeId | None = None  # the id in the HELLO that we have said

        # --- models. A name is in `stopped`, or in any of `sessions`, `_ready` and `_to_open`.
        self.sessions: dict[str, Session] = {}
        self.stopped: dict[str, str] = {}  # ended on this link, and why; STOPPED_MAX
        self._to_open: dict[str, Scuttlebutt] = {}  # a CLOCK of ours is due
        self._whole: set[str] = set()  # of these, all is to be sent
        self._held_back = False  # they wait until the host no longer holds back
        self._ready: dict[str, Session] = {}  # have something to send: first come, first served

        # --- the stream, and time
        self.began = now
        self.heard_at = now
        self.bytes_in = 0
        self.bytes_out = 0
        self.updates_in = 0
        self.updates_out = 0
        self.pulse = Heartbeat(now)
        self._frames = Frames()
        self._outbox = Outbox()
        self._ack_delay = AckDelay()
        self._armed_s = 0.0  # the timer that the shell was last told
        if dialled:
            self._greet(host.hello(now))

    # --- what the shell calls ---

    def receive(self, data: bytes, now: Instant) -> None:
        """Bytes from the peer. Raises RemoteProtocolError; the link is then to be closed."""
        if now.mono_s - self.heard_at.mono_s >= SILENCE_S:
            # This process was stopped meanwhile: the peer has given up, and what comes is old.
            self.tick(now)
            return
        self.heard_at = now
        self.bytes_in += len(data)
        for message in self._frames.feed(data):
            if self.ended:
                return
            try:
                self._take(message, now)
            except Refusal as refusal:
                self.close(refusal.reason, refusal.message)
                if refusal.reason == Code.SKEW and not self.dialled:
                    self._outbox.say_first(self.host.hello(now))  # the peer, too, sees how far
                if isinstance(refusal, Twin):
                    self.host.twin(refusal.node_id, refusal.message)
            except TooManySources as error:
                self._refuse_model(error.model, Code.SOURCES, error.message)

    def wants_to_send(self, now: Instant) -> bool:
        """True if `draw` has something. Cheap: no log is looked at."""
        if self._outbox.messages or self.ended is not None:
            return bool(self._outbox.messages)
        if self._outbox.refusals or (self._to_open and not self.host.holds_back):
            return True
        if any(session.has_something(now) for session in self._ready.values()):
            return True
        return self._ack_delay.is_over(now.mono_s) and self._has_receipts()

    def _has_receipts(self) -> bool:
        return any(session.receipts.due for session in self.sessions.values())

    def draw(self, now: Instant) -> bytes:
        """The next bytes to send, chosen now; may be none. Call it when the stream takes more."""
        frames = list(map(codec.encode, self._outbox.take()))
        if self.up and not self.ended:
            frames += map(codec.encode, self._outbox.take_refusals())
            frames += self._draw_clocks()
            frames += self._draw_haves(now)
            frames += self._draw_deltas(now, DRAW_BYTES - sum(map(len, frames)))
        data = b"".join(frames)
        if data:
            self.pulse.sent_s = now.mono_s
            self.bytes_out += len(data)
            if now.mono_s + STALL_S < self._armed_s:
                self.rearm()
        return data

    def next_timer(self, now: Instant) -> float:
        """The monotonic time at which `tick` is due, if nothing happens before."""
        if not self.up:
            self._armed_s = self.began.mono_s + HELLO_S
            return self._armed_s
        times = [self.heard_at.mono_s + SILENCE_S]
        if self._ack_delay.ends_s is not None and self._has_receipts():
            times.append(self._ack_delay.ends_s)
        if (ping_s := self.pulse.due_s()) is not None:
            times.append(ping_s)
            times += [session.flight.stall_at() for session in self.sessions.values()]
        if any(session.future for session in self.sessions.values()):
            times.append(now.mono_s + FUTURE_RETRY_S)
        self._armed_s = min(times)
        return self._armed_s

    def tick(self, now: Instant) -> None:
        """Time has passed: end a silent link, ping an idle one, ask again for the future."""
        if not self.up and now.mono_s >= self.began.mono_s + HELLO_S:
            self.close(Code.PROTOCOL, f"no handshake within {HELLO_S:.0f} s")
        if (silence := now.mono_s - self.heard_at.mono_s) >= SILENCE_S:
            self.close(Code.PROTOCOL, f"silent for {silence:.0f} s")
        if not self.up or self.ended is not None:
            return
        self._retry_future(now)
        if self.pulse.wants_ping(now, paused=any(s.paused(now) for s in self.sessions.values())):
            self._ping(now)

    def ask_time(self, now: Instant) -> None:
        """Measure the peer's clock anew, however busy the link is."""
        if self.up and self.ended is None and self.pulse.due_s() is not None:
            self._ping(now)
            self.wake()

    def is_below(self, limit: int) -> bool:
        """True if no clock that the peer has told goes beyond that time."""
        clocks = (session.confirmed for session in self.sessions.values())
        return all(time <= limit for clock in clocks for time in clock.values())

    def close(self, code: Code, words: str) -> None:
        """End the link from this side; a last `draw` says why."""
        if self.ended is None:
            self.ended = End(code, words, by_peer=False)
            last_words = Bye if code in PARTING else ErrorMessage
            self._outbox.part(last_words(code, words[: codec.WORDS_MAX]))
            self.wake()

    def bounds(self) -> dict[str, tuple[int, int]]:
        """The size of each thing that is held while the link goes on, and the most (I7)."""
        return {
            **self._frames.bounds(),
            "messages in the outbox": (len(self._outbox.messages), OUTBOX_MAX),
            "models that stopped": (len(self.stopped), STOPPED_MAX),
            "refusals to be told": (len(self._outbox.refusals), len(self.stopped)),
        }

    @property
    def synced(self) -> bool:
        """Both ends have, on disk, all that either has told of."""
        return self.up and all(session.synced for session in self.sessions.values())

    @property
    def lag(self) -> int:
        """Updates of users' models that the peer has not acknowledged."""
        return sum(s.lag for s in self.sessions.values() if not s.model.is_system)

    def lag_s(self, now: Instant) -> float:
        """For how long the oldest of these has waited; 0 if there is none."""
        users = (s for s in self.sessions.values() if not s.model.is_system)
        return max((s.flight.lag_s(now.mono_s) for s in users), default=0.0)

    def model_changed(self, model: Scuttlebutt) -> None:
        """The model has something new to send or to acknowledge, or is new itself."""
        session = self.sessions.get(model.name)
        if session is None:
            if self.up and model.name not in self.stopped:
                self._to_open[model.name] = model
                self.wake()
        elif session.behind:
            self._ready[model.name] = session
            self.wake()
        elif self._ack_delay.ends_before(self._armed_s) and session.receipts.due:
            self.rearm()

    # --- the conversation ---

    def _take(self, message: Message, now: Instant) -> None:
        if self.peer is None:
            self._take_first(message, now)
            return
        if not self.up and not isinstance(message, Bye | ErrorMessage):
            self._establish(now)  # the dialler has chosen this link
        match message:
            case Delta():
                self._take_delta(message, now)
            case Reset():
                self._take_reset(message, now)
            case Ask() | Tell():
                self.host.verify(self, message)
            case Have():
                if (session := self.sessions.get(message.model)) is not None:
                    session.receive_have(message)
                    self._ready.setdefault(message.model, session)  # it may have paused for that
            case ClockMessage():
                self._take_clock(message)
            case Ping():
                self._take_ping(message)
            case Pong():
                self._take_pong(message, now)
            case Bye(code, words):
                self._over(code, words)
            case ErrorMessage(code, words, model):
                if not model:
                    self._over(code, words)
                elif model in self.sessions or model in self._to_open:
                    self._stop_model(model, words)
            case Hello():
                raise RemoteProtocolError("a second HELLO")
            case _:
                assert_never(message)

    def _take_first(self, message: Message, now: Instant) -> None:
        if isinstance(message, Bye | ErrorMessage):
            if message.code == Code.SKEW:
                self.host.hear_clock(self.dialled, now)
            self._over(message.code, message.words)
        elif not isinstance(message, Hello):
            raise RemoteProtocolError(f"{type(message).__name__} before HELLO")
        else:
            mine = self.host.hello(now)
            self.host.hear_clock(message, now)
            check_hello(mine, message, self.host.max_skew_ms)
            self.peer = message
            self.sends, self.receives = directions(mine, message)
            self._frames.trust()
            if self.dialled:
                self._establish(now)
            else:
                self._greet(mine)

    def _greet(self, mine: Hello) -> None:
        self._known_as = mine.node_id
        self._outbox.say(mine)

    def _establish(self, now: Instant) -> None:
        self.host.establish(self, now)
        self.up = True
        self.pulse.begin(self.peer, self.host.sharing, leads=bool(self.dialled))
        for model in self.host.models_to_share():
            if model.overfull:  # the peer would close the link
                self._refuse_model(model.name, Code.SOURCES, model.overfull)
            else:
                self._to_open[model.name] = model
        self._ping(now)

    def _over(self, code: int, words: str) -> None:
        # It is about the id in our HELLO, whatever the words are, and by now we may have another.
        if code == Code.TWIN and self._known_as is not None:
            self.host.twin(self._known_as, words)
        self.ended = End(Code(code) if code in set(Code) else Code.PROTOCOL, words, by_peer=True)

    def _take_clock(self, message: ClockMessage) -> None:
        name = message.model
        if name in self.stopped:
            # An older peer lets pass what it was told before it had a session of its own.
            self._refuse_model(name, Code.MODELS, self.stopped[name])
            return
        try:
            model = self.host.model_for_peer(name, message.data_type)
        except Refusal as refusal:
            self._refuse_model(name, refusal.reason, refusal.message)
            return
        self.host.peer_clock(model, message.times, self.heard_at)
        session = self._session(model)
        session.receive_clock(message)
        self._ready[name] = session
        self.pulse.restarted()
        # Both ends say CLOCK once each time: ours is due if it was never said, or is asked for.
        if session.round == 0 or session.answers:
            self._to_open[name] = model

    def _session(self, model: Scuttlebutt) -> Session:
        session = self.sessions.get(model.name)
        if session is None:
            session = Session(model, self.host.max_skew_ms, sends=self.sends)
            self.sessions[model.name] = session
        return session

    def _refuse_model(self, name: str, code: Code, words: str) -> None:
        """It ends on this link, by us. One word of that to the peer, however often it asks."""
        self._stop_model(name, words)
        self._outbox.refuse(ErrorMessage(code, words[: codec.WORDS_MAX], name))

    def _stop_model(self, name: str, words: str) -> None:
        self.stopped[name] = words
        if len(self.stopped) > STOPPED_MAX:
            raise RemoteProtocolError(f"more than {STOPPED_MAX} models that are not to be shared")
        for held in (self.sessions, self._ready, self._to_open):
            held.pop(name, None)

    def _take_delta(self, delta: Delta, now: Instant) -> None:
        session = self.sessions.get(delta.model)
        if session is None:
            if delta.model in self.stopped:
                return
            raise RemoteProtocolError(f"DELTA of the model '{delta.model}', which has no session")
        if session.rejoining or not self.receives:
            return  # drawn before the peer knew
        try:
            received = session.receive_delta(delta, now)
        except RemoteProtocolError:  # what stood before the bad update was kept
            self.host.heard(self, session.model, delta, Received(0, session.model.log.end, {}))
            raise
        self._count_in(delta, now)
        if delta.hurry:
            self._ack_delay.hurry(now.mono_s)
        self.host.heard(self, session.model, delta, received)

    def _count_in(self, message: Delta | Reset, now: Instant) -> None:
        self.updates_in += sum(len(records) for _, records in message.runs)
        self.pulse.moved()
        self._ack_delay.begin(now.mono_s)
        self._ack_delay.bytes += sum(sum(map(len, records)) for _, records in message.runs)

    def _take_reset(self, message: Reset, now: Instant) -> None:
        if (session := self.sessions.get(message.model)) is not None:
            self._count_in(message, now)
            if (whole := session.receive_reset(message, now)) is not None:
                self.host.reset(self, session.model, whole, now)

    # --- sending ---

    def say(self, message: Ask | Tell) -> None:
        """Send that as soon as the stream takes it."""
        if self.ended is None and not self._outbox.is_full:
            self._outbox.say(message)
            self.wake()

    def send_whole(self, name: str) -> None:
        """Have both ends send all they hold of a model, whatever the clocks say (repair)."""
        if name in self.sessions:
            self._whole.add(name)
            self._to_open[name] = self.sessions[name].model
            self.wake()

    def start_afresh(self, model: Scuttlebutt) -> None:
        """The state of a model was replaced: its session begins anew, the link goes on."""
        if (session := self.sessions.get(model.name)) is not None:
            session.void()
            self._to_open[model.name] = model
            self.wake()

    def _draw_clocks(self) -> list[bytes]:
        if self.host.holds_back:
            self._held_back = True
            return []
        sessions = [self._session(model) for model in self._to_open.values()]
        self._to_open.clear()
        frames = []
        for session in sessions:
            members = self.host.cluster_size(session.model)
            whole = session.model.name in self._whole
            frames.append(codec.encode(session.clock_message(members=members, whole=whole)))
        self._whole.clear()
        if self._held_back:  # the peer's CLOCK may have come meanwhile
            self._ready.update((s.model.name, s) for s in sessions if s.behind)
            self._held_back = False
        return frames

    def _draw_haves(self, now: Instant) -> list[bytes]:
        if not self._ack_delay.is_over(now.mono_s):
            return []
        due = (session for session in self.sessions.values() if session.receipts.due)
        haves = [session.receipts.next(session.round) for session in due]
        if haves:
            self._ack_delay.clear()
        if any(session.receipts.pending for session in self.sessions.values()):
            self._ack_delay.begin(now.mono_s)
        return [codec.encode(have) for have in haves if have is not None]

    def _draw_deltas(self, now: Instant, budget: int) -> list[bytes]:
        """From each model in turn; one that has more to say goes to the end of the line."""
        frames: list[bytes] = []
        for name in list(self._ready):
            if budget <= 0:
                break
            session = self._ready.pop(name)
            delta = session.next_delta(budget, now) if session.has_something(now) else None
            if delta is not None:
                frames.append(codec.encode(delta))
                budget -= len(frames[-1])
                self.updates_out += sum(len(records) for _, records in delta.runs)
                self.pulse.moved()
            if session.behind:  # even if it has to pause
                self._ready[name] = session
        return frames

    # --- alive, and in step ---

    def _ping(self, now: Instant) -> None:
        if self._outbox.is_full:  # this is called where nobody expects an error
            return self.close(Code.PROTOCOL, f"{OUTBOX_MAX} messages wait, and the peer takes none")
        self._outbox.say(self.pulse.ping(now, self._clocks_hash))

    def _take_ping(self, ping: Ping) -> None:
        self._outbox.answer(self.pulse.answer(ping, self.heard_at))
        if ping.clocks and self.pulse.out_of_step(ping.clocks, self._clocks_hash()):
            self._to_open.update({s.model.name: s.model for s in self.sessions.values()})

    def _take_pong(self, pong: Pong, now: Instant) -> None:
        asked_s = self.pulse.pong(pong, now)
        rtt_s = self.pulse.rtt_s
        if asked_s is not None and rtt_s is not None:
            for session in self.sessions.values():
                session.flight.delivered(asked_s, rtt_s)

    def _clocks_hash(self) -> bytes:
        """Over the clocks of all sessions; b"" while some update is refused, and one-way."""
        sessions = [session for session in self.sessions.values() if session.open]
        if not (self.sends and self.receives) or any(session.future for session in sessions):
            return b""
        return clocks_hash(session.model for session in sessions)

    def _retry_future(self, now: Instant) -> None:
        for session in self.sessions.values():
            if (retry_ms := session.retry_ms()) is not None and now.wall_ms >= retry_ms:
                self._to_open[session.model.name] = session.model
