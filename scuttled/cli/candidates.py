"""Candidates of completion: the keys, patterns and models that a word may become.

A Tab key must never hang: the daemon has 150 ms for its keys or models, or there are none.
"""

import time
from typing import TYPE_CHECKING

import click

from scuttled.cli.settings import Settings
from scuttled.errors import ScuttledError

if TYPE_CHECKING:
    from scuttled.client.client import Fields

DEADLINE_S = 0.15
_ANSWERS_MAX = 1000  # more than anybody reads; beyond it the shell itself gets slow


def complete_keys(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Completion of an argument that is a key."""
    return keys(ctx.ensure_object(Settings), incomplete)


def complete_patterns(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Completion of an argument that is a pattern: keys, each as the pattern that means it."""
    from scuttled.client.patterns import escaped, unescaped

    return [escaped(key) for key in keys(ctx.ensure_object(Settings), unescaped(incomplete))]


def complete_models(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Completion of an argument or option that is a model."""
    return models(ctx.ensure_object(Settings), incomplete)


def keys(settings: Settings, incomplete: str) -> list[str]:
    """Keys of the model that begin with `incomplete`; none if the daemon is not there in time."""
    from scuttled.client.patterns import at_least

    pattern = at_least(incomplete) if incomplete else ""
    return _ask(settings, incomplete, "list", {"model": settings.model, "pattern": pattern})


def models(settings: Settings, incomplete: str) -> list[str]:
    """Names of models that begin with `incomplete`."""
    return _ask(settings, incomplete, "model_list", {})


def _ask(settings: Settings, incomplete: str, op: str, fields: "Fields") -> list[str]:
    # Only once Tab is pressed: commands name these functions.
    from scuttled.client.client import Client
    from scuttled.client.rows import KeyRow

    until = time.monotonic() + DEADLINE_S
    try:
        with Client.connect(settings.paths(), DEADLINE_S) as client:
            if op == "list":
                names = []
                for rows in client.stream(op, **fields):
                    names += [KeyRow.of(row).key for row in rows]
                    if time.monotonic() > until:
                        return []
            else:
                names = [model["name"] for model in client.request(op)["models"]]
    except ScuttledError:
        return []
    found = {name for name in names if name.startswith(incomplete) and name.isprintable()}
    return sorted(found)[:_ANSWERS_MAX]
