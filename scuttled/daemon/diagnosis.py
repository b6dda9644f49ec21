"""Diagnosis of a running daemon: whatever an operator should look at, and what helps.

The same problems are told by `status`, `health`, and in the log once they have stood for a while.
"""

import math
from typing import Any

from scuttled.config.config import is_loopback, parse_address
from scuttled.daemon.peer_rows import PeerRows
from scuttled.gossip.gossip import Gossip
from scuttled.gossip.narrator import SKEW_MS
from scuttled.gossip.targets import PEERS_MAX, Target
from scuttled.node.membership import Member
from scuttled.node.node import Node
from scuttled.node.problems import Problem
from scuttled.node.timekeeping import CLOCK_HINT
from scuttled.npm.guests import Guests
from scuttled.protocol.link import Link
from scuttled.replica.slots import Slots
from scuttled.replica.update import TICKS_PER_MS, Instant, NodeId
from scuttled.units import format_duration

HELD_UP_MS = 3_600_000  # for which deletions may wait before it is worth a word
LAG_S = 60.0  # for which a peer may leave updates unacknowledged
NAMED_MAX = 5  # members in one sentence

DISK_HINT = "make room on the disk, or mend it: writes are taken again without a restart"
MEMBERS_HINT = "each start of a --memory node is a new source: give it a --data of its own"
SOURCES_HINT = "ids that stay for npm peers and programs, or another model: export and import"
MODEL_HINT = "give the model another name on one of the two nodes"

STATES = {  # of a peer that is not linked, in a sentence
    "never": "was never reached",
    "down": "is down",
    "connecting": "is being dialled",
    "refused": "is refused",
}


class Diagnosis:
    """Finds what is wrong with one daemon. Changes nothing."""

    def __init__(self, gossip: Gossip, guests: Guests, peers: PeerRows, listen: str) -> None:
        self.gossip = gossip
        self.node = gossip.node
        self.targets = gossip.dialler.targets
        self.guests = guests
        self.peers = peers
        self.listen = listen
        self._deletions: list[Problem] = []  # that wait for somebody...
        self._deletions_at_s = -math.inf  # ...as of then

    def problems(self, now: Instant, *, deletions_age_s: float = 0.0) -> list[Problem]:
        """All that an operator should look at.

        To look at deletions costs some milliseconds a model: what was found may be so old.
        """
        found = []
        if failing := self.node.durability.failing:
            found.append(Problem("disk", f"the disk fails: {failing}", DISK_HINT))
        if words := self.node.time.odd_one:
            found.append(Problem("clock", words, CLOCK_HINT))
        if words := self.node.time.future:
            found.append(Problem("ahead", words, CLOCK_HINT))
        found += self._alone(now)
        if now.mono_s - self._deletions_at_s >= deletions_age_s:
            self._deletions_at_s = now.mono_s
            self._deletions = self._silent_members(now)
        found += self._deletions
        found += self._crowded_models()
        for target in self.targets:
            found += self._target_problems(target)
        for link in self.node.links.values():
            assert link.peer is not None
            found += self._link_problems(link, link.peer.name, now)
        return found + self.guests.problems(now)

    def _alone(self, now: Instant) -> list[Problem]:
        """A write made here reaches nobody, though there is, or was to be, somebody."""
        links = self.node.links.values()
        if any(link.up and link.sends for link in links):
            return []
        targets = self.targets
        others = self.node.members.others(now.wall_ms)
        members = [member for member in others if member.node_id not in self.node.links]
        reasons = self.gossip.narrator.refused_lately(now)[:NAMED_MAX]
        if not (targets or members or links or reasons):
            return []  # one that never had anybody
        if takers := sorted(link.peer.name for link in links if link.peer is not None):
            reasons.append(f"{', '.join(takers)} takes no updates")
        if only_self := [t.text for t in targets if t.peers and not self.peers.others_of(t)]:
            reasons.append(f"{', '.join(only_self)} leads to this very node")
        if members:
            names = sorted(member.name or member.node_id.hex() for member in members)
            more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
            reasons.append(f"not linked: {', '.join(names[:NAMED_MAX])}{more}")
        words = "; ".join(
            ["no other node is linked: what is written here reaches nobody", *reasons]
        )
        return [Problem("alone", words, self._alone_hint(members))]

    def _alone_hint(self, members: list[Member]) -> str:
        """A command that brings somebody here, as far as this node can tell."""
        hints = [p.hint for p in self.targets.peers() if p.state == "refused" and p.hint]
        addresses = [member.address for member in members if _can_be_dialled(member.address)]
        loopback = is_loopback(parse_address(self.listen).host)
        if hints:
            return hints[0]
        if addresses and not self.targets:
            if loopback and not is_loopback(parse_address(addresses[0]).host):
                return (
                    f"this node listens on {self.listen} only, where no other machine can dial it:"
                    " scuttled serve --listen ADDR"
                )
            return f"scuttled join {addresses[0]}"
        return "scuttled join ADDR" if not self.targets else "scuttled peers"

    def _target_problems(self, target: Target) -> list[Problem]:
        found = []
        for peer in self.peers.others_of(target):
            state, reason = self.peers.state_of(target, peer)
            if state != "up":
                words = f"peer {peer.label} {STATES.get(state, state)}"
                words = f"{words}: {reason}" if reason else words
                found.append(Problem("peer", words, peer.hint, about=peer.label))
        if target.left_out:
            words = f"{target.text} leads to {target.left_out} addresses more than are dialled"
            hint = f"there can be {PEERS_MAX} peers: name fewer"
            found.append(Problem("peers", words, hint, about=target.text))
        return found

    def _link_problems(self, link: Link, who: str, now: Instant) -> list[Problem]:
        """Problems with a link that is up."""
        found = []
        if abs(link.pulse.skew_ms) >= SKEW_MS:
            words = f"the clock of {who} differs by {link.pulse.skew_ms / 1000:.1f} s"
            found.append(Problem("skew", words, CLOCK_HINT, about=who))
        lag_s = link.lag_s(now)
        if lag_s >= LAG_S:
            words = f"{who} has not acknowledged {link.lag:,} updates for {format_duration(lag_s)}"
            found.append(Problem("lag", words, f"on {who}: scuttled status", about=who))
        for model, why in link.stopped.items():
            words = f"model {model} with {who}: {why}"
            found.append(Problem("model", words, MODEL_HINT, about=f"{who} {model}"))
        for session in link.sessions.values():
            if session.future:
                words = (
                    f"updates in {session.model.name} from {who} are stamped too far "
                    "in the future to be taken yet"
                )
                about = f"{who} {session.model.name}"
                found.append(Problem("future", words, CLOCK_HINT, about=about))
        return found

    def _crowded_models(self) -> list[Problem]:
        """Models that get full of sources; told anew at each step that changes what they can do."""
        found = []
        for model in self.node.models.values():
            if crowding := model.crowding:
                hint = MEMBERS_HINT if model.is_system else SOURCES_HINT
                about = f"{model.name} {crowding.step}"
                found.append(Problem("sources", crowding.words, hint, about=about))
        return found

    def _silent_members(self, now: Instant) -> list[Problem]:
        """Members that keep deletions from being forgotten, and were not heard of for long."""
        waiting = waiting_deletions(self.node, now.wall_ms)
        names = ", ".join(waiting["held_up_by"])
        if waiting["oldest_ms"] < HELD_UP_MS or not names:
            return []
        age = format_duration(waiting["oldest_ms"] / 1000)
        words = f"{waiting['count']} deletions wait for {names}, the oldest for {age}"
        hint = "bring it back; or, if it is gone for good: scuttled forget NODE"
        return [Problem("deletions", words, hint)]


def waiting_deletions(node: Node, wall_ms: int) -> dict[str, Any]:
    """Deletions that wait to be forgotten: how many, since when, and who has not seen them."""
    count = 0
    oldest_ms = 0
    waits: dict[NodeId, str] = {}
    for model in node.user_models():
        if isinstance(model, Slots) and (oldest := model.graves()):
            count += model.grave_count
            first = min(oldest, key=lambda grave: grave.timestamp)
            age_ms = wall_ms - (first.expires_ms or first.timestamp // TICKS_PER_MS)
            oldest_ms = max(oldest_ms, age_ms)
            for member in node.members.holding_up(model, first, wall_ms):
                waits[member.node_id] = member.name or member.node_id.hex()
    return {"count": count, "oldest_ms": oldest_ms, "held_up_by": sorted(waits.values())}


def _can_be_dialled(address: str) -> bool:
    """Not one of "wherever", by which a daemon that listens everywhere is known."""
    return bool(address) and not address.startswith(("0.0.0.0:", "[::]:"))
