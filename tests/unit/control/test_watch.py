from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    NOW,
    WALL,
    Line,
    a_node,
    default,
    examples,
    node_id,
    put,
    values,
    write,
)

from scuttled.client.rows import ChangeRow, KeyRow
from scuttled.control import scan as listing_room
from scuttled.control import watch as watching
from scuttled.control.scan import Scan
from scuttled.control.watch import Watch, any_matcher, matcher
from scuttled.errors import UsageError
from scuttled.models.map import Map
from scuttled.node.node import Node
from scuttled.replica.change import TEXT
from scuttled.replica.update import Instant, stamp


def later(ms: int) -> Instant:
    return Instant(ms / 1000, WALL + ms)


def a_watch(
    node: Node, *patterns: str, model: str = "", snapshot: bool = False, after: str = ""
) -> Watch:
    return Watch(node, model, list(patterns), snapshot=snapshot, after=after)


def seen(watch: Watch, now: Instant = NOW) -> list[ChangeRow]:
    """All rows there are by now."""
    rows: list[ChangeRow] = []
    while watch.has_something():
        rows += watch.rows(now)
    return rows


def told(watch: Watch, now: Instant = NOW) -> list[tuple[Any, ...]]:
    """The same in short: `("set", key, value)`, `("del", key)`, `("live",)`."""
    return [
        tuple(
            part.decode() if isinstance(part, bytes) else part
            for part in (row.op, row.key, row.value)
            if part
        )
        for row in seen(watch, now)
    ]


def listed(
    node: Node, pattern: str = "", *, values: bool = False, deleted: bool = False
) -> list[KeyRow]:
    listing = Scan(node, default(node), pattern, values=values, deleted=deleted)
    rows: list[KeyRow] = []
    while not listing.done:
        rows += listing.rows(NOW)
    assert listing.count == len(rows)
    return rows


# --- patterns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("", ["svc", "svc/a", "svc/b/c", "ü"]),
        ("svc", ["svc"]),
        ("svc/", ["svc/a", "svc/b/c"]),
        ("svc/*", ["svc/a", "svc/b/c"]),
        ("svc/?", ["svc/a"]),
        ("*c", ["svc", "svc/b/c"]),
        ("[s]vc", []),
        ("s.c", []),
        ("ü", ["ü"]),
    ],
)
def test_a_pattern_is_a_key_a_prefix_or_a_glob(pattern: str, keys: list[str]) -> None:
    match = matcher(pattern)
    assert [key for key in ("svc", "svc/a", "svc/b/c", "ü") if match(key.encode())] == keys


def test_any_of_several_patterns_matches_and_none_means_all() -> None:
    assert any_matcher([])(b"x")
    both = any_matcher(["a", "b/"])
    assert [key for key in (b"a", b"b/x", b"c") if both(key)] == [b"a", b"b/x"]
    with pytest.raises(UsageError, match="101 patterns, at most 100"):
        any_matcher(["x"] * 101)


# --- listing -------------------------------------------------------------------------------------


def test_a_listing_tells_what_is_there_in_order_of_arrival() -> None:
    node = a_node(1)
    write(node, "b")
    update = write(node, "a", "text")
    default(node).put("ttl", TEXT, b"", WALL, ttl_ms=50)
    write(node, "gone")
    default(node).discard("gone", WALL)
    rows = listed(node, values=True)
    assert [row[0] for row in rows] == ["b", "a", "ttl"]
    rev = f"{update.timestamp}.{'01' * 8}.1"
    assert rows[1] == KeyRow("a", "text", b"text", rev, name="n1", expires_ms=0)
    assert rows[2][5] == WALL + 50
    assert listed(node, "a")[0][2] is None


def test_a_listing_tells_of_what_was_deleted_if_asked_to() -> None:
    node = a_node(1)
    write(node, "gone")
    default(node).discard("gone", WALL)
    assert listed(node) == []
    assert [row[:3] for row in listed(node, deleted=True)] == [("gone", "deleted", None)]


def test_a_long_listing_comes_in_parts() -> None:
    node = a_node(1)
    for n in range(2500):
        put(default(node), f"k{n}")
    listing = Scan(node, default(node), "", values=False, deleted=False)
    parts = []
    while not listing.done:
        parts.append(len(listing.rows(NOW)))
    assert sum(parts) == 2500
    assert max(parts) <= watching.ROWS_MAX


def test_a_part_of_a_listing_is_bounded_in_bytes() -> None:
    node = a_node(1)
    for n in range(100):
        put(default(node), f"k{n}", "x" * 20_000)
    listing = Scan(node, default(node), "", values=True, deleted=False)
    assert sum(len(row[2]) for row in listing.rows(NOW)) <= watching.ROWS_BYTES + 20_000
    assert len(listed(node)) == 100


def test_who_lists_and_then_watches_from_there_misses_nothing() -> None:
    node = a_node(1)
    for n in range(1500):
        put(default(node), f"k{n}")
    listing = Scan(node, default(node), "", values=True, deleted=False)
    found = {row[0]: row[2] for row in listing.rows(NOW)}
    write(node, "k0", "new")
    default(node).discard("k1", WALL)
    write(node, "k1499", "new")
    while not listing.done:
        for key, kind, value, *_ in listing.rows(NOW):
            found[key] = value
            if kind == "deleted":
                del found[key]
    write(node, "later")
    for row in seen(a_watch(node, model="default", after=listing.cursor())):
        found[row.key] = row.value
    assert {key: value.decode() for key, value in found.items()} == values(default(node))


def test_who_lists_while_the_model_is_dropped_is_told_when_it_watches_from_there() -> None:
    node = a_node(1)
    for n in range(1500):
        put(default(node), f"k{n}")
    listing = Scan(node, default(node), "", values=True, deleted=False)
    assert listing.rows(NOW)
    default(node).drop(WALL)
    write(node, "after")
    while not listing.done:
        listing.rows(NOW)
    assert told(a_watch(node, model="default", after=listing.cursor())) == [
        ("reset", "model default was dropped"),
        ("set", "after", "v"),
        ("live",),
    ]


# --- watching ------------------------------------------------------------------------------------


def test_a_watch_tells_what_is_written_from_now_on() -> None:
    node = a_node(1)
    write(node, "before")
    watch = a_watch(node)
    assert told(watch) == [("live",)]
    assert not watch.has_something()
    write(node, "k", "1")
    write(node, "k", "2")
    default(node).discard("before", WALL)
    assert told(watch) == [("set", "k", "2"), ("del", "before")]
    assert not watch.has_something()


def test_a_snapshot_is_what_there_is_and_then_live() -> None:
    node = a_node(1)
    write(node, "a")
    write(node, "gone")
    default(node).discard("gone", WALL)
    watch = a_watch(node, snapshot=True)
    assert told(watch) == [("set", "a", "v"), ("live",)]
    write(node, "b")
    assert told(watch) == [("set", "b", "v")]


def test_what_is_written_during_a_snapshot_is_told_before_live_and_once() -> None:
    node = a_node(1)
    for n in range(2500):
        put(default(node), f"k{n}")
    watch = a_watch(node, snapshot=True)
    first = watch.rows(NOW)
    write(node, "new")
    default(node).discard("k2400", WALL)
    rest = told(watch)
    assert len(first) <= watching.ROWS_MAX
    assert len(first) + len(rest) == 2499 + 1 + 1 + 1
    assert rest[-3:] == [("set", "new", "v"), ("del", "k2400"), ("live",)]


def test_a_row_says_who_wrote_what_where_and_when() -> None:
    one, two = a_node(1), a_node(2)
    Line(one, two).settle()
    watch = a_watch(two)
    seen(watch)
    update = write(one, "k", "text")
    two.models["default"].receive([(update.source, [update.record])], stamp(2**62))
    (row,) = seen(watch)
    assert row == ChangeRow(
        op="set",
        model="default",
        key="k",
        kind="text",
        value=b"text",
        rev=f"{update.timestamp}.{'01' * 8}.1",
        name="n1",
        cursor=row.cursor,
        time_ms=WALL,
    )


def test_a_watch_of_all_models_tells_users_models_and_not_the_systems() -> None:
    node = a_node(1)
    watch = a_watch(node)
    seen(watch)
    write(node, "k")
    other = node.model_to_write("other", "map")
    put(other, "j")  # type: ignore[arg-type]
    node.accepted(other)
    assert [(row.model, row.key) for row in seen(watch)] == [("default", "k"), ("other", "j")]


def test_a_watch_of_one_model_tells_that_one_even_if_it_comes_later() -> None:
    node = a_node(1)
    watch = a_watch(node, model="other")
    assert told(watch) == [("live",)]
    write(node, "k")
    assert told(watch) == []
    other = node.model_to_write("other", "map")
    put(other, "j")  # type: ignore[arg-type]
    assert told(watch) == [("set", "j", "v")]


def test_the_members_can_be_watched_by_name() -> None:
    node = a_node(1)
    watch = a_watch(node, model="_members", snapshot=True)
    assert [row.key for row in seen(watch)] == [node_id(1).hex(), ""]


def test_a_watch_tells_only_what_matches() -> None:
    node = a_node(1)
    watch = a_watch(node, "svc/", "x")
    seen(watch)
    for key in ("svc/a", "other", "x", "xx"):
        write(node, key)
    assert told(watch) == [("set", "svc/a", "v"), ("set", "x", "v")]


def test_a_settings_of_a_model_are_not_news() -> None:
    node = a_node(1)
    watch = a_watch(node)
    seen(watch)
    default(node).set_options(WALL, ttl_ms=50)
    assert told(watch) == []


# --- a watcher that lags -------------------------------------------------------------------------


def test_a_watcher_that_lags_skips_what_was_overwritten_and_costs_nothing() -> None:
    node = a_node(1)
    watch = a_watch(node)
    seen(watch)
    for n in range(100_000):
        put(default(node), f"k{n % 3}", str(n))
    assert told(watch) == [
        ("set", "k1", "99997"),
        ("set", "k2", "99998"),
        ("set", "k0", "99999"),
    ]
    assert len(default(node).log.segments) <= 3


def test_a_key_written_and_deleted_meanwhile_is_told_as_deleted() -> None:
    node = a_node(1)
    watch = a_watch(node)
    seen(watch)
    write(node, "k")
    default(node).discard("k", WALL)
    assert told(watch) == [("del", "k")]


def test_one_call_does_a_bounded_part_of_the_work() -> None:
    node = a_node(1)
    for n in range(5 * watching.SCAN_ENTRIES_MAX):
        put(default(node), f"k{n}")
    watch = a_watch(node, "no such key", snapshot=True)
    calls = 0
    while watch.has_something():
        watch.rows(NOW)
        calls += 1
    assert calls >= 5


@examples(60)
@given(st.data())
def test_a_watch_and_a_dict_say_the_same_whatever_is_written(data: st.DataObject) -> None:
    """However much of it is read at a time, and if it is resumed in between."""
    node, wall_ms = a_node(1), WALL
    watch, found = a_watch(node, snapshot=True), dict[str, str]()
    for _ in range(data.draw(st.integers(1, 25))):
        wall_ms += data.draw(st.integers(0, 30))
        key, what = f"k{data.draw(st.integers(0, 4))}", data.draw(st.integers(0, 9))
        if what < 4:
            put(default(node), key, str(what), wall_ms)
        elif what < 6:
            default(node).discard(key, wall_ms)
        elif what < 8:
            default(node).put(key, TEXT, b"ttl", wall_ms, ttl_ms=40)
        elif what < 9:
            default(node).drop(wall_ms)
        if data.draw(st.booleans()):
            default(node).expire(wall_ms)
            cursor = ""
            for row in seen(watch, Instant(0.0, wall_ms)):
                cursor = row.cursor
                if row.op == "reset":
                    found.clear()
                elif row.op == "set":
                    found[row.key] = row.value.decode()
                elif row.op != "live":
                    found.pop(row.key, None)
            assert found == values(default(node), wall_ms)
            if cursor and data.draw(st.booleans()):
                watch = a_watch(node, after=cursor)


# --- expiry --------------------------------------------------------------------------------------


def test_an_expiry_is_told_exactly_once() -> None:
    node = a_node(1)
    watch, fresh = a_watch(node), a_watch(node, snapshot=True)
    default(node).put("k", TEXT, b"v", WALL, ttl_ms=100)
    assert told(watch) == [("live",), ("set", "k", "v")]
    write(node, "other")
    assert told(watch, later(150)) == [("set", "other", "v")]
    node.expire(WALL + 150)
    node.expire(WALL + 160)
    (row,) = seen(watch, later(160))
    assert (row.op, row.key, row.kind, row.value) == ("expire", "k", "deleted", b"")
    assert row.time_ms == WALL + 100
    assert seen(watch, later(170)) == []
    assert [row.op for row in seen(fresh, later(170))].count("expire") <= 1
    assert told(a_watch(node, snapshot=True), later(170)) == [("set", "other", "v"), ("live",)]


def test_a_key_that_has_expired_does_not_come_back_when_the_clock_is_set_back() -> None:
    node = a_node(1)
    watch = a_watch(node)
    default(node).put("k", TEXT, b"v", WALL, ttl_ms=100)
    assert told(watch) == [("live",), ("set", "k", "v")]
    node.expire(WALL + 100)
    assert told(watch, later(90)) == [("expire", "k")]


def test_a_watcher_that_did_not_see_a_key_in_time_is_told_that_it_expired() -> None:
    node = a_node(1)
    watch = a_watch(node)
    seen(watch)
    default(node).put("k", TEXT, b"v", WALL, ttl_ms=100)
    node.expire(WALL + 100)
    assert told(watch, later(100)) == [("expire", "k")]


# --- cursors -------------------------------------------------------------------------------------


def test_a_watch_goes_on_behind_the_row_whose_cursor_it_is_given() -> None:
    node = a_node(1)
    watch = a_watch(node)
    seen(watch)
    for n in range(5):
        write(node, f"k{n}")
    rows = seen(watch)
    for at, row in enumerate(rows):
        assert seen(a_watch(node, after=row.cursor)) == rows[at + 1 :]
    default(node).discard("k3", WALL)
    assert told(a_watch(node, after=rows[2].cursor)) == [("set", "k4", "v"), ("del", "k3")]


def test_a_cursor_of_live_is_that_of_now() -> None:
    node = a_node(1)
    write(node, "before")
    (live,) = seen(a_watch(node))
    assert live.op == "live"
    write(node, "after")
    assert told(a_watch(node, after=live.cursor)) == [("set", "after", "v")]


def test_a_model_that_came_since_the_cursor_is_told_from_its_beginning() -> None:
    node = a_node(1)
    (live,) = seen(a_watch(node))
    other = node.model_to_write("other", "map")
    put(other, "j")  # type: ignore[arg-type]
    assert told(a_watch(node, after=live.cursor)) == [("set", "j", "v")]


def test_a_cursor_from_ahead_of_the_log_gives_a_reset() -> None:
    node = a_node(1)
    write(node, "k")
    cursor = f"{watching.log_of(node)}:default=99"
    assert told(a_watch(node, after=cursor))[0] == ("reset", "the cursor lies ahead of the log")


@pytest.mark.parametrize("cursor", ["x:default", "x:default=", "x:default=y", ":=1,=z"])
def test_what_is_no_cursor_is_refused_and_shown(cursor: str) -> None:
    with pytest.raises(UsageError, match="is not one that a watch gave"):
        a_watch(a_node(1), after=cursor)


@given(st.text(max_size=30))
def test_no_cursor_raises_anything_else(cursor: str) -> None:
    node = a_node(1)
    try:
        seen(a_watch(node, after=cursor))
        seen(a_watch(node, after=f"{node.settings.incarnation.hex()}:{cursor}"))
    except UsageError:
        pass


# --- dropping ------------------------------------------------------------------------------------


def test_when_a_model_is_dropped_a_watch_starts_over() -> None:
    node = a_node(1)
    write(node, "gone")
    watch = a_watch(node)
    seen(watch)
    default(node).drop(WALL)
    write(node, "after")
    assert told(watch) == [
        ("reset", "model default was dropped"),
        ("set", "after", "v"),
        ("live",),
    ]
    write(node, "news")
    assert told(watch) == [("set", "news", "v")]


def test_a_model_that_was_dropped_before_is_no_news() -> None:
    node = a_node(1)
    default(node).drop(WALL)
    assert told(a_watch(node, snapshot=True)) == [("live",)]


# --- forgotten deletions, and a RESET ------------------------------------------------------------


def collect(node: Node) -> int:
    return default(node).collect(lambda source, time: True, WALL + 1)


FORGOTTEN = ("reset", "model default was reset, or has forgotten deletions")


def test_a_watch_that_did_not_see_a_deletion_in_time_starts_over() -> None:
    node = a_node(1)
    write(node, "kept")
    write(node, "gone")
    watch = a_watch(node)
    seen(watch)
    default(node).discard("gone", WALL)
    assert collect(node) == 1
    write(node, "after")
    assert watch.has_something()
    assert told(watch) == [FORGOTTEN, ("set", "kept", "v"), ("set", "after", "v"), ("live",)]
    write(node, "news")
    assert told(watch) == [("set", "news", "v")]


def test_a_watch_that_saw_the_deletion_goes_on_when_it_is_forgotten() -> None:
    node = a_node(1)
    write(node, "gone")
    watch = a_watch(node)
    seen(watch)
    default(node).discard("gone", WALL)
    assert told(watch) == [("del", "gone")]
    assert collect(node) == 1
    write(node, "news")
    assert told(watch) == [("set", "news", "v")]


def test_a_cursor_that_comes_back_after_a_deletion_was_forgotten_gives_a_reset() -> None:
    node = a_node(1)
    write(node, "gone")
    write(node, "kept")
    watch = a_watch(node, snapshot=True)
    before = seen(watch)[-1].cursor
    default(node).discard("gone", WALL)
    (deleted,) = seen(watch)
    collect(node)
    assert told(a_watch(node, after=before)) == [FORGOTTEN, ("set", "kept", "v"), ("live",)]
    assert told(a_watch(node, after=deleted.cursor)) == []


def test_what_was_forgotten_before_a_watch_began_does_not_concern_it() -> None:
    node = a_node(1)
    write(node, "gone")
    write(node, "kept")
    default(node).discard("gone", WALL)
    snapshot = a_watch(node, snapshot=True)
    collect(node)
    assert told(snapshot) == [("set", "kept", "v"), ("live",)]
    assert told(a_watch(node, snapshot=True)) == [("set", "kept", "v"), ("live",)]
    assert told(a_watch(node)) == [("live",)]


def test_a_snapshot_starts_over_if_what_it_told_was_deleted_and_forgotten_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "ROWS_MAX", 1)
    node = a_node(1)
    write(node, "gone")
    write(node, "kept")
    watch = a_watch(node, snapshot=True)
    assert [row.key for row in watch.rows(NOW)] == ["gone"]
    default(node).discard("gone", WALL)
    collect(node)
    assert told(watch) == [FORGOTTEN, ("set", "kept", "v"), ("live",)]


def reset(node: Node, *keys: str) -> None:
    """Take over a state that holds these."""
    whole = default(node).blank()
    assert isinstance(whole, Map)
    for key in keys:
        put(whole, key, "peer's")
    default(node).become(whole)


def test_a_watch_that_stands_before_a_reset_starts_over() -> None:
    node = a_node(1)
    write(node, "gone")
    watch = a_watch(node)
    cursor = seen(watch)[-1].cursor
    reset(node, "k")
    after = [FORGOTTEN, ("set", "k", "peer's"), ("live",)]
    assert told(watch) == after
    assert told(a_watch(node, after=cursor)) == after
    write(node, "news")
    assert told(watch) == [("set", "news", "v")]


def test_a_reset_to_nothing_is_told_too() -> None:
    node = a_node(1)
    write(node, "gone")
    watch = a_watch(node)
    seen(watch)
    reset(node)
    assert watch.has_something()
    assert told(watch) == [FORGOTTEN, ("live",)]


@pytest.mark.parametrize("how", ["reset", "forgotten"])
def test_who_lists_while_that_happens_is_told_when_it_watches_from_there(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_room, "ROWS_MAX", 1)
    node = a_node(1)
    write(node, "gone")
    write(node, "kept")
    listing = Scan(node, default(node), "", values=False, deleted=False)
    assert [row[0] for row in listing.rows(NOW)] == ["gone"]
    if how == "reset":
        reset(node, "kept")
    else:
        default(node).discard("gone", WALL)
        collect(node)
    rows: list[KeyRow] = []
    while not listing.done:
        rows += listing.rows(NOW)
    assert [row[0] for row in rows] == ["kept"]
    followed = told(a_watch(node, after=listing.cursor()))
    assert [row[0] for row in followed] == ["reset", "set", "live"]
    assert followed[0] == FORGOTTEN


def test_who_lists_what_was_forgotten_before_is_told_nothing_twice() -> None:
    node = a_node(1)
    write(node, "gone")
    write(node, "kept")
    default(node).discard("gone", WALL)
    collect(node)
    listing = Scan(node, default(node), "", values=False, deleted=False)
    while not listing.done:
        listing.rows(NOW)
    assert told(a_watch(node, after=listing.cursor())) == []


def test_many_stars_take_no_longer_than_a_few() -> None:
    """With a star that gives back what it took, this would not end in a lifetime."""
    assert not matcher("*a" * 50 + "*b")(b"a" * 4096)
    assert matcher("*a" * 50 + "*")(b"a" * 50)
    assert matcher("a**b*?*c")(b"a-b-?-c")


def test_a_pattern_is_no_longer_than_a_key() -> None:
    with pytest.raises(UsageError, match="a pattern of 4097 bytes, at most 4096"):
        matcher("?" * 4097)
