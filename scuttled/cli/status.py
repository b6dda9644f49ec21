"""`scuttled status`: one screen that tells how this node does."""

import time
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.options import Settings, verb
from scuttled.cli.peers import HEADER, STYLES, rows
from scuttled.cli.text import dump_json, escape
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
        output.write("".join(f"{line}\n" for line in screen(status)))
        if status["links"]:
            output.write("\n")
            settings.show(HEADER, rows(status["links"], int(time.time() * 1000)), STYLES)
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


def screen(status: dict[str, Any]) -> list[str]:
    """The lines above the table of links."""
    verdict = "healthy" if status["healthy"] else "degraded"
    lines = [
        f"{_label(status)} ({status['node']})  up {format_duration(status['uptime_s'])}"
        f"  pid {status['pid']}  scuttled {status['version']}  {verdict},"
        f" {status['peers_up']} of {status['peers_configured']} peers up",
        f"cluster {status['cluster']}  listen {status['listen'] or '-'}"
        + (
            f" as {status['advertise']}"
            if status["advertise"] not in ("", status["listen"])
            else ""
        )
        + f"  control {status['control']}",
        f"models {len(status['models'])}  keys {status['keys']:,}"
        f"  state {format_bytes(status['bytes'])}  memory {format_bytes(status['rss_bytes'])}",
        _deleted(status),
        f"gossip in {status['rate_in']:.1f}/s  out {status['rate_out']:.1f}/s"
        f"  total in {status['updates_in']:,} ({format_bytes(status['bytes_in'])})"
        f"  out {status['updates_out']:,} ({format_bytes(status['bytes_out'])})",
        *_flow(status.get("flow", [])),
        _storage(status),
    ]
    if abs(status["skew_ms"] or 0) >= _SKEW_MS_WORTH_TELLING or status["future"]:
        lines.append(
            f"clock  {format_duration(abs(status['skew_ms'] or 0) / 1000)} apart from a peer,"
            f" {status['future']:,} updates from the future refused"
        )
    if doubted := status.get("doubted"):
        words = ", ".join(f"{count:,} {cause}" for cause, count in sorted(doubted.items()))
        lines.append(f"trust  updates not taken: {words}")
    lines += _resets(status) + _taken_back(status)
    for problem in _problems(status):
        lines.append(f"problem: {escape(problem['words'])}")
        if problem["hint"]:
            lines.append(f"   hint: {escape(problem['hint'])}")
    return lines


def _problems(status: dict[str, Any]) -> list[dict[str, str]]:
    """Words and hint of each; a daemon of before there were hints gives the words alone."""
    found: list[dict[str, str]] = status.get("diagnoses") or [
        {"words": words, "hint": ""} for words in status["problems"]
    ]
    return found


def _flow(flows: list[dict[str, Any]]) -> list[str]:
    """What is limited, and why; one line if nothing is."""
    limited = [flow for flow in flows if flow["allowed_per_s"] is not None]
    if not flows:  # a daemon of before this
        return []
    if not limited:
        wanted = sum(flow["wanted_per_s"] for flow in flows)
        return [f"flow   writers want {wanted:,.1f}/s, no limit"]
    return [_limited(flow) for flow in limited]


def _limited(flow: dict[str, Any]) -> str:
    way = f"{flow['held']} held back" if flow["enforced"] else "not enforced"
    return (
        f"flow   {escape(flow['type'])}: writers want {flow['wanted_per_s']:,.1f}/s,"
        f" allowed {flow['allowed_per_s']:,.1f}/s, {way}: {escape(flow['why'])}"
    )


def _deleted(status: dict[str, Any]) -> str:
    """What is deleted or expired and not yet forgotten, and whom it waits for."""
    deleted = status["deleted"]
    line = f"members {status['members']}  deleted {status['tombstones']:,}"
    if not deleted["count"]:
        return line
    waiting = f"{line}  to be forgotten {deleted['count']:,}"
    waiting += f", oldest {format_duration(deleted['oldest_ms'] / 1000)}"
    names = ", ".join(escape(name) for name in deleted["held_up_by"])
    return f"{waiting}, not yet seen by {names}" if names else waiting


def _resets(status: dict[str, Any]) -> list[str]:
    now_ms = int(time.time() * 1000)
    return [
        f"reset  {format_duration(max(now_ms - reset['at_ms'], 0) / 1000)} ago:"
        f" {escape(reset['words'])}"
        for reset in status["resets"]
    ]


def _taken_back(status: dict[str, Any]) -> list[str]:
    now_ms = int(time.time() * 1000)
    return [
        f"clock  {format_duration(max(now_ms - report['at_ms'], 0) / 1000)} ago:"
        f" {escape(report['words'])}"
        for report in status.get("taken_back", ())  # of an older daemon: none
    ]


def _storage(status: dict[str, Any]) -> str:
    if not status["data"]:
        return "storage  memory only: all is gone when the daemon stops"
    storage = status["storage"]
    return (
        f"storage {status['data']}  {format_bytes(storage['bytes'] or 0)}  sync {status['sync']}"
        f"  unsaved {storage['unsaved']:,}"
        + (f"  failing: {storage['failing']}" if storage.get("failing") else "")
    )
