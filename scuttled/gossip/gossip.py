"""Pumps links over streams, those that peers made and those that were dialled (`dialling`).

One task for each connection. A connection's reader feeds the link,
its writer draws from it, and only when the stream can take more, so what is sent is chosen last
and a slow peer has no queue. The three end together: the writer is the one that decides.
"""

import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import trio

from scuttled.errors import RemoteProtocolError
from scuttled.gossip.dialer import REFUSALS, RETRY_MAX_S, Dialler, words_of
from scuttled.node.node import Node
from scuttled.protocol.host import End
from scuttled.protocol.link import SILENCE_S, Link
from scuttled.protocol.messages import Code
from scuttled.replica.update import Instant
from scuttled.runtime.bell import StreamWriter, Wakeup
from scuttled.runtime.environment import Environment
from scuttled.runtime.repeats import FROM_STRANGERS
from scuttled.runtime.streams import remote_name

logger = logging.getLogger(__name__)

TIMER_S = 0.001  # the least that a timer waits, so that no timer can make it spin
PARTING_S = 1.0  # for the last words on a link
SKEW_MS = 500  # between two clocks, from which it is worth a line
REPEAT_S = 600.0  # between two lines about a peer that is refused again and again
WHEREVER = ("0.0.0.0", "[::]")  # noqa: S104  (a peer's; it is not listened there)
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


class Gossip:
    """The shell around a node's links."""

    def __init__(
        self,
        node: Node,
        *,
        insecure: bool,
        outside: Environment | None = None,
        listen: str = "",
    ) -> None:
        self.node = node
        self.outside = outside or Environment()
        self.now = self.outside.now
        self.dialler = Dialler(node, self.outside, self.run_link, insecure=insecure, listen=listen)
        self._taken = 0
        self._leaving = False
        self._open: dict[Link, str] = {}  # and who is at the other end
        self._past = Traffic()
        self._said: dict[tuple[str, str], float] = {}  # refusals, and when
        self._refused: dict[str, tuple[float, str]] = {}  # by host: who dialled us, when, and why
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
        who, bell = remote_name(stream), Wakeup()
        link.wake = bell.ring
        self._open[link] = who
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
            self._open.pop(link, None)
            self._past.add(link)
            self.node.gone(link)
            self.dialler.went_down(link)
            self._ring_changed()
            self._log_end(link, who, was_up)

    async def _read(self, link: Link, stream: trio.abc.Stream, bell: Wakeup, who: str) -> None:
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
            self.node.made_progress()
            if link.ended is not None or link.wants_to_send(self.now()):
                bell.ring()
        bell.ring()

    async def _write(self, link: Link, stream: trio.abc.Stream, bell: Wakeup) -> None:
        """Send what the link has, when the stream can take it. Returns when the link is over."""
        outlet = StreamWriter(stream)
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

    async def _tick(self, link: Link, bell: Wakeup, scope: trio.CancelScope) -> None:
        """Let time pass for a link; when it is over, grant its last words a second."""
        rearmed = Wakeup()
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
        self.dialler.leave()
        for link in tuple(self._open):
            link.close(Code.LEAVING, words)
            link.rearm()
        while self._open:
            await self._changed.wait()

    def counted(self) -> Iterator["Link | Traffic"]:
        """Whatever has counts of updates and bytes: the open links, and the sum of past ones."""
        yield self._past
        yield from self._open

    def _ring_changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- what is said of it ---

    def _log_up(self, link: Link, who: str) -> None:
        assert link.peer is not None
        self.dialler.came_up(link)
        way = f"dialled {link.dialled}" if link.dialled else f"from {who}"
        logger.info("link to %s is up (%s)", link.peer.name, way)

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
            peer = self.dialler.peer_of(link)
            if peer is None or _but_numbers(peer.reason) != _but_numbers(end.words):
                logger.warning("peer %s: %s", link.dialled, end.words)
        elif end.code not in REFUSALS:
            words = "connection from %s closed: %s"
            logger.warning(words, who, end.words, extra=FROM_STRANGERS)
        else:
            self._note_refused(who, end.words)

    def _note_refused(self, who: str, words: str) -> None:
        """A node that dialled us does not fit; it comes again and again."""
        host = who.rpartition(":")[0]
        if len(self._refused) >= LINKS_MAX:
            self._refused.clear()
        self._refused[host] = (self.now().mono_s, words)
        if self._is_news(host, words):
            closed = "connection from %s closed: %s"
            logger.warning(closed, who, words, extra=FROM_STRANGERS)

    def address_of(self, link: Link) -> str:
        """Where the node at the other end can be dialled, as far as it says; who listens wherever
        it can is known by the host that its connection comes from.
        """
        assert link.peer is not None
        said = link.peer.address
        host, came_from = said.rpartition(":")[0], self._open.get(link, "").rpartition(":")[0]
        if host in WHEREVER and came_from:
            return f"{came_from}{said.removeprefix(host)}"
        return said

    def refused_lately(self, now: Instant) -> list[str]:
        """Of nodes that dialled this one and do not fit: where, and why. They try for ever."""
        return [
            f"{host} was refused: {words}"
            for host, (at_s, words) in self._refused.items()
            if now.mono_s - at_s < 2 * RETRY_MAX_S
        ]

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
        news = list(link.stopped.items())[known:]
        # A program has models, and no rows of members: nothing is wrong with that.
        stopped = [(name, words) for name, words in news if not name.startswith("_")]
        if not stopped:
            return
        (name, words), *others = stopped
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
    return words_of(cause if isinstance(cause, OSError) else error)


def _but_numbers(words: str) -> str:
    return re.sub("[0-9.]+", "", words)
