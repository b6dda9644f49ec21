"""`scuttled simulate`, as far as it is not the experiments themselves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def simulate(*args: str, before: str = "pass") -> "subprocess.CompletedProcess[str]":
    script = f"import sys; {before}; from scuttled.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, "simulate", *args], capture_output=True, text=True
    )


@pytest.mark.parametrize("package", ["numpy", "matplotlib"])
def test_without_the_extra_the_paper_is_69_and_names_it(package: str) -> None:
    done = simulate("--paper", "fig2", before=f"sys.modules['{package}'] = None")
    assert (done.returncode, done.stdout) == (69, "")
    assert "extra 'plot'" in done.stderr
    assert f"\nhint: {sys.executable} -m pip install 'matplotlib>=" in done.stderr
    assert "'numpy>=" in done.stderr


def test_spreading_needs_no_extra_and_no_trio() -> None:
    block = "sys.modules.update(dict.fromkeys(['numpy', 'matplotlib', 'trio']))"
    done = simulate("--spread", "--nodes", "8", "-j", before=block)
    assert done.returncode == 0, done.stderr
    fields = json.loads(done.stdout)
    assert fields["nodes"] == 8
    assert fields["verdict"] in done.stderr
    assert "seed 1" in fields["verdict"]


def test_in_a_pipe_a_figure_is_a_line_and_stands_beside_the_theory() -> None:
    done = simulate("--spread", "--nodes", "8", "--seed", "3")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(line) for line in lines} == {3}
    assert dict((name, theory) for name, _, theory in lines)["updates to a node"] == "7"
    assert simulate("--spread", "--nodes", "8", "--seed", "3").stdout == done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["--paper", "fig2", "--spread"],
        ["--faults", "ufo"],
        ["--nodes", "65"],
        ["--plot", "a.svg"],
        ["--spread", "--faults", "all"],
        ["--paper", "flow", "--seeds", "3"],
        ["--for", "5"],
        ["--paper", "fig3"],
        ["--spread", "--plot", "a.svg"],
        ["--paper", "flow", "--nodes", "8"],
        ["--paper", "fig2", "--plot", "a.pdf"],
        ["--spread", "--nodes", "1"],
        ["--spread", "--nodes", "9999"],
        ["--spread", "--seed", "-1"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_2_before_anything_is_run(args: list[str]) -> None:
    done = simulate(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("scuttled: ")


def test_a_figure_that_can_not_be_written_is_73(tmp_path: Path) -> None:
    from scuttled.errors import CantCreate
    from scuttled.paper.experiments import Experiment
    from scuttled.paper.figures import draw
    from scuttled.paper.gossip import run_fig2
    from scuttled.paper.orders import ORDERS

    courses = {(order, 128): run_fig2(order, 1, nodes=4, keys=2) for order in ORDERS}
    with pytest.raises(CantCreate, match="No such file or directory"):
        draw(Experiment("fig2", 1, courses, []), tmp_path / "missing" / "a.svg")


def test_a_cluster_prints_what_happened_what_was_checked_and_a_verdict() -> None:
    args = ("--seed", "5", "--nodes", "3", "--for", "5s", "--faults", "cut,deletes")
    done = simulate(*args)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(line) for line in lines} == {4}
    assert [line[2] for line in lines if line[0] == "happened"] == ["cut", "deletes"]
    assert any(line[0] == "checked" and int(line[1]) > 0 for line in lines)
    assert done.stderr.startswith("3 nodes, ")
    assert "\nseed 5: all held, trace " in done.stderr
    assert simulate(*args).stderr == done.stderr, "the trace is the same, too"


def test_a_cluster_is_one_object_with_j() -> None:
    done = simulate("--seed", "5", "--nodes", "3", "--for", "2s", "--faults", "none", "-j")
    fields = json.loads(done.stdout)
    assert (fields["v"], fields["nodes"], fields["violation"]) == (1, 3, "")
    assert fields["counts"] == {}


SABOTAGE = """
import scuttled.simulation.trial as trial
trial.LIVENESS_S = 0.5
trial.Trial._differences = lambda self, core: ["all of it"]
"""


@pytest.mark.parametrize("many", [[], ["--seeds", "2", "--jobs", "1"]], ids=["one", "many"])
def test_a_violation_is_1_and_says_how_to_see_it_again(many: list[str]) -> None:
    args = ["--seed", "5", "--nodes", "3", "--for", "1s", "--faults", "cut", *many]
    done = simulate(*args, before=f"exec({SABOTAGE!r})")
    assert done.returncode == 1, done.stderr
    assert "seed 5, 3 nodes, faults cut: at " in done.stderr
    assert "hint: scuttled simulate --seed 5 --for 1s --nodes 3 --faults cut\n" in done.stderr


def test_many_seeds_are_told_in_sum_and_run_on_many_cores() -> None:
    args = ("--seeds", "3", "--nodes", "3", "--for", "2s", "--faults", "none", "-j")
    one, two = (simulate(*args, "--jobs", jobs) for jobs in "12")
    assert one.returncode == 0, one.stderr
    assert json.loads(one.stdout)["runs"] == 3
    assert two.stdout == one.stdout
