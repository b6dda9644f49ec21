"""Forgetting deletions, with strangers, partitions, forgotten members and restarts.

By default some thousands of runs; SCUTTLED_DELETES says how many (`.ci/run` asks for 20,000).
They are dealt out to as many processes as there are processors. A failure names its seed: add
it to DELETE_SEEDS.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from scuttled.node.membership import Membership
from scuttled.protocol import session
from scuttled.protocol.link import Link
from scuttled.protocol.session import Session
from scuttled.replica import rejoin
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.simulation.nodes.meetings import Meetings, run_all, run_until_violated

RUNS = int(os.environ.get("SCUTTLED_DELETES", "3000"))
BLOCK = 250

# Seeds that failed once, with what did.
DELETE_SEEDS = {
    605: "a node that was forgotten told who it is again, and not its clocks",
    671: "a lone node that had collected something made a cluster of three reset",
}


def test_deletions_are_forgotten_and_nothing_comes_back() -> None:
    blocks = [range(start, min(start + BLOCK, RUNS)) for start in range(0, RUNS, BLOCK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        violations = [words for block in pool.map(run_all, blocks) for words in block]
    assert violations == []


@pytest.mark.parametrize("seed", DELETE_SEEDS)
def test_what_failed_once_does_not_fail_again(seed: int) -> None:
    Meetings(seed).run()


def test_runs_come_to_what_they_are_about() -> None:
    """Strangers meet, nodes are reset and forgotten, deletions are collected."""
    runs = [Meetings(seed).run() for seed in range(100)]
    assert sum(run.resets for run in runs) > 10
    assert sum(len(walker.model.floor) for run in runs for walker in run.walkers) > 50


# --- each rule, broken on purpose ----------------------------------------------------------------
# (What random runs do not come to is in unit/node/test_membership and unit/replica/test_rejoin.)

_stability, _next_delta, _rejoin = Membership.stability, Session.next_delta, rejoin.rejoin


def _without_rows(self: Membership, model: Scuttlebutt, links: Iterable[Link], ms: int) -> object:
    known, self.known = self.known, {}
    try:
        return _stability(self, model, links, ms)
    finally:
        self.known = known


def _without_links(self: Membership, model: Scuttlebutt, links: Iterable[Link], ms: int) -> object:
    return _stability(self, model, (), ms)


def _by_age(self: Membership, *rest: Any) -> object:
    return lambda source, time: True


def _without_floor(self: Slots, is_stable: Any, before_ms: int, *, alone: bool = False) -> int:
    return _collect(self, is_stable, before_ms, alone=True)


_collect = Slots.collect


BREAKS: dict[str, tuple[object, str, object]] = {
    "collected without the rows of members": (Membership, "stability", _without_rows),
    "collected without the word of linked peers": (Membership, "stability", _without_links),
    "collected by age": (Membership, "stability", _by_age),
    "no floor": (Slots, "collect", _without_floor),
    "nobody resets": (session, "who_resets", lambda mine, peers: None),
}  # fmt: skip


@pytest.mark.parametrize("rule", BREAKS)
def test_the_runs_see_when_a_rule_is_broken(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BREAKS[rule])
    assert run_until_violated(range(1500))
