"""`scuttled export`: models as a file of JSON lines that knows whether it is whole.

The first line tells what it is, the last one how many keys there are and the SHA-256 of all lines
before it (import_format shows them).
"""

import time
from collections.abc import Iterable, Iterator

import click

from scuttled.cli import output
from scuttled.cli.export_format import ExportLines, ExportSection, Fields, TabExportLines
from scuttled.cli.files import open_whole
from scuttled.cli.import_format import DATA_TYPE, FORMAT
from scuttled.cli.import_models import is_own_type, plain_state, state_of
from scuttled.cli.model_keys import latest
from scuttled.cli.options import verb
from scuttled.cli.own_types import section as own_section
from scuttled.cli.progress import Progress
from scuttled.cli.settings import Settings
from scuttled.client.client import Client
from scuttled.client.patterns import at_least
from scuttled.client.rows import KeyRow
from scuttled.errors import DataError, Refused, UsageError
from scuttled.units import format_bytes

_SURELY_FITS_BYTES = 100 << 10  # of updates: not even escapes make more than one answer of them


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
        source = _Source(settings, client, prefix)
        if all_models:
            header, sections = source.every()
        else:
            header, sections = source.one()
        lines = TabExportLines(sections) if tsv else ExportLines(header, sections)
        if file == "-":
            for line in lines:
                output.write(line)
        else:
            with open_whole(file) as out:
                for line in lines:
                    out.write(line)
            _tell(settings, lines, file, models=header.get("models"))
    if source.left_out:
        names = ", ".join(source.left_out)
        raise Refused(f"{names} left out: this is a backup of the rest only")


class _Source:
    """The daemon's models, as an export has them: its header, and its sections one by one."""

    def __init__(self, settings: Settings, client: Client, prefix: str) -> None:
        self.left_out: list[str] = []  # models that can't be had whole; known after `every`
        self._settings = settings
        self._client = client
        self._prefix = prefix

    def one(self) -> tuple[Fields, Iterable[ExportSection]]:
        """The model of -m. Raises Refused for a prefix of what has no keys."""
        name = self._settings.model
        model = self._client.request("model_info", model=name)
        if model["type"] == DATA_TYPE:
            with Progress("exporting", model["keys"], self._settings) as progress:
                rows = self._rows(name, progress)
            return self._header(model=name), [ExportSection(None, rows)]
        if self._prefix:
            raise Refused(f"model '{name}' is a {model['type']}: only a map has prefixes")
        return self._header(models=1), [self._whole(model)]

    def every(self) -> tuple[Fields, Iterable[ExportSection]]:
        """One model after the other, each read when it is written: only one is in memory."""
        models = self._client.request("model_list")["models"]
        models.sort(key=lambda model: str(model["name"]))
        if self._prefix:
            models = [model for model in models if model["type"] == DATA_TYPE]
        models = [model for model in models if self._fits(model)]
        return self._header(models=len(models)), self._sections(models)

    def _sections(self, models: list[Fields]) -> Iterator[ExportSection]:
        keys = sum(model["keys"] for model in models)
        with Progress("exporting", keys, self._settings) as progress:
            for model in models:
                name = model["name"]
                if model["type"] != DATA_TYPE:
                    yield self._whole(model)
                    continue
                ttl_ms = self._client.request("model_info", model=name)["ttl_ms"]
                line = {"model": name, "type": DATA_TYPE, "ttl_ms": ttl_ms}
                yield ExportSection(line, self._rows(name, progress))

    def _fits(self, model: Fields) -> bool:
        """False if it has to be got at once and can't be. Says so: the rest is exported."""
        own = is_own_type(model["type"])
        if model["type"] == DATA_TYPE or (model["bytes"] <= _SURELY_FITS_BYTES and not own):
            return True
        try:
            self._client.request("updates" if own else "get", model=model["name"])
        except (DataError, UsageError) as error:  # UsageError: a daemon of before
            output.say(f"scuttled: left out: {error.message}")
            self.left_out.append(model["name"])
            return False
        return True

    def _whole(self, model: Fields) -> ExportSection:
        """A model of another type: all of it in its line, as `get` writes it."""
        name = model["name"]
        data_type = model["type"]
        if is_own_type(data_type):
            return ExportSection(own_section(self._client, model), [])
        got = self._client.request("get", model=name)
        state = state_of(data_type, got["kind"], got["value"])
        line = {"model": name, "type": data_type}
        if plain_state(data_type, state) != state:
            line["exact"] = True
        return ExportSection({**line, "state": state}, [])

    def _rows(self, model: str, progress: Progress) -> list[KeyRow]:
        pattern = at_least(self._prefix) if self._prefix else ""
        stream = self._client.stream("list", model=model, pattern=pattern, values=True)
        rows = latest(progress.over(stream), deleted=False)
        return [row for row in rows if row.key.startswith(self._prefix)]

    def _header(self, **what: object) -> Fields:
        header = {
            "scuttled_export": FORMAT,
            **what,
            "node": self._client.daemon.get("node"),
            "time_ms": int(time.time() * 1000),
        }
        if self._prefix:
            header["prefix"] = self._prefix
        return header


def _tell(
    settings: Settings, lines: ExportLines | TabExportLines, file: str, *, models: int | None
) -> None:
    words = output.counted(lines.keys)
    if models is not None:
        words += f" of {models} models"
    words += f", {format_bytes(lines.size)}"
    if lines.sha256:
        words += f", sha256 {lines.sha256[:12]}…"
    settings.say(f"{words} in {file}")
    if settings.json:
        what = {"model": settings.model} if models is None else {"models": models}
        checksum = {"sha256": lines.sha256} if lines.sha256 else {}
        output.emit({**what, "keys": lines.keys, "bytes": lines.size, **checksum, "file": file})
