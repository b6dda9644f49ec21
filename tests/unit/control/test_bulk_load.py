from typing import Any

import pytest
from support.scenes import WALL, a_map, put

from scuttled.control.bulk_load import EXPIRES_MS_MAX, read_load
from scuttled.errors import DataError, ScuttledError, UsageError
from scuttled.models.map import Map
from scuttled.replica.change import BYTES, JSON, TEXT


def load(model: Map | None, *pairs: object, **fields: Any) -> tuple[int, int, int]:
    """How many were set, left and expired."""
    request = {"kind": "text", "pairs": list(pairs), **fields}
    counts = read_load(request).carry_out(model, WALL)
    return counts["count"], counts["left"], counts["expired"]


def test_without_a_mode_every_key_is_set_anew() -> None:
    model = a_map()
    assert load(model, "a", b"1", "b", b"2") == (2, 0, 0)
    end = model.log.end
    assert load(model, "a", b"1", "b", b"2") == (2, 0, 0)
    assert model.log.end == end + 2


def test_merge_leaves_what_is_so_already_and_writes_nothing_for_it() -> None:
    model = a_map()
    load(model, "a", b"1", "b", b"2", mode="merge")
    end = model.log.end
    assert load(model, "a", b"1", "b", b"2", mode="merge") == (0, 2, 0)
    assert model.log.end == end
    assert load(model, "a", b"1", "b", b"new", "c", b"3", mode="merge") == (2, 1, 0)


@pytest.mark.parametrize(
    "fields",
    [{"pairs": ["k", b"2"]}, {"kind": "json"}, {"expires_ms": [WALL + 5]}, {"expires_ms": [0]}],
)
def test_merge_looks_at_value_kind_and_expiry(fields: dict[str, Any]) -> None:
    model = a_map()
    model.put("k", TEXT, b"1", WALL, ttl_ms=9)
    first = {"pairs": ["k", b"1"], "expires_ms": [WALL + 9], "mode": "merge"}
    assert load(model, **first) == (0, 1, 0)
    assert load(model, **{**first, **fields}) == (1, 0, 0)


def test_missing_sets_only_what_is_not_there() -> None:
    model = a_map()
    put(model, "there")
    put(model, "gone")
    model.discard("gone", WALL)
    model.put("over", TEXT, b"", WALL - 10, ttl_ms=5)
    pairs = ["there", b"x", "gone", b"x", "over", b"x", "new", b"x"]
    assert load(model, *pairs, mode="missing") == (3, 1, 0)
    found = model.find("there", WALL)
    assert found is not None
    assert found.payload == b"v"


def test_each_key_has_its_own_expiry_or_none_or_that_of_the_model() -> None:
    model = a_map()
    model.set_options(WALL, ttl_ms=100)
    pairs = ["at", b"", "never", b"", "model's", b""]
    assert load(model, *pairs, expires_ms=[WALL + 7, 0, None]) == (3, 0, 0)
    slots = [model.find(key, WALL) for key in ("at", "never", "model's")]
    assert [slot.expires_ms for slot in slots if slot] == [WALL + 7, 0, WALL + 100]


def test_what_has_expired_is_counted_and_harms_nobody() -> None:
    model = a_map()
    put(model, "k")
    for mode in ("set", "merge", "missing"):
        assert load(model, "k", b"x", mode=mode, expires_ms=[WALL]) == (0, 0, 1)
    assert model.find("k", WALL) is not None


def test_a_dry_run_counts_and_writes_nothing() -> None:
    model = a_map()
    put(model, "k")
    end = model.log.end
    pairs = ["k", b"v", "new", b"v"]
    assert load(model, *pairs, mode="merge", dry_run=True) == (1, 1, 0)
    assert load(None, *pairs, mode="merge", dry_run=True) == (2, 0, 0)
    assert model.log.end == end


def test_text_that_is_none_is_kept_as_bytes_and_known_again() -> None:
    model = a_map()
    assert load(model, "k", b"\xff", mode="merge") == (1, 0, 0)
    assert load(model, "k", b"\xff", mode="merge", kind="bytes") == (0, 1, 0)
    found = model.find("k", WALL)
    assert found is not None
    assert found.kind == BYTES != JSON


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"pairs": ["k"]}, UsageError, "load wants pairs"),
        ({"pairs": None}, UsageError, "load wants pairs"),
        ({"pairs": ["", b""]}, DataError, "key of 0 bytes"),
        ({"pairs": ["k", 5]}, UsageError, "a value that is a int"),
        ({"mode": "replace"}, UsageError, "'replace', allowed are set, merge, missing"),
        ({"mode": ["merge"]}, UsageError, "load with the mode"),
        ({"expires_ms": []}, UsageError, "load of 1 keys wants as many expires_ms"),
        ({"expires_ms": 5}, UsageError, "as many expires_ms"),
        ({"expires_ms": [-1]}, UsageError, "expires_ms -1, expected 0 to"),
        ({"expires_ms": [True]}, UsageError, "expires_ms True"),
        ({"expires_ms": [EXPIRES_MS_MAX + 1]}, UsageError, "expected 0 to"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused(
    fields: dict[str, Any], error: type[ScuttledError], words: str
) -> None:
    with pytest.raises(error, match=words):
        read_load({"kind": "text", "pairs": ["k", b"v"], **fields})


def test_the_latest_expiry_that_is_allowed_can_be_written() -> None:
    model = a_map()
    assert load(model, "k", b"", expires_ms=[EXPIRES_MS_MAX]) == (1, 0, 0)
    assert load(model, "k", b"", expires_ms=[EXPIRES_MS_MAX], mode="merge") == (0, 1, 0)
