"""`scuttled join`: give the running daemon more peers."""

import click

from scuttled.cli import output
from scuttled.cli.options import Settings, verb
from scuttled.errors import ConfigError, UsageError


@verb(
    "join",
    examples="""
        scuttled join db1
        scuttled join db1:7960 db2:7960 --save
    """,
)
@click.argument("addresses", nargs=-1, required=True, metavar="ADDR...")
@click.option("--save", is_flag=True, help="Keep them over a restart of the daemon.")
def command(settings: Settings, addresses: tuple[str, ...], save: bool) -> None:
    """Add peers at ADDR, which is host, host:port or [address]:port.

    The daemon goes on trying them; `scuttled wait --peers N` waits until they are there.
    """
    words = [word for address in addresses for word in address.split(",") if word]
    if not words:
        raise UsageError("ADDR is missing: host, host:port or [address]:port")
    with settings.connect() as client:
        try:
            done = client.request("join", addresses=words, save=save)
        except ConfigError as error:  # an argument is no configuration
            raise UsageError(error.message, hint=error.hint) from None
    rows = [(a, "added") for a in done["added"]] + [(a, "known") for a in done["known"]]
    for address, state in rows:
        if settings.json:
            output.emit({"address": address, "state": state})
        elif settings.form == "plain":
            output.write(output.plain_line([address, state]))
    if settings.form == "table":
        settings.show(["ADDRESS", "STATE"], [list(row) for row in rows], {"added": "32"})
