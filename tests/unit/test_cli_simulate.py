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
    assert done.stderr.endswith("\nhint: pip install 'scuttled[plot]'\n")


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
        [],
        ["--paper", "fig2", "--spread"],
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
    from scuttled.paper.drawing import draw
    from scuttled.paper.experiments import Experiment
    from scuttled.paper.gossip import run_fig2
    from scuttled.paper.orders import ORDERS

    courses = {(order, 128): run_fig2(order, 1, nodes=4, keys=2) for order in ORDERS}
    with pytest.raises(CantCreate, match="No such file or directory"):
        draw(Experiment("fig2", 1, courses, []), tmp_path / "missing" / "a.svg")
