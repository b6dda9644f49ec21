"""Links of a node over streams: those that peers made, and those that were dialled (`dialer`).

One task for each connection. Its reader feeds the link, its writer draws from it (`runtime/pump`),
and a timer lets time pass. What becomes of a link is logged by the `narrator`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import trio

from scuttled.errors import RemoteProtocolError
from scuttled.gossip.dialer import Dialler
from scuttled.gossip.narrator import SKEW_MS, Narrator
from scuttled.node.node import Node
from scuttled.protocol.host import End
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code
from scuttled.runtime.causes import first_error, words_of
from scuttled.runtime.environment import Environment
from scuttled.runtime.pump import keep_sending, keep_time
from scuttled.runtime.repeats import FROM_STRANGERS
from scuttled.runtime.stream_writer import StreamWriter
from scuttled.runtime.streams import remote_name
from scuttled.runtime.wakeup import Wakeup

logger = logging.getLogger(__name__)

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
        environment: Environment | None = None,
        listen: str = "",
    ) -> None:
        self.node = node
        self.environment = environment or Environment()
        self.now = self.environment.now
        self.dialler = Dialler(
            node, self.environment, self.run_link, insecure=insecure, listen=listen
        )
        self.narrator = Narrator(self.dialler.targets, self.now)
        self._taken = 0  # connections that peers made, and are open
        self._leaving = False
        self._open: dict[Link, str] = {}  # whoever dialled; and who is at the other end
        self._past = Traffic()
        self._changed = trio.Event()  # a link came or went

    # --- streams ---

    async def serve(self, stream: trio.abc.Stream) -> None:
        """A connection that a peer made. Closes the stream."""
        if self._taken >= LINKS_MAX:
            words = "connection from %s closed: %d are open"
            logger.warning(words, remote_name(stream), LINKS_MAX, extra=FROM_STRANGERS)
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
        who = remote_name(stream)
        wakeup = Wakeup()
        rearmed = Wakeup()
        link.wake = wakeup.ring
        link.rearm = rearmed.ring
        self._open[link] = who
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(self._read, link, stream, wakeup, who)
                nursery.start_soon(keep_time, link, rearmed, wakeup, self.now, nursery.cancel_scope)
                await keep_sending(link, StreamWriter(stream), wakeup, self.now)
                nursery.cancel_scope.cancel()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as group:
            if link.ended is None:
                link.ended = End(Code.PROTOCOL, _first_words(group), by_peer=True)
        finally:
            was_up = link.up  # until the node has let go of it
            self._open.pop(link, None)
            self._past.add(link)
            self.node.gone(link)
            self.dialler.went_down(link)
            self._changed.set()
            self._changed = trio.Event()
            self.narrator.link_ended(link, who, was_up)

    async def _read(self, link: Link, stream: trio.abc.Stream, wakeup: Wakeup, who: str) -> None:
        is_skew_logged = False
        while link.ended is None:
            data = await stream.receive_some()
            if not data:
                words = "the connection was closed"
                if link.peer is None:
                    words = f"{words} before HELLO, after {link.bytes_in} bytes"
                link.ended = End(Code.PROTOCOL, words, by_peer=True)
                break
            was_up = link.up
            stopped = len(link.stopped)
            try:
                link.receive(bytes(data), self.now())
            except RemoteProtocolError as error:
                link.close(Code.PROTOCOL, error.message)
            except Exception as error:
                # A bug that a peer can reach must not end the daemon or another link (I8).
                logger.exception("a bug in the link with %s", who)
                link.close(Code.PROTOCOL, f"a bug: {type(error).__name__}: {error}")
            if link.up and not was_up:
                self.dialler.came_up(link)
                self.narrator.link_is_up(link, who)
            if len(link.stopped) > stopped:
                self.narrator.models_stopped(link, stopped)
            if not is_skew_logged and abs(link.pulse.skew_ms) >= SKEW_MS:
                is_skew_logged = True
                self.narrator.clocks_differ(link)
            if self.node.notices:
                self.narrator.notices(self.node.notices)
            self.node.made_progress()
            if link.ended is not None or link.wants_to_send(self.now()):
                wakeup.ring()
        wakeup.ring()

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


def _first_words(group: BaseExceptionGroup[BaseException]) -> str:
    """Why the stream broke; trio hangs the kernel's error behind its own."""
    error = first_error(group)
    cause = error.__cause__
    return words_of(cause if isinstance(cause, OSError) else error)
