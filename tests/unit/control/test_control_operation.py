"""The table of control operations, against its documentation and what the operations do."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import scuttled
from scuttled.client.rows import ChangeRow, CountRow, KeyRow
from scuttled.control import operations
from scuttled.control.control_operation import NOTHING, ControlOperation, control_operation
from scuttled.control.operations import OPERATIONS
from scuttled.control.write_concern import WaitFields

CONTROL_MD = Path(scuttled.__file__).parent / "docs" / "control.md"
MODULES = [found for found in vars(operations).values() if isinstance(found, ModuleType)]
TAKES_IN = "accepted"  # the node is told of every write by this, and of nothing else


class Documented(NamedTuple):
    fields: set[str]
    ok: str


def documented() -> dict[str, Documented]:
    """The table under "Operations"."""
    table = CONTROL_MD.read_text("utf-8").partition("## Operations\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.*?) ?\| (.*) \|$", table)
    return {op: Documented(set(re.findall(r"`([a-z_]+)", fields)), ok) for op, fields, ok in rows}


def fields_of(found: ControlOperation[Any]) -> set[str]:
    fields = dict(found.request.__annotations__)
    if fields.get("wait") is WaitFields:
        fields["wait_ms"] = int
    if found.name == "load":  # what it loads is read as one thing
        del fields["load"]
        fields |= dict.fromkeys(("kind", "pairs", "expires_ms", "mode", "dry_run"), object)
    return set(fields)


def test_every_operation_is_documented_and_no_other_is() -> None:
    missing, gone = OPERATIONS.keys() - documented().keys(), documented().keys() - OPERATIONS.keys()
    assert not missing, f"docs/control.md does not tell of {sorted(missing)}"
    assert not gone, f"docs/control.md tells of {sorted(gone)}, which no operation is"


@pytest.mark.parametrize("op", OPERATIONS)
def test_every_operation_is_documented_with_the_fields_that_it_reads(op: str) -> None:
    assert documented()[op].fields == fields_of(OPERATIONS[op]), f"docs/control.md, `{op}`"


@pytest.mark.parametrize(
    ("op", "row"), [("watch", ChangeRow), ("list", KeyRow), ("tally", CountRow)]
)
def test_rows_of_a_stream_are_documented_field_by_field(op: str, row: Any) -> None:
    assert f"`[{', '.join(row._fields)}]`" in documented()[op].ok


def test_an_operation_that_does_not_say_what_it_writes_is_none() -> None:
    with pytest.raises(TypeError, match="writes"):
        control_operation(NamedTuple("Nothing", []))  # type: ignore[call-arg]


def test_no_two_operations_have_one_name() -> None:
    found = [
        value.name
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, ControlOperation)
    ]
    assert sorted(found) == sorted(OPERATIONS)


def reached(module: ModuleType, name: str) -> Iterator[str]:
    """Names of all that a function of this module calls, and what these call that stand in it."""
    functions = {
        node.name: node
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.FunctionDef)
    }
    ahead, seen = [name], set()
    while ahead:
        here = ahead.pop()
        if here in seen or here not in functions:
            continue
        seen.add(here)
        for node in ast.walk(functions[here]):
            if isinstance(node, ast.Attribute):
                yield node.attr
            elif isinstance(node, ast.Name):
                ahead.append(node.id)


@pytest.mark.parametrize("op", OPERATIONS)
def test_who_takes_in_a_write_has_declared_it(op: str) -> None:
    """Else flow control would never hold it back."""
    found = OPERATIONS[op]
    module = inspect.getmodule(found.carry_out)
    assert module is not None
    writes = TAKES_IN in set(reached(module, found.carry_out.__name__))
    if writes:
        assert found.writes != NOTHING, f"{op} takes in a write: say its data type in writes=..."
    else:
        assert found.writes == NOTHING, f"{op} takes in no write: writes=NOTHING"
