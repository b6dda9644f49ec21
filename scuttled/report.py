"""What a daemon says of itself: `status`, `peers`, the line that systemd shows.

Reads everything, changes nothing.
"""

import os
import re
from typing import Any, NamedTuple

from scuttled import __version__
from scuttled.config import Config
from scuttled.core.link import Link
from scuttled.core.update import Instant
from scuttled.future import TakenBack
from scuttled.gossip import SKEW_MS, Gossip, Peer
from scuttled.holding import graves
from scuttled.pacing import Pacing
from scuttled.problems import Problem
from scuttled.rejoining import Rejoined
from scuttled.requests import model_list
from scuttled.storage import Storage
from scuttled.timekeeping import CLOCK_HINT
from scuttled.units import format_duration

HELD_UP_MS = 3_600_000  # for which deletions may wait before it is worth a word
SAMPLES = 6  # one a second; rates are over these

DISK_HINT = "make room on the disk, or mend it: writes are taken again without a restart"
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


class Report:
    """The facts about one daemon."""

    def __init__(
        self,
        config: Config,
        gossip: Gossip,
        storage: Storage | None,
        listen: str,
        began: Instant,
        pacing: Pacing,
    ) -> None:
        self.config = config
        self.gossip = gossip
        self.node = gossip.node
        self.storage = storage
        self.listen = listen
        self.began = began
        self.pacing = pacing
        self._samples: list[tuple[float, Counts]] = []

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
        up, configured = self._peers_up()
        keys = sum(line["keys"] for line in model_list(self.node))
        lag = sum(link.lag for link in self.node.links.values())
        return f"{up}/{configured} peers, {keys:,} keys, lag {lag:,}"

    def _peers_up(self) -> tuple[int, int]:
        states = [self._state(peer)[0] for peer in self.gossip.peers.values()]
        return states.count("up"), len(states) - states.count("self")

    def facts(self, now: Instant) -> dict[str, Any]:
        """`status`, but for the models."""
        config, node, storage = self.config, self.node, self.storage
        up, configured = self._peers_up()
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
            "peers_configured": configured,
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
            "deleted": graves(node, now.wall_ms),
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

    def problems(self, now: Instant) -> list[Problem]:
        """All that an operator should look at."""
        found = []
        if failing := self.node.failing:
            found.append(Problem("disk", f"the disk fails: {failing}", DISK_HINT))
        if words := self.node.time.odd_one:
            found.append(Problem("clock", words, CLOCK_HINT))
        if words := self.node.time.future:
            found.append(Problem("ahead", words, CLOCK_HINT))
        found += self._silent_members(now)
        for peer in self.gossip.peers.values():
            state, reason = self._state(peer)
            if state not in ("up", "self"):
                words = f"peer {peer.address} {STATES.get(state, state)}"
                words = f"{words}: {reason}" if reason else words
                found.append(Problem("peer", words, about=peer.address))
        for link in self.node.links.values():
            assert link.peer is not None
            found += self._link_problems(link, link.peer.name)
        return found

    def _link_problems(self, link: Link, who: str) -> list[Problem]:
        """What is wrong although that link is up."""
        found = []
        if abs(link.pulse.skew_ms) >= SKEW_MS:
            words = f"the clock of {who} differs by {link.pulse.skew_ms / 1000:.1f} s"
            found.append(Problem("skew", words, CLOCK_HINT, about=who))
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

    def _silent_members(self, now: Instant) -> list[Problem]:
        """Who keeps deletions from being forgotten, and was not heard of for long."""
        waiting = graves(self.node, now.wall_ms)
        names = ", ".join(waiting["held_up_by"])
        if waiting["oldest_ms"] < HELD_UP_MS or not names:
            return []
        age = format_duration(waiting["oldest_ms"] / 1000)
        words = f"{waiting['count']} deletions wait for {names}, the oldest for {age}"
        hint = "bring it back; or, if it is gone for good: scuttled forget NODE"
        return [Problem("deletions", words, hint)]

    def peers(self, now: Instant) -> list[dict[str, Any]]:
        """This node, the configured peers, and whoever else is linked."""
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
            }
        ]
        shown = set()
        for peer in self.gossip.peers.values():
            link = node.links.get(peer.node_id) if peer.node_id is not None else None
            state, reason = self._state(peer)
            if state == "self" or (peer.node_id is not None and peer.node_id in shown):
                continue
            if peer.node_id is not None:
                shown.add(peer.node_id)
            rows.append(_row(peer.address, state, reason, peer, link, now))
        for node_id, link in node.links.items():
            if node_id not in shown:
                assert link.peer is not None
                rows.append(_row(link.peer.address, "up", "", None, link, now))
        return rows

    def _state(self, peer: Peer) -> tuple[str, str]:
        """A peer may be linked although it is another task that dialled it."""
        if peer.node_id is not None and peer.node_id in self.node.links:
            return "up", ""
        if peer.state == "up":
            return "down", peer.reason
        return peer.state, peer.reason


def _row(
    address: str, state: str, reason: str, peer: Peer | None, link: Link | None, now: Instant
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "node": peer.node_id.hex() if peer and peer.node_id else "",
        "name": peer.name if peer else "",
        "address": address,
        "state": state,
        "rtt_ms": None,
        "lag": None,
        "lag_ms": None,
        "seen_ms": peer.seen_ms if peer else None,
        "version": peer.version if peer else "",
        "reason": reason,
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
