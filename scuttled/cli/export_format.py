"""Lines of an export, as a file has them; import_format reads them back and shows their form.

Keys are sorted, so two exports can be compared: of the same state they differ in the first line and
the last only. Where JSON would come back in other bytes (`1.0e5`), the line has it as "raw" text
too: import gives exactly what was there.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from scuttled.cli import output
from scuttled.cli.formatting import dump_json, value_fields
from scuttled.client.rows import KeyRow

Fields = dict[str, Any]


class ExportSection(NamedTuple):
    """One model of an export."""

    line: Fields | None  # its own line, if it has one
    rows: list[KeyRow]  # its keys; none if all of it stands in its line


class ExportLines:
    """The lines of an export, once. Size, keys and checksum are known when all have been taken."""

    def __init__(self, header: Fields, sections: Iterable[ExportSection]) -> None:
        self.size = 0
        self.keys = 0
        self.sha256 = ""
        self._header = header
        self._sections = sections

    def __iter__(self) -> Iterator[bytes]:
        from hashlib import sha256

        digest = sha256()
        for fields in self._all_but_the_last():
            line = output.json_line(fields).encode("utf-8", "surrogateescape")
            digest.update(line)
            self.size += len(line)
            yield line
        self.sha256 = digest.hexdigest()
        trailer = {"end": True, "keys": self.keys, "sha256": self.sha256}
        line = output.json_line(trailer).encode()
        self.size += len(line)
        yield line

    def _all_but_the_last(self) -> Iterator[Fields]:
        yield self._header
        for section in self._sections:
            if section.line is not None:
                yield section.line
            self.keys += len(section.rows)
            yield from map(_key_fields, section.rows)


class TabExportLines:
    """The lines of `--tsv`, once. They have no checksum."""

    sha256 = ""

    def __init__(self, sections: Iterable[ExportSection]) -> None:
        self.size = 0
        self.keys = 0
        self._sections = sections

    def __iter__(self) -> Iterator[bytes]:
        for section in self._sections:
            self.keys += len(section.rows)
            for row in section.rows:
                line = output.plain_line([row.key, row.value]).encode("utf-8", "surrogateescape")
                self.size += len(line)
                yield line


def _key_fields(row: KeyRow) -> Fields:
    value = row.value or b""
    held = value_fields(row.kind, value)
    if row.kind == "json":
        if "value_b64" in held:  # a peer's doing, and no JSON: it stays what it is
            del held["kind"]
        elif dump_json(held["value"]).encode() != value:
            held["raw"] = value.decode()
    expiry = {"expires_ms": row.expires_ms} if row.expires_ms else {}
    return {"key": row.key, **held, **expiry}
