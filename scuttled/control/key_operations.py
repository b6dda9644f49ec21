"""Operations on keys and values."""

from typing import NamedTuple

from scuttled.control.bulk_load import Load, read_load
from scuttled.control.context import Context
from scuttled.control.control_operation import NOTHING, control_operation
from scuttled.control.cursors import Clocks, check_clocks, split_cursor
from scuttled.control.fields import Fields, flag, number, text
from scuttled.control.results import Answer, Waiting
from scuttled.control.scan import Scan
from scuttled.control.tally import Tally
from scuttled.control.watch import Watch
from scuttled.control.write_concern import WaitFields, answer_when_held, check_can_hold, read_wait
from scuttled.errors import DataError, Refused, UsageError
from scuttled.models.map import TTL_MS_MAX, Map, key_slot
from scuttled.models.payload import check_value
from scuttled.models.whole import whole
from scuttled.node.node import DEFAULT_MODEL, Node
from scuttled.replica.change import SLOT_BYTES_MAX, Slot
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant, rev_text

WHOLE_BYTES_MAX = 768 << 10  # of a model that is got as one value
DEPTH_MAX = SLOT_BYTES_MAX  # slashes in a key
PATIENCE_S = 35.0  # until a node has what a watch's cursor covers: redials take up to 30 s
ALONE_PATIENCE_S = 3.0  # if it knows of nobody who could bring that

# --- one key -------------------------------------------------------------------------------------


class GetRequest(NamedTuple):
    model: str
    key: str | None  # None: all of the model

    @classmethod
    def read(cls, fields: Fields) -> "GetRequest":
        model = text(fields, "model", DEFAULT_MODEL)
        return cls(model, text(fields, "key") if "key" in fields else None)


@control_operation(GetRequest, writes=NOTHING)
def get(context: Context, request: GetRequest, now: Instant) -> Answer:
    node = context.node
    key = request.key
    if key is None:
        return _get_whole(node.model(request.model))
    model = _slots(node, request.model)
    if isinstance(model, Map):
        found = model.find(key, now.wall_ms)
    else:
        found = model.find_label(key.encode("utf-8", "surrogateescape"))
    if found is None:
        raise Refused(f"no key '{key:.200}' in model {model.name}")
    kind, value = model.value(found)
    return Answer(
        {
            "kind": kind,
            "value": value,
            "rev": found.rev,
            "name": node.name_of(found.source),
            "expires_ms": found.expires_ms,
        }
    )


def _get_whole(model: Scuttlebutt) -> Answer:
    kind, value = whole(model)
    if len(value) > WHOLE_BYTES_MAX:
        size = len(value)
        most = WHOLE_BYTES_MAX
        raise DataError(
            f"model {model.name} is {size:,} bytes as JSON, at most {most:,} are got at once",
            hint=f"scuttled -m {model.name} ls -l",
        )
    return Answer({"kind": kind, "value": value})


class SetRequest(NamedTuple):
    model: str
    key: str
    kind: int
    value: bytes
    ttl_ms: int
    if_absent: bool
    if_rev: str  # "": whatever is there
    wait: WaitFields

    @classmethod
    def read(cls, fields: Fields) -> "SetRequest":
        key = text(fields, "key")
        key_slot(key)
        wait = read_wait(fields)
        kind, value = check_value(fields.get("kind"), fields.get("value"))
        ttl_ms = number(fields, "ttl_ms", 0, TTL_MS_MAX)
        model = text(fields, "model", DEFAULT_MODEL)
        if_absent = flag(fields, "if_absent")
        if_rev = text(fields, "if_rev", "")
        return cls(model, key, kind, value, ttl_ms, if_absent, if_rev, wait)


@control_operation(SetRequest, writes=Map.data_type)
def set_(context: Context, request: SetRequest, now: Instant) -> Answer | Waiting:
    node = context.node
    check_can_hold(node, request.wait.level, now.wall_ms)
    known = node.models.get(request.model)
    found = known.find(request.key, now.wall_ms) if isinstance(known, Map) else None
    _check_conditions(request, found)
    model = _map_to_write(node, request.model)
    update = model.put(request.key, request.kind, request.value, now.wall_ms, request.ttl_ms)
    node.accepted(model)
    ok = {"rev": rev_text(update.timestamp, update.source)}
    return answer_when_held(node, model, ok, request.wait, now)


def _check_conditions(request: SetRequest, found: Slot | None) -> None:
    key = request.key
    rev = request.if_rev
    if request.if_absent and found is not None:
        raise Refused(f"{key:.200} not written: it is there, at rev {found.rev}")
    if rev and (found is None or found.rev != rev):
        seen = "it is not there" if found is None else f"it is at rev {found.rev}"
        raise Refused(f"{key:.200} not written: {seen}, not at {rev}")


# --- many keys -----------------------------------------------------------------------------------


class LoadRequest(NamedTuple):
    model: str
    load: Load

    @classmethod
    def read(cls, fields: Fields) -> "LoadRequest":
        load = read_load(fields)
        return cls(text(fields, "model", DEFAULT_MODEL), load)


def _unless_tried(node: Node, fields: Fields) -> str:
    return NOTHING if fields.get("dry_run") else Map.data_type


def _a_pair(fields: Fields) -> int:
    pairs = fields.get("pairs")
    return max(len(pairs) // 2, 1) if isinstance(pairs, list) else 1


@control_operation(LoadRequest, writes=_unless_tried, cost=_a_pair)
def load(context: Context, request: LoadRequest, now: Instant) -> Answer:
    node = context.node
    name = request.model
    if request.load.dry_run:
        is_there = name in node.models or name.startswith("_")
        tried = _map_to_write(node, name) if is_there else None
        return Answer(request.load.carry_out(tried, now.wall_ms))
    model = _map_to_write(node, name)
    counts = request.load.carry_out(model, now.wall_ms)
    node.accepted(model)
    return Answer(counts, (model, model.log.end))


class DelRequest(NamedTuple):
    model: str
    keys: list[str]
    wait: WaitFields

    @classmethod
    def read(cls, fields: Fields) -> "DelRequest":
        keys = fields.get("keys")
        if not isinstance(keys, list):
            raise UsageError("del wants keys: [key, ...]")
        wait = read_wait(fields)
        for key in keys:
            key_slot(key)
        return cls(text(fields, "model", DEFAULT_MODEL), keys, wait)


def _a_key(fields: Fields) -> int:
    keys = fields.get("keys")
    return max(len(keys), 1) if isinstance(keys, list) else 1


@control_operation(DelRequest, writes=Map.data_type, cost=_a_key)
def del_(context: Context, request: DelRequest, now: Instant) -> Answer | Waiting:
    node = context.node
    check_can_hold(node, request.wait.level, now.wall_ms)
    node.model(request.model)  # else it would be made
    model = _map_to_write(node, request.model)
    gone = [model.discard(key, now.wall_ms) for key in request.keys]
    node.accepted(model)
    count = sum(update is not None for update in gone)
    if not count:  # nothing was written that others could have
        return Answer({"count": 0}, (model, model.log.end))
    return answer_when_held(node, model, {"count": count}, request.wait, now)


# --- streams -------------------------------------------------------------------------------------


class ListRequest(NamedTuple):
    model: str
    pattern: str
    values: bool
    deleted: bool

    @classmethod
    def read(cls, fields: Fields) -> "ListRequest":
        return cls(
            model=text(fields, "model", DEFAULT_MODEL),
            pattern=text(fields, "pattern", ""),
            values=flag(fields, "values"),
            deleted=flag(fields, "deleted"),
        )


@control_operation(ListRequest, writes=NOTHING)
def list_(context: Context, request: ListRequest, now: Instant) -> Scan:
    return Scan(
        context.node,
        _slots(context.node, request.model),
        request.pattern,
        values=request.values,
        deleted=request.deleted,
    )


class TallyRequest(NamedTuple):
    model: str
    pattern: str
    depth: int
    deleted: bool

    @classmethod
    def read(cls, fields: Fields) -> "TallyRequest":
        return cls(
            model=text(fields, "model", DEFAULT_MODEL),
            pattern=text(fields, "pattern", ""),
            depth=number(fields, "depth", 0, DEPTH_MAX),
            deleted=flag(fields, "deleted"),
        )


@control_operation(TallyRequest, writes=NOTHING)
def tally(context: Context, request: TallyRequest, now: Instant) -> Tally:
    return Tally(
        _slots(context.node, request.model),
        request.pattern,
        depth=request.depth,
        deleted=request.deleted,
    )


class WatchRequest(NamedTuple):
    model: str  # "": all models of users
    patterns: list[str]
    snapshot: bool
    after: str  # a cursor, or ""
    clock: Clocks
    durable: bool

    @classmethod
    def read(cls, fields: Fields) -> "WatchRequest":
        patterns = fields.get("patterns", [])
        if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
            raise UsageError("watch wants patterns: [text, ...]")
        after, clock = split_cursor(text(fields, "after", ""))
        if "clock" in fields:
            clock = check_clocks(fields["clock"])
        return cls(
            model=text(fields, "model", ""),
            patterns=patterns,
            snapshot=flag(fields, "snapshot"),
            after=after,
            clock=clock,
            durable=flag(fields, "durable"),
        )


@control_operation(WatchRequest, writes=NOTHING)
def watch(context: Context, request: WatchRequest, now: Instant) -> Watch:
    alone = len(context.daemon.peers(now)) <= 1  # there is but this node itself
    patience_s = ALONE_PATIENCE_S if alone else PATIENCE_S
    return Watch(
        context.node,
        request.model,
        request.patterns,
        snapshot=request.snapshot,
        after=request.after,
        clock=request.clock,
        durable=request.durable,
        patient_until_s=now.mono_s + patience_s,
    )


# --- models of a type ----------------------------------------------------------------------------


def _slots(node: Node, name: str) -> Slots:
    model = node.model(name)
    if not isinstance(model, Slots):
        raise Refused(f"model '{name}' is a {model.data_type}, which has no keys")
    return model


def _map_to_write(node: Node, name: str) -> Map:
    model = node.model_to_write(name, Map.data_type)
    assert isinstance(model, Map)
    return model
