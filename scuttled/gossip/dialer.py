"""Dials the peers of a node, and goes on for ever.

A *target* is what somebody configured, saved or joined: a name, an address, a Unix socket. A *peer*
is one address that it leads to at this moment: a name of three addresses is three peers. Each
target has a task, which goes in rounds:

    look up  ->  dial whatever is not linked  ->  rest, until something failed or was lost

Nothing that is found ends the rounds but `part`. "It is me", "no such name", "another cluster" are
true of one address at one moment: names move, addresses pass to other machines, load balancers
turn. So every finding is a state that is shown, and the next round asks again.

A look-up may hang for as long as the system's resolver likes. It is waited for in a task of its
own, one for each target, so that it holds up neither the dials of this target nor of others.
"""

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field

import trio

from scuttled.config.config import is_loopback, parse_address
from scuttled.errors import ConfigError
from scuttled.node.node import Node
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code, Hello
from scuttled.replica.update import NodeId
from scuttled.runtime.bell import Wakeup
from scuttled.runtime.environment import Environment

logger = logging.getLogger(__name__)

RETRY_FIRST_S = 0.1
RETRY_MAX_S = 30.0
DIAL_S = 10.0  # for a connection to come about
LOOK_UP_S = 5.0  # that a round waits for an answer; it then goes on with what is known
LOOK_AGAIN_S = 30.0  # between two look-ups of a name that leads to a linked peer...
LOOK_SOON_S = 5.0  # ...and of one that leads to none
PARTED_S = 2.0  # for last words on the links of a target that is given up
TARGETS_MAX = 512
PEERS_MAX = 512  # of all targets
REFUSALS = (Code.CLUSTER, Code.VERSION, Code.TWIN, Code.SKEW)
REFUSAL_HINTS = {
    Code.CLUSTER: "start both with the same --cluster NAME",
    Code.VERSION: "scuttled version, on both machines: update the older one",
    Code.SKEW: "have both machines' clocks set by NTP: timedatectl",
}

# What the resolver says of a name that is there, but leads nowhere, or is not there at all. All
# else (no server answers) says nothing of the name: then the addresses that are known stay.
NOWHERE = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
NOWHERE.add(getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NONAME))


@dataclass(slots=True)
class Peer:
    """One address that is dialled, and how it goes with it."""

    address: str  # where it is dialled, looked up
    label: str = ""  # what people call it: the address as configured, if it leads to this one only
    state: str = "never"  # self, up, connecting, refused, down, never
    reason: str = ""
    hint: str = ""
    node_id: NodeId | None = None
    incarnation: bytes = b""
    name: str = ""
    version: str = ""
    seen_ms: int | None = None
    failed: bool = False  # at least once
    busy: bool = False  # it is being dialled, or linked by that
    connecting: trio.CancelScope = field(default_factory=trio.CancelScope)
    link: Link | None = None  # that came of the dial

    def met(self, who: Hello) -> None:
        """That daemon is there."""
        self.node_id, self.incarnation = who.node_id, who.incarnation
        self.name, self.version = who.name, who.version

    def is_up(self) -> None:
        self.state = "up"
        self.reason = self.hint = ""

    def fails(self, state: str, reason: str, hint: str = "") -> None:
        if state == "down" and self.seen_ms is None:
            state = "never"
        self.state, self.reason, self.hint, self.failed = state, reason, hint, True


@dataclass(slots=True, eq=False)
class Target:
    """What was configured, and the peers that it leads to now."""

    text: str
    origin: str = ""  # "": the configuration; saved, joined
    peers: dict[str, Peer] = field(default_factory=dict)
    nowhere: Peer = field(init=False)  # in place of peers, while there are none
    failures: int = 0  # rounds in a row in which something failed
    failed: bool = False  # something did, in this round
    due_s: float = 0.0  # the next round, in trio's time
    parted: bool = False
    bell: Wakeup = field(default_factory=Wakeup)  # `due_s` is earlier than was said
    answered: trio.Event | None = None  # of the look-up under way
    moved: bool = False  # it leads to a peer that no round has dialled yet
    left_out: int = 0  # addresses, beyond PEERS_MAX

    def __post_init__(self) -> None:
        self.nowhere = Peer(self.text, self.text, state="connecting")


RunLink = Callable[[Link, trio.abc.Stream], Awaitable[None]]


class Dialler:
    """All targets of a node."""

    def __init__(
        self, node: Node, outside: Environment, run_link: RunLink, *, insecure: bool, listen: str
    ) -> None:
        """`run_link` is a link's whole life on a stream; it closes the stream. `listen`: where
        this node takes connections, or "".
        """
        self.node = node
        self.outside = outside
        self.insecure = insecure
        self.listen = listen
        self.targets: dict[str, Target] = {}
        self._run_link = run_link
        self._leaving = False

    # --- who is dialled ---

    def add(self, text: str, origin: str = "") -> Target:
        """A target; its task is yet to be started."""
        target = self.targets[_normal(text)] = Target(text, origin)
        return target

    def find(self, text: str) -> Target | None:
        """The target of that address, however it was written."""
        return self.targets.get(_normal(text))

    def part(self, text: str, words: str) -> Target | None:
        """Dial that no more, and end what came of it; None if nobody asked for it."""
        target = self.targets.pop(_normal(text), None)
        if target is not None:
            target.parted = True
            for peer in target.peers.values():
                peer.connecting.cancel()
                if peer.link is not None:
                    peer.link.close(Code.LEAVING, words)
                    peer.link.rearm()
            target.bell.ring()
        return target

    def leave(self) -> None:
        """Begin no more rounds."""
        self._leaving = True
        for target in self.targets.values():
            target.bell.ring()

    def peers(self) -> Iterator[Peer]:
        """What there is to be shown, of all targets."""
        for target in self.targets.values():
            yield from self.shown(target)

    def shown(self, target: Target) -> list[Peer]:
        """The peers of a target, or one that stands for the name that leads nowhere.

        A machine often has an address of a family by which nobody can reach it. If all of the
        other family are linked, that one was never reached, and is no peer of its own.
        """
        peers = list(target.peers.values())
        if not peers:
            return [target.nowhere]
        spare = {
            family
            for family in {_family(peer) for peer in peers}
            if any(_family(peer) != family for peer in peers)
            and all(self._is_fine(peer) for peer in peers if _family(peer) != family)
        }
        return [peer for peer in peers if _family(peer) not in spare or _was_reached(peer)]

    def _is_fine(self, peer: Peer) -> bool:
        return peer.state == "self" or self.is_linked(peer)

    def is_linked(self, peer: Peer) -> bool:
        """With the very daemon that was met at that address: another one may have its id."""
        link = self.node.links.get(peer.node_id) if peer.node_id is not None else None
        met = link.peer if link is not None else None
        return met is not None and met.incarnation == peer.incarnation

    # --- rounds ---

    async def keep_dialling(self, target: Target) -> None:
        """Be linked with all that the target leads to, whatever it takes. Ends when it is parted
        from, or the node leaves.
        """
        async with trio.open_nursery() as nursery:
            while not (target.parted or self._leaving):
                await self._look_up(target, nursery)
                if target.moved or trio.current_time() >= target.due_s:
                    self._begin_round(target, nursery)
                await self._rest(target)
            nursery.cancel_scope.deadline = trio.current_time() + PARTED_S

    def _begin_round(self, target: Target, nursery: trio.Nursery) -> None:
        target.failed = target.moved = False
        target.due_s = trio.current_time() + LOOK_AGAIN_S
        for peer in target.peers.values():
            if self.is_linked(peer):
                peer.is_up()
            elif not peer.busy:
                peer.busy = True
                nursery.start_soon(self._try, target, peer)
        if not target.peers:
            self._note_failed(target)

    async def _rest(self, target: Target) -> None:
        """Until the next round is due, or it is time to see whether the name has moved."""
        linked = any(self.is_linked(peer) for peer in target.peers.values())
        look_s = trio.current_time() + (LOOK_AGAIN_S if linked else LOOK_SOON_S)
        while not (target.parted or self._leaving or target.moved):
            until_s = min(target.due_s, look_s)
            if trio.current_time() >= until_s:
                return
            with trio.CancelScope(deadline=until_s):
                await target.bell.heard()

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
        due_s = trio.current_time() + self.outside.rng.uniform(0, most_s)
        target.due_s = min(target.due_s, due_s)
        target.bell.ring()

    # --- names ---

    async def _look_up(self, target: Target, nursery: trio.Nursery) -> None:
        """Learn where the target leads now. One that is not answered in time goes on: it is not
        waited for again, and no second one is begun.
        """
        if target.answered is not None:
            return
        target.answered = answered = trio.Event()
        nursery.start_soon(self._ask, target, answered)
        with trio.move_on_after(LOOK_UP_S) as patience:
            await answered.wait()
        if patience.cancelled_caught:
            self._note_nowhere(target, f"the name was not looked up within {LOOK_UP_S:.0f} s")

    async def _ask(self, target: Target, answered: trio.Event) -> None:
        try:
            addresses = await self.outside.look_up(target.text)
        except (OSError, ConfigError) as error:
            if isinstance(error, ConfigError) or error.errno in NOWHERE:
                self._lead_to(target, ())
            hint = f"if that is not its name: scuttled part {target.text}"
            self._note_nowhere(target, words_of(error), hint)
        else:
            self._lead_to(target, addresses)
        finally:
            target.answered = None
            answered.set()
            target.bell.ring()

    def _lead_to(self, target: Target, addresses: Iterable[str]) -> None:
        """Drop the peers that it leads to no more, but for those that are busy or linked."""
        found = dict.fromkeys(addresses)
        for address, peer in list(target.peers.items()):
            if address not in found and not (peer.busy or self.is_linked(peer)):
                target.nowhere.seen_ms = peer.seen_ms or target.nowhere.seen_ms
                del target.peers[address]
        room = PEERS_MAX - sum(len(other.peers) for other in self.targets.values())
        strange = [address for address in found if address not in target.peers]
        target.left_out = max(0, len(strange) - max(room, 0))
        for address in strange[: max(room, 0)]:
            target.peers[address] = Peer(address)
            target.moved = True
        for peer in target.peers.values():
            alone = len(target.peers) == 1 or peer.address == target.text
            peer.label = target.text if alone else f"{peer.address} ({target.text})"
        if target.peers:
            target.nowhere.reason = target.nowhere.hint = ""

    def _note_nowhere(self, target: Target, reason: str, hint: str = "") -> None:
        if reason != target.nowhere.reason:
            logger.info("peer %s: %s", target.text, reason)
        target.nowhere.fails("down", reason, hint)
        self._tell()

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
                stream = await self.outside.dial(peer.address, insecure=self.insecure)
        except (OSError, ConfigError, trio.TooSlowError) as error:
            self._note_failure(peer, error)
        if stream is None:
            return None
        peer.link = link = Link(self.node, dialled=peer.label, now=self.outside.now())
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
        return is_loopback(theirs.host) or self.outside.has_address(theirs.host)

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
        elif self.is_linked(peer):  # by another dial, or its own
            peer.is_up()
        else:
            peer.fails("down", words)

    def _tell(self) -> None:
        """Somebody may wait for how it goes: `join`."""
        self.node.made_progress()

    # --- what becomes of links, whoever dialled them ---

    def peer_of(self, link: Link) -> Peer | None:
        """Whose dial that link came of."""
        for target in self.targets.values():
            for peer in target.peers.values():
                if peer.link is link:
                    return peer
        return None

    def came_up(self, link: Link) -> None:
        assert link.peer is not None
        dialled = self.peer_of(link)
        if dialled is not None:
            dialled.met(link.peer)
        for _, peer in self._at(link):
            if self.is_linked(peer):
                peer.is_up()

    def went_down(self, link: Link) -> None:
        """A peer that is configured may have dialled us."""
        for target, peer in self._at(link):
            peer.seen_ms = link.heard_at.wall_ms
            if peer.state == "never":
                peer.state = "down"
            if peer.link is not link:
                self._note_lost(target)

    def _at(self, link: Link) -> Iterator[tuple[Target, Peer]]:
        """The peers that lead to the node at the other end of a link that is or was up."""
        if link.up and link.peer is not None:
            for target in self.targets.values():
                for peer in target.peers.values():
                    if peer.node_id == link.peer.node_id:
                        yield target, peer


def _normal(text: str) -> str:
    """`db1` and `db1:7960` are one."""
    return str(parse_address(text))


def _family(peer: Peer) -> str:
    return "IPv6" if peer.address.startswith("[") else "IPv4"


def _was_reached(peer: Peer) -> bool:
    """By a daemon that answered, be it with a refusal, or by this very node."""
    return peer.seen_ms is not None or peer.node_id is not None or peer.state in ("self", "refused")


def words_of(error: BaseException) -> str:
    """The kernel's own words where there are any: trio's name the address, which is said anyway."""
    error = _root(error)
    if isinstance(error, ConfigError):
        return error.message
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _root(error: BaseException) -> BaseException:
    """What trio wraps, where a connection was tried at several addresses."""
    while isinstance(error, OSError) and isinstance(error.__cause__, BaseExceptionGroup):
        error = error.__cause__.exceptions[0]
    return error


def _number(error: BaseException) -> int | None:
    error = _root(error)
    return error.errno if isinstance(error, OSError) else None
