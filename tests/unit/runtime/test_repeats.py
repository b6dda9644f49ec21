"""Lines that come again and again: said a few times, counted, and told once a minute."""

import logging
import sys
from collections.abc import Callable, Iterator

import pytest

from scuttled.runtime import logs
from scuttled.runtime.repeats import (
    FROM_STRANGERS,
    KINDS_MAX,
    MINUTE_S,
    ORIGIN_MAX,
    SAME_MAX,
    STRANGERS_MAX,
    TROUBLE_MAX,
    Repeats,
)

STRANGER = "connection from %s closed"


def record(
    words: str, *args: object, level: int = logging.INFO, name: str = "n", **more: object
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, "", 0, words, args, None)
    vars(made).update(more)
    return made


def said(repeats: Repeats, records: Iterator[logging.LogRecord], at_s: float = 0.0) -> int:
    return sum(repeats.admit(each, at_s) for each in records)


@pytest.mark.parametrize(
    ("level", "most"),
    [
        (logging.INFO, SAME_MAX),
        (logging.WARNING, TROUBLE_MAX),
        (logging.ERROR, TROUBLE_MAX),
        (logging.DEBUG, 100),
    ],
)
def test_lines_that_differ_in_numbers_only_are_the_same(level: int, most: int) -> None:
    repeats = Repeats()
    lines = (
        record(
            "peer %s: %d tries in %.1f s (from [fe80::1]:%d)",
            f"10.0.0.7:{i}",
            i,
            i / 10,
            i,
            level=level,
        )
        for i in range(100)
    )
    assert said(repeats, lines) == most
    assert said(repeats, iter([record("something else", level=level)])) == 1


def test_each_peer_is_told_of_though_their_names_differ_in_digits_only() -> None:
    repeats = Repeats()
    names = [f"web{i}" for i in range(30)] + [f"db-{i}" for i in range(20)]
    assert said(repeats, (record("link to %s is up", name) for name in names)) == 50
    hosts = [f"10.0.0.{i}:7960" for i in range(20)] + [f"[fe80::{i}]:7960" for i in range(20)]
    refused = (record("peer %s: Connection refused", host) for host in hosts)
    assert said(repeats, refused) == 40


def test_of_strangers_one_a_minute_is_said_for_each_cause() -> None:
    repeats = Repeats()
    for cause in ("it speaks HTTP", "another cluster"):
        lines = (record(STRANGER, f"10.0.0.{i}:{i}, {cause}", **FROM_STRANGERS) for i in range(100))
        assert said(repeats, lines) == 1


def test_nor_can_strangers_fill_it_with_words_of_their_own() -> None:
    repeats = Repeats()
    lines = (record(STRANGER, "x" * i, **FROM_STRANGERS) for i in range(100))
    assert said(repeats, lines) == STRANGERS_MAX


def test_nobody_can_fill_the_log_with_words_of_his_own() -> None:
    repeats = Repeats()
    assert said(repeats, (record("link to %s is up", "x" * i) for i in range(5000))) == ORIGIN_MAX
    assert len(repeats._kinds) <= KINDS_MAX


def test_each_minute_it_is_told_how_many_there_were() -> None:
    repeats = Repeats()
    said(repeats, (record("full", level=logging.ERROR) for _ in range(95)))
    assert repeats.due(MINUTE_S - 1) == []
    ((last, count),) = repeats.due(MINUTE_S)
    assert (last.getMessage(), count) == ("full", 95 - TROUBLE_MAX)
    assert said(repeats, (record("full", level=logging.ERROR) for _ in range(7)), MINUTE_S + 1) == 0
    ((_, count),) = repeats.due(2 * MINUTE_S)
    assert count == 7
    assert repeats.due(3 * MINUTE_S) == []
    later = 3 * MINUTE_S + 1
    assert repeats.admit(record("full", level=logging.ERROR), later), "it was quiet for a minute"


def test_what_is_not_told_at_the_end_is_told_then() -> None:
    repeats = Repeats()
    said(repeats, (record("full") for _ in range(SAME_MAX + 3)))
    assert [count for _, count in repeats.rest()] == [3]
    assert repeats.rest() == []


# --- through the handler -------------------------------------------------------------------------


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was written to it by now; after the test messages go where they went before."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.unraisablehook
    yield lambda: capsys.readouterr().err
    sys.unraisablehook = hook
    logging.captureWarnings(False)
    logging.basicConfig(handlers=handlers, level=level, force=True)


def _fail(logger: logging.Logger) -> None:
    try:
        raise OSError(24, "Too many open files")
    except OSError:
        logger.exception("accept failed")


@pytest.mark.parametrize("name", ["trio.serve_listeners", "scuttled.gossip.gossip"])
def test_whoever_logs_there_is_no_traceback_and_no_flood(
    stderr: Callable[[], str], name: str
) -> None:
    logs.set_up_logging("info", "text", {})
    for _ in range(95):
        _fail(logging.getLogger(name))
    logs.tell_repeats(rest=True)
    lines = stderr().splitlines()
    assert len(lines) == TROUBLE_MAX + 1
    assert all("accept failed: OSError: [Errno 24] Too many open files" in line for line in lines)
    assert lines[-1].endswith(f"({95 - TROUBLE_MAX} more like it in the last minute)")


@pytest.mark.parametrize("form", ["text", "journal", "json"])
def test_who_asks_for_tracebacks_gets_them(stderr: Callable[[], str], form: str) -> None:
    logs.set_up_logging("info", form, {}, tracebacks=True)
    _fail(logging.getLogger("anybody"))
    assert "Traceback (most recent call last)" in stderr()


def test_what_nobody_can_raise_is_a_line(stderr: Callable[[], str]) -> None:
    class Odd:
        def __del__(self) -> None:
            raise ValueError("in a finalizer")

    logs.set_up_logging("info", "text", {})
    del (odd := [Odd()])[0]
    assert odd == []
    found = stderr()
    assert "ValueError: in a finalizer" in found
    assert "Traceback" not in found
