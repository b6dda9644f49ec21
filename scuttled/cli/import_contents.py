"""Contents of a file to import, model by model: known when all of it was read and found good.

Its keys are kept, its values are not: they are read again, from the file that is still open, when
they are sent. So a file may be larger than memory, and a damaged one is found before any write.
"""

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from scuttled.cli.files import lines_of
from scuttled.cli.import_format import (
    DATA_TYPE,
    ImportEntry,
    ImportHeader,
    JsonLinesReader,
    Section,
    TabLinesReader,
)
from scuttled.cli.progress import Progress
from scuttled.client.client import KEY_BYTES_MAX
from scuttled.errors import DataError, StorageError


@dataclass(slots=True)
class Part:
    """One model, as the file has it."""

    ttl_ms: int | None = None  # None: nothing of the model itself
    data_type: str = DATA_TYPE
    state: Any = None  # all of a model that is no map
    own: dict[str, Any] | None = None  # likewise, of a type that is somebody else's
    places: dict[str, int] = field(default_factory=dict)  # of each key, the line that counts
    expired: set[str] = field(default_factory=set)  # keys whose line that counts is over
    repeated: int = 0  # lines whose key came before
    first_repeated: str = ""  # and what the first of these was, for people

    @property
    def is_map(self) -> bool:
        return self.data_type == DATA_TYPE

    def has(self, key: str) -> bool:
        return key in self.places and key not in self.expired


class Contents:
    """The keys of a file that is read twice: by `check`, and, if that was good, by `entries`."""

    def __init__(self, file: IO[bytes], name: str, *, tsv: bool = False, under: str = "") -> None:
        self.parts: dict[str, Part] = {}  # by model; "" in a file of one model
        self.header: ImportHeader | None = None
        self.size = file.seek(0, os.SEEK_END)
        self._file = file
        self.name = name
        self._tsv = tsv
        self._under = under

    @property
    def all_models(self) -> bool:
        return self.header is not None and self.header.all_models

    @property
    def prefix(self) -> str:
        """All keys begin with it, and of the others the file says nothing."""
        return self._under + (self.header.prefix if self.header else "")

    def check(self, now_ms: int, progress: Progress) -> None:
        """Reads all there is. Raises DataError, which names the line."""
        reader = self._open(progress)
        part = Part()
        for item in reader:
            if isinstance(item, Section):
                part = Part(item.ttl_ms, item.data_type, item.state, item.own)
                self.parts[item.model] = part
                continue
            key = self._whole_key(item.key, reader.number)
            if key in part.places:
                part.repeated += 1
                part.first_repeated = part.first_repeated or f"{key!r:.80} in line {reader.number}"
            part.places[key] = reader.number
            if 0 < (item.expires_ms or 0) <= now_ms:
                part.expired.add(key)
            else:
                part.expired.discard(key)
        self.header = reader.header
        if not self.all_models:
            self.parts[""] = part

    def entries(
        self, names: Container[str], progress: Progress
    ) -> Iterator[tuple[str, ImportEntry]]:
        """Each key of these parts, once, and the name of its part. Of a key that comes twice the
        last counts. Raises StorageError if the file is no longer what it was.
        """
        reader = self._open(progress)
        name = ""
        try:
            for item in reader:
                if isinstance(item, Section):
                    name = item.model
                    continue
                key = self._under + item.key
                if name in names and self.parts[name].places.get(key) == reader.number:
                    yield name, item._replace(key=key)
        except DataError as error:
            words = f"changed while it was imported, which is done in part: {error.message}"
            raise StorageError(f"{self.name} {words}") from error

    def _open(self, progress: Progress) -> TabLinesReader | JsonLinesReader:
        self._file.seek(0)
        lines = progress.over(lines_of(self._file, self.name))
        return TabLinesReader(lines) if self._tsv else JsonLinesReader(lines)

    def _whole_key(self, key: str, number: int) -> str:
        whole = self._under + key
        size = len(whole.encode())
        if size > KEY_BYTES_MAX:
            raise DataError(
                f"line {number}: key of {size} bytes with --under, at most {KEY_BYTES_MAX}:"
                f" {whole[:40]!r}…"
            )
        return whole
