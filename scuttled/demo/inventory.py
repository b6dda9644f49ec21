"""Real keys to show, found on this machine."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

_FILES_MAX = 2000  # of the library: reading them all would take longer than the demo
_DPKG_S = 5.0


class Inventory(NamedTuple):
    """Real keys to show: what they are, in words, and their values."""

    words: str
    entries: dict[str, bytes]


def inventory(limit: int | None) -> Inventory:
    """The packages of this machine, or where it has no dpkg, files of Python's library."""
    found = Inventory("the packages of this machine, from dpkg-query", _packages())
    if not found.entries:
        files = _library(min(limit or _FILES_MAX, _FILES_MAX))
        found = Inventory("files of Python's library, with size and checksum", files)
    return found._replace(entries=dict(sorted(found.entries.items())[:limit]))


def _packages() -> dict[str, bytes]:
    program = shutil.which("dpkg-query")
    if program is None:
        return {}
    command = [program, "-W", "-f", "${Package}\t${Version}\n"]
    try:
        listed = subprocess.run(command, capture_output=True, timeout=_DPKG_S, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return {}
    return read_packages(listed.decode("utf-8", "replace"))


def read_packages(listed: str) -> dict[str, bytes]:
    """`pkg/NAME` -> version, of lines NAME, tab, VERSION. One without a version is not there."""
    pairs = (line.split("\t") for line in listed.splitlines() if line.count("\t") == 1)
    return {f"pkg/{name}": version.encode() for name, version in pairs if name and version}


def _library(limit: int) -> dict[str, bytes]:
    """`lib/PATH` -> size and SHA-256 of the first so many files."""
    root = Path(os.__file__).parent
    found: dict[str, bytes] = {}
    for path in islice(_sources(root), limit):
        content = path.read_bytes()
        name = path.relative_to(root).as_posix()
        found[f"lib/{name}"] = f"{len(content)} {hashlib.sha256(content).hexdigest()}".encode()
    return found


def _sources(root: Path) -> Iterator[Path]:
    for directory, inner, files in os.walk(root):
        inner[:] = sorted(set(inner) - {"site-packages", "dist-packages"})
        paths = (Path(directory, name) for name in sorted(files) if name.endswith(".py"))
        yield from (path for path in paths if os.access(path, os.R_OK))
