"""Checkpoint of models: what storage lacks of each, handed to it in transactions, and given back.

Storage is a reader of a model's log, whose cursor is `log.saved`. Two things make it a special
one. What became a hole below its cursor is a row that it has to delete; and since a kill may come
between two transactions, each has to leave on disk a state that this node could have been in:

* The clock comes with the last part of the log only, so a saved clock never covers an update that
  is not saved (I3).
* A hole comes not before what fills its slot now, or a kill in between would take both.
* What a RESET brought replaces what is on disk in one transaction, whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from scuttled.replica.arrival_log import Marks, Piece
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Source

SAVE_ENTRIES_MAX = 2048  # of one model in one transaction: some 3 ms
MARK_AHEAD = 1 << 16  # positions: a row more for so many, and no more of them are lost at a start

# --- what is handed over -------------------------------------------------------------------------


class Pieces:
    """Position, source and record (None: a hole) as the log has them: cheap, also for a million."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[tuple[int, Source, bytes | None]]:
        return chain.from_iterable(
            zip(piece.positions, piece.sources, piece.records, strict=True) for piece in self.pieces
        )

    def __len__(self) -> int:
        return sum(len(piece.records) for piece in self.pieces)


class ModelBatch(NamedTuple):
    """News of one model since the last save."""

    name: str
    data_type: str
    entries: list[tuple[int, Source, bytes | None]] | Pieces
    freed: list[int]  # positions that became holes
    times: list[tuple[Source, int]]  # of the clock, what rose
    end: int  # the log's position up to which this goes
    revision: int  # the clock's, likewise
    floor: Sequence[tuple[Source, int]] = ()  # what rose
    replace: bool = False  # what is on disk of this model goes: this is the whole of it
    floor_revision: int = 0
    marks: Marks | None = None  # of the log; None: as on disk


class Batch(NamedTuple):
    """One transaction."""

    models: list[ModelBatch]
    life: int
    hlc: int = 0  # no timestamp above it may be made before it is on disk (I1); 0: as before

    @property
    def slow(self) -> bool:
        """True if it holds a whole model anew, which may take seconds."""
        return any(model.replace for model in self.models)

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
    marks: Marks = field(default_factory=Marks)


# --- what storage lacks --------------------------------------------------------------------------


def model_batch(model: Scuttlebutt, *, clocks: bool) -> ModelBatch:
    """Batch of what storage lacks of a model, SAVE_ENTRIES_MAX at most; the log notes it as taken.

    `clocks` is whether the clock is to come along, if the log's end does.
    """
    log = model.log
    saved = model.saved
    whole = saved.replaced
    cursor = log.saved
    stop = cursor + SAVE_ENTRIES_MAX
    if whole or log.replaced >= stop:
        # Holes come with this part, so what fills their slots has to; it stands anywhere up to
        # the end.
        stop = log.end
    stop = min(log.end, stop)
    pieces: list[Piece] = []
    while cursor < stop:
        piece = log.piece(cursor, stop)
        cursor = piece.next
        pieces.append(piece)
        if not piece.records:  # a stretch without entries costs nothing
            stop = min(log.end, max(stop, cursor + SAVE_ENTRIES_MAX))
    freed = log.take(cursor)
    entries: Pieces | list[tuple[int, Source, bytes | None]] = Pieces(pieces)
    if not whole:
        entries = list(entries)
    times: list[tuple[Source, int]] = []
    revision = saved.revision
    if whole or (clocks and cursor == log.end):
        times = list(model.clock.items() if whole else model.clock.since(revision))
        revision = model.clock.revision
    return ModelBatch(
        model.name,
        model.data_type,
        entries,
        freed,
        times,
        cursor,
        revision,
        # With every part, since the holes that it tells of are in this one.
        list(model.floor.since(0 if whole else saved.floor_revision)),
        whole,
        model.floor.revision,
        _marks_to_note(model, cursor),
    )


def _marks_to_note(model: Scuttlebutt, upto: int) -> Marks | None:
    """Marks of a log of which that much is saved; None if they stand on disk already."""
    log = model.log
    ahead, forgotten, noted_ms = log.marks
    expired_ms = model.expired_ms
    if upto < log.end:  # what was moved stands at the end, and is not saved yet
        expired_ms = min(expired_ms, noted_ms)
    if upto <= ahead and log.forgotten == forgotten and expired_ms == noted_ms:
        return None
    return Marks(ahead if upto <= ahead else upto + MARK_AHEAD, log.forgotten, expired_ms)


# --- what storage has ----------------------------------------------------------------------------


def note_saved(model: Scuttlebutt, part: ModelBatch) -> None:
    """That is on disk."""
    if model.saved.replaced and not part.replace:
        return  # it was taken before a RESET, and speaks of a log that is no more
    model.log.note_saved(part.end, len(part.freed), part.marks)
    model.saved.note(part.times, part.revision, part.floor_revision, replace=part.replace)


def forget_saved(model: Scuttlebutt) -> None:
    """Storage has lost all it had of this model: it is to be saved as a whole."""
    model.log.forget_saved()
    model.saved.forget()
