"""`scuttled set`: write one key. The value is an argument, standard input or a file."""

import sys
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.candidates import complete_keys
from scuttled.cli.dashed_arguments import LooseVerb
from scuttled.cli.options import seconds, verb
from scuttled.cli.settings import Settings
from scuttled.cli.value_argument import read_value, value_kind
from scuttled.cli.wait_option import Level, held_fields, held_words, wait_fields, wait_option
from scuttled.errors import UsageError


@verb(
    "set",
    cls=LooseVerb,
    examples="""
        scuttled set greeting hello
        scuttled set temperature -5
        echo 10.0.0.1:80 | scuttled set svc/web -
        scuttled set hosts --file /etc/hosts
        scuttled set limits --json-value '{"cpu": 4}'
        scuttled set svc/web 10.0.0.1:80 --ttl 30s
        scuttled set release 42 --wait majority --timeout 10s
    """,
)
@click.argument("key", shell_complete=complete_keys)
@click.argument("value", required=False)
@click.option("--file", "path", metavar="PATH", help="The value is this file; - is standard input.")
@click.option("--json-value", is_flag=True, help="The value is JSON; refuse it if it is not.")
@click.option("--ttl", metavar="D", callback=seconds, help="Forget the key after this time: 30s.")
@click.option("--if-absent", is_flag=True, help="Only if this node has no such key.")
@click.option("--if-rev", metavar="REV", help="Only if this node has the key at this revision.")
@wait_option
def command(
    settings: Settings,
    key: str,
    value: str | None,
    path: str | None,
    json_value: bool,
    ttl: float | None,
    if_absent: bool,
    if_rev: str | None,
    wait: Level,
) -> None:
    """Set KEY to VALUE.

    A VALUE of - reads standard input, exactly as it is. --if-absent and --if-rev are checked on
    this node only: another node may write the same key at the same moment, and the later of
    the two stays. --wait returns when so many other members have the write on disk, too; if
    time is over before, the exit code is 75, and the write stands.
    """
    if if_absent and if_rev:
        raise UsageError("--if-absent and --if-rev exclude each other")
    if ttl is not None and ttl < 0.001:
        raise UsageError("--ttl is at least 1ms")
    content = read_value(key, value, path)
    kind, content = value_kind(content, json_value)
    fields: dict[str, Any] = {
        "model": settings.model,
        "key": key,
        "kind": kind,
        "value": content,
        "ttl_ms": int((ttl or 0) * 1000),
        "if_absent": if_absent,
        "if_rev": if_rev or "",
    }
    with settings.connect() as client:
        done = client.request("set", **fields, **wait_fields(settings, wait))
    note = ", checked on this node only" if if_absent or if_rev else ""
    _show(settings, key, content, done, note + held_words(done))


def _show(settings: Settings, key: str, content: bytes, done: dict[str, Any], note: str) -> None:
    form = settings.form
    rev = done["rev"]
    if form == "json":
        from scuttled.cli.formatting import revision

        node = revision(rev)[0]
        written = {"model": settings.model, "key": key, "rev": rev, "node": node}
        output.emit({**written, **held_fields(done)})
    elif form == "table" and not settings.quiet and sys.stdout.isatty():
        from scuttled.cli.formatting import escape

        front = f"{escape(key)} = "
        back = f"  (rev {rev}{note})"
        room = max((output.width() or 80) - output.span(front) - len(back), 20)
        output.write(f"{front}{output.cut(escape(content[: 4 * room]), room)}{back}\n")
