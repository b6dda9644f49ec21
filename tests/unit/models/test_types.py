"""What the smaller data types do beside their definitions (tests/property/test_definitions.py)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import node_id

from scuttled.errors import DataError, RemoteProtocolError, UsageError
from scuttled.models.counter import TOTAL_MAX, Counter
from scuttled.models.doc import Doc
from scuttled.models.log import Log
from scuttled.models.operations import call
from scuttled.models.payload import check_value, exact, unpack
from scuttled.models.registry import MODELS
from scuttled.models.sequence import Sequence
from scuttled.models.set import ELEMENT_BYTES_MAX, Set
from scuttled.models.value import HISTORY_MAX, Value
from scuttled.replica.change import JSON, TEXT, make_change, parse
from scuttled.replica.hlc import Author
from scuttled.replica.slots import Slots
from scuttled.replica.update import Stamp, Update, make_source, stamp
from scuttled.replica.version_vector import Clock

EVER = Stamp(stamp(2**62))
OTHERS = sorted(set(MODELS) - {"map"})


def make(kind: Any, number: int = 1) -> Any:
    return kind("m", Author(node_id(number), now_ms=lambda: 1_000))


@pytest.mark.parametrize("data_type", OTHERS)
@pytest.mark.parametrize("slot", [b"x", b"." * 4000, b".", b"\xff\xfe"])
def test_a_change_that_a_peer_can_not_have_made_leaves_all_readable(
    data_type: str, slot: bytes
) -> None:
    model = make(MODELS[data_type])
    record = Update(make_change(slot, JSON, b"not json"), 7, make_source(node_id(2), 1)).record
    try:
        model.receive([(make_source(node_id(2), 1), [record])], EVER)
    except RemoteProtocolError:
        assert model.log.live == 0
    model.to_json()
    model.whole()
    for filled in model.shown():
        model.label(filled).decode()
        model.value(filled)


WRITES: dict[str, tuple[str, list[Any]]] = {
    "value": ("set", ["x"]),
    "log": ("append", ["x"]),
    "events": ("emit", ["e"]),
    "set": ("add", ["x"]),
    "counter": ("add", [3]),
    "doc": ("put", ["row", {"field": 1}]),
    "sequence": ("push", ["x"]),
}


@pytest.mark.parametrize("data_type", OTHERS)
def test_every_data_type_says_here_how_it_is_written_to(data_type: str) -> None:
    assert data_type in WRITES, f"add {data_type} to WRITES: an operation that changes it, and args"


@pytest.mark.parametrize("data_type", OTHERS)
def test_a_model_that_was_dropped_is_empty_and_can_be_used_again(data_type: str) -> None:
    model = make(MODELS[data_type])
    name, args = WRITES[data_type]
    empty = model.to_json()
    call(model, name, args)
    held = model.to_json()
    assert held != empty
    model.drop(2_000)
    assert model.to_json() == empty
    call(model, name, args)
    assert str(model.to_json()) == str(held)


def test_a_value_of_null_is_none_and_stays_in_the_history() -> None:
    value = make(Value)
    assert value.get() is None
    value.set({"a": 1})
    value.set(None)
    assert value.get() is None
    assert call(value, "history", []) == [None, {"a": 1}]
    assert call(value, "history", [1]) == [None]
    for n in range(HISTORY_MAX + 5):
        value.set(n)
    assert len(value.history_()) == HISTORY_MAX == value.log.live


@pytest.mark.parametrize("count", [0, -1, HISTORY_MAX + 1, "3", True, 1.5])
def test_a_history_of_no_number_is_refused(count: object) -> None:
    with pytest.raises(UsageError, match="allowed are 1 to 32"):
        make(Value).history_(count)


def test_a_removed_entry_is_gone_where_it_was_not_known_to_be_there() -> None:
    here, away = make(Log, 1), make(Log, 2)
    name = here.append({"n": 1})
    here.append("kept")
    away.receive([(u.source, [u.record]) for u in here.history(Clock())], EVER)
    assert here.remove(name) is True
    assert here.remove(name) is False
    away.receive([(u.source, [u.record]) for u in here.history(away.clock)], EVER)
    assert away.items() == here.items() == ["kept"]


@pytest.mark.parametrize("name", ["", "zz", "00", 5, None])
def test_a_name_that_is_none_is_refused(name: object) -> None:
    with pytest.raises(DataError, match="expected 40 hexadecimal digits"):
        make(Log).remove(name)


def test_an_element_is_any_json_and_has_one_form() -> None:
    held = make(Set)
    for element in ["a", 1, 1.0, True, None, {"b": 1, "a": [2]}]:
        assert held.add(element) is True
    assert held.add({"a": [2], "b": 1}) is False
    assert held.size() == 6
    assert [held.label(slot).decode() for slot in held.shown()] == [
        "1", "1.0", "a", "null", "true", '{"a":[2],"b":1}',
    ]  # fmt: skip
    assert held.remove("b") is False


def test_an_element_too_large_is_refused() -> None:
    held = make(Set)
    with pytest.raises(DataError, match=f"at most {ELEMENT_BYTES_MAX}"):
        held.add("x" * ELEMENT_BYTES_MAX)
    held.add("x" * (ELEMENT_BYTES_MAX - 2))


def test_an_element_that_is_added_again_leaves_one_add_and_is_not_gone() -> None:
    held = make(Set)
    for _ in range(5):
        held.add("a")
    assert (held.count, held.size()) == (1, 1)
    dead = [slot for slot in held.graves() if held.is_gone(slot)]
    assert dead == []


@pytest.mark.parametrize("by", ["1", 1.5, True, None, [1]])
def test_only_whole_numbers_are_added(by: object) -> None:
    with pytest.raises(UsageError, match="expected a whole number"):
        make(Counter).add(by)


def test_a_sum_beyond_its_limit_is_refused_and_nothing_is_added() -> None:
    counter = make(Counter)
    counter.add(TOTAL_MAX)
    with pytest.raises(DataError, match="allowed is up to"):
        counter.add(1)
    assert counter.get() == TOTAL_MAX


def test_a_sum_that_is_no_number_counts_as_none() -> None:
    counter = make(Counter)
    for n, said in enumerate([b"true", b"1.5", b"x", b'"7"', b"9" * 50]):
        source = make_source(node_id(n + 2), 1)
        change = make_change(b"." + source, TEXT if n else JSON, said)
        counter.receive([(source, [Update(change, 5, source).record])], EVER)
    assert counter.add(2) == 2


def test_a_new_life_counts_in_a_slot_of_its_own() -> None:
    counter = make(Counter)
    counter.add(2)
    counter.author.live_as(2)
    assert counter.add(3) == 5
    assert counter.count == 2


def test_what_is_filled_in_a_model_is_found_by_its_label() -> None:
    for kind in MODELS.values():
        model = make(kind)
        assert isinstance(model, Slots)
        assert model.find_label(b"nothing") is None
    held = make(Set)
    held.add("a")
    found = held.find_label(b"a")
    assert found is not None
    assert found == parse(*held.log.entry(0))


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"[1, 1e999]"])
def test_what_python_takes_for_a_number_and_json_does_not_is_refused(value: bytes) -> None:
    with pytest.raises(DataError, match=r"value is not JSON: .* is no number that JSON has"):
        check_value("json", value)


@pytest.mark.parametrize(
    ("value", "told"),
    [(b'"\\ud800"', '{"k": "\\ud800"}'), (b"1e999", '{"k": "1e999"}'), (b"NaN", '{"k": "NaN"}')],
)
def test_a_whole_model_is_json_whatever_a_peer_wrote_in_it(value: bytes, told: str) -> None:
    model = MODELS["map"]("m", Author(node_id(1)))
    assert isinstance(model, Slots)
    model.fill(b"k", JSON, value, 1)
    assert model.whole() == ("json", told.encode())


def test_texts_of_many_equal_lines_are_edited_at_once() -> None:
    """To line them up by every pair of equal lines took more than two minutes."""
    model = MODELS["sequence"]("m", Author(node_id(1)))
    call(model, "text", ["same\n" * 3000])
    new = ("same\n" * 5 + "other\n") * 500
    assert call(model, "text", [new]) == new


@pytest.mark.parametrize(
    ("data_type", "name", "args"),
    [
        ("doc", "sort", [[1]]),
        ("doc", "find", [{}, 1]),
        ("map", "tree", [5]),
        ("map", "plant", [None, {}]),
        ("map", "set", ["k", "\ud800"]),
        ("log", "append", ["\ud800"]),
        ("sequence", "push", ["\ud800"]),
    ],
)
def test_what_an_operation_can_not_take_is_our_own_error(
    data_type: str, name: str, args: list[object]
) -> None:
    with pytest.raises((UsageError, DataError)):
        call(make(MODELS[data_type]), name, args)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["value", "value_b64", "kind", "a"]), inner, max_size=3)
    ),
    max_leaves=4,
)
kept = (
    st.tuples(st.just("text"), st.text(max_size=3).map(str.encode))
    | st.tuples(st.just("bytes"), st.binary(max_size=3))
    | st.tuples(st.just("json"), json_values.map(lambda value: json.dumps(value).encode()))
)


@given(kept, kept)
def test_two_values_never_have_one_json(one: tuple[str, bytes], other: tuple[str, bytes]) -> None:
    def told(value: tuple[str, bytes]) -> str:
        number, payload = check_value(*value)
        return json.dumps(exact([unpack(number, payload)]), sort_keys=True)

    def meaning(value: tuple[str, bytes]) -> object:
        kind, payload = value
        if kind == "json":
            return "json", json.dumps(json.loads(payload), sort_keys=True)
        return value

    assert (told(one) == told(other)) == (meaning(one) == meaning(other))


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("to", range(4))
def test_a_value_that_is_moved_stands_at_the_index_that_was_named(at: int, to: int) -> None:
    here, plain = make(Sequence), ["a", "b", "c", "d"]
    here.insert(0, plain)
    here.move(at, to)
    plain.insert(to, plain.pop(at))
    assert here.items() == plain


@pytest.mark.parametrize("fields", [{}, [], None, "field", 5])
def test_a_row_is_put_by_an_object_of_fields_and_nothing_else(fields: object) -> None:
    here = make(Doc)
    with pytest.raises(UsageError, match="expected a JSON object with some"):
        call(here, "put", ["row", fields])
    assert here.log.end == 0
