"""Forgetting deletions, with strangers, partitions, forgotten members and restarts.

By default some thousands of runs; SCUTTLED_DELETES says how many (`.ci/run` asks for 20,000).
They are dealt out to as many processes as there are processors. A failure names its seed: add
it to DELETE_SEEDS.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from scuttled import node, rejoining
from scuttled.core import session
from scuttled.core.clock import Clock
from scuttled.core.hlc import Author
from scuttled.core.link import Link
from scuttled.core.scuttlebutt import Scuttlebutt
from scuttled.core.session import Session
from scuttled.core.slots import Slots
from scuttled.core.update import Source
from scuttled.members import Members
from scuttled.node import Node
from scuttled.simulation.history import Violation
from scuttled.simulation.meetings import Meetings, run_all

RUNS = int(os.environ.get("SCUTTLED_DELETES", "3000"))
BLOCK = 250

# Seeds that failed once, with what did.
DELETE_SEEDS = {
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

_stability, _next_delta, _rejoin = Members.stability, Session.next_delta, rejoining.rejoin


def _without_our_own_clock(self: Members, model: Scuttlebutt, *rest: Any) -> object:
    mine, model.saved_clock = model.saved_clock, _Everything()
    stored, model.log.stored = model.log.stored, True
    try:
        is_stable = _stability(self, model, *rest)
        return is_stable and _memorized(is_stable, model)
    finally:
        model.saved_clock, model.log.stored = mine, stored


class _Everything(Clock):
    def __getitem__(self, source: Source) -> int:
        return 2**62


def _memorized(is_stable: Callable[[Source, int], bool], model: Any) -> object:
    known = {(slot.source, slot.timestamp): is_stable(slot.source, 0) for slot in model.graves()}
    del known
    return lambda source, time: is_stable(source, time)


def _without_rows(self: Members, model: Scuttlebutt, links: Iterable[Link], ms: int) -> object:
    known, self.known = self.known, {}
    try:
        return _stability(self, model, links, ms)
    finally:
        self.known = known


def _without_links(self: Members, model: Scuttlebutt, links: Iterable[Link], ms: int) -> object:
    return _stability(self, model, (), ms)


def _without_half_open_ones(
    self: Members, model: Scuttlebutt, links: Iterable[Link], ms: int
) -> object:
    open_ones = [
        link for link in links if model.name in link.sessions and link.sessions[model.name].open
    ]
    return _stability(self, model, open_ones, ms)


def _by_age(self: Members, *rest: Any) -> object:
    return lambda source, time: True


def _by_what_was_sent(self: Members, model: Scuttlebutt, links: Iterable[Link], ms: int) -> object:
    """What we sent, not what the peer has confirmed."""
    links = list(links)
    sessions = [link.sessions[model.name] for link in links if model.name in link.sessions]
    for each in sessions:
        each.confirmed = {s: int.from_bytes(t, "big") for s, t in each.theirs.items()}
    return _stability(self, model, links, ms)


def _without_floor(self: Slots, is_stable: Any, before_ms: int, *, alone: bool = False) -> int:
    return _collect(self, is_stable, before_ms, alone=True)


_collect = Slots.collect


def _same_life(model: Any, whole: Any, author: Author, *rest: Any) -> None:
    life = author.life
    _become = Scuttlebutt.become

    def become(self: Scuttlebutt, other: Scuttlebutt) -> None:
        author.live_as(life)
        _become(self, other)

    Scuttlebutt.become = become  # type: ignore[method-assign]
    try:
        _rejoin(model, whole, author, *rest)
    finally:
        Scuttlebutt.become = _become  # type: ignore[method-assign]


def _keeps_links(self: Node, link: Link, *rest: Any) -> None:
    links, self.links = self.links, {}
    try:
        _reset(self, link, *rest)
    finally:
        self.links = links


_reset = Node.reset


BREAKS: dict[str, tuple[object, str, object]] = {
    "collected without our own clock": (Members, "stability", _without_our_own_clock),
    "collected without the rows of members": (Members, "stability", _without_rows),
    "collected without the word of linked peers": (Members, "stability", _without_links),
    "collected by what was sent": (Members, "stability", _by_what_was_sent),
    "collected while a session opens or a RESET is served": (
        Members, "stability", _without_half_open_ones,
    ),
    "collected by age": (Members, "stability", _by_age),
    "no floor": (Slots, "collect", _without_floor),
    "nobody resets": (session, "who_resets", lambda mine, peers: None),
    "the same life after a RESET": (node, "rejoin", _same_life),
    "links that outlive a RESET": (Node, "reset", _keeps_links),
}  # fmt: skip


@pytest.mark.parametrize("rule", BREAKS)
def test_the_runs_see_when_a_rule_is_broken(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BREAKS[rule])
    with pytest.raises(Violation):
        for seed in range(1500):
            Meetings(seed).run()
