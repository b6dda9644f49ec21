"""Storage as a reader of a model's log: what it lacks, and what follows from its having it."""

from scuttled.replica.arrival_log import Marks, Piece
from scuttled.replica.checkpoint import ModelBatch, Pieces
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Source
from scuttled.replica.version_vector import Clock

SAVE_ENTRIES_MAX = 2048  # of one model in one transaction: some 3 ms
MARK_AHEAD = 1 << 16  # positions: a row more for so many, and no more of them are lost at a start


def model_batch(model: Scuttlebutt, *, clocks: bool) -> ModelBatch:
    """What storage lacks of a model, up to SAVE_ENTRIES_MAX; marks it as taken.

    The clock goes with the last part only: a saved clock never covers an unsaved update. And
    what is no longer there goes with what replaced it, or a kill in between would take both.
    """
    log = model.log
    pieces: list[Piece] = []
    cursor, stop = log.saved, log.saved + SAVE_ENTRIES_MAX
    if log.replaced >= stop or model.replaced:
        stop = log.end
    stop = min(log.end, stop)
    freed = list(log.freed)
    while cursor < stop:
        piece = log.piece(cursor, stop)
        cursor = piece.next
        pieces.append(piece)
        if not piece.records:  # a stretch without entries costs nothing
            stop = min(log.end, max(stop, cursor + SAVE_ENTRIES_MAX))
    log.taken = cursor
    times, revision = [], model.saved_revision
    if model.replaced:
        times, revision = list(model.clock.items()), model.clock.revision
    elif clocks and cursor == log.end:
        times, revision = list(model.clock.since(revision)), model.clock.revision
    entries: Pieces | list[tuple[int, Source, bytes | None]] = Pieces(pieces)
    if not model.replaced:
        entries = list(entries)
    floor = list(model.floor.since(0 if model.replaced else model.saved_floor))
    return ModelBatch(
        model.name, model.data_type, entries, freed, times, cursor, revision,
        floor, model.replaced, model.floor.revision, _marks_to_note(model, cursor),
    )  # fmt: skip


def _marks_to_note(model: Scuttlebutt, upto: int) -> Marks | None:
    """What is to be known of a log of which that much is saved; None if it stands there already."""
    log = model.log
    ahead, forgotten, noted_ms = log.marks
    expired_ms = model.expired_ms
    if upto < log.end:  # what was moved stands at the end, and is not saved yet
        expired_ms = min(expired_ms, noted_ms)
    if upto <= ahead and log.forgotten == forgotten and expired_ms == noted_ms:
        return None
    return Marks(ahead if upto <= ahead else upto + MARK_AHEAD, log.forgotten, expired_ms)


def note_saved(model: Scuttlebutt, part: ModelBatch) -> None:
    """That is on disk."""
    if model.replaced and not part.replace:
        return  # it was taken before a RESET, and speaks of a log that is no more
    model.log.saved = part.end
    if part.marks is not None:
        model.log.marks = part.marks
    del model.log.freed[: len(part.freed)]
    if part.replace:
        model.replaced, model.saved_clock = False, Clock()
    model.saved_clock.merge(part.times)
    model.saved_revision, model.saved_floor = part.revision, part.floor_revision


def forget_saved(model: Scuttlebutt) -> None:
    """Storage has lost all it had of this model: it is to be saved as a whole."""
    model.log.forget_saved()
    model.saved_revision = model.saved_floor = 0
    model.saved_clock = Clock()
