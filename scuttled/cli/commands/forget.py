"""`scuttled forget`: stop counting a node that will not come back."""

import click

from scuttled.cli import output
from scuttled.cli.dashed_arguments import DashedVerb
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings


@verb(
    "forget",
    cls=DashedVerb,
    examples="""
        scuttled members                  # who is silent
        scuttled forget db7 || echo 'no such member, or it is still there'
    """,
)
@click.argument("node", metavar="NODE")
def command(settings: Settings, node: str) -> None:
    """No longer count NODE as a member, on any node.

    NODE is a name, an id or its beginning. Deletions then no longer wait for it. Refused with 1
    while it answers, or did 90 s ago. If it comes back, it is a member again; if something that it
    never saw was forgotten meanwhile, it takes over the state of the others and says what became
    of its own.
    """
    with settings.connect() as client:
        done = client.request("forget", node=node)
    if settings.json:
        output.emit({"node": done["node"], "name": done["name"]})
    settings.say(f"{done['name'] or done['node']} is forgotten")
