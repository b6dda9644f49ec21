"""`scuttled leave`: say goodbye to all peers and stop the daemon."""

from scuttled.cli import output
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings


@verb("leave", examples="scuttled leave")
def command(settings: Settings) -> None:
    """Tell all peers that this node goes, and stop its daemon. What it holds stays on disk."""
    with settings.connect() as client:
        told = client.request("leave")["peers"]
    if settings.json:
        output.emit({"peers": told})
    settings.say(f"left: told {told} {'peer' if told == 1 else 'peers'}, the daemon is stopping")
