"""`scuttled version`: of this program and of the daemon it talks to."""

from typing import Any

from scuttled.cli import output
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.errors import NotPermitted, TimedOut, Unavailable
from scuttled.version import __version__


@verb("version", examples="scuttled version\nscuttled version -j")
def command(settings: Settings) -> None:
    """Show the version of this program, and of a running daemon."""
    daemon: dict[str, Any] = {}
    absent = ""
    try:
        with settings.connect() as client:
            daemon = client.hello()
    except (Unavailable, NotPermitted, TimedOut) as error:
        absent = error.message
    if settings.json:
        output.emit(_fields(daemon, absent))
    elif settings.form == "plain":
        output.write(output.plain_line(["client", __version__]))
        output.write(output.plain_line(["daemon", daemon.get("version")]))
    else:
        output.line(f"client  {__version__}")
        output.line(f"daemon  {_sentence(daemon) if daemon else absent}")


def _fields(daemon: dict[str, Any], absent: str) -> dict[str, Any]:
    import platform

    fields = {"client": __version__, "python": platform.python_version()}
    if not daemon:
        return {**fields, "daemon": None, "reason": absent}
    about = {name: daemon.get(name) for name in ("protocol", "node", "name", "cluster")}
    return {**fields, "daemon": daemon.get("version"), **about}


def _sentence(daemon: dict[str, Any]) -> str:
    label = daemon.get("name") or daemon.get("node")
    return f"{daemon.get('version')}  on {label}, cluster {daemon.get('cluster')}"
