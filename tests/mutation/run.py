"""Breaks the code, one line at a time, and looks whether a test notices. Run by hand:

    python tests/mutation/run.py --count 60 --seed 7
    python tests/mutation/run.py --only protocol/session.py --count 20
    python tests/mutation/run.py --named                    # what once survived, and must not again

In a copy of the tree, never in the tree. Of each file only the tests that cover it are run, up to
the first that fails. What survives is shown as the line and what it became; it wants a test, or,
where nothing can tell the two apart, its line in EQUAL with the reason. Exit 1 if anything else
survived.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from breaks import Break, breaks_of
from known import EQUAL, NAMED, TESTS

ROOT = Path(__file__).parents[2]
LEAST_S = 30.0  # for the tests of one break; else so many times what they take unbroken
SLOWER = 4.0
BASELINE_S = 300.0


class Tried(NamedTuple):
    where: str  # file:line
    was: str
    became: str
    outcome: str  # killed, timeout, survived, equal


class Copy:
    """The tree somewhere else, where it may be broken."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._limits: dict[tuple[str, ...], float] = {}
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.split("\0"):
            if name and (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place / name)

    def source(self, file: str) -> bytes:
        """As it was when the copy was made: the tree may change meanwhile."""
        return self._path(file).read_bytes()

    def _path(self, file: str) -> Path:
        return self.place / "scuttled" / file

    def outcome(self, file: str, broken: bytes, tests: tuple[str, ...]) -> str:
        limit_s = self._limit_s(tests)
        path = self._path(file)
        whole = path.read_bytes()
        path.write_bytes(broken)
        try:
            return self._run(path, tests, limit_s)
        finally:
            path.write_bytes(whole)
            self._forget_compiled(path)

    def _limit_s(self, tests: tuple[str, ...]) -> float:
        """Raises SystemExit if they fail on the code as it is."""
        if tests not in self._limits:
            began = time.monotonic()
            if (outcome := self._run(None, tests, BASELINE_S)) != "survived":
                sys.exit(f"unbroken, {' '.join(tests)} end with: {outcome}")
            self._limits[tests] = max(LEAST_S, SLOWER * (time.monotonic() - began))
        return self._limits[tests]

    def _run(self, path: Path | None, tests: tuple[str, ...], limit_s: float) -> str:
        if path is not None:
            self._forget_compiled(path)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environ = {**os.environ, "PYTHONPATH": str(self.place)}
        process = subprocess.Popen(
            command, cwd=self.place, env=environ, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return "timeout"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return "survived" if code == 0 else "killed"

    def _forget_compiled(self, path: Path) -> None:
        """A break may be as long as what it breaks, and as old to the second."""
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def picked(copy: Copy, only: str, count: int, seed: int) -> list[tuple[str, Break]]:
    """By file in turn, so that a long file does not take all."""
    rng = random.Random(seed)
    by_file = {}
    for file in TESTS:
        if only in file:
            found = breaks_of(copy.source(file))
            rng.shuffle(found)
            by_file[file] = found
    chosen: list[tuple[str, Break]] = []
    while len(chosen) < count and any(by_file.values()):
        for file in rng.sample(sorted(by_file), len(by_file)):
            if by_file[file] and len(chosen) < count:
                chosen.append((file, by_file[file].pop()))
    return chosen


def tried(copy: Copy, only: str, count: int, seed: int) -> Iterator[Tried]:
    for file, broken in picked(copy, only, count, seed):
        source = copy.source(file)
        lines = broken.apply(source).decode().splitlines()
        was = _code(source.decode().splitlines()[broken.line - 1])
        became = _code(lines[broken.line - 1])
        outcome = copy.outcome(file, broken.apply(source), TESTS[file])
        if outcome == "survived" and (file, was, became) in EQUAL:
            outcome = "equal"
        yield Tried(f"{file}:{broken.line}", was, became, outcome)


def _code(line: str) -> str:
    """A line without what is said of it."""
    return line.partition("  #")[0].strip()


def tried_by_name(copy: Copy, only: str) -> Iterator[Tried]:
    for file, was, became in NAMED:
        if only in file:
            source = copy.source(file).decode()
            if source.count(was) != 1:
                sys.exit(f"{file} has {source.count(was)} times: {was}")
            broken = source.replace(was, became).encode()
            yield Tried(file, was, became, copy.outcome(file, broken, TESTS[file]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="PART", help="of a file's name")
    parser.add_argument("--named", action="store_true", help="the breaks that are known by name")
    given = parser.parse_args()
    os.nice(19)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="scuttled-broken-") as place:
        copy = Copy(Path(place))
        named = tried_by_name(copy, given.only)
        for one in named if given.named else tried(copy, given.only, given.count, given.seed):
            outcomes[one.outcome] += 1
            print(f"{one.outcome:9} {one.where}: {one.was}  ->  {one.became}", flush=True)
    caught = outcomes["killed"] + outcomes["timeout"]
    told = outcomes.total() - outcomes["equal"]
    print(f"{dict(outcomes)}: {caught} of {told} caught")
    return 1 if outcomes["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
