"""`scuttled config`: check a configuration, show what is in force, print a commented one."""

from pathlib import Path

import click

from scuttled.cli import output
from scuttled.cli.formatting import parse_json
from scuttled.cli.options import VerbGroup, verb
from scuttled.cli.settings import Settings
from scuttled.errors import CantCreate, NotPermitted, StorageError, TimedOut, Unavailable

Rows = list[tuple[str, str, str]]  # key, value as the file would say it, where it came from


@click.group(
    "config",
    cls=VerbGroup,
    examples="""
        scuttled config show --origin
        scuttled config init
        scuttled config paths
    """,
)
def command() -> None:
    """Check, show and begin the daemon's configuration."""


@verb(
    "check",
    examples="""
        scuttled config check
        scuttled config init > scuttled.toml && scuttled config check scuttled.toml
    """,
)
@click.argument("file", required=False)
def check(settings: Settings, file: str | None) -> None:
    """Check FILE (or the file in force) and the environment.

    Exits with 78 if they are wrong.
    """
    from scuttled.config.config import load

    loaded = load(settings.environ, file=file, flags={})
    if settings.json:
        output.emit({"file": loaded.path, "ok": True})
    settings.say(f"{loaded.path or 'no file, so the defaults'}: good")


@verb("show", examples="scuttled config show\nscuttled config show --origin")
@click.option("--origin", is_flag=True, help="Where each value came from.")
def show(settings: Settings, origin: bool) -> None:
    """Show the settings of the running daemon.

    Without one, those it would start with.
    """
    rows = _settings(settings)
    if settings.json:
        for key, value, source in rows:
            parsed = parse_json(value)  # what TOML has for it is JSON, too
            output.emit({"key": key, "value": parsed[0] if parsed else value, "origin": source})
        return
    lines = [list(row) if origin else list(row[:2]) for row in rows]
    if settings.form == "plain":
        for line in lines:
            output.write(output.plain_line(line))
    else:
        settings.show(["KEY", "VALUE", "ORIGIN"] if origin else ["KEY", "VALUE"], lines)


def _settings(settings: Settings) -> Rows:
    try:
        with settings.connect() as client:
            found = client.request("config")["settings"]
        return [(s["key"], str(s["value"]), s["origin"]) for s in found]
    except (Unavailable, NotPermitted, TimedOut) as error:
        settings.say(f"scuttled: {error.message}")
        settings.say("scuttled: showing what the file and the environment give")
    from scuttled.config.config import load

    loaded = load(settings.environ, file=None, flags={})
    return [*loaded.settings(), *_saved_peers(settings, loaded.config.data)]


def _saved_peers(settings: Settings, data: Path) -> Rows:
    """Peers that a daemon of that state directory would dial besides, as it would say it."""
    from scuttled.config.settings import toml
    from scuttled.storage.directory import PEERS, read_peers

    try:
        saved = read_peers(data)
    except StorageError as error:
        settings.say(f"scuttled: {error.message}")
        saved = []
    origin = f"{data / PEERS} (join --save)"
    return [("cluster.peers saved", toml(saved), origin)] if saved else []


@verb(
    "init",
    examples="""
        scuttled config init
        scuttled config init my-scuttled.toml
    """,
)
@click.argument("file", default="-")
def init(settings: Settings, file: str) -> None:
    """Write a configuration with every setting to FILE.

    With its default, and what it is for.
    """
    from scuttled.config.config import template

    text = template()
    if file != "-":
        _write_new(file, text)
    if settings.json:
        output.emit({"file": file, "text": text} if file == "-" else {"file": file})
    elif file == "-":
        output.write(text)
    else:
        settings.say(f"{file} written")


def _write_new(path: str, text: str) -> None:
    """Never over a file that somebody may have edited."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CantCreate(f"{path} not written: {error.strerror}") from error


@verb("paths", examples="scuttled config paths")
def paths(settings: Settings) -> None:
    """Show where the daemon looks for its files. In a pipe: lines of NAME PATH."""
    from scuttled.config.config import paths as find

    for name, path in find(settings.environ):
        if settings.json:
            output.emit({"name": name, "path": path})
        elif settings.form == "plain":
            output.write(output.plain_line([name, path]))
        else:
            output.line(f"{name:<16} {path}")


for _member in (check, show, init, paths):
    command.add_command(_member)
