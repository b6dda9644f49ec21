"""`scuttled export`: models as a file of JSON lines that knows whether it is whole.

The first line tells what it is, the last one how many keys there are and the SHA-256 of all lines
before it; load.py shows them. Keys are sorted, so two exports can be compared: of the same state
they differ in these two lines. Where JSON would come back in other bytes (`1.0e5`), the line has
it as "raw" text too: import gives exactly what was there.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.commands.ls import latest
from scuttled.cli.files import open_whole
from scuttled.cli.formatting import dump_json, value_fields
from scuttled.cli.import_format import DATA_TYPE, FORMAT
from scuttled.cli.import_models import is_own_type, plain_state, state_of
from scuttled.cli.options import verb
from scuttled.cli.own_types import section as own_section
from scuttled.cli.progress import Progress
from scuttled.cli.settings import Settings
from scuttled.client.client import Client, Row
from scuttled.client.patterns import at_least
from scuttled.errors import DataError, Refused, UsageError
from scuttled.units import format_bytes

_SURELY_FITS_BYTES = 100 << 10  # of updates: not even escapes make more than one answer of them

Fields = dict[str, Any]
Section = tuple[Fields | None, list[Row]]  # the line of a model, if it has one, and its keys


@verb(
    "export",
    examples="""
        scuttled export backup.ndjson
        scuttled export --all-models all.ndjson
        scuttled export | gzip > backup.ndjson.gz
        scuttled export --prefix svc/ - | head -3
        scuttled export --tsv - | cut -f 1
    """,
)
@click.argument("file", default="-")
@click.option("--prefix", default="", metavar="P", help="Only keys that begin with P.")
@click.option("--all-models", is_flag=True, help="Every model, with its type and its TTL.")
@click.option("--tsv", is_flag=True, help="Lines of KEY, a tab, VALUE: no expiry, no checksum.")
def command(settings: Settings, file: str, prefix: str, all_models: bool, tsv: bool) -> None:
    """Write all of the model to FILE, or to standard output.

    P is taken as it stands: * and ? are no patterns here. FILE is replaced as a whole or not at
    all. `scuttled import FILE` reads it.
    """
    if tsv and all_models:
        raise UsageError("--tsv has no place for a model's name, so it excludes --all-models")
    with settings.connect() as client:
        left_out: list[str] = []
        if all_models:
            header, sections = _every(settings, client, prefix, left_out)
        else:
            header, sections = _one(settings, client, prefix)
        if prefix:
            header["prefix"] = prefix
        lines = TabExportLines(sections) if tsv else ExportLines(header, sections)
        if file == "-":
            for line in lines:
                output.write(line)
        else:
            with open_whole(file) as out:
                for line in lines:
                    out.write(line)
            _tell(settings, lines, file, models=header.get("models"))
    if left_out:
        raise Refused(f"{', '.join(left_out)} left out: this is a backup of the rest only")


def _one(settings: Settings, client: Client, prefix: str) -> tuple[Fields, Iterable[Section]]:
    model = client.request("model_info", model=settings.model)
    if model["type"] != DATA_TYPE:
        if prefix:
            raise Refused(f"model '{settings.model}' is a {model['type']}: only a map has prefixes")
        return _header(client, models=1), [_whole(client, model)]
    with Progress("exporting", model["keys"], settings) as progress:
        rows = _rows(client, settings.model, prefix, progress)
    return _header(client, model=settings.model), [(None, rows)]


def _every(
    settings: Settings, client: Client, prefix: str, left_out: list[str]
) -> tuple[Fields, Iterable[Section]]:
    """One model after the other, each read when it is written: only one is in memory."""
    models = sorted(client.request("model_list")["models"], key=lambda model: str(model["name"]))
    if prefix:
        models = [model for model in models if model["type"] == DATA_TYPE]
    models = [model for model in models if _fits(client, model, left_out)]

    def sections() -> Iterator[Section]:
        with Progress("exporting", sum(model["keys"] for model in models), settings) as progress:
            for model in models:
                name = model["name"]
                if model["type"] != DATA_TYPE:
                    yield _whole(client, model)
                    continue
                ttl_ms = client.request("model_info", model=name)["ttl_ms"]
                line = {"model": name, "type": DATA_TYPE, "ttl_ms": ttl_ms}
                yield line, _rows(client, name, prefix, progress)

    return _header(client, models=len(models)), sections()


def _fits(client: Client, model: Fields, left_out: list[str]) -> bool:
    """Whether it can be got at once, if it has to be. Says so if not: the rest is exported."""
    own = is_own_type(model["type"])
    if model["type"] == DATA_TYPE or (model["bytes"] <= _SURELY_FITS_BYTES and not own):
        return True
    try:
        client.request("updates" if own else "get", model=model["name"])
    except (DataError, UsageError) as error:  # UsageError: a daemon of before
        output.say(f"scuttled: left out: {error.message}")
        left_out.append(model["name"])
        return False
    return True


def _whole(client: Client, model: Fields) -> Section:
    """A model of another type: all of it in its line, as `get` writes it."""
    if is_own_type(model["type"]):
        return own_section(client, model), []
    got = client.request("get", model=model["name"])
    state = state_of(model["type"], got["kind"], got["value"])
    exact = {"exact": True} if plain_state(model["type"], state) != state else {}
    return {"model": model["name"], "type": model["type"], **exact, "state": state}, []


def _header(client: Client, **what: object) -> Fields:
    node, time_ms = client.daemon.get("node"), int(time.time() * 1000)
    return {"scuttled_export": FORMAT, **what, "node": node, "time_ms": time_ms}


def _rows(client: Client, model: str, prefix: str, progress: Progress) -> list[Row]:
    pattern = at_least(prefix) if prefix else ""
    stream = client.stream("list", model=model, pattern=pattern, values=True)
    rows = latest(progress.over(stream), deleted=False)
    return [row for row in rows if row[0].startswith(prefix)]


def _tell(
    settings: Settings, lines: "ExportLines | TabExportLines", file: str, models: int | None
) -> None:
    words = [output.counted(lines.keys), format_bytes(lines.size)]
    words[0] += f" of {models} models" if models is not None else ""
    words += [f"sha256 {lines.sha256[:12]}…"] * bool(lines.sha256)
    settings.say(f"{', '.join(words)} in {file}")
    if settings.json:
        what = {"model": settings.model} if models is None else {"models": models}
        checksum = {"sha256": lines.sha256} if lines.sha256 else {}
        output.emit({**what, "keys": lines.keys, "bytes": lines.size, **checksum, "file": file})


class ExportLines:
    """The lines of an export, once. Size, keys and checksum are known when all have been taken."""

    def __init__(self, header: Fields, sections: Iterable[Section]) -> None:
        self.size = 0
        self.keys = 0
        self.sha256 = ""
        self._header = header
        self._sections = sections

    def __iter__(self) -> Iterator[bytes]:
        from hashlib import sha256

        digest = sha256()
        for fields in self._all():
            line = output.json_line(fields).encode("utf-8", "surrogateescape")
            digest.update(line)
            self.size += len(line)
            yield line
        self.sha256 = digest.hexdigest()
        trailer = {"end": True, "keys": self.keys, "sha256": self.sha256}
        line = output.json_line(trailer).encode()
        self.size += len(line)
        yield line

    def _all(self) -> Iterator[Fields]:
        yield self._header
        for about, rows in self._sections:
            if about is not None:
                yield about
            self.keys += len(rows)
            yield from map(_fields, rows)


class TabExportLines:
    """The lines of `--tsv`, once."""

    sha256 = ""

    def __init__(self, sections: Iterable[Section]) -> None:
        self.size = 0
        self.keys = 0
        self._sections = sections

    def __iter__(self) -> Iterator[bytes]:
        for _, rows in self._sections:
            self.keys += len(rows)
            for key, _, value, *_ in rows:
                line = output.plain_line([key, value]).encode("utf-8", "surrogateescape")
                self.size += len(line)
                yield line


def _fields(row: Row) -> dict[str, Any]:
    key, kind, value, _, _, expires_ms = row[:6]
    held = value_fields(kind, value)
    if kind == "json" and "value_b64" in held:  # a peer's doing, and no JSON: it stays what it is
        del held["kind"]
    if kind == "json" and "value" in held and dump_json(held["value"]).encode() != value:
        held["raw"] = value.decode()
    return {"key": key, **held, **({"expires_ms": expires_ms} if expires_ms else {})}
