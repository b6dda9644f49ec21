"""`scuttled emit`: an event for every listener of every node."""

import click

from scuttled.cli import output
from scuttled.cli.dashed_arguments import LooseVerb
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.cli.value_argument import read_value, value_kind
from scuttled.cli.wait_option import Level, held_fields, held_words, wait_fields, wait_option


@verb(
    "emit",
    cls=LooseVerb,
    examples="""
        scuttled emit deployed v42
        scuttled emit deployed --json-value '{"app": "web", "version": 42}'
        echo done | scuttled emit backup -
        scuttled emit stop --wait all
    """,
)
@click.argument("name")
@click.argument("payload", required=False)
@click.option("--file", "path", metavar="PATH", help="The payload is this file; - standard input.")
@click.option("--json-value", is_flag=True, help="The payload is JSON; refuse it if it is not.")
@wait_option
def command(
    settings: Settings,
    name: str,
    payload: str | None,
    path: str | None,
    json_value: bool,
    wait: Level,
) -> None:
    """Emit event NAME, with a PAYLOAD or without.

    Every listener (`scuttled on`) of every node hears it once; one that is away hears it when it
    comes back. Events are kept in the model `events`, or that of -m.
    """
    if payload is None and path is None:
        kind = "json"
        content = b"null"
    else:
        kind, content = value_kind(read_value(name, payload, path), json_value)
    model = settings.events_model
    with settings.connect() as client:
        done = client.request(
            "emit", model=model, name=name, kind=kind, value=content, **wait_fields(settings, wait)
        )
    if settings.json:
        entry = done["entry"]
        output.emit({"model": model, "event": name, "entry": entry, **held_fields(done)})
    elif settings.form == "table":
        settings.say(f"{name} emitted{held_words(done)}")
