"""Looks longer, and where nobody has been: keeps what reaches new lines, and tells how many.

    python tests/fuzz/hunt.py link --for 600        ten minutes at one door, guided by coverage
    python tests/fuzz/hunt.py link FILE...          these inputs again
    python tests/fuzz/hunt.py link --keep           inputs that reached new lines go to the corpus

Doors: link, flight, npm, control, config, imports, database. It ends at the first finding, by its
traceback; otherwise with the lines of the rooms behind the door that were reached.
"""

import argparse
import random
import sys
import time
from hashlib import blake2b
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import pytest  # noqa: E402 - a script, from where it lies
from support.doors import CORPUS, Door  # noqa: E402
from support.link_door import LinkDoor, lower_maxima  # noqa: E402
from support.mutate import Mutator  # noqa: E402
from test_config_door import ConfigDoor  # noqa: E402
from test_control_door import ControlDoor  # noqa: E402
from test_database_door import DatabaseDoor  # noqa: E402
from test_flight_door import FlightDoor  # noqa: E402
from test_import_door import ImportDoor  # noqa: E402
from test_npm_door import NpmDoor  # noqa: E402

DOORS: tuple[type[Door], ...] = (
    LinkDoor, FlightDoor, NpmDoor, ControlDoor, ConfigDoor, ImportDoor, DatabaseDoor,
)  # fmt: skip
PACKAGE = HERE.parents[1] / "scuttled"
FILE_BYTES_MAX = 8192  # of what is kept


class Lines:
    """Which lines of some files were reached."""

    def __init__(self, rooms: tuple[str, ...]) -> None:
        self.files = {str(PACKAGE / room): room for room in rooms}
        self.seen: set[tuple[str, int]] = set()

    def __enter__(self) -> "Lines":
        sys.settrace(self._call)  # for each input: an error deep down may end it
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in self.files else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def report(self) -> None:
        for path, room in self.files.items():
            there = lines_of(compile(Path(path).read_text(), path, "exec"))
            reached = there & {line for file, line in self.seen if file == path}
            missing = ",".join(map(str, sorted(there - reached)))
            print(f"{100 * len(reached) / max(len(there), 1):4.0f} %  {room:24} not: {missing}")


def lines_of(code: CodeType) -> set[int]:
    """Lines within functions; those of a module and its classes run when it is imported."""
    found: set[int] = set()
    for inner in (constant for constant in code.co_consts if isinstance(constant, CodeType)):
        found |= lines_of(inner)
        if inner.co_flags & 2:  # CO_NEWLOCALS: a function, not the body of a class
            found |= {line for _, _, line in inner.co_lines() if line} - {inner.co_firstlineno}
    return found


def hunt(door: Door, seconds: float, seed: int, *, keep: bool) -> None:
    corpus = door.corpus()
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    known = len(corpus)
    tried = 0
    lines = Lines(door.rooms)
    for data in list(corpus):
        with lines:
            door.try_(data)
    while time.monotonic() < end:
        before = len(lines.seen)
        tried += 1
        data = door.mutated(Mutator(rng), rng.choice(corpus), corpus)
        with lines:
            door.try_(data)
        if len(lines.seen) > before:
            corpus.append(data)
    lines.report()
    print(f"{tried} inputs, {len(corpus) - known} of them reached new lines")
    for data in corpus[known:] if keep else ():
        if len(data) <= FILE_BYTES_MAX:
            name = f"reached-{blake2b(data, digest_size=4).hexdigest()}"
            (CORPUS / door.name / name).write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("door", choices=[door.name for door in DOORS])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--for", dest="seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    door = next(door for door in DOORS if door.name == options.door)()
    lower_maxima(pytest.MonkeyPatch())
    for file in options.files:
        door.try_(file.read_bytes())
    if not options.files:
        hunt(door, options.seconds, options.seed, keep=options.keep)


if __name__ == "__main__":
    main()
