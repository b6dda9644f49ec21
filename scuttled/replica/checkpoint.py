"""What is handed to storage and what it hands back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from scuttled.replica.arrival_log import Marks, Piece
from scuttled.replica.update import NodeId, Source


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
    """What is new in one model since the last save."""

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
        """Whether it holds a whole model anew, which may take seconds."""
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


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a state belongs to."""

    node_id: NodeId
    life: int
    last: int = 0  # the node has made no timestamp above it
