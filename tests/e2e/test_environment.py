"""What a machine may be like: each oddity is a sentence and a code, or the daemon goes on."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.commands import SCUTTLED, begin_scuttled, clean_environ
from support.fleet import Fleet
from support.waiting import PATIENCE_S, until

STRANGER = 54321  # a user that no file knows

Ended = tuple[int, str]
Serve = Callable[..., Ended]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may use; those of pytest are its own user's."""
    with tempfile.TemporaryDirectory(prefix="scuttled-", dir="/tmp") as name:
        os.chmod(name, 0o777)  # noqa: S103 - its mode is not what is tested
        yield Path(name)


@pytest.fixture
def serve(place: Path) -> Serve:
    """Runs `scuttled serve` from a shell's line, in which "$@" is it; SIGTERM once it is up.

    Gives the exit code and what it said. A state and a socket of its own, unless told otherwise.
    """

    def run(
        line: str = 'exec "$@"',
        *,
        args: Sequence[str] | None = None,
        prefix: Sequence[str] = (),
        drop: Sequence[str] = (),
        **env: str,
    ) -> Ended:
        ready = place / "ready"
        ready.unlink(missing_ok=True)
        own = ["--data", f"{place}/own", "--socket", f"{place}/own.sock"]
        environ = {**clean_environ(place), "NOTIFY_SOCKET": str(ready), **env}
        for name in drop:
            del environ[name]
        where = own if args is None else args
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(ready))
            ready.chmod(0o777)
            systemd.settimeout(0.05)
            process = begin_scuttled(
                *("serve", "--listen", "127.0.0.1:0", *where),
                env=environ,
                prefix=["sh", "-c", line, "sh", *prefix],
            )
            until(lambda: process.poll() is not None or _is_told(systemd), "ready, or the end")
            process.terminate()
            _, said = process.communicate(timeout=PATIENCE_S)
        return process.returncode, said.decode()

    return run


def _is_told(systemd: socket.socket) -> bool:
    try:
        return b"READY=1" in systemd.recv(4096)
    except TimeoutError:
        return False


@pytest.fixture
def stranger(place: Path) -> list[str]:
    """In front of a command: a user without a line in /etc/passwd."""
    if os.getuid() != 0:
        pytest.skip("needs root to become another user")
    prefix = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    done = subprocess.run([*prefix, SCUTTLED, "--version"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this installation can't be read by others")
    return prefix


# --- no home -------------------------------------------------------------------------------------


def test_without_a_home_it_runs_where_it_is_told_to(serve: Serve, stranger: list[str]) -> None:
    code, said = serve(prefix=stranger, drop=["HOME"])
    assert (code, "a bug" in said) == (0, False), said


def test_without_a_home_and_a_place_that_is_what_it_says(
    serve: Serve, stranger: list[str], place: Path
) -> None:
    code, said = serve(prefix=stranger, drop=["HOME"], args=["--socket", f"{place}/c"])
    assert code == 78
    assert "no place for the state: HOME is not set, and this user has no home" in said
    assert "hint: name one with --data DIR" in said
    memory = ["--memory", "--socket", f"{place}/c"]
    assert serve(prefix=stranger, drop=["HOME"], args=memory)[0] == 0
    assert not (place / "~").exists()


@pytest.mark.parametrize("args", [["get", "k"], ["status"], ["config", "paths"]])
def test_commands_of_who_has_no_home_look_where_they_can(
    stranger: list[str], place: Path, args: list[str]
) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": ""}
    done = subprocess.run([*stranger, SCUTTLED, *args], env=environ, capture_output=True, text=True)
    assert done.returncode == (0 if args[0] == "config" else 69)
    assert "~" not in done.stderr + done.stdout
    assert "/run/scuttled/control.sock" in done.stderr + done.stdout


# --- what systemd may hand over ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("3</dev/null", "descriptor 3 (control): Socket operation on non-socket"),
        ("3<&-", "descriptor 3 (control): Bad file descriptor"),
    ],
)
def test_a_descriptor_that_is_no_socket_is_left_alone(serve: Serve, given: str, words: str) -> None:
    line = f'LISTEN_FDS=1 LISTEN_FDNAMES=control LISTEN_PID=$$ exec "$@" {given}'
    code, said = serve(line)
    assert (code, words in said) == (0, True), said
    assert "control  " in said, "it has a socket of its own then"


def test_numbers_that_are_none_are_as_good_as_none(serve: Serve) -> None:
    for number in ("1", "9" * 400, "9" * 5000, "x", "-1"):
        assert serve(WATCHDOG_USEC=number)[0] == 0
        code, said = serve(f'LISTEN_FDS={number} LISTEN_PID=$$ exec "$@"')
        assert (code, "a bug" in said) == (0, False), said


# --- streams that are closed or gone -------------------------------------------------------------


@pytest.mark.parametrize("how", ["2>/dev/full", "<&- >&- 2>&-", "2>&-"])
def test_a_stderr_that_takes_nothing_does_not_end_it(serve: Serve, how: str) -> None:
    assert serve(f'exec "$@" {how}') == (0, "")


def test_nor_does_a_reader_that_is_gone(serve: Serve, place: Path) -> None:
    """As `scuttled serve 2>&1 | head -1`."""
    os.mkfifo(place / "fifo")
    line = 'exec 4<>"$HOME/fifo" 5>"$HOME/fifo" 4<&-; exec "$@" 2>&5 5>&-'
    assert serve(line) == (0, "")


def test_descriptors_that_are_closed_are_not_given_to_a_file_of_the_state(fleet: Fleet) -> None:
    a = fleet.daemon("a", prefix=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    links = [os.readlink(f"/proc/{a.pid}/fd/{number}") for number in range(3)]
    assert links == ["/dev/null"] * 3


def test_messages_for_a_stderr_that_is_closed_are_no_part_of_the_answer(place: Path) -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", SCUTTLED, "get", "k"]
    done = subprocess.run(command, env=clean_environ(place), stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (69, b"")


# --- places --------------------------------------------------------------------------------------


def test_a_link_where_the_socket_belongs_stays_and_leads_to_the_socket(
    serve: Serve, place: Path
) -> None:
    link, target = place / "link", place / "behind" / "c.sock"
    link.symlink_to(target)
    args = ["--data", f"{place}/own", "--socket", str(link)]
    code, said = serve(args=args)
    assert code == 73
    assert f"it is a link to {target}, whose directory is not there" in said
    target.parent.mkdir()
    with Fleet(place) as fleet:
        a = fleet.daemon("a", start=False)
        a.socket, a.args = str(link), [*a.args, "--socket", str(link)]
        a.start()
        assert target.is_socket()
        a.kill9()
        a.start()  # over the one that was left behind
        assert a.stop() == 0
        assert (link.is_symlink(), target.exists()) == (True, False)


def test_a_state_directory_that_can_not_be_one_is_told_as_what_it_is(
    serve: Serve, place: Path
) -> None:
    (place / "file").write_text("")
    (place / "link").symlink_to("/nowhere/at/all")
    for name, words in (
        ("file", "it is not a directory"),
        ("link", "it is a link to /nowhere/at/all, which is not there"),
    ):
        code, said = serve(args=["--data", f"{place}/{name}", "--socket", f"{place}/c"])
        assert (code, words in said, "hint: " in said) == (73, True, True), said


def test_a_working_directory_that_is_gone_matters_to_relative_paths_only(
    serve: Serve, place: Path
) -> None:
    line = 'mkdir "$HOME/gone"; cd "$HOME/gone"; rmdir "$HOME/gone"; exec "$@"'
    assert serve(line)[0] == 0
    code, said = serve(line, args=["--data", "mine", "--socket", f"{place}/c"])
    assert code == 78
    assert "--data: node.data: 'mine' counts from the working directory, which is gone" in said


def test_a_runtime_directory_that_can_not_be_written_to_is_passed_over(
    serve: Serve, stranger: list[str], place: Path
) -> None:
    """By commands, too: they look in both."""
    runtime = place / "run"
    runtime.mkdir(mode=0o500)
    os.chown(runtime, STRANGER, STRANGER)
    args = ["--data", f"{place}/own"]
    code, said = serve(prefix=stranger, args=args, XDG_RUNTIME_DIR=str(runtime))
    assert code == 0
    assert f"control  {place}/.local/state/scuttled/run/control.sock" in said


def test_a_fifo_into_which_nobody_writes_is_no_configuration(serve: Serve, place: Path) -> None:
    os.mkfifo(place / "fifo")
    code, said = serve(args=["--config", f"{place}/fifo"])
    assert (code, "a FIFO into which nobody wrote" in said) == (78, True)


def test_a_fifo_with_a_writer_is_one(serve: Serve, place: Path) -> None:
    os.mkfifo(place / "fifo")
    line = """{ sleep 0.2; printf '[node]\\nname = "piped"\\n'; } >"$HOME/fifo" & exec "$@" """
    own = ["--data", f"{place}/own", "--socket", f"{place}/c"]
    code, said = serve(line, args=[*own, "--config", f"{place}/fifo"])
    assert (code, "node piped" in said) == (0, True), said


def test_a_umask_that_takes_all_rights_does_not_lock_it_out(serve: Serve) -> None:
    """Root may do all: so without its right to pass over modes."""
    prefix = []
    if os.getuid() == 0:
        rights = "-dac_override,-dac_read_search"
        prefix = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    code, said = serve('umask 777; exec "$@"', prefix=prefix)
    assert (code, said.count("state    ")) == (0, 1), said
