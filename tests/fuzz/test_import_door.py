"""Files to import, damaged and made up: refused as a whole, or what they say is taken as a whole.

What the command lets through, the daemon takes: nothing is refused in the middle.
"""

import io
import random
from collections.abc import Iterator

import pytest
from support.doors import Door, check_words
from support.link_door import lower_maxima
from support.mutate import Mutator
from support.scenes import NOW, WALL, a_door, a_node
from support.soundness import check_node

from scuttled.cli.import_contents import Contents
from scuttled.cli.import_run import batches
from scuttled.control.operations import Requests
from scuttled.control.results import Answer
from scuttled.errors import DataError
from scuttled.models.map import Map


class Quiet:
    """A progress bar that nobody sees."""

    def over(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        return lines


class ImportDoor(Door):
    name = "imports"
    rooms = (
        "cli/import_format.py",
        "cli/import_contents.py",
        "cli/formatting.py",
        "control/bulk_load.py",
        "models/payload.py",
    )

    def mutated(self, m: Mutator, data: bytes, corpus: list[bytes]) -> bytes:
        m.known = (
            *m.known,
            "key",
            "value",
            "value_b64",
            "raw",
            "kind",
            "json",
            "end",
            "model",
            "v",
        )
        m.known = (
            *m.known,
            "expires_ms",
            "ttl_ms",
            "scuttled_export",
            "models",
            "keys",
            True,
            1,
            "AA==",
        )
        lines = data.split(b"\n")
        others = m.rng.choice(corpus).split(b"\n")
        if m.rng.random() < 0.4:  # or nothing behind the checksum would ever be reached
            lines = [line for line in lines if b"sha256" not in line]
            lines = [line for line in lines if b"scuttled_export" not in line]
        for _ in range(m.times()):
            at = m.rng.randrange(len(lines) or 1)
            if m.rng.random() < 0.3 or not lines:
                lines = m.sequence(lines, others)
            else:
                lines[at] = self._changed(m, lines[at])
        return b"\n".join(lines)

    def _changed(self, m: Mutator, line: bytes) -> bytes:
        import json

        try:
            return m.dump_json(m.tree(json.loads(line)))
        except (ValueError, RecursionError):
            return m.bytes(line)

    def take(self, data: bytes, rng: random.Random) -> None:
        tsv = b"\t" in data[:100] if rng.random() < 0.9 else rng.random() < 0.5
        contents = Contents(io.BytesIO(data), "it", tsv=tsv, under=rng.choice(("", "", "old/")))
        progress: object = Quiet()
        try:
            contents.check(WALL, progress)  # type: ignore[arg-type]
        except DataError as error:
            check_words(error.message, most=1000, any_of=("line ", "empty"))
            return
        node = a_node(1)
        requests = Requests(node, a_door())
        entries = contents.entries(contents.parts.keys(), progress)  # type: ignore[arg-type]
        for name, fields in batches(entries):
            model = name or "default"
            answer = requests.carry_out({"op": "load", "model": model, **fields}, NOW)
            assert isinstance(answer, Answer)
        check_node(node, NOW)
        for name, part in contents.parts.items():
            model = node.models.get(name or "default")
            keys = {key for key in part.places if part.has(key)}
            assert not keys or isinstance(model, Map)
            assert all(model is not None and model.find(key, WALL) for key in keys)  # type: ignore[attr-defined]


def test_whatever_stands_in_a_file_it_is_taken_as_a_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lower_maxima(monkeypatch)
    ImportDoor().fuzz(600)
