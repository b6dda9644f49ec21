"""Three nodes on this machine, as real processes.

    a --- b --- c      each knows its neighbours only

All they have lies in one temporary directory, state, sockets and logs, and they have no
configuration file: nothing of the user's daemon is read or touched. A watch on each node tells
what it holds, row by row; times are taken when a row comes.

Nodes are only ever ended by SIGKILL, in the story and after it: that is what the demo is about,
it can't hang, and they have no state that outlives the directory.
"""

import hashlib
import os
import random
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from scuttled.client.client import SOCKET_PATH_BYTES_MAX, Client, Fields, Stream
from scuttled.client.rows import ChangeRow, KeyRow
from scuttled.demo.signal_shield import SignalShield
from scuttled.errors import CantCreate, TimedOut, Unavailable

NEIGHBOURS = {"a": "b", "b": "ac", "c": "b"}
START_S = 20.0  # for a process to answer; far more than it takes, for machines that are busy
IDLE_S = 10.0  # nodes that differ and do not change for so long will not converge

_RETRY_S = 0.01  # between looks at whether a process answers yet
_PAIRS_PER_LOAD = 50  # few, so that there is something to look at between the answers

# Below the ports that Linux gives to outgoing connections: while b is dead, nobody takes its place.
_PORTS = range(20_000, 32_000)

# What would tell a node of a place, a setting or a supervisor that is not the demo's.
_STRANGE: tuple[str, ...] = ("SCUTTLED_", "_SCUTTLED_", "LISTEN_", "WATCHDOG_", "NOTIFY_SOCKET")
_STRANGE += ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CONFIGURATION_DIRECTORY")

Held = tuple[str, bytes, str]  # kind, value, rev
State = dict[str, Held]  # by key


class DemoNode:
    """One daemon: its command, its process while it lives, and what it holds."""

    def __init__(self, name: str, home: Path, command: list[str], signals: SignalShield) -> None:
        self.name = name
        self.command = command
        self.socket = str(home / f"{name}.sock")
        self.held: State = {}
        """What it was seen to hold; nothing while it is dead."""
        self.changed_at = 0.0
        """When that last changed (time.monotonic)."""
        self.client: Client | None = None
        self._log = home / f"{name}.log"
        self._signals = signals
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: Stream | None = None

    def launch(self) -> None:
        """Starts the process, in a session of its own: a ^C in the terminal is ours to handle."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith(_STRANGE)}
        with self._signals.shielded(), self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and package)
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
                start_new_session=True,
            )

    def answers(self, model: str) -> bool:
        """True once it does; from then on `model` is watched.

        Raises Unavailable if the process ended.
        """
        assert self._process is not None
        if self._process.poll() is not None:
            said = self._log.read_text(errors="replace").splitlines()
            words = [line.removeprefix("scuttled: ") for line in said if line[:5] != "hint:"]
            why = words[-1] if words else "it said nothing"
            code = self._process.returncode
            raise Unavailable(f"node {self.name} ended with exit code {code}: {why}")
        try:
            client = Client.connect([self.socket])
            client.hello()
        except (Unavailable, TimedOut):
            return False
        self.client = client
        self._watch = client.stream("watch", live=True, model=model, snapshot=True)
        return True

    def kill(self) -> int:
        """Ends the process with SIGKILL and waits until it is gone. Its pid, 0 if it had none."""
        if self.client is not None:
            self.client.close()
        self.client = None
        self._watch = None
        self.held = {}
        process = self._process
        if process is None:
            return 0
        process.kill()
        process.wait()
        self._process = None  # not before: who is interrupted here kills again, at the end
        return process.pid

    def look(self) -> None:
        """Takes the rows that have come. Raises Unavailable if it died."""
        if self._watch is None:
            return
        while (rows := self._watch.poll()) or self._watch.buffered():
            changed = False
            for row in map(ChangeRow.of, rows):
                if row.op == "set":
                    self.held[row.key] = (str(row.kind), row.value or b"", row.rev)
                    changed = True
                elif row.op in ("del", "expire"):
                    self.held.pop(row.key, None)
                    changed = True
            if changed:
                self.changed_at = time.monotonic()

    def ask(self, op: str, **fields: Any) -> Fields:
        """One request."""
        assert self.client is not None, f"{self.name} is dead"
        return self.client.request(op, **fields)

    def listing(self, model: str) -> State:
        """All it holds, asked anew: not what was seen in passing."""
        assert self.client is not None, f"{self.name} is dead"
        found: State = {}
        for rows in self.client.stream("list", model=model, values=True):
            for row in map(KeyRow.of, rows):
                found[row.key] = (row.kind, row.value or b"", row.rev)
        return found


class Nodes:
    """The three of them, in their directory, which goes with them at the end of the `with`."""

    def __init__(self, model: str, signals: SignalShield) -> None:
        self.model = model
        self.idle_s = IDLE_S
        ports = dict(zip(NEIGHBOURS, free_ports(len(NEIGHBOURS)), strict=True))
        self.home = _make_home()  # last of what can fail, for no `with` has begun yet
        self.all = [
            DemoNode(name, self.home, _command(name, self.home, ports), signals) for name in ports
        ]

    def __enter__(self) -> "Nodes":
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.all:
            node.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def living(self) -> list[DemoNode]:
        return [node for node in self.all if node.client is not None]

    def start(self, nodes: Iterable[DemoNode]) -> None:
        """Returns when all of these answer. Raises Unavailable, TimedOut."""
        waiting = list(nodes)
        for node in waiting:
            node.launch()
        until = time.monotonic() + START_S
        while waiting := [node for node in waiting if not node.answers(self.model)]:
            if time.monotonic() > until:
                names = " and ".join(node.name for node in waiting)
                raise TimedOut(f"node {names} did not answer in {START_S:g} s")
            self._poller().poll(_RETRY_S * 1000)
            self.look()

    def load(self, node: DemoNode, entries: Mapping[str, bytes], each: Callable[[], None]) -> None:
        """Writes all of it at one node, in a pipeline. `each` is called between the answers."""
        assert node.client is not None, f"{node.name} is dead"
        flat = [part for entry in entries.items() for part in entry]
        size = 2 * _PAIRS_PER_LOAD
        loads = [
            ("load", {"model": self.model, "kind": "text", "pairs": flat[at : at + size]})
            for at in range(0, len(flat), size)
        ]
        for _ in node.client.pipeline(loads):
            self.look()
            each()

    def look(self) -> None:
        """Takes what the watches have told by now."""
        for node in self.living:
            node.look()

    def follow(self, done: Callable[[], bool], each: Callable[[], None]) -> bool:
        """Takes rows as they come, until `done`. False if it is not, and nothing moves any more."""
        poller = self._poller()
        self.look()
        while not done():
            if not poller.poll(self.idle_s * 1000):
                return False
            self.look()
            each()
        return True

    def _poller(self) -> "select.poll":
        poller = select.poll()
        for node in self.all:
            if node.client is not None:
                poller.register(node.client, select.POLLIN)
        return poller

    def agree(self) -> bool:
        """True if all that live were seen to hold the same."""
        first, *others = (node.held for node in self.living)
        return all(len(other) == len(first) for other in others) and all(
            other == first for other in others
        )

    def common(self) -> int:
        """Number of keys that are the same, value and revision too, on all that live."""
        first, *others = (node.held.items() for node in self.living)
        return sum(all(entry in other for other in others) for entry in first)


def _make_home() -> Path:
    """A directory only we can enter, whose sockets have paths that the kernel takes."""
    longest = SOCKET_PATH_BYTES_MAX - len("/scuttled-demo-12345678/a.sock")
    where = tempfile.gettempdir()
    try:
        fits = len(os.fsencode(where)) <= longest
        return Path(tempfile.mkdtemp(prefix="scuttled-demo-", dir=where if fits else "/tmp"))  # noqa: S108
    except OSError as error:
        raise CantCreate(f"no directory for the nodes: {error}") from None


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens now."""
    found: list[int] = []
    for port in random.sample(_PORTS, 1000):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise CantCreate(f"no free port on 127.0.0.1 from {_PORTS[0]} to {_PORTS[-1]}")


def _command(name: str, home: Path, ports: Mapping[str, int]) -> list[str]:
    # Unless the package itself lies in the working directory, that is not searched for modules:
    # a user's random.py there is not ours.
    here = bool(sys.path) and sys.path[0] in ("", os.getcwd())
    address = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    options = {
        "name": name,
        "listen": address[name],
        "peers": ",".join(address[other] for other in NEIGHBOURS[name]),
        "data": home / name,
        "socket": home / f"{name}.sock",
        "config": os.devnull,
        "cluster": home.name,  # as new as the directory: no other demo's nodes can be linked
    }
    flags = [word for flag, value in options.items() for word in (f"--{flag}", str(value))]
    return [sys.executable, *([] if here else ["-P"]), "-m", "scuttled", "serve", *flags]


def digest(state: State) -> str:
    """Twelve hexadecimal digits for all keys, kinds, values and revisions."""
    whole = hashlib.sha256()
    for key in sorted(state):
        whole.update(repr((key, *state[key])).encode("utf-8", "surrogateescape"))
    return whole.hexdigest()[:12]


def differing(one: State, other: State) -> list[str]:
    """The keys that are not the same in both."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
