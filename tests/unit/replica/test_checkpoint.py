from support.scenes import WALL, a_map, node_id, put, saved

from scuttled.models.map import Map
from scuttled.replica.checkpoint import SAVE_ENTRIES_MAX, model_batch, note_saved
from scuttled.replica.hlc import Author
from scuttled.replica.update import Update
from scuttled.storage.storage import Batch


def stored(*keys: str) -> Map:
    model = a_map(stored=True)
    for key in keys:
        put(model, key)
    return model


def reset(model: Map, *keys: str) -> None:
    whole = model.blank()
    assert isinstance(whole, Map)
    for key in keys:
        put(whole, key)
    whole.floor.merge(whole.clock.items())
    model.become(whole)


def test_the_floor_comes_to_disk_with_the_holes_below_it() -> None:
    model = stored("k")
    grave = model.discard("k", WALL)
    assert grave is not None
    saved(model)
    model.saved.clock.merge(model.clock.items())
    assert model.collect(lambda source, time: True, WALL) == 1
    assert not model.is_saved
    part = model_batch(model, clocks=False)
    assert (part.freed, part.floor) == ([1], [(grave.source, grave.timestamp)])
    note_saved(model, part)
    assert model.is_saved
    assert model_batch(model, clocks=True).floor == []


def test_a_durable_clock_is_what_was_noted_and_no_more() -> None:
    model = stored("j")
    part = model_batch(model, clocks=True)
    update = put(model, "k")
    assert len(model.durable_clock) == 0
    note_saved(model, part)
    assert 0 < model.durable_clock[update.source] < update.timestamp
    note_saved(model, model_batch(model, clocks=False))
    assert model.durable_clock[update.source] < update.timestamp, "the updates came alone"
    note_saved(model, model_batch(model, clocks=True))
    assert model.durable_clock == model.clock


def test_a_batch_taken_before_a_reset_and_saved_after_it_changes_nothing() -> None:
    model = stored("old")
    late = model_batch(model, clocks=True)
    reset(model, "new")
    log, marks = model.log, model.saved
    before = (log.saved, log.visible, marks.revision, marks.floor_revision)
    note_saved(model, late)
    assert (log.saved, log.visible, marks.revision, marks.floor_revision) == before
    assert model.saved.replaced
    assert len(model.durable_clock) == 0
    part = model_batch(model, clocks=False)
    assert part.replace
    note_saved(model, part)
    assert model.is_saved
    assert model.durable_clock == model.clock


def test_a_reset_is_one_batch_with_clock_and_floor_though_they_were_not_asked_for() -> None:
    model = stored("old")
    note_saved(model, model_batch(model, clocks=True))
    reset(model, "a", "b")
    put(model, "issued anew")
    part = model_batch(model, clocks=False)
    assert part.replace
    assert [record is not None for _, _, record in part.entries] == [True] * 3
    assert dict(part.times) == model.clock.copy_times()
    assert dict(part.floor) == model.floor.copy_times()
    assert part.end == model.log.end
    put(model, "meanwhile")
    note_saved(model, part)
    after = model_batch(model, clocks=True)
    assert not after.replace
    assert len(after.entries) == 1


def test_a_hole_does_not_come_to_disk_before_what_took_its_place() -> None:
    """A kill between the two batches would take both."""
    model = stored("k")
    note_saved(model, model_batch(model, clocks=True))
    for n in range(2 * SAVE_ENTRIES_MAX):
        put(model, f"other{n}")
    put(model, "k", "new")
    batch = model_batch(model, clocks=True)
    assert batch.freed == [0]
    assert [at for at, _, record in batch.entries if record and b"new" in record]


def test_what_a_batch_costs_is_counted_with_what_it_deletes() -> None:
    model = stored("a", "b", "c")
    note_saved(model, model_batch(model, clocks=True))
    for key in ("a", "b"):
        put(model, key, "new")
    assert Batch([model_batch(model, clocks=True)], life=1).rows == 2 + 2


def test_a_reset_leaves_no_field_of_before_whatever_a_data_type_calls_its_own() -> None:
    class Counted(Map):
        written: int  # born with the first write, as a cached property is

        def write(self, change: bytes, wall_ms: int) -> Update:
            self.written = getattr(self, "written", 0) + 1
            return super().write(change, wall_ms)

    model = Counted("k", Author(node_id(1)))
    put(model, "old")
    assert model.written == 1
    reset(model, "one", "two")
    assert model.written == 2
    model.become(model.blank())
    assert not hasattr(model, "written")
