"""kill -9, hundreds of times, at every sync level: no acknowledged write is ever lost.

Each of three nodes has writers of its own and somebody who kills it again and again, also while
it comes up, so that any number of them may be down at once. Whenever a node is down, what lies on
its disk is looked at: what comes back from peers later would hide what it had lost. A kill leaves
the page cache alone, so even `off` has to keep everything.

    python -m pytest tests/e2e/test_crash_loop.py              70 kills a level, 210 in all
    python -m pytest tests/e2e/test_crash_loop.py -m slow      200 kills a level
"""

import random
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import PATIENCE_S, until

from scuttled.client.client import Fields
from scuttled.errors import ScuttledError
from scuttled.replica.change import DELETED, parse
from scuttled.storage.database import Database

WRITERS = 2  # at each node
WINDOW = 24  # requests that a writer has in flight
OWN_KEYS = 60  # of each writer; written, overwritten and deleted by nobody else
SHARED_KEYS = 20  # that all write and delete
PAUSE_S = 0.02  # of a writer between two bursts: daemons have to start beside it

Rank = tuple[int, str]


class Op(NamedTuple):
    """One write: the writer's count of it is in its value, too."""

    count: int
    key: str
    value: bytes | None  # None: a deletion


class Kept(NamedTuple):
    """What a key holds somewhere."""

    rank: Rank
    value: bytes | None


def rank_of(rev: str) -> Rank:
    ticks, _, source = rev.partition(".")
    return int(ticks), source


class Writer(threading.Thread):
    """Writes to one daemon, pipelined, whatever happens to it, and knows what was acknowledged."""

    def __init__(self, daemon: Daemon, number: int, seed: int) -> None:
        super().__init__()
        self.name = f"{daemon.name}{number}"
        self.sent: dict[str, set[bytes]] = {}  # every value that a key may have got from here
        self.deleted: set[str] = set()  # keys of which a deletion was sent
        self.acknowledged: dict[str, Op] = {}  # the latest of each key
        self.ranks: dict[str, Rank] = {}  # the highest of each key that an answer told
        self.count = 0  # of answers
        self._sent_count = 0
        self._daemon, self._rng = daemon, random.Random(seed)
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.is_set():
            sent: list[Op] = []
            try:
                with self._daemon.client(timeout_s=PATIENCE_S) as client:
                    answers = client.pipeline(self._requests(sent), window=WINDOW)
                    for place, answer in enumerate(answers):
                        self._note(sent[place], answer)
            except (ScuttledError, OSError):
                self._enough.wait(PAUSE_S)  # it is down; it will be back

    def _note(self, op: Op, answer: Fields) -> None:
        self.acknowledged[op.key] = op
        if "rev" in answer:
            self.ranks[op.key] = rank_of(answer["rev"])
        self.count += 1

    def _requests(self, sent: list[Op]) -> Iterator[tuple[str, Fields]]:
        rng = self._rng
        while not self._enough.is_set():
            self._sent_count += 1
            if self._sent_count % WINDOW == 0:
                self._enough.wait(PAUSE_S)
            shared = rng.random() < 0.3
            place = rng.randrange(SHARED_KEYS if shared else OWN_KEYS)
            key = f"shared/{place}" if shared else f"{self.name}/{place}"
            if rng.random() < 0.15:
                sent.append(Op(self._sent_count, key, None))
                self.deleted.add(key)
                yield "del", {"model": "default", "keys": [key]}
            else:
                filling = b"x" * rng.randrange(300)
                value = b"%s/%d/%s" % (self.name.encode(), self._sent_count, filling)
                sent.append(Op(self._sent_count, key, value))
                self.sent.setdefault(key, set()).add(value)
                yield "set", {"model": "default", "key": key, "kind": "text", "value": value}

    def finish(self) -> None:
        self._enough.set()
        self.join()


class Killer(threading.Thread):
    """Kills one daemon again and again, at random moments, and looks at its disk while it is down.

    Its share of the kills is `kills`; it leaves the daemon up.
    """

    def __init__(self, daemon: Daemon, writers: list[Writer], kills: int, seed: int) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self.young = 0  # kills before it had answered
        self.done = 0
        self._daemon, self._writers, self._kills = daemon, writers, kills
        self._rng = random.Random(seed)
        self._moment = threading.Event()  # is never set: a random time passes

    def run(self) -> None:
        try:
            while self.done < self._kills:
                self._kill_once()
        except BaseException as error:
            self.error = error

    def _kill_once(self) -> None:
        rng, daemon = self._rng, self._daemon
        enough = sum(writer.count for writer in self._writers) + rng.randrange(1, 200)
        until(lambda: sum(w.count for w in self._writers) > enough, f"writes at {daemon.name}")
        self._moment.wait(rng.uniform(0, 0.005))
        daemon.kill9()
        self.done += 1
        self._look_at_the_disk()
        while self.done < self._kills and rng.random() < 0.2:
            daemon.start(wait=False)
            self._moment.wait(rng.uniform(0, 0.3))
            assert daemon.process is not None
            assert daemon.process.poll() is None, f"{daemon.name} ended by itself"
            daemon.kill9()
            self.done += 1
            self.young += 1
            self._look_at_the_disk()
        daemon.start()

    def _look_at_the_disk(self) -> None:
        """Nobody writes to it now, and it holds all that was acknowledged."""
        # An answer that was under way when the daemon was killed may still come to be noted.
        noted = [
            (writer, dict(writer.acknowledged), dict(writer.ranks)) for writer in self._writers
        ]
        held = on_disk(self._daemon)
        for writer, acknowledged, ranks in noted:
            check_kept(
                writer.name, acknowledged, ranks, held, f"on the disk of {self._daemon.name}"
            )


def on_disk(daemon: Daemon) -> dict[str, Kept]:
    """What a copy of its database holds: the daemon itself is to find the files as it left them."""
    place = daemon.data.with_name(f"{daemon.name}-copy")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for suffix in ("", "-wal"):
        source = Path(f"{daemon.data}/scuttled.db{suffix}")
        if source.exists():
            shutil.copy(source, place)
    held = {}
    database = Database(place / "scuttled.db", "off")
    try:
        for model in database.load(lambda rows, about: None):
            if model.name == "default":
                for record, source in zip(model.records, model.sources, strict=True):
                    slot = parse(record, source)
                    value = None if slot.kind == DELETED else slot.payload
                    held[slot.slot.decode()] = Kept(rank_of(slot.rev), value)
    finally:
        database.abandon()
    return held


def check_kept(
    who: str,
    acknowledged: Mapping[str, Op],
    ranks: Mapping[str, Rank],
    held: Mapping[str, Kept],
    where: str,
) -> None:
    """Each acknowledged write of a writer is there, or a later one took its place."""
    for key, op in acknowledged.items():
        kept = held.get(key)
        words = f"{op.count} {'del' if op.value is None else 'set'} {key} by {who}"
        if kept is None:  # fine if it was a deletion of what was not there
            assert op.value is None, f"{words} is nowhere {where}"
            assert key not in ranks, f"{words}: not even a tombstone {where}"
            continue
        assert kept.rank >= ranks.get(key, (0, "")), f"{words}: an older one is {where}"
        if kept.value is not None and kept.value.startswith(f"{who}/".encode()):
            count = int(kept.value.split(b"/")[1])
            assert count >= op.count, f"{words}: its own older {count} is {where}"
        if kept.value is None and op.value is not None and not key.startswith("shared/"):
            later = kept.rank > ranks[key]
            assert later, f"{words} is deleted {where}, and by nobody"


def everything(daemon: Daemon) -> dict[str, Kept]:
    """What it holds, tombstones too, as it tells its clients."""
    rows: dict[str, Kept] = {}
    with daemon.client() as client:
        for part in client.stream("list", model="default", values=True, deleted=True):
            for key, kind, value, rev, *_ in part:
                rows[key] = Kept(rank_of(rev), None if kind == "deleted" else value)
    return rows


def check_the_end(daemons: list[Daemon], writers: list[Writer]) -> None:
    for daemon in daemons:
        daemon.wait("--peers", "2", "--synced")
    held = [everything(daemon) for daemon in daemons]
    for writer in writers:
        assert writer.acknowledged
        check_kept(writer.name, writer.acknowledged, writer.ranks, held[0], "in the end")
    for key, kept in held[0].items():
        sent = set().union(*(writer.sent.get(key, set()) for writer in writers))
        if kept.value is None:
            assert any(key in writer.deleted for writer in writers), f"nobody deleted {key}"
        else:
            assert kept.value in sent, f"{key} has a value that nobody wrote"
    assert held[0] == held[1] == held[2]
    listings = [daemon.text("ls", "-l") for daemon in daemons]
    assert listings[0] == listings[1] == listings[2]
    for daemon in daemons:
        assert {row["state"] for row in daemon.json("verify")} == {"same"}


@pytest.mark.parametrize("kills", [70, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("sync", "seed"), [("off", 11), ("normal", 12), ("full", 13)])
def test_no_acknowledged_write_is_lost_in_a_crash_loop(
    fleet: Fleet, sync: str, seed: int, kills: int
) -> None:
    print(f"seed {seed}")  # pytest shows it when this fails
    env = {"SCUTTLED_SYNC": sync, "SCUTTLED_KEEP_DELETED": "1h"}
    daemons = fleet.mesh("a", "b", "c", env=env)
    rng = random.Random(seed)
    writers = {
        daemon.name: [Writer(daemon, number, rng.getrandbits(32)) for number in range(WRITERS)]
        for daemon in daemons
    }
    shares = [kills // 3 + (place < kills % 3) for place in range(3)]
    killers = [
        Killer(daemon, writers[daemon.name], share, rng.getrandbits(32))
        for daemon, share in zip(daemons, shares, strict=True)
    ]
    threads = [writer for some in writers.values() for writer in some]
    for thread in [*threads, *killers]:
        thread.start()
    for killer in killers:
        killer.join()
    for writer in threads:
        writer.finish()
    for killer in killers:
        if killer.error is not None:
            raise killer.error
    assert sum(killer.done for killer in killers) == kills
    check_the_end(daemons, threads)
    answers, young = sum(w.count for w in threads), sum(k.young for k in killers)
    print(f"{kills} kills at {sync}, {young} of them while coming up, {answers} writes answered")
