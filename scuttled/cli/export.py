"""`scuttled export`: a model as a file of JSON lines that knows whether it is whole.

The first line tells what it is, the last one how many keys there are and the SHA-256 of all lines
before it. Keys are sorted, so two exports can be compared. Where JSON would come back in other
bytes (`1.0e5`), the line has it as "raw" text too: import gives exactly what was there.
"""

import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from scuttled.cli import output
from scuttled.cli.files import open_whole
from scuttled.cli.ls import latest
from scuttled.cli.options import Settings, verb
from scuttled.cli.text import dump_json, value_fields
from scuttled.client import Row
from scuttled.units import format_bytes


@verb(
    "export",
    examples="""
        scuttled export backup.ndjson
        scuttled export | gzip > backup.ndjson.gz
        scuttled export --prefix svc/ - | head -3
    """,
)
@click.argument("file", default="-")
@click.option("--prefix", default="", metavar="P", help="Only keys that begin with P.")
def command(settings: Settings, file: str, prefix: str) -> None:
    """Write all of the model to FILE, or to standard output.

    FILE is replaced as a whole or not at all. `scuttled import FILE` reads it.
    """
    with settings.connect() as client:
        pattern = f"{prefix}*" if prefix else ""
        stream = client.stream("list", model=settings.model, pattern=pattern, values=True)
        rows = [row for row in latest(stream, deleted=False) if row[0].startswith(prefix)]
        about = {"model": settings.model, "node": client.daemon.get("node")}
    lines = Lines({"scuttled_export": 1, **about, "time_ms": int(time.time() * 1000)}, rows)
    if file == "-":
        for line in lines:
            output.write(line)
        return
    with open_whole(file) as out:
        _write(out, lines)
    size, checksum = format_bytes(lines.size), f"sha256 {lines.sha256[:12]}…"
    settings.say(f"{output.counted(len(rows))}, {size}, {checksum} in {file}")
    if settings.json:
        done = {"keys": len(rows), "bytes": lines.size, "sha256": lines.sha256, "file": file}
        output.emit({"model": settings.model, **done})


def _write(out: BinaryIO, lines: "Lines") -> None:
    for line in lines:
        out.write(line)


class Lines:
    """The lines of an export, once. Size and checksum are known when all have been taken."""

    def __init__(self, header: dict[str, Any], rows: list[Row]) -> None:
        self.size = 0
        self.sha256 = ""
        self._header = header
        self._rows = rows

    def __iter__(self) -> Iterator[bytes]:
        from hashlib import sha256

        digest = sha256()
        for fields in (self._header, *map(_fields, self._rows)):
            line = output.json_line(fields).encode("utf-8", "surrogateescape")
            digest.update(line)
            self.size += len(line)
            yield line
        self.sha256 = digest.hexdigest()
        trailer = {"end": True, "keys": len(self._rows), "sha256": self.sha256}
        line = output.json_line(trailer).encode()
        self.size += len(line)
        yield line


def _fields(row: Row) -> dict[str, Any]:
    key, kind, value, _, _, expires_ms = row[:6]
    held = value_fields(kind, value)
    if kind == "json" and "value" in held and dump_json(held["value"]).encode() != value:
        held["raw"] = value.decode()
    return {"key": key, **held, **({"expires_ms": expires_ms} if expires_ms else {})}
