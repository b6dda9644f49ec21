"""The figures, drawn: small SVG (or PNG) files, the same bytes for the same run."""

from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scuttled.errors import CantCreate, UsageError
from scuttled.paper.experiments import FLOW_NODES, FLOW_ORDERS, Experiment
from scuttled.paper.gossip import FLOW_S, HALVED_FROM_S
from scuttled.paper.measurements import Measurements
from scuttled.paper.orders import ORDERS
from scuttled.paper.schedule import FIG2_S, LIMITED_FROM_S, NODES, OVERLOAD_S

FORMATS = {".svg", ".png"}
NAMES = {
    "newest": "precise-newest",
    "oldest": "precise-oldest",
    "breadth": "scuttle-breadth",
    "depth": "scuttle-depth",
    "ours": "ours: half stalest, half newest",
}
# Colours that the colour-blind can tell apart (Okabe and Ito), and dashes for who prints in grey.
STYLES: dict[str, tuple[str, str]] = {
    "newest": ("#e69f00", "--"),
    "oldest": ("#cc79a7", "-."),
    "breadth": ("#56b4e9", ":"),
    "depth": ("#0072b2", "-"),
    "ours": ("#d55e00", "-"),
}
SETTINGS: Any = {  # matplotlib has a type for these that lists them all
    "svg.hashsalt": "scuttled",
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched
    "path.simplify": True,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
}


def check_path(path: str) -> Path:
    """Before any work: whether that is a file we can draw. Raises UsageError."""
    found = Path(path)
    if found.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a figure is written as .svg or .png")
    return found


def draw(experiment: Experiment, path: Path) -> None:
    """Write it there. Raises CantCreate."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(8, 6), layout="constrained")
        if experiment.name == "fig2":
            _draw_fig2(experiment, figure)
        else:
            _draw_flow(experiment, figure)
        kind = path.suffix.lower()
        try:
            figure.savefig(path, dpi=150, metadata={"Date": None} if kind == ".svg" else None)
        except OSError as error:
            raise CantCreate(f"can't write {path}: {error.strerror or error}") from error


def _draw_fig2(experiment: Experiment, figure: Figure) -> None:
    ages, counts = figure.subplots(2, 1, sharex=True)
    for order in ORDERS:
        course = experiment.courses[order, NODES]
        _line(ages, order, [fmean(row) for row in course.age_s], NAMES[order])
        _line(counts, order, [fmean(row) for row in course.stale], NAMES[order])
    for axes in (ages, counts):
        axes.axvspan(*OVERLOAD_S, color="0.9", lw=0)
        axes.axvline(LIMITED_FROM_S, color="0.4", lw=0.8, ls=(0, (1, 2)))
    ages.set_ylabel("maximum staleness (s)")
    counts.set_ylabel("stale keys on a node")
    counts.set_ylim(0, 3600)  # at first everything is
    counts.set_xlabel("time (s)")
    ages.set_ylim(bottom=0)
    ages.set_xlim(0, FIG2_S)
    ages.legend(fontsize=8, loc="upper left", framealpha=1, edgecolor="none")
    ages.text(60, ages.get_ylim()[1] * 0.97, "load doubled", ha="center", va="top", color="0.4")
    _limited(counts)
    figure.suptitle("128 nodes of 64 keys, 100 updates a message: mean over nodes", fontsize=10)


def _draw_flow(experiment: Experiment, figure: Figure) -> None:
    grid = figure.subplots(2, len(FLOW_NODES), sharex=True, sharey="row")
    for column, nodes in enumerate(FLOW_NODES):
        rates = grid[0][column]
        ages = grid[1][column]
        for order in FLOW_ORDERS:
            course: Measurements = experiment.courses[order, nodes]
            _line(rates, order, course.rate, NAMES[order])
            _line(ages, order, [fmean(row) for row in course.age_s], NAMES[order])
        rates.set_title(f"{nodes} nodes", fontsize=9)
        ages.set_xlabel("time (s)")
        for axes in (rates, ages):
            axes.axvspan(HALVED_FROM_S, FLOW_S, color="0.9", lw=0)
            axes.set_xlim(0, FLOW_S)
    for row in grid:
        row[0].set_ylim(bottom=0)
    grid[0][0].set_ylabel("allowed rate (updates/s per node)")
    grid[1][0].set_ylabel("maximum staleness (s)")
    grid[0][1].legend(frameon=False, fontsize=8, loc="upper right")
    words = "Flow control, messages of 100 updates, from 90 s on of 50: mean over nodes"
    figure.suptitle(words, fontsize=10)


def _limited(axes: Axes) -> None:
    axes.text(
        LIMITED_FROM_S + 0.8, 3400, "messages limited", color="0.4", va="top", fontsize=8,
        rotation=90,
    )  # fmt: skip


def _line(axes: Axes, order: str, values: list[float], name: str) -> None:
    color, dashes = STYLES[order]
    width = 2.2 if order == "ours" else 1.3
    seconds = range(1, len(values) + 1)
    rounded = [round(value, 3) for value in values]
    axes.plot(seconds, rounded, color=color, ls=dashes, lw=width, label=name)
