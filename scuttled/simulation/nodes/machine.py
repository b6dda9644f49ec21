"""A node, with the disk and the clock under it, that may be killed and started again."""

from collections.abc import Iterator

from scuttled.node.membership import NodeSettings
from scuttled.node.node import Node
from scuttled.replica.arrival_log import Marks
from scuttled.replica.hlc import Author
from scuttled.replica.update import Instant, NodeId, Source
from scuttled.simulation.history import Witness
from scuttled.simulation.nodes.queue_world import Call, QueueWorld
from scuttled.simulation.world import EPOCH_MS
from scuttled.storage.storage import Batch, SavedModel

MAX_SKEW_MS = 1000
REFRESH_MS = 10**9  # so that a run ends in silence
KEEP_S = 0.2  # between looks at what expires and what clocks are to be saved
SAVE_RATES = (100.0, 4.0)  # writes to a disk a second, if one follows the other: usual, slow


class MemoryDisk:
    """Disk in memory; survives kills. Holds what `storage.Storage` does."""

    def __init__(self, node_id: NodeId, life: int = 1) -> None:
        self.node_id = node_id
        self.life = life
        self.last = 0  # the hlc's
        self._types: dict[str, str] = {}
        self._entries: dict[str, dict[int, tuple[Source, bytes]]] = {}
        self._clocks: dict[str, dict[Source, int]] = {}
        self._floors: dict[str, dict[Source, int]] = {}
        self._marks: dict[str, Marks] = {}

    def write(self, batch: Batch) -> None:
        self.life = batch.life
        self.last = batch.hlc or self.last
        for part in batch.models:
            self._types[part.name] = part.data_type
            if part.replace:
                for held_by_name in (self._entries, self._clocks, self._floors):
                    held_by_name.pop(part.name, None)
            held = self._entries.setdefault(part.name, {})
            for position in part.freed:
                held.pop(position, None)
            for position, source, record in part.entries:
                if record is not None:
                    held[position] = (source, record)
            self._clocks.setdefault(part.name, {}).update(part.times)
            self._floors.setdefault(part.name, {}).update(part.floor)
            if part.marks is not None:
                self._marks[part.name] = part.marks

    def load(self) -> Iterator[SavedModel]:
        for name, data_type in self._types.items():
            held = sorted(self._entries[name].items())
            yield SavedModel(
                name,
                data_type,
                [position for position, _ in held],
                [record for _, (_, record) in held],
                [source for _, (source, _) in held],
                dict(self._clocks[name]),
                dict(self._floors[name]),
                self._marks.get(name, Marks()),
            )


class NodeMachine:
    """One member of the cluster; `node` while it runs."""

    def __init__(self, world: QueueWorld, number: int, *, stored: bool) -> None:
        self.world = world
        self.stored = stored  # else each start is that of a new node
        self.name = f"n{number}"
        self.disk = MemoryDisk(NodeId(world.rng.randbytes(8)))
        self.offset_ms = 0  # how wrong its wall clock is
        self.save_rate = SAVE_RATES[0]
        self.slow_s = 0.0  # how long it takes to look at what has come
        self.node: Node | None = None
        self.hangups: dict[Call, None] = {}  # what ends its connections, in order
        self._starts = 0
        self._saving = False
        self.witness: Witness  # of this start

    @property
    def now(self) -> Instant:
        now_s = self.world.now_s
        return Instant(now_s, EPOCH_MS + int(now_s * 1000) + self.offset_ms)

    @property
    def up(self) -> Node:
        assert self.node is not None
        return self.node

    def start(self) -> None:
        """Begin with what the disk has; the node may find that it has to live anew."""
        self._starts += 1
        if self._starts > 1 and not self.stored:
            self.disk = MemoryDisk(NodeId(self.world.rng.randbytes(8)))
        incarnation = self.world.rng.randbytes(8)
        settings = NodeSettings(
            self.name,
            "simulated",
            incarnation,
            max_skew_ms=MAX_SKEW_MS,
            collect_age_ms=0,
            refresh_ms=REFRESH_MS,
        )
        author = Author(self.disk.node_id, self.disk.life, now_ms=lambda: self.now.wall_ms)
        self.node = node = Node(author, settings, stored=self.stored)
        node.durability.subscribe(lambda: self.later(0.0, self._save))
        node.subscribe_tending(lambda: self.later(0.0, lambda: node.tend(self.now)))
        self._saving = False
        node.begin(self.disk.load(), self.now.wall_ms)
        node.met_others()  # so that all that was collected can be told by the floor
        self.world.history.forget_lost(node.models, self.name, author.source)
        self.witness = Witness(self.world.history, node, self.name)
        node.subscribe(self.witness.read)
        self.witness.read()
        self.later(KEEP_S, self._keep)

    def kill(self) -> None:
        """Gone in an instant. What peers still read of its last words is up to chance."""
        if self.stored:
            self.world.history.note_acknowledged(self.up.models, self.name)
        for hang_up in list(self.hangups):
            hang_up()
        self.node = None

    def later(self, delay_s: float, call: Call) -> None:
        """Do that then, unless this node was killed meanwhile."""
        start = self._starts

        def if_alive() -> None:
            if self.node is not None and self._starts == start:
                call()

        self.world.later(delay_s, if_alive)

    # --- what a daemon keeps doing ---

    def _save(self) -> None:
        if self._saving:
            return
        batch = self.up.durability.unsaved(clocks=self.world.rng.random() < 0.3)
        if batch is not None:
            self._saving = True
            self.later(self.world.rng.expovariate(self.save_rate), lambda: self._write(batch))

    def _write(self, batch: Batch) -> None:
        """A kill may come between the disk's work and its being known."""
        self.disk.write(batch)
        delay_s = 0.01 if self.world.rng.random() < 0.2 else 0.0
        self.later(delay_s, lambda: self._written(batch))

    def _written(self, batch: Batch) -> None:
        self._saving = False
        self.up.saved(batch)
        self._save()

    def _keep(self) -> None:
        self.up.expire(self.now.wall_ms)
        self.up.tend(self.now)
        if not self.up.durability.is_saved():
            self._save()
        self.later(KEEP_S, self._keep)

    # --- what is checked ---

    def check(self) -> None:
        """Clocks that moved are truthful."""
        self.witness.check()
