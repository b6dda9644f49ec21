import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import WALL, a_map, put, values

from scuttled.errors import DataError, UsageError
from scuttled.models.map import KEY_BYTES_MAX, TTL_MS_MAX, Map, key_slot
from scuttled.models.operations import call
from scuttled.models.payload import VALUE_BYTES_MAX, check_value, plain_value
from scuttled.replica.change import BYTES, JSON, OPTIONS, OWN, TEXT, Slot

DEEP = b"[" * 100_000


def short(value: object) -> str:
    return repr(value)[:30]


def test_a_key_is_there_until_it_is_deleted() -> None:
    model = a_map()
    put(model, "k", "1")
    put(model, "k", "2")
    assert values(model) == {"k": "2"}
    assert model.discard("k", WALL) is not None
    assert values(model) == {}
    assert (model.count, model.tombstones) == (0, 1)


def test_to_delete_what_is_not_there_writes_nothing() -> None:
    model = a_map()
    assert model.discard("k", WALL) is None
    put(model, "k")
    model.discard("k", WALL)
    end = model.log.end
    assert model.discard("k", WALL) is None
    assert model.log.end == end


def test_an_expired_key_is_not_there_to_delete() -> None:
    model = a_map()
    model.put("k", TEXT, b"v", WALL, ttl_ms=10)
    assert model.discard("k", WALL + 10) is None


def test_a_deleted_key_can_be_set_again() -> None:
    model = a_map()
    put(model, "k", "1")
    model.discard("k", WALL)
    put(model, "k", "2")
    assert values(model) == {"k": "2"}
    assert model.tombstones == 0


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "key of 0 bytes, allowed are 1 to 4096"),
        ("x" * (KEY_BYTES_MAX + 1), "key of 4097 bytes, allowed are 1 to 4096"),
        ("ü" * 2049, "key of 4098 bytes"),
        ("\x00k", "begins with NUL, which is reserved"),
        ("\udcff", "is not UTF-8"),
    ],
)
def test_a_key_that_can_not_be_is_refused(key: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        key_slot(key)


def test_a_key_of_the_largest_size_is_a_key() -> None:
    model = a_map()
    put(model, "x" * KEY_BYTES_MAX)
    assert model.count == 1


@given(st.binary())
def test_bytes_stay_the_bytes_they_are(value: bytes) -> None:
    assert check_value("bytes", value) == (BYTES, value)


def test_text_that_is_no_utf8_is_kept_as_bytes() -> None:
    assert check_value("text", b"\xff") == (BYTES, b"\xff")
    assert check_value("text", b"\xff".decode(errors="surrogateescape")) == (BYTES, b"\xff")
    assert check_value("text", "ü") == (TEXT, "ü".encode())


@pytest.mark.parametrize("value", [b"", b"{", b"nil", b"\xff", DEEP], ids=short)
def test_what_is_no_json_is_refused(value: bytes) -> None:
    with pytest.raises(DataError, match="value is not JSON"):
        check_value("json", value)


def test_json_is_kept_as_it_was_written() -> None:
    assert check_value("json", ' {"b":1,\n"a":2}') == (JSON, b' {"b":1,\n"a":2}')


@pytest.mark.parametrize("kind", ["deleted", "", "x", None, 1, b"text"])
def test_an_unknown_kind_is_refused_with_those_there_are(kind: object) -> None:
    with pytest.raises(UsageError, match="allowed are text, bytes, json"):
        check_value(kind, b"")


@pytest.mark.parametrize("value", [None, 5, ["x"]])
def test_a_value_that_is_neither_text_nor_bytes_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="not bytes"):
        check_value("text", value)


def test_a_value_of_the_largest_size_is_taken_and_none_beyond() -> None:
    assert check_value("bytes", b"x" * VALUE_BYTES_MAX)[0] == BYTES
    with pytest.raises(DataError, match="value of 524289 bytes, at most 524288"):
        check_value("bytes", b"x" * (VALUE_BYTES_MAX + 1))


def test_a_value_is_shown_as_json_can_say_it() -> None:
    def shown(kind: int, payload: bytes) -> object:
        return plain_value(Slot(b"k", kind, payload, 0, 0, a_map().author.source))

    assert shown(TEXT, "ü".encode()) == "ü"
    assert shown(BYTES, b"a\xff") == "a\\xff"
    assert shown(JSON, b"[1]") == [1]
    assert shown(JSON, b"no json, a peer's doing") == "no json, a peer's doing"
    assert shown(JSON, DEEP) == DEEP.decode()


# --- options -------------------------------------------------------------------------------------


def test_a_model_may_have_a_ttl_for_all_its_keys() -> None:
    model = a_map()
    assert model.ttl_ms == 0
    model.set_options(WALL, ttl_ms=100)
    put(model, "k")
    model.put("own", TEXT, b"v", WALL, ttl_ms=500)
    assert values(model, WALL + 100) == {"own": "v"}
    assert model.count == 2


@pytest.mark.parametrize(
    ("payload", "ttl_ms"),
    [
        (b"{}", 0),
        (b"[]", 0),
        (b"", 0),
        (b'{"ttl_ms": null}', 0),
        (b'{"ttl_ms": -5}', 0),
        (b'{"ttl_ms": 1e400}', 0),
        (b'{"ttl_ms": NaN}', 0),
        (b'{"ttl_ms": 1' + b"0" * 400 + b"}", TTL_MS_MAX),
        (DEEP, 0),
    ],
    ids=short,
)
def test_options_that_make_no_sense_do_not_stop_a_writer(payload: bytes, ttl_ms: int) -> None:
    model = a_map()
    model.fill(OPTIONS, OWN, payload, WALL)
    assert model.ttl_ms == ttl_ms
    put(model, "k")
    assert values(model) == {"k": "v"}


@given(st.integers(0, TTL_MS_MAX))
def test_every_ttl_that_is_allowed_can_be_written(ttl_ms: int) -> None:
    model = a_map()
    model.put("k", TEXT, b"v", WALL, ttl_ms=ttl_ms)
    model.set_options(WALL, ttl_ms=ttl_ms)
    assert model.ttl_ms == ttl_ms
    assert json.loads(json.dumps(ttl_ms)) < sys.maxsize


# --- keys as paths -------------------------------------------------------------------------------


def a_tree() -> Map:
    model = a_map()
    for key, value in [("svc/web/a", 1), ("svc/web/b", {"port": 2}), ("svc/db", "x"), ("svcs", 3)]:
        call(model, "set", [key, value])
    return model


def test_what_stands_below_a_path_is_told_as_nested_objects() -> None:
    model = a_tree()
    web = {"a": 1, "b": {"port": 2}}
    assert call(model, "tree", ["svc/"]) == call(model, "tree", ["svc"]) == {"web": web, "db": "x"}
    assert call(model, "tree", []) == {"svc": {"web": web, "db": "x"}, "svcs": 3}
    assert call(model, "tree", ["svc/db"]) == "x"
    assert call(model, "tree", ["sv"]) is None


def test_a_key_that_is_a_path_as_well_tells_its_own_value_by_the_empty_name() -> None:
    model = a_map()
    for key in ("a", "a/b", "a/b/c"):
        call(model, "set", [key, key])
    assert call(model, "tree", []) == {"a": {"": "a", "b": {"": "a/b", "c": "a/b/c"}}}


def test_a_tree_that_is_planted_takes_the_place_of_what_stood_there() -> None:
    model = a_tree()
    assert call(model, "plant", ["svc/", {"web": {"a": 1, "c": 4}, "db": {"main": "y"}}]) == 4
    assert call(model, "tree", ["svc"]) == {"web": {"a": 1, "c": 4}, "db": {"main": "y"}}
    assert call(model, "get", ["svcs"]) == 3
    before = model.log.end
    assert call(model, "plant", ["svc", {"web": {"a": 1, "c": 4}, "db": {"main": "y"}}]) == 0
    assert model.log.end == before, "what is so already is not written"
    assert call(model, "plant", ["svc", {}]) == 3
    assert call(model, "tree", ["svc"]) is None


@pytest.mark.parametrize("tree", [{"k": {"x" * 5000: 1}}, {"a": 1, "\0b": {"": float("nan")}}])
def test_a_tree_of_which_a_part_can_not_be_written_changes_nothing(tree: object) -> None:
    model = a_tree()
    before = model.log.end
    with pytest.raises((DataError, UsageError)):
        call(model, "plant", ["svc", tree])
    assert model.log.end == before


def test_a_key_set_by_name_may_have_a_time_to_live() -> None:
    model = a_map()
    call(model, "set", ["k", "v", 1000])
    found = model.find("k", model.now_ms())
    assert found is not None
    assert found.expires_ms == model.now_ms() + 1000
    for bad in (-1, "1", True, 10**30):
        with pytest.raises(UsageError, match="ttl_ms"):
            call(model, "set", ["k", "v", bad])


@pytest.mark.parametrize(
    "data", ["1".encode("utf-16"), '"a"'.encode("utf-16-le"), b"\xef\xbb\xbf1"]
)
def test_json_is_utf8_without_a_mark(data: bytes) -> None:
    with pytest.raises(DataError, match="not JSON"):
        check_value("json", data)
