"""Fingerprint of a model: a hash that does not depend on the order in which it all came.

Only what readers see counts: not tombstones, which one node may have collected earlier than
another, nor keys that have expired by a given time. The sum is kept by BUCKETS of keys, so that two
nodes that differ find out where without telling each other all they have.

The work is done a segment of the log at a time and kept with the segment, for as long as that
loses nothing: after a few writes only what they touched is hashed again. Generators yield where
others may run; between the last `yield` and their end nothing may, so what they return is true
of one instant.
"""

from collections.abc import Generator
from hashlib import blake2b
from zlib import crc32

from scuttled.replica.arrival_log import Segment, SegmentPrint
from scuttled.replica.change import DELETED, EXPIRES, KIND_BITS, OWN, parse, slot_of
from scuttled.replica.slots import Slots
from scuttled.replica.update import Source

BUCKETS = 256  # of keys, by which a model is compared
TOUCHED_MAX = 4  # segments that may be hashed in the last instant: some 10 ms each
_MASK = 2**64 - 1

Sums = list[int]  # by bucket, 64 bits each


def bucket_of(slot: bytes) -> int:
    return crc32(slot) % BUCKETS


def hash_of(record: bytes, source: Source) -> int:
    return int.from_bytes(blake2b(record + source, digest_size=8).digest(), "big")


def fingerprint(model: Slots, at_ms: int) -> Generator[None, None, Sums]:
    """The sums of a model, without what expires up to `at_ms`, at the instant it returns."""
    while (touched := _touched(model))[TOUCHED_MAX:]:
        for segment in touched:
            _print(segment)
            yield
    for segment in touched:
        _print(segment)
    totals = [0] * BUCKETS
    for segment in model.log.segments:
        made = segment.printed if segment is not model.log.tail else _hash(segment)
        assert made is not None
        for bucket, total in made.sums.items():
            totals[bucket] += total
        for when, bucket, value in made.expiring:
            if when > at_ms:
                totals[bucket] += value
    return [total & _MASK for total in totals]


def rows(
    model: Slots, buckets: frozenset[int], at_ms: int
) -> Generator[None, None, dict[bytes, int]]:
    """The hash of each key in some buckets; looks at everything."""
    found: dict[bytes, int] = {}
    cursor = 0
    log = model.log
    while cursor < log.end:
        piece = log.piece(cursor, log.end)
        cursor = piece.next
        for record, source in zip(piece.records, piece.sources, strict=True):
            if record is not None and bucket_of(slot := slot_of(record)) in buckets:
                if parse(record, source).shown(at_ms):
                    found[slot] = hash_of(record, source)
                else:
                    found.pop(slot, None)
        yield
    return found


def _touched(model: Slots) -> list[Segment]:
    """Full segments that were never hashed, or lost something since."""
    return [
        segment
        for segment in model.log.segments[:-1]
        if segment.printed is None or segment.printed.live != segment.live
    ]


def _print(segment: Segment) -> None:
    segment.printed = _hash(segment)


def _hash(segment: Segment) -> SegmentPrint:
    sums: dict[int, int] = {}
    expiring: list[tuple[int, int, int]] = []
    for record, source in zip(segment.records, segment.sources, strict=True):
        if record is None or record[8] & KIND_BITS in (DELETED, OWN):
            continue
        bucket = bucket_of(slot_of(record))
        value = hash_of(record, source)
        if record[8] & EXPIRES:
            expiring.append((parse(record, source).expires_ms, bucket, value))
        else:
            sums[bucket] = sums.get(bucket, 0) + value
    return SegmentPrint(segment.live, sums, expiring)
