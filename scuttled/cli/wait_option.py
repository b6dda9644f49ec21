"""`--wait`: a write that returns when other nodes have it on disk, too."""

from collections.abc import Callable
from typing import Any

import click

from scuttled.cli.settings import Settings
from scuttled.client.client import TIMEOUT_S
from scuttled.errors import UsageError

_GRACE_S = 2.0  # for the daemon to say that time is over, and how far it came

Level = int | str | None


def _level(ctx: click.Context, param: click.Parameter, value: str | None) -> Level:
    if value is None or value in ("majority", "all"):
        return value
    if value.isascii() and value.isdigit() and int(value):
        return int(value)
    raise UsageError(f"--wait {value!r}: it takes a number of other nodes, majority or all")


def wait_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --wait to a command that writes."""
    return click.option(
        "--wait",
        metavar="N|majority|all",
        callback=_level,
        help="Return when so many other members have it on disk; 75 after --timeout (5s).",
    )(command)


def wait_fields(settings: Settings, level: Level) -> dict[str, Any]:
    """For the request; with the time that the client allows for it."""
    if level is None:
        return {}
    timeout_s = settings.timeout_s
    wait_s = TIMEOUT_S if timeout_s is None else timeout_s
    return {"wait": level, "wait_ms": int(wait_s * 1000), "wait_s": wait_s + _GRACE_S}


def held_words(done: dict[str, Any]) -> str:
    """`, held by 2 of 4 other members`, if it was waited for."""
    if "held" not in done:
        return ""
    return f", held by {done['held']} of {done['members'] - 1} other members"


def held_fields(done: dict[str, Any]) -> dict[str, Any]:
    """The same for --json."""
    return {what: done[what] for what in ("held", "members") if what in done}
