"""The figures that the project watches, as ratios in one run: `python tests/bench/figures.py`.

Real daemons, real sockets, this machine; machines are noisy, so only the ratios are worth
keeping. Nothing here is a test. Name the measures you want: latency catchup memory wire get.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

sys.path[:0] = [str(Path(__file__).parents[1])]

from support.commands import SCUTTLED  # noqa: E402
from support.control_caller import RawCaller, request  # noqa: E402 - a script, from where it lies
from support.fleet import Daemon, Fleet  # noqa: E402
from support.waiting import until  # noqa: E402

PINGS = 2000
LONG_S = 300.0  # until it gives up
POLL_S = 0.002


def key(i: int) -> str:
    """20 bytes."""
    return f"key:{i:016d}"


def value(i: int) -> str:
    """32 bytes that do not compress to nothing."""
    return f"{(i + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


class Node:
    """A daemon of our own, and a connection to it that stays."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.client = daemon.client(timeout_s=None)

    def join(self, other: "Node") -> None:
        self.client.request("join", addresses=[other.daemon.address])

    def keys(self) -> int:
        return int(self.client.request("model_info", model="default")["keys"])

    def holds(self, n: int) -> None:
        """Wait until it has so many keys."""
        until(lambda: self.keys() >= n, f"{n} keys", LONG_S, POLL_S)

    def has_saved(self) -> None:
        """Wait until all it holds is on disk."""
        until(lambda: self.status()["storage"]["unsaved"] == 0, "storage", LONG_S, POLL_S)

    def status(self) -> dict[str, Any]:
        return self.client.request("status")

    def fill(self, n: int) -> None:
        for _ in self.client.pipeline(loads(n)):
            pass


def loads(n: int) -> Iterator[tuple[str, dict[str, object]]]:
    for first in range(0, n, 500):
        pairs = [x for i in range(first, min(first + 500, n)) for x in (key(i), value(i))]
        yield "load", {"model": "default", "kind": "text", "pairs": pairs}


@contextmanager
def nodes(*names: str, env: Mapping[str, str] | None = None) -> Iterator[list[Node]]:
    with tempfile.TemporaryDirectory() as home, Fleet(Path(home), last_words=False) as fleet:
        yield [Node(fleet.daemon(name, env=env)) for name in names]


def figure(what: str, seen: str, ratio: float, aim: str) -> None:
    print(f"{what:44} {seen:>24}   ratio {ratio:6.2f}   (aim {aim})", flush=True)


# --- latency: a set on A until a watcher on B has its row, against a bare relay of trio ---


async def _relay(listener: trio.SocketListener, onward: socket.socket) -> None:
    incoming = await listener.accept()
    outgoing = trio.SocketStream(trio.socket.from_stdlib_socket(onward))
    while data := await incoming.receive_some():
        await outgoing.send_all(data)


def _relay_process(listener: socket.socket, onward: tuple[str, int]) -> int:
    """A child that passes on what it hears."""
    pid = os.fork()
    if pid == 0:
        sock = socket.create_connection(onward)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        async def run() -> None:
            wrapped = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            await _relay(wrapped, sock)

        trio.run(run)
        os._exit(0)
    return pid


def bare_relay() -> list[float]:
    """client, trio A, TCP, trio B, client: seconds a message."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ends = [s.getsockname() for s in sockets]
    pids = [_relay_process(sockets[1], ends[0])]
    pids.append(_relay_process(sockets[2], ends[1]))
    with socket.create_connection(ends[2]) as out:
        out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back, _ = sockets[0].accept()
        took = []
        for _ in range(PINGS):
            began = time.perf_counter()
            out.sendall(b"x" * 120)
            back.recv(65536)
            took.append(time.perf_counter() - began)
    for s in (back, *sockets):
        s.close()
    for pid in pids:
        os.waitpid(pid, 0)
    return took


def ours() -> list[float]:
    """As bare as the relay: frames packed beforehand, rows known by the key in them."""
    with nodes("a", "b") as (a, b):
        b.join(a)
        until(lambda: b.status()["peers_up"], "the link")
        writer, watcher = bare(a), bare(b)
        watcher.sendall(request(1, "watch", model="default"))
        while b"live" not in watcher.recv(65536):
            pass
        took = []
        for i in range(PINGS):
            pair = {"key": key(i), "kind": "text", "value": value(i)}
            frame = request(i, "set", model="default", **pair)
            wanted = key(i).encode()
            began = time.perf_counter()
            writer.sendall(frame)
            while wanted not in watcher.recv(65536):
                pass
            took.append(time.perf_counter() - began)
            writer.recv(65536)
        return took


def bare(node: Node) -> socket.socket:
    """A connection that has said hello, and costs no more calls than the relay's."""
    sock = RawCaller(node.daemon.socket).sock
    sock.settimeout(None)
    return sock


def latency() -> None:
    cores = os.sched_getaffinity(0)
    for label, those in (("one core", {min(cores)}), ("all cores", cores)):
        os.sched_setaffinity(0, those)
        bare, mine = statistics.median(bare_relay()), statistics.median(ours())
        seen = f"{mine * 1e6:.0f} us / {bare * 1e6:.0f} us"
        figure(f"set on A to watcher on B, {label}", seen, mine / bare, "< 2.5")
    os.sched_setaffinity(0, cores)


# --- bulk ---


def catchup(n: int = 100_000) -> None:
    rates = []
    for _ in range(3):
        with nodes("a", "b") as (a, b):
            a.fill(n)
            was = b.status()["bytes_in"]
            began = time.perf_counter()
            b.join(a)
            b.holds(n)
            rates.append(n / (time.perf_counter() - began))
            wire = (b.status()["bytes_in"] - was) / n
    rate = statistics.median(rates)
    figure(f"catch-up of {n:,} keys", f"{rate:,.0f} updates/s", rate / 300_000, "300,000/s")
    figure("bytes on the wire per update", f"{wire:.1f} B", wire / 52, "70 B; payload is 52")


def memory() -> None:
    for n in (100_000, 1_000_000):
        with nodes("a", "b") as (a, b):
            empty = a.daemon.rss(), b.daemon.rss()
            a.fill(n)
            b.join(a)
            b.holds(n)
            b.has_saved()
            each = [(x.daemon.rss() - e) / n for x, e in zip((a, b), empty, strict=True)]
            seen = f"A {each[0]:.0f} B, B {each[1]:.0f} B"
            figure(f"resident bytes per key at {n:,}", seen, max(each) / 300, "300 B")


# --- the command ---


def get(times: int = 25) -> None:
    with nodes("a") as (a,):
        a.client.request("set", model="default", key="k", kind="text", value=b"v")
        commands = {
            "get": [SCUTTLED, "--socket", a.daemon.socket, "get", "k"],
            "import": [sys.executable, "-c", "import click, msgpack"],
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(times):
            for name, argv in commands.items():
                began = time.perf_counter()
                subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
                took[name].append(time.perf_counter() - began)
    mine, bare = statistics.median(took["get"]), statistics.median(took["import"])
    seen = f"{mine * 1e3:.1f} ms / {bare * 1e3:.1f} ms"
    figure("scuttled get / import click, msgpack", seen, mine / bare, "<= 1.3")


MEASURES = {"latency": latency, "catchup": catchup, "memory": memory, "get": get}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=" ".join(MEASURES))
    for name in parser.parse_args().names or MEASURES:
        MEASURES[name]()
