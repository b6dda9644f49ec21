"""serve: what it says when it comes up, and every way in which it refuses to."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import SCUTTLED, Completed, begin_scuttled, clean_environ, run_scuttled
from support.fleet import Daemon, Fleet
from support.waiting import until

NOBODY = 65534

Serve = Callable[..., Completed]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Runs a `scuttled serve` that is to end by itself; a state and a socket of its own."""

    def run(*args: str, **env: str) -> Completed:
        own = ["--listen", "127.0.0.1:0", "--data", f"{tmp_path}/own"]
        own += ["--socket", f"{tmp_path}/own.sock"]
        kept = [
            word
            for name, value in zip(own[::2], own[1::2], strict=True)
            if name not in args
            for word in (name, value)
        ]
        environ = clean_environ(tmp_path, **env)
        return run_scuttled("serve", *kept, *args, env=environ, check=False)

    return run


def test_it_says_who_and_where_it_is(daemon: Daemon) -> None:
    lines = daemon.log().splitlines()
    assert re.fullmatch(r"scuttled \S+  node a \([0-9a-f]{16}\)", lines[0])
    assert f"state    {daemon.data}" in lines
    assert f"control  {daemon.socket}" in lines
    assert f"gossip   {daemon.address}  peers none" in lines


def test_a_second_daemon_on_the_same_state_is_refused_with_the_pid_of_the_first(
    daemon: Daemon, serve: Serve
) -> None:
    done = serve("--data", str(daemon.data))
    assert done.returncode == 73
    assert f"(pid {daemon.pid})" in done.stderr.decode()
    assert "hint: " in done.stderr.decode()
    assert daemon.text("wait", "--up") == ""


def test_a_second_daemon_on_the_same_socket_is_refused(daemon: Daemon, serve: Serve) -> None:
    done = serve("--socket", daemon.socket)
    assert (done.returncode, daemon.socket in done.stderr.decode()) == (73, True)
    assert "--socket PATH" in done.stderr.decode()
    assert daemon.text("wait", "--up") == ""


def test_a_port_that_is_taken_is_73(daemon: Daemon, serve: Serve) -> None:
    done = serve("--listen", daemon.address)
    assert (done.returncode, daemon.address in done.stderr.decode()) == (73, True)
    assert b"Traceback" not in done.stderr


def test_beyond_this_machine_it_wants_insecure(fleet: Fleet, serve: Serve) -> None:
    port = fleet.address("open").rpartition(":")[2]
    done = serve("--listen", f"0.0.0.0:{port}")
    words = done.stderr.decode()
    assert (done.returncode, "--insecure" in words.partition("hint: ")[2]) == (78, True)
    willing = fleet.daemon("open", args=["--listen", f"0.0.0.0:{port}", "--insecure"])
    assert willing.text("wait", "--up") == ""


def test_a_socket_left_by_a_crash_is_replaced_and_a_file_is_not(
    fleet: Fleet, serve: Serve, tmp_path: Path
) -> None:
    a = fleet.daemon("a")
    a.kill9()
    assert Path(a.socket).is_socket()
    a.start()
    a.stop()
    assert not Path(a.socket).exists()
    file = tmp_path / "file"
    file.write_text("mine")
    done = serve("--socket", str(file))
    assert (done.returncode, file.read_text()) == (73, "mine")


def test_a_path_too_long_for_a_socket_is_refused_with_the_reason(
    serve: Serve, tmp_path: Path
) -> None:
    done = serve("--socket", f"{tmp_path}/{'x' * 108}")
    assert (done.returncode in (73, 78), b"107" in done.stderr) == (True, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[gossip]\nlisen = "127.0.0.1"\n', ["toml:2: ", "did you mean 'listen'"]),
        ("[gosip]\n", ["did you mean 'gossip'"]),
        ('[log]\nlevel = "loud"\n', ["loud", "debug"]),
        ("[cluster]\npeers = 5\n", ["peers", "5"]),
        ("[log\n", ["toml:1: "]),
    ],
)
def test_a_wrong_configuration_is_78_with_file_and_reason(
    serve: Serve, tmp_path: Path, content: str, words: list[str]
) -> None:
    file = tmp_path / "scuttled.toml"
    file.write_text(content)
    environ = clean_environ(tmp_path)
    checked = run_scuttled("config", "check", str(file), env=environ, check=False)
    for done in (serve("--config", str(file)), checked, serve(SCUTTLED_CONFIG=str(file))):
        said = done.stderr.decode()
        assert (done.returncode, str(file) in said) == (78, True)
        assert all(word in said for word in words), said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "args", [["--listen", "nonsense:xx:1"], ["--peers", "a:0"], ["--config", "/no/such/file"]]
)
def test_wrong_settings_are_78(serve: Serve, args: list[str]) -> None:
    done = serve(*args)
    assert (done.returncode, done.stdout) == (78, b"")


def test_a_state_directory_that_can_not_be_made_is_73(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert serve("--data", f"{tmp_path}/file/below").returncode == 73


def as_nobody() -> list[str]:
    """In front of a command: who may not use the socket. Only root can be somebody else."""
    if os.getuid() != 0:
        pytest.skip("needs root to become another user")
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run([*prefix, SCUTTLED, "--version"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this installation can't be read by others")
    return prefix


def test_another_user_is_77_with_the_group_as_a_hint(daemon: Daemon) -> None:
    os.chmod(Path(daemon.socket).parent, 0o711)  # noqa: S103 - its mode is not what is tested
    assert oct(os.stat(daemon.socket).st_mode & 0o777) == "0o660"
    done = daemon.cli("get", "k", check=False, prefix=as_nobody())
    assert (done.returncode, done.stdout) == (77, b"")
    assert b"hint: sudo usermod -aG scuttled" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_and_cleanly_even_while_somebody_watches(
    fleet: Fleet, number: int
) -> None:
    a = fleet.daemon("a")
    with a.tail("watch", "--snapshot", "--no-reconnect") as tail:
        assert tail.line().startswith("live\t")
        os.kill(a.pid, number)
        assert a.ended() == 0
        assert tail.rest() == []
        assert tail.process.returncode == 69
    assert not Path(a.socket).exists()
    assert "Traceback" not in a.log()


def test_what_is_in_force_and_who_said_it(fleet: Fleet, tmp_path: Path) -> None:
    """Flag over environment over file over default."""
    file = tmp_path / "scuttled.toml"
    file.write_text(
        '[node]\nname = "file"\n[cluster]\nname = "file"\n'
        '[gossip]\nmax_clock_skew = "7s"\n[log]\nlevel = "debug"\n'
    )
    env = {"SCUTTLED_CLUSTER": "env", "SCUTTLED_LOG_LEVEL": "error", "SCUTTLED_NAME": "env"}
    a = fleet.daemon("flag", args=["--config", str(file), "--log-level", "warning"], env=env)
    shown = {row["key"]: (row["value"], row["origin"]) for row in a.json("config", "show")}
    assert shown["node.name"] == ("flag", "flag --name")
    assert shown["cluster.name"] == ("env", "environment SCUTTLED_CLUSTER")
    assert shown["gossip.max_clock_skew"] == ("7s", f"file {file}:6")
    assert shown["log.level"] == ("warning", "flag --log-level")
    assert shown["storage.sync"] == ("normal", "default")
    assert a.text("config", "show").splitlines()[0] == 'node.name\t"flag"'


def test_a_template_is_a_good_configuration_and_never_written_over(
    tmp_path: Path, serve: Serve
) -> None:
    environ = clean_environ(tmp_path)
    file = str(tmp_path / "new.toml")
    run_scuttled("config", "init", file, env=environ)
    run_scuttled("config", "check", file, env=environ)
    again = run_scuttled("config", "init", file, env=environ, check=False)
    assert again.returncode == 73
    piped = run_scuttled("config", "init", env=environ).stdout
    assert piped == Path(file).read_bytes()
    paths = run_scuttled("config", "paths", env=environ).stdout.decode()
    assert f"data\t{tmp_path}/.local/state/scuttled\n" in paths


def test_without_a_daemon_config_show_tells_what_it_would_start_with(tmp_path: Path) -> None:
    environ = clean_environ(tmp_path, SCUTTLED_NAME="would-be")
    done = run_scuttled("config", "show", "--origin", env=environ)
    assert b'node.name\t"would-be"\tenvironment SCUTTLED_NAME\n' in done.stdout
    assert b"daemon not reachable" in done.stderr


def test_with_no_option_at_all_client_and_daemon_meet(tmp_path: Path) -> None:
    """Only the port is given, for the usual one may be taken on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for environ in (
        clean_environ(tmp_path),
        clean_environ(tmp_path, XDG_RUNTIME_DIR=str(tmp_path / "run")),
    ):
        (tmp_path / "run").mkdir(mode=0o700, exist_ok=True)
        process = begin_scuttled(
            *("serve", "--listen", f"127.0.0.1:{port}"),
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            run_scuttled("wait", "--up", "--timeout", "30s", env=environ)
            run_scuttled("set", "k", "v", env=environ)
            assert run_scuttled("get", "k", env=environ).stdout == b"v"
            run_scuttled("leave", env=environ)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def test_in_memory_nothing_is_left_behind(fleet: Fleet) -> None:
    a = fleet.daemon("a", args=["--memory"])
    a.cli("set", "k", "v")
    assert a.text("get", "k") == "v"
    a.restart()
    assert a.cli("get", "k", check=False).returncode == 1
    assert not a.data.exists()
    until(lambda: a.text("ls") == "", "nothing")
