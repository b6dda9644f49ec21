"""kill -9 at random moments: what was acknowledged is there, and no clock claims what is not."""

import random
import threading
from collections.abc import Iterator

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import PATIENCE_S, until

from scuttled.client.client import Client, Fields
from scuttled.errors import ScuttledError

KILLS = 9
SHARED = 50  # keys that all writers write

State = dict[str, tuple[str, bytes, str]]
Claim = tuple[str, dict[str, int], State]  # who, its clock, and what it held right after


class Writer(threading.Thread):
    """Writes to one daemon, pipelined, whatever happens to it, and knows what was acknowledged."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        super().__init__()
        self.acknowledged: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        self.doubtful: set[str] = set()  # a deletion was sent: who knows whether it was heard
        self._daemon = daemon
        self._rng = random.Random(seed)
        self._count = 0
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.is_set():
            try:
                with self._daemon.client(timeout_s=PATIENCE_S) as client:
                    sent: list[tuple[str, str, bytes]] = []
                    for place, _ in enumerate(client.pipeline(self._requests(sent), window=32)):
                        self._note(*sent[place])
            except (ScuttledError, OSError):
                self._enough.wait(0.02)  # it is down; it will be back

    def _note(self, op: str, key: str, value: bytes) -> None:
        if op == "del":
            self.acknowledged.pop(key, None)
            self.deleted.add(key)
        else:
            self.acknowledged[key] = value

    def _requests(self, sent: list[tuple[str, str, bytes]]) -> Iterator[tuple[str, Fields]]:
        rng, name = self._rng, self._daemon.name
        while not self._enough.is_set():
            self._count += 1
            if self._count % 32 == 0:
                self._enough.wait(0.02)  # bursts, or the state grows beyond what a test needs
            value = b"%s/%d/%s" % (name.encode(), self._count, b"x" * rng.randrange(200))
            kind = rng.random()
            if kind < 0.1 and self._count > 100:  # own keys are written once and deleted once
                key = f"{name}/{self._count - 100}"
                sent.append(("del", key, b""))
                self.doubtful.add(key)
                yield "del", {"model": "default", "keys": [key]}
                continue
            key = f"shared/{rng.randrange(SHARED)}" if kind < 0.4 else f"{name}/{self._count}"
            sent.append(("set", key, value))
            yield "set", {"model": "default", "key": key, "kind": "text", "value": value}

    def finish(self) -> None:
        self._enough.set()
        self.join()


def claim(daemon: Daemon) -> Claim:
    """First the clock, then the state, which has at least what the clock claimed."""
    return daemon.name, daemon.clock(), daemon.state()


def source_and_time(rev: str) -> tuple[str, int]:
    ticks, _, source = rev.partition(".")
    return source, int(ticks)


def check_claim(claimed: Claim, last: State) -> None:
    """Of what is there in the end, a node had all that its clock covered, and still has."""
    who, clock, held = claimed
    for key, (_, _, rev) in last.items():
        source, time = source_and_time(rev)
        if time <= clock.get(source, 0):
            assert key in held, f"{who} claimed {source} up to {clock[source]} and lacked {key!r}"
            assert held[key][2] == rev


def check_all_agree(daemons: list[Daemon]) -> State:
    """Byte-identical listings, equal clocks, and clocks that cover what is listed."""
    for daemon in daemons:
        daemon.wait("--peers", "2", "--synced")
    clocks = [daemon.clock() for daemon in daemons]
    assert clocks[0] == clocks[1] == clocks[2]
    listings = [daemon.text("ls", "-l", "--deleted") for daemon in daemons]
    assert listings[0] == listings[1] == listings[2]
    state = daemons[0].state()
    for _, _, rev in state.values():
        source, time = source_and_time(rev)
        assert time <= clocks[0][source]
    return state


@pytest.mark.parametrize("seed", [1])
def test_what_was_acknowledged_survives_kill_9_at_any_moment(fleet: Fleet, seed: int) -> None:
    rng = random.Random(seed)
    daemons = fleet.mesh("a", "b", "c")
    writers = [Writer(daemon, seed * 10 + place) for place, daemon in enumerate(daemons)]
    claims: list[Claim] = []
    for writer in writers:
        writer.start()
    try:
        for _ in range(KILLS):
            place = rng.randrange(3)
            daemon, writer = daemons[place], writers[place]
            enough = len(writer.acknowledged) + rng.randrange(20, 400)
            until(lambda w=writer, n=enough: len(w.acknowledged) > n, f"writes at {daemon.name}")
            daemon.kill9()
            daemon.start()
            claims.append(claim(daemon))  # at once: what it took from its disk
    finally:
        for writer in writers:
            writer.finish()
    state = check_all_agree(daemons)
    for claimed in claims:
        check_claim(claimed, state)
    for writer in writers:
        own = {k: v for k, v in writer.acknowledged.items() if not k.startswith("shared/")}
        sure = {key: value for key, value in own.items() if key not in writer.doubtful}
        assert len(sure) > 100
        assert {key: state[key][1] for key in sure if key in state} == sure
        assert writer.deleted.isdisjoint(state)


def test_all_three_may_be_killed_at_once(fleet: Fleet) -> None:
    a, b, c = fleet.mesh("a", "b", "c")
    pairs = "".join(f"key/{number}\t{number}\n" for number in range(3000))
    a.cli("import", "--tsv", "-", stdin=pairs.encode())
    for daemon in (a, b, c):
        daemon.kill9()
    for daemon in (a, b, c):
        daemon.start(wait=False)
    for daemon in (a, b, c):
        daemon.wait("--up", "--peers", "2")
    state = check_all_agree([a, b, c])
    assert len(state) == 3000


def test_a_node_that_is_killed_while_it_catches_up_catches_up_in_the_end(fleet: Fleet) -> None:
    a, b, c = fleet.mesh("a", "b", "c")
    c.kill9()
    pairs = "".join(f"key/{number}\t{'x' * 100}\n" for number in range(20_000))
    a.cli("import", "--tsv", "-", stdin=pairs.encode())
    claims = []
    for more in (1, 3000, 9000):
        c.start()
        with c.client() as client:
            until(lambda n=more, ask=client: _keys(ask) > n, f"{more} keys")
        c.kill9()
        c.start()
        claims.append(claim(c))
        c.kill9()
    c.start()
    state = check_all_agree([a, b, c])
    assert len(state) == 20_000
    for claimed in claims:
        check_claim(claimed, state)


def test_a_node_whose_source_is_killed_in_the_middle_claims_only_what_came(fleet: Fleet) -> None:
    """So it asks for the rest when the source is back; nobody else has it."""
    a, b = fleet.daemon("a"), fleet.daemon("b", peers=["a"], start=False)
    pairs = "".join(f"key/{number}\t{'x' * 100}\n" for number in range(20_000))
    a.cli("import", "--tsv", "-", stdin=pairs.encode())
    b.start()
    claims = []
    with b.client() as client:
        for more in (1, 3000, 9000):
            until(lambda n=more: _keys(client) > n, f"{more} keys")
            a.kill9()
            claims.append(claim(b))
            a.start()
    b.wait("--peers", "1", "--synced")
    state = b.state()
    assert len(claims[0][2]) < 20_000
    assert state == a.state()
    assert len(state) == 20_000
    for claimed in claims:
        check_claim(claimed, state)


def _keys(client: Client) -> int:
    found: int = client.request("model_info", model="default")["keys"]
    return found


def test_a_write_that_was_answered_is_on_disk(fleet: Fleet) -> None:
    """It takes the disk longer than an answer takes: who answers first is found out."""
    a = fleet.daemon("a")
    for turn in range(6):
        pairs: list[object] = []
        for number in range(7):
            pairs += [f"turn/{turn}/{number}", b"x" * 500_000]
        with a.client() as client:
            client.request("load", model="default", kind="bytes", pairs=pairs)
            a.kill9()
        a.start()
    assert a.text("ls", "--count") == "42\n"


def test_a_deletion_and_an_expiry_survive_a_kill(fleet: Fleet) -> None:
    a, b = fleet.chain("a", "b")
    a.cli("set", "gone", "v")
    a.cli("set", "stays", "v")
    a.cli("set", "short", "v", "--ttl", "300ms")
    b.wait("--key", "short")
    a.cli("del", "gone")
    a.kill9()
    b.kill9()
    a.start()
    b.start()
    b.wait("--peers", "1", "--synced")
    until(lambda: "short" not in a.state() and "short" not in b.state(), "the expiry")
    assert set(a.state()) == set(b.state()) == {"stays"}
    assert a.cli("get", "gone", check=False).returncode == 1
    assert b.cli("get", "short", check=False).returncode == 1


def test_a_disk_that_takes_no_more_refuses_writes_and_keeps_what_was_acknowledged(
    fleet: Fleet,
) -> None:
    """What was acknowledged is there when it runs again, with room."""
    daemon = fleet.daemon("a", prefix=["prlimit", "--fsize=400000"])
    kept = 0
    while (done := daemon.cli("set", f"big/{kept}", "x" * 50_000, check=False)).returncode == 0:
        kept += 1
    assert done.returncode == 74
    assert f"error can't write {daemon.data}/scuttled.db" in daemon.log()
    daemon.kill9()
    daemon.prefix = []
    daemon.start()
    assert kept > 0
    for number in range(kept):
        assert daemon.cli("get", f"big/{number}").stdout == b"x" * 50_000
