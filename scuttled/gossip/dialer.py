"""Dials the peers of a node, and goes on for ever.

Each target (see targets) has a task, which goes in rounds:

    look up  ->  dial whatever is not linked  ->  rest, until something failed or was lost

Nothing that is found ends the rounds but `part`. "It is me", "no such name", "another cluster" are
true of one address at one moment: names move, addresses pass to other machines, load balancers
turn. So every finding is a state that is shown, and the next round asks again.
"""

import errno
import logging
from collections.abc import Awaitable, Callable

import trio

from scuttled.config.config import is_loopback, parse_address
from scuttled.errors import ConfigError
from scuttled.gossip.resolver import Resolver
from scuttled.gossip.targets import Peer, Target, Targets
from scuttled.node.node import Node
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code
from scuttled.runtime.causes import cause_of, words_of
from scuttled.runtime.environment import Environment

logger = logging.getLogger(__name__)

RETRY_FIRST_S = 0.1
RETRY_MAX_S = 30.0
DIAL_S = 10.0  # for a connection to come about
LOOK_AGAIN_S = 30.0  # between two look-ups of a name that leads to a linked peer...
LOOK_SOON_S = 5.0  # ...and of one that leads to none
PARTED_S = 2.0  # for last words on the links of a target that is given up
REFUSALS = (Code.CLUSTER, Code.VERSION, Code.TWIN, Code.SKEW)
REFUSAL_HINTS = {
    Code.CLUSTER: "start both with the same --cluster NAME",
    Code.VERSION: "scuttled version, on both machines: update the older one",
    Code.SKEW: "have both machines' clocks set by NTP: timedatectl",
}

RunLink = Callable[[Link, trio.abc.Stream], Awaitable[None]]


class Dialler:
    """Dials all targets of a node."""

    def __init__(
        self,
        node: Node,
        environment: Environment,
        run_link: RunLink,
        *,
        insecure: bool,
        listen: str,
    ) -> None:
        """`run_link` is a link's whole life on a stream; it closes the stream. `listen`: where
        this node takes connections, or "".
        """
        self.node = node
        self.environment = environment
        self.insecure = insecure
        self.listen = listen
        self.targets = Targets(node)
        self.resolver = Resolver(node, environment, self.targets)
        self._run_link = run_link
        self._leaving = False

    # --- who is dialled ---

    def part(self, text: str, words: str) -> Target | None:
        """Dial that no more, and end what came of it; None if nobody asked for it."""
        target = self.targets.remove(text)
        if target is not None:
            target.parted = True
            for peer in target.peers.values():
                peer.connecting.cancel()
                if peer.link is not None:
                    peer.link.close(Code.LEAVING, words)
                    peer.link.rearm()
            target.hastened.ring()
        return target

    def leave(self) -> None:
        """Begin no more rounds."""
        self._leaving = True
        for target in self.targets:
            target.hastened.ring()

    # --- rounds ---

    async def keep_dialling(self, target: Target) -> None:
        """Be linked with all that the target leads to, whatever it takes. Ends when it is parted
        from, or the node leaves.
        """
        async with trio.open_nursery() as nursery:
            while not (target.parted or self._leaving):
                await self.resolver.look_up(target, nursery)
                if target.moved or trio.current_time() >= target.due_s:
                    self._begin_round(target, nursery)
                await self._rest(target)
            nursery.cancel_scope.deadline = trio.current_time() + PARTED_S

    def _begin_round(self, target: Target, nursery: trio.Nursery) -> None:
        target.failed = target.moved = False
        target.due_s = trio.current_time() + LOOK_AGAIN_S
        for peer in target.peers.values():
            if self.targets.is_linked(peer):
                peer.is_up()
            elif not peer.busy:
                peer.busy = True
                nursery.start_soon(self._try, target, peer)
        if not target.peers:
            self._note_failed(target)

    async def _rest(self, target: Target) -> None:
        """Until the next round is due, or it is time to see whether the name has moved."""
        linked = any(self.targets.is_linked(peer) for peer in target.peers.values())
        look_s = trio.current_time() + (LOOK_AGAIN_S if linked else LOOK_SOON_S)
        while not (target.parted or self._leaving or target.moved):
            until_s = min(target.due_s, look_s)
            if trio.current_time() >= until_s:
                return
            with trio.CancelScope(deadline=until_s):
                await target.hastened.heard()

    def _note_failed(self, target: Target) -> None:
        """Something failed: the next round comes soon, but ever later. Full jitter."""
        if not target.failed:
            target.failed = True
            target.failures += 1
            most_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(target.failures, 16))
            self._hasten(target, most_s)

    def _note_lost(self, target: Target) -> None:
        """A link is over that was up: see at once whether it can be had again."""
        target.failures = 0
        self._hasten(target, RETRY_FIRST_S)

    def _hasten(self, target: Target, most_s: float) -> None:
        due_s = trio.current_time() + self.environment.rng.uniform(0, most_s)
        target.due_s = min(target.due_s, due_s)
        target.hastened.ring()

    # --- attempts ---

    async def _try(self, target: Target, peer: Peer) -> None:
        """Dial once, and live as long as what comes of it."""
        link = None
        try:
            link = await self._dial(peer)
        finally:
            peer.busy, peer.link = False, None
        if link is not None:
            self._note_end(peer, link)
        if link is not None and link.up:
            self._note_lost(target)
        else:
            self._note_failed(target)
        self._tell()

    async def _dial(self, peer: Peer) -> Link | None:
        if not peer.failed and peer.state == "never":  # else that it is down is worth more
            peer.state = "connecting"
        stream: trio.abc.Stream | None = None
        try:
            with trio.fail_after(DIAL_S), trio.CancelScope() as peer.connecting:
                stream = await self.environment.dial(peer.address, insecure=self.insecure)
        except (OSError, ConfigError, trio.TooSlowError) as error:
            self._note_failure(peer, error)
        if stream is None:
            return None
        peer.link = link = Link(self.node, dialled=peer.label, now=self.environment.now())
        await self._run_link(link, stream)
        return link if link.ended is not None else None  # else the node leaves: it never began

    def _note_failure(self, peer: Peer, error: Exception) -> None:
        state, hint, reason = "down", "", words_of(error)
        if isinstance(error, ConfigError):
            state, hint = "refused", error.hint
        elif isinstance(error, trio.TooSlowError):
            reason = f"no answer within {DIAL_S:.0f} s"
            hint = "is it on, and does a firewall let that port through?"
        elif _number(error) == errno.ECONNREFUSED and self._is_here(peer):
            peer.fails("self", "")
            return
        elif _number(error) == errno.ECONNREFUSED:
            hint = "nobody listens there: scuttled serve --listen ADDR, on that machine"
        if reason != peer.reason:
            logger.info("peer %s: %s%s", peer.label, reason, f" (hint: {hint})" if hint else "")
        peer.fails(state, reason, hint)

    def _is_here(self, peer: Peer) -> bool:
        """Whether it can be nobody but this node, though it does not listen at that address.

        A machine's own name may lead to 127.0.1.1, or to an address of a family at which its
        daemon does not listen. Several daemons with one port on one machine are told apart by
        addresses of loopback.
        """
        if not self.listen or peer.node_id is not None:
            return False
        mine, theirs = parse_address(self.listen), parse_address(peer.address)
        if mine.port != theirs.port or is_loopback(mine.host):
            return False
        return is_loopback(theirs.host) or self.environment.has_address(theirs.host)

    def _note_end(self, peer: Peer, link: Link) -> None:
        assert link.ended is not None
        if link.peer is not None:
            peer.met(link.peer)
        if link.up:
            peer.seen_ms = link.heard_at.wall_ms
        code, words = link.ended.code, link.ended.words
        if code == Code.SELF:
            if peer.state != "self":
                logger.debug("peer %s: that address is this very node", peer.label)
            peer.fails("self", "")
            peer.node_id = None
        elif code in REFUSALS:
            peer.fails("refused", words, REFUSAL_HINTS.get(code, ""))
        elif self.targets.is_linked(peer):  # by another dial, or its own
            peer.is_up()
        else:
            peer.fails("down", words)

    def _tell(self) -> None:
        """Somebody may wait for how it goes: `join`."""
        self.node.made_progress()

    # --- what becomes of links, whoever dialled them ---

    def came_up(self, link: Link) -> None:
        assert link.peer is not None
        dialled = self.targets.peer_of(link)
        if dialled is not None:
            dialled.met(link.peer)
        for _, peer in self.targets.leading_to(link):
            if self.targets.is_linked(peer):
                peer.is_up()

    def went_down(self, link: Link) -> None:
        """A peer that is configured may have dialled us."""
        for target, peer in self.targets.leading_to(link):
            peer.seen_ms = link.heard_at.wall_ms
            if peer.state == "never":
                peer.state = "down"
            if peer.link is not link:
                self._note_lost(target)


def _number(error: BaseException) -> int | None:
    cause = cause_of(error)
    return cause.errno if isinstance(cause, OSError) else None
