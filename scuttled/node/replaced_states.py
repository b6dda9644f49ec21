"""Replaced states of models: reports of what became of them, and what is left to be freed.

A state is replaced by a peer's at a RESET (see `replica/rejoin`), or by what is left of it when the
future is taken back (see `future`). What it was is let go of a little at a time: to free a
million updates at once would stall the loop.
"""

from collections.abc import Iterable

from scuttled.node.future import TakenBack
from scuttled.replica.rejoin import Rejoined
from scuttled.replica.scuttlebutt import Husk

REPORTS_MAX = 20  # of each kind
SHED_PER_CALL = 40_000  # updates: some 5 ms


class ReplacedStates:
    """Reports of models that are others now."""

    def __init__(self) -> None:
        # The latest REPORTS_MAX, oldest first. Lists are replaced, so a reader may keep one.
        self.resets: list[Rejoined] = []
        self.taken_back: list[TakenBack] = []
        self._husks: list[Husk] = []

    def note_reset(self, report: Rejoined) -> None:
        self.resets = [*self.resets, report][-REPORTS_MAX:]

    def note_taken_back(self, report: TakenBack) -> None:
        self.taken_back = [*self.taken_back, report][-REPORTS_MAX:]

    def let_go(self, husks: Iterable[Husk]) -> None:
        """Have `shed` free what models were before."""
        self._husks += husks

    def shed(self) -> None:
        """Free a part of each; to be called often."""
        self._husks = [husk for husk in self._husks if husk.shed(SHED_PER_CALL)]
