"""What a daemon says of itself: `status`, `peers`, the line that systemd shows.

Reads everything, changes nothing.
"""

import math
import os
import re
from typing import Any, NamedTuple

from scuttled.config.config import Config, is_loopback, parse_address
from scuttled.control.backpressure import Backpressure
from scuttled.control.results import model_list
from scuttled.gossip.dialer import PEERS_MAX, Peer, Target
from scuttled.gossip.gossip import SKEW_MS, Gossip
from scuttled.node.future import TakenBack
from scuttled.node.membership import Member
from scuttled.node.node import Node
from scuttled.node.problems import Problem
from scuttled.node.timekeeping import CLOCK_HINT
from scuttled.npm.guests import Guests
from scuttled.protocol.link import Link
from scuttled.replica.rejoin import Rejoined
from scuttled.replica.slots import Slots
from scuttled.replica.update import TICKS_PER_MS, Instant, NodeId
from scuttled.storage.storage import Storage
from scuttled.units import format_duration
from scuttled.version import __version__

HELD_UP_MS = 3_600_000  # for which deletions may wait before it is worth a word
LAG_S = 60.0  # for which a peer may leave updates unacknowledged
NAMED_MAX = 5  # members in one sentence
SAMPLES = 6  # one a second; rates are over these

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


class Counts(NamedTuple):
    """Since the start, over all links."""

    updates_in: int
    updates_out: int
    bytes_in: int
    bytes_out: int


class Status:
    """The facts about one daemon."""

    def __init__(
        self,
        config: Config,
        gossip: Gossip,
        storage: Storage | None,
        listen: str,
        began: Instant,
        pacing: Backpressure,
        guests: Guests | None = None,
    ) -> None:
        self.config = config
        self.gossip = gossip
        self.dialler = gossip.dialler
        self.node = gossip.node
        self.storage = storage
        self.listen = listen
        self.began = began
        self.pacing = pacing
        self.guests = guests or Guests()
        self._samples: list[tuple[float, Counts]] = []
        self._deletions: list[Problem] = []  # that wait for somebody...
        self._deletions_at_s = -math.inf  # ...as of then

    def counts(self) -> Counts:
        return Counts(*map(sum, zip(*map(_counts_of, self.gossip.counted()), strict=True)))

    def sample(self, now: Instant) -> None:
        """Once a second, for the rates."""
        self._samples.append((now.mono_s, self.counts()))
        del self._samples[:-SAMPLES]

    def _rates(self) -> tuple[float, float]:
        if len(self._samples) < 2:
            return 0.0, 0.0
        (since, before), (upto, after) = self._samples[0], self._samples[-1]
        span = max(upto - since, 0.001)
        return (
            round((after.updates_in - before.updates_in) / span, 1),
            round((after.updates_out - before.updates_out) / span, 1),
        )

    def status_line(self) -> str:
        """What `systemctl status` shows."""
        up, others = self._peers_up()
        keys = sum(line["keys"] for line in model_list(self.node))
        lag = sum(link.lag for link in self.node.links.values())
        return f"{up}/{others} peers, {keys:,} keys, lag {lag:,}"

    def _peers_up(self) -> tuple[int, int]:
        """How many are linked, whoever dialled, and how many there are or ought to be."""
        missing = set()
        for target in self.dialler.targets.values():
            for peer in self._others_of(target):
                if self._state(target, peer)[0] != "up":
                    missing.add(peer.node_id or f"{target.text} {peer.address}")
        up = len(self.node.links)
        return up, up + len(missing)

    def facts(self, now: Instant) -> dict[str, Any]:
        """`status`, but for the models."""
        config, node, storage = self.config, self.node, self.storage
        up, others = self._peers_up()
        rate_in, rate_out = self._rates()
        problems = self.problems(now)
        return {
            "node": node.author.node_id.hex(),
            "life": node.author.life,
            "name": config.name,
            "version": __version__,
            "cluster": config.cluster,
            "uptime_s": round(now.mono_s - self.began.mono_s, 1),
            "listen": self.listen,
            "advertise": node.settings.address,
            "data": str(config.data) if storage else "",
            "sync": storage.sync if storage else "off",
            "control": config.socket,
            "peers_up": up,
            "peers_configured": others,
            "links": self.peers(now),
            **self.counts()._asdict(),
            "rate_in": rate_in,
            "rate_out": rate_out,
            "skew_ms": max(
                (link.pulse.skew_ms for link in node.links.values()), key=abs, default=0
            ),
            "future": node.future,
            "doubted": dict(node.doubted),
            "members": node.members.count(now.wall_ms),
            "deleted": _deletions(node, now.wall_ms),
            "resets": [_reset(report) for report in node.resets],
            "ahead_ms": node.time.ahead_ms,
            "taken_back": [_taken_back(report) for report in node.taken_back],
            "storage": {
                "path": str(storage.path) if storage else "",
                "bytes": storage.bytes if storage else 0,
                "unsaved": node.rows_unsaved,
                "failing": node.failing,
            },
            "flow": self.pacing.facts(now),
            "rss_bytes": _rss_bytes(),
            "healthy": not problems,
            "problems": [problem.words for problem in problems],
            "diagnoses": [problem._asdict() for problem in problems],
        }

    def problems(self, now: Instant, *, deletions_age_s: float = 0.0) -> list[Problem]:
        """All that an operator should look at.

        To look at deletions costs some milliseconds a model: what was found may be so old.
        """
        found = []
        if failing := self.node.failing:
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
        for target in self.dialler.targets.values():
            found += self._target_problems(target)
        for link in self.node.links.values():
            assert link.peer is not None
            found += self._link_problems(link, link.peer.name, now)
        return found + self.guests.problems(now)

    def _alone(self, now: Instant) -> list[Problem]:
        """Whether a write made here reaches nobody, though there is, or was to be, somebody."""
        links = self.node.links.values()
        if any(link.up and link.sends for link in links):
            return []
        targets = self.dialler.targets.values()
        others = self.node.members.others(now.wall_ms)
        members = [member for member in others if member.node_id not in self.node.links]
        reasons = self.gossip.refused_lately(now)[:NAMED_MAX]
        if not (targets or members or links or reasons):
            return []  # one that never had anybody
        if takers := sorted(link.peer.name for link in links if link.peer is not None):
            reasons.append(f"{', '.join(takers)} takes no updates")
        if only_self := [t.text for t in targets if t.peers and not self._others_of(t)]:
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
        """What brings somebody here, as far as this node can tell."""
        hints = [p.hint for p in self.dialler.peers() if p.state == "refused" and p.hint]
        addresses = [member.address for member in members if _can_be_dialled(member.address)]
        loopback = is_loopback(parse_address(self.listen).host)
        if hints:
            return hints[0]
        if addresses and not self.dialler.targets:
            if loopback and not is_loopback(parse_address(addresses[0]).host):
                return (
                    f"this node listens on {self.listen} only, where no other machine can dial it:"
                    " scuttled serve --listen ADDR"
                )
            return f"scuttled join {addresses[0]}"
        return "scuttled join ADDR" if not self.dialler.targets else "scuttled peers"

    def _others_of(self, target: Target) -> list[Peer]:
        """The peers of a target that are not this node."""
        return [peer for peer in self.dialler.shown(target) if peer.state != "self"]

    def _target_problems(self, target: Target) -> list[Problem]:
        found = []
        for peer in self._others_of(target):
            state, reason = self._state(target, peer)
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
        """What is wrong although that link is up."""
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
        """Who keeps deletions from being forgotten, and was not heard of for long."""
        waiting = _deletions(self.node, now.wall_ms)
        names = ", ".join(waiting["held_up_by"])
        if waiting["oldest_ms"] < HELD_UP_MS or not names:
            return []
        age = format_duration(waiting["oldest_ms"] / 1000)
        words = f"{waiting['count']} deletions wait for {names}, the oldest for {age}"
        hint = "bring it back; or, if it is gone for good: scuttled forget NODE"
        return [Problem("deletions", words, hint)]

    def peers(self, now: Instant) -> list[dict[str, Any]]:
        """This node, the configured peers, whoever else is linked, and npm peers."""
        settings, node = self.node.settings, self.node
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
        for target in self.dialler.targets.values():
            for peer in self._others_of(target):
                if peer.node_id is not None and peer.node_id in shown:
                    continue
                link = node.links.get(peer.node_id) if peer.node_id is not None else None
                if peer.node_id is not None:
                    shown.add(peer.node_id)
                state, reason = self._state(target, peer)
                rows.append(_row(peer, state, reason, target.text, link, now))
        for node_id, link in node.links.items():
            if node_id not in shown:
                assert link.peer is not None
                caller = Peer(self.gossip.address_of(link))
                rows.append(_row(caller, "up", "", "", link, now))
        return rows + self.guests.rows(now)

    def _state(self, target: Target, peer: Peer) -> tuple[str, str]:
        """A peer may be linked although it is another task that dialled it."""
        if peer.node_id is not None and peer.node_id in self.node.links:
            return "up", ""
        reason = peer.reason
        if peer is not target.nowhere and (why := target.nowhere.reason):
            reason = "; ".join(filter(None, (reason, f"{target.text}: {why}")))
        return ("down" if peer.state == "up" else peer.state), reason


def _deletions(node: Node, wall_ms: int) -> dict[str, Any]:
    """Deletions that wait to be forgotten: how many, since when, and who has not seen them."""
    count, oldest_ms = 0, 0
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
        lag_s, rtt_s = link.lag_s(now), link.pulse.rtt_s
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


def _reset(report: Rejoined) -> dict[str, Any]:
    return {
        "model": report.model,
        "peer": report.peer,
        "at_ms": report.at_ms,
        "held": report.held,
        "covered": report.covered,
        "taken": report.taken,
        "issued": report.issued,
        "issued_count": report.issued_count,
        "dropped": report.dropped,
        "dropped_count": report.dropped_count,
        "life": report.life,
        "words": report.words,
    }


def _taken_back(report: TakenBack) -> dict[str, Any]:
    return {
        "at_ms": report.at_ms,
        "ahead_ms": report.ahead_ms,
        "life": report.life,
        "issued": report.issued,
        "issued_count": report.issued_count,
        "kept_count": report.kept_count,
        "dropped_count": report.dropped_count,
        "unclaimed": report.unclaimed,
        "words": report.words,
    }


def _counts_of(link: Any) -> Counts:
    return Counts(link.updates_in, link.updates_out, link.bytes_in, link.bytes_out)


def _rss_bytes() -> int | None:
    """Resident memory, where the system tells."""
    try:
        with open(f"/proc/{os.getpid()}/status") as status:
            found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
