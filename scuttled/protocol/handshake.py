"""Handshake: who may talk to whom, and who has to rejoin first.

A model's floor is what its node no longer knows deleted: tombstones at or below were collected.
Whoever does not cover all of it may hold what such a tombstone had deleted, and would bring it
back. Both ends compare the two CLOCKs of a session and come to the same conclusion.
"""

from typing import Literal

from scuttled.errors import RemoteProtocolError, ScuttledError
from scuttled.protocol.messages import ClockMessage, Code, Hello
from scuttled.replica.update import NodeId, Source


class Refusal(ScuttledError):
    """This node will not have that link (or model); the peer is told the code and the words."""

    def __init__(self, code: Code, words: str) -> None:
        super().__init__(words)
        self.reason = code


class Twin(Refusal):
    """The other node has our id and was started before us: we have to take another one."""

    def __init__(self, node_id: NodeId, words: str) -> None:
        super().__init__(Code.AFRESH, words)
        self.node_id = node_id


def check_hello(mine: Hello, theirs: Hello, max_skew_ms: int) -> None:
    """Raises Refusal, with words that make sense to both, if these two may not talk."""
    if theirs.cluster != mine.cluster:
        raise Refusal(
            Code.CLUSTER, f"'{theirs.cluster}' and '{mine.cluster}' are different clusters"
        )
    if max(mine.oldest, theirs.oldest) > min(mine.newest, theirs.newest):
        raise Refusal(
            Code.VERSION,
            f"no common protocol: {theirs.name} speaks {theirs.oldest} to {theirs.newest}, "
            f"{mine.name} {mine.oldest} to {mine.newest}",
        )
    if theirs.node_id == mine.node_id:
        if theirs.incarnation == mine.incarnation:
            raise Refusal(Code.SELF, "that address is this very node")
        words = _two_live(mine, theirs)
        if (mine.began_ms, mine.incarnation) > (theirs.began_ms, theirs.incarnation):
            raise Twin(mine.node_id, f"{words}; {mine.name}, started later, takes another")
        raise Refusal(Code.TWIN, f"{words}; {theirs.name}, started later, has to take another")
    skew = theirs.wall_ms - mine.wall_ms
    if abs(skew) > max_skew_ms:
        way = "ahead of" if skew > 0 else "behind"
        raise Refusal(
            Code.SKEW,
            f"the clock of {theirs.name} is {abs(skew) / 1000:.1f} s {way} that of {mine.name}, "
            f"allowed are {max_skew_ms / 1000:.0f} s",
        )


SEND_ONLY = "send-only"  # features: that end takes no updates
RECEIVE_ONLY = "receive-only"  # that end sends none
DONE = "done"  # that end knows Code.DONE


def directions(mine: Hello, theirs: Hello) -> tuple[bool, bool]:
    """(True if updates go out on this link, True if they come in)."""
    return (
        RECEIVE_ONLY not in mine.features and SEND_ONLY not in theirs.features,
        SEND_ONLY not in mine.features and RECEIVE_ONLY not in theirs.features,
    )


def replaced(old: Hello, new: Hello) -> tuple[Code, str]:
    """The last words on the older of two links that come from one node id.

    A new incarnation is that node after a restart, and the old link a ghost's. But no restart
    makes a node begin earlier: if the replaced one began later, it is the twin that has to yield.
    """
    if old.incarnation != new.incarnation and old.began_ms > new.began_ms:
        return Code.TWIN, f"{_two_live(new, old)}; {old.name}, started later, has to take another"
    return Code.DUPLICATE, "another link takes over"


def _two_live(one: Hello, other: Hello) -> str:
    return (
        f"two live nodes have the id {one.node_id.hex()}: {one.name} and {other.name} "
        "(was a state directory copied?)"
    )


def lies_below(clock: ClockMessage, other: ClockMessage) -> bool:
    """True if the sender of `clock` may hold what the sender of `other` no longer knows deleted."""
    times = clock.times
    return any(times.get(source, 0) < time for source, time in other.floor.items())


def check_floor(times: dict[Source, int], floor: dict[Source, int], model: str) -> None:
    """Raises RemoteProtocolError if a clock does not cover what its state has forgotten.

    Who took over another one would lie below its own floor, and so would whoever takes it from
    there: each of them would wait for the other's RESET, for ever.
    """
    if any(times.get(source, 0) < time for source, time in floor.items()):
        raise RemoteProtocolError(f"a RESET of the model '{model}' to a clock below its own floor")


def who_resets(mine: ClockMessage, peers: ClockMessage) -> Literal["i", "peer"] | None:
    """Which end has to take over the other's state, if one has; both ends say the same.

    It is the one below the other's floor. If each lies below the other's, two clusters meet: the
    one of fewer members resets, else the one of fewer updates, else that of the lesser floor.
    """
    i_am_below = lies_below(mine, peers)
    peer_is_below = lies_below(peers, mine)
    if i_am_below and peer_is_below:  # so they differ: of one floor neither lies below
        i_am_below = _size(mine) < _size(peers)
    if i_am_below:
        return "i"
    return "peer" if peer_is_below else None


def _size(clock: ClockMessage) -> tuple[int, int, list[tuple[int, Source]]]:
    """The measure that decides between two clusters; of the state, not of the node.

    If it were the node's id, two states could chase each other round a ring of nodes for ever.
    """
    floor = sorted(((time, source) for source, time in clock.floor.items()), reverse=True)
    return clock.members, clock.size, floor


def prefers(new_dialled: str, old_dialled: str, *, restarted: bool, smaller: bool) -> bool:
    """True if a new link between the same two nodes stays, and not the old one. `dialled` is the
    address, if it was we who dialled; `smaller`: our id is the smaller one.

    If both nodes dialled, the link dialled by the one of the smaller id stays, on both sides. If
    one node dialled twice, it decides: as the dialler it keeps its live link; the other end hears
    nothing on the second unless the dialler wants it. The link of a peer that was restarted
    since is a ghost.
    """
    if restarted:
        return True
    if bool(new_dialled) == bool(old_dialled):
        return not new_dialled
    return bool(new_dialled) == smaller
