"""Rows of `peers`: this node, whom it dials, whoever else is linked, and npm peers."""

from typing import Any

from scuttled.gossip.gossip import Gossip
from scuttled.gossip.targets import Peer, Target
from scuttled.npm.guests import Guests
from scuttled.protocol.link import Link
from scuttled.replica.update import Instant
from scuttled.version import __version__


class PeerRows:
    """Peers of one daemon, as they are at the moment."""

    def __init__(self, gossip: Gossip, guests: Guests) -> None:
        self._gossip = gossip
        self._node = gossip.node
        self._targets = gossip.dialler.targets
        self._guests = guests

    def rows(self, now: Instant) -> list[dict[str, Any]]:
        """This node, the configured peers, whoever else is linked, and npm peers."""
        node = self._node
        settings = node.settings
        rows = [
            {
                "node": node.author.node_id.hex(),
                "name": settings.name,
                "address": settings.address,
                "state": "self",
                "rtt_ms": None,
                "lag": 0,
                "lag_ms": 0,
                "seen_ms": now.wall_ms,
                "version": __version__,
                "reason": "",
                "hint": "",
                "configured": "",
            }
        ]
        shown = set()
        for target in self._targets:
            for peer in self.others_of(target):
                if peer.node_id is not None and peer.node_id in shown:
                    continue
                link = node.links.get(peer.node_id) if peer.node_id is not None else None
                if peer.node_id is not None:
                    shown.add(peer.node_id)
                state, reason = self.state_of(target, peer)
                rows.append(_row(peer, state, reason, target.text, link, now))
        for node_id, link in node.links.items():
            if node_id not in shown:
                assert link.peer is not None
                caller = Peer(self._gossip.address_of(link))
                rows.append(_row(caller, "up", "", "", link, now))
        return rows + self._guests.rows(now)

    def count_up(self) -> tuple[int, int]:
        """Counts of who is linked, whoever dialled, and of all there are or ought to be."""
        missing = set()
        for target in self._targets:
            for peer in self.others_of(target):
                if self.state_of(target, peer)[0] != "up":
                    missing.add(peer.node_id or f"{target.text} {peer.address}")
        up = len(self._node.links)
        return up, up + len(missing)

    def others_of(self, target: Target) -> list[Peer]:
        """The peers of a target that are not this node."""
        return [peer for peer in self._targets.shown(target) if peer.state != "self"]

    def state_of(self, target: Target, peer: Peer) -> tuple[str, str]:
        """A peer may be linked although it is another task that dialled it."""
        if peer.node_id is not None and peer.node_id in self._node.links:
            return "up", ""
        reason = peer.reason
        if peer is not target.nowhere and (why := target.nowhere.reason):
            reason = "; ".join(filter(None, (reason, f"{target.text}: {why}")))
        return ("down" if peer.state == "up" else peer.state), reason


def _row(
    peer: Peer, state: str, reason: str, configured: str, link: Link | None, now: Instant
) -> dict[str, Any]:
    """`configured` is what leads to that peer; "" for one that dialled us."""
    single = bool(configured) and peer.label == configured
    row: dict[str, Any] = {
        "node": peer.node_id.hex() if peer.node_id else "",
        "name": peer.name,
        "address": configured if single else peer.address,
        "state": state,
        "rtt_ms": None,
        "lag": None,
        "lag_ms": None,
        "seen_ms": peer.seen_ms,
        "version": peer.version,
        "reason": reason,
        "hint": "" if state == "up" else peer.hint,
        "configured": configured,
    }
    if link is not None and link.peer is not None:
        lag_s = link.lag_s(now)
        rtt_s = link.pulse.rtt_s
        row |= {
            "node": link.peer.node_id.hex(),
            "name": link.peer.name,
            "rtt_ms": None if rtt_s is None else round(rtt_s * 1000, 3),
            "lag": link.lag,
            "lag_ms": round(lag_s * 1000),
            "seen_ms": link.heard_at.wall_ms,
            "version": link.peer.version,
        }
    return row
