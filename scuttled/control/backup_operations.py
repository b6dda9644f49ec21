"""Models of somebody else's types, in and out of a backup: by their updates, since nothing is
known of their operations.

A type that fills slots is written anew, as writes of now, as all other models are: each of its
changes means the same whoever writes it (a RESET relies on that, too). Of any other type no more is
known than the two methods it writes, so its updates come back as they were, with their times, their
sources and the clock that covers them: what merges updates can merge these, once or twice.
"""

from typing import Any, NamedTuple

from scuttled.control.context import Context
from scuttled.control.control_operation import NOTHING, UNPACED, control_operation
from scuttled.control.fields import Fields, flag, text
from scuttled.control.results import Answer
from scuttled.errors import DataError, Refused, TooManySources, UsageError
from scuttled.models.registry import MODELS, make_model
from scuttled.node.node import Node
from scuttled.replica.change import CLEAR, DELETED, parse
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.signatures import unsealed
from scuttled.replica.slots import Slots
from scuttled.replica.sources import check_together
from scuttled.replica.update import (
    CHANGE_BYTES_MAX,
    STAMP_BYTES,
    TICKS_PER_MS,
    TIMESTAMP_MAX,
    Instant,
    Source,
    Update,
    parse_source,
    source_text,
    stamp,
)
from scuttled.replica.version_vector import Clock

UPDATES_BYTES_MAX = 2 << 20  # of a model's updates, which are got and given at once
ROW_BYTES = 64  # of each, beside its change


class UpdatesRequest(NamedTuple):
    model: str

    @classmethod
    def read(cls, fields: Fields) -> "UpdatesRequest":
        return cls(text(fields, "model"))


@control_operation(UpdatesRequest, writes=NOTHING)
def updates(context: Context, request: UpdatesRequest, now: Instant) -> Answer:
    """All that a model holds, in order of rank, and what its clock covers."""
    model = context.node.model(request.model)
    rows = []
    size = 0
    for update in model.history(Clock()):
        change = unsealed(update.record)[STAMP_BYTES:] if _fills_slots(model) else update.change
        size += len(change) + ROW_BYTES
        if size > UPDATES_BYTES_MAX:
            raise DataError(
                f"model {model.name} has updates of more than {UPDATES_BYTES_MAX:,} bytes, "
                "which is the most that is got at once"
            )
        rows.append([change, update.timestamp, source_text(update.source)])
    clock = {source_text(source): time for source, time in model.clock.items()}
    return Answer({"type": model.data_type, "updates": rows, "clock": clock})


class MergeRequest(NamedTuple):
    model: str
    type: str
    updates: list[Update]
    clock: dict[Source, int]
    replace: bool
    dry_run: bool

    @classmethod
    def read(cls, fields: Fields) -> "MergeRequest":
        name = text(fields, "model")
        data_type = text(fields, "type")
        if data_type not in MODELS:
            raise Refused(
                f"this daemon knows no data type '{data_type:.40}'",
                hint="scuttled serve --types PACKAGE.MODULE:CLASS",
            )
        return cls(
            model=name,
            type=data_type,
            updates=_read_updates(fields.get("updates")),
            clock=_read_clock(fields.get("clock")),
            replace=flag(fields, "replace"),
            dry_run=flag(fields, "dry_run"),
        )


@control_operation(MergeRequest, writes=UNPACED)
def merge(context: Context, request: MergeRequest, now: Instant) -> Answer:
    """Take in what `updates` gave; all of it, or on an error nothing."""
    probe = _probe(context.node, request, now)
    if _fills_slots(probe):
        return _write_anew(context.node, request, now)
    return _take_back(context.node, request, now)


def _probe(node: Node, request: MergeRequest, now: Instant) -> Scuttlebutt:
    """A model by itself that holds them. Raises DataError if its type can't."""
    probe = make_model(request.model, request.type, Author(node.author.node_id))
    limit = stamp((now.wall_ms + node.max_skew_ms) * TICKS_PER_MS)
    try:
        received = probe.receive([(u.source, [u.record]) for u in request.updates], limit)
    except Exception as error:  # whatever the code of others does with what a file holds
        raise DataError(
            f"an update that a {request.type} can't take: {type(error).__name__}: {error}"
        ) from error
    if received.refused:
        raise DataError(f"{received.refused} updates are stamped in the future")
    return probe


def _write_anew(node: Node, request: MergeRequest, now: Instant) -> Answer:
    held = node.models.get(request.model)
    keys = held.count if isinstance(held, Slots) else 0
    if keys and not request.replace:
        return Answer({"count": 0, "left": keys, "deleted": 0})
    slots = [parse(update.record, update.source) for update in request.updates]
    due = [
        update.change
        for update, slot in zip(request.updates, slots, strict=True)
        if slot.kind != DELETED and slot.slot != CLEAR
        if not 0 < slot.expires_ms <= now.wall_ms
    ]
    counts = {"count": len(due), "left": 0, "deleted": keys}
    if request.dry_run:
        return Answer(counts)
    model = node.model_to_write(request.model, request.type)
    if keys:
        assert isinstance(model, Slots)
        model.drop(now.wall_ms)
    for change in due:
        model.write(change, now.wall_ms)
    node.accepted(model)
    return Answer(counts, (model, model.log.end))


def _take_back(node: Node, request: MergeRequest, now: Instant) -> Answer:
    held = node.models.get(request.model)
    known = held.clock if held is not None else Clock()
    new = [u for u in request.updates if not known.covers(u.source, u.timestamp)]
    counts = {"count": len(new), "left": len(request.updates) - len(new), "deleted": 0}
    if request.dry_run:
        return Answer(counts)
    model = node.model_to_write(request.model, request.type)
    try:
        check_together(model.clock, request.clock, model.name)
    except TooManySources as error:
        raise DataError(error.message) from None
    most = (now.wall_ms + node.max_skew_ms) * TICKS_PER_MS
    model.receive([(update.source, [update.record]) for update in new], stamp(most))
    # Only then the clock: it covers what came, and what was forgotten where it was written.
    model.commit((source, min(time, most)) for source, time in request.clock.items())
    node.accepted(model)
    return Answer(counts, (model, model.log.end))


def _fills_slots(model: Scuttlebutt) -> bool:
    return isinstance(model, Slots)


def _read_updates(value: object) -> list[Update]:
    if not isinstance(value, list):
        raise UsageError("merge wants updates: [[change, timestamp, source], ...]")
    return [_read_update(row) for row in value]


def _read_update(row: Any) -> Update:
    match row:
        case [bytes(change), int(timestamp), str(named)]:
            source = parse_source(named)
            fits = 0 < timestamp <= TIMESTAMP_MAX and len(change) <= CHANGE_BYTES_MAX
            if source is not None and fits:
                return Update(change, timestamp, source)
    raise DataError(f"an update {row!r:.80}, expected change, timestamp, source")


def _read_clock(value: object) -> dict[Source, int]:
    if not isinstance(value, dict):
        raise UsageError("merge wants a clock: {source: timestamp}")
    clock = {}
    for named, time in value.items():
        source = parse_source(named) if isinstance(named, str) else None
        if source is None or type(time) is not int or not 0 <= time <= TIMESTAMP_MAX:
            raise DataError(f"a clock with {named!r:.60}: {time!r:.40}")
        clock[source] = time
    return clock
