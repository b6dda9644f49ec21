"""What holds for all commands: forms of output, global options, exit codes, help, terminals."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import clean_environ, run_on_terminal, run_scuttled
from support.control_caller import RawCaller, request
from support.fleet import PATIENCE_S, Daemon, Fleet, until

from scuttled.cli import cli

HANGS_S = 600  # nothing here takes so long; some 10 s of work, on a machine with much else to do

# Every command that answers, in an order in which each finds what it needs.
COMMANDS = [
    ["set", "svc/web", "10.0.0.9:80"],
    ["set", "red", "\x1b[31mred\x1b[0m"],
    ["get", "red"],
    ["get", "-l", "svc/web"],
    ["get", "nope", "--default", "v"],
    ["ls"],
    ["ls", "-l"],
    ["ls", "-l", "--deleted"],
    ["ls", "--depth", "1"],
    ["ls", "--count"],
    ["watch", "--snapshot", "-n", "2"],
    ["get"],
    ["emit", "deployed", "v1"],
    ["on", "--all", "-n", "1"],
    ["del", "red", "--dry-run"],
    ["call", "get", "svc/web"],
    ["model", "ls"],
    ["model", "create", "tags"],
    ["model", "info", "default"],
    ["model", "drop", "tags", "--yes"],
    ["export"],
    ["import", "--tsv", "/dev/null"],
    ["peers"],
    ["join", "127.0.0.1:1"],
    ["part", "127.0.0.1:1"],
    ["wait", "--up"],
    ["status"],
    ["config", "check"],
    ["config", "show", "--origin"],
    ["config", "init"],
    ["config", "paths"],
    ["completion", "bash"],
    ["completion", "zsh"],
    ["completion", "fish"],
    ["version"],
    ["simulate", "--spread", "--nodes", "8"],
    ["simulate", "--nodes", "3", "--for", "1s"],
    ["del", "svc/web"],
]
# Those that end a daemon, start some, or need more of them: tests of their own.
ELSEWHERE = {"serve", "leave", "demo", "forget", "members", "verify"}
TABLES = {
    "ls": ["KEY"],
    "ls -l": ["KEY", "VALUE", "REV", "NODE", "AGE"],
    "ls --depth 1": ["KEY", "KEYS"],
    "model ls": ["NAME", "TYPE", "KEYS", "TOMBSTONES", "SIZE"],
    "peers": ["NODE", "ADDRESS", "STATE", "RTT", "LAG", "SEEN", "VERSION"],
    "config show --origin": ["KEY", "VALUE", "ORIGIN"],
    "join 127.0.0.1:1": ["ADDRESS", "JOIN", "STATE", "NODE"],
    "simulate --spread --nodes 8": ["FIGURE", "HERE", "THEORY"],
    "simulate --nodes 3 --for 1s": ["KIND", "TIMES", "FAULT", "WHAT"],
}
HEADERS = {header for headers in TABLES.values() for header in headers}


def test_every_command_is_tried_here_or_elsewhere() -> None:
    missing = cli.COMMANDS.keys() - {command[0] for command in COMMANDS} - ELSEWHERE
    assert not missing, f"add {sorted(missing)} to COMMANDS, so that all forms of output are tried"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Fleet(tmp_path_factory.mktemp("every")) as fleet:
        yield fleet.daemon("every")


@pytest.fixture(scope="module")
def runs(daemon: Daemon) -> dict[str, dict[str, bytes]]:
    """stdout of every command in both forms; colour is asked for, and must not come."""
    forms = {"plain": ["--color", "always"], "json": ["-j"]}
    return {
        form: {
            " ".join(command): daemon.cli(
                *command[:1], *options, *command[1:], check=command[0] != "join"
            ).stdout  # nobody is there to be joined
            if command[0] not in ("model", "config")
            else daemon.cli(*options, *command).stdout
            for command in COMMANDS
        }
        for form, options in forms.items()
    }


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_json_is_one_object_a_line_and_says_its_version(
    runs: dict[str, dict[str, bytes]], command: list[str]
) -> None:
    lines = runs["json"][" ".join(command)].decode().splitlines()
    assert lines
    for line in lines:
        found = json.loads(line)
        assert isinstance(found, dict)
        assert found["v"] == 1


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_pipe_gets_no_header_and_nothing_that_commands_a_terminal(
    runs: dict[str, dict[str, bytes]], command: list[str], form: str
) -> None:
    """But for `get`, which gives the very bytes."""
    out = runs[form][" ".join(command)]
    if command != ["get", "red"] or form == "json":
        assert b"\x1b" not in out
    assert not HEADERS.intersection(re.split(r"[\t ]+", out.decode().split("\n")[0]))


def test_silent_commands_are_silent_in_a_pipe(runs: dict[str, dict[str, bytes]]) -> None:
    silent = {name for name, out in runs["plain"].items() if not out}
    assert silent == {
        "set svc/web 10.0.0.9:80",
        "set red \x1b[31mred\x1b[0m",
        "emit deployed v1",
        "model create tags",
        "model drop tags --yes",
        "import --tsv /dev/null",
        "wait --up",
        "config check",
        "del svc/web",
    }


@pytest.mark.parametrize("command", TABLES)
def test_a_terminal_gets_a_table_with_a_header(
    daemon: Daemon, runs: dict[str, dict[str, bytes]], command: str
) -> None:
    daemon.cli("set", "svc/web", "10.0.0.9:80")
    for option, env in (["--color", "never"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"}):
        code, screen = daemon.on_terminal(*option, *command.split(), env=env)
        assert (code, "\x1b" in screen) == (int(command.startswith("join")), False)
        lines = screen.splitlines()
        assert lines[0].split() == TABLES[command]
        assert all(len(line) <= 100 for line in lines)
    _, colored = daemon.on_terminal(*command.split())
    assert "\x1b[1m" in colored
    assert re.sub(r"\x1b\[\d*m", "", colored).splitlines()[0].split() == TABLES[command]


def test_a_terminal_gets_values_that_can_not_command_it(daemon: Daemon) -> None:
    daemon.cli("set", "evil", "-", stdin=b"\x1b]0;owned\x07\ttab\nline")
    assert daemon.on_terminal("get", "evil") == (0, "\\x1b]0;owned\\x07\ttab\nline\n")
    for command in (
        ["ls", "-l"],
        ["get", "-l", "evil"],
        ["watch", "--snapshot", "evil", "-n", "1"],
    ):
        screen = daemon.on_terminal(*command)[1]
        assert "\x1b]" not in screen
        assert "\\x1b]0;owned" in screen


def test_a_terminal_is_told_what_was_set(daemon: Daemon) -> None:
    code, screen = daemon.on_terminal("set", "k", "v")
    assert (code, re.fullmatch(r"k = v  \(rev \d+\.[0-9a-f]{16}\.\d+\)\n", screen) is None) == (
        0,
        False,
    )
    assert "this node only" in daemon.on_terminal("set", "new", "v", "--if-absent")[1]
    code, screen = daemon.on_terminal("watch", "--snapshot", "k", "-n", "1", "--color", "never")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} set k = v  every\n", screen)


# -- options and environment


@pytest.mark.parametrize(
    "args",
    [
        ["-m", "tags", "-j", "get", "k"],
        ["get", "-j", "k", "-m", "tags"],
        ["-j", "get", "-m", "tags", "k"],
        ["get", "k", "--model=tags", "--json"],
    ],
)
def test_global_options_stand_before_or_behind_the_verb(daemon: Daemon, args: list[str]) -> None:
    daemon.cli("-m", "tags", "set", "k", "here")
    assert json.loads(daemon.cli(*args).stdout)["value"] == "here"


def test_a_flag_beats_the_environment(daemon: Daemon, tmp_path: Path) -> None:
    daemon.cli("-m", "one", "set", "k", "1")
    daemon.cli("-m", "two", "set", "k", "2")
    assert daemon.cli("get", "k", env={"SCUTTLED_MODEL": "one"}).stdout == b"1"
    assert daemon.cli("get", "k", "-m", "two", env={"SCUTTLED_MODEL": "one"}).stdout == b"2"
    as_json = daemon.cli("ls", "-m", "one", env={"SCUTTLED_OUTPUT": "json"}).stdout
    assert json.loads(as_json)["key"] == "k"
    elsewhere = {"SCUTTLED_SOCKET": "/nowhere.sock"}
    assert daemon.cli("wait", "--up", "--timeout", "50ms", env=elsewhere, check=False).returncode
    assert daemon.cli("wait", "--up", "--socket", daemon.socket, env=elsewhere).returncode == 0


def test_quiet_leaves_only_answers_and_errors(daemon: Daemon) -> None:
    daemon.cli("set", "a", "v")
    assert daemon.cli("del", "-q", "a").stderr == b""
    assert daemon.cli("del", "-q", "a", check=False).stderr.startswith(b"scuttled: ")


# -- endings


def test_without_a_daemon_all_paths_are_listed_with_a_hint(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    environ = clean_environ(tmp_path, XDG_RUNTIME_DIR=str(runtime))
    done = run_scuttled("get", "k", env=environ, check=False)
    words = done.stderr.decode()
    assert (done.returncode, done.stdout) == (69, b"")
    for path in (
        f"{runtime}/scuttled/control.sock",
        f"{tmp_path}/.local/state/scuttled/run/control.sock",
        "/run/scuttled/control.sock",
    ):
        assert path in words
    assert words.endswith("\nhint: scuttled serve\n")
    code, screen = run_on_terminal("version", env=environ)
    assert (code, "daemon not reachable" in screen) == (0, True)


def test_a_stale_socket_and_a_path_too_long_are_69_with_the_reason(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    environ = clean_environ(tmp_path)
    stale = run_scuttled("get", "k", "--socket", path, env=environ, check=False)
    assert (stale.returncode, b"nobody listens" in stale.stderr) == (69, True)
    long = run_scuttled("get", "k", "--socket", f"/{'x' * 120}", env=environ, check=False)
    assert (long.returncode, b"at most 107" in long.stderr) == (69, True)


@pytest.mark.parametrize(
    "args",
    [
        ["frob"],
        [],
        ["set"],
        ["get", "k", "--frob"],
        ["peers", "extra"],
        ["wait"],
        ["wait", "--peers", "many"],
        ["ls", "--limit", "0"],
        ["ls", "--depth", "1", "-l"],
        ["get", "k", "--timeout", "soon"],
        ["get", "k", "--timeout", "0"],
        ["set", "k", "v", "--ttl", "0"],
        ["watch", "--"],
        ["watch", "--once", "--", "/no/such/program"],
        ["completion", "tcsh"],
        ["join", "nonsense:xx:1"],
        ["join", ","],
    ],
    ids=" ".join,
)
def test_what_can_not_be_understood_is_2_in_one_line_without_an_answer(
    daemon: Daemon, args: list[str]
) -> None:
    daemon.cli("set", "k", "v")
    done = daemon.cli(*args, check=False)
    words = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b"")
    assert "Traceback" not in words
    if args:
        assert re.fullmatch(r"scuttled: .+\n(hint: .+\n)?", words)


@pytest.mark.parametrize("command", ["get k", "ls -j", "status", "watch --snapshot", "export"])
def test_an_answer_that_can_not_be_written_is_74(daemon: Daemon, command: str) -> None:
    daemon.cli("set", "k", "v")
    reasons = {"> /dev/full": "No space left on device", ">&-": "standard output is closed"}
    for redirection, reason in reasons.items():
        script = f"exec scuttled {command} {redirection}"
        done = subprocess.run(
            ["bash", "-c", script],
            env=daemon.env,
            stderr=subprocess.PIPE,
            timeout=HANGS_S,
            check=False,
        )
        words = f"answer not written: {reason}"
        told = f'{{"v":1,"code":74,"message":"{words}","hint":""}}\n'
        expected = told if "-j" in command else f"scuttled: {words}\n"
        assert (done.returncode, done.stderr.decode()) == (74, expected)


def test_a_daemon_that_does_not_answer_is_75_in_time(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    a.pause()
    commands = (["get", "k"], ["ls"], ["set", "k", "v"], ["status"], ["version", "-q"])
    running = [a.begin(*command, "--timeout", "200ms") for command in commands]
    for process, command in zip(running, commands, strict=True):
        out, words = process.communicate(timeout=PATIENCE_S)
        if command[0] == "version":
            assert (process.returncode, out[:7]) == (0, b"client\t")
        else:
            assert (process.returncode, out) == (75, b"")
            assert words == b"scuttled: daemon does not answer: not a byte in 0.2 s\n"
    a.resume()
    assert a.cli("wait", "--key", "never", "--timeout", "100ms", check=False).returncode == 75
    assert a.cli("wait", "--peers", "1", "--timeout", "100ms", check=False).returncode == 75
    assert a.cli("watch", "--for", "50ms", check=False).returncode == 75


@pytest.mark.parametrize("command", [["wait", "--key", "never"], ["watch"]])
def test_ctrl_c_is_130_without_a_word(daemon: Daemon, command: list[str]) -> None:
    with daemon.begin(*command, "-v") as process:
        assert process.stderr
        process.stderr.readline()  # connected
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S) == (b"", b"")
    assert process.returncode == 130


def test_a_client_that_speaks_another_protocol_is_told_so(daemon: Daemon) -> None:
    with RawCaller(daemon.socket, greet=False) as caller:
        caller.say(request(1, "hello", protocol=[98, 99]))
        answer = caller.heard()
    assert answer is not None
    assert answer["error"]["code"] == 76
    assert "98 to 99" in answer["error"]["message"]
    assert answer["error"]["hint"]


# -- waiting


def test_wait_up_outlasts_a_daemon_that_is_yet_to_come(fleet: Fleet) -> None:
    a = fleet.daemon("a", start=False)
    with a.begin("wait", "--up", "--timeout", f"{PATIENCE_S:g}s") as waiting:
        assert a.cli("wait", "--key", "k", check=False).returncode == 69  # not up: no patience
        a.start()
        assert waiting.wait(PATIENCE_S) == 0


def test_wait_for_a_key_ends_when_it_has_the_value(daemon: Daemon, model: str) -> None:
    with daemon.begin("-m", model, "wait", "--key", "k=v=2", "-v") as waiting:
        assert waiting.stderr
        waiting.stderr.readline()
        daemon.cli("-m", model, "set", "k", "v=1")
        assert daemon.cli("-m", model, "wait", "--key", "k").returncode == 0
        assert waiting.poll() is None
        daemon.cli("-m", model, "set", "k", "v=2")
        assert waiting.wait(PATIENCE_S) == 0


# -- help


def leaves() -> list[list[str]]:
    import click

    from scuttled.cli.cli import COMMANDS, cli

    context = click.Context(cli)
    found: list[list[str]] = [[]]
    for name in COMMANDS:
        try:
            command = cli.get_command(context, name)
        except ImportError:  # it is still being written
            continue
        found.append([name])
        if isinstance(command, click.Group):
            found += [[name, child] for child in command.list_commands(context)]
    return found


def examples_of(command: list[str], home: Path) -> list[str]:
    """The lines under "Examples:", with which every help ends."""
    text = run_scuttled(*command, "--help", env=clean_environ(home)).stdout.decode()
    _, _, lines = text.partition("\nExamples:\n")
    assert lines, text
    return [line.strip() for line in lines.splitlines()]


@pytest.fixture(scope="module")
def one_of_three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """What examples take for granted: a daemon with two peers."""
    with Fleet(tmp_path_factory.mktemp("three")) as fleet:
        yield fleet.mesh("one", "two", "three")[0]


OWN_TESTS = [["serve"], ["demo"], ["leave"], ["join"], ["part"]]  # what would change the daemon


@pytest.mark.parametrize(
    "command", [c for c in leaves() if c not in OWN_TESTS], ids=lambda c: " ".join(c) or "scuttled"
)
def test_the_examples_of_every_help_work(
    one_of_three: Daemon, tmp_path: Path, command: list[str]
) -> None:
    """As they stand, one after the other. A watch that goes on is cut off."""
    for example in examples_of(command, tmp_path):
        if example.startswith("scuttled serve"):
            continue
        endless = re.match(r"scuttled (watch|on)(?!.*\|)", example)
        done = subprocess.run(
            ["timeout", "0.4" if endless else f"{HANGS_S}", "bash", "-c", example],
            env={**one_of_three.env, "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        said = done.stderr.decode()
        assert done.returncode in ((0, 124) if endless else (0,)), (example, said)
        assert "Traceback" not in said


# -- completion


def test_bash_completes_commands_keys_and_models(daemon: Daemon) -> None:
    daemon.cli("-m", "fruit", "set", "apple tree", "v")
    daemon.cli("-m", "fruit", "set", "apple/red", "v")

    def tab(line: str) -> list[str]:
        script = f"""
            eval "$(scuttled completion bash)"
            COMP_LINE='{line}' COMP_POINT={len(line)} COMP_CWORD=1 COMP_WORDS=(scuttled '')
            _scuttled_completion scuttled
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(
            ["bash", "-c", script], env=daemon.env, capture_output=True, timeout=HANGS_S, check=True
        )
        return done.stdout.decode().split("\n")[:-1]

    assert tab("scuttled sta") == ["status"]
    assert tab("scuttled get -m fruit app") == ["apple\\ tree", "apple/red"]
    assert "fruit" in tab("scuttled ls -m fru")


def test_completion_gives_up_on_a_daemon_that_does_not_answer(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    a.pause()
    environ = {"_SCUTTLED_COMPLETE": "bash_complete", "_SCUTTLED_LINE": "scuttled get k"}
    done = a.cli(env=environ)
    assert (done.stdout.strip(), done.stderr) == (b"", b"")
    a.resume()
    a.cli("set", "key", "v")
    until(lambda: a.cli(env=environ).stdout == b"plain\tkey\n", "the key")
