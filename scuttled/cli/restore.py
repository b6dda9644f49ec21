"""Models that are no maps, from what an export says of them: by the operations of their type.

Such a model stands whole in its line of the export, as `get` writes it. It is made anew only where
there is nothing of it: to merge a log or a counter into itself would count everything twice.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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


def is_restorable(data_type: str, state: Any) -> bool:
    """Whether that can be all of a model of that type."""
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
    """What makes an empty model that one."""
    return _TYPES[data_type].calls(state)
