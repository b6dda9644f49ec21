"""Durability of a node: what waits for the disk, what others may be shown, what a failure means."""

import pytest
from support.scenes import NOW, Line, a_node, default, node_id, put, save, write

from scuttled.errors import StorageError
from scuttled.node.durability import HLC_AHEAD_TICKS, Durability
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt


def of_models(*models: Scuttlebutt, shown: list[str], stored: bool = True) -> Durability:
    author = Author(node_id(1))
    named = {model.name: model for model in models}
    durability = Durability(named, author, lambda model: shown.append(model.name), stored=stored)
    for model in models:
        durability.adopt(model)
    return durability


def test_nothing_is_shown_to_others_before_it_is_saved() -> None:
    shown: list[str] = []
    woken: list[str] = []
    model = default(a_node(1))
    durability = of_models(model, shown=shown)
    durability.subscribe(lambda: woken.append("storage"))
    put(model, "k")
    durability.accepted(model, urgent=True)
    assert (woken, shown) == (["storage"], [])
    assert durability.rows_unsaved == 1
    batch = durability.unsaved(clocks=True)
    assert batch is not None
    durability.saved(batch)
    assert shown == [model.name]
    assert durability.is_saved()
    assert durability.rows_unsaved == 0


def test_without_a_disk_all_is_shown_at_once_and_nothing_waits() -> None:
    shown: list[str] = []
    woken: list[str] = []
    model = default(a_node(1))
    durability = of_models(model, shown=shown, stored=False)
    durability.subscribe(lambda: woken.append("storage"))
    put(model, "k")
    durability.accepted(model, urgent=True)
    assert (woken, shown) == ([], [model.name])
    assert durability.is_saved()
    assert not durability.urgent


def test_a_writer_makes_it_urgent_until_storage_turns_to_it() -> None:
    model = default(a_node(1))
    durability = of_models(model, shown=[])
    durability.accepted(model, urgent=True)
    durability.accepted(model, urgent=False)
    assert durability.urgent
    durability.saving_begins()
    assert not durability.urgent
    durability.accepted(model, urgent=False)
    assert not durability.urgent


def test_while_the_disk_fails_users_write_nothing() -> None:
    durability = of_models(shown=[])
    durability.check_writable()
    durability.fails("x: no space left")
    with pytest.raises(StorageError, match="can't write: x: no space left; reads and gossip go on"):
        durability.check_writable()
    assert not durability.is_settled
    durability.fails("")
    durability.check_writable()
    assert durability.is_settled


def test_a_model_that_comes_while_it_is_adrift_is_passed_on_unsaved_too() -> None:
    shown: list[str] = []
    model = default(a_node(1))
    durability = of_models(shown=shown)
    durability.drift(True)
    durability.adopt(model)
    put(model, "k")
    durability.accepted(model, urgent=False)
    assert shown == [model.name]
    assert model.log.visible == model.log.end > model.log.durable


def test_who_hurries_is_done_once_all_is_on_disk() -> None:
    model = default(a_node(1))
    durability = of_models(model, shown=[])
    put(model, "k")
    durability.hurry(model)
    assert not durability.end_hurry()
    batch = durability.unsaved(clocks=False)
    assert batch is not None
    assert batch.models[0].times, "the clock comes along, though nobody asked"
    durability.saved(batch)
    assert durability.end_hurry()
    assert not durability.end_hurry()


def test_what_storage_has_lost_is_saved_again_and_the_hlc_with_it() -> None:
    one = a_node(1, stored=True)
    write(one, "k")
    save(one)
    assert one.durability.unsaved(clocks=True) is None
    one.durability.forget_saved()
    batch = one.durability.unsaved(clocks=True)
    assert batch is not None
    assert batch.hlc == one.author.hlc.last + HLC_AHEAD_TICKS
    assert batch.rows >= 1


def test_links_are_woken_by_what_is_saved() -> None:
    one = a_node(1, stored=True)
    line = Line(one, a_node(2))
    line.settle()
    write(one, "k")
    assert not line.links[0].wants_to_send(NOW)
    save(one)
    assert line.links[0].wants_to_send(NOW)
