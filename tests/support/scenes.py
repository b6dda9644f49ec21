"""Small casts for tests of the core: maps, sessions, nodes and links, and ways to let them talk."""

from collections.abc import Iterable, Iterator

from hypothesis import settings

from scuttled.control.context import DaemonDoor
from scuttled.models.map import Map
from scuttled.node.node import DEFAULT_MODEL, Node, NodeSettings
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Delta
from scuttled.protocol.session import Session
from scuttled.replica.arrival_log import ArrivalLog
from scuttled.replica.change import TEXT, make_change
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Instant, NodeId, Source, Update, make_source
from scuttled.replica.version_vector import Clock
from scuttled.simulation.nodes import MemoryDisk

WALL = 1_700_000_000_000
NOW = Instant(0.0, WALL)
TICKS = WALL * 4096
SKEW_MS = 60_000
PLENTY = 64 << 10  # bytes: more than these tests have to send


def examples(count: int) -> settings:
    """So many of hypothesis' examples, and as many more as the profile has."""
    return settings(max_examples=count * settings.default.max_examples // 100)


def at(mono_s: float) -> Instant:
    """NOW, so much later."""
    return Instant(mono_s, WALL + int(mono_s * 1000))


def node_id(number: int) -> NodeId:
    return NodeId(bytes([number]) * 8)


def source(number: int, life: int = 1) -> Source:
    return make_source(node_id(number), life)


def record(key: str, time: int = TICKS, value: bytes = b"v", kind: int = TEXT) -> bytes:
    return Update(make_change(key.encode(), kind, value), time, source(0)).record


def a_door() -> DaemonDoor:
    """The daemon around a node, as a control room asks it, where there is none."""
    return DaemonDoor(
        facts=lambda now: {},
        peers=lambda now: [],
        join=lambda addresses, save: {"added": addresses, "known": []},
        leave=lambda: 0,
        settings=lambda: [],
        part=lambda addresses: {"parted": addresses, "configured": []},
        decided=lambda addresses: True,
        verdicts=lambda addresses: [],
    )


# --- models and sessions -------------------------------------------------------------------------


def a_map(number: int = 1, name: str = DEFAULT_MODEL, *, stored: bool = False) -> Map:
    model = Map(name, Author(node_id(number)))
    model.log.stored = stored
    return model


def put(model: Map, key: str, value: str = "v", wall_ms: int = WALL) -> Update:
    return model.put(key, TEXT, value.encode(), wall_ms)


def saved(*models: Scuttlebutt) -> None:
    """As after storage has written everything."""
    for model in models:
        model.log.taken = model.log.saved = model.log.end
        model.log.freed.clear()
        model.saved.revision = model.clock.revision


def values(model: Map, wall_ms: int = WALL) -> dict[str, str]:
    slots = (model.lookup(slot) for slot in list(model._slots))
    return {
        slot.slot.decode(): slot.payload.decode()
        for slot in slots
        if slot is not None and slot.shown(wall_ms)
    }


def entries(log: ArrivalLog, start: int = 0) -> list[tuple[int, bytes, Source]]:
    """(position, record, source) of all that a reader sees from `start` on."""
    found = []
    cursor = start
    while cursor < log.end:
        piece = log.piece(cursor, log.end)
        assert piece.next > cursor
        cursor = piece.next
        found += [
            (at, record, source)
            for at, record, source in zip(
                piece.positions, piece.records, piece.sources, strict=True
            )
            if record is not None
        ]
    return found


def state(model: Scuttlebutt) -> tuple[list[Update], dict[Source, int]]:
    """All that two replicas must agree on."""
    return list(model.history(Clock())), model.clock.copy_times()


def sessions(one: Scuttlebutt, two: Scuttlebutt) -> tuple[Session, Session]:
    """Two ends of one model on a fresh link, after their CLOCKs."""
    a, b = Session(one, SKEW_MS), Session(two, SKEW_MS)
    first, second = a.clock_message(), b.clock_message()
    b.receive_clock(first)
    a.receive_clock(second)
    return a, b


def drain(session: Session, bytes_max: int = PLENTY, now: Instant = NOW) -> Iterator[Delta]:
    """All that a session has to say, a DELTA at a time."""
    while session.has_something(now):
        delta = session.next_delta(bytes_max, now)
        if delta is not None:
            yield delta


def sent(deltas: Iterable[Delta]) -> list[tuple[Source, bytes]]:
    """The updates in these DELTAs, one by one."""
    return [(s, r) for delta in deltas for s, records in delta.runs for r in records]


def sync(one: Scuttlebutt, two: Scuttlebutt, now: Instant = NOW) -> tuple[Session, Session]:
    """Let two models talk until neither has anything to say."""
    a, b = sessions(one, two)
    while a.has_something(now) or b.has_something(now):
        for sender, receiver in ((a, b), (b, a)):
            for delta in drain(sender, now=now):
                receiver.receive_delta(delta, now)
    return a, b


# --- nodes and links -----------------------------------------------------------------------------


def a_node(
    number: int = 1,
    *,
    stored: bool = False,
    disk: MemoryDisk | None = None,
    wall_ms: int = WALL,
    incarnation: bytes = b"",
    cluster: str = "test",
) -> Node:
    """A node that has begun, from a disk if it has one."""
    settings = NodeSettings(f"n{number}", cluster, incarnation or bytes([number]) * 8)
    author = Author(node_id(number), disk.life if disk is not None else 1)
    node = Node(author, settings, stored=stored or disk is not None)
    node.begin(disk.load() if disk is not None else (), wall_ms)
    return node


def save(node: Node, disk: MemoryDisk | None = None) -> None:
    """Storage writes until there is nothing left."""
    while (batch := node.durability.unsaved(clocks=True)) is not None:
        if disk is not None:
            disk.write(batch)
        node.saved(batch)


def default(node: Node) -> Map:
    model = node.models[DEFAULT_MODEL]
    assert isinstance(model, Map)
    return model


def write(node: Node, key: str, value: str = "v", wall_ms: int = WALL) -> Update:
    update = put(default(node), key, value, wall_ms)
    node.accepted(default(node))
    return update


class Line:
    """A connection between two nodes: two links, and the bytes under way, which a test moves."""

    def __init__(self, dialler: Node, listener: Node, now: Instant = NOW) -> None:
        self.nodes = (dialler, listener)
        self.links = (Link(dialler, dialled="there", now=now), Link(listener, dialled="", now=now))
        self.under_way = [b"", b""]  # from each end

    def draw(self, end: int, now: Instant = NOW) -> None:
        while self.links[end].wants_to_send(now):
            data = self.links[end].draw(now)
            if not data:
                break
            self.under_way[end] += data

    def deliver(self, end: int, now: Instant = NOW, *, most: int = 1 << 30) -> None:
        """Hand what `end` has sent to the other one, as far as `most` bytes go."""
        data = self.under_way[end][:most]
        self.under_way[end] = self.under_way[end][most:]
        if data:
            self.links[1 - end].receive(data, now)

    def settle(self, now: Instant = NOW) -> None:
        """Let both talk until nothing moves. What is stored is saved at once."""
        for _ in range(100):
            before = [link.bytes_out for link in self.links]
            for end in (0, 1):
                save(self.nodes[end])
                self.draw(end, now)
                self.deliver(end, now)
            if before == [link.bytes_out for link in self.links]:
                return
        raise AssertionError("they never stop talking")

    def pass_time(self, start_s: float, end_s: float, step_s: float = 0.05) -> None:
        """Ticks and talk, from one second to the other."""
        steps = round((end_s - start_s) / step_s)
        for step in range(1, steps + 1):
            now = at(start_s + step * step_s)
            for link in self.links:
                link.tick(now)
            self.settle(now)

    @property
    def up(self) -> bool:
        return all(link.up and link.ended is None for link in self.links)

    def hang_up(self) -> None:
        for node, link in zip(self.nodes, self.links, strict=True):
            node.gone(link)
