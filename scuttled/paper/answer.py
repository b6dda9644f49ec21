"""Findings of an experiment, in each of the three forms that a command's answer can have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Findings:
    """The command line picks one of the forms, and says the verdict."""

    header: list[str]
    rows: list[list[str]]  # of a table, for people
    lines: Sequence[Sequence[object]]  # columns, for programs
    objects: Sequence[Mapping[str, Any]]  # JSON; the verdict is among them
    verdict: str  # one line, with the seed
