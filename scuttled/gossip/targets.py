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
from scuttled.protocol.messages import Hello
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
    hastened: Wakeup = field(default_factory=Wakeup)  # rung when `due_s` is earlier than it was
    answered: trio.Event | None = None  # of the look-up under way
    moved: bool = False  # it leads to a peer that no round has dialled yet
    left_out: int = 0  # addresses, beyond PEERS_MAX

    def __post_init__(self) -> None:
        self.nowhere = Peer(self.text, self.text, state="connecting")


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
        room = PEERS_MAX - sum(len(other.peers) for other in self)
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

    # --- what is shown ---

    def peers(self) -> Iterator[Peer]:
        """What there is to be shown, of all targets."""
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
        link = self._node.links.get(peer.node_id) if peer.node_id is not None else None
        met = link.peer if link is not None else None
        return met is not None and met.incarnation == peer.incarnation

    # --- whose a link is ---

    def peer_of(self, link: Link) -> Peer | None:
        """Whose dial that link came of."""
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
    """By a daemon that answered, be it with a refusal, or by this very node."""
    return peer.seen_ms is not None or peer.node_id is not None or peer.state in ("self", "refused")
