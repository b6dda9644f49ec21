"""A watch tells every change, in order and at once, and goes on where it was stopped."""

import json
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import Tail
from support.fleet import Daemon, Fleet
from support.waiting import until


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """a - b - c: what is written at a comes to c by way of b."""
    with Fleet(tmp_path_factory.mktemp("chain")) as fleet:
        yield fleet.linked({"a": ["b"], "b": [], "c": ["b"]})


def begun(daemon: Daemon, *args: str, file: Path) -> Tail:
    """A watch with a cursor file that has begun: what is written from now on, it tells."""
    known = file.exists()
    tail = daemon.tail("watch", "--cursor-file", str(file), *args)
    if not known:
        until(file.exists, "the first cursor")
    return tail


def columns(line: str) -> list[str]:
    return line.split("\t")


# -- what it tells


def test_sets_deletes_and_expiries_of_both_ends_come_in_order(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    """Each line is read before the next change is made: it is written at once."""
    a, _, c = chain
    node = {daemon.name: daemon.ask("hello", protocol=[1, 1])["node"] for daemon in (a, c)}
    with begun(c, "-m", model, file=tmp_path / "cursor") as tail:
        a.cli("-m", model, "set", "svc/web", "10.0.0.9:80")
        first = columns(tail.line())
        c.cli("-m", model, "set", "svc/db", "x\ty\n")
        second = columns(tail.line())
        a.cli("-m", model, "del", "svc/web")
        third = columns(tail.line())
        a.cli("-m", model, "set", "svc/tmp", "1", "--ttl", "200ms")
        fourth, fifth = map(columns, tail.lines(2))
        c.cli("-m", model, "set", "svc/tmp", "2", "--ttl", "100ms")
        sixth, seventh = map(columns, tail.lines(2))
        c.cli("-m", model, "del", "svc/db")
        eighth = columns(tail.line())
        assert tail.end(signal.SIGTERM) == []
    lines = [first, second, third, fourth, fifth, sixth, seventh, eighth]
    assert [line[:3] for line in lines] == [
        ["set", "svc/web", "10.0.0.9:80"],
        ["set", "svc/db", "x\\ty\\n"],
        ["del", "svc/web", ""],
        ["set", "svc/tmp", "1"],
        ["expire", "svc/tmp", ""],
        ["set", "svc/tmp", "2"],
        ["expire", "svc/tmp", ""],
        ["del", "svc/db", ""],
    ]
    assert [line[4] for line in lines] == [node[name] for name in "acaaaccc"]
    for line, ttl_ms in zip(lines, (0, 0, 0, 0, 200, 0, 100, 0), strict=True):
        ticks, source, _ = line[3].split(".")
        assert source == line[4]
        assert int(line[5]) - (int(ticks) >> 12) == pytest.approx(ttl_ms, abs=5)
    assert fifth[3] == fourth[3]  # an expiry is no update of its own


def test_a_burst_of_one_node_comes_in_the_order_it_was_written(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    a, _, c = chain
    keys = [f"{number:05}" for number in range(300)]
    with begun(c, "-m", model, file=tmp_path / "cursor") as tail:
        a.cli(
            "-m", model, "import", "--tsv", "-", stdin="".join(f"{k}\tv\n" for k in keys).encode()
        )
        assert [columns(tail.line())[:3] for _ in keys] == [["set", key, "v"] for key in keys]
        a.cli("-m", model, "del", *reversed(keys))
        assert [columns(tail.line())[:2] for _ in keys] == [["del", key] for key in reversed(keys)]


def test_a_burst_too_large_for_that_comes_whole_and_each_key_once(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    """Links send what is new before what is left of a long stretch: see protocol/session.py."""
    a, _, c = chain
    pairs = [f"{number:05}\tv{number}" for number in range(10_000)]
    with begun(c, "-m", model, file=tmp_path / "cursor") as tail:
        a.cli("-m", model, "import", "--tsv", "-", stdin="\n".join(pairs).encode())
        found = ["\t".join(columns(tail.line())[1:3]) for _ in pairs]
        assert tail.end(signal.SIGTERM) == []
    assert sorted(found) == pairs


def test_a_key_that_is_written_over_and_over_ends_with_its_last_value(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    """A watch may skip what was overwritten before it looked, and never goes back."""
    a, _, c = chain
    with begun(c, "-m", model, file=tmp_path / "cursor") as tail:
        with a.client() as client:
            fields = {"model": model, "key": "k", "kind": "text"}
            requests = (("set", {**fields, "value": b"%d" % n}) for n in range(1000))
            assert len(list(client.pipeline(requests))) == 1000
        seen = []
        while not seen or seen[-1] != 999:
            seen.append(int(columns(tail.line())[2]))
    assert seen == sorted(set(seen))


def test_json_lines_are_whole_objects(chain: list[Daemon], model: str, tmp_path: Path) -> None:
    a, _, c = chain
    with begun(c, "-j", "-m", model, file=tmp_path / "cursor") as tail:
        a.cli("-m", model, "set", "text", "grüße\n")
        a.cli("-m", model, "set", "bytes", "-", stdin=b"\0\xff")
        a.cli("-m", model, "set", "json", "--json-value", '{"a": [1, null]}')
        a.cli("-m", model, "del", "text")
        found = [json.loads(line) for line in tail.lines(4)]
    values = [row.get("value", row.get("value_b64")) for row in found]
    assert values == ["grüße\n", "AP8=", {"a": [1, None]}, None]
    assert [row["op"] for row in found] == ["set", "set", "set", "del"]
    assert {row["v"] for row in found} == {1}
    assert {row["model"] for row in found} == {model}
    assert {row["name"] for row in found} == {"a"}
    assert all(row["cursor"] for row in found)
    names = {"v", "op", "model", "key", "rev", "node", "name", "time", "time_ms", "cursor"}
    assert all(names <= set(row) for row in found)


def test_only_what_matches_a_pattern_is_told(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    a, _, c = chain
    with begun(c, "svc/", "db/*/port", "exact", "-m", model, file=tmp_path / "cursor") as tail:
        keys = ["svc/web", "svcs", "db/one/port", "db/one/host", "exact", "exactly", "svc/"]
        for key in keys:
            a.cli("-m", model, "set", key, "v")
        found = [columns(tail.line())[1] for _ in range(4)]
        assert tail.end(signal.SIGTERM) == []
    assert found == ["svc/web", "db/one/port", "exact", "svc/"]


def test_a_model_that_is_not_there_yet_is_waited_for(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    a, _, c = chain
    with begun(c, "-m", model, file=tmp_path / "cursor") as tail:
        a.cli("-m", model, "set", "first", "v")
        assert columns(tail.line())[:3] == ["set", "first", "v"]


def test_all_models_means_those_that_come_later_too(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    a, _, c = chain
    a.cli("-m", model, "set", "old", "v")
    c.wait("-m", model, "--key", "old")
    with begun(c, "--all-models", file=tmp_path / "cursor") as tail:
        a.cli("-m", model, "set", "k", "1")
        one = columns(tail.line())
        a.cli("-m", f"{model}.new", "set", "k", "2")
        two = columns(tail.line())
    assert [one[:3], one[6:]] == [["set", "k", "1"], [model]]
    assert [two[:3], two[6:]] == [["set", "k", "2"], [f"{model}.new"]]


def test_a_snapshot_is_what_is_there_then_live_then_news(chain: list[Daemon], model: str) -> None:
    a, _, c = chain
    a.cli("-m", model, "import", "--tsv", "-", stdin=b"one\t1\ntwo\t2\nthree\t3\n")
    a.cli("-m", model, "del", "two")
    a.cli("-m", model, "set", "end", "-")
    c.wait("-m", model, "--key", "end")
    with c.tail("watch", "--snapshot", "-m", model) as tail:
        rows = [columns(line) for line in tail.lines(4)]
        a.cli("-m", model, "set", "four", "4")
        assert columns(tail.line())[:2] == ["set", "four"]
    assert [row[:2] for row in rows] == [
        ["set", "one"],
        ["set", "three"],
        ["set", "end"],
        ["live", ""],
    ]


def test_it_ends_after_so_many_changes_or_so_much_time(chain: list[Daemon], model: str) -> None:
    a, _, c = chain
    a.cli("-m", model, "import", "--tsv", "-", stdin=b"one\t1\ntwo\t2\nthree\t3\n")
    c.wait("-m", model, "--key", "three")
    assert len(c.text("watch", "--snapshot", "-n", "2", "-m", model).splitlines()) == 2
    assert len(c.text("watch", "--snapshot", "--once", "-m", model).splitlines()) == 1
    done = c.cli("watch", "--for", "50ms", "-m", model, check=False)
    assert (done.returncode, done.stdout) == (75, b"")
    assert len(c.text("watch", "--snapshot", "--for", "50ms", "-m", model).splitlines()) == 4


def test_a_reader_that_has_enough_ends_it(chain: list[Daemon], model: str) -> None:
    """`watch | head -1`: quietly, and without another change."""
    a, _, c = chain
    a.cli("-m", model, "import", "--tsv", "-", stdin=b"one\t1\ntwo\t2\n")
    c.wait("-m", model, "--key", "two")
    script = 'scuttled watch --snapshot -m "$1" | head -1; echo "${PIPESTATUS[0]}" >&2'
    done = subprocess.run(
        ["bash", "-c", script, "bash", model],
        env=c.env,
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.decode().split("\t")[:2] == ["set", "one"]
    assert done.stderr == b"141\n"


def test_a_dropped_model_is_told_and_not_kept_silent(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    """Whoever mirrors a model by watching it must hear that all of it went."""
    a, _, c = chain
    a.cli("-m", model, "import", "--tsv", "-", stdin=b"one\t1\ntwo\t2\n")
    c.wait("-m", model, "--key", "two")
    with begun(c, "-m", model, file=tmp_path / "cursor") as tail:
        a.cli("model", "drop", model, "--yes")
        rows = [columns(line)[:3] for line in tail.lines(2)]
        a.cli("-m", model, "set", "three", "3")
        assert columns(tail.line())[:2] == ["set", "three"]
    assert rows == [["reset", "", f"model {model} was dropped"], ["live", "", ""]]


# -- a command for each change


def test_a_command_is_run_for_each_change(chain: list[Daemon], model: str, tmp_path: Path) -> None:
    a, _, c = chain
    script = 'printf "%s|%s|%s\\n" "$SCUTTLED_OP" "$SCUTTLED_KEY" "$(cat)"'
    args = ["-n", "3", "-m", model, "--", "sh", "-c", script]
    with begun(c, *args, file=tmp_path / "cursor") as tail:
        a.cli("-m", model, "set", "a key", "its value")
        assert tail.line() == "set|a key|its value"
        a.cli("-m", model, "set", "-x", "-5")
        a.cli("-m", model, "del", "a key")
        assert tail.rest() == ["set|-x|-5", "del|a key|"]
        assert tail.process.returncode == 0


# -- going on where the last run ended


class Writer(threading.Thread):
    """Sets keys 00000, 00001, ... at a daemon, until told to stop."""

    def __init__(self, daemon: Daemon, model: str) -> None:
        super().__init__()
        self.count = 0
        self._daemon = daemon
        self._model = model
        self._enough = threading.Event()

    def run(self) -> None:
        with self._daemon.client() as client:
            for _ in client.pipeline(self._requests()):
                pass

    def _requests(self) -> Iterator[tuple[str, dict[str, object]]]:
        while not self._enough.wait(0.0005):
            fields = {"key": f"{self.count:05}", "kind": "text", "value": b"x" * 50}
            self.count += 1
            yield "set", {"model": self._model, **fields}

    def write_on(self, number: int) -> None:
        """Waits until so many more are written."""
        enough = self.count + number
        until(lambda: self.count >= enough, f"{number} more writes")

    def finish(self) -> None:
        self._enough.set()
        self.join()

    def keys(self) -> list[str]:
        return [f"{number:05}" for number in range(self.count)]


def run_in_pieces(
    c: Daemon, model: str, file: Path, writer: Writer, number: int
) -> list[list[str]]:
    """What the runs of a watch tell, each of which that signal ended at a random moment."""
    rng = random.Random(number)
    pieces = []
    with begun(c, "-m", model, file=file):
        pass
    writer.start()
    for _ in range(6):
        with begun(c, "-m", model, file=file) as tail:
            lines = tail.lines(rng.randrange(1, 200))
            pieces.append(lines + tail.end(number))
        writer.write_on(20)
    writer.finish()
    c.wait("-m", model, "--key", writer.keys()[-1])
    with begun(c, "-m", model, file=file) as tail:
        c.cli("-m", model, "set", "end", "-")
        lines = []
        while not lines or columns(lines[-1])[1] != "end":
            lines.append(tail.line())
        pieces.append(lines[:-1])
        assert tail.end(signal.SIGTERM) == []
    return [[columns(line)[1] for line in lines] for lines in pieces]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_watch_that_is_ended_and_begun_again_loses_and_repeats_nothing(
    chain: list[Daemon], model: str, tmp_path: Path, number: int
) -> None:
    a, _, c = chain
    writer = Writer(a, model)
    pieces = run_in_pieces(c, model, tmp_path / "cursor", writer, number)
    assert sorted(key for piece in pieces for key in piece) == writer.keys()


def test_a_watch_that_is_killed_at_any_moment_loses_nothing_and_repeats_its_last_lines_at_most(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    a, _, c = chain
    writer = Writer(a, model)
    pieces = run_in_pieces(c, model, tmp_path / "cursor", writer, signal.SIGKILL)
    told: list[str] = []
    for piece in filter(None, pieces):
        place = told.index(piece[0]) if piece[0] in told else len(told)
        repeated = told[place : place + len(piece)]
        assert piece[: len(repeated)] == repeated
        told += piece[len(repeated) :]
    assert sorted(told) == writer.keys()


def test_a_watch_that_is_killed_between_changes_loses_and_repeats_nothing(
    chain: list[Daemon], model: str, tmp_path: Path
) -> None:
    a, _, c = chain
    file = tmp_path / "cursor"
    keys = []
    with begun(c, "-m", model, file=file):
        pass
    for turn in range(4):
        a.cli("-m", model, "set", f"away/{turn}", "v")
        cursor = file.read_text()
        with begun(c, "-m", model, file=file) as tail:
            keys.append(columns(tail.line())[1])
            cursor = until(lambda old=cursor: _moved(file, old), "the cursor")
            a.cli("-m", model, "set", f"here/{turn}", "v")
            keys.append(columns(tail.line())[1])
            until(lambda old=cursor: _moved(file, old), "the cursor")
            assert tail.end(signal.SIGKILL) == []
    assert keys == [f"{place}/{turn}" for turn in range(4) for place in ("away", "here")]


def _moved(file: Path, old: str) -> str:
    """The cursor, if it is another than before."""
    new = file.read_text()
    return "" if new == old else new


@pytest.mark.parametrize("options", [[], ["--all-models"]])
def test_a_cursor_outlives_the_daemon_and_nothing_is_told_again(
    fleet: Fleet, tmp_path: Path, options: list[str]
) -> None:
    a, file = fleet.daemon("a"), tmp_path / "cursor"
    a.cli("set", "one", "1")
    with begun(a, *options, "--no-reconnect", file=file) as tail:
        a.cli("set", "two", "2")
        assert columns(tail.line())[1] == "two"
        a.stop()
        assert tail.rest() == []
        assert tail.process.returncode == 69
    a.start()
    a.cli("set", "three", "3")
    with begun(a, *options, file=file) as tail:
        assert columns(tail.line())[:3] == ["set", "three", "3"]
        a.cli("set", "four", "4")
        assert columns(tail.line())[1] == "four"
        tail.end(signal.SIGTERM)
    a.cli("set", "five", "5")
    with begun(a, *options, file=file) as tail:  # and the new cursor is good again
        assert columns(tail.line())[1] == "five"
