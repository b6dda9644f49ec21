"""Upkeep of a running daemon: what is due again and again, whoever is linked or calls.

Rows of members, leases and expiry, comparing models, rates and the watchdog, problems in the log.
"""

import logging
import os
from collections.abc import Awaitable, Callable

import trio

from scuttled.daemon.start_up import Parts
from scuttled.node.problems import ProblemLog
from scuttled.replica.update import NodeId
from scuttled.runtime import systemd
from scuttled.runtime.environment import Environment
from scuttled.runtime.logs import tell_repeats
from scuttled.runtime.wakeup import Wakeup

logger = logging.getLogger(__name__)

EXPIRE_S = 0.2  # between looks at what expires, while something is due soon
TURN_S = 1.0  # between looks at rates and the watchdog
LOOK_S = 5.0  # between looks for problems to be logged...
DELETIONS_S = 60.0  # ...and for those of deletions, which cost more to find
STANDS_S = 10.0  # ...which is done when they have stood so long: links take a moment to come
LOGGED_ELSEWHERE = ("disk", "peer", "skew", "model", "future")  # when they come, in detail


class Upkeep:
    """The tasks of one daemon that never return."""

    def __init__(self, parts: Parts, environment: Environment) -> None:
        self.parts = parts
        self.node = parts.node
        self.environment = environment

    def tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """To be started in this order."""
        return [
            self._keep_expiring,
            self._keep_tending,
            self._keep_verifying,
            self._keep_counting,
            self._keep_logging_problems,
        ]

    async def _keep_expiring(self) -> None:
        while True:
            now = self.environment.now()
            self.node.look_at_clock(now, self.environment.steady_s())
            self.node.expire(now.wall_ms)
            due = self.node.next_expiry_ms()
            if due is None:
                await trio.sleep(EXPIRE_S)
            else:
                await trio.sleep(min(EXPIRE_S, max(0.001, (due - now.wall_ms) / 1000)))

    async def _keep_tending(self) -> None:
        """Our rows in `_members` go out in time, and deletions are forgotten."""
        node = self.node
        while True:
            now = self.environment.now()
            # Another live node has our id. With storage it is the flusher that takes another one.
            if node.twin_words and self.parts.flusher is None:
                node.live_elsewhere(self._another_id(), now.wall_ms)
            node.tend(now)
            self.parts.gossip.narrator.notices(node.notices)
            with trio.move_on_after(node.members.interval_s(now.wall_ms)):
                await self.parts.tending.heard()

    def _another_id(self) -> NodeId:
        """The id of a new key, if this node signs; else any will do."""
        if (renew := self.node.author.another_id) is not None:
            return renew()
        return NodeId(self.environment.rng.randbytes(8))

    async def _keep_verifying(self) -> None:
        """Compare models, for us and for peers, a slice at a time."""
        asked = Wakeup()
        self.node.verifier.subscribe(asked.ring)
        while True:
            await asked.heard()
            while self.node.verifier.step():
                await trio.lowlevel.checkpoint()

    async def _keep_counting(self) -> None:
        """Rates, the status line, and the watchdog, which is fed only while the loop turns.

        This very task is in the loop: while it wakes, readers and writers do, too.
        """
        environ = self.environment.environ
        interval_s = systemd.watchdog_interval_s(environ, os.getpid())
        said = ""
        while True:
            self.parts.status.sample(self.environment.now())
            self.parts.backpressure.measure.turn(self.environment.now())
            tell_repeats()
            line = self.parts.status.status_line()
            if line != said:
                systemd.notify(f"STATUS={line}", environ)
                said = line
            if interval_s is not None:
                systemd.notify("WATCHDOG=1", environ)
            await trio.sleep(min(interval_s or TURN_S, TURN_S))

    async def _keep_logging_problems(self) -> None:
        """Problems that `status` would tell are in the log, too: once each time they come."""
        problem_log = ProblemLog(LOGGED_ELSEWHERE)
        while True:
            await trio.sleep(LOOK_S)
            now = self.environment.now()
            problems = self.parts.status.problems(now, deletions_age_s=DELETIONS_S)
            for problem in problem_log.news(problems, now.mono_s, after_s=STANDS_S):
                hint = f" (hint: {problem.hint})" if problem.hint else ""
                logger.warning("%s%s", problem.words, hint)
