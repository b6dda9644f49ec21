from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import TICKS, WALL, a_map, examples, put, record, source

from scuttled.models.map import Map
from scuttled.protocol.codec import BUCKETS
from scuttled.replica import fingerprint as room
from scuttled.replica.arrival_log import SEGMENT_ENTRIES
from scuttled.replica.change import DELETED, TEXT, make_change
from scuttled.replica.fingerprint import TOUCHED_MAX, bucket_of, fingerprint, hash_of, rows
from scuttled.replica.slots import Slots
from scuttled.replica.update import Stamp, stamp

T = TypeVar("T")
EVER = Stamp(stamp(2**62))


def run(job: Generator[None, None, T]) -> T:
    while True:
        try:
            next(job)
        except StopIteration as done:
            value: T = done.value
            return value


def sums(model: Slots, at_ms: int = WALL) -> list[int]:
    return run(fingerprint(model, at_ms))


def plain(model: Slots, at_ms: int = WALL) -> list[int]:
    """The same, by a look at each key."""
    totals = [0] * BUCKETS
    for slot in list(model._slots):
        if model.live(slot, at_ms) is not None:
            entry = model.log.entry(model._slots[slot])
            totals[bucket_of(slot)] += hash_of(*entry)
    return [total % 2**64 for total in totals]


def filled(count: int, start: int = 0) -> Map:
    """Of `source(2)`, so that several hold the same."""
    model = a_map()
    take(model, *(record(f"k{n}", TICKS + n) for n in range(start, count)))
    return model


def take(model: Map, *records: bytes) -> None:
    model.receive([(source(2), list(records))], EVER)


MANY = 3 * SEGMENT_ENTRIES + 5


@examples(50)
@given(st.permutations([record(f"k{n % 9}", TICKS + n) for n in range(12)]))
def test_the_order_of_arrival_does_not_matter(records: list[bytes]) -> None:
    model, other = a_map(), a_map(2)
    take(model, *records)
    for one in sorted(records):
        take(other, one)
    assert sums(model) == sums(other) == plain(model)


def test_segments_do_not_matter_nor_their_squeezing_and_joining() -> None:
    """The same keys, once written one by one and once with most of the log overwritten."""
    model = filled(MANY)
    assert sums(model) == plain(model)
    take(model, *(record(f"k{n}", 2 * TICKS + n) for n in range(MANY) if n % 9))
    first = model.log.segments[0]
    assert first.positions is not None, "squeezed"
    assert first.end > 2 * SEGMENT_ENTRIES, "and joined"
    other = a_map(2)
    take(other, *(record(f"k{n}", 2 * TICKS + n) for n in reversed(range(MANY)) if n % 9))
    take(other, *(record(f"k{n}", TICKS + n) for n in range(0, MANY, 9)))
    assert sums(model) == sums(other) == plain(model)


def test_deleted_expired_and_collected_keys_do_not_count() -> None:
    model, other = a_map(), a_map(2)
    for one in (model, other):
        take(one, record("kept"))
    before = sums(model)
    take(model, record("gone"), record("gone", TICKS + 1, b"", DELETED))
    change = make_change(b"short", TEXT, b"v", WALL + 50)
    take(model, stamp(TICKS + 2) + change)
    assert sums(model, WALL + 49) == plain(model, WALL + 49) != before
    assert sums(model, WALL + 50) == before, "though nobody has announced it"
    model.expire(WALL + 50)
    assert sums(model, WALL + 50) == before
    assert model.collect(lambda source, time: True, WALL + 99) == 2
    assert sums(model, WALL + 50) == before == sums(other)


def test_what_stands_in_full_segments_expires_on_time_too() -> None:
    model = filled(SEGMENT_ENTRIES - 1)
    before = sums(model)
    take(model, stamp(TICKS) + make_change(b"short", TEXT, b"v", WALL + 50))
    take(model, record("last"))
    take(other := filled(SEGMENT_ENTRIES - 1), record("last"))
    assert model.log.segments[0].live == SEGMENT_ENTRIES
    assert sums(model, WALL + 49) == plain(model, WALL + 49)
    assert sums(model, WALL + 50) == sums(other, WALL + 50) != before


def test_settings_and_the_mark_of_a_drop_do_not_count() -> None:
    model = a_map()
    model.drop(WALL)
    model.set_options(WALL, ttl_ms=9)
    assert sums(model) == [0] * BUCKETS


def test_every_byte_of_a_record_counts_and_its_source_too() -> None:
    original = stamp(TICKS) + make_change(b"key", TEXT, b"value", WALL + 50)
    seen = {hash_of(original, source(2)), hash_of(original, source(3))}
    for at in range(len(original)):
        flipped = original[:at] + bytes((original[at] ^ 1,)) + original[at + 1 :]
        seen.add(hash_of(flipped, source(2)))
    assert len(seen) == len(original) + 2
    model = filled(SEGMENT_ENTRIES + 5)
    before = sums(model)
    for place in (7, SEGMENT_ENTRIES + 2):
        segment = model.log.segments[place // SEGMENT_ENTRIES]
        held = segment.records[place % SEGMENT_ENTRIES]
        assert held is not None
        segment.records[place % SEGMENT_ENTRIES] = held[:-1] + b"w"
        segment.printed = None
        changed = [
            n for n, both in enumerate(zip(before, sums(model), strict=True)) if len({*both}) > 1
        ]
        assert changed == [bucket_of(f"k{place}".encode())]
        segment.records[place % SEGMENT_ENTRIES] = held
        segment.printed = None


def test_two_keys_that_trade_their_values_are_seen() -> None:
    one, two = a_map(), a_map(2)
    take(one, record("a", value=b"1"), record("b", value=b"2"))
    take(two, record("a", value=b"2"), record("b", value=b"1"))
    assert sums(one) != sums(two)


def test_it_is_exact_at_the_instant_it_returns_though_writes_come_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "TOUCHED_MAX", 1)
    model = filled(4 * SEGMENT_ENTRIES + 5)
    slices = 0

    def with_writes() -> Generator[None, None, list[int]]:
        nonlocal slices
        job = fingerprint(model, WALL)
        while True:
            try:
                yield next(job)
            except StopIteration as done:
                return list(done.value)
            slices += 1
            if slices < 12:  # of what was hashed, of what was not, and new
                put(model, f"k{slices * 311}", str(slices))
                put(model, f"new{slices}")
                model.discard(f"k{slices * 17 + 1}", WALL)

    assert run(with_writes()) == plain(model)
    assert slices >= 4


def test_it_lets_others_run_after_each_segment_but_for_the_last_few() -> None:
    model = filled((TOUCHED_MAX + 3) * SEGMENT_ENTRIES + 5)
    job, printed = fingerprint(model, WALL), [0]
    for _ in job:
        printed.append(sum(segment.printed is not None for segment in model.log.segments))
        assert printed[-1] - printed[-2] <= 1
    assert len(printed) > 2


def test_after_one_write_only_what_it_touched_is_hashed_again() -> None:
    model = filled(9 * SEGMENT_ENTRIES + 5)
    sums(model)
    before = {id(segment): segment.printed for segment in model.log.segments}
    put(model, "k5000", "new")
    job = fingerprint(model, WALL)
    assert list(job) == [], "one slice"
    again = [s for s in model.log.segments[:-1] if s.printed is not before[id(s)]]
    assert [segment.first for segment in again] == [SEGMENT_ENTRIES]
    assert len(again) <= TOUCHED_MAX
    assert sums(model) == plain(model)


def test_the_rows_of_a_bucket_are_the_hashes_of_its_keys_and_add_up_to_its_sum() -> None:
    model = filled(SEGMENT_ENTRIES + 500)
    take(model, record("k1", 2 * TICKS, b"", DELETED))
    wanted = frozenset((bucket_of(b"k1"), bucket_of(b"k2")))
    found = run(rows(model, wanted, WALL))
    assert b"k1" not in found
    assert found[b"k2"] == hash_of(record("k2", TICKS + 2), source(2))
    totals = sums(model)
    for bucket in wanted:
        of_it = [value for slot, value in found.items() if bucket_of(slot) == bucket]
        assert sum(of_it) % 2**64 == totals[bucket]
    assert {bucket_of(slot) for slot in found} == wanted


def test_rows_tell_a_key_that_changes_meanwhile_as_it_is_in_the_end() -> None:
    model = filled(2 * SEGMENT_ENTRIES)
    everything = frozenset(range(BUCKETS))
    job = rows(model, everything, WALL)
    next(job)
    new = put(model, "k1", "new")
    model.discard("k2", WALL)
    found = run(job)
    assert found[b"k1"] == hash_of(new.record, new.source)
    assert b"k2" not in found
