"""The installed `scuttled` as users run it: to its end, in the background, or on a terminal."""

import os
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.waiting import PATIENCE_S

SCUTTLED = str(Path(sys.executable).with_name("scuttled"))
CALL_S = 90.0  # for one command; a test that hangs must end with a word about where

Completed = subprocess.CompletedProcess[bytes]


def clean_environ(home: Path, **more: str) -> dict[str, str]:
    """Environment in which no daemon, no configuration and no terminal is found by chance."""
    kept = ("LD_LIBRARY_PATH", "COVERAGE_PROCESS_START", "PYTHONPATH", "VIRTUAL_ENV")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    environ["PATH"] = f"{Path(SCUTTLED).parent}:{os.environ['PATH']}"  # for scripts
    return {**environ, "HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}


def run_scuttled(
    *args: str,
    env: Mapping[str, str],
    stdin: bytes | None = None,
    check: bool = True,
    prefix: Sequence[str] = (),
    cwd: Path | None = None,
) -> Completed:
    """One command to its end. `check`: anything but exit 0 fails the test, with what it said."""
    done = subprocess.run(
        [*prefix, SCUTTLED, *args],
        input=b"" if stdin is None else stdin,
        capture_output=True,
        env=env,
        timeout=CALL_S,
        check=False,
        cwd=cwd,
    )
    if check and done.returncode:
        words = done.stderr.decode(errors="replace")
        raise AssertionError(f"scuttled {' '.join(args)} exited {done.returncode}: {words}")
    return done


def begin_scuttled(
    *args: str, env: Mapping[str, str], prefix: Sequence[str] = (), **popen: Any
) -> subprocess.Popen[bytes]:
    """A command that goes on. Its caller ends it; `with` closes its pipes."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*prefix, SCUTTLED, *args], env=env, **{**pipes, **popen})


def run_on_terminal(
    *args: str, env: Mapping[str, str], typed: bytes = b"", columns: int = 100
) -> tuple[int, str]:
    """(exit code, screen) of a command whose three streams are a terminal.

    What is typed is echoed, as terminals do.
    """
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (40, columns))
    process = subprocess.Popen(
        [SCUTTLED, *args], stdin=follower, stdout=follower, stderr=follower, env=env
    )
    os.close(follower)
    os.write(leader, typed)
    screen = b""
    with suppress(OSError):  # EIO: the last one who had the terminal open is gone
        while data := os.read(leader, 1 << 16):
            screen += data
    os.close(leader)
    return process.wait(PATIENCE_S), screen.decode().replace("\r\n", "\n")


class Tail:
    """A command that goes on, and its lines, one by one, in the moment they are written."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._rest = b""

    def __enter__(self) -> "Tail":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self, timeout_s: float = PATIENCE_S) -> str:
        """The next line, without its newline; "" at the end. Waits for it."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            assert ready, f"no line within {timeout_s:g} s, only {self._rest!r}"
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return ""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "surrogateescape")

    def lines(self, number: int) -> list[str]:
        """The next ones."""
        return [self.line() for _ in range(number)]

    def end(self, number: int) -> list[str]:
        """Sends a signal, awaits the end, and gives the lines that nobody has read yet."""
        self.process.send_signal(number)
        return self.rest()

    def rest(self) -> list[str]:
        """All lines up to the end, which comes by itself. Whole ones: a cut one is a failure."""
        assert self.process.stdout is not None
        data = self._rest
        self._rest = b""
        while True:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
            assert ready, f"neither a line nor the end within {PATIENCE_S:g} s"
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                break
            data += piece
        self.process.wait(PATIENCE_S)
        assert not data or data.endswith(b"\n"), f"a line was cut: {data[-100:]!r}"
        return data.decode("utf-8", "surrogateescape").splitlines()

    def said(self) -> str:
        """stderr, once it is over."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()
