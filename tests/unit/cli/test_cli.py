"""What holds for all commands."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.scripted_daemon import ScriptedDaemon, Scuttled, ok

from scuttled.cli.cli import COMMANDS, cli


def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of a command and of all below it."""
    yield path
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from leaves(child, (*path, name))


def test_without_a_daemon_the_sockets_are_named_and_a_hint_given(scuttled: Scuttled) -> None:
    done = scuttled("ls")
    assert done == (
        69,
        b"",
        "scuttled: daemon not reachable: tried /nowhere/control.sock (absent)\n"
        "hint: scuttled serve\n",
    )


@pytest.mark.parametrize("args", [["-m", "tags", "get", "k"], ["get", "k", "--model=tags"]])
def test_global_options_stand_before_or_after_the_verb(
    daemon: ScriptedDaemon, scuttled: Scuttled, args: list[str]
) -> None:
    scuttled(*args)
    assert daemon.asked("get")[0]["model"] == "tags"


def test_a_flag_beats_the_environment_and_the_later_flag_the_earlier(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUTTLED_MODEL", "env")
    scuttled("get", "k")
    scuttled("-m", "one", "get", "k")
    scuttled("-m", "one", "get", "k", "-m", "two")
    assert [request["model"] for request in daemon.asked("get")] == ["env", "one", "two"]


@pytest.mark.parametrize(
    ("name", "value"), [("SCUTTLED_TIMEOUT", "soon"), ("SCUTTLED_OUTPUT", "xml")]
)
def test_nonsense_in_the_environment_is_a_usage_error(
    daemon: ScriptedDaemon,
    scuttled: Scuttled,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    daemon.put("k", b"v")
    monkeypatch.setenv(name, value)
    done = scuttled("get", "k")
    assert (done.code, done.out) == (2, b"")
    assert value in done.err


def test_the_environment_can_choose_json(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUTTLED_OUTPUT", "json")
    daemon.put("k", b"v")
    assert scuttled("get", "k").objects[0]["value"] == "v"


def test_a_typo_in_a_command_gets_a_suggestion(scuttled: Scuttled) -> None:
    done = scuttled("statsu")
    assert (done.code, done.err) == (
        2,
        "scuttled: no command 'statsu': did you mean 'status'?\nhint: scuttled --help\n",
    )


def test_usage_errors_have_our_form_and_a_hint(scuttled: Scuttled) -> None:
    assert scuttled("set") == (
        2,
        b"",
        "scuttled: missing argument 'KEY'\nhint: scuttled set --help\n",
    )
    assert scuttled("model", "create").err.endswith("hint: scuttled model create --help\n")
    assert scuttled("ls", "--limit", "x").code == 2


def test_a_time_out_is_75(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["get"] = lambda request: []
    assert scuttled("get", "k", "--timeout", "20ms").code == 75


def test_a_bug_is_70_and_one_line_but_for_a_traceback_with_vv(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["get"] = ok(kind="text", rev="no value in this answer")
    done = scuttled("get", "k")
    assert done.code == 70
    assert done.err.startswith("scuttled: a bug: KeyError: 'value'\nhint: ")
    assert "Traceback" in scuttled("-vv", "get", "k").err


def test_verbose_says_which_daemon(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.put("k", b"v")
    assert scuttled("-v", "get", "k").err == f"scuttled: connected to {daemon.path}\n"


def test_a_full_disk_is_an_io_error(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    daemon.put("k", b"v")
    with open("/dev/full", "wb") as full:
        program = [sys.executable, "-m", "scuttled", "get", "k"]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        74,
        "scuttled: answer not written: No space left on device\n",
    )


def test_a_reader_that_goes_away_ends_a_command_quietly(daemon: ScriptedDaemon) -> None:
    for number in range(3000):
        daemon.put(f"key-{number:060}", b"")
    program = [sys.executable, "-m", "scuttled", "ls"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_ctrl_c_is_130_without_a_traceback(daemon: ScriptedDaemon) -> None:
    daemon.answers["wait"] = lambda request: []
    program = [sys.executable, "-m", "scuttled", "wait", "--synced"]
    with subprocess.Popen(program, stderr=subprocess.PIPE) as process:
        daemon.await_request("wait")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[1] == b""
        assert process.returncode == 130


def test_a_group_without_a_command_shows_its_help_and_is_a_usage_error(scuttled: Scuttled) -> None:
    done = scuttled("model")
    assert (done.code, done.out) == (2, b"")
    assert "Examples:" in done.err


def test_a_simple_command_imports_nothing_heavy(daemon: ScriptedDaemon) -> None:
    daemon.put("k", b"v")
    code = (
        "import sys; from scuttled.__main__ import run; code = run(sys.argv[1:]);"
        " print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    heavy = {
        *("trio", "json", "platformdirs", "logging", "dataclasses", "pathlib", "tomllib"),
        *("sqlite3", "socket", "subprocess", "shutil", "tempfile", "asyncio", "ssl"),
    }
    for args in (["get", "k"], ["set", "k", "v"], ["del", "k"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
        )
        assert not heavy & set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_in_examples_that_parse(name: str, scuttled: Scuttled) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for path in leaves(command, (name,)):
        done = scuttled(*path, "--help")
        assert done.code == 0
        *_, examples = done.out.decode().split("Examples:\n")
        assert examples.strip()
        for line in examples.splitlines():
            for words in commands_in(line):
                parse(cli, words)


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Raises click's UsageError if it is not understood; runs nothing."""
    ctx = command.make_context("scuttled", words, parent)
    if isinstance(command, click.Group):
        first = getattr(ctx, "_protected_args", None) or ctx.protected_args  # click 8.1
        name, child, rest = command.resolve_command(ctx, [*first, *ctx.args])
        assert child is not None, name
        parse(child, rest, ctx)


def commands_in(line: str) -> Iterator[list[str]]:
    """The arguments of each `scuttled` in a line of shell."""
    words = shlex.split(line.replace("$(", " ").replace(")", " "), comments=True)
    for start, word in enumerate(words):
        if word == "scuttled":
            rest = words[start + 1 :]
            ends = [rest.index(stop) for stop in ("&&", "||", "|", ">", ">>", "&") if stop in rest]
            yield rest[: min(ends, default=len(rest))]


def test_the_list_of_commands_is_grouped(scuttled: Scuttled) -> None:
    out = scuttled("--help").out.decode()
    places = [out.index(f"\n{section}:\n") for section in ("Data", "Cluster", "Daemon", "Tools")]
    assert places == sorted(places)
    for name in COMMANDS:
        assert f"\n  {name} " in out
    assert out.index("Examples:") > places[-1]
