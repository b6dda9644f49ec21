"""Real daemons for tests: the installed `scuttled serve`, a process each, on this machine.

    a, b, c = fleet.chain("a", "b", "c")       # a and c know only b
    a.cli("set", "greeting", "hello")
    c.wait("--key", "greeting=hello")

Ports lie below those that the kernel gives to outgoing connections: a daemon that is down keeps
its port, and nobody who dials it can meet himself there. Sockets lie in a directory with a short
name, for 107 bytes are not much; data and logs in the test's own.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from scuttled.client.client import Client
from support.commands import (
    Completed,
    Tail,
    begin_scuttled,
    clean_environ,
    run_on_terminal,
    run_scuttled,
)
from support.waiting import PATIENCE_S, until

_LOG_CHARS_SHOWN = 4000


class Daemon:
    """One `scuttled serve`, and the command line that talks to it."""

    def __init__(
        self,
        fleet: "Fleet",
        name: str,
        peers: Sequence[str],
        args: Sequence[str],
        env: Mapping[str, str],
        prefix: Sequence[str],
    ) -> None:
        self.name = name
        self.address = fleet.address(name)
        self.socket = str(fleet.sockets / f"{name}.sock")
        self.data = fleet.directory / name
        self.log_path = fleet.directory / f"{name}.log"
        self.env = clean_environ(fleet.directory, SCUTTLED_SOCKET=self.socket)
        self.prefix = list(prefix)
        """In front of the command, for the next start."""
        self.serve_env = {**clean_environ(fleet.directory), **env}
        """The environment of the daemon, for the next start."""
        self.args = ["serve", "--name", name, "--listen", self.address, "--data", str(self.data)]
        self.args += ["--socket", self.socket]
        self.args += ["--peers", ",".join(fleet.address(peer) for peer in peers)] if peers else []
        self.args += args
        self.process: subprocess.Popen[bytes] | None = None

    # -- its life

    def start(self, *, wait: bool = True) -> "Daemon":
        """Starts it, always with the same command. `wait`: until it answers."""
        assert self.process is None, f"{self.name} is running"
        with self.log_path.open("ab") as log:
            self.process = begin_scuttled(
                *self.args,
                env=self.serve_env,
                prefix=self.prefix,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            until(self._answers, f"{self.name} to come up")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        code = self.process.poll()
        assert code is None, f"{self.name} ended with {code}: {self.log()[-_LOG_CHARS_SHOWN:]}"
        try:
            with self.client() as client:
                client.hello()
        except Exception:
            return False
        return True

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} is not running"
        return self.process.pid

    def kill9(self) -> None:
        """As the kernel does when memory is short: nothing is said, nothing is saved."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As systemd does; gives the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process = self.process
        assert process is not None, f"{self.name} is not running"
        process.send_signal(number)
        code = process.wait(PATIENCE_S)
        self.process = None
        return code

    def ended(self) -> int:
        """The exit code of a daemon that stops by itself."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def restart(self, *, wait: bool = True) -> "Daemon":
        """With the same command; stops it first if it runs."""
        if self.process is not None:
            self.stop()
        return self.start(wait=wait)

    def pause(self) -> None:
        """Alive, but silent: what a swapping or suspended machine looks like."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def rss(self) -> int:
        """Bytes of memory in use."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(kib) * 1024

    def log(self) -> str:
        """All it has written to stdout and stderr, over all its runs."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def close(self) -> None:
        """The end, whatever state it is in."""
        process, self.process = self.process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session: only what it started
            process.wait(PATIENCE_S)

    # -- talking to it

    def cli(
        self,
        *args: str,
        stdin: bytes | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> Completed:
        """Runs a command against it."""
        environ = {**self.env, **(env or {})}
        return run_scuttled(*args, env=environ, stdin=stdin, check=check, prefix=prefix, cwd=cwd)

    def text(self, *args: str, stdin: bytes | None = None) -> str:
        """The answer of a command."""
        return self.cli(*args, stdin=stdin).stdout.decode("utf-8", "surrogateescape")

    def json(self, *args: str) -> list[dict[str, Any]]:
        """The answer of a command with -j: one object a line."""
        return [json.loads(line) for line in self.cli("-j", *args).stdout.splitlines()]

    def wait(self, *conditions: str, timeout_s: float = PATIENCE_S) -> None:
        """`scuttled wait --peers 2 --synced ...`"""
        self.cli("wait", *conditions, "--timeout", f"{timeout_s:g}s")

    def begin(self, *args: str, **popen: Any) -> subprocess.Popen[bytes]:
        """Starts a command against it that goes on: `watch`."""
        return begin_scuttled(*args, env=self.env, **popen)

    def tail(self, *args: str) -> "Tail":
        """`scuttled watch ...`, whose lines are read as they come. Use it with `with`."""
        return Tail(self.begin(*args))

    def on_terminal(
        self, *args: str, typed: bytes = b"", env: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """(exit code, screen) of a command whose three streams are a terminal of 100 columns."""
        environ = {**self.env, "TERM": "xterm", **(env or {})}
        return run_on_terminal(*args, env=environ, typed=typed)

    def client(self, timeout_s: float | None = 10.0) -> Client:
        """A connection to it, for what would be too slow as commands. Use it with `with`."""
        return Client.connect([self.socket], timeout_s)

    def ask(self, op: str, **fields: object) -> dict[str, Any]:
        """One request of docs/control.md on a connection of its own."""
        with self.client() as client:
            return client.request(op, **fields)

    # -- what it holds

    def state(self, model: str = "default") -> dict[str, tuple[str, bytes, str]]:
        """key -> (kind, value, rev), but for deleted keys."""
        rows = {}
        with self.client() as client:
            for part in client.stream("list", model=model, values=True):
                rows.update({key: (kind, value, rev) for key, kind, value, rev, *_ in part})
        return {key: row for key, row in rows.items() if row[0] != "deleted"}

    def clock(self, model: str = "default") -> dict[str, int]:
        """source -> timestamp: what it claims to have."""
        clock: dict[str, int] = self.ask("model_info", model=model)["clock"]
        return clock

    def peers(self) -> dict[str, dict[str, Any]]:
        """Its rows of `peers`, by name or, where that is not known, by address."""
        return {row["name"] or row["address"]: row for row in self.ask("peers")["peers"]}


class Fleet:
    """Daemons that can name each other. `with` ends them all, however it ends."""

    def __init__(self, directory: Path, *, last_words: bool = True) -> None:
        self.directory = directory
        self._last_words = last_words
        self.sockets = Path(tempfile.mkdtemp(prefix="scuttled-"))
        self.daemons: dict[str, Daemon] = {}
        self._ports: dict[str, int] = {}

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all, and prints their last words, which pytest shows if the test failed."""
        for daemon in self.daemons.values():
            daemon.close()
        for daemon in self.daemons.values() if self._last_words else ():
            print(f"--- {daemon.name}: {daemon.log_path}\n{daemon.log()[-_LOG_CHARS_SHOWN:]}")
        shutil.rmtree(self.sockets, ignore_errors=True)

    def address(self, name: str) -> str:
        """Address on which the daemon of this name listens, now or later."""
        if name not in self._ports:
            port = _free_port()
            while port in self._ports.values():
                port = _free_port()
            self._ports[name] = port
        return f"127.0.0.1:{self._ports[name]}"

    def daemon(
        self,
        name: str = "a",
        *,
        peers: Sequence[str] = (),
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        start: bool = True,
    ) -> Daemon:
        """A new daemon, up and answering unless `start` is false. `peers` are names."""
        assert name not in self.daemons, f"{name} is there already: restart() it"
        daemon = Daemon(self, name, peers, args, env or {}, prefix)
        self.daemons[name] = daemon
        return daemon.start() if start else daemon

    def chain(self, *names: str, env: Mapping[str, str] | None = None) -> list[Daemon]:
        """A line: each dials the one before it; all links are up."""
        befores: list[list[str]] = [[], *([name] for name in names)]
        return self.linked(dict(zip(names, befores, strict=False)), env=env)

    def mesh(self, *names: str, env: Mapping[str, str] | None = None) -> list[Daemon]:
        """Everybody is linked with everybody."""
        return self.linked({name: [n for n in names if n != name] for name in names}, env=env)

    def linked(
        self, wiring: Mapping[str, Sequence[str]], *, env: Mapping[str, str] | None = None
    ) -> list[Daemon]:
        """Daemons by name, each with the names of those it dials; all up, and all links up.

        A name that is dialled and is no daemon is a peer that is not there.
        """
        daemons = [
            self.daemon(name, peers=peers, env=env, start=False) for name, peers in wiring.items()
        ]
        for daemon in daemons:
            daemon.start(wait=False)
        for daemon in daemons:
            until(daemon._answers, f"{daemon.name} to come up")
        pairs = {
            frozenset((name, peer)) for name in wiring for peer in wiring[name] if peer in wiring
        }
        for daemon in daemons:
            daemon.wait("--peers", str(sum(daemon.name in pair for pair in pairs)))
        return daemons


def _free_port() -> int:
    """One on which nobody listens, and which no outgoing connection will get."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(1000):
        port = random.randint(10_000, max(lowest - 1, 10_001))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")
