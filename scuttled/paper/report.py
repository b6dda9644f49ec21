"""Report of the paper's experiments, in every form."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from scuttled.paper.answer import Findings
from scuttled.paper.experiments import Experiment
from scuttled.paper.reference_points import Row

HEADER = ["POINT", "ORDER", "NODES", "PAPER", "HERE", "RANGE", "RATIO"]
NEAR = 0.2  # from what was read off: as good as can be expected of reading by eye


def told(experiment: Experiment) -> Findings:
    """All of it."""
    words = verdict(experiment)
    last = {"paper": experiment.name, "seed": experiment.seed, "verdict": words}
    objects = [*_fields(experiment), last]
    return Findings(HEADER, _table(experiment), [*_lines(experiment)], objects, words)


def _table(experiment: Experiment) -> list[list[str]]:
    """A row for each point and order, for people."""
    return [
        [
            row.what,
            row.order,
            f"{row.nodes}",
            _number(row.paper, row.unit),
            _number(row.here, row.unit),
            f"{_number(row.low)}-{_number(row.high)}" if row.high > row.low else "",
            "" if row.ratio is None else f"{row.ratio:.2f}",
        ]
        for row in experiment.rows
    ]


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    digits = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return digits + (unit if unit == "/s" else f" {unit}" if unit == "s" else "")


def _lines(experiment: Experiment) -> Iterator[list[object]]:
    """The same for programs: point, unit, order, nodes, paper, here, low, high, ratio."""
    for row in experiment.rows:
        paper = None if row.paper is None else f"{row.paper:g}"
        ratio = None if row.ratio is None else f"{row.ratio:.3f}"
        figures = (f"{value:.3f}" for value in (row.here, row.low, row.high))
        yield [row.what, row.unit, row.order, row.nodes, paper, *figures, ratio]


def _fields(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """The same as objects, each with the experiment and the seed."""
    for row in experiment.rows:
        yield {"paper": experiment.name, "seed": experiment.seed, **_row_fields(row)}


def _row_fields(row: Row) -> dict[str, Any]:
    figures = {"here": row.here, "low": row.low, "high": row.high}
    return {
        "point": row.what,
        "unit": row.unit,
        "order": row.order,
        "nodes": row.nodes,
        "read_off": row.paper,
        **{name: round(value, 3) for name, value in figures.items()},
        "ratio": None if row.ratio is None else round(row.ratio, 3),
    }


def verdict(experiment: Experiment) -> str:
    """One line."""
    ratios = [row.ratio for row in experiment.rows if row.ratio is not None]
    near = sum(abs(ratio - 1) <= NEAR for ratio in ratios)
    points = f"{near} of {len(ratios)} points of the paper's figure"
    met = f"seed {experiment.seed}: {points} met within {NEAR:.0%}"
    if experiment.name == "fig2":
        ours = experiment.peak_s("ours")
        depth = experiment.peak_s("depth")
        less = f"{1 - ours / depth:.0%} below scuttle-depth's {depth:.1f} s"
        return f"{met}; peak staleness of our order {ours:.1f} s, {less}"
    rates = [fmean(course.rate[65:90]) * n for (_, n), course in experiment.courses.items()]
    through = f"{min(rates):.0f} to {max(rates):.0f} updates/s through in all"
    return f"{met}; flow control lets {through}"
