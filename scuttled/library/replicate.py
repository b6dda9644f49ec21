"""Models of a program of one's own, replicated over a stream: `await replicate(model, stream)`.

Both ends are equal: either may be another program or a daemon. The conversation is the one
daemons have (docs/protocol.md); here is only what a link wants of a node that has no storage, no
members and no other links to choose from.
"""

import json
import math
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import trio

from scuttled.errors import Refused, RemoteProtocolError, UsageError
from scuttled.library.authors import MAX_SKEW_MS
from scuttled.printable import has_control
from scuttled.protocol import codec
from scuttled.protocol.codec import HELLO_BYTES_MAX, LABEL_MAX, META_MAX
from scuttled.protocol.handshake import DONE, RECEIVE_ONLY, SEND_ONLY, Refusal
from scuttled.protocol.host import End, Host
from scuttled.protocol.link import Link
from scuttled.protocol.messages import PROTOCOL, Ask, Code, Delta, Hello, Tell
from scuttled.protocol.session import Session
from scuttled.replica.rejoin import Rejoin, Rejoined, rejoin
from scuttled.replica.scuttlebutt import Received, Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant, NodeId, Source
from scuttled.runtime.causes import only_error
from scuttled.runtime.clocks import read_clocks
from scuttled.runtime.pump import keep_sending, keep_time
from scuttled.runtime.wakeup import Wakeup
from scuttled.version import __version__

RECEIVE_BYTES = 64 << 10
DONE_WORDS = "both ends have all there is"
LEAVING_S = 2.0  # without an acknowledgement, after `dispose`, of what was written before
CLUSTER = "default"

Framing = Callable[[trio.abc.Stream], trio.abc.Stream]


class Header(NamedTuple):
    """Header of the other end."""

    id: str  # of its author
    name: str
    version: str
    meta: Any  # what it says of itself, JSON; None: nothing


class Replicated(NamedTuple):
    """Result of one call of `replicate`."""

    synced: bool  # at the end both had all that either had told of, as far as this end knows
    updates_in: int
    updates_out: int
    reason: str  # why it is over
    left_out: Mapping[str, str] = {}  # models that the other end does not share, and why


class _Bearer(Host[Link]):
    """Holds the models of one call of `replicate`."""

    max_skew_ms = MAX_SKEW_MS

    def __init__(self, models: dict[str, Scuttlebutt], hello: Hello) -> None:
        self.models = models
        self._hello = hello

    def hello(self, now: Instant) -> Hello:
        return self._hello

    def establish(self, link: Link, now: Instant) -> None:
        pass

    def models_to_share(self) -> Iterable[Scuttlebutt]:
        return self.models.values()

    def model_for_peer(self, name: str, data_type: str) -> Scuttlebutt:
        model = self.models.get(name)
        if model is None:
            raise Refusal(Code.MODELS, f"no model '{name:.80}' here")
        if model.data_type != data_type:
            raise Refusal(
                Code.TYPE, f"model '{name}' is a {model.data_type}, not a {data_type:.40}"
            )
        return model

    def peer_clock(self, model: Scuttlebutt, times: Mapping[Source, int], now: Instant) -> None:
        author = model.author
        if times.get(author.source, 0) > model.clock[author.source]:
            author.live_as(author.life + 1)  # it was somebody's before, who knew more (I5)

    def heard(self, link: Link, model: Scuttlebutt, delta: Delta, received: Received) -> None:
        link.model_changed(model)  # there is something to acknowledge; others were told by it

    def twin(self, node_id: NodeId, words: str) -> None:
        pass  # the link is over, and says why

    def verify(self, link: Link, message: Ask | Tell) -> None:
        pass

    def cluster_size(self, model: Scuttlebutt) -> int:
        return 1

    def reset(self, link: Link, model: Scuttlebutt, whole: Scuttlebutt, now: Instant) -> None:
        assert isinstance(model, Slots)
        assert isinstance(whole, Slots)
        rejoin(model, whole, model.author, Rejoin.OWN, Rejoined(model.name, "a peer", now.wall_ms))
        link.close(Code.AFRESH, "was reset and starts afresh")


async def replicate(
    models: Scuttlebutt | Iterable[Scuttlebutt],
    stream: trio.abc.Stream,
    *,
    tail: bool = True,
    send_only: bool = False,
    receive_only: bool = False,
    meta: Any = None,
    name: str = "",
    cluster: str = CLUSTER,
    framing: Framing | None = None,
    on_header: Callable[[Header], object] | None = None,
    on_synced: Callable[[], object] | None = None,
    on_left_out: Callable[[str, str], object] | None = None,
) -> Replicated:
    """Replicate a model, or several, with whoever is at the other end, until the stream is over.

    Closes the stream, also if it is cancelled. Until it is over the models may be changed in this
    thread alone. A model that the other end does not have, or has of another type, is left out:
    `on_left_out` is told its name and why. With `tail` false it ends as soon as both ends have
    all there is. `send_only` takes no updates and `receive_only` sends none; the other end is
    told, and the clock is sent once, so that only what is missing is sent. `framing` puts a
    stream of one's own (one that compresses, say) around that stream. What `on_header`,
    `on_synced`, `on_left_out` or an observer of a model raises ends it and comes out here, as it
    is.

    A connection that breaks is an end like any other: nothing is lost, the next call goes on from
    there. Raises UsageError at arguments that make no sense, and if a model is replicated in
    another thread; Refused if the other end will not have us (another cluster or version, a clock
    that is off) or shares none of the models; RemoteProtocolError if what it says makes no sense.
    The models keep what had come until then.
    """
    held = _by_name([models] if isinstance(models, Scuttlebutt) else list(models))
    _check_stream(stream)
    if send_only and receive_only:
        raise UsageError("send_only and receive_only: then nothing is left to do")
    hello = _hello(held, name, cluster, (send_only, receive_only), meta)
    link = Link(_Bearer(held, hello), dialled="stream", now=read_clocks())
    call = _Call(link, framing(stream) if framing else stream, tail)
    call.on_header = on_header
    call.on_synced = on_synced
    call.on_left_out = on_left_out
    await call.run(held.values())
    end = link.ended
    assert end is not None
    if end.code not in (Code.LEAVING, Code.AFRESH, Code.DONE) and not call.closed:
        raise (Refused if end.by_peer or link.stopped else RemoteProtocolError)(end.words)
    synced = call.synced and (call.done or call.has_all())
    return Replicated(synced, link.updates_in, link.updates_out, end.words, call.left_out)


def _check_stream(stream: object) -> None:
    wanted = ("receive_some", "send_all", "wait_send_all_might_not_block", "aclose")
    missing = [name for name in wanted if not hasattr(stream, name)]
    if missing:
        raise UsageError(
            f"a stream that is a {type(stream).__name__} and has no {missing[0]}: "
            "a trio stream is wanted, as trio.open_tcp_stream gives it"
        )


def _by_name(models: list[Scuttlebutt]) -> dict[str, Scuttlebutt]:
    for model in models:
        if not isinstance(model, Scuttlebutt):
            raise UsageError(f"a model that is a {type(model).__name__}: expected a Map, Log ...")
    held = {model.name: model for model in models}
    if not held or len(held) < len(models):
        names = ", ".join(model.name for model in models) or "none"
        raise UsageError(f"models of different names are wanted, not {names}")
    if len({model.author.node_id for model in models}) > 1:
        raise UsageError(
            "models that share a stream want one author: Map(name, author=other.author)"
        )
    return held


def _hello(
    models: dict[str, Scuttlebutt],
    name: str,
    cluster: str,
    one_way: tuple[bool, bool],
    meta: Any,
) -> Hello:
    author = next(iter(models.values())).author
    texts = [("name", name), ("cluster", cluster), *(("model", model) for model in models)]
    for what, text in texts:
        if not isinstance(text, str) or len(text) > LABEL_MAX or has_control(text):
            raise UsageError(
                f"{what} {text!r:.60}, expected at most {LABEL_MAX} characters, none of control"
            )
    try:
        said = "" if meta is None else json.dumps(meta, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"meta that JSON can't say: {error}") from None
    if (size := len(said.encode())) > META_MAX:
        raise UsageError(f"meta of {size} bytes, at most {META_MAX}")
    known = zip((SEND_ONLY, RECEIVE_ONLY), one_way, strict=True)
    features = (*(feature for feature, wanted in known if wanted), DONE)
    now = read_clocks()
    hello = Hello(
        *PROTOCOL, cluster, author.node_id, secrets.token_bytes(8), name or author.node_id.hex(),
        "", __version__, now.wall_ms, features, now.wall_ms, said,
    )  # fmt: skip
    if (size := len(codec.encode(hello))) > HELLO_BYTES_MAX:
        raise UsageError(f"name, cluster and meta make {size} bytes, at most {HELLO_BYTES_MAX}")
    return hello


class _Broken(Exception):
    """The stream broke: an end like any other."""


@contextmanager
def _may_break() -> Iterator[None]:
    """Tell what a stream raises from what a callback does."""
    try:
        yield
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise _Broken from error


class _Call:
    """One link on one stream."""

    def __init__(self, link: Link, stream: trio.abc.Stream, tail: bool) -> None:
        self.link = link
        self.stream = stream
        self.tail = tail
        self.synced = False  # all was there at both ends, at some moment
        self.done = False  # and one of them ended it for that
        self.closed = False  # by the stream, not with words
        self.left_out: dict[str, str] = {}
        self.on_header: Callable[[Header], object] | None = None
        self.on_synced: Callable[[], object] | None = None
        self.on_left_out: Callable[[str, str], object] | None = None
        self._wakeup = Wakeup()
        self._rearmed = Wakeup()
        self._names = {model.name for model in link.host.models_to_share()}
        self._leaves_at: dict[str, int] | None = None  # where each log ended at `dispose`
        self._acked = -1  # of these, the sum, at the last look
        self._patience_s = math.inf  # until when the next acknowledgement has to come

    async def run(self, models: Iterable[Scuttlebutt]) -> None:
        """Until the link is over. Raises what callbacks raise."""
        wakers = [(model, self._waker(model)) for model in models]
        guard = _guard_of_this_thread([model.name for model, _ in wakers])
        for model, _ in wakers:
            model.observed.admit()  # or somebody replicates it in another thread
        self.link.wake = self._wakeup.ring
        self.link.rearm = self._rearmed.ring
        for model, waker in wakers:
            model.observed.guards.add(guard)
            model.observed.wakers.add(waker)
            model.observed.closers.add(self._leave)
        try:
            await self._converse()
        except BaseExceptionGroup as group:
            error = only_error(group)
            raise error from error.__cause__
        finally:
            for model, waker in wakers:
                model.observed.guards.discard(guard)
                model.observed.wakers.discard(waker)
                model.observed.closers.discard(self._leave)
            for model, _ in wakers:
                model.observed.fire("unstream", model.streams)

    async def _converse(self) -> None:
        try:
            async with _Outlet(self.stream) as outlet, trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(
                    keep_time, self, self._rearmed, self._wakeup, read_clocks, nursery.cancel_scope
                )
                await keep_sending(self.link, outlet, self._wakeup, read_clocks)
                nursery.cancel_scope.cancel()
        except* _Broken:
            self._close("the connection broke")

    def _waker(self, model: Scuttlebutt) -> Callable[[], None]:
        return lambda: self.link.model_changed(model)

    def _close(self, words: str) -> None:
        if self.link.ended is None:
            self.closed = True
            self.link.ended = End(Code.PROTOCOL, words, by_peer=True)

    # --- `dispose`: what was written before it is sent, and waited for ---

    def _leave(self) -> None:
        """Say goodbye as soon as the other end has all that is here now."""
        if self._leaves_at is None:
            models = self.link.host.models_to_share()
            self._leaves_at = {model.name: model.log.end for model in models}
            self._part(read_clocks().mono_s)
            self._rearmed.ring()

    def _part(self, now_s: float) -> None:
        """End the link if what was to be sent first has come, or if nobody takes it."""
        if self._leaves_at is None or self.link.ended is not None:
            return
        sessions = self.link.sessions
        ends = {name: at for name, at in self._leaves_at.items() if name not in self.left_out}
        acked = {
            name: min(end, sessions[name].acked) if name in sessions and sessions[name].open else 0
            for name, end in ends.items()
        }
        if sum(acked.values()) != self._acked:
            self._acked = sum(acked.values())
            self._patience_s = now_s + LEAVING_S
        # Before the handshake nobody knows which ways updates may go.
        one_way = self.link.up and not self.link.sends
        if acked == ends or one_way or now_s >= self._patience_s:
            self.link.close(Code.LEAVING, "was disposed of")

    # --- reading ---

    async def _read(self) -> None:
        link = self.link
        while link.ended is None:
            with _may_break():
                data = await self.stream.receive_some(RECEIVE_BYTES)
            if not data:
                self._close("the connection was closed")
                break
            met = link.peer is not None
            try:
                link.receive(bytes(data), read_clocks())
            except RemoteProtocolError as error:
                link.close(Code.PROTOCOL, error.message)
            if link.peer is not None and not met and self.on_header:
                self.on_header(_header(link.peer))
            self._look()
            self._part(read_clocks().mono_s)
            self._wakeup.ring()
        self._wakeup.ring()

    def _look(self) -> None:
        """Note what has come about by what was received."""
        link = self.link
        for name, words in link.stopped.items():
            if name in self._names and name not in self.left_out:
                self.left_out[name] = words
                if self.on_left_out:
                    self.on_left_out(name, words)
        if len(self.left_out) == len(self._names):
            link.close(Code.TYPE, "; ".join(self.left_out.values()))
        self.done = _is_done(link)
        if not self.synced and link.up and (self.done or self.has_all()):
            self.synced = True
            if self.on_synced:
                self.on_synced()
            if not (self.tail or self.done):
                self.done = True
                link.close(Code.DONE if _knows_done(link) else Code.LEAVING, DONE_WORDS)

    def has_all(self) -> bool:
        """Both ends; a direction in which nothing goes counts as done, and so does a model that
        is left out.
        """
        link = self.link
        sessions = [link.sessions.get(name) for name in self._names - self.left_out.keys()]
        return all(
            session is not None
            and session.open
            and (session.lag == 0 or not link.sends)
            and (session.complete or _knows_all(session) or not link.receives)
            for session in sessions
        )

    # --- time ---

    @property
    def ended(self) -> End | None:
        return self.link.ended

    def next_timer(self, now: Instant) -> float:
        return min(self.link.next_timer(now), self._patience_s)

    def tick(self, now: Instant) -> None:
        self.link.tick(now)
        self._part(now.mono_s)


class _Outlet:
    """The sending side of a stream of somebody's own, which is closed at the end of a block."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def wait(self) -> None:
        with _may_break():
            await self._stream.wait_send_all_might_not_block()

    async def send_all(self, data: bytes) -> None:
        with _may_break():
            await self._stream.send_all(data)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with _may_break():  # one that breaks at that is closed
            await self._stream.aclose()


def _guard_of_this_thread(names: list[str]) -> Callable[[], None]:
    home = threading.get_ident()
    what = ", ".join(names)

    def guard() -> None:
        if threading.get_ident() != home:
            raise UsageError(
                f"'{what:.80}' is replicated in another thread, and may be changed there alone: "
                "trio.from_thread.run_sync(model.set, key, value, trio_token=token)"
            )

    return guard


def _knows_done(link: Link) -> bool:
    return link.peer is not None and DONE in link.peer.features


def _is_done(link: Link) -> bool:
    """True once an end has closed the link because both have all there is."""
    if (end := link.ended) is None:
        return False
    if _knows_done(link):
        return end.code == Code.DONE
    return end.words == DONE_WORDS  # the only sign that peers before this code have for it


def _knows_all(session: Session) -> bool:
    """True once our clock covers all that the peer has said its own does."""
    return session.model.clock.covers_all(session.confirmed.items())


def _header(peer: Hello) -> Header:
    try:
        meta = json.loads(peer.meta) if peer.meta else None
    except (ValueError, RecursionError):
        meta = None
    return Header(peer.node_id.hex(), peer.name, peer.version, meta)
