"""`scuttled demo`, as the installed command: it converges, says so, and leaves nothing behind."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.commands import (
    SCUTTLED,
    Tail,
    begin_scuttled,
    clean_environ,
    run_on_terminal,
    run_scuttled,
)
from support.fleet import PATIENCE_S, until

from scuttled.cli.commands.demo import Objects
from scuttled.client.client import Client
from scuttled.demo.inventory import Inventory
from scuttled.demo.nodes import Nodes
from scuttled.demo.signal_shield import SignalShield
from scuttled.demo.story import Story
from scuttled.errors import Refused, Unavailable

STEPS = ["start", "load", "split", "heal", "crash", "done"]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """With a temporary directory of its own: in the end it is empty, and no process names it."""
    scratch = tempfile.mkdtemp(prefix="scuttled-")  # short: sockets will lie in it
    path = f"{Path(SCUTTLED).parent}:{os.environ['PATH']}"
    try:
        yield {**clean_environ(tmp_path), "TMPDIR": scratch, "PATH": path}
        assert os.listdir(scratch) == []
        assert running_in(scratch) == []
    finally:
        shutil.rmtree(scratch)


def running_in(directory: str) -> list[str]:
    """The command lines of all processes that name it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if any(directory in word for word in words):
                found.append(" ".join(words))
    return found


def begin(environ: dict[str, str], *args: str) -> subprocess.Popen[bytes]:
    return begin_scuttled("demo", *args, env=environ)


def objects(out: bytes) -> dict[str, dict[str, Any]]:
    """By step, in the order they came."""
    parsed = [json.loads(line) for line in out.splitlines()]
    assert all(step["v"] == 1 for step in parsed)
    return {step["step"]: step for step in parsed}


def test_in_a_pipe_it_is_a_plain_line_for_each_step(environ: dict[str, str]) -> None:
    done = run_scuttled("demo", env=environ)
    assert b"\x1b" not in done.stdout + done.stderr
    lines = done.stdout.decode().splitlines()
    assert [line.split(":")[0] for line in lines] == STEPS
    assert re.search(r"converged after [0-9.]+ m?s: all three have the same [0-9,]+ keys", lines[3])
    assert "b (killed: SIGKILL to pid " in lines[2]


def test_for_programs_every_line_is_an_object(environ: dict[str, str]) -> None:
    steps = objects(run_scuttled("demo", "-j", "--keys", "60", env=environ).stdout)
    assert list(steps) == STEPS
    load, split, heal, crash = (steps[name] for name in STEPS[1:5])
    assert [node["keys"] for node in load["nodes"]] == [60, 60, 60]
    assert load["keys"] == 60
    # a wrote 100 and the common one and deleted 10, c wrote 100 and the common one
    assert [node.get("keys") for node in split["nodes"]] == [60 + 101 - 10, None, 60 + 101]
    assert split["nodes"][0]["digest"] != split["nodes"][2]["digest"]
    assert split["differing"] == 100 + 100 + 1 + 10
    assert [node["keys"] for node in heal["nodes"]] == [60 + 201 - 10] * 3
    assert heal["digest"] == crash["digest"] == crash["nodes"][1]["digest"]
    assert 0 < heal["answer_ms"] <= heal["same_ms"]
    commands = [node["command"] for node in steps["start"]["nodes"]]
    assert len({node["pid"] for node in steps["start"]["nodes"]}) == len(commands) == 3


def test_one_key_is_enough(environ: dict[str, str]) -> None:
    steps = objects(run_scuttled("demo", "-j", "--keys", "1", env=environ).stdout)
    assert steps["heal"]["keys"] == 1 + 201


def test_nodes_that_differ_are_a_no_that_names_what_differs(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", environ["TMPDIR"])
    keys = Inventory("", {f"k{number}": b"" for number in range(5)})
    with SignalShield() as signals, Nodes("default", signals) as nodes:
        nodes.idle_s = 0.5
        cluster = nodes.all[2].command.index("--cluster") + 1
        nodes.all[2].command[cluster] = "elsewhere"
        nodes.start(nodes.all)
        with pytest.raises(Refused) as caught:
            Story(nodes, keys, Objects()).load()
    assert caught.value.message == (
        "the nodes did not converge: they differ: a and c in 5 keys (k0, k1, k2, …);"
        " b and c in 5 keys (k0, k1, k2, …)"
    )


def test_nothing_of_the_users_is_read_or_touched(environ: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / ".config" / "scuttled"
    config.mkdir(parents=True)
    (config / "scuttled.toml").write_text("this is no TOML")
    (tmp_path / "random.py").write_text("raise SystemExit('not the one you know')")
    strange = {
        "SCUTTLED_SOCKET": str(tmp_path / "other.sock"),
        "SCUTTLED_CONFIG": str(tmp_path / "nowhere.toml"),
        "SCUTTLED_DATA": str(tmp_path / "data"),
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "NOTIFY_SOCKET": str(tmp_path / "notify.sock"),
        "SCUTTLED_MODEL": "demo",
    }
    before = sorted(tmp_path.rglob("*"))
    run_scuttled("demo", "--keys", "5", env={**environ, **strange}, cwd=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("step", STEPS[:5])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_of_it(
    environ: dict[str, str], step: str, number: signal.Signals, code: int
) -> None:
    with Tail(begin(environ)) as tail:
        until(lambda: os.listdir(environ["TMPDIR"]), "the nodes' directory")
        for _ in STEPS[: STEPS.index(step)]:
            tail.line()
        tail.end(number)
        assert tail.process.returncode == code
        words = tail.said()
    assert words == "scuttled: stopped: the nodes are ended, and their directory is removed\n"


def test_a_reader_that_goes_away_ends_all_of_it(environ: dict[str, str]) -> None:
    with begin(environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 141
        assert process.stderr.read() == b""


def test_an_answer_that_can_not_be_written_ends_all_of_it(environ: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [SCUTTLED, "demo"], env=environ, stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode == 74
    assert done.stderr == b"scuttled: answer not written: No space left on device\n"


def test_keep_tells_programs_the_sockets(environ: dict[str, str]) -> None:
    with Tail(begin(environ, "-j", "--keep", "--keys", "5")) as tail:
        steps = objects("\n".join(tail.lines(7)).encode())
        node = steps["kept"]["sockets"]["b"]
        with Client.connect([node]) as client:
            assert client.request("status")["name"] == "b"
        tail.end(signal.SIGINT)
        with pytest.raises(Unavailable):
            Client.connect([node])


def test_what_keep_says_to_type_works_as_printed(environ: dict[str, str]) -> None:
    with Tail(begin(environ, "--keep", "--keys", "5")) as tail:
        said = []
        while not (said and said[-1].endswith(" status")):
            said.append(tail.line())
        watch, write, status = (shlex.split(line) for line in said[-3:])
        with Tail(
            subprocess.Popen(watch, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ) as watching:
            while not watching.process.poll() and not seen(watching, write, environ):
                pass
        shown = subprocess.run(status, env=environ, capture_output=True, check=True).stdout
        assert b"name\tb\n" in shown
        tail.end(signal.SIGINT)
        assert tail.process.returncode == 130


def seen(watching: Tail, write: list[str], environ: dict[str, str]) -> bool:
    """Whether the watch tells of a write; it may have come before the watch began."""
    subprocess.run(write, env=environ, check=True)
    with suppress(AssertionError):
        return watching.line(1.0).startswith("set\tgreeting\thello\t")
    return False


def test_on_a_terminal_pictures_are_drawn_and_the_next_step_is_told(
    environ: dict[str, str],
) -> None:
    code, screen = run_on_terminal("demo", env={**environ, "TERM": "xterm"})
    assert code == 0
    assert "\x1b[3A" in screen
    plain = re.sub(r"\x1b\[[0-9]*[mAK]|\r", "", screen)
    assert "\x1b" not in plain
    assert re.search(r"^        c  ━{20,} +[0-9,]+ keys  [0-9.]+ m?s$", plain, re.MULTILINE)
    assert plain.endswith(
        "\nYour turn, in two terminals:\n\n  scuttled serve\n\n"
        "  scuttled set greeting hello\n  scuttled watch\n"
    )


def test_on_a_dumb_terminal_it_is_plain(environ: dict[str, str]) -> None:
    code, screen = run_on_terminal("demo", "-q", "--keys", "5", env={**environ, "TERM": "dumb"})
    assert (code, "\x1b" in screen) == (0, False)
    assert [line.split(":")[0] for line in screen.splitlines()] == STEPS
