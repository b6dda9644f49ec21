"""Signatures: who may speak for a source, and that nothing moves before it is known (I4)."""

import pytest
from support.scenes import node_id

from scuttled.models.map import Map
from scuttled.models.set import Set
from scuttled.protocol.session import Session
from scuttled.replica.change import DELETED, ORIGIN, SEAL_BYTES, SIGNED, make_change
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import Rejoin, Rejoined, rejoin
from scuttled.replica.signatures import Signer, Verifier, bridged_source, id_of_key, unsealed
from scuttled.replica.update import (
    TICKS_PER_MS,
    Instant,
    Run,
    Source,
    Stamp,
    Update,
    make_source,
    stamp,
)
from scuttled.replica.version_vector import Clock
from scuttled.runtime.keys import check_with_ed25519, make_seal

WALL = 1_700_000_000_000
LIMIT = Stamp(stamp((WALL + 60_000) * TICKS_PER_MS))
CHECK = check_with_ed25519()


def signer(number: int) -> tuple[Author, Signer]:
    """Somebody whose id is that of a key."""
    seal = make_seal(bytes([number]) * 32)
    author = Author(id_of_key(seal.key), now_ms=lambda: WALL)
    author.signer, author.verifier = seal, Verifier(CHECK)
    return author, seal


def a_map(number: int, name: str = "m") -> Map:
    return Map(name, signer(number)[0])


def only(model: Map) -> Run:
    """Its one update, as a run."""
    (update,) = model.history(Clock())
    return update.source, [update.record]


def refused(model: Map, run: Run) -> str:
    """Why it is not taken; and that nothing has moved for it."""
    before = (model.to_json(), dict(model.clock.items()), model.author.hlc.last, model.log.end)
    received = model.receive([run], LIMIT)
    assert (model.to_json(), dict(model.clock.items()), model.author.hlc.last, model.log.end) == (
        before
    )
    assert run[0] in received.future  # so that no commit is heeded
    assert received.refused == 0
    (cause,) = received.doubted
    return cause


def test_what_is_signed_is_taken_and_passed_on_as_it_is() -> None:
    one, two, three = a_map(1), a_map(2), a_map(3)
    one.set("k", {"n": 1})
    two.receive([only(one)], LIMIT)
    three.receive([only(two)], LIMIT)
    assert three.to_json() == {"k": {"n": 1}}
    assert only(three) == only(one)


def test_one_who_does_not_check_reads_it_all_the_same() -> None:
    one, other = a_map(1), Map("m", Author(node_id(9)))
    one.set("k", "text")
    one.put("short", 1, b"v", WALL, ttl_ms=5)
    one.delete("k")
    other.receive([(u.source, [u.record]) for u in one.history(Clock())], LIMIT)
    assert other.get("k") is None
    assert other.find("short", WALL) == one.find("short", WALL)
    assert other.tombstones == one.tombstones == 1


@pytest.mark.parametrize("at", [0, 5, 8, 11, 12, 14, -1, -64, -65, -96])
def test_a_byte_that_was_changed_on_the_way_is_noticed(at: int) -> None:
    one, two = a_map(1), a_map(2)
    one.set("key", "value")
    source, (record,) = only(one)
    forged = bytearray(record)
    forged[at] ^= 1
    assert refused(two, (source, [bytes(forged)]))


def test_an_update_that_is_not_signed_is_not_taken() -> None:
    two, stranger = a_map(2), Map("m", Author(node_id(9)))
    stranger.put("k", 1, b"v", WALL)
    assert refused(two, only(stranger)) == "not signed"
    source, (record,) = only(stranger)
    assert refused(two, (source, [record[:8] + bytes((record[8] | SIGNED,)) + record[9:]]))


def test_nobody_can_speak_for_another_source() -> None:
    one, two, thief = a_map(1), a_map(2), a_map(3)
    thief.set("k", "forged")
    _, (record,) = only(thief)
    for victim in (one, two):
        cause = refused(two, (victim.author.source, [record]))
        assert cause == "signed with the key of another node"


def test_an_update_of_ones_own_id_is_no_exception() -> None:
    two = a_map(2)
    change = make_change(b"k", 1, b"forged")
    assert refused(two, (two.author.source, [Update(change, 9, two.author.source).record]))


def test_an_update_of_another_model_is_not_replayed() -> None:
    one, two = a_map(1, "drafts"), a_map(2, "published")
    one.set("k", "v")
    assert refused(two, only(one)) == "with a bad signature"


def test_a_forged_update_from_far_ahead_does_not_silence_its_source() -> None:
    one, two = a_map(1), a_map(2)
    far = stamp(2**62) + make_change(b"k", 1, b"forged")
    for record in (far, far + bytes(SEAL_BYTES)):
        refused(two, (one.author.source, [record]))
    one.set("k", "genuine")
    two.receive([only(one)], LIMIT)
    two.commit(one.clock.items())
    assert two.get("k") == "genuine"


def test_only_those_that_are_trusted_are_believed() -> None:
    one, two, three = a_map(1), a_map(2), a_map(3)
    two.author.verifier = Verifier(CHECK, frozenset([one.author.node_id]))
    one.set("k", "one")
    three.set("k", "three")
    two.receive([only(one)], LIMIT)
    assert refused(two, only(three)) == "of a node that is not trusted"
    assert two.get("k") == "one"


def test_a_new_life_signs_with_the_same_key() -> None:
    one, two = a_map(1), a_map(2)
    one.author.live_as(7)
    one.set("k", "v")
    two.receive([only(one)], LIMIT)
    assert two.get("k") == "v"


def test_a_bridge_speaks_for_those_behind_it_and_for_nobody_elses() -> None:
    one, two, thief = a_map(1), a_map(2), a_map(3)
    outer = b"npm id"
    source = bridged_source(one.author.source, outer)
    origin = one.author.life.to_bytes(4, "big") + len(outer).to_bytes(2, "big") + outer + b"[]"
    change = make_change(b"k", 1, b"v", origin=origin)
    assert change[0] & ORIGIN
    assert one.adopt(change, 5, source)
    two.receive([only(one)], LIMIT)
    assert two.get("k") == "v"
    thief.adopt(change, 9, source)
    assert refused(two, only(thief)) == "signed with the key of another node"


def test_no_commit_is_heeded_in_a_session_in_which_something_was_not_believed() -> None:
    one, two, forger = a_map(1), a_map(2), Map("m", Author(node_id(9)))
    one.set("k", "v")
    forger.put("f", 1, b"forged", WALL)
    forger.receive([only(one)], LIMIT)
    forger.commit(one.clock.items())
    ends = [Session(forger, 60_000), Session(two, 60_000)]
    clocks = [end.clock_message() for end in ends]
    ends[0].receive_clock(clocks[1])
    ends[1].receive_clock(clocks[0])
    now = Instant(1.0, WALL)
    delta = ends[0].next_delta(60_000, now)
    received = ends[1].receive_delta(delta, now)  # type: ignore[arg-type]
    assert received.doubted == {"not signed": 1}
    assert len(two.clock) == 0
    assert ends[1].retry_ms() == WALL + 60_001  # it is asked for again a minute later
    two.receive([only(one)], LIMIT)
    two.commit(one.clock.items())
    assert two.get("k") == "v"


def test_what_is_issued_anew_after_a_reset_is_signed_anew() -> None:
    one, two = a_map(1), a_map(2)
    one.set("mine", "x")
    two.set("theirs", "y")
    whole = one.blank()
    whole.receive([only(two)], LIMIT)
    whole.commit([*two.clock.items(), (one.author.source, 0)])
    assert isinstance(whole, Map)
    rejoin(one, whole, one.author, Rejoin.OWN, Rejoined("m", "two", WALL))
    assert one.to_json() == {"mine": "x", "theirs": "y"}
    three = a_map(3)
    three.receive([(u.source, [u.record]) for u in one.history(Clock())], LIMIT)
    assert three.to_json() == one.to_json()


def test_a_seal_is_taken_off_and_the_record_is_as_it_was() -> None:
    author, seal = signer(1)
    record = Update(make_change(b"k", DELETED), 7, author.source).record
    assert unsealed(seal("m", author.source, record)) == record
    assert unsealed(record) == record


def test_other_types_are_signed_too() -> None:
    one, two = Set("s", signer(1)[0]), Set("s", signer(2)[0])
    one.add("a")
    one.add("a")
    one.add({"b": 1})
    two.receive([(u.source, [u.record]) for u in one.history(Clock())], LIMIT)
    assert two.to_json() == ["a", {"b": 1}]


def test_a_source_of_a_key_is_that_of_its_hash() -> None:
    author, seal = signer(4)
    assert author.source == make_source(id_of_key(seal.key), 1)
    assert id_of_key(seal.key) != id_of_key(make_seal(b"5" * 32).key)
    assert Source(author.source) == author.source
