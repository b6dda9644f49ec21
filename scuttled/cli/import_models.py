"""Models that are no maps, from what an export says of them: by the operations of their type.

Such a model stands whole in its line of the export, as `get` writes it. It is made anew only where
there is nothing of it: to merge a log or a counter into itself would count everything twice.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from scuttled.cli.formatting import from_base64, parse_json, value_fields

Call = tuple[str, list[Any]]  # an operation and its arguments

_PUSHED_MAX = 200  # values in one call


class _Type(NamedTuple):
    holds: type | tuple[type, ...]  # what its JSON is
    calls: Callable[[Any], Iterator[Call]]


def _entries(operation: str) -> Callable[[Any], Iterator[Call]]:
    return lambda state: ((operation, [entry]) for entry in state)


def _value(state: Any) -> Iterator[Call]:
    if state is not None:
        yield "set", [state]


def _counter(state: Any) -> Iterator[Call]:
    if state:
        yield "add", [state]


def _doc(state: Any) -> Iterator[Call]:
    return (("put", [row, fields]) for row, fields in state.items())


def _events(state: Any) -> Iterator[Call]:
    return (("emit", [event["name"], event["payload"]]) for event in state)


def _sequence(state: Any) -> Iterator[Call]:
    for at in range(0, len(state), _PUSHED_MAX):
        yield "insert", [at, state[at : at + _PUSHED_MAX]]


_TYPES = {
    "value": _Type(object, _value),
    "log": _Type(list, _entries("append")),
    "events": _Type(list, _events),
    "set": _Type(list, _entries("add")),
    "counter": _Type(int, _counter),
    "doc": _Type(dict, _doc),
    "sequence": _Type(list, _sequence),
}


def is_own_type(data_type: str) -> bool:
    """True if it is somebody else's, of which nothing is known here."""
    return data_type != "map" and data_type not in _TYPES


def is_restorable(data_type: str, state: Any) -> bool:
    """True if that can be all of a model of that type."""
    known = _TYPES.get(data_type)
    if known is None or not isinstance(state, known.holds):
        return False
    if data_type == "counter" and type(state) is not int:  # true is a number to Python only
        return False
    match data_type, state:
        case "events", list():
            named = [event for event in state if isinstance(event, dict)]
            return len(named) == len(state) and all(
                {"name", "payload"} <= set(event) and isinstance(event["name"], str)
                for event in named
            )
        case "doc", dict():
            return all(isinstance(fields, dict) for fields in state.values())
    return True


def calls(data_type: str, state: Any) -> Iterator[Call]:
    """The operations that make an empty model that one."""
    return _TYPES[data_type].calls(state)


def state_of(data_type: str, kind: str, value: bytes) -> Any:
    """All of a model, as the daemon gave it, in the form that an export has (models/payload.py)."""
    parsed = parse_json(value) if kind == "json" else None
    if data_type != "value" and parsed is not None:
        return parsed[0]
    if parsed is not None and not isinstance(parsed[0], str) and not _is_wrapped(parsed[0]):
        return parsed[0]
    told = value_fields(kind, value)
    return told["value"] if set(told) == {"value"} else told


def plain_state(data_type: str, state: Any) -> Any:
    """A state with each value as an operation takes it: bytes as text with stray bytes."""
    if data_type in ("set", "counter"):  # whose JSON is the elements themselves
        return state
    match data_type, state:
        case "value", _:
            return _plain(state)
        case "events", list():
            return [
                {**event, "payload": _plain(event.get("payload"))}
                if isinstance(event, dict)
                else event
                for event in state
            ]
        case "doc", dict():
            return {
                row: {field: _plain(value) for field, value in fields.items()}
                if isinstance(fields, dict)
                else fields
                for row, fields in state.items()
            }
        case _, list():
            return [_plain(value) for value in state]
    return state


def _is_wrapped(value: object) -> bool:
    """True of an object in which a value stands that would be mistaken for another."""
    return isinstance(value, dict) and ("value_b64" in value or {"kind", "value"} <= value.keys())


def _plain(value: Any) -> Any:
    if not _is_wrapped(value):
        return value
    if "value" in value:
        return value["value"]
    try:
        data = from_base64(value["value_b64"])
    except (ValueError, TypeError):
        return value  # what no export of ours holds stays what it is
    return data.decode("utf-8", "surrogateescape")


def canonical(state: Any) -> str:
    """One text for each state; the order of a list counts, that of an object's names does not."""
    import json

    return json.dumps(state, sort_keys=True)
