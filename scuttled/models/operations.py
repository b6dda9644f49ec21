"""Which methods of a data type its callers may use by name (`scuttled call`)."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from scuttled.errors import Refused, UsageError

F = TypeVar("F", bound=Callable[..., Any])


class Operation(NamedTuple):
    name: str
    args: tuple[str, ...]
    least: int  # how many of them must be given
    words: str  # the first line of its docstring
    writes: bool


def operation(method: F) -> F:
    """Mark a method as callable by name. It takes JSON values and gives one."""
    method.is_operation = True  # type: ignore[attr-defined]
    return method


def reading(method: F) -> F:
    """Mark an operation that changes nothing: it works while the disk takes no writes."""
    method.is_reading = True  # type: ignore[attr-defined]
    return operation(method)


def operations(data_type: type) -> list[Operation]:
    """The operations of a data type, by name."""
    found = []
    for name, method in inspect.getmembers(data_type, inspect.isfunction):
        if getattr(method, "is_operation", False):
            parameters = list(inspect.signature(method).parameters.values())[1:]
            least = sum(parameter.default is parameter.empty for parameter in parameters)
            words = (inspect.getdoc(method) or "").partition("\n")[0]
            writes = not getattr(method, "is_reading", False)
            called = name.rstrip("_")  # a method of the base may have that name
            found.append(Operation(called, tuple(p.name for p in parameters), least, words, writes))
    return found


def call(model: Any, name: str, args: Iterable[Any]) -> Any:
    """Carry out an operation. Raises Refused (unknown) or UsageError (wrong arguments)."""
    known = {op.name: op for op in operations(type(model))}
    if name not in known:
        raise Refused(
            f"no operation '{name}' in a {model.data_type}; there is {', '.join(sorted(known))}"
        )
    op = known[name]
    given = list(args)
    if not op.least <= len(given) <= len(op.args):
        raise UsageError(
            f"{name} takes {' '.join(op.args) or 'nothing'}, not {len(given)} arguments"
        )
    method = getattr(model, f"{name}_", None) or getattr(model, name)
    return method(*given)
