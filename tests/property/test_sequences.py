"""Sequences and docs against the obvious: a list, a dict of dicts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exchange import author, pull, pull_all

from scuttled.models.doc import Doc
from scuttled.models.positions import POSITION_BYTES_MIN, WAYPOINT_BYTES, is_position
from scuttled.models.sequence import Sequence


def sequences(count: int = 3) -> list[Sequence]:
    return [Sequence("s", author(n)) for n in range(count)]


edits = st.tuples(
    st.sampled_from(["insert", "remove", "set", "move", "push", "unshift", "pop", "shift"]),
    st.integers(0, 50),
    st.integers(0, 50),
)


def edit(what: str, a: int, b: int, number: int, sequence: Sequence, plain: list[Any]) -> None:
    """The same to both."""
    size = len(plain)
    match what:
        case "insert":
            values = [f"{number}.{n}" for n in range(b % 4)]
            assert sequence.insert(a % (size + 1), values) == size + len(values)
            plain[a % (size + 1) : a % (size + 1)] = values
        case "push":
            sequence.push(number)
            plain.append(number)
        case "unshift":
            sequence.unshift(number)
            plain.insert(0, number)
        case "pop":
            assert sequence.pop() == (plain.pop() if plain else None)
        case "shift":
            assert sequence.shift() == (plain.pop(0) if plain else None)
        case "remove" if size:
            count = b % 3 + 1
            assert sequence.remove(a % size, count) == plain[a % size : a % size + count]
            del plain[a % size : a % size + count]
        case "set" if size:
            assert sequence.set(a % size, number) == plain[a % size]
            plain[a % size] = number
        case "move" if size:
            sequence.move(a % size, b % size)
            plain.insert(b % size, plain.pop(a % size))


@given(st.lists(edits, max_size=40))
def test_alone_a_sequence_is_a_list(steps: Any) -> None:
    sequence, plain = sequences(1)[0], list[Any]()
    for number, (what, a, b) in enumerate(steps):
        edit(what, a, b, number, sequence, plain)
        assert sequence.items() == plain
    again = Sequence("s", author(9))
    pull(again, sequence)
    assert again.items() == plain


@given(
    st.lists(
        st.tuples(st.integers(0, 2), edits)
        | st.tuples(st.integers(0, 2), st.integers(0, 2).map(lambda other: ("pull", other, 0))),
        max_size=40,
    )
)
def test_together_all_agree_and_every_value_is_there_once(steps: Any) -> None:
    lists = sequences()
    inserted: set[str] = set()
    removed: set[str] = set()
    for number, (who, (what, a, b)) in enumerate(steps):
        here, size = lists[who], lists[who].size()
        match what:
            case "pull":
                pull(here, lists[a])
            case "insert" | "push" | "unshift" | "set":
                values = [f"{number}.{n}" for n in range(b % 4)]
                before = here.items()
                here.insert(a % (size + 1), values)
                assert [value for value in here.items() if value not in values] == before
                inserted |= set(values)
            case "move" if size:
                here.move(a % size, b % size)
                assert here.size() == size
            case _ if size:
                removed |= set(here.remove(a % size))
    pull_all(lists)
    assert lists[0].items() == lists[1].items() == lists[2].items()
    assert sorted(lists[0].items()) == sorted(inserted - removed)


@given(st.integers(0, 4), st.lists(st.integers(1, 5), min_size=3, max_size=3), st.booleans())
def test_runs_that_are_typed_at_one_place_at_once_do_not_mix(
    at: int, lengths: list[int], backwards: bool
) -> None:
    lists = sequences()
    lists[0].insert(0, ["a", "b", "c", "d"])
    for other in lists[1:]:
        pull(other, lists[0])
    for who, length in enumerate(lengths):
        for n in range(length):
            lists[who].insert(at if backwards else at + n, [f"{who}.{n}"])
    pull_all(lists)
    for one in lists:
        owners = [value.partition(".")[0] for value in one.items() if "." in value]
        blocks = [owner for n, owner in enumerate(owners) if n == 0 or owners[n - 1] != owner]
        assert len(blocks) == 3, one.items()
        assert one.items() == lists[0].items()
        for who in range(3):
            mine = [value for value in one.items() if value.startswith(f"{who}.")]
            typed = [f"{who}.{n}" for n in range(lengths[who])]
            assert mine == (typed[::-1] if backwards else typed)


@pytest.mark.parametrize("way", ["push", "unshift"])
def test_positions_do_not_grow_with_the_list(way: str) -> None:
    sequence = sequences(1)[0]
    for n in range(1000):
        getattr(sequence, way)(n)
    sizes = {len(slot.slot) - 1 for slot in sequence.shown()}
    assert sizes == {POSITION_BYTES_MIN}
    assert sequence.items() == (list(range(1000)) if way == "push" else list(range(1000))[::-1])


def test_what_is_typed_into_the_midst_costs_a_level_for_each_run() -> None:
    sequence = sequences(1)[0]
    sequence.insert(0, list("0123456789"))
    for n in range(100):
        sequence.insert(5, [f"{n}"])  # always at the same place: they go on in front of a run
    longest = max(len(slot.slot) - 1 for slot in sequence.shown())
    assert longest == POSITION_BYTES_MIN + WAYPOINT_BYTES


@given(st.binary(max_size=40))
def test_only_positions_are_taken_for_such(data: bytes) -> None:
    assert is_position(data) is (
        len(data) in (14, 27, 40)
        and data[-1:] == b"\x80"
        and all(data[n] in (1, 255) for n in range(0, len(data) - 1, 13))
    )


def test_of_two_moves_at_once_one_wins_and_a_removed_value_stays_removed() -> None:
    one, two, _ = lists = sequences()
    one.insert(0, ["a", "b", "c"])
    pull_all(lists)
    one.move(0, 2)
    two.move(0, 1)
    pull_all(lists)
    assert sorted(one.items()) == ["a", "b", "c"]
    assert one.items() == two.items()
    one.move(one.items().index("b"), 0)
    two.remove(two.items().index("b"))
    pull_all(lists)
    assert sorted(one.items()) == ["a", "c"]
    assert one.items() == two.items() == lists[2].items()


def test_a_text_is_edited_by_lines_and_other_lines_stay() -> None:
    one, two, _ = lists = sequences()
    one.text("first\nsecond\nthird\n")
    pull_all(lists)
    one.text("FIRST\nsecond\nthird\n")
    two.text("first\nsecond\nthird\nfourth\n")
    pull_all(lists)
    assert one.text() == two.text() == "FIRST\nsecond\nthird\nfourth\n"
    assert one.text("second\nfourth") == "second\nfourth"


@given(st.text("ab\n", max_size=12), st.text("ab\n", max_size=12))
def test_a_text_becomes_what_it_is_set_to(before: str, after: str) -> None:
    sequence = sequences(1)[0]
    assert sequence.text(before) == before
    assert sequence.text(after) == after


cells = st.tuples(st.sampled_from("rst"), st.sampled_from("fg"), st.integers(0, 9) | st.none())


@given(st.lists(cells | st.sampled_from("rst"), max_size=30))
def test_alone_a_doc_is_a_dict_of_dicts(steps: Any) -> None:
    doc, plain = Doc("d", author(0)), dict[str, dict[str, int]]()
    for step in steps:
        if isinstance(step, str):
            assert doc.remove(step) is (plain.pop(step, None) is not None)
            continue
        row, field, value = step
        doc.put(row, {field: value})
        if value is not None:
            plain.setdefault(row, {})[field] = value
        elif row in plain:
            plain[row].pop(field, None)
            if not plain[row]:
                del plain[row]
        assert doc.to_json() == plain
        assert doc.rows() == sorted(plain)
        assert doc.row(row) == plain.get(row)
        assert doc.find(field, 3) == sorted(r for r in plain if plain[r].get(field) == 3)


def test_a_removed_row_is_gone_where_nobody_was_listening_and_what_was_not_seen_stays() -> None:
    one, two = Doc("d", author(0)), Doc("d", author(1))
    row = one.add({"text": "x", "done": False})
    pull(two, one)
    assert one.remove(row) is True
    two.put(row, {"late": 1})
    pull(two, one)
    pull(one, two)
    assert one.to_json() == two.to_json() == {row: {"late": 1}}
    assert two.remove(row) is True
    pull(one, two)
    assert one.to_json() == {}
    assert one.remove(row) is False


def test_rows_are_sorted_by_a_field() -> None:
    doc = Doc("d", author(0))
    for row, at in (("a", 3), ("b", 1), ("c", "x"), ("d", 2)):
        doc.put(row, {"at": at})
    doc.put("e", {"other": 1})
    assert doc.sort("at") == ["b", "d", "a", "c"]
    assert doc.field("a", "at") == 3
    assert doc.field("a", "none") is None
