"""`scuttled part`: take back a peer that was joined, saved or configured."""

import click

from scuttled.cli import output
from scuttled.cli.commands.join import split_addresses
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.errors import ConfigError, UsageError


@verb(
    "part",
    examples="""
        scuttled part db1
        scuttled part db1:7960 db2:7960
    """,
)
@click.argument("addresses", nargs=-1, required=True, metavar="ADDR...")
def command(settings: Settings, addresses: tuple[str, ...]) -> None:
    """Dial the peer at ADDR no more, now and after a restart.

    ADDR is what was joined or configured: see `scuttled config show --origin`. A peer that dials
    this node stays linked: part from there, too. One that stands in the configuration is dialled
    again when the daemon starts. In a pipe: lines of ADDRESS and `parted`.
    """
    words = split_addresses(addresses)
    with settings.connect() as client:
        try:
            done = client.request("part", addresses=words)
        except ConfigError as error:  # an argument is no configuration
            raise UsageError(error.message, hint=error.hint) from None
    for address in done["parted"]:
        configured = address in done["configured"]
        if settings.json:
            output.emit({"address": address, "state": "parted", "configured": configured})
        elif settings.form == "plain":
            output.write(output.plain_line([address, "parted"]))
        else:
            settings.say(f"parted from {address}")
        if configured:
            settings.say(f"scuttled: {address} is configured: it is dialled again after a restart")
            settings.say("hint: scuttled config show --origin")
