"""`scuttled get`: the exact bytes of one value, or what is known about it."""

import os
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.candidates import complete_keys
from scuttled.cli.dashed_arguments import DashedVerb
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.errors import Refused, UsageError


@verb(
    "get",
    cls=DashedVerb,
    examples="""
        scuttled set greeting hello && scuttled get greeting
        scuttled get -l greeting
        scuttled get -j greeting
        scuttled get no/such/key --default nothing
        scuttled set -5 below && scuttled get -5
        scuttled get
    """,
)
@click.argument("key", required=False, shell_complete=complete_keys)
@click.option("-l", "long", is_flag=True, help="What is known about it: revision, node, time.")
@click.option("--default", metavar="V", help="Write V if there is no such key, and exit 0.")
def command(settings: Settings, key: str | None, long: bool, default: str | None) -> None:
    """Write the value of KEY; without KEY all of the model, as JSON.

    KEY is taken as it stands; one that begins with -- stands behind --.

    Into a pipe go exactly the bytes that were stored; on a terminal a newline follows, and what
    can't be printed is shown as \\xNN.
    """
    if key is None:
        _show_whole(settings, long=long or default is not None)
        return
    try:
        with settings.connect() as client:
            found = client.request("get", model=settings.model, key=key)
    except Refused:
        from scuttled.client.patterns import is_pattern

        if is_pattern(key):
            raise _not_one_key(key) from None
        if default is None:
            raise
        _show_default(settings, key, os.fsencode(default))
        return
    if settings.json:
        output.emit({"model": settings.model, "key": key, **_fields(found)})
    elif long:
        _show_long(settings, key, found)
    else:
        _show_value(settings, found["value"])


def _show_whole(settings: Settings, *, long: bool) -> None:
    if long:
        raise UsageError("-l and --default are about one KEY")
    with settings.connect() as client:
        found = client.request("get", model=settings.model)
    if settings.json:
        from scuttled.cli.formatting import value_fields

        output.emit({"model": settings.model, **value_fields(found["kind"], found["value"])})
    elif found["kind"] == "json":
        _show_json(settings, found["value"])
    else:
        _show_value(settings, found["value"])


def _show_json(settings: Settings, text: bytes) -> None:
    if settings.form == "table":
        from scuttled.cli.formatting import json_safe

        output.write(json_safe(text.decode("utf-8", "surrogateescape")) + "\n")
    else:
        output.write(text + b"\n")


def _not_one_key(key: str) -> UsageError:
    import shlex

    pattern = shlex.quote(key)
    return UsageError(
        f"get takes one key, and {key!r} is a pattern", hint=f"scuttled ls -l {pattern}"
    )


def _show_value(settings: Settings, value: bytes) -> None:
    if settings.form != "table":
        output.write(value)
        return
    from scuttled.cli.formatting import printable

    output.write(printable(value) + "\n")


def _show_default(settings: Settings, key: str, value: bytes) -> None:
    if not settings.json:
        _show_value(settings, value)
        return
    from scuttled.cli.formatting import kind_of, value_fields

    fields = value_fields(kind_of(value), value)
    output.emit({"model": settings.model, "key": key, **fields, "default": True})


def _fields(found: dict[str, Any]) -> dict[str, Any]:
    from scuttled.cli.formatting import expiry_fields, update_fields, value_fields

    return {
        **value_fields(found["kind"], found["value"]),
        **update_fields(found["rev"], found["name"]),
        **expiry_fields(found["expires_ms"]),
    }


def _show_long(settings: Settings, key: str, found: dict[str, Any]) -> None:
    """On a terminal a list of facts; in a pipe the line of `ls -l`, then kind and expiry."""
    from scuttled.cli.formatting import escape, revision, rfc3339

    node, ms = revision(found["rev"])
    kind = found["kind"]
    expires_ms = found["expires_ms"]
    if settings.form == "plain":
        columns = [key, found["value"], found["rev"], node, ms, kind, expires_ms or None]
        output.write(output.plain_line(columns))
        return
    facts = {
        "key": key,
        "value": found["value"],
        "kind": f"{kind}, {len(found['value']):,} bytes",
        "rev": found["rev"],
        "node": f"{found['name']} ({node})" if found["name"] else node,
        "time": rfc3339(ms),
        "expires": rfc3339(expires_ms) if expires_ms else "never",
    }
    for name, fact in facts.items():
        output.write(f"{name:<8} {escape(fact)}\n")
