"""The gossip port: a real link of a real node, and a peer that has learnt to speak and lies.

What the peer says is what real nodes said to each other, changed. Whatever it says, the link ends
by RemoteProtocolError or goes on; and afterwards a genuine node, of which the liar never heard,
meets the same node: each has all of the other, and both are the same.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

import scuttled.node.node
from scuttled.errors import RemoteProtocolError
from scuttled.node.membership import NodeSettings
from scuttled.node.node import Node
from scuttled.npm import codec as npm_codec
from scuttled.npm import session as npm_session
from scuttled.protocol import codec
from scuttled.protocol import link as link_room
from scuttled.protocol import session as session_room
from scuttled.protocol.link import Link
from scuttled.protocol.messages import ClockMessage
from scuttled.replica import sources
from scuttled.replica.change import KIND_AT, LENGTH_AT, SLOT_AT, TEXT
from scuttled.replica.hlc import Author
from scuttled.replica.signatures import Verifier
from scuttled.replica.update import TICKS_PER_MS, Instant, timestamp_of
from scuttled.runtime.keys import check_with_ed25519
from scuttled.simulation.nodes import MemoryDisk
from support.doors import CORPUS, Door, check_words
from support.mutate import Mutator
from support.scenes import Line, default, node_id, save, state
from support.soundness import (
    MODELS_MAX,
    SOURCES_MAX,
    STOPPED_MAX,
    check_link,
    check_node,
    read_as_npm,
)

WHEN_MS = int((CORPUS / "when" / "link").read_text())
NOW = Instant(1000.0, WHEN_MS)
VICTIM, THIRD = 0xAA, 0xBB  # no node of the corpus has such an id
MEETINGS_MAX = 8  # of the two that must agree; each RESET takes one

Change = Callable[[list[Any]], list[Any]]  # of a message's fields


class Settled:
    """A clock that goes on a little with each step."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = NOW

    def go_on(self) -> Instant:
        step_ms = self.rng.choice((0, 0, 1, 60, 3500))
        self.now = Instant(self.now.mono_s + step_ms / 1000, self.now.wall_ms + step_ms)
        return self.now


def a_node(number: int, *, signed: bool) -> Node:
    author = Author(node_id(number), now_ms=lambda: WHEN_MS)
    if signed:
        author.verifier = Verifier(check_with_ed25519())
    settings = NodeSettings(f"n{number}", "default", bytes([number]) * 8)
    node = Node(author, settings, stored=True)
    node.begin((), WHEN_MS)
    return node


def write(node: Node, key: str, wall_ms: int) -> bytes:
    record = default(node).put(key, TEXT, b"written here", wall_ms).record
    node.accepted(default(node))
    return record


class LinkDoor(Door):
    name = "link"
    rooms = (
        "protocol/codec.py",
        "protocol/messages.py",
        "protocol/link.py",
        "protocol/session.py",
        "protocol/handshake.py",
        "protocol/acks.py",
        "protocol/in_flight.py",
        "protocol/heartbeat.py",
        "replica/slots.py",
        "replica/change.py",
        "replica/scuttlebutt.py",
        "replica/sources.py",
        "replica/update.py",
        "replica/signatures.py",
        "node/consistency.py",
        "replica/rejoin.py",
    )

    # --- what the peer says ---

    def mutated(self, m: Mutator, data: bytes, corpus: list[bytes]) -> bytes:
        m.known = (*m.known, *self._words())
        frames = list(split(data))
        if m.rng.random() < 0.02:  # more models than there can be, or many of no known type
            kind = m.rng.choice(("map", "set", "none"))
            names = [f"m{n}" for n in range(2 * MODELS_MAX)]
            frames += [codec.encode(ClockMessage(name, kind, {}, {}, 1)) for name in names]
        if m.rng.random() < 0.1:
            return m.bytes(data, corpus)
        others = list(split(m.rng.choice(corpus)))
        for _ in range(m.times()):
            if m.rng.random() < 0.3 or not frames:
                frames = m.sequence(frames, others)
                continue
            at = m.rng.randrange(1 if m.rng.random() < 0.1 else len(frames))
            frames[at] = self._changed(m, frames[at])
        return b"".join(frames)

    def _words(self) -> list[object]:
        now = WHEN_MS * TICKS_PER_MS
        return [
            Author(node_id(VICTIM)).source, now, now + 59_000 * TICKS_PER_MS, now * 2, WHEN_MS,
            {Author(node_id(VICTIM)).source: now + 59_000 * TICKS_PER_MS}, "set", "map", "events",
            node_id(VICTIM), bytes([VICTIM]) * 8, [],
        ]  # fmt: skip

    def _changed(self, m: Mutator, frame: bytes) -> bytes:
        """A frame of the right length whose message is not as it was; now and then no frame."""
        if m.rng.random() < 0.1:
            return m.bytes(frame)
        try:
            fields = msgpack.unpackb(frame[4:], strict_map_key=False)
            change = m.rng.choice((m.tree, m.tree, m.tree, m.tree, self._lie(m), self._record(m)))
            body = m.dump_msgpack(change(fields) if isinstance(fields, list) else m.tree(fields))
        except (ValueError, TypeError, RecursionError):
            body = m.bytes(frame[4:])
        return len(body).to_bytes(4, "big") + body

    def _lie(self, m: Mutator) -> Change:
        """Its clocks, floors and commits tell of sources that it knows nothing of."""
        now = WHEN_MS * TICKS_PER_MS
        sources = [Author(node_id(VICTIM), life).source for life in (1, 2)]
        times = [now, now + 1000, now + 59_000 * TICKS_PER_MS, now * 2, 1]
        lie = {m.rng.choice((*sources, m.rng.randbytes(12))): m.rng.choice(times)}

        def told(field: Any) -> Any:
            if isinstance(field, list):
                return [{**part, **lie} if isinstance(part, dict) else part for part in field]
            if isinstance(field, dict):
                return {**field, **lie}
            return lie if field is None and m.rng.random() < 0.5 else field

        return lambda fields: [told(field) for field in fields]

    def _record(self, m: Mutator) -> Change:
        """Its updates are of other kinds, or name their slots otherwise."""

        def other(record: Any) -> Any:
            if not isinstance(record, bytes) or len(record) < SLOT_AT or m.rng.random() < 0.5:
                return record
            at = m.rng.choice((KIND_AT, KIND_AT, LENGTH_AT, LENGTH_AT + 1))
            number = m.rng.choice((m.rng.randrange(256), record[at] ^ 1 << m.rng.randrange(8)))
            return record[:at] + bytes((number,)) + record[at + 1 :]

        def run(part: Any) -> Any:
            return [other(record) for record in part] if isinstance(part, list) else part

        return lambda fields: [
            [run(part) for part in field] if isinstance(field, list) else field for field in fields
        ]

    # --- what comes of it ---

    def take(self, data: bytes, rng: random.Random) -> None:
        signed = rng.random() < 0.1
        disk = MemoryDisk(node_id(VICTIM))
        node = a_node(VICTIM, signed=signed)
        write(node, "mine", WHEN_MS)
        node.create("tags", "map" if rng.random() < 0.1 else "set")
        save(node, disk)
        time = Settled(rng)
        link = Link(node, dialled=rng.choice(("", "there")), now=NOW)
        self._converse(link, data, time, disk)
        node.gone(link)
        check_node(node, time.now)
        self._restarts_the_same(node, disk)
        if not signed:
            self._meets_another(node, time.now)
        read_as_npm(node, time.now)

    def _converse(self, link: Link, data: bytes, time: Settled, disk: MemoryDisk) -> None:
        node = link.host
        rng = time.rng
        assert isinstance(node, Node)
        reads = rng.random() < 0.8  # the peer takes what we send
        try:
            for piece in Mutator(rng).chunks(data):
                link.receive(piece, time.go_on())
                check_link(link)
                assert link.next_timer(time.now) >= 0
                assert link.lag_s(time.now) >= 0
                if link.ended:
                    break
                self._meanwhile(node, time, disk)
                if reads and link.wants_to_send(time.now):
                    link.draw(time.now)
        except RemoteProtocolError as error:
            check_words(error.message, most=1000)
            link.close(link_room.Code.PROTOCOL, error.message)
        for _ in range(3):
            link.tick(time.go_on())
            check_link(link)
        link.draw(time.now)

    def _meanwhile(self, node: Node, time: Settled, disk: MemoryDisk) -> None:
        match time.rng.randrange(12):
            case 0:
                save(node, disk)
            case 1:
                node.expire(time.now.wall_ms)
                node.tend(time.now)
            case 2:
                write(node, f"k{time.rng.randrange(3)}", time.now.wall_ms)
            case 3 | 4:
                while node.verifier.step():
                    pass
            case 5:
                for link in list(node.links.values()):
                    link.tick(time.now)
            case 6 | 8 | 9:
                node.verifier.begin(list(node.models.values()), time.now.wall_ms)  # type: ignore[arg-type]
            case 7:
                assert isinstance(node.notices.warnings, list)
                node.notices.clear()

    def _restarts_the_same(self, node: Node, disk: MemoryDisk) -> None:
        """What was accepted can be saved, and taken up again."""
        save(node, disk)
        again = Node(Author(node_id(VICTIM), disk.life), node.settings, stored=True)
        again.begin(disk.load(), WHEN_MS)
        for name, model in node.models.items():
            if name != scuttled.node.node.MEMBERS:  # a node that starts writes its rows anew
                assert state(again.models[name]) == state(model), f"{name} is another on disk"

    def _meets_another(self, node: Node, now: Instant) -> None:
        """A genuine node has all of this one, and this one all of that, after they have met."""
        now = Instant(now.mono_s + 1, now.wall_ms + 1000)
        third = a_node(THIRD, signed=False)
        write(third, "of the third", now.wall_ms)
        write(node, "afterwards", now.wall_ms)
        records = {"of the third": None, "afterwards": None}
        for key in records:
            found = default(third if key == "of the third" else node).lookup(key.encode())
            assert found is not None
            records[key] = found.rev
        for _ in range(MEETINGS_MAX):
            line = Line(third, node, now)
            for side in (third, node):
                side.tend(now)
            line.settle(now)
            if all(link.ended is None for link in line.links):
                break
            line.hang_up()
        else:
            raise AssertionError("they start afresh again and again")
        later = {side: write(side, f"later {n}", now.wall_ms) for n, side in enumerate(line.nodes)}
        line.settle(now)
        line.hang_up()
        for n, record in enumerate(later.values()):
            found = default(line.nodes[1 - n]).lookup(f"later {n}".encode())
            assert found is not None, f"what {line.nodes[n].settings.name} wrote last is lost"
            assert timestamp_of(record) == found.timestamp
        check_node(node, now)
        check_node(third, now)
        for name in node.models:
            assert name in third.models, f"model {name} did not come through"
            mine, theirs = state(node.models[name]), state(third.models[name])
            assert mine == theirs, f"they differ in {name}"
        was_reset = bool(node.replaced.resets or third.replaced.resets)
        for key, rev in records.items():
            found = default(third).lookup(key.encode())
            assert found is not None, f"'{key}' did not come through"
            assert was_reset or found.rev == rev, f"'{key}' is another"


def split(data: bytes) -> Iterator[bytes]:
    """The frames of a conversation; the last may not be whole."""
    while data:
        size = 4 + int.from_bytes(data[:4], "big")
        yield data[:size]
        data = data[size:]


def lower_maxima(patch: pytest.MonkeyPatch) -> None:
    """So that a small input comes to the limits."""
    patch.setattr(sources, "SOURCES_MAX", SOURCES_MAX)
    patch.setattr(sources, "BRIDGED_SOURCES_MAX", SOURCES_MAX * 3 // 4)
    patch.setattr(sources, "SOURCES_MANY", SOURCES_MAX // 2)
    for room in (session_room, npm_codec, npm_session):
        patch.setattr(room, "SOURCES_MAX", SOURCES_MAX)
    patch.setattr(link_room, "STOPPED_MAX", STOPPED_MAX)
    patch.setattr(scuttled.node.node, "MODELS_MAX", MODELS_MAX)
