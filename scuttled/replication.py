"""Models of a program of one's own, replicated over a stream: `await replicate(model, stream)`.

Both ends are equal: either may be another program or a daemon. The conversation is the one
daemons have (docs/protocol.md); here is only what a link wants of a node that has no storage, no
members and no other links to choose from.
"""

import json
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import trio

from scuttled import __version__
from scuttled.core.handshake import RECEIVE_ONLY, SEND_ONLY, Refusal
from scuttled.core.host import End, Host
from scuttled.core.link import SILENCE_S, Link
from scuttled.core.messages import PROTOCOL, Ask, Code, Delta, Hello, Tell
from scuttled.core.scuttlebutt import Received, Scuttlebutt
from scuttled.core.session import Session
from scuttled.core.slots import Slots
from scuttled.core.update import Instant, Source
from scuttled.core.wire import LABEL_MAX, META_MAX
from scuttled.errors import Refused, RemoteProtocolError, UsageError
from scuttled.library import MAX_SKEW_MS
from scuttled.printable import has_control
from scuttled.rejoining import Rejoin, Rejoined, rejoin
from scuttled.waking import Bell, read_clocks

RECEIVE_BYTES = 64 << 10
DONE = "both ends have all there is"
PARTING_S = 1.0  # for the last words
TIMER_S = 0.001
CLUSTER = "default"

Framing = Callable[[trio.abc.Stream], trio.abc.Stream]


class Header(NamedTuple):
    """Who is at the other end."""

    id: str  # of its author
    name: str
    version: str
    meta: Any  # what it says of itself, JSON; None: nothing


class Replicated(NamedTuple):
    """How it went."""

    synced: bool  # both ends had, at some moment, all that either had told of
    updates_in: int
    updates_out: int
    reason: str  # why it is over


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

    def twin(self, words: str) -> None:
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
) -> Replicated:
    """Replicate a model, or several, with whoever is at the other end, until the stream is over.

    Closes the stream. With `tail` false it ends as soon as both ends have all there is. `send_only`
    takes no updates and `receive_only` sends none; the other end is told, and the clock is sent
    once, so that only what is missing is sent. `framing` puts a stream of one's own (one that
    compresses, say) around that stream. What `on_header`, `on_synced` or an observer of a model
    raises ends it and comes out here.

    A connection that breaks is an end like any other: nothing is lost, the next call goes on from
    there. Raises UsageError at arguments that make no sense; Refused if the other end will not
    have us (another cluster, version or type, a clock that is off); RemoteProtocolError if what it
    says makes no sense. The models keep what had come until then.
    """
    held = _by_name([models] if isinstance(models, Scuttlebutt) else list(models))
    if send_only and receive_only:
        raise UsageError("send_only and receive_only: then nothing is left to do")
    hello = _hello(held, name, cluster, (send_only, receive_only), meta)
    link = Link(_Bearer(held, hello), dialled="stream", now=read_clocks())
    call = _Call(link, framing(stream) if framing else stream, tail, on_header, on_synced)
    await call.run(held.values())
    end = link.ended
    assert end is not None
    if end.code not in (Code.LEAVING, Code.AFRESH) and not call.closed:
        raise (Refused if end.by_peer or link.stopped else RemoteProtocolError)(end.words)
    return Replicated(call.synced, link.updates_in, link.updates_out, end.words)


def _by_name(models: list[Scuttlebutt]) -> dict[str, Scuttlebutt]:
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
    for what, text in (("name", name), ("cluster", cluster)):
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
    features = tuple(feature for feature, wanted in known if wanted)
    now = read_clocks()
    return Hello(
        *PROTOCOL, cluster, author.node_id, secrets.token_bytes(8), name or author.node_id.hex(),
        "", __version__, now.wall_ms, features, now.wall_ms, said,
    )  # fmt: skip


class _Call:
    """One link on one stream."""

    def __init__(
        self,
        link: Link,
        stream: trio.abc.Stream,
        tail: bool,
        on_header: Callable[[Header], object] | None,
        on_synced: Callable[[], object] | None,
    ) -> None:
        self.link = link
        self.stream = stream
        self.tail = tail
        self.synced = False
        self.closed = False  # by the stream, not with words
        self._on_header = on_header
        self._on_synced = on_synced
        self._bell = Bell()
        self._names = {model.name for model in link.host.models_to_share()}

    async def run(self, models: Iterable[Scuttlebutt]) -> None:
        """Until the link is over. Raises what callbacks raise."""
        models, link = list(models), self.link
        link.wake = self._bell.ring
        wakers = [(model, self._waker(model)) for model in models]
        for model, waker in wakers:
            model.observed.wakers.add(waker)
            model.observed.closers.add(self._leave)
        try:
            async with self.stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(self._tick, nursery.cancel_scope)
                await self._write()
                nursery.cancel_scope.cancel()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._close("the connection broke")
        finally:
            for model, waker in wakers:
                model.observed.wakers.discard(waker)
                model.observed.closers.discard(self._leave)
                model.observed.fire("unstream", model.streams)

    def _waker(self, model: Scuttlebutt) -> Callable[[], None]:
        return lambda: self.link.model_changed(model)

    def _leave(self) -> None:
        self.link.close(Code.LEAVING, "was disposed of")

    def _close(self, words: str) -> None:
        if self.link.ended is None:
            self.closed = True
            self.link.ended = End(Code.PROTOCOL, words, by_peer=True)

    async def _read(self) -> None:
        link = self.link
        while link.ended is None:
            data = await self.stream.receive_some(RECEIVE_BYTES)
            if not data:
                self._close("the connection was closed")
                break
            met = link.peer is not None
            try:
                link.receive(bytes(data), read_clocks())
            except RemoteProtocolError as error:
                link.close(Code.PROTOCOL, error.message)
            if link.peer is not None and not met and self._on_header:
                self._on_header(_header(link.peer))
            self._look()
            self._bell.ring()
        self._bell.ring()

    def _look(self) -> None:
        """What has come about by what was received."""
        link = self.link
        for name, words in link.stopped.items():
            if name in self._names:
                link.close(Code.TYPE, words)
        told = link.ended is not None and link.ended.words == DONE
        if not self.synced and link.up and (told or self._has_all()):
            self.synced = True
            if self._on_synced:
                self._on_synced()
            if not (self.tail or told):
                link.close(Code.LEAVING, DONE)

    def _has_all(self) -> bool:
        """Both ends; a direction in which nothing goes counts as done."""
        link = self.link
        sessions = [link.sessions.get(model.name) for model in link.host.models_to_share()]
        return all(
            session is not None
            and session.open
            and (session.lag == 0 or not link.sends)
            and (session.complete or _knows_all(session) or not link.receives)
            for session in sessions
        )

    async def _write(self) -> None:
        link = self.link
        while True:
            if link.wants_to_send(read_clocks()):
                if link.ended is not None and link.ended.by_peer:
                    return
                await self.stream.wait_send_all_might_not_block()
                if data := link.draw(read_clocks()):
                    await self.stream.send_all(data)
                else:
                    await trio.lowlevel.checkpoint()
            elif link.ended is not None:
                return
            else:
                await self._bell.heard()

    async def _tick(self, scope: trio.CancelScope) -> None:
        link, rearmed = self.link, Bell()
        link.rearm = rearmed.ring
        while link.ended is None:
            due_s = link.next_timer(read_clocks()) - read_clocks().mono_s
            with trio.move_on_after(min(max(TIMER_S, due_s), SILENCE_S)):
                await rearmed.heard()
            link.tick(read_clocks())
            self._bell.ring()
        self._bell.ring()
        scope.deadline = min(scope.deadline, trio.current_time() + PARTING_S, math.inf)


def _knows_all(session: Session) -> bool:
    """Whether our clock covers all that the peer has said its own does."""
    return session.model.clock.covers_all(session.confirmed.items())


def _header(peer: Hello) -> Header:
    try:
        meta = json.loads(peer.meta) if peer.meta else None
    except (ValueError, RecursionError):
        meta = None
    return Header(peer.node_id.hex(), peer.name, peer.version, meta)
