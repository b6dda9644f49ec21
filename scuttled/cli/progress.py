"""A bar on stderr, for a person who waits, once the wait is worth one."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

import click

from scuttled.cli import output
from scuttled.cli.settings import Settings

S = TypeVar("S", bound=Sized)

_QUIET_S = 0.5  # shorter work needs no progress bar


class Progress:
    """Of work that is `length` long, in whatever is counted. `with` takes the bar away."""

    def __init__(self, label: str, length: int, settings: Settings) -> None:
        self._label = label
        self._length = length
        self._wanted = not settings.quiet and output.is_watched()
        self._begun = time.monotonic()
        self._done = 0
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def over(self, pieces: Iterable[S]) -> Iterator[S]:
        """The pieces; what is in them is counted as they are taken."""
        for piece in pieces:
            yield piece
            self.advance(len(piece))

    def advance(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._wanted and time.monotonic() - self._begun > _QUIET_S:
            bar: Any = click.progressbar(length=self._length, label=self._label, file=sys.stderr)
            self._bar = bar.__enter__()
            self._bar.update(self._done)
