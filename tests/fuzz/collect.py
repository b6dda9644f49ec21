"""Makes the corpus anew, from what real daemons and real commands say to each other.

    python tests/fuzz/collect.py            takes some ten seconds, writes tests/fuzz/corpus

Daemons of this checkout are started on this machine, with a recorder between them, between
commands and a daemon, and before its npm door. What once failed (`found-*`) is left alone. Look at
`git diff --stat` before you commit: files are to stay small.
"""

import socket
import sys
import tempfile
import threading
import time
import zlib
from contextlib import closing
from pathlib import Path

import msgpack

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from support.commands import run_scuttled  # noqa: E402
from support.fleet import Daemon, Fleet  # noqa: E402 - a script, from where it lies
from support.waiting import until  # noqa: E402 - a script, from where it lies

CORPUS = HERE / "corpus"
KEPT = "found-*"
IDLE_S = 3.5  # until a link pings


class Recorder:
    """Hands bytes on between a listener of its own and another one, and keeps them."""

    def __init__(self, listener: socket.socket, target: str | tuple[str, int]) -> None:
        self.listener = listener
        self.target = target
        self.said: list[list[bytearray]] = []  # of each connection, both ways
        listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            here, _ = self.listener.accept()
            there = socket.socket(self.listener.family)
            try:
                there.connect(self.target)
            except OSError:
                here.close()
                continue
            both = [bytearray(), bytearray()]
            self.said.append(both)
            for ends, kept in (((here, there), both[0]), ((there, here), both[1])):
                threading.Thread(target=self._pump, args=(*ends, kept), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        try:
            while data := source.recv(1 << 16):
                kept += data
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def tcp(address: str) -> tuple[Recorder, str]:
    """A recorder before a daemon, and where it listens."""
    host, _, port = address.rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    return Recorder(listener, (host, int(port))), f"127.0.0.1:{listener.getsockname()[1]}"


def keep(door: str, name: str, data: bytes) -> None:
    folder = CORPUS / door
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def keep_link(name: str, recorder: Recorder) -> None:
    """Both sides of its longest conversation."""
    dialler, listener = max(recorder.said, key=lambda both: sum(map(len, both)))
    keep("link", f"{name}-dialler", bytes(dialler))
    keep("link", f"{name}-listener", bytes(listener))


# --- what users do -------------------------------------------------------------------------------


def fill(daemon: Daemon, who: str) -> None:
    """Something in a model of each type."""
    daemon.cli("set", f"svc/{who}", "10.0.0.1:80")
    daemon.cli("set", f"short/{who}", "gone soon", "--ttl", "1h")
    daemon.cli("set", "both", who)
    daemon.cli("set", f"json/{who}", "--json-value", '{"a":[1,2.5,null,"é"]}')
    daemon.cli("set", f"old/{who}", "x")
    daemon.cli("del", f"old/{who}")
    for model, kind in (("tags", "set"), ("hits", "counter"), ("rows", "doc"), ("seq", "sequence")):
        daemon.cli("model", "create", model, "--type", kind)
    for model, kind in (("now", "value"), ("lines", "log"), ("tmp", "map")):
        daemon.cli("model", "create", model, "--type", kind)
    daemon.cli("-m", "tags", "call", "add", who)
    daemon.cli("-m", "tags", "call", "remove", who)
    daemon.cli("-m", "tags", "call", "add", "red")
    daemon.cli("-m", "hits", "call", "add", "3")
    daemon.cli("-m", "rows", "call", "put", f"row-{who}", '{"name":"x","size":3}')
    daemon.cli("-m", "seq", "call", "push", f"item of {who}")
    daemon.cli("-m", "now", "call", "set", who)
    daemon.cli("-m", "lines", "call", "append", f"line of {who}")
    daemon.cli("emit", "started", f'{{"who":"{who}"}}')
    daemon.cli("-m", "tmp", "set", "k", who)


def talk(fleet: Fleet, name: str, *, signed: bool = False) -> tuple[Daemon, Daemon]:
    """Two daemons meet, write, verify, idle and part."""
    args = ["--sign"] if signed else []
    a = fleet.daemon(f"{name}a", args=args)
    fill(a, "a")
    recorder, address = tcp(a.address)
    b = fleet.daemon(f"{name}b", args=[*args, "--peers", address])
    b.wait("--peers", "1", "--synced")
    fill(b, "b")
    for daemon in (a, b):
        daemon.cli("set", "waited", daemon.name, "--wait", "all")
    b.cli("verify")
    b.cli("model", "drop", "tmp", "--yes")
    a.cli("set", "last", "words", "--wait", "all")
    time.sleep(IDLE_S)
    b.cli("leave")
    b.ended()
    keep_link(name, recorder)
    return a, b


def resets(fleet: Fleet) -> None:
    """One comes back after its peer has forgotten a deletion that it never saw."""
    env = {"SCUTTLED_FORGET_AFTER": "2s", "SCUTTLED_KEEP_DELETED": "100ms"}
    a = fleet.daemon("reseta", env=env)
    recorder, address = tcp(a.address)
    b = fleet.daemon("resetb", args=["--peers", address], env=env)
    b.wait("--peers", "1")
    a.cli("set", "doomed", "x", "--wait", "all")
    b.stop()
    a.cli("del", "doomed")
    a.cli("set", "stays", "y")
    until(lambda: not a.ask("status")["tombstones"], "the tombstone to be collected")
    recorder.said.clear()
    b.start()
    until(lambda: b.state().keys() == {"stays"}, "the reset")
    b.cli("set", "afterwards", "z", "--wait", "all")
    for number, (dialler, listener) in enumerate(recorder.said):
        keep("link", f"reset{number}-dialler", bytes(dialler))
        keep("link", f"reset{number}-listener", bytes(listener))


NPM = {
    "model": [
        '{"id":"A","clock":{"A":1795401318666.002,"B":1795401318661},"meta":{"role":"client"}}',
        '[["y","hello"],1795401318666.001,"A"]',
        '[["z",{"deep":[1,2]}],1795401318666.003,"B"]',
        '[["x",2],1795401318666.002,"A"]',
        '"SYNC"',
        '[["live","é\u2028→"],1795401318758,"A"]',
        '[["live",null],1795401318809,"B"]',
        '[["x",2],1795401318666.002,"A"]',
    ],
    "events": [
        '{"id":"E","clock":{}}',
        '"SYNC"',
        '[["greet","two","three"],1795401318666.001,"E"]',
        '[["greet"],1795401318667,"E"]',
        '[["other",{"a":1}],1795401318666.002,"F"]',
        '[["greet",[1]],1795401318668,"E"]',
    ],
    "bucket": [
        '{"id":"B","clock":{"B":1795401318666}}',
        '[["users",["u1",{"n":1}]],1795401318666,"B"]',
        '"SYNC"',
        '[["users",["u1",null]],1795401318667,"B"]',
        '[["other",["k","v"]],1795401318668.5,"C"]',
    ],
    "value": [
        '{"id":"V","clock":{}}',
        '[7,1795401318666,"V"]',
        '["seven",1795401318666.001,"W"]',
        '"SYNC"',
        '[{"a":[null,true]},1795401318669,"V"]',
    ],
    "signed": [
        '{"id":"S","clock":{"S":1795401318666}}',
        '[["k","v"],1795401318666,"S","c2lnbmF0dXJl"]',
        '"SYNC"',
        '[["k",null],1795401318667,"S",{"sig":[1,2]}]',
    ],
}

# --- the other doors -----------------------------------------------------------------------------

COMMANDS = [
    "set k v", "set k2 v2 --ttl 5s", "set k2 v3 --if-absent", "get k", "get k -l", "ls", "ls -l --",
    "ls k* --deleted", "ls --count", "watch --snapshot --for 1s", "watch k* --after x --for 1s",
    "del k2",
    "model ls", "model create evs --type events", "model info default", "-m evs emit up 1",
    "-m evs on up --for 1s --after=", "model create tg --type set --ttl 1h", "-m tg call add red",
    "-m tg call list", "-m tg get", "status", "peers", "members", "verify", "wait --key k",
    "wait --synced", "forget nobody", "config show --origin", "set k v4 --wait 1",
    "join 127.0.0.1:1", "part 127.0.0.1:1", "import --mode missing -", "model drop tg --yes",
]  # fmt: skip


def control(daemon: Daemon, folder: Path) -> None:
    """Each command's requests, and all in one."""
    path = folder / "c.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    recorder = Recorder(listener, daemon.socket)
    env = {**daemon.env, "SCUTTLED_SOCKET": str(path)}
    for number, words in enumerate(COMMANDS):
        asked = [*words.split(), "--timeout", "1s"]
        run_scuttled(*asked, env=env, stdin=b'{"key":"i","value":"1"}\n', check=False)
        said = b"".join(bytes(both[0]) for both in recorder.said)
        recorder.said.clear()
        name = "-".join(words.split()[:3]).replace("*", "").strip("-")
        keep("control", f"{number:02d}-{name}", said)


def exports(daemon: Daemon) -> None:
    keep("imports", "export.ndjson", daemon.cli("export").stdout)
    keep("imports", "all.ndjson", daemon.cli("export", "--all-models").stdout)
    keep("imports", "prefix.ndjson", daemon.cli("export", "--prefix", "svc/").stdout)
    rows = (line.split(b"\t")[:2] for line in daemon.cli("ls", "-l").stdout.splitlines())
    keep("imports", "keys.tsv", b"".join(b"\t".join(row) + b"\n" for row in rows))
    keep("imports", "plain.ndjson", b'{"key":"a","value":"b"}\n{"key":"c","value_b64":"AAE="}\n')


def configurations() -> None:
    keep("config", "template.toml", (HERE.parents[1] / "config/scuttled.toml").read_bytes())
    keep(
        "config",
        "usual.toml",
        b"""[node]\nname = "web1"\ndata = "/var/lib/scuttled"
[cluster]\nname = "prod"\npeers = ["db1", "db2:7960", "[fd00::1]:7960", "unix:/run/x.sock"]
forget_after = "2d"\nkeep_deleted = "90s"\nrejoin = "all"
[gossip]\nlisten = "0.0.0.0:7960"\nadvertise = "web1:7960"\ninsecure = true
[control]\nmode = "0600"\ngroup = "adm"\n[storage]\nsync = "full"
[security]\nsign = true\ntrust = ["0011223344556677"]
[npm]\nlisten = ["127.0.0.1:7000=default"]\nconnect = ["db1:7001=events:e"]
[log]\nlevel = "debug"\nformat = "json"\n""",
    )
    keep("config", "inline.toml", b'cluster = {name = "x", peers = []}\nlog.level = "warning"\n')
    keep(
        "config",
        "environment",
        b'[node]\nname = "a"\n\0SCUTTLED_PEERS=db1,db2:1\n'
        b"SCUTTLED_MAX_CLOCK_SKEW=500ms\nSCUTTLED_INSECURE=yes\nSCUTTLED_LISTEN=[::1]:0\n"
        b"SCUTTLED_NPM=127.0.0.1:7000=default\nSCUTTLED_TRUST=any-signed\n",
    )


def npm(fleet: Fleet) -> None:
    """What npm peers say (as recorded from scuttlebutt 5.6.15), and what our own door says."""
    for name, lines in NPM.items():
        keep("npm", name, b"".join(line.encode() + b"\n" for line in lines))
    port = fleet.address("npmdoor")
    daemon = fleet.daemon("npm", args=["--npm", f"{port}=default"])
    fill(daemon, "n")
    host, _, number = port.rpartition(":")
    with closing(socket.create_connection((host, int(number)))) as peer:
        peer.sendall(b'{"id":"Z","clock":{}}\n')
        said = b""
        while b'"SYNC"' not in said:
            said += peer.recv(1 << 16)
    keep("npm", "scuttled", said)


def states(stopped: Daemon, running: Daemon) -> None:
    """State directories: one that was closed, one as a crash leaves it, one of schema 1."""
    names = ("scuttled.db", "scuttled.db-wal", "identity", "lock", "peers")

    def packed(folder: Path) -> bytes:
        files = {name: folder / name for name in names}
        there = {name: path.read_bytes() for name, path in files.items() if path.exists()}
        return zlib.compress(msgpack.packb(there))

    keep("database", "closed", packed(stopped.data))
    keep("database", "crashed", packed(running.data))


def main() -> None:
    for path in CORPUS.glob("*/*"):
        if not path.match(KEPT):
            path.unlink()
    with tempfile.TemporaryDirectory() as folder, Fleet(Path(folder), last_words=False) as fleet:
        keep("when", "link", str(int(time.time() * 1000)).encode())
        a, b = talk(fleet, "plain")
        resets(fleet)
        control(a, fleet.sockets)
        exports(a)
        talk(fleet, "signed", signed=True)
        npm(fleet)
        c = fleet.daemon("crash")
        c.cli("set", "k", "v")
        c.cli("del", "k")
        c.cli("set", "short", "lived", "--ttl", "1h")
        states(b, c)
    configurations()


if __name__ == "__main__":
    main()
