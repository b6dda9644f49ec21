"""Operations on models, whatever their type."""

from typing import Any, NamedTuple

from scuttled.client import protocol
from scuttled.control.context import Context
from scuttled.control.control_operation import NOTHING, UNPACED, NoFields, control_operation
from scuttled.control.fields import Fields, number, text
from scuttled.control.model_rows import model_row, model_rows
from scuttled.control.results import Answer, Waiting
from scuttled.control.write_concern import WaitFields, answer_when_held, check_can_hold, read_wait
from scuttled.errors import DataError, Refused, UsageError
from scuttled.models import operations as type_operations
from scuttled.models.map import Map
from scuttled.models.payload import exact
from scuttled.models.registry import MODELS
from scuttled.node.node import DEFAULT_MODEL, Node
from scuttled.replica.slots import OPTION_MS_MAX, Slots
from scuttled.replica.update import Instant, source_text

OPTIONS_MS = ("ttl_ms", "keep_ms")  # what a model can be created with


@control_operation(NoFields, writes=NOTHING)
def model_list(context: Context, request: NoFields, now: Instant) -> Answer:
    return Answer({"models": model_rows(context.node)})


class CreateRequest(NamedTuple):
    model: str
    type: str
    ttl_ms: int | None  # None: as it is
    keep_ms: int | None

    @classmethod
    def read(cls, fields: Fields) -> "CreateRequest":
        name = text(fields, "model")
        data_type = text(fields, "type", Map.data_type)
        if data_type not in MODELS:
            raise UsageError(f"data type '{data_type:.40}', allowed are {', '.join(MODELS)}")
        kind = MODELS[data_type]
        known = kind.settings if issubclass(kind, Slots) else ()
        given = {
            option: number(fields, option, 0, OPTION_MS_MAX)
            for option in OPTIONS_MS
            if option in fields
        }
        for option in given:
            if option not in known:
                raise UsageError(f"a {data_type} has no {option.removesuffix('_ms')}")
        return cls(name, data_type, given.get("ttl_ms"), given.get("keep_ms"))

    @property
    def options(self) -> dict[str, int]:
        """Those that were given."""
        pairs = (("ttl_ms", self.ttl_ms), ("keep_ms", self.keep_ms))
        return {option: ms for option, ms in pairs if ms is not None}


@control_operation(CreateRequest, writes=UNPACED)
def model_create(context: Context, request: CreateRequest, now: Instant) -> Answer:
    node = context.node
    options = request.options
    node.durability.check_writable()
    created = node.create(request.model, request.type)
    model = node.models[request.model]
    if isinstance(model, Slots):
        other = any(model.option_ms(option) != ms for option, ms in options.items())
        if model.cleared or other:
            created = created or model.cleared
            model.set_options(now.wall_ms, **options)
            node.accepted(model)
    return Answer({"created": created}, (model, model.log.end))


class InfoRequest(NamedTuple):
    model: str

    @classmethod
    def read(cls, fields: Fields) -> "InfoRequest":
        return cls(text(fields, "model", DEFAULT_MODEL))


@control_operation(InfoRequest, writes=NOTHING)
def model_info(context: Context, request: InfoRequest, now: Instant) -> Answer:
    model = context.node.model(request.model)
    log = model.log
    return Answer(
        {
            **model_row(model),
            "ttl_ms": model.option_ms("ttl_ms") if isinstance(model, Slots) else 0,
            "keep_ms": model.option_ms("keep_ms") if isinstance(model, Slots) else 0,
            "sources": len(model.clock),
            "log": {"first": log.segments[0].first, "end": log.end, "live": log.live},
            "clock": {source_text(source): time for source, time in model.clock.items()},
            "operations": [
                {"name": op.name, "args": list(op.args), "words": op.words}
                for op in type_operations.operations(type(model))
            ],
        }
    )


class DropRequest(NamedTuple):
    model: str

    @classmethod
    def read(cls, fields: Fields) -> "DropRequest":
        return cls(text(fields, "model"))


@control_operation(DropRequest, writes=UNPACED)
def model_drop(context: Context, request: DropRequest, now: Instant) -> Answer:
    node = context.node
    name = request.model
    known = node.model(name)
    if name == DEFAULT_MODEL:
        raise Refused("model 'default' is always there", hint="scuttled del --prefix ''")
    if isinstance(known, Slots) and known.cleared:
        raise Refused(f"no model '{name}'")
    model = node.model_to_write(name, known.data_type)
    if not isinstance(model, Slots):
        raise Refused(f"model '{name}' is a {model.data_type}, which can't be dropped")
    count = model.drop(now.wall_ms)
    node.accepted(model)
    return Answer({"count": count}, (model, model.log.end))


class CallRequest(NamedTuple):
    model: str
    operation: str
    args: list[Any]
    wait: WaitFields

    @classmethod
    def read(cls, fields: Fields) -> "CallRequest":
        args = fields.get("args", [])
        if not isinstance(args, list):
            raise UsageError("call wants args: [...]")
        wait = read_wait(fields)
        return cls(text(fields, "model", DEFAULT_MODEL), text(fields, "operation"), args, wait)


def _type_called(node: Node, fields: Fields) -> str:
    model = node.models.get(str(fields.get("model", DEFAULT_MODEL)))
    if model is None or not _is_write(type(model), fields.get("operation")):
        return NOTHING
    return model.data_type


def _is_write(data_type: type, name: object) -> bool:
    return any(op.writes and op.name == name for op in type_operations.operations(data_type))


@control_operation(CallRequest, writes=_type_called)
def call(context: Context, request: CallRequest, now: Instant) -> Answer | Waiting:
    node = context.node
    name = request.model
    check_can_hold(node, request.wait.level, now.wall_ms)
    model = node.model(name)
    before = model.log.end
    if name.startswith("_"):
        raise Refused(f"model '{name}' is the system's: it can be read, not called")
    if _is_write(type(model), request.operation):
        node.durability.check_writable()
    try:
        result = exact(type_operations.call(model, request.operation, request.args))
    finally:  # what it wrote before it failed is there
        if model.log.end != before:
            node.accepted(model)
    try:
        protocol.encode({"result": result})
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"the result can't be told: {error}") from None
    if model.log.end == before:
        return Answer({"result": result})
    return answer_when_held(node, model, {"result": result}, request.wait, now)
