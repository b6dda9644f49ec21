"""A TTL is a length of time, also when the wall clock is set meanwhile."""

import pytest

from scuttled.models.map import Map
from scuttled.node.leases import renew_leases
from scuttled.replica.change import TEXT
from scuttled.replica.hlc import Author
from scuttled.replica.update import NodeId

WALL = 1_700_000_000_000
YEAR = 365 * 86_400_000
ME, OTHER = NodeId(b"a" * 8), NodeId(b"b" * 8)


def a_map(node_id: NodeId = ME) -> Map:
    return Map("default", Author(node_id))


def end_of(model: Map, key: str) -> int:
    found = model.lookup(key.encode())
    assert found is not None
    return found.expires_ms


@pytest.mark.parametrize("before_ms", [0, WALL - YEAR, WALL - 60_000, WALL + YEAR])
def test_a_lease_ends_when_what_was_left_of_it_is_over(before_ms: int) -> None:
    """Set in 1970, say, and then NTP came; or the clock was ahead, and is set back."""
    model = a_map()
    model.put("k", TEXT, b"x", before_ms, ttl_ms=60_000)
    assert renew_leases(model, 0, WALL - before_ms - 10_000, WALL) == 1
    assert end_of(model, "k") == WALL + 50_000
    assert model.find("k", WALL) is not None


def test_one_that_was_over_stays_over() -> None:
    model = a_map()
    model.put("k", TEXT, b"x", WALL, ttl_ms=1000)
    assert renew_leases(model, 0, YEAR, WALL + YEAR + 1000) == 0


def test_leases_of_others_are_theirs_to_issue_anew() -> None:
    model, theirs = a_map(), a_map(OTHER)
    theirs.put("k", TEXT, b"x", WALL, ttl_ms=60_000)
    model.receive(
        [(u.source, [u.record]) for u in theirs.history(model.clock)],
        (1 << 62).to_bytes(8, "big"),  # type: ignore[arg-type]
    )
    assert renew_leases(model, 0, YEAR, WALL + YEAR) == 0


def test_one_that_was_set_before_this_start_went_by_another_clock() -> None:
    """The machine came up in 1970, after it had been right: NTP brings back what was."""
    model = a_map()
    model.put("k", TEXT, b"x", WALL, ttl_ms=60_000)
    assert renew_leases(model, model.log.end, WALL, WALL + 1000) == 0
    assert end_of(model, "k") == WALL + 60_000


def test_but_in_the_years_before_there_was_a_time_it_was_the_same() -> None:
    """The daemon was started anew before NTP came."""
    model = a_map()
    model.put("k", TEXT, b"x", 5000, ttl_ms=60_000)
    assert renew_leases(model, model.log.end, WALL - 10_000, WALL) == 1
    assert end_of(model, "k") == WALL + 55_000


def test_a_key_without_a_ttl_is_left_alone() -> None:
    model = a_map()
    model.put("k", TEXT, b"x", WALL)
    assert renew_leases(model, 0, YEAR, WALL + YEAR) == 0
