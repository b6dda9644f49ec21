"""A map is a mapping, and the types are what a Python programmer expects of objects."""

import copy
import inspect
import pickle
from collections.abc import Mapping, MutableMapping
from types import FunctionType
from typing import Any

import pytest

import scuttled
from scuttled import GONE, Author, Clock, Events, Map, Scuttlebutt, Slots, Update, UpdateEvent
from scuttled.errors import DataError, UsageError
from scuttled.models.registry import MODELS
from scuttled.replica.update import NodeId

TYPES = list(MODELS.values())


def a_map(**entries: object) -> Map:
    model = Map()
    model.update(entries)
    return model


# --- a map as a mapping --------------------------------------------------------------------------


def test_a_map_does_all_that_a_dict_does() -> None:
    model, plain = Map(), dict[str, Any]()
    mapping: MutableMapping[str, Any]
    for mapping in (model, plain):
        mapping["b"] = 1
        mapping["a"] = [1, {"x": None}]
        mapping["none"] = None
        del mapping["b"]
        mapping.update({"c": 3}, d=4)
        assert mapping.setdefault("c", 9) == 3
        assert mapping.setdefault("e", 5) == 5
        assert mapping.pop("e") == 5
        assert mapping.pop("e", "default") == "default"
        assert mapping.get("nothing") is None
        assert mapping.get("nothing", 7) == 7
        assert mapping["none"] is None
        assert "none" in mapping
        assert "b" not in mapping
        assert len(mapping) == 4
        for failing in (mapping.__getitem__, mapping.__delitem__, mapping.pop):
            with pytest.raises(KeyError) as caught:
                failing("nothing")
            assert caught.value.args == ("nothing",)
    assert list(model) == sorted(plain)
    assert list(model.keys()) == ["a", "c", "d", "none"]
    assert list(model.values()) == [[1, {"x": None}], 3, 4, None]
    assert dict(model.items()) == dict(model) == {**model} == plain == model.to_json()
    assert model == plain
    assert plain == model
    assert isinstance(model, Mapping)
    match model:
        case {"c": 3, "d": found}:
            assert found == 4


def test_an_empty_map_is_false_and_can_be_emptied() -> None:
    model = a_map(a=1, b=2)
    assert model
    assert model.popitem() == ("a", 1)
    model.clear()
    assert not model
    assert (len(model), model.size(), list(model)) == (0, 0, [])
    with pytest.raises(KeyError):
        model.popitem()


def test_maps_are_equal_by_what_they_hold_and_can_not_be_hashed() -> None:
    assert a_map(a=1) == a_map(a=1)
    assert a_map(a=1) != a_map(a=2)
    assert a_map() != 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(a_map())


def test_a_map_may_change_while_it_is_gone_through() -> None:
    model = a_map(a=1, b=2, c=3)
    for key in model:
        del model[key]
        model[f"new {key}"] = key
    assert model == {"new a": "a", "new b": "b", "new c": "c"}
    for _ in model.items():
        model.clear()
    assert [value for value in a_map(x=1).values()] == [1]


def test_what_has_expired_is_neither_there_nor_counted() -> None:
    now_ms = 1_000
    model = Map(author=Author(NodeId(bytes(8)), now_ms=lambda: now_ms))
    model.set("short", 1, ttl_ms=10)
    model.set("long", 1, ttl_ms=100)
    model.set("short", 2, ttl_ms=10)
    assert len(model) == 2
    now_ms = 1_010
    assert (len(model), model.size(), list(model)) == (1, 1, ["long"])
    assert "short" not in model
    model.expire(now_ms)
    assert len(model) == 1


@pytest.mark.parametrize(
    "key", [b"bytes", 5, None, ("a",), ["a"], "", "\0own", "\udcff", "x" * 5000]
)
def test_what_can_be_no_key_is_not_there_and_can_not_be_set(key: Any) -> None:
    model = a_map(a=1)
    assert key not in model
    with pytest.raises(KeyError):
        model[key]
    with pytest.raises(KeyError):
        del model[key]
    with pytest.raises((UsageError, DataError), match="key"):
        model[key] = 1
    assert model == {"a": 1}


def test_keys_of_bytes_are_told_what_a_key_is() -> None:
    with pytest.raises(UsageError, match="a key that is a bytes, not text"):
        Map().set(b"k", 1)  # type: ignore[arg-type]


def test_an_update_of_which_one_part_can_not_be_changes_nothing() -> None:
    model = a_map(a=1)
    for wrong in ({"a": 2, "b": object()}, {"a": 2, "": 1}, {"a": 2, 5: 1}):
        with pytest.raises((UsageError, DataError)):
            model.update(wrong)  # type: ignore[arg-type]
        assert model == {"a": 1}
    model.update([("a", 3)], b=4)
    model.update(a_map(c=5))
    assert model == {"a": 3, "b": 4, "c": 5}


def test_what_is_read_is_a_copy() -> None:
    model = a_map(list=[1])
    model["list"].append(2)
    assert model["list"] == [1]


# --- what observers are told ---------------------------------------------------------------------


def test_null_and_deleted_are_told_apart_everywhere() -> None:
    model, told = Map(), list[object]()
    model.on("change", lambda key, value: told.append(value))
    model.on("update", lambda event: told.append(event.value))
    model["k"] = None
    assert ("k" in model, model.get("k", "default")) == (True, None)
    del model["k"]
    assert ("k" in model, model.get("k", "default")) == (False, "default")
    assert told == [None, None, GONE, GONE]
    assert (bool(GONE), repr(GONE)) == (False, "GONE")
    assert copy.deepcopy(pickle.loads(pickle.dumps(GONE))) is GONE  # noqa: S301


def test_an_update_says_all_about_itself() -> None:
    model, told = Map(), list[UpdateEvent]()
    model.on("update", told.append)
    model.set("k", {"x": 1})
    (event,) = told
    assert (event.key, event.value, event.source) == ("k", {"x": 1}, model.id)
    assert event.update.node == model.id
    assert event.timestamp == event.update.timestamp == model.author.hlc.last
    assert event.change == event.update.change
    other = Map()
    other.receive([(event.update.source, [event.update.record])], b"\x7f" * 8)  # type: ignore[arg-type]
    assert other == model


@pytest.mark.parametrize("callback", [print, lambda *all_: None, lambda event, more=0: None])
def test_a_callback_that_can_be_called_with_one_argument_is_given_the_event(callback: Any) -> None:
    model = Map()
    assert model.on("update", callback) is callback
    model.set("k", 1)
    model.off("update", callback)


def test_a_callback_of_three_arguments_can_be_taken_off_again() -> None:
    model, told = Map(), list[object]()

    def callback(key: str, value: object, source: str) -> None:
        told.append(key)

    model.on("update", callback)
    model.set("a", 1)
    model.off("update", callback)
    model.set("b", 1)
    assert told == ["a"]


def test_who_raises_keeps_nobody_from_being_told() -> None:
    model, told = Map(), list[str]()
    later = Map()

    def fail(key: str, value: object) -> None:
        raise ZeroDivisionError(key)

    model.on("change", fail)
    model.on("change", lambda key, value: told.append(key))
    for n in range(3):
        later.set(f"k{n}", n)
    with pytest.raises(ZeroDivisionError, match="k0") as caught:
        model.receive(
            [(update.source, [update.record]) for update in later.history(Clock())],
            b"\x7f" * 8,  # type: ignore[arg-type]
        )
    assert told == ["k0", "k1", "k2"]
    assert caught.value.__notes__ == ["and 2 more that callbacks of the same model raised"]


def test_a_listener_that_raises_hears_the_rest_and_each_event_once() -> None:
    events, heard = Events(), list[object]()

    def listen(name: str, payload: object) -> None:
        heard.append(payload)
        if payload in (1, 2):
            raise ZeroDivisionError(payload)

    for n in range(4):
        events.emit("x", n)
    with pytest.raises(ZeroDivisionError, match="1"):
        events.listen(listen)
    assert heard == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("event", "callback", "words"),
    [
        ("updated", print, "there is update, change"),
        (None, print, "event None"),
        (5, print, "event 5"),
        ("update", None, "a callback that is a NoneType"),
        ("change", "print", "a callback that is a str"),
    ],
)
def test_what_is_no_event_or_no_callback_is_refused(event: Any, callback: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Map().on(event, callback)


# --- objects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_a_model_shows_what_it_is(kind: type[Scuttlebutt]) -> None:
    model = kind("stock")
    assert repr(model).startswith(f"<{kind.__name__} 'stock' of {model.id}")
    assert len(repr(model)) < 80


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("function", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_model_is_not_copied_behind_its_back(kind: type[Scuttlebutt], function: Any) -> None:
    with pytest.raises(TypeError, match=r"use save\(\) and load\(\), clone\(\)"):
        function(kind())


@pytest.mark.parametrize("name", [b"m", 5, {"a": 1}, None])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(UsageError, match="a model's name that is a"):
        Map(name)


def test_an_author_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="an author that is a str"):
        Map("m", "me")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("me",), "node id 'me', expected 8 bytes"),
        ((b"short",), "expected 8 bytes"),
        ((bytes(8), 0), "life 0, expected 1 to"),
        ((bytes(8), 2**32), "life 4294967296"),
        ((bytes(8), True), "life True"),
        ((bytes(8), 1.0), "life 1.0"),
        ((bytes(8), 1, -1), "last timestamp -1"),
        ((bytes(8), 1, 2**63), "last timestamp"),
        ((bytes(8), 1, 0, 5), "now_ms 5, expected a function"),
    ],
)
def test_an_author_checks_what_it_is_made_of(arguments: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Author(*arguments)


def test_the_package_shows_what_it_offers() -> None:
    assert {"Map", "replicate", "load", "save", "GONE", "__version__"} <= set(dir(scuttled))
    assert set(scuttled.__all__) == set(scuttled._ROOMS)
    room: dict[str, Any] = {}
    exec("from scuttled import *", room)  # noqa: S102
    assert room["Map"] is Map


def public_members(kind: type) -> list[tuple[str, object]]:
    """Methods and properties that a class or a base of ours has."""
    found = []
    for name, member in inspect.getmembers(kind):
        home = next((base for base in kind.__mro__ if name in vars(base)), None)
        ours = home is not None and home.__module__.startswith("scuttled")
        if ours and not name.startswith("_") and isinstance(member, FunctionType | property):
            found.append((name, member))
    return found


@pytest.mark.parametrize(
    "kind", [*TYPES, Scuttlebutt, Slots, Author, Clock, Update, UpdateEvent], ids=str
)
def test_every_public_class_and_all_that_it_has_is_documented(kind: type) -> None:
    assert kind.__doc__
    assert "*args" not in kind.__doc__
    assert kind.__doc__ != next((base.__doc__ for base in kind.__mro__[1:]), None)
    members = public_members(kind)
    assert members
    assert [name for name, member in members if not inspect.getdoc(member)] == []
