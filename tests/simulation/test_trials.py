"""Whole daemons in virtual time. A failure prints its seed: add it to seeds.txt.

Each rule that the runs check is also broken on purpose, by one line: then a run must say so.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scuttled.errors import UsageError
from scuttled.gossip.dialer import Dialler
from scuttled.gossip.targets import Target
from scuttled.node.future import _Part
from scuttled.node.membership import Membership
from scuttled.node.node import Node
from scuttled.node.timekeeping import Timekeeping
from scuttled.protocol.messages import Delta
from scuttled.protocol.send_order import Turns
from scuttled.protocol.session import Session
from scuttled.replica import slots
from scuttled.replica.arrival_log import ArrivalLog, Piece
from scuttled.replica.hlc import Hlc
from scuttled.replica.scuttlebutt import Received, Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import TICKS_PER_MS, Instant, Source
from scuttled.simulation import ALL, WORDS, Faults, Plan, Summary, Trial, Violation, run_many
from scuttled.storage.storage import Storage

SEEDS = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "seeds.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#") and line.split()[2] == "whole"
]
CALM = Faults.named(["deletes", "models"])
NAMES = Faults.named(["dns"])
AWAY = Faults.named(["part", "clog", "kill", "deletes"])
YEARS = Faults.named(["years", "cut"])


@pytest.mark.parametrize("block", range(0, 40, 10))
def test_whole_daemons_converge_whatever_happened(block: int) -> None:
    for seed in range(block, block + 10):
        Trial(seed).run()


@pytest.mark.parametrize("seed", range(3))
def test_whole_daemons_converge_when_everything_goes_wrong(seed: int) -> None:
    Trial(seed, faults=ALL).run()


@pytest.mark.parametrize("seed", range(2))
def test_whole_daemons_to_which_nothing_happens_converge(seed: int) -> None:
    outcome = Trial(seed, faults=Faults()).run()
    assert outcome.counts == {}
    assert outcome.updates > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_what_failed_once_does_not_fail_again(seed: int) -> None:
    Trial(seed, for_s=15.0).run()


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10_000, 20_000, 100))
def test_whole_daemons_converge_with_many_more_seeds(block: int) -> None:
    for seed in range(block, block + 100):
        Trial(seed).run()


# --- the simulation itself -----------------------------------------------------------------------

SCRIPT = """
from scuttled.simulation import ALL, Trial
print(Trial(3, nodes=4, for_s=8, faults=ALL).run().trace)
"""


def test_the_same_seed_gives_the_same_bytes_in_any_process() -> None:
    traces = set()
    for hash_seed in "17":
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
        script = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(script, env=environ, capture_output=True, text=True, check=True)
        traces.add(done.stdout.strip())
    assert len(traces) == 1
    assert traces != {Trial(4, nodes=4, for_s=8, faults=ALL).run().trace}


def test_every_fault_happens() -> None:
    counts = Summary()
    for outcome in run_many(Plan(nodes=5, for_s=30, faults=ALL), range(6), 1):
        counts.add(outcome)
    assert not counts.failed
    assert [name for name in WORDS if not counts.counts[name]] == []
    assert counts.resets, "a member that was forgotten was not reset"


def test_a_violation_names_its_seed_and_its_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scuttled.simulation.trial.LIVENESS_S", 1.0)
    trial = Trial(5, nodes=3, faults=Faults.named(["cut"]))
    monkeypatch.setattr(trial, "_differences", lambda core: ["all of it"])
    with pytest.raises(Violation, match=r"^seed 5, 3 nodes, faults cut: at .*not converged 1 s"):
        trial.run()
    assert trial.outcome.violation.startswith("seed 5")


def test_a_fault_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="no fault 'ufo'") as caught:
        Faults.named(["cut", "ufo"])
    assert "clog" in caught.value.hint


# --- rules, each broken on purpose ---------------------------------------------------------------

_next_delta, _receive_delta, _pick = Session.next_delta, Session.receive_delta, Turns.pick
_become = _Part.become_what_is_left
_accepted, _has_hlc = Node.accepted, Hlc.next


def _commits_too_early(self: Session, bytes_max: int, now: Instant) -> Any:
    delta = _next_delta(self, min(bytes_max, 200), now)
    return replace(delta, commit=self.model.clock.copy_times()) if type(delta) is Delta else delta


def _moves_the_clock_whatever_was_refused(self: Session, delta: Delta, now: Instant) -> Received:
    received = _receive_delta(self, delta, now)
    if delta.commit is not None:
        self.model.commit(delta.commit.items())
    return received


def _sends_at_once(self: Node, model: Scuttlebutt, *, urgent: bool = True) -> None:
    model.log.adrift = True
    _accepted(self, model, urgent=urgent)
    self._tell_links(model)


def _skips_one(
    self: Turns, runs: dict[Source, list[bytes]], piece: Piece, *rest: Any
) -> tuple[int, int]:
    kept = [None if record and record[-1] % 16 == 3 else record for record in piece.records]
    return _pick(self, runs, piece._replace(records=kept), *rest)


def _keeps_no_count(self: Hlc, wall_ms: int) -> int:
    return wall_ms * TICKS_PER_MS


def _outranks_by_arrival(new: bytes, source: Source, old: bytes, other: Source) -> bool:
    return new[:8] > old[:8] or (new[:8] == old[:8] and source != other)


def _claims_the_future(self: Any, sane: int) -> Any:
    times = self.model.clock.copy_times()
    husk = _become(self, sane)
    self.model.clock.merge(times.items())
    return husk


def _covers_all(self: Membership, model: Slots, links: object, wall_ms: int) -> Any:
    return lambda source, time: True


_begin_round = Dialler._begin_round


def _ends_at_itself(self: Dialler, target: Target, nursery: Any) -> None:
    """As it was: a node that once reached itself never dials again."""
    if all(peer.state != "self" for peer in target.peers.values()) and not target.parted:
        _begin_round(self, target, nursery)
    else:
        target.parted = True


def _ends_at_no_name(self: Dialler, target: Target, nursery: Any) -> None:
    target.parted = not target.peers
    _begin_round(self, target, nursery)


BREAKS: dict[str, tuple[object, str, object, Faults | None]] = {
    "I1 a clock set back": (Hlc, "next", _keeps_no_count, None),
    "I2 the last to arrive wins a tie": (slots, "outranks", _outranks_by_arrival, None),
    "I3 a commit too early": (Session, "next_delta", _commits_too_early, None),
    "I3 an update is skipped": (Turns, "pick", _skips_one, None),
    "I4 the clock moves before it is verified": (
        Session, "receive_delta", _moves_the_clock_whatever_was_refused, None,
    ),
    "I5 sent before it is saved": (Node, "accepted", _sends_at_once, None),
    "I5 acknowledged before it is saved": (
        ArrivalLog, "durable", property(lambda self: self.end), None,
    ),
    "I5 the old source after a power cut": (
        Storage, "may_have_forgotten", lambda self, boot: False, None,
    ),
    "I5 the old source in a copy": (Storage, "was_copied", property(lambda self: False), None),
    "a deletion is forgotten too early": (Membership, "stability", _covers_all, AWAY),
    "a loop that ends at oneself": (Dialler, "_begin_round", _ends_at_itself, NAMES),
    "a loop that ends at a name of nobody": (Dialler, "_begin_round", _ends_at_no_name, NAMES),
    "I9 a future is never taken back": (
        Timekeeping, "may_take_back", lambda self, links, now: False, YEARS,
    ),
    "I3 a clock claims what is still in the future": (
        _Part, "become_what_is_left", _claims_the_future, YEARS,
    ),
    "an echo": (Session, "_skip", lambda self, start, stop: None, CALM),
}  # fmt: skip


@pytest.mark.parametrize("rule", BREAKS)
def test_a_run_sees_when_a_rule_is_broken(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    room, name, sabotage, faults = BREAKS[rule]
    monkeypatch.setattr(room, name, sabotage)
    with pytest.raises(Violation):
        _run_many(200, faults)


def _run_many(seeds: int, faults: Faults | None) -> None:
    for seed in range(seeds):
        Trial(seed, faults=faults).run()
