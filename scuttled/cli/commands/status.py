"""`scuttled status`: one screen that tells how this node does."""

import time
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.commands.peers import show
from scuttled.cli.formatting import dump_json
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.errors import Refused
from scuttled.units import format_bytes, format_duration

_SKEW_MS_WORTH_TELLING = 500  # as the daemon warns from


@verb(
    "status",
    examples="""
        scuttled status
        scuttled status --check -q || echo degraded
        scuttled status -j
    """,
)
@click.option("--check", is_flag=True, help="Exit with 1 if something is wrong.")
def command(settings: Settings, check: bool) -> None:
    """Show node, models, links, rates and storage. -q shows nothing, for use with --check."""
    with settings.connect() as client:
        status = client.request("status")
    if settings.json:
        output.emit(status)
    elif settings.quiet:
        pass
    elif settings.form == "plain":
        for name, value in _facts(status):
            output.write(output.plain_line([name, value]))
    else:
        output.line(headline(status))
        for label, words in screen(status):
            output.fact(label, words)
        if status["links"]:
            output.write("\n")
            show(settings, status["links"])
    if check and not status["healthy"]:
        if settings.quiet:
            raise click.exceptions.Exit(Refused.code)
        problems = "; ".join(status["problems"]) or "the daemon does not say why"
        hints = [problem["hint"] for problem in _problems(status) if problem["hint"]]
        raise Refused(f"{_label(status)} is degraded: {problems}", hint=hints[0] if hints else "")


def _facts(status: dict[str, Any]) -> list[tuple[str, object]]:
    """For programs that have no JSON: one fact a line; what is nested stays JSON."""
    return [
        (name, dump_json(value) if isinstance(value, dict | list | bool) else value)
        for name, value in status.items()
    ]


def _label(status: dict[str, Any]) -> str:
    return str(status["name"] or status["node"])


Fact = tuple[str, str]  # a label, and what there is to say


def screen(status: dict[str, Any]) -> list[Fact]:
    """Facts above the table of links, below the first line."""
    rates = f"in {status['rate_in']:.1f} updates/s  out {status['rate_out']:.1f} updates/s"
    totals = (
        f"in {status['updates_in']:,} updates ({format_bytes(status['bytes_in'])})"
        f"  out {status['updates_out']:,} updates ({format_bytes(status['bytes_out'])})"
    )
    facts = [
        ("node", _node(status)),
        ("listen", _listen(status)),
        ("control", status["control"]),
        ("state", _state(status)),
        ("members", _deleted(status)),
        ("gossip", rates),
        ("total", totals),
        *(("flow", line) for line in _flow(status.get("flow", []))),
        ("storage", _storage(status)),
    ]
    if abs(status["skew_ms"] or 0) >= _SKEW_MS_WORTH_TELLING or status["future"]:
        apart = format_duration(abs(status["skew_ms"] or 0) / 1000)
        refused = f"{status['future']:,} updates from the future refused"
        facts.append(("clock", f"{apart} apart from a peer, {refused}"))
    if doubted := status.get("doubted"):
        words = ", ".join(f"{count:,} {cause}" for cause, count in sorted(doubted.items()))
        facts.append(("trust", f"updates not taken: {words}"))
    facts += [("reset", words) for words in _resets(status)]
    facts += [("clock", words) for words in _taken_back(status)]
    for problem in _problems(status):
        facts.append(("problem", problem["words"]))
        if problem["hint"]:
            facts.append(("  hint", problem["hint"]))
    return facts


def headline(status: dict[str, Any]) -> str:
    """The node, and how it does."""
    verdict = "healthy" if status["healthy"] else "degraded"
    peers = f"{status['peers_up']} of {status['peers_configured']} peers up"
    return f"{_label(status)} ({status['node']})  {verdict}, {peers}"


def _node(status: dict[str, Any]) -> str:
    age = format_duration(status["uptime_s"])
    version = f"scuttled {status['version']}"
    return f"up {age}  pid {status['pid']}  {version}  cluster {status['cluster']}"


def _listen(status: dict[str, Any]) -> str:
    listen = status["listen"] or "-"
    told = status["advertise"]
    return listen if told in ("", listen) else f"{listen} as {told}"


def _state(status: dict[str, Any]) -> str:
    held = f"models {len(status['models'])}  keys {status['keys']:,}"
    sizes = f"size {format_bytes(status['bytes'])}  memory {format_bytes(status['rss_bytes'])}"
    return f"{held}  {sizes}"


def _problems(status: dict[str, Any]) -> list[dict[str, str]]:
    """Words and hint of each; a daemon of before there were hints gives the words alone."""
    found: list[dict[str, str]] = status.get("diagnoses") or [
        {"words": words, "hint": ""} for words in status["problems"]
    ]
    return found


def _flow(flows: list[dict[str, Any]]) -> list[str]:
    """Limits of flow control, and why; one line if there is none."""
    limited = [flow for flow in flows if flow["allowed_per_s"] is not None]
    if not flows:  # a daemon of before this
        return []
    if not limited:
        wanted = sum(flow["wanted_per_s"] for flow in flows)
        return [f"writers want {wanted:,.1f} updates/s, no limit"]
    return [_limited(flow) for flow in limited]


def _limited(flow: dict[str, Any]) -> str:
    way = f"{flow['held']} held back" if flow["enforced"] else "not enforced"
    return (
        f"{flow['type']}: writers want {flow['wanted_per_s']:,.1f} updates/s,"
        f" allowed {flow['allowed_per_s']:,.1f}, {way}: {flow['why']}"
    )


def _deleted(status: dict[str, Any]) -> str:
    """Tombstones, and whom they wait for."""
    deleted = status["deleted"]
    line = f"{status['members']:,}  deleted {status['tombstones']:,}"
    if not deleted["count"]:
        return line
    waiting = f"{line}  to be forgotten {deleted['count']:,}"
    waiting += f", oldest {format_duration(deleted['oldest_ms'] / 1000)}"
    names = ", ".join(deleted["held_up_by"])
    return f"{waiting}, not yet seen by {names}" if names else waiting


def _resets(status: dict[str, Any]) -> list[str]:
    now_ms = int(time.time() * 1000)
    return [
        f"{format_duration(max(now_ms - reset['at_ms'], 0) / 1000)} ago: {reset['words']}"
        for reset in status["resets"]
    ]


def _taken_back(status: dict[str, Any]) -> list[str]:
    now_ms = int(time.time() * 1000)
    return [
        f"{format_duration(max(now_ms - report['at_ms'], 0) / 1000)} ago: {report['words']}"
        for report in status.get("taken_back", ())  # of an older daemon: none
    ]


def _storage(status: dict[str, Any]) -> str:
    if not status["data"]:
        return "memory only: all is gone when the daemon stops"
    storage = status["storage"]
    words = f"{status['data']}  {format_bytes(storage['bytes'] or 0)}  sync {status['sync']}"
    words += f"  unsaved {storage['unsaved']:,}"
    if storage.get("failing"):
        words += f"  failing: {storage['failing']}"
    return words
