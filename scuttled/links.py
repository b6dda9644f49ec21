"""The established links of a node: one for each peer, and which one that is."""

from scuttled.core.handshake import Refusal, prefers
from scuttled.core.link import Link
from scuttled.core.messages import Code
from scuttled.core.update import NodeId


class Links(dict[NodeId, Link]):
    """By the peer's id."""

    def __init__(self) -> None:
        super().__init__()
        self._displaced: dict[NodeId, bytes] = {}  # incarnations whose place another has taken

    def establish(self, link: Link, mine: NodeId) -> None:
        """Settle which of two links between the same nodes stays (see `prefers`).

        Raises Refusal if it is not the new one.
        """
        peer = link.peer
        assert peer is not None
        other = self.get(peer.node_id)
        if other is not None and other.peer and other is not link and other.ended is None:
            again = peer.incarnation != other.peer.incarnation
            if again:
                self._tell_twins(link, other)
            smaller = mine < peer.node_id
            if not prefers(link.dialled, other.dialled, restarted=again, smaller=smaller):
                raise Refusal(Code.DUPLICATE, f"{peer.name} is linked already")
            other.close(Code.DUPLICATE, "another link takes over")
        self[peer.node_id] = link

    def _tell_twins(self, new: Link, old: Link) -> None:
        """Who was started anew takes its own place; who comes back after that has a twin.

        The later of two twins has to take another id. Raises Refusal if it is the new one.
        """
        assert new.peer is not None
        assert old.peer is not None
        if self._displaced.get(new.peer.node_id) != new.peer.incarnation:
            self._displaced[new.peer.node_id] = old.peer.incarnation
            return
        words = f"{new.peer.name} and {old.peer.name} have one id (was a state directory copied?)"
        if new.peer.began_ms >= old.peer.began_ms:
            raise Refusal(Code.TWIN, words)
        old.close(Code.TWIN, words)

    def gone(self, link: Link) -> None:
        """It is over."""
        if link.peer is not None and self.get(link.peer.node_id) is link:
            del self[link.peer.node_id]
