"""What is handed to storage and what it hands back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from scuttled.core.scuttlebutt import Scuttlebutt
from scuttled.core.update import NodeId, Source


class ModelBatch(NamedTuple):
    """What is new in one model since the last save."""

    name: str
    data_type: str
    entries: list[tuple[int, Source, bytes | None]]  # position, source, record; None: a hole
    freed: list[int]  # positions that became holes
    times: list[tuple[Source, int]]  # of the clock, what rose
    end: int  # the log's position up to which this goes
    revision: int  # the clock's, likewise
    floor: Sequence[tuple[Source, int]] = ()  # what rose
    replace: bool = False  # what is on disk of this model goes: this is the whole of it


class Batch(NamedTuple):
    """One transaction."""

    models: list[ModelBatch]
    life: int
    hlc: int = 0  # no timestamp above it may be made before it is on disk (I1); 0: as before

    @property
    def rows(self) -> int:
        """Roughly what it costs to write."""
        return sum(len(model.entries) + len(model.freed) for model in self.models)


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model as it was saved; positions ascend."""

    name: str
    data_type: str
    positions: list[int]
    records: list[bytes]
    sources: list[Source]
    clock: dict[Source, int]
    floor: dict[Source, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a state belongs to."""

    node_id: NodeId
    life: int
    last: int = 0  # the node has made no timestamp above it


def model_batch(model: Scuttlebutt, entries_max: int, *, clocks: bool) -> ModelBatch:
    """What storage lacks of a model, up to `entries_max`; marks it as taken.

    The clock goes with the last part only: a saved clock never covers an unsaved update. And
    what is no longer there goes with what replaced it, or a kill in between would take both.
    """
    log = model.log
    entries: list[tuple[int, Source, bytes | None]] = []
    cursor, stop = log.saved, log.saved + entries_max
    if log.replaced >= stop:
        stop = log.end
    stop = min(log.end, stop)
    freed = list(log.freed)
    while cursor < stop:
        piece = log.piece(cursor, stop)
        cursor = piece.next
        entries += zip(piece.positions, piece.sources, piece.records, strict=True)
        if not entries:  # a stretch without entries costs nothing
            stop = min(log.end, max(stop, cursor + entries_max))
    log.taken = cursor
    times, revision = [], model.saved_revision
    if clocks and cursor == log.end:
        times, revision = list(model.clock.since(revision)), model.clock.revision
    return ModelBatch(model.name, model.data_type, entries, freed, times, cursor, revision)
