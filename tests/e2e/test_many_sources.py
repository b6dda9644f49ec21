"""More sources than a clock can have: a model stops to grow, and nothing else does."""

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from support.fleet import Daemon, Fleet
from support.waiting import until

from scuttled.replica.sources import BRIDGED_SOURCES_MAX, SOURCES_MAX
from scuttled.storage.schema import time_crc


def npm_peers(address: str, ids: Iterator[str], time_ms: int) -> None:
    """One client that is somebody new with each update, as an npm page is at each load."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b'{"id":"page","clock":{}}\n')
        for name in ids:
            line = json.dumps([[f"k/{name}", 1], time_ms, name]) + "\n"
            sock.sendall(line.encode())
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


def problems(daemon: Daemon) -> list[str]:
    return [str(words) for words in daemon.json("status")[0]["problems"]]


def test_however_many_ids_npm_peers_draw_every_link_and_every_model_goes_on(fleet: Fleet) -> None:
    npm = fleet.address("npm")
    a = fleet.daemon("a", args=["--npm", f"{npm}=default"])
    b = fleet.daemon("b", peers=["a"])
    b.wait("--peers", "1")
    for start in (0, 10_010):  # two connections
        ids = (f"id{n}" for n in range(start, start + 10_010))
        npm_peers(npm, ids, 1_700_000_000_000)
    assert len(a.clock()) <= BRIDGED_SOURCES_MAX
    a.cli("-m", "other", "set", "k", "v")
    b.wait("--key", "k=v", "-m", "other")
    a.cli("set", "k", "v")
    b.wait("--key", "k=v")
    until(lambda: a.clock() == b.clock(), "both to have the same")
    for daemon in (a, b):
        assert any("npm peers with new ids are left out" in words for words in problems(daemon))
    assert a.cli("status", "--check", check=False).returncode == 1
    assert "closed after" not in a.log() + b.log()
    assert "left out: model 'default' has 15,000 sources, so there can be no new one" in a.log()


def crowd(data: Path, count: int) -> None:
    """As a version that did not look may have left it."""
    with closing(sqlite3.connect(data / "scuttled.db")) as db, db:
        (model,) = db.execute("SELECT id FROM models WHERE name = 'default'").fetchone()
        for n in range(count):
            source = b"old" + n.to_bytes(5, "big") + bytes(4)
            at = db.execute("INSERT INTO sources(source) VALUES (?)", (source,)).lastrowid
            crc = time_crc(1, source, "default")
            db.execute("INSERT INTO clocks VALUES (?, ?, 1, ?)", (model, at, crc))


def test_a_database_with_too_many_sources_takes_down_no_link_and_no_other_model(
    fleet: Fleet,
) -> None:
    """Nor may its rows be larger than a peer takes: 40,000 would be."""
    a, b = fleet.mesh("a", "b")
    a.cli("set", "k", "v")
    b.wait("--key", "k=v")
    a.kill9()  # a clean stop counts the rows
    crowd(a.data, 2 * SOURCES_MAX)
    a.start()
    a.wait("--peers", "1")
    assert a.text("get", "k") == "v"
    a.cli("set", "k", "still written here")
    a.cli("-m", "other", "set", "k", "v")
    b.wait("--key", "k=v", "-m", "other")
    b.cli("-m", "other", "set", "back", "v")
    a.wait("--key", "back=v", "-m", "other")
    words = "model 'default', at most 20000"
    for daemon, peer in ((a, "b"), (b, "a")):
        assert any(words in said and f"with {peer}" in said for said in problems(daemon))
    assert any("it is exchanged with no peer" in said for said in problems(a))
    a.cli("export", str(fleet.directory / "f"))
    a.cli("-m", "moved", "import", str(fleet.directory / "f"))
    b.wait("--key", "k=still written here", "-m", "moved")
    for daemon in (a, b):
        closed = [line for line in daemon.log().splitlines() if "closed after" in line]
        assert not [line for line in closed if "sources" in line or "bug" in line], closed
