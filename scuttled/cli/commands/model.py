"""`scuttled model`: the models of this node, and what is known of them."""

import click

from scuttled.cli import output
from scuttled.cli.candidates import complete_models
from scuttled.cli.options import VerbGroup, seconds, verb
from scuttled.cli.settings import Settings
from scuttled.errors import UsageError
from scuttled.units import format_bytes, format_duration


@click.group(
    "model",
    cls=VerbGroup,
    examples="""
        scuttled model ls
        scuttled model create tags --type map
        scuttled model info default
    """,
)
def command() -> None:
    """List, create, describe and drop models."""


@verb("ls", examples="scuttled model ls\nscuttled model ls -j")
def ls(settings: Settings) -> None:
    """List the models. In a pipe: lines of NAME TYPE KEYS TOMBSTONES BYTES."""
    with settings.connect() as client:
        models = client.request("model_list")["models"]
    models.sort(key=lambda model: model["name"])
    if settings.json:
        for model in models:
            output.emit(model)
        return
    columns = ("name", "type", "keys", "tombstones", "bytes")
    if settings.form == "plain":
        for model in models:
            output.write(output.plain_line(model[column] for column in columns))
        return
    rows = [
        [m["name"], m["type"], f"{m['keys']:,}", f"{m['tombstones']:,}", format_bytes(m["bytes"])]
        for m in models
    ]
    settings.show(["NAME", "TYPE", "KEYS", "TOMBSTONES", "SIZE"], rows)


@verb(
    "create",
    examples="""
        scuttled model create tags --type map
        scuttled model create sessions --type map --ttl 1h
        scuttled model create audit --type log --keep 30d
    """,
)
@click.argument("name")
@click.option(
    "--type",
    "kind",
    default="map",
    show_default=True,
    metavar="T",
    help="Its data type, such as map.",
)
@click.option("--ttl", metavar="D", callback=seconds, help="Every key of a map goes after: 1h.")
@click.option("--keep", metavar="D", callback=seconds, help="Entries of a log go after: 7d.")
def create(settings: Settings, name: str, kind: str, ttl: float | None, keep: float | None) -> None:
    """Create model NAME on all nodes. One that is there already, with this type, is fine."""
    options = {}
    for option, time_s in (("ttl", ttl), ("keep", keep)):
        if time_s is not None and time_s < 0.001:
            raise UsageError(f"--{option} is at least 1ms")
        if time_s is not None:
            options[f"{option}_ms"] = int(time_s * 1000)
    with settings.connect() as client:
        done = client.request("model_create", model=name, type=kind, **options)
    if settings.json:
        output.emit({"model": name, "type": kind, "created": done["created"]})
    settings.say(f"{kind} {name} {'created' if done['created'] else 'was there already'}")


@verb("info", examples="scuttled model info\nscuttled model info default -j")
@click.argument("name", required=False, shell_complete=complete_models)
def info(settings: Settings, name: str | None) -> None:
    """Tell what is known of model NAME.

    Its size, its log, its operations for `call`.
    """
    with settings.connect() as client:
        model = client.request("model_info", model=name or settings.model)
    if settings.json:
        output.emit(model)
        return
    operations = model.pop("operations")
    log = model.pop("log")
    clock = model.pop("clock")
    if settings.form == "table":
        model["bytes"] = format_bytes(model["bytes"])
        for option in ("ttl", "keep"):
            time_ms = model.pop(f"{option}_ms")
            model[option] = format_duration(time_ms / 1000) if time_ms else "none"
    facts = [*model.items(), *((f"log {key}", value) for key, value in log.items())]
    facts += [(f"clock {source}", clock[source]) for source in sorted(clock)]
    facts += [(f"call {o['name']} {_words(o['args'])}".rstrip(), o["words"]) for o in operations]
    if settings.form == "plain":
        for fact in facts:
            output.write(output.plain_line(fact))
        return
    size = max(len(name) for name, _ in facts)
    for name, value in facts:
        output.line(f"{name:<{size}}  {value}")


def _words(args: object) -> str:
    return " ".join(map(str, args)) if isinstance(args, list) else str(args or "")


@verb(
    "drop",
    examples="""
        scuttled model create scratch --type map && scuttled model drop scratch --yes
    """,
)
@click.argument("name", shell_complete=complete_models)
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(settings: Settings, name: str, yes: bool) -> None:
    """Delete model NAME and all that is in it, on all nodes."""
    settings.check_can_ask(f"drop model {name}", yes=yes)
    settings.confirm(f"drop model {name} and all that is in it, on all nodes", yes=yes)
    with settings.connect() as client:
        count = client.request("model_drop", model=name)["count"]
    if settings.json:
        output.emit({"model": name, "count": count})
    settings.say(f"model {name} dropped, {count:,} keys went with it")


for _member in (ls, create, info, drop):
    command.add_command(_member)
