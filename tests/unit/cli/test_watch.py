"""watch, as a process: what it writes and when, what it remembers, how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.scripted_daemon import HANG_UP, MS, NODE, ScriptedDaemon, Scuttled, rev

Watch = Callable[..., "subprocess.Popen[str]"]


def row(number: int, key: str = "k", value: bytes | None = None, op: str = "set") -> list[Any]:
    """The `number`-th change, with a value and a cursor of that number."""
    kind, held = ("text", value or b"v%d" % number) if op == "set" else ("deleted", b"")
    when = MS + number + (1000 if op == "expire" else 0)  # after it was written
    return [op, "default", key, kind, held, rev(number), "web1", f"c{number}", when]


def line(number: int) -> str:
    return f"set\tk\tv{number}\t{rev(number)}\t{NODE}\t{MS + number}\n"


LIVE = ["live", None, None, None, None, None, None, "c5", None]
RESET = ["reset", "", "", "", "cursor of an earlier run", "", "", "c0", None]


@pytest.fixture
def watch(daemon: ScriptedDaemon) -> Iterator[Watch]:
    running: list[subprocess.Popen[str]] = []

    def start(*args: str, **attrs: Any) -> "subprocess.Popen[str]":
        program = [sys.executable, "-m", "scuttled", "watch", *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **attrs}
        running.append(subprocess.Popen(program, text=True, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def lines(process: "subprocess.Popen[str]", number: int) -> list[str]:
    assert process.stdout
    return [process.stdout.readline() for _ in range(number)]


def test_each_change_is_a_line_that_comes_at_once(daemon: ScriptedDaemon, watch: Watch) -> None:
    process = watch("svc/", "db/*")
    asked = daemon.await_request("watch")
    assert (asked["model"], asked["patterns"]) == ("default", ["svc/", "db/*"])
    assert (asked["snapshot"], asked["after"]) == (False, "")
    daemon.push("watch", rows=[row(1)])
    assert lines(process, 1) == [line(1)]
    daemon.push("watch", rows=[row(2, "a\tb", b"x\n"), row(3, op="del"), row(4, op="expire")])
    assert lines(process, 3) == [
        f"set\ta\\tb\tx\\n\t{rev(2)}\t{NODE}\t{MS + 2}\n",
        f"del\tk\t\t{rev(3)}\t{NODE}\t{MS + 3}\n",
        f"expire\tk\t\t{rev(4)}\t{NODE}\t{MS + 1004}\n",
    ]


def test_a_gap_and_the_end_of_a_snapshot_are_lines_too(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [RESET, row(1), LIVE]}, {"end": {}}]
    done = scuttled("watch", "--snapshot", "--after", "old")
    assert done.code == 69  # nobody but the client ends a watch
    assert done.out.decode() == (
        "reset\t\tcursor of an earlier run\t\t\t\n" + line(1) + "live\t\t\t\t\t\n"
    )
    assert (daemon.asked("watch")[0]["after"], daemon.asked("watch")[0]["snapshot"]) == (
        "old",
        False,
    )
    objects = scuttled("watch", "-j", "--after", "old").objects
    assert [found["op"] for found in objects] == ["reset", "set", "live"]


def test_json_lines_have_the_cursor(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [RESET, row(1), row(2, op="del"), LIVE]}]
    reset, changed, deleted = scuttled("watch", "-j", "-n", "2").objects
    assert reset == {"v": 1, "op": "reset", "reason": "cursor of an earlier run", "cursor": "c0"}
    about = {"model": "default", "key": "k", "node": NODE, "name": "web1"}
    times = {"time": "2026-11-23T02:21:01.124Z", "time_ms": MS + 1}
    assert changed == {
        **{"v": 1, "op": "set", **about, "value": "v1", "rev": rev(1)},
        **{**times, "cursor": "c1"},
    }
    assert "value" not in deleted


def test_all_models_add_a_column_at_the_end(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [row(1)]}]
    assert scuttled("watch", "--all-models", "--once").out.decode() == (
        line(1).rstrip("\n") + "\tdefault\n"
    )
    assert daemon.asked("watch")[0]["model"] == ""


def test_it_ends_after_so_many_changes(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [row(1), row(2), row(3)]}]
    assert scuttled("watch", "-n", "2").out.decode() == line(1) + line(2)
    assert scuttled("watch", "--once").out.decode() == line(1)


def test_time_without_a_change_is_75_and_with_one_it_is_not(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    assert scuttled("watch", "--for", "20ms") == (75, b"", "scuttled: no change in 20ms\n")
    daemon.answers["watch"] = lambda request: [{"rows": [row(1)]}]
    assert scuttled("watch", "--for", "20ms") == (0, line(1).encode(), "")


# -- cursors


def noted(file: Path) -> str:
    """The cursor in a file, without the check behind it."""
    cursor, check = file.read_text().splitlines()
    assert check.startswith("crc32=")
    return cursor


def test_a_cursor_file_with_any_bit_flipped_is_not_believed_and_left_as_it_is(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    """One number that is another one would skip changes without a word."""
    file = tmp_path / "cursor"
    scuttled("watch", "--for", "20ms", "--cursor-file", str(file))
    whole = file.read_bytes()
    asked = len(daemon.asked("watch"))
    for at in range(8 * (len(whole) - 1)):  # but for the newline at the end
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        file.write_bytes(flipped)
        done = scuttled("watch", "--for", "20ms", "--cursor-file", str(file))
        assert done.code == 65, bytes(flipped)
        assert f"going on from {file}: it is damaged" in done.err
        assert file.read_bytes() == flipped
    assert len(daemon.asked("watch")) == asked


def test_a_cursor_file_of_before_there_was_a_check_is_read(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    file = tmp_path / "cursor"
    file.write_text("c7\n")
    scuttled("watch", "--for", "20ms", "--cursor-file", str(file))
    assert daemon.asked("watch")[-1]["after"] == "c7"


def test_a_cursor_file_lets_the_next_run_go_on_where_this_one_ended(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    file = tmp_path / "cursor"
    daemon.answers["watch"] = lambda request: [{"rows": [row(1), row(2), row(3)]}]
    scuttled("watch", "-n", "2", "--cursor-file", str(file))
    assert noted(file) == "c2"
    scuttled("watch", "-n", "1", "--cursor-file", str(file))
    assert daemon.asked("watch")[1]["after"] == "c2"
    assert sorted(os.listdir(tmp_path)) == ["control.sock", "cursor"]


@pytest.mark.parametrize("options", [[], ["--all-models"], ["-m", "later"]])
def test_a_first_run_without_a_change_remembers_where_it_began(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path, options: list[str]
) -> None:
    file = tmp_path / "cursor"
    file.touch()  # as mktemp does
    done = scuttled("watch", "--for", "50ms", "--cursor-file", str(file), *options)
    assert (done.code, done.out) == (75, b"")
    assert noted(file) == "c0"
    assert daemon.asked("watch")[0]["after"] == ""


def test_only_a_watch_that_began_with_what_was_there_says_that_it_is_live(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [LIVE, row(1)]}]
    assert scuttled("watch", "--once").out.decode() == line(1)
    assert len(scuttled("watch", "--once", "-j").objects) == 1
    assert scuttled("watch", "--once", "--snapshot").out.decode() == "live\t\t\t\t\t\n" + line(1)


def test_a_cursor_file_that_can_not_be_written_is_told_before_any_change(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    done = scuttled("watch", "--once", "--cursor-file", "/nowhere/cursor")
    assert (done.code, done.out) == (73, b"")
    assert scuttled("watch", "--once", "--cursor-file", "/").code == 66


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_quietly_with_its_cursor_noted(
    daemon: ScriptedDaemon, watch: Watch, tmp_path: Path, number: int, code: int
) -> None:
    file = tmp_path / "cursor"
    process = watch("--cursor-file", str(file))
    daemon.push("watch", rows=[row(1), row(2)])
    assert lines(process, 2) == [line(1), line(2)]
    process.send_signal(number)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == code
    assert noted(file) == "c2"


def test_a_signal_while_nobody_reads_notes_exactly_what_was_written(
    daemon: ScriptedDaemon, watch: Watch, tmp_path: Path
) -> None:
    file = tmp_path / "cursor"
    process = watch("--cursor-file", str(file))
    rows = [row(number, value=b"%060d" % number) for number in range(1, 5001)]
    daemon.push("watch", rows=rows)
    first = lines(process, 1)  # so it is writing, and the pipe is too small for all
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert process.stdout
    written = first + process.stdout.readlines()
    assert 0 < len(written) < len(rows)
    assert noted(file) == f"c{len(written)}"
    assert all(found.endswith("\n") for found in written)


def test_without_reconnecting_to_lose_the_daemon_is_69_with_the_cursor_noted(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    file = tmp_path / "cursor"
    daemon.answers["watch"] = lambda request: [{"rows": [row(1)]}, HANG_UP]
    done = scuttled("watch", "--no-reconnect", "--cursor-file", str(file))
    assert (done.code, done.out) == (69, line(1).encode())
    assert done.err.startswith("scuttled: daemon hung up")
    assert noted(file) == "c1"


def test_a_daemon_that_goes_away_is_waited_for_and_asked_to_go_on(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    """Counts go on; what it said of its clock is given back, and belongs to the cursor."""
    file = tmp_path / "cursor"
    clocks = {"default": {"9f3ac21b44d0e713.1": 5}}
    parts = iter(
        [
            [{"rows": [LIVE, row(1)], "clock": clocks}, HANG_UP],
            [HANG_UP],
            [{"rows": [row(2), row(3)]}],
        ]
    )
    daemon.answers["watch"] = lambda request: next(parts)
    done = scuttled("watch", "-n", "3", "--cursor-file", str(file))
    assert (done.code, done.out.decode()) == (0, line(1) + line(2) + line(3))
    first, second, third = daemon.asked("watch")
    assert (first["after"], first["clock"], first["durable"]) == ("", {}, True)
    assert (second["after"], second["clock"]) == (third["after"], third["clock"]) == ("c1", clocks)
    assert noted(file) == "c3@default:9f3ac21b44d0e713.1=5"
    away, back = done.err.splitlines()[:2]
    assert "hung up" in away
    assert away.endswith(": waiting for it to come back")
    assert back == "scuttled: the daemon is back"


def test_time_counts_on_while_the_daemon_is_away(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["watch"] = lambda request: [HANG_UP]
    done = scuttled("watch", "--for", "300ms")
    assert done.code == 75
    assert done.err.endswith("scuttled: no change in 300ms\n")


def test_a_snapshot_that_was_interrupted_still_ends_with_live(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    parts = iter([[{"rows": [row(1)]}, HANG_UP], [{"rows": [row(2), LIVE, row(3)]}]])
    daemon.answers["watch"] = lambda request: next(parts)
    done = scuttled("watch", "--snapshot", "-n", "3")
    assert done.out.decode() == line(1) + line(2) + "live\t\t\t\t\t\n" + line(3)
    assert [asked["snapshot"] for asked in daemon.asked("watch")] == [True, True]
    assert daemon.asked("watch")[1]["after"] == "c1"


def test_after_a_reset_the_clock_begins_anew(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    file = tmp_path / "cursor"
    file.write_text("c9@default:9f3ac21b44d0e713.1=5\n")
    daemon.answers["watch"] = lambda request: [{"rows": [RESET, row(1)]}]
    scuttled("watch", "-n", "1", "--cursor-file", str(file))
    assert daemon.asked("watch")[0]["clock"] == {"default": {"9f3ac21b44d0e713.1": 5}}
    assert noted(file) == "c1"


def test_json_cursors_have_the_clock_that_is_true_behind_their_line(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    news = {"default": {"9f3ac21b44d0e713.1": 5}}
    daemon.answers["watch"] = lambda request: [{"rows": [row(1), row(2)], "clock": news}]
    one, two = scuttled("watch", "-j", "-n", "2").objects
    assert (one["cursor"], two["cursor"]) == ("c1", "c2@default:9f3ac21b44d0e713.1=5")


def test_a_command_that_a_signal_cut_short_is_not_in_the_clock_either(
    daemon: ScriptedDaemon, watch: Watch, tmp_path: Path
) -> None:
    file = tmp_path / "cursor"
    news = {"default": {"9f3ac21b44d0e713.1": 5}}
    daemon.answers["watch"] = lambda request: [{"rows": [row(1), row(2)], "clock": news}]
    script = '[ "$(cat)" = v1 ] || { echo running; exec sleep 60; }'
    process = watch("--cursor-file", str(file), "--", "sh", "-c", script)
    assert lines(process, 1) == ["running\n"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert noted(file) == "c1"


def test_a_signal_ends_it_while_the_daemon_is_away(daemon: ScriptedDaemon, watch: Watch) -> None:
    daemon.answers["watch"] = lambda request: [HANG_UP]
    process = watch()
    assert process.stderr
    assert "waiting for it to come back" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143


def test_a_reader_that_goes_away_ends_it_at_once(
    daemon: ScriptedDaemon, watch: Watch, tmp_path: Path
) -> None:
    file = tmp_path / "cursor"
    process = watch("--cursor-file", str(file))
    daemon.push("watch", rows=[row(1)])
    assert lines(process, 1) == [line(1)]
    assert process.stdout
    process.stdout.close()  # and no change comes any more
    assert process.wait(10) == 141
    assert process.stderr
    assert process.stderr.read() == ""
    assert noted(file) == "c1"


# -- commands


def test_a_command_runs_once_for_each_change_in_order(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["watch"] = lambda request: [
        {"rows": [RESET, row(1, "a b", b"'quoted'\n"), row(2, op="del")]}
    ]
    script = 'echo "$SCUTTLED_OP|$SCUTTLED_MODEL|$SCUTTLED_KEY|$SCUTTLED_NODE|$SCUTTLED_REV|$(cat)"'
    done = scuttled("watch", "-n", "2", "--", "sh", "-c", script)
    assert done.out.decode() == (
        f"set|default|a b|{NODE}|{rev(1)}|'quoted'\ndel|default|k|{NODE}|{rev(2)}|\n"
    )
    assert "starting afresh" in done.err


def test_once_ends_with_the_code_of_its_command(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [row(1), row(2)]}]
    assert scuttled("watch", "--once", "--", "sh", "-c", "exit 7").code == 7
    assert scuttled("watch", "-n", "1", "--", "sh", "-c", "exit 7").code == 0
    assert scuttled("watch", "--once", "--", "sh", "-c", "kill -9 $$").code == 137
    assert scuttled("watch", "--once", "--", "true", "-j", "--help").code == 0
    assert scuttled("watch", "--once", "--", "/nowhere/command").code == 2
    assert scuttled("watch", "--").code == 2


def test_a_command_that_a_signal_cut_short_is_run_again_next_time(
    daemon: ScriptedDaemon, watch: Watch, tmp_path: Path
) -> None:
    file = tmp_path / "cursor"
    daemon.answers["watch"] = lambda request: [{"rows": [row(1), row(2)]}]
    script = '[ "$(cat)" = v1 ] || { echo running; exec sleep 60; }'
    process = watch("--cursor-file", str(file), "--", "sh", "-c", script)
    assert lines(process, 1) == ["running\n"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143
    assert noted(file) == "c1"


def test_the_lines_of_a_snapshot_are_json_of_their_own(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [row(1)]}, {"rows": [LIVE, row(6)]}]
    found = scuttled("watch", "--snapshot", "-j", "-n", "2").out.splitlines()
    assert [json.loads(text)["op"] for text in found] == ["set", "live", "set"]
    assert daemon.asked("watch")[0]["snapshot"] is True
