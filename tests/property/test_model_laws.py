"""What holds for every data type, however updates arrive: in any order, in any pieces, twice.

A new type in MODELS is tried by these laws without further ado, if it says below how to write
to it.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scuttled.errors import RemoteProtocolError, ScuttledError
from scuttled.models.map import Map
from scuttled.models.operations import call, operations
from scuttled.models.registry import MODELS
from scuttled.models.whole import whole
from scuttled.replica.change import BYTES, JSON, TEXT, make_change, parse
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import NodeId, Source, Update, make_source, stamp
from scuttled.replica.version_vector import Clock

ALL_TIME = stamp(2**63 - 1)
SOURCES = [make_source(NodeId(bytes([n]) * 8), 1) for n in range(3)]

Change = tuple[int, int, bytes]  # source, timestamp, change


def map_changes() -> st.SearchStrategy[bytes]:
    """What writers of a map may have written: values, deletions, keys that expire."""

    def written(key: str, what: str, value: str) -> bytes:
        model = Map("scratch", Author(NodeId(b"scratch!")))
        if what == "delete":
            model.put(key, TEXT, b"", 1)
            update = model.discard(key, 2)
            assert update is not None
            return update.change
        return model.put(key, TEXT, value.encode(), 1, 500 if what == "ttl" else 0).change

    return st.builds(
        written,
        st.sampled_from(["j", "k", "l/m", "ü"]),
        st.sampled_from(["set", "set", "delete", "ttl"]),
        st.text(max_size=3),
    )


def recorded(data_type: str, *calls: tuple[str, list[Any]]) -> st.SearchStrategy[bytes]:
    """What writers wrote who, one after the other, made some of these calls on one replica."""

    def written(chosen: list[tuple[str, list[Any]]], which: int) -> bytes:
        author = Author(NodeId(b"scratch!"), now_ms=lambda: 0)
        model = MODELS[data_type]("scratch", author)
        changes: list[bytes] = []
        model.on("update", lambda update: changes.append(update.change))
        for name, args in [*chosen, calls[0]]:
            call(model, name, args)
        return changes[which % len(changes)]

    return st.builds(
        written, st.lists(st.sampled_from(calls), max_size=4), st.integers(min_value=0)
    )


CHANGES: dict[str, Callable[[], st.SearchStrategy[bytes]]] = {
    "map": map_changes,
    "value": lambda: recorded("value", ("set", [1]), ("set", ["text"]), ("set", [None])),
    "log": lambda: recorded("log", ("append", ["a"]), ("append", [{"b": 1}])),
    "events": lambda: recorded("events", ("emit", ["a"]), ("emit", ["b", [1, 2]])),
    "set": lambda: recorded(
        "set", ("add", ["a"]), ("add", [1]), ("remove", ["a"]), ("remove", [1])
    ),
    "doc": lambda: recorded(
        "doc", ("put", ["r", {"f": 1, "g": "x"}]), ("put", ["s", {"f": 2}]), ("remove", ["r"])
    ),
    "sequence": lambda: recorded(
        "sequence", ("push", ["a"]), ("insert", [0, ["b", "c"]]), ("pop", []), ("unshift", [1])
    ),
    "counter": lambda: recorded("counter", ("add", [1]), ("add", [-3])),
}


@st.composite
def histories(draw: Any, data_type: str) -> list[tuple[Source, bytes]]:
    """Records of three sources; ties in time between sources are likely, within one impossible."""
    changes = draw(st.lists(CHANGES[data_type](), max_size=12))
    taken: set[tuple[Source, int]] = set()
    history = []
    for change in changes:
        source = draw(st.sampled_from(SOURCES))
        time = draw(st.integers(1, 6))
        if (source, time) not in taken:
            taken.add((source, time))
            history.append((source, Update(change, time, source).record))
    return history


def fresh(data_type: str) -> Scuttlebutt:
    return MODELS[data_type]("m", Author(NodeId(b"observer")))


def state(model: Scuttlebutt) -> list[Update]:
    return list(model.history(Clock()))


def receive(model: Scuttlebutt, records: list[tuple[Source, bytes]]) -> None:
    model.receive([(source, [record]) for source, record in records], ALL_TIME)


@pytest.mark.parametrize("data_type", MODELS)
def test_every_data_type_says_here_how_to_write_to_it(data_type: str) -> None:
    assert data_type in CHANGES, f"add {data_type} to CHANGES, so that the laws can try it"


@pytest.mark.parametrize("data_type", MODELS)
@given(data=st.data())
def test_any_order_any_split_and_twice_give_the_same_state(data_type: str, data: Any) -> None:
    history = data.draw(histories(data_type))
    straight, other = fresh(data_type), fresh(data_type)
    receive(straight, history)
    shuffled = data.draw(st.permutations(history + data.draw(st.permutations(history))))
    while shuffled:
        cut = data.draw(st.integers(1, len(shuffled)))
        receive(other, shuffled[:cut])
        shuffled = shuffled[cut:]
    assert state(other) == state(straight)
    assert other.log.live == straight.log.live == len(state(straight))


@pytest.mark.parametrize("data_type", MODELS)
@given(data=st.data())
def test_history_is_what_a_clock_does_not_cover_in_rank_order(data_type: str, data: Any) -> None:
    history = data.draw(histories(data_type))
    model = fresh(data_type)
    receive(model, history)
    seen = Clock({source: data.draw(st.integers(0, 6)) for source in SOURCES})
    lacking = list(model.history(seen))
    assert lacking == [u for u in state(model) if not seen.covers(u.source, u.timestamp)]
    assert lacking == sorted(lacking, key=lambda update: (update.timestamp, update.source))


@pytest.mark.parametrize("data_type", MODELS)
@given(data=st.data())
def test_what_storage_gives_back_is_the_same_model(data_type: str, data: Any) -> None:
    history = data.draw(histories(data_type))
    model, again = fresh(data_type), fresh(data_type)
    receive(model, history)
    entries: list[tuple[int, bytes, Source]] = []
    cursor = 0
    while cursor < model.log.end:
        piece = model.log.piece(cursor, model.log.end)
        cursor = piece.next
        for at, record, source in zip(piece.positions, piece.records, piece.sources, strict=True):
            if record is not None:
                entries.append((at, record, source))
    if entries:
        positions, records, sources = (list(column) for column in zip(*entries, strict=True))
        again.restore(positions, records, sources, {})
    assert state(again) == state(model)
    later = (SOURCES[0], Update(data.draw(CHANGES[data_type]()), 99, SOURCES[0]).record)
    receive(model, [later])
    receive(again, [later])
    assert state(again) == state(model)


ODD = [
    b"",
    b"--5",
    b"9" * 5000,
    b"[",
    b"1e999",
    b"null",
    b"{}",
    b'"\xff',
    b"[" * 5000,
    b"-0",
    b"\x00",
]


@pytest.mark.parametrize("data_type", MODELS)
@given(data=st.data())
def test_whatever_a_peer_puts_into_a_slot_the_model_can_be_read(data_type: str, data: Any) -> None:
    """Of a payload only its author knows that it is sane (I8)."""
    model = fresh(data_type)
    for number, (source, record) in enumerate(data.draw(histories(data_type))):
        slot = parse(record, source)
        if slot.kind in (TEXT, BYTES, JSON):
            payload = data.draw(st.sampled_from(ODD))
            kind = data.draw(st.sampled_from([TEXT, BYTES, JSON]))
            change = make_change(slot.slot, kind, payload)
            record = Update(change, number + 1, source).record
        try:
            receive(model, [(source, record)])
        except RemoteProtocolError:
            continue
    for operation in operations(type(model)):
        if not operation.writes and not operation.args:
            with suppress(ScuttledError):
                call(model, operation.name, [])
    for update in state(model):
        model.told(update)
    assert isinstance(model, Slots)
    for held in model.shown():
        model.label(held)
        model.value(held)
    whole(model)


@given(data=st.data())
def test_a_map_is_a_dict_in_which_the_latest_write_stands(data: Any) -> None:
    model, expected = Map("m", Author(NodeId(b"observer"))), dict[str, bytes]()
    steps = st.tuples(st.sampled_from("jkl"), st.sampled_from(["put", "discard"]), st.binary())
    for wall_ms, (key, what, value) in enumerate(data.draw(st.lists(steps, max_size=30))):
        if what == "put":
            model.put(key, TEXT, value, wall_ms)
            expected[key] = value
        else:
            assert (model.discard(key, wall_ms) is not None) == (key in expected)
            expected.pop(key, None)
        found = {k: slot.payload for k in "jkl" if (slot := model.find(k, wall_ms)) is not None}
        assert found == expected
        assert model.count == len(expected)
        assert model.log.live == model.count + model.tombstones
        assert model.bytes == sum(len(update.record) for update in state(model))
