"""The established links of a node: one for each peer, and which one that is."""

from scuttled.protocol.handshake import Refusal, prefers, replaced
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import NodeId


class Links(dict[NodeId, Link]):
    """By the peer's id."""

    def establish(self, link: Link, mine: NodeId) -> None:
        """Settle which of two links between the same nodes stays (see `prefers`).

        Raises Refusal if it is not the new one.
        """
        peer = link.peer
        assert peer is not None
        other = self.get(peer.node_id)
        if other is not None and other.peer and other is not link and other.ended is None:
            again = peer.incarnation != other.peer.incarnation
            smaller = mine < peer.node_id
            if not prefers(link.dialled, other.dialled, restarted=again, smaller=smaller):
                raise Refusal(Code.DUPLICATE, f"{peer.name} is linked already")
            other.close(*replaced(other.peer, peer))
        self[peer.node_id] = link

    def begin_afresh(self, words: str) -> None:
        """End them all: what was said on them no longer holds. Peers are dialled again."""
        for link in tuple(self.values()):
            link.close(Code.AFRESH, words)

    def model_changed(self, model: Scuttlebutt) -> None:
        """More of a model may be shown to peers."""
        for link in self.values():
            link.model_changed(model)

    def have_all_of(self, model: str) -> bool:
        """True once each peer that shares a model has all of it."""
        sessions = (link.sessions.get(model) for link in self.values())
        return not any(session.lag for session in sessions if session is not None)

    def gone(self, link: Link) -> None:
        """It is over."""
        if link.peer is not None and self.get(link.peer.node_id) is link:
            del self[link.peer.node_id]
