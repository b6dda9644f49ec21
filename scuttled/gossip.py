"""Pumps links over streams; dials, and dials again.

One task for each configured peer, one for each connection. A connection's reader feeds the link,
its writer draws from it, and only when the stream can take more, so what is sent is chosen last
and a slow peer has no queue. The three end together: the writer is the one that decides.
"""

import logging
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

from scuttled.core.host import End
from scuttled.core.link import SILENCE_S, Link
from scuttled.core.messages import Code, Hello
from scuttled.core.update import NodeId
from scuttled.errors import ConfigError, RemoteProtocolError
from scuttled.node import Node
from scuttled.outside import Outside
from scuttled.repeats import FROM_STRANGERS
from scuttled.transport import remote_name
from scuttled.waking import Bell, Outlet

logger = logging.getLogger(__name__)

RETRY_FIRST_S = 0.1
RETRY_MAX_S = 30.0
DIAL_S = 10.0  # for a connection to come about
TIMER_S = 0.001  # the least that a timer waits, so that no timer can make it spin
PARTING_S = 1.0  # for the last words on a link
SKEW_MS = 500  # between two clocks, from which it is worth a line
REPEAT_S = 600.0  # between two lines about a peer that is refused again and again
REFUSALS = (Code.CLUSTER, Code.VERSION, Code.TWIN, Code.SKEW)
LINKS_MAX = 512  # connections taken; more are closed at once


@dataclass(slots=True)
class Traffic:
    """What went over links that are gone."""

    updates_in: int = 0
    updates_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def add(self, link: Link) -> None:
        self.updates_in += link.updates_in
        self.updates_out += link.updates_out
        self.bytes_in += link.bytes_in
        self.bytes_out += link.bytes_out


@dataclass(slots=True)
class Peer:
    """A configured peer, and how it goes with it."""

    address: str
    state: str = "never"  # self, up, connecting, refused, down, never
    reason: str = ""
    node_id: NodeId | None = None
    incarnation: bytes = b""
    name: str = ""
    version: str = ""
    seen_ms: int | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def met(self, who: Hello) -> None:
        """That daemon is there."""
        self.node_id, self.incarnation = who.node_id, who.incarnation
        self.name, self.version = who.name, who.version


class Gossip:
    """The shell around a node's links."""

    def __init__(
        self,
        node: Node,
        *,
        insecure: bool,
        outside: Outside | None = None,
    ) -> None:
        self.node = node
        self.insecure = insecure
        self.outside = outside or Outside()
        self.now = self.outside.now
        self.peers: dict[str, Peer] = {}
        self._taken = 0
        self._leaving = False
        self._open: set[Link] = set()
        self._past = Traffic()
        self._said: dict[tuple[str, str], float] = {}  # refusals, and when
        self._changed = trio.Event()  # a link came or went

    # --- streams ---

    async def serve(self, stream: trio.abc.Stream) -> None:
        """A connection that a peer made. Closes the stream."""
        if self._taken >= LINKS_MAX:
            words, who = "connection from %s closed: %d are open", remote_name(stream)
            logger.warning(words, who, LINKS_MAX, extra=FROM_STRANGERS)
            await trio.aclose_forcefully(stream)
            return
        self._taken += 1
        try:
            await self.run_link(Link(self.node, dialled="", now=self.now()), stream)
        finally:
            self._taken -= 1

    async def run_link(self, link: Link, stream: trio.abc.Stream) -> None:
        """A link's whole life on a stream, which is closed at the end. Raises only Cancelled."""
        if self._leaving:
            await trio.aclose_forcefully(stream)
            return
        who, bell = remote_name(stream), Bell()
        link.wake = bell.ring
        self._open.add(link)
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._read, link, stream, bell, who)
                nursery.start_soon(self._tick, link, bell, nursery.cancel_scope)
                await self._write(link, stream, bell)
                nursery.cancel_scope.cancel()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as group:
            if link.ended is None:
                link.ended = End(Code.PROTOCOL, _first_words(group), by_peer=True)
        finally:
            was_up = link.up
            self._open.discard(link)
            self._past.add(link)
            self._note_seen(link)
            self.node.gone(link)
            self._ring_changed()
            self._log_end(link, who, was_up)

    async def _read(self, link: Link, stream: trio.abc.Stream, bell: Bell, who: str) -> None:
        off = False  # its clock, and it was said
        while link.ended is None:
            data = await stream.receive_some()
            if not data:
                words = "the connection was closed"
                if link.peer is None:
                    words = f"{words} before HELLO, after {link.bytes_in} bytes"
                link.ended = End(Code.PROTOCOL, words, by_peer=True)
                break
            was_up, stopped = link.up, len(link.stopped)
            try:
                link.receive(bytes(data), self.now())
            except RemoteProtocolError as error:
                link.close(Code.PROTOCOL, error.message)
            except Exception as error:
                # A bug that a peer can reach must not end the daemon or another link (I8).
                logger.exception("a bug in the link with %s", who)
                link.close(Code.PROTOCOL, f"a bug: {type(error).__name__}: {error}")
            if link.up and not was_up:
                self._log_up(link, who)
            if len(link.stopped) > stopped:
                self._log_stopped(link, stopped)
            if not off and abs(link.pulse.skew_ms) >= SKEW_MS:
                off = True
                self._log_skew(link)
            if self.node.notices:
                self.log_notices()
            if self.node.progress:
                for wake in tuple(self.node.progress):
                    wake()
            if link.ended is not None or link.wants_to_send(self.now()):
                bell.ring()
        bell.ring()

    async def _write(self, link: Link, stream: trio.abc.Stream, bell: Bell) -> None:
        """Send what the link has, when the stream can take it. Returns when the link is over."""
        outlet = Outlet(stream)
        while True:
            if link.wants_to_send(self.now()):
                if link.ended is not None and link.ended.by_peer:
                    return
                await outlet.wait()
                if data := link.draw(self.now()):
                    await outlet.send_all(data)
                else:
                    await trio.lowlevel.checkpoint()  # a search in vain; there may be more of it
            elif link.ended is not None:
                return
            else:
                await bell.heard()

    async def _tick(self, link: Link, bell: Bell, scope: trio.CancelScope) -> None:
        """Let time pass for a link; when it is over, grant its last words a second."""
        rearmed = Bell()
        link.rearm = rearmed.ring
        while link.ended is None:
            due_s = link.next_timer(self.now()) - self.now().mono_s
            with trio.move_on_after(min(max(TIMER_S, due_s), SILENCE_S)):
                await rearmed.heard()
            link.tick(self.now())
            bell.ring()
        bell.ring()
        scope.deadline = trio.current_time() + PARTING_S

    async def leave(self, words: str) -> None:
        """Say goodbye on every link and have no new ones; returns when all are closed."""
        self._leaving = True
        for link in tuple(self._open):
            link.close(Code.LEAVING, words)
            link.rearm()
        while self._open:
            await self._changed.wait()

    def counted(self) -> Iterator["Link | Traffic"]:
        """Whatever has counts of updates and bytes: the open links, and the sum of past ones."""
        yield self._past
        yield from self._open

    # --- dialling ---

    async def keep_dialling(self, peer: Peer) -> None:
        """Be linked with that peer, whatever it takes. Ends when it is this very node."""
        with peer.scope:
            failures = 0
            while not self._leaving:
                await self._while_linked(peer)
                link = await self._dial(peer)
                if link is not None and link.ended is not None:
                    if link.ended.code == Code.SELF:
                        peer.state, peer.reason = "self", ""
                        return
                    self._note_end(peer, link)
                failures = 0 if link is not None and link.up else failures + 1
                most = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(failures, 16))
                await trio.sleep(self.outside.rng.uniform(0, most))

    async def _dial(self, peer: Peer) -> Link | None:
        if peer.state in ("never", "down"):
            peer.state = "connecting"
        try:
            with trio.fail_after(DIAL_S):
                stream = await self.outside.dial(peer.address, insecure=self.insecure)
        except (OSError, ConfigError, trio.TooSlowError) as error:
            self._note_failure(peer, error)
            return None
        link = Link(self.node, dialled=peer.address, now=self.now())
        await self.run_link(link, stream)
        return link

    async def _while_linked(self, peer: Peer) -> None:
        """Return when there is no link with that peer, whoever dialled it."""
        while self._is_linked(peer):
            peer.state, peer.reason = "up", ""
            await self._changed.wait()

    def _is_linked(self, peer: Peer) -> bool:
        """With the very daemon that was met at that address: another one may have its id."""
        link = self.node.links.get(peer.node_id) if peer.node_id is not None else None
        met = link.peer if link is not None else None
        return met is not None and met.incarnation == peer.incarnation

    def _note_failure(self, peer: Peer, error: Exception) -> None:
        if isinstance(error, ConfigError):
            state, reason = "refused", error.message
        elif isinstance(error, trio.TooSlowError):
            state, reason = "down", f"no answer within {DIAL_S:.0f} s"
        else:
            state, reason = "down", _words(error)
        if reason != peer.reason:
            logger.info("peer %s: %s", peer.address, reason)
        if state == "down" and peer.seen_ms is None:
            state = "never"
        peer.state, peer.reason = state, reason

    def _note_end(self, peer: Peer, link: Link) -> None:
        assert link.ended is not None
        if link.peer is not None:
            peer.met(link.peer)
        if link.up:
            peer.seen_ms = link.heard_at.wall_ms
        if link.ended.code in REFUSALS:
            peer.state = "refused"
        elif link.ended.code != Code.DUPLICATE:
            peer.state = "down" if peer.seen_ms is not None else "never"
        peer.reason = link.ended.words

    def _note_seen(self, link: Link) -> None:
        """A peer that is configured may have dialled us."""
        for peer in self.peers.values():
            if link.up and link.peer is not None and peer.node_id == link.peer.node_id:
                peer.seen_ms = link.heard_at.wall_ms
                if peer.state == "never":
                    peer.state = "down"

    def _ring_changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- what is said of it ---

    def _log_up(self, link: Link, who: str) -> None:
        assert link.peer is not None
        peer = self.peers.get(link.dialled)
        if peer is not None:
            peer.state, peer.reason = "up", ""
            peer.met(link.peer)
        way = f"dialled {link.dialled}" if link.dialled else f"from {who}"
        logger.info("link to %s is up (%s)", link.peer.name, way)
        self._ring_changed()

    def _log_end(self, link: Link, who: str, was_up: bool) -> None:
        end = link.ended
        if end is None or end.code == Code.SELF:
            return
        if was_up and link.peer is not None:
            age_s = self.now().mono_s - link.began.mono_s
            quiet = end.code in (Code.DUPLICATE, Code.LEAVING, Code.AFRESH)
            log = logger.debug if end.code == Code.DUPLICATE else logger.info
            if not quiet and not end.by_peer:
                log = logger.warning
            log("link to %s closed after %.0f s: %s", link.peer.name, age_s, end.words)
        elif end.code == Code.DUPLICATE:
            logger.debug("second link with %s closed: %s", who, end.words)
        elif link.dialled:
            peer = self.peers.get(link.dialled)
            if peer is None or _but_numbers(peer.reason) != _but_numbers(end.words):
                logger.warning("peer %s: %s", link.dialled, end.words)
        elif end.code not in REFUSALS or self._is_news(who.rpartition(":")[0], end.words):
            words = "connection from %s closed: %s"
            logger.warning(words, who, end.words, extra=FROM_STRANGERS)

    def _is_news(self, host: str, words: str) -> bool:
        """Whether this was not said of that host lately: who is refused tries for ever."""
        what, now_s = (host, _but_numbers(words)), self.now().mono_s
        if now_s - self._said.get(what, -math.inf) < REPEAT_S:
            return False
        if len(self._said) >= LINKS_MAX:
            self._said.clear()
        self._said[what] = now_s
        return True

    def _log_skew(self, link: Link) -> None:
        assert link.peer is not None
        skew_s = link.pulse.skew_ms / 1000
        logger.warning("the clock of %s differs by %.1f s from ours", link.peer.name, skew_s)

    def _log_stopped(self, link: Link, known: int) -> None:
        assert link.peer is not None
        (name, words), *others = list(link.stopped.items())[known:]
        more = f" (and {len(others)} other models)" if others else ""
        logger.warning("model %s stopped with %s: %s%s", name, link.peer.name, words, more)

    def log_notices(self) -> None:
        """Say what the node has noted since the last time."""
        for words in self.node.notices.warnings:
            logger.warning("%s", words)
        for words in self.node.notices.news:
            logger.info("%s", words)
        self.node.notices.clear()


def _first_words(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = error.__cause__
    return _words(cause if isinstance(cause, OSError) else error)


def _but_numbers(words: str) -> str:
    return re.sub("[0-9.]+", "", words)


def _words(error: BaseException) -> str:
    """The kernel's own words where there are any: trio's name the address, which is said anyway."""
    while isinstance(error, OSError) and isinstance(error.__cause__, BaseExceptionGroup):
        error = error.__cause__.exceptions[0]
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
