"""`scuttled serve`: run the daemon, in the foreground."""

import os

import click

from scuttled.cli import output
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings


@verb(
    "serve",
    examples="""
        scuttled serve
        scuttled serve --peers db1,db2:7960 --listen 0.0.0.0 --insecure
        scuttled serve --npm 127.0.0.1:7000=default
        scuttled serve --memory --listen 127.0.0.1:0 --socket /tmp/s.sock
    """,
)
@click.option("--peers", multiple=True, metavar="A,B", help="Nodes to gossip with; repeatable.")
@click.option("--listen", metavar="ADDR", help="Where peers reach this node [127.0.0.1:7960].")
@click.option("--advertise", metavar="ADDR", help="Where others should dial this node.")
@click.option("--name", metavar="N", help="Label shown to people [the host's name].")
@click.option("--data", metavar="DIR", help="State directory.")
@click.option("--memory", is_flag=True, help="Keep nothing on disk.")
@click.option("--config", "file", metavar="FILE", help="Configuration file.")
@click.option("--cluster", metavar="NAME", help="Only nodes of the same cluster are linked.")
@click.option("--insecure", is_flag=True, help="Allow plain TCP beyond this machine.")
@click.option("--types", multiple=True, metavar="MOD:CLASS", help="Data types of your own.")
@click.option("--sign", is_flag=True, help="Sign updates, and take only signed ones.")
@click.option("--trust", metavar="ID,ID", help="Take updates of these nodes only [any-signed].")
@click.option(
    "--npm", multiple=True, metavar="ADDR=MODEL", help="Share MODEL with npm peers there."
)
@click.option("--npm-connect", multiple=True, metavar="ADDR=MODEL", help="The same, dialled.")
@click.option("--sync", metavar="LEVEL", help="off, normal (survives kill -9), full (power cuts).")
@click.option("--log-level", metavar="L", help="debug, info, warning or error.")
def command(settings: Settings, peers: tuple[str, ...], file: str | None, **flags: object) -> None:
    """Run the daemon.

    It holds models, gossips with peers and serves the control socket. It stays in the foreground
    and never forks. Ctrl-C or SIGTERM stops it; nothing that was acknowledged is lost by any way
    of stopping.
    """
    from scuttled.config import config
    from scuttled.daemon import daemon
    from scuttled.runtime.logs import set_up_logging, tell_repeats

    given = {**flags, "peers": peers, "socket": settings.socket}
    loaded = config.load(os.environ, file=file, flags=given)
    os.umask(os.umask(0) & 0o077)  # one that takes our own rights would lock us out of our files
    tracebacks = settings.verbose > 1
    set_up_logging(loaded.config.log_level, loaded.config.log_format, tracebacks=tracebacks)
    try:
        daemon.serve(loaded, say=output.say)
    finally:
        tell_repeats(rest=True)
