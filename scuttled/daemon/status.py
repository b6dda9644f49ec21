"""Status of a daemon: the facts of `status`, and the line that systemd shows.

Reads everything, changes nothing.
"""

import os
import re
from typing import Any, NamedTuple

from scuttled.config.config import Config
from scuttled.control.backpressure import Backpressure
from scuttled.control.model_rows import model_rows
from scuttled.daemon.diagnosis import Diagnosis, waiting_deletions
from scuttled.daemon.peer_rows import PeerRows
from scuttled.gossip.gossip import Gossip
from scuttled.node.future import TakenBack
from scuttled.node.problems import Problem
from scuttled.npm.guests import Guests
from scuttled.replica.rejoin import Rejoined
from scuttled.replica.update import Instant
from scuttled.storage.storage import Storage
from scuttled.version import __version__

SAMPLES = 6  # one a second; rates are over these


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
        backpressure: Backpressure,
        guests: Guests | None = None,
    ) -> None:
        self.config = config
        self.gossip = gossip
        self.node = gossip.node
        self.storage = storage
        self.listen = listen
        self.began = began
        self.backpressure = backpressure
        guests = guests or Guests()
        self._peers = PeerRows(gossip, guests)
        self._diagnosis = Diagnosis(gossip, guests, self._peers, listen)
        self._samples: list[tuple[float, Counts]] = []

    def counts(self) -> Counts:
        links = list(self.gossip.counted())
        return Counts(
            updates_in=sum(link.updates_in for link in links),
            updates_out=sum(link.updates_out for link in links),
            bytes_in=sum(link.bytes_in for link in links),
            bytes_out=sum(link.bytes_out for link in links),
        )

    def sample(self, now: Instant) -> None:
        """Once a second, for the rates."""
        self._samples.append((now.mono_s, self.counts()))
        del self._samples[:-SAMPLES]

    def _rates(self) -> tuple[float, float]:
        if len(self._samples) < 2:
            return 0.0, 0.0
        since, before = self._samples[0]
        upto, after = self._samples[-1]
        span = max(upto - since, 0.001)
        return (
            round((after.updates_in - before.updates_in) / span, 1),
            round((after.updates_out - before.updates_out) / span, 1),
        )

    def status_line(self) -> str:
        """The line that `systemctl status` shows."""
        up, others = self._peers.count_up()
        keys = sum(line["keys"] for line in model_rows(self.node))
        lag = sum(link.lag for link in self.node.links.values())
        return f"{up}/{others} peers, {keys:,} keys, lag {lag:,}"

    def facts(self, now: Instant) -> dict[str, Any]:
        """`status`, but for the models."""
        config = self.config
        node = self.node
        storage = self.storage
        up, others = self._peers.count_up()
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
            "deleted": waiting_deletions(node, now.wall_ms),
            "resets": [_reset(report) for report in node.replaced.resets],
            "ahead_ms": node.time.ahead_ms,
            "taken_back": [_taken_back(report) for report in node.replaced.taken_back],
            "storage": {
                "path": str(storage.path) if storage else "",
                "bytes": storage.bytes if storage else 0,
                "unsaved": node.durability.rows_unsaved,
                "failing": node.durability.failing,
            },
            "flow": self.backpressure.facts(now),
            "rss_bytes": _rss_bytes(),
            "healthy": not problems,
            "problems": [problem.words for problem in problems],
            "diagnoses": [problem._asdict() for problem in problems],
        }

    def problems(self, now: Instant, *, deletions_age_s: float = 0.0) -> list[Problem]:
        """All that an operator should look at; see `Diagnosis.problems`."""
        return self._diagnosis.problems(now, deletions_age_s=deletions_age_s)

    def peers(self, now: Instant) -> list[dict[str, Any]]:
        """The rows of `peers`."""
        return self._peers.rows(now)


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


def _rss_bytes() -> int | None:
    """Resident memory, where the system tells."""
    try:
        with open(f"/proc/{os.getpid()}/status") as status:
            found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
