"""Listens for npm peers, dials them and dials again, and pumps each conversation over its stream.

As with our own links the writer draws only when the stream can take more, so a slow peer has no
queue; and whatever a peer does ends its own connection, with one line in the log.
"""

import logging
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack

import trio

from scuttled.errors import RemoteProtocolError, ScuttledError
from scuttled.node.node import Node
from scuttled.npm.bridge import Bridge
from scuttled.npm.guests import Dialled, Guest, Guests, guest_words
from scuttled.npm.session import HELLO_S, Talk
from scuttled.replica.update import Instant
from scuttled.runtime.causes import first_error, words_of
from scuttled.runtime.clocks import read_clocks
from scuttled.runtime.pump import send_drawn
from scuttled.runtime.repeats import FROM_STRANGERS
from scuttled.runtime.stream_writer import StreamWriter
from scuttled.runtime.streams import dial, keep_alive, open_listeners, remote_name
from scuttled.runtime.wakeup import Wakeup

logger = logging.getLogger(__name__)

CONNECTIONS_MAX = 256
DIAL_S = 20.0  # for a connection to come about, to whichever address of a name
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 30.0


class NpmDoor:
    """All npm peers of a node."""

    def __init__(self, node: Node, *, insecure: bool, rng: random.Random) -> None:
        self.node = node
        self.insecure = insecure
        self.rng = rng
        self.guests = Guests()
        self.listeners: list[tuple[Bridge, list[trio.SocketListener]]] = []
        self.dials: list[tuple[Dialled, Bridge]] = []
        self._bridges: dict[str, Bridge] = {}

    async def open(
        self, listen: Iterable[str], connect: Iterable[str], stack: AsyncExitStack
    ) -> None:
        """Listen at each `ADDR=MODEL`; the stack closes it. Raises ScuttledError."""
        for address, target in map(_split, listen):
            opened = await open_listeners(address)
            for listener in opened:
                await stack.enter_async_context(listener)
            self.listeners.append((self.bridge(target), opened))
        for address, target in map(_split, connect):
            dialled = Dialled(address, target)
            self.guests.dialled.append(dialled)
            self.dials.append((dialled, self.bridge(target)))

    def bridge(self, target: str) -> Bridge:
        """Bridge that `ADDR=target` means; one for all that name it. Raises ScuttledError."""
        if target not in self._bridges:
            self._bridges[target] = Bridge(self.node, target)
        return self._bridges[target]

    async def serve(self, bridge: Bridge, stream: trio.SocketStream) -> None:
        """A connection that an npm peer made. Closes the stream."""
        if len(self.guests.here) >= CONNECTIONS_MAX:
            words = "npm peer %s closed: %d are there"
            who = remote_name(stream)
            logger.warning(words, who, CONNECTIONS_MAX, extra=FROM_STRANGERS)
            await trio.aclose_forcefully(stream)
            return
        now = read_clocks()
        talk = Talk(bridge, now)
        await self.run(Guest(remote_name(stream), bridge.target, False, talk, now), stream)

    async def keep_dialling(self, dialled: Dialled, bridge: Bridge) -> None:
        """Be connected with that npm peer, whatever it takes; never returns."""
        failures = 0
        while True:
            try:
                with trio.fail_after(DIAL_S):
                    stream = await dial(dialled.address, insecure=self.insecure)
            except (OSError, ScuttledError, trio.TooSlowError) as error:
                failures += 1
                words = _why_not(error)
                if words != dialled.why:
                    dialled.why = words
                    logger.info("npm peer %s: %s", dialled.address, words)
            else:
                now = read_clocks()
                talk = Talk(bridge, now)
                dialled.why = ""
                dialled.guest = Guest(dialled.address, dialled.target, True, talk, now)
                await self.run(dialled.guest, stream)
                failures = 0 if talk.peer else failures + 1
            most = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(failures, 16))
            await trio.sleep(self.rng.uniform(0, most))

    async def run(self, guest: Guest, stream: trio.SocketStream) -> None:
        """A conversation's whole life on a stream, which is closed at the end."""
        bell = Wakeup()
        talk = guest.talk
        node = self.node
        reason = "the connection was closed"
        our_doing = False
        keep_alive(stream)  # npm has no word for it
        self.guests.come(guest)
        try:
            with node.subscribe(bell.ring), node.subscribe(bell.ring, saved=True):
                async with stream, trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, talk, stream, bell)
                    await self._read(guest, stream, bell)
                    nursery.cancel_scope.cancel()
        except* ScuttledError as group:
            reason = _first(group)
            our_doing = True
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            reason = "the connection broke"
        except* Exception as group:
            # A bug that a peer can reach must not end the daemon or another peer (I8).
            logger.exception("a bug in the conversation with %s", guest.address)
            reason = f"a bug: {_first(group)}"
            our_doing = True
        finally:
            talk.end()
            self.guests.go(guest, reason, read_clocks(), our_doing=our_doing)
            self._log_end(guest)

    async def _read(self, guest: Guest, stream: trio.SocketStream, bell: Wakeup) -> None:
        talk = guest.talk
        told: set[str] = set()  # what is left out was said of, each cause once
        with trio.move_on_after(HELLO_S) as patience:
            while True:
                data = await stream.receive_some()
                if not data:
                    return
                met = bool(talk.peer)
                talk.feed(bytes(data), read_clocks())
                if talk.peer and not met:
                    patience.deadline = float("inf")
                    logger.info("npm peer %s is up (%s)", talk.peer, guest.address)
                for why in talk.left_out.keys() - told:
                    told.add(why)
                    who = talk.peer or guest.address
                    logger.warning("npm peer %s: an update was left out: %s", who, why)
                bell.ring()
        raise RemoteProtocolError(f"no header within {HELLO_S:.0f} s")

    async def _write(self, talk: Talk, stream: trio.SocketStream, bell: Wakeup) -> None:
        outlet = StreamWriter(stream)
        while True:
            now: Instant = read_clocks()
            if talk.wants_to_send(now):
                await send_drawn(talk, outlet, read_clocks)
                continue
            due_s = talk.due_s()
            with trio.move_on_after(float("inf") if due_s is None else max(due_s - now.mono_s, 0)):
                await bell.heard()

    def _log_end(self, guest: Guest) -> None:
        talk = guest.talk
        name = f"{talk.peer} ({guest.address})" if talk.peer else guest.address
        counts = f"{talk.updates_in} updates in, {talk.updates_out} out"
        stranger = None if talk.peer else FROM_STRANGERS
        words = guest_words(talk)
        more = f"; {words}" if words else ""
        logger.info("npm peer %s ended: %s; %s%s", name, guest.why, counts, more, extra=stranger)


def _why_not(error: OSError | ScuttledError | trio.TooSlowError) -> str:
    """Why there is no connection, and what helps."""
    if isinstance(error, ScuttledError):
        return f"{error.message} (hint: {error.hint})" if error.hint else error.message
    if isinstance(error, trio.TooSlowError):
        return f"no answer within {DIAL_S:.0f} s"
    return words_of(error)


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error = first_error(group)
    return error.message if isinstance(error, ScuttledError) else f"{type(error).__name__}: {error}"


def _split(text: str) -> tuple[str, str]:
    """`ADDR=MODEL` in its two parts."""
    address, _, target = text.partition("=")
    return address, target
