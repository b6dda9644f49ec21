"""Operations on events: emit one, listen to them."""

from typing import NamedTuple

from scuttled.control.context import Context
from scuttled.control.control_operation import NOTHING, control_operation
from scuttled.control.event_stream import EventStream
from scuttled.control.fields import Fields, flag, text
from scuttled.control.results import Answer, Waiting
from scuttled.control.watch import PATTERNS_MAX
from scuttled.control.write_concern import WaitFields, answer_when_held, check_can_hold, read_wait
from scuttled.errors import Refused, UsageError
from scuttled.models.events import Events, check_name
from scuttled.models.payload import check_value
from scuttled.node.node import Node
from scuttled.replica.update import Instant

EVENTS_MODEL = "events"  # if none is named


class EmitRequest(NamedTuple):
    model: str
    name: str
    kind: int
    value: bytes
    wait: WaitFields

    @classmethod
    def read(cls, fields: Fields) -> "EmitRequest":
        name = text(fields, "name")
        check_name(name)
        wait = read_wait(fields)
        kind, value = check_value(fields.get("kind"), fields.get("value"))
        return cls(text(fields, "model", EVENTS_MODEL), name, kind, value, wait)


@control_operation(EmitRequest, writes=Events.data_type)
def emit(context: Context, request: EmitRequest, now: Instant) -> Answer | Waiting:
    node = context.node
    check_can_hold(node, request.wait.level, now.wall_ms)
    node.durability.check_writable()
    model = _events(node, request.model)
    entry = model.put(request.name, request.kind, request.value)
    node.accepted(model)
    return answer_when_held(node, model, {"entry": entry}, request.wait, now)


class OnRequest(NamedTuple):
    model: str
    names: list[str]  # none: all
    after: str | None  # a cursor, "" for all; None: from now on
    cursor_first: bool

    @classmethod
    def read(cls, fields: Fields) -> "OnRequest":
        names = fields.get("names", [])
        if not isinstance(names, list) or len(names) > PATTERNS_MAX:
            raise UsageError(f"on wants names: [text, ...], at most {PATTERNS_MAX}")
        for name in names:
            check_name(name)
        after = None if fields.get("after") is None else text(fields, "after")
        live = flag(fields, "cursor_first")
        return cls(text(fields, "model", EVENTS_MODEL), names, after, live)


@control_operation(OnRequest, writes=NOTHING)
def on(context: Context, request: OnRequest, now: Instant) -> EventStream:
    node = context.node
    model = _events(node, request.model)
    return EventStream(node, model, request.names, after=request.after, live=request.cursor_first)


def _events(node: Node, name: str) -> Events:
    """That model, which is made if it is new."""
    if name.startswith("_"):
        raise Refused(f"model '{name:.80}' is the system's: it has no events")
    node.create(name, Events.data_type)
    model = node.models[name]
    assert isinstance(model, Events)
    return model
