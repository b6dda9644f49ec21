"""`scuttled simulate`: what can be checked by anybody, each from one seed.

Each is one call into its room, which is imported only then.
"""

import os
from typing import TYPE_CHECKING, Any

import click

from scuttled.cli import output
from scuttled.cli.options import seconds, verb
from scuttled.cli.settings import Settings
from scuttled.errors import UsageError

if TYPE_CHECKING:
    from scuttled.paper.answer import Findings

_SPREAD_NODES = 1000
_NODES_MAX = 64  # whole daemons in one process
_GOES_WITH = {
    "a cluster": {"seeds", "nodes", "for_s", "faults", "jobs"},
    "--paper": {"plot"},
    "--spread": {"nodes"},
}


@verb(
    "simulate",
    examples="""
        scuttled simulate --seed 7
        scuttled simulate --seed 1 --nodes 4 --for 20s --faults cut,kill,power
        scuttled simulate --seeds 4 --nodes 3
        scuttled simulate --spread --nodes 200
        scuttled simulate --paper fig2 --plot fig2.svg
    """,
)
@click.option("--seed", type=click.IntRange(0), default=1, metavar="N", help="Of all chance (1).")
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="So many runs, from --seed on.")
@click.option("--nodes", type=click.IntRange(2), metavar="N", help="So many [drawn].")
@click.option("--for", "for_s", callback=seconds, metavar="D", help="Virtual time of faults (8s).")
@click.option("--faults", metavar="A,B", help="all, none, or some of them [drawn].")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes [one a core].")
@click.option("--paper", type=click.Choice(["fig2", "flow"]), help="An experiment of the paper.")
@click.option("--spread", is_flag=True, help="One write of each of --nodes, until all have all.")
@click.option("--plot", metavar="FILE", help="Draw what --paper found, as .svg or .png.")
def command(settings: Settings, seed: int, paper: str | None, spread: bool, **options: Any) -> None:
    """Run a cluster in virtual time, and break all that can break.

    Looks whether all promises hold. The same seed gives the same bytes. What happened, what was
    checked, and a verdict; exit code 1 if something was violated. Without --nodes and --faults
    these are drawn from the seed; --seeds runs many, one after the other on every core. In a pipe:
    lines of KIND (happened, checked), TIMES, FAULT, WHAT. What each fault does:
    scuttled/docs/simulation.md.

    --paper fig2 repeats the second figure of van Renesse et al. (2008): 128 nodes of 64 keys under
    a load that doubles for 50 s, by the paper's four orders and by ours. --paper flow repeats the
    one on flow control. What can be read off the paper's own figures stands beside what came out.
    Both need the extra `plot`. In a pipe: lines of POINT UNIT ORDER NODES PAPER HERE LOW HIGH
    RATIO, the last but one two the range of nine nodes in ten.

    --spread has real replicas (1000) write once each and meet at random; rounds and bytes stand
    beside what theory says. In a pipe: lines of FIGURE HERE THEORY.
    """
    _check_together(paper, spread, {name for name, value in options.items() if value is not None})
    if paper:
        _paper(settings, paper, seed, options["plot"])
    elif spread:
        _spread(settings, options["nodes"] or _SPREAD_NODES, seed)
    else:
        _cluster(settings, seed, **options)


def _check_together(paper: str | None, spread: bool, given: set[str]) -> None:
    if paper and spread:
        raise UsageError("--paper or --spread, not both")
    mode = "--paper" if paper else "--spread" if spread else "a cluster"
    unknown = sorted(given - _GOES_WITH[mode])
    if unknown:
        raise UsageError(f"--{unknown[0].removesuffix('_s')} does not go with {mode}")


def _cluster(
    settings: Settings,
    seed: int,
    *,
    seeds: int | None,
    nodes: int | None,
    for_s: float | None,
    faults: str | None,
    jobs: int | None,
    plot: None,
) -> None:
    from scuttled.cli import simulate_report
    from scuttled.simulation import ALL, SAFETY_S, Faults, Plan

    if nodes is not None and nodes > _NODES_MAX:
        raise UsageError(
            f"{nodes} whole daemons, at most {_NODES_MAX}",
            hint=f"the core alone, without faults: scuttled simulate --spread --nodes {nodes}",
        )
    chosen = None
    if faults is not None:
        words = [word for word in faults.split(",") if word]
        chosen = ALL if words == ["all"] else Faults.named([] if words == ["none"] else words)
    plan = Plan(nodes or 0, SAFETY_S if for_s is None else for_s, chosen)
    if seeds is None:
        simulate_report.run_one(settings, plan, seed)
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        simulate_report.run_many(settings, plan, range(seed, seed + seeds), jobs or cores)


def _paper(settings: Settings, name: str, seed: int, plot: str | None) -> None:
    from scuttled.paper.extra import extra_plot

    with extra_plot():
        from scuttled.paper import experiments, figures, report
    path = figures.check_path(plot) if plot else None
    found = experiments.EXPERIMENTS[name](seed)
    if path is not None:
        figures.draw(found, path)
    _show(settings, report.told(found))
    if path is not None:
        settings.say(f"drawn: {path}")


def _spread(settings: Settings, nodes: int, seed: int) -> None:
    from scuttled.paper.spread import spread

    _show(settings, spread(nodes, seed).told())


def _show(settings: Settings, answer: "Findings") -> None:
    """Writes what came out, and in one line on stderr what it means."""
    if settings.json:
        for fields in answer.objects:
            output.emit(fields)
    elif settings.form == "plain":
        for columns in answer.lines:
            output.write(output.plain_line(columns))
    else:
        settings.show(answer.header, answer.rows)
    output.flush()
    settings.say(answer.verdict)
