"""Clocks that are hours or years off: the future is taken back, and nodes do not differ.

By default some hundreds of runs; SCUTTLED_FUTURES says how many. A failure names its seed: add it
to FUTURE_SEEDS. Each rule is also broken on purpose: then a run must say so.
"""

import os
from typing import Any

import pytest

from scuttled.node import future
from scuttled.node.timekeeping import Timekeeping
from scuttled.protocol.link import Link
from scuttled.replica.hlc import Author
from scuttled.replica.update import Instant
from scuttled.simulation.nodes.futures import Futures, run_until_violated

RUNS = int(os.environ.get("SCUTTLED_FUTURES", "600"))
BLOCK = 200

# Seeds that failed once, with what did.
FUTURE_SEEDS = {
    363: "a CLOCK that was held back was told, and what was to follow it never came",
    5253: "one wrong clock had all others forgotten, and a deletion with them",
}


@pytest.mark.parametrize("start", range(0, RUNS, BLOCK))
def test_nodes_whose_clocks_were_years_off_converge_and_lose_nothing(start: int) -> None:
    assert run_until_violated(range(start, start + BLOCK)) == ""


@pytest.mark.parametrize("seed", FUTURE_SEEDS)
def test_what_failed_once_does_not_fail_again(seed: int) -> None:
    Futures(seed).run()


def test_runs_come_to_what_they_are_about() -> None:
    """Futures are taken back, own ones and others'; models are reset; nodes die."""
    runs = [Futures(seed).run() for seed in range(150)]
    reports = [report for run in runs for w in run.walkers for report in w.node.replaced.taken_back]
    assert sum(run.cures for run in runs) > 50
    assert sum(report.issued_count for report in reports) > 50
    assert sum(report.kept_count for report in reports) > 5
    assert sum(bool(report.unclaimed) for report in reports) > 5
    assert sum(run.resets for run in runs) > 5
    assert sum(len(run.dead) for run in runs) > 5


# --- each rule, broken on purpose ----------------------------------------------------------------

_Part = future._Part
_become, _sort_out = _Part.become_what_is_left, _Part._sort_out


def _claims_all(self: Any, sane: int) -> Any:
    """The clock stays as it was, though what others wrote in the future is not in its place."""
    self.unclaimed = False
    return _become(self, sane)


def _claims_the_future(self: Any, sane: int) -> Any:
    model = self.model
    times = model.clock.copy_times()
    husk = _become(self, sane)
    model.clock.merge(times.items())
    return husk


def _keeps_none_of_its_own(self: Any, report: Any) -> None:
    self.own.clear()


def _issues_what_others_wrote(self: Any, entry: Any) -> None:
    _sort_out(self, entry)
    if self.others and self.others[-1] is entry:
        self.own.append(self.others.pop())


def _lives_on(self: Author, life: int) -> None:
    """Under the same source, whose stamps then go back."""
    if life != getattr(self, "life", 0) + 1 or not hasattr(self, "source"):
        _live_as(self, life)


def _whatever_peers_say(self: Timekeeping, links: Any, now: Instant) -> bool:
    return self.ahead_ms > 0


_live_as = Author.live_as

BREAKS: dict[str, tuple[object, str, object]] = {
    "never taken back": (Timekeeping, "may_take_back", lambda self, links, now: False),
    "taken back whatever peers say": (Timekeeping, "may_take_back", _whatever_peers_say),
    "the clock claims what is gone": (_Part, "become_what_is_left", _claims_all),
    "the clock is not capped": (_Part, "become_what_is_left", _claims_the_future),
    "own writes are dropped": (_Part, "issue_own", _keeps_none_of_its_own),
    "others' are issued as of now": (_Part, "_sort_out", _issues_what_others_wrote),
    "the life stays the same": (Author, "live_as", _lives_on),
    "the links stay": (Link, "close", lambda self, code, words: None),
}  # fmt: skip


@pytest.mark.parametrize("rule", BREAKS)
def test_the_runs_see_when_a_rule_is_broken(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BREAKS[rule])
    assert run_until_violated(range(800))
