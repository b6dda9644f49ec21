from collections import Counter

from support.scenes import NOW, WALL, a_node, default, put, write

from scuttled.control.tally import SLICE, Tally
from scuttled.models.map import Map
from scuttled.node.node import Node
from scuttled.replica.change import TEXT
from scuttled.replica.update import Instant

LATER = Instant(10.0, WALL + 10_000)


def tally(node: Node, pattern: str = "", *, depth: int = 0, deleted: bool = False) -> Tally:
    return Tally(default(node), pattern, depth=depth, deleted=deleted)


def counted(counting: Tally, now: Instant = NOW) -> dict[str, int]:
    """The sums of all rows."""
    folds: Counter[str] = Counter()
    while not counting.done:
        for name, count in counting.rows(now):
            folds[name] += count
    return dict(folds)


def test_keys_are_counted_by_pattern_and_not_what_is_deleted_or_expired() -> None:
    node = a_node(1)
    model = default(node)
    for key in ("a", "a/b", "a/c", "b"):
        write(node, key)
    model.put("lease", TEXT, b"", WALL, ttl_ms=5000)
    model.discard("b", WALL)
    model.set_options(WALL, ttl_ms=0)
    for pattern, deleted, count in (("", False, 4), ("", True, 5), ("a/", False, 2), ("?", 1, 2)):
        counting = tally(node, pattern, deleted=bool(deleted))
        assert counted(counting) == {}
        assert counting.count == count, pattern
    counting = tally(node)
    counted(counting, LATER)
    assert counting.count == 3


def test_keys_are_folded_behind_the_prefix_that_is_asked_for() -> None:
    node = a_node(1)
    for key in ("a", "a/b", "a/c/1", "a/c/2", "b/x"):
        write(node, key)
    assert counted(tally(node, depth=1)) == {"a": 1, "a/": 3, "b/": 1}
    assert counted(tally(node, "a/", depth=1)) == {"a/b": 1, "a/c/": 2}
    assert counted(tally(node, depth=2)) == {"a": 1, "a/b": 1, "a/c/": 2, "b/x": 1}


def test_each_key_is_counted_once_though_it_is_written_again_meanwhile() -> None:
    node = a_node(1)
    model = default(node)
    assert isinstance(model, Map)
    for number in range(2 * SLICE + 1):
        put(model, f"k{number}")
    counting, goes = tally(node), 0
    while not counting.done:
        counting.rows(NOW)
        goes += 1
        for number in range(0, 2 * SLICE, 100):
            put(model, f"k{number}", "again")
    assert (counting.count, goes) == (2 * SLICE + 1, 3)


def test_a_count_of_many_keys_sends_none() -> None:
    node = a_node(1)
    for number in range(10):
        write(node, f"a/{number}")
    counting = tally(node)
    assert counting.rows(NOW) == []
    assert counting.done
