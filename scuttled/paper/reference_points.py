"""Points read off the paper's own two figures, and what a run of ours has in their place.

The figures were read off published images of them, by eye; some are known to five per cent, some
hardly to ten. The paper does not say whose staleness its curves show. They have the steps and the
bumps of a single node's, so a point is compared with what a node sees on average, and stands
beside the range in which nine of ten of our nodes lie. A peak is that of each node, whenever it
was there: a node's peak is above the peak of the nodes' mean.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles

from scuttled.paper.gossip import FLOW_S, HALVED_FROM_S
from scuttled.paper.measurements import Measurements, at, means_between
from scuttled.paper.schedule import FIG2_S, LIMITED_FROM_S

Measure = Callable[[Measurements], Sequence[float]]
Courses = Mapping[tuple[str, int], Measurements]  # by order and number of nodes


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to compare; `paper` has what was read off, by order and number of nodes."""

    what: str
    unit: str
    measure: Measure  # on each node, or of all of them one figure
    paper: Mapping[tuple[str, int], float]


@dataclass(frozen=True, slots=True)
class Row:
    """A point as it came out for one order; `paper` is None where the figure has no such curve."""

    what: str
    unit: str
    order: str
    nodes: int
    paper: float | None
    here: float
    low: float  # of the nodes, the fifth and...
    high: float  # ...the ninety-fifth in a hundred

    @property
    def ratio(self) -> float | None:
        return self.here / self.paper if self.paper else None


def rows(points: Sequence[Point], courses: Courses) -> Iterator[Row]:
    """Every point for every order that was run, also where there is nothing to compare with."""
    for point in points:
        for (order, nodes), course in courses.items():
            values = list(point.measure(course))
            cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else values
            paper = point.paper.get((order, nodes))
            yield Row(
                point.what, point.unit, order, nodes, paper, fmean(values), cuts[0], cuts[-1]
            )  # fmt: skip


def _of_128(**values: float) -> dict[tuple[str, int], float]:
    return {(order, 128): value for order, value in values.items()}


def _stale_at(second: int) -> Measure:
    return lambda course: at(course.stale, second)


def _mean_rate(start_s: int, stop_s: int) -> Measure:
    return lambda course: [fmean(course.rate[start_s:stop_s])]


def _reached(course: Measurements) -> list[float]:
    """The second in which the rate comes within a tenth of what it then has on average."""
    level = 0.9 * fmean(course.rate[65:HALVED_FROM_S])
    return [next(second for second, rate in enumerate(course.rate) if rate >= level)]


def _least_rate(course: Measurements) -> list[float]:
    return [min(course.rate[HALVED_FROM_S:140])]


def _each(orders: str, of_64: float, of_128: float) -> dict[tuple[str, int], float]:
    sizes = {64: of_64, 128: of_128}
    return {(order, nodes): value for order in orders.split() for nodes, value in sizes.items()}


_THREE = "newest oldest depth"

FIG2 = [
    Point(
        "stale, 15-25 s", "keys", lambda course: means_between(course.stale, 15, 25),
        _of_128(newest=400, oldest=400, breadth=400, depth=400),
    ),
    Point(
        "stale at 75 s", "keys", _stale_at(75),
        _of_128(newest=2100, oldest=3250, breadth=3050, depth=2200),
    ),
    Point(
        "stale at 98 s", "keys", _stale_at(98),
        _of_128(newest=400, oldest=2000, breadth=1680, depth=550),
    ),
    Point(
        "stale at 120 s", "keys", _stale_at(120),
        _of_128(newest=400, oldest=1050, breadth=780, depth=400),
    ),
    Point(
        "nothing stale from", "s", lambda course: course.fresh_at_s(),
        _of_128(newest=124, oldest=128, breadth=127, depth=125),
    ),
    Point(
        "staleness at 98 s", "s", lambda course: at(course.age_s, 98),
        _of_128(oldest=44, breadth=60),
    ),
    Point(
        "peak staleness", "s", lambda course: course.peaks_s(LIMITED_FROM_S + 1, FIG2_S),
        _of_128(newest=73, breadth=62, depth=24),
    ),
]  # fmt: skip

FLOW = [
    Point("rate, 65-90 s", "/s", _mean_rate(65, 90), _each(_THREE, 2.0, 1.0)),
    Point("that rate is reached at", "s", _reached, _each(_THREE, 58, 39)),
    Point(
        "least rate after 90 s", "/s", _least_rate,
        {**_each("newest depth", 0.65, 0.35), ("oldest", 64): 0.65, ("oldest", 128): 0.25},
    ),
    Point("rate, 125-180 s", "/s", _mean_rate(125, FLOW_S), _each(_THREE, 1.0, 0.5)),
    Point(
        "staleness, 65-90 s", "s",
        lambda course: means_between(course.age_s, 65, HALVED_FROM_S), _each(_THREE, 5, 5),
    ),
    Point(
        "peak staleness after 90 s", "s", lambda course: course.peaks_s(HALVED_FROM_S, FLOW_S),
        {("newest", 128): 21, ("newest", 64): 14, ("oldest", 128): 12.5, ("depth", 128): 10},
    ),
]  # fmt: skip
