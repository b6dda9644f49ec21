"""Targets of a node, and the peers that they lead to.

A *target* is what somebody configured, saved or joined: a name, an address, a Unix socket. A *peer*
is one address that it leads to at this moment: a name of three addresses is three peers. The
dialer and the resolver note here how it goes; `status` and `peers` show it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import trio

from scuttled.config.config import parse_address
from scuttled.node.node import Node
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code, Hello
from scuttled.replica.update import NodeId
from scuttled.runtime.wakeup import Wakeup

TARGETS_MAX = 512
PEERS_MAX = 512  # of all targets


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

    def begin(self) -> None:
        """It is about to be dialled."""
        if self.state == "never" and not self.failed:  # else that it is down is worth more
            self.state = "connecting"

    def met(self, who: Hello) -> None:
        """That daemon is there."""
        self.node_id = who.node_id
        self.incarnation = who.incarnation
        self.name = who.name
        self.version = who.version

    def is_up(self) -> None:
        self.state = "up"
        self.clear_reason()

    def clear_reason(self) -> None:
        self.reason = ""
        self.hint = ""

    def is_self(self) -> None:
        """That address is this very node."""
        self.fails("self", "")
        self.node_id = None

    def fails(self, state: str, reason: str, hint: str = "") -> None:
        if state == "down" and self.seen_ms is None:
            state = "never"
        self.state = state
        self.reason = reason
        self.hint = hint
        self.failed = True

    def lost(self, seen_ms: int) -> None:
        """A link to it is over that was up until then, whoever dialled."""
        self.seen_ms = seen_ms
        if self.state == "never":
            self.state = "down"

    def release(self) -> None:
        """The dial, and what came of it, is over."""
        self.busy = False
        self.link = None


@dataclass(slots=True, eq=False)
class Target:
    """A target of the dialer, and the peers that it leads to now."""

    text: str
    origin: str = ""  # "": the configuration; saved, joined
    peers: dict[str, Peer] = field(default_factory=dict)
    nowhere: Peer = field(init=False)  # in place of peers, while there are none
    failures: int = 0  # rounds in a row in which something failed
    failed: bool = False  # something did, in this round
    due_s: float = 0.0  # the next round, in trio's time
    parted: bool = False
    hastened: Wakeup = field(default_factory=Wakeup)  # rung when `due_s` is earlier than it was
    answered: trio.Event | None = None  # of the look-up under way
    moved: bool = False  # it leads to a peer that no round has dialled yet
    left_out: int = 0  # addresses, beyond PEERS_MAX

    def __post_init__(self) -> None:
        self.nowhere = Peer(self.text, self.text, state="connecting")

    def begin_round(self, due_s: float) -> None:
        """The next one is due then, unless something fails or is lost meanwhile."""
        self.failed = False
        self.moved = False
        self.due_s = due_s

    def note_failure(self) -> bool:
        """True if it is the first of this round."""
        is_first = not self.failed
        self.failed = True
        self.failures += is_first
        return is_first

    def hasten(self, due_s: float) -> None:
        """Have the next round at that time, if it is due later."""
        self.due_s = min(self.due_s, due_s)
        self.hastened.ring()

    def part(self, words: str) -> None:
        """End its rounds, and whatever came of them."""
        self.parted = True
        for peer in self.peers.values():
            peer.connecting.cancel()
            if peer.link is not None:
                peer.link.close(Code.LEAVING, words)
                peer.link.rearm()
        self.hastened.ring()

    def label_peers(self) -> None:
        """As people call them: the only one of a target by what was configured."""
        for peer in self.peers.values():
            alone = len(self.peers) == 1 or peer.address == self.text
            peer.label = self.text if alone else f"{peer.address} ({self.text})"


class Targets:
    """The targets of one node, by their address in its normal form."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._targets: dict[str, Target] = {}

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[Target]:
        return iter(self._targets.values())

    def add(self, text: str, origin: str = "") -> Target:
        """A target; its task is yet to be started."""
        target = Target(text, origin)
        self._targets[normal(text)] = target
        return target

    def find(self, text: str) -> Target | None:
        """The target of that address, however it was written."""
        return self._targets.get(normal(text))

    def remove(self, text: str) -> Target | None:
        """None if nobody asked for it."""
        return self._targets.pop(normal(text), None)

    def lead(self, target: Target, addresses: Iterable[str]) -> None:
        """From now on it leads there: to no other peers, but for those that are busy or linked."""
        found = dict.fromkeys(addresses)
        for address, peer in list(target.peers.items()):
            if address not in found and not (peer.busy or self.is_linked(peer)):
                target.nowhere.seen_ms = peer.seen_ms or target.nowhere.seen_ms
                del target.peers[address]
        room = max(0, PEERS_MAX - sum(len(other.peers) for other in self))
        strange = [address for address in found if address not in target.peers]
        target.left_out = max(0, len(strange) - room)
        for address in strange[:room]:
            target.peers[address] = Peer(address)
            target.moved = True
        target.label_peers()
        if target.peers:
            target.nowhere.clear_reason()

    # --- what is shown ---

    def peers(self) -> Iterator[Peer]:
        """Peers of all targets, as they are shown."""
        for target in self:
            yield from self.shown(target)

    def shown(self, target: Target) -> list[Peer]:
        """The peers of a target, or one that stands for the name that leads nowhere.

        A machine often has an address of a family by which nobody can reach it. If all of the
        other family are linked, that one was never reached, and is no peer of its own.
        """
        peers = list(target.peers.values())
        if not peers:
            return [target.nowhere]
        spare = set()  # families of addresses that nobody needs
        for family in {_family(peer) for peer in peers}:
            of_others = [peer for peer in peers if _family(peer) != family]
            if of_others and all(p.state == "self" or self.is_linked(p) for p in of_others):
                spare.add(family)
        return [peer for peer in peers if _family(peer) not in spare or _was_reached(peer)]

    def is_linked(self, peer: Peer) -> bool:
        """True while this node is linked with the very daemon that was met at that address:
        another one may have its id.
        """
        link = self._node.links.get(peer.node_id) if peer.node_id is not None else None
        met = link.peer if link is not None else None
        return met is not None and met.incarnation == peer.incarnation

    # --- whose a link is ---

    def peer_of(self, link: Link) -> Peer | None:
        """The peer whose dial that link came of."""
        for target in self:
            for peer in target.peers.values():
                if peer.link is link:
                    return peer
        return None

    def leading_to(self, link: Link) -> Iterator[tuple[Target, Peer]]:
        """The peers that lead to the node at the other end of a link that is or was up."""
        if link.up and link.peer is not None:
            for target in self:
                for peer in target.peers.values():
                    if peer.node_id == link.peer.node_id:
                        yield target, peer


def normal(text: str) -> str:
    """`db1` and `db1:7960` are one."""
    return str(parse_address(text))


def _family(peer: Peer) -> str:
    return "IPv6" if peer.address.startswith("[") else "IPv4"


def _was_reached(peer: Peer) -> bool:
    """True once a daemon answered there, be it with a refusal, or it was this very node."""
    return peer.seen_ms is not None or peer.node_id is not None or peer.state in ("self", "refused")
