"""A million keys: how long a daemon takes to start, and how long its loop ever stands still.

    python tests/bench/pauses.py [KEYS]

A prober asks a daemon for one key all the time; the longest answer, less the usual one, is the
longest pause of its loop (on a machine with little else to do: an upper bound). Nothing here is
a test.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from figures import LONG_S, Node, key, nodes, value  # which finds tests/support
from support.waiting import until

AIM_MS = 50


@contextmanager
def probed(what: str, *probed_nodes: Node) -> Iterator[None]:
    """Tell the longest answer of each node meanwhile, and the usual one."""
    over = threading.Event()
    took: dict[str, list[float]] = {node.daemon.name: [] for node in probed_nodes}

    def probe(node: Node) -> None:
        client = node.daemon.client(timeout_s=None)
        while not over.is_set():
            began = time.perf_counter()
            client.request("get", model="probe", key="k")
            took[node.daemon.name].append(time.perf_counter() - began)
            time.sleep(0.0005)

    for node in probed_nodes:
        node.client.request("set", model="probe", key="k", kind="text", value=b"v")
    threads = [threading.Thread(target=probe, args=(node,)) for node in probed_nodes]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    yield
    all_s = time.perf_counter() - began
    over.set()
    for thread in threads:
        thread.join()
    for name, seen in took.items():
        seen.sort()
        longest, usual = seen[-1] * 1000, seen[len(seen) // 2] * 1000
        print(
            f"{what:34} {all_s:7.2f} s   {name}: longest answer {longest:7.1f} ms, "
            f"usual {usual:5.2f} ms   (aim {AIM_MS} ms)",
            flush=True,
        )


def run(n: int) -> None:
    env = {"SCUTTLED_KEEP_DELETED": "100ms", "SCUTTLED_FORGET_AFTER": "5s"}
    with nodes("a", "b", "c", env=env) as (a, b, c):
        measure(n, a, b, c)


def left(node: Node) -> None:
    """It goes, and has told the others."""
    node.client.request("leave")
    node.daemon.ended()


def back(node: Node) -> Node:
    return Node(node.daemon.start())


def measure(n: int, a: Node, b: Node, c: Node) -> None:
    a.fill(n)
    a.has_saved()
    left(a)
    began = time.perf_counter()
    a = back(a)
    print(f"start with {n:,} keys {time.perf_counter() - began:.2f} s")
    print(f"database {a.status()['storage']['bytes'] / n:.1f} bytes a key")
    with probed("at rest", a):
        time.sleep(2)
    with probed("catching up", a, b):
        b.join(a)
        b.holds(n)
    c.join(a)
    c.holds(n)
    a.client.request("wait", synced=True, wait_s=60)
    for round_ in ("first", "second"):
        with probed(f"verify, {round_} time", a, b):
            found = a.client.request("verify", wait_s=120, wait_ms=60_000)["findings"]
        assert {finding["state"] for finding in found} <= {"same", "behind"}, found
    with probed("writes, checkpoints", a):
        for _ in a.client.pipeline(small_loads(n)):
            pass
    c.client.request("wait", synced=True, wait_s=60)
    left(c)
    time.sleep(6)  # until it is forgotten
    a.client.request("del", model="default", keys=[key(0)])
    until(lambda: a.status()["deleted"]["count"] == 0, "the deletion to be forgotten", LONG_S)
    c = back(c)
    c.client.request("set", model="default", key="mine", kind="text", value=b"v")
    with probed("reset", a, c):
        c.join(a)
        until(lambda: c.status()["resets"], "the reset", LONG_S)
        c.has_saved()
        time.sleep(0.5)
    print(c.status()["resets"][0]["words"])


def small_loads(n: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Twenty keys at a time, all over the model."""
    for first in range(0, 400_000, 20):
        those = [(first + i) * 7919 % n for i in range(20)]
        pairs = [x for i in those for x in (key(i), value(i + first))]
        yield "load", {"model": "default", "kind": "text", "pairs": pairs}


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
