"""Whole clusters in virtual time: a phase of faults, then the network heals and all converge.

A failure prints its seed. Add it to seeds.txt, with what failed and the commit that mended it:
these are replayed for ever.
"""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from scuttled.node.node import Node
from scuttled.protocol import in_flight, link, session
from scuttled.protocol.messages import Delta
from scuttled.protocol.session import Session
from scuttled.replica import arrival_log, checkpoint, slots, tombstones
from scuttled.replica.arrival_log import ArrivalLog
from scuttled.replica.hlc import Hlc
from scuttled.replica.scuttlebutt import Received, Scuttlebutt
from scuttled.replica.update import TICKS_PER_MS, Instant, timestamp_of
from scuttled.simulation.nodes import FAULTS, Cluster, Violation, network

SEEDS = [
    line.split(maxsplit=3)
    for line in (Path(__file__).parent / "seeds.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#") and line.split()[2] != "whole"
]

# So small that every limit is met all the time.
CRAMPED = [
    (arrival_log, "SEGMENT_ENTRIES", 8),
    (arrival_log, "TOPS_SOURCES_MAX", 2),
    (session, "SKIPS_MAX", 2),
    (session, "SCAN_ENTRIES_MAX", 5),
    (session, "COMMIT_SOURCES_MAX", 1),
    (link, "DRAW_BYTES", 150),
    (in_flight, "FLIGHT_MAX", 2),
    (in_flight, "WINDOW_BYTES", 400),
    (checkpoint, "SAVE_ENTRIES_MAX", 3),
    (tombstones, "GRAVES_PER_CALL_MAX", 2),
    (slots, "EXPIRED_PER_CALL_MAX", 2),
    (network, "PIPE_BYTES", 300),
]


@pytest.fixture
def cramped(monkeypatch: pytest.MonkeyPatch) -> None:
    for room, name, limit in CRAMPED:
        monkeypatch.setattr(room, name, limit)


@pytest.mark.parametrize("seed", range(140))
def test_a_cluster_converges_whatever_happened(seed: int) -> None:
    Cluster(seed).run()


@pytest.mark.parametrize("seed", range(80))
@pytest.mark.usefixtures("cramped")
def test_a_cluster_converges_where_every_limit_is_tiny(seed: int) -> None:
    Cluster(seed).run()


@pytest.mark.parametrize(("seed", "nodes"), [(seed, 2 + 3 * (seed % 2)) for seed in range(16)])
def test_a_cluster_of_two_or_five_converges(seed: int, nodes: int) -> None:
    Cluster(seed, nodes=nodes).run()


@pytest.mark.parametrize(("seed", "memory"), [(seed, 1 + seed % 3) for seed in range(18)])
def test_a_cluster_converges_in_which_some_keep_nothing_on_disk(seed: int, memory: int) -> None:
    Cluster(seed, memory=memory).run()


@pytest.mark.parametrize("seed", range(8))
def test_a_cluster_converges_when_everything_goes_wrong(seed: int) -> None:
    Cluster(seed, faults=FAULTS).run()


@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_to_which_nothing_happens_converges(seed: int) -> None:
    Cluster(seed, faults=()).run()


@pytest.mark.slow
@pytest.mark.parametrize("block", range(1000, 4000, 100))
def test_a_cluster_converges_with_many_more_seeds(block: int) -> None:
    for seed in range(block, block + 100):
        Cluster(seed, nodes=(2, 3, 3, 5)[seed % 4], memory=seed % 3 // 2).run()


@pytest.mark.slow
@pytest.mark.usefixtures("cramped")
@pytest.mark.parametrize("block", range(1000, 3000, 100))
def test_a_cramped_cluster_converges_with_many_more_seeds(block: int) -> None:
    for seed in range(block, block + 100):
        Cluster(seed, nodes=(2, 3, 3, 5)[seed % 4]).run()


@pytest.mark.parametrize(("seed", "nodes", "room", "why"), SEEDS)
def test_what_failed_once_does_not_fail_again(
    seed: str, nodes: str, room: str, why: str, request: pytest.FixtureRequest
) -> None:
    if room == "cramped":
        request.getfixturevalue("cramped")
    Cluster(int(seed), nodes=int(nodes)).run()


# --- the simulation itself -----------------------------------------------------------------------


def test_the_same_seed_gives_the_same_trace_in_any_process() -> None:
    script = "from scuttled.simulation.nodes import Cluster; print(Cluster(11).run().trace)"
    again = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout.strip() == Cluster(11).run().trace
    assert Cluster(12).run().trace != Cluster(11).run().trace


def test_a_violation_names_its_seed() -> None:
    cluster = Cluster(5)
    cluster._heal = lambda: cluster.machines[0].kill()  # type: ignore[method-assign]
    with pytest.raises(Violation, match=r"^seed 5 at "):
        cluster.run()


def _claims_everything(self: Session, bytes_max: int, now: Instant) -> Delta | None:
    delta = _next_delta(self, bytes_max, now)
    return delta and replace(delta, commit=self.model.clock.copy_times())


def _keeps_no_count(self: Hlc, wall_ms: int) -> int:
    return wall_ms * TICKS_PER_MS + next(_counter) % TICKS_PER_MS


def _claims_what_is_below_the_future(self: Session, delta: Delta, now: Instant) -> Received:
    """Not enough: an update of another source may be missing that the refused one outranks."""
    received = _receive_delta(self, delta, now)
    if self.future and delta.commit is not None and delta.round == self.round:
        first = {source: timestamp_of(stamp) for source, stamp in self.future.items()}
        times = delta.commit.items()
        self.model.commit([(s, min(time, first.get(s, time + 1) - 1)) for s, time in times])
    return received


def _sends_at_once(self: Node, model: Scuttlebutt, *, urgent: bool = True) -> None:
    model.log.adrift = True
    _accepted(self, model, urgent=urgent)
    self._tell_links(model)


_next_delta, _receive_delta, _counter = Session.next_delta, Session.receive_delta, count()
_accepted = Node.accepted

# Rules of the design, each broken on purpose.
BREAKS: dict[str, tuple[object, str, object]] = {
    "I1 a clock set back": (Hlc, "next", _keeps_no_count),
    "I2 no rank among equal times": (slots, "outranks", lambda new, _, old, __: new[:8] > old[:8]),
    "I3 a commit with every DELTA": (Session, "next_delta", _claims_everything),
    "I5 send before save": (Node, "accepted", _sends_at_once),
    "I5 say so before save": (ArrivalLog, "durable", property(lambda self: self.end)),
    "I9 commits below the future": (Session, "receive_delta", _claims_what_is_below_the_future),
}


@pytest.mark.parametrize("rule", BREAKS)
def test_the_simulation_sees_when_a_rule_is_broken(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*BREAKS[rule])
    with pytest.raises(Violation):
        _run_many(200)


def _run_many(seeds: int) -> None:
    for seed in range(seeds):
        Cluster(seed).run()
