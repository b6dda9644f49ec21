"""Reports of `scuttled simulate` on clusters in virtual time: one run, or thousands of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scuttled.cli import output
from scuttled.cli.progress import Progress
from scuttled.cli.settings import Settings
from scuttled.errors import Refused
from scuttled.units import format_duration

if TYPE_CHECKING:
    from scuttled.simulation import Outcome, Plan, Summary

_SHOWN_MAX = 10  # violations in words
_ENOUGH = 200  # runs, in which every fault that may be drawn happens
_LONG_S = 60.0  # of virtual time: somebody has to wait for it
_HAPPENED = "happened"
_CHECKED = "checked"


def run_one(settings: Settings, plan: "Plan", seed: int) -> None:
    """One run, in all detail. Raises Refused if something was violated."""
    from scuttled.simulation import run_one

    if plan.for_s >= _LONG_S:
        settings.say(f"simulating {format_duration(plan.for_s)}...")
    outcome = run_one(plan, seed)
    _show(settings, outcome, outcome.counts, outcome.checks)
    if outcome.violation:
        raise Refused(f"violated: {outcome.violation}", hint=_again(plan, seed))
    settings.say(
        f"{outcome.nodes} nodes, {format_duration(outcome.virtual_s)}, {outcome.updates:,} updates;"
        f" a core of {len(outcome.core)} agreed after {format_duration(outcome.converged_s)}"
    )
    settings.say(f"seed {seed}: all held, trace {outcome.trace}")


def run_many(settings: Settings, plan: "Plan", seeds: range, jobs: int) -> None:
    """Many runs, in sum. Raises Refused if something was violated."""
    from scuttled.simulation import Summary, run_many

    summary = Summary()
    with Progress("seeds", len(seeds), settings) as progress:
        for outcome in run_many(plan, seeds, jobs):
            summary.add(outcome)
            progress.advance(1)
            if outcome.violation and len(summary.failed) <= _SHOWN_MAX:
                settings.say(f"violated: {outcome.violation}")
    _show(settings, summary, summary.counts, summary.checks)
    if never := _never(plan, summary):
        raise Refused(f"in {summary.runs:,} runs this never happened: {' '.join(never)}")
    if summary.failed:
        raise Refused(
            f"{len(summary.failed):,} of {summary.runs:,} runs violated something",
            hint=_again(plan, summary.failed[0]),
        )
    settings.say(
        f"seeds {seeds.start} to {seeds.stop - 1}: all held. {summary.runs:,} runs, "
        f"{summary.updates:,} updates, {format_duration(summary.virtual_s)} of virtual time"
    )


def _never(plan: "Plan", summary: "Summary") -> list[str]:
    """Faults that should have happened in so many runs, and did not."""
    from scuttled.simulation import WORDS

    drawn = plan.faults is None and summary.runs >= _ENOUGH
    return [name for name in WORDS if drawn and not summary.counts[name]]


def _again(plan: "Plan", seed: int) -> str:
    """The command that shows it again."""
    words = f"scuttled simulate --seed {seed} --for {plan.for_s:g}s"
    if plan.nodes:
        words += f" --nodes {plan.nodes}"
    if plan.faults is not None:
        words += f" --faults {','.join(plan.faults.names) or 'none'}"
    return words


def _show(
    settings: Settings,
    found: "Outcome | Summary",
    counts: Mapping[str, int],
    checks: Mapping[str, int],
) -> None:
    """Events and checks of a run, with how often."""
    from scuttled.simulation import WORDS

    if settings.json:
        output.emit({name: getattr(found, name) for name in found.__slots__})
        return
    rows = [[_HAPPENED, str(counts[name]), name, WORDS[name]] for name in WORDS if name in counts]
    rows += [[_CHECKED, str(times), "", words] for words, times in sorted(checks.items())]
    if settings.form == "plain":
        for row in rows:
            output.write(output.plain_line(row))
    else:
        settings.show(["KIND", "TIMES", "FAULT", "WHAT"], rows)
    output.flush()
