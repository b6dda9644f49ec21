"""`scuttled simulate`: experiments of which the outcome can be checked, each from one seed.

Each is one call into its room, which is imported only then.
"""

from typing import TYPE_CHECKING

import click

from scuttled.cli import output
from scuttled.cli.options import Settings, verb
from scuttled.errors import UsageError

if TYPE_CHECKING:
    from scuttled.paper.answer import Answer

_SPREAD_NODES = 1000


@verb(
    "simulate",
    examples="""
        scuttled simulate --spread --nodes 200
        scuttled simulate --spread --nodes 64 --seed 7 -j
        scuttled simulate --paper fig2 --plot fig2.svg
    """,
)
@click.option("--paper", type=click.Choice(["fig2", "flow"]), help="An experiment of the paper.")
@click.option("--spread", is_flag=True, help="One write of each node, until all have all.")
@click.option("--nodes", type=click.IntRange(2), metavar="N", help="So many, with --spread (1000).")
@click.option("--seed", type=click.IntRange(0), default=1, metavar="N", help="Of all chance (1).")
@click.option("--plot", metavar="FILE", help="Draw what --paper found, as .svg or .png.")
def command(
    settings: Settings,
    paper: str | None,
    spread: bool,
    nodes: int | None,
    seed: int,
    plot: str | None,
) -> None:
    """Run an experiment in virtual time; the same seed gives the same answer.

    --paper fig2 repeats the second figure of van Renesse et al. (2008): 128 nodes of 64 keys under
    a load that doubles for 50 s, by the paper's four orders and by ours. --paper flow repeats the
    one on flow control. What can be read off the paper's own figures stands beside what came out.
    Both need the extra `plot`. In a pipe: lines of POINT UNIT ORDER NODES PAPER HERE LOW HIGH
    RATIO, the last but one two the range of nine nodes in ten.

    --spread has real replicas write once each and meet at random; rounds and bytes stand beside
    what theory says. In a pipe: lines of FIGURE HERE THEORY.
    """
    if (paper is None) == (not spread):
        raise UsageError("what to simulate? --paper fig2, --paper flow or --spread")
    if (plot and not paper) or (nodes and not spread):
        raise UsageError("--plot goes with --paper, --nodes with --spread")
    if paper:
        _paper(settings, paper, seed, plot)
    else:
        _spread(settings, nodes or _SPREAD_NODES, seed)


def _paper(settings: Settings, name: str, seed: int, plot: str | None) -> None:
    from scuttled.paper import extra_plot

    with extra_plot():
        from scuttled.paper import drawing, experiments, telling
    path = drawing.check_path(plot) if plot else None
    found = experiments.EXPERIMENTS[name](seed)
    if path is not None:
        drawing.draw(found, path)
    _show(settings, telling.told(found))
    if path is not None:
        settings.say(f"scuttled: drawn: {path}")


def _spread(settings: Settings, nodes: int, seed: int) -> None:
    from scuttled.paper.spread import spread

    _show(settings, spread(nodes, seed).told())


def _show(settings: Settings, answer: "Answer") -> None:
    """What came out, and in one line on stderr what it means."""
    if settings.json:
        for fields in answer.objects:
            output.emit(fields)
    elif settings.form == "plain":
        for columns in answer.lines:
            output.write(output.plain_line(columns))
    else:
        settings.show(answer.header, answer.rows)
    output.flush()
    settings.say(f"scuttled: {answer.verdict}")
