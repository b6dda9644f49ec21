"""What is logged of links: a line when one comes or goes, and what is odd about a peer.

A peer that does not fit tries for ever, and so does this node: of either a line is worth writing
only when it says something new. Who was refused lately is remembered for `status`, too.
"""

import logging
import math
import re
from collections.abc import Callable

from scuttled.gossip.dialer import REFUSALS, RETRY_MAX_S
from scuttled.gossip.targets import Targets
from scuttled.node.notices import Notices
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code
from scuttled.replica.update import Instant
from scuttled.runtime.repeats import FROM_STRANGERS

logger = logging.getLogger(__name__)

SKEW_MS = 500  # between two clocks, from which it is worth a line
REPEAT_S = 600.0  # between two lines about a peer that is refused again and again
REFUSED_S = 2 * RETRY_MAX_S  # after which who was refused would have tried again
HOSTS_MAX = 512  # that are remembered; then all are forgotten

QUIET = (Code.LEAVING, Code.AFRESH)  # ends that are nobody's fault


class Narrator:
    """Logs what becomes of one node's links, whoever dialled them."""

    def __init__(self, targets: Targets, now: Callable[[], Instant]) -> None:
        self._targets = targets
        self._now = now
        self._logged: dict[tuple[str, str], float] = {}  # (host, words of a refusal): when
        self._refused: dict[str, tuple[float, str]] = {}  # host that dialled us: when, and why

    def link_is_up(self, link: Link, who: str) -> None:
        """`who` is the other end of the stream, of one that a peer made."""
        assert link.peer is not None
        way = f"dialled {link.dialled}" if link.dialled else f"from {who}"
        logger.info("link to %s is up (%s)", link.peer.name, way)

    def link_ended(self, link: Link, who: str, was_up: bool) -> None:
        end = link.ended
        if end is None or end.code == Code.SELF:
            return
        if was_up and link.peer is not None:
            age_s = self._now().mono_s - link.began.mono_s
            if end.code == Code.DUPLICATE:
                log = logger.debug
            elif end.code in QUIET or end.by_peer:
                log = logger.info
            else:
                log = logger.warning
            log("link to %s closed after %.0f s: %s", link.peer.name, age_s, end.words)
        elif end.code == Code.DUPLICATE:
            logger.debug("second link with %s closed: %s", who, end.words)
        elif link.dialled:
            # The dialler shows why it failed, until another cause comes: so that is what is known.
            peer = self._targets.peer_of(link)
            if peer is None or _without_numbers(peer.reason) != _without_numbers(end.words):
                logger.warning("peer %s: %s", link.dialled, end.words)
        elif end.code not in REFUSALS:
            _log_closed(who, end.words)
        else:
            self._note_refused(who, end.words)

    def _note_refused(self, who: str, words: str) -> None:
        """A node that dialled us does not fit; it comes again and again."""
        host = who.rpartition(":")[0]
        if len(self._refused) >= HOSTS_MAX:
            self._refused.clear()
        self._refused[host] = (self._now().mono_s, words)
        if self._is_news(host, words):
            _log_closed(who, words)

    def _is_news(self, host: str, words: str) -> bool:
        """True if this was not said of that host lately."""
        what = (host, _without_numbers(words))
        now_s = self._now().mono_s
        if now_s - self._logged.get(what, -math.inf) < REPEAT_S:
            return False
        if len(self._logged) >= HOSTS_MAX:
            self._logged.clear()
        self._logged[what] = now_s
        return True

    def refused_lately(self, now: Instant) -> list[str]:
        """Nodes that dialled this one and do not fit: where, and why."""
        return [
            f"{host} was refused: {words}"
            for host, (at_s, words) in self._refused.items()
            if now.mono_s - at_s < REFUSED_S
        ]

    def clocks_differ(self, link: Link) -> None:
        assert link.peer is not None
        skew_s = link.pulse.skew_ms / 1000
        logger.warning("the clock of %s differs by %.1f s from ours", link.peer.name, skew_s)

    def models_stopped(self, link: Link, known: int) -> None:
        """All models that stopped on that link, but for the first `known`."""
        assert link.peer is not None
        news = list(link.stopped.items())[known:]
        # A program has models, and no rows of members: nothing is wrong with that.
        stopped = [(name, words) for name, words in news if not name.startswith("_")]
        if not stopped:
            return
        (name, words), *others = stopped
        more = f" (and {len(others)} other models)" if others else ""
        logger.warning("model %s stopped with %s: %s%s", name, link.peer.name, words, more)

    def notices(self, notices: Notices) -> None:
        """What the node has noted since the last time."""
        for words in notices.warnings:
            logger.warning("%s", words)
        for words in notices.news:
            logger.info("%s", words)
        notices.clear()


def _log_closed(who: str, words: str) -> None:
    closed = "connection from %s closed: %s"
    logger.warning(closed, who, words, extra=FROM_STRANGERS)


def _without_numbers(words: str) -> str:
    return re.sub("[0-9.]+", "", words)
