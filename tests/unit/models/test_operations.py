import pytest
from support.scenes import WALL, a_map, put, values

from scuttled.errors import Refused, UsageError
from scuttled.models.map import Map
from scuttled.models.operations import call, operation, operations


class Sample:
    data_type = "sample"

    @operation
    def greet(self, name: str, mark: str = "!") -> str:
        """Say hello.

        And no more.
        """
        return f"{name}{mark}"

    def secret(self) -> None:
        """Not an operation."""


def test_an_operation_is_told_by_name_arguments_and_first_line() -> None:
    assert operations(Sample) == [("greet", ("name", "mark"), 1, "Say hello.", True)]


def test_every_operation_of_a_map_has_words() -> None:
    known = operations(Map)
    assert [op.name for op in known] == ["delete", "get", "has", "plant", "set", "size", "tree"]
    assert all(op.words for op in known)


def test_arguments_may_be_left_out_where_there_is_a_default() -> None:
    assert call(Sample(), "greet", ["x"]) == "x!"
    assert call(Sample(), "greet", ["x", "?"]) == "x?"


def test_an_unknown_operation_is_refused_with_those_there_are() -> None:
    with pytest.raises(Refused, match="no operation 'secret' in a sample; there is greet"):
        call(Sample(), "secret", [])


@pytest.mark.parametrize("args", [[], ["a", "b", "c"]])
def test_a_wrong_number_of_arguments_is_told(args: list[str]) -> None:
    with pytest.raises(UsageError, match=f"greet takes name mark, not {len(args)} arguments"):
        call(Sample(), "greet", args)


def test_a_map_is_used_by_name() -> None:
    model = a_map()
    rev = call(model, "set", ["k", {"a": [1, None]}])
    found = model.find("k", WALL)
    assert found is not None
    assert found.rev == rev
    assert call(model, "get", ["k"]) == {"a": [1, None]}
    assert call(model, "has", ["k"]) is True
    assert call(model, "size", []) == 1
    assert call(model, "delete", ["k"]) is True
    assert call(model, "delete", ["k"]) is False
    assert call(model, "get", ["k"]) is None


def test_text_stays_text() -> None:
    model = a_map()
    call(model, "set", ["k", "5"])
    assert values(model) == {"k": "5"}
    assert call(model, "get", ["k"]) == "5"


@pytest.mark.parametrize("value", [b"bytes", {"k": b"bytes"}, {1, 2}])
def test_a_value_that_json_cannot_say_is_the_callers_fault(value: object) -> None:
    model = a_map()
    with pytest.raises(UsageError, match="JSON can't say"):
        call(model, "set", ["k", value])
    assert values(model) == {}


@pytest.mark.parametrize("key", [5, None, ["k"]])
def test_a_key_that_is_no_text_is_the_callers_fault(key: object) -> None:
    with pytest.raises(UsageError, match="not text"):
        call(a_map(), "get", [key])


def test_an_operation_that_only_reads_leaves_no_update() -> None:
    model = a_map()
    put(model, "k")
    before = model.log.end
    for name, args in (("get", ["k"]), ("has", ["x"]), ("size", []), ("delete", ["x"])):
        call(model, name, args)
    assert model.log.end == before
