"""The state directory: one SQLite file that mirrors every model's arrival log.

Storage is a reader of the log like any other: it takes what stands behind its cursor and writes
it in one transaction, with the positions that became holes, the clock and the hlc. So a saved
clock never covers an unsaved update, and what is loaded is what was saved at one instant. The
writers of one turn of the loop share a transaction (group commit).

    directory   the lock, whose state it is, whether it was copied
    schema      tables, checks, migration          errors    what can be wrong with a disk
    database    loading and saving                 flusher   the task that keeps it up to date

A daemon that starts goes on as the same source only if it can't have forgotten anything (I5).
What it may have forgotten under its life, peers may have; a life that nobody else can have drawn
keeps both apart. So a random one is taken whenever more than this state may go on from here (it
was copied, restored, lost, damaged); after a power cut the next one will do.

Checkpoints of the write-ahead log are made beside the loop on a connection of their own. One that
stops no writer can't empty a log to which is written all the time: what it leaves is folded in
between two transactions.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from scuttled.errors import ConfigError
from scuttled.replica.checkpoint import Batch, ModelBatch, Pieces, SavedModel
from scuttled.replica.update import NodeId
from scuttled.storage.database import COUNTED, Database, Meta, Progress
from scuttled.storage.directory import FILE, Directory, Identity
from scuttled.storage.errors import Damaged
from scuttled.storage.schema import SCHEMA

__all__ = [
    "FILE",
    "SCHEMA",
    "SYNC_LEVELS",
    "Batch",
    "Begun",
    "Damaged",
    "Identity",
    "ModelBatch",
    "Pieces",
    "SavedModel",
    "Storage",
    "another_life",
]

CHECKPOINT_BYTES = 16 << 20  # of write-ahead log, after which it is folded into the database
LOG_MAX = 3  # times CHECKPOINT_BYTES: from there on writers wait, the loop does not
SYNC_LEVELS = ("off", "normal", "full")
RANDOM_LIFE = 1 << 31  # lives from here on were drawn, those below were counted
_LIFE_BITS = 30  # leaves as many again to be counted on from the last one drawn

RandBits = Callable[[int], int]  # random.Random.getrandbits


def another_life(life: int, randbits: RandBits) -> int:
    """One that no other node that goes on from the same state has."""
    while True:
        drawn = RANDOM_LIFE + randbits(_LIFE_BITS)
        if drawn != life:
            return drawn


class Begun(NamedTuple):
    """As whom a daemon goes on, and what the operator is told."""

    identity: Identity
    warnings: list[str]


class Storage:
    """The state directory of one daemon. Raises StorageError when the disk does.

    A database that is damaged is set aside, and a fresh one begun: `damage` then says so.
    """

    def __init__(self, directory: Path, sync: str, now_ms: int = 0) -> None:
        self.path = directory / FILE
        self.sync = sync
        self.damage = ""  # in a sentence: what was found, and where it is now
        self.directory = Directory(directory)
        self._life = 0
        self._boot = ""
        self._runs = False
        self._meta: Meta = {}
        self._db: Database | None = None
        try:
            try:
                self._db = Database(self.path, sync)
                self._meta = self._db.meta()
            except Damaged as found:
                self.set_aside(found, now_ms)
        except BaseException:
            self._abandon()
            self.directory.close()
            raise

    @property
    def _database(self) -> Database:
        if self._db is None:
            raise Damaged(f"can't write {self.path}: there is no database")
        return self._db

    # --- damage ---

    def set_aside(self, found: Damaged, now_ms: int) -> None:
        """Put the damaged database out of the way, and begin a fresh one, with nothing in it."""
        aside = self.directory.set_aside(now_ms)
        self._abandon()
        self._meta = {}
        self.damage = f"{found.message}: it was set aside as {aside}"
        self._db = Database(self.path, self.sync)

    def begin_anew(self, found: Damaged, now_ms: int, identity: Identity) -> None:
        """The same while a daemon runs, who goes on as that one, and saves all it has."""
        self.set_aside(found, now_ms)
        self.adopt(identity)
        self._note_run()

    def _abandon(self) -> None:
        if self._db is not None:
            self._db.abandon()
            self._db = None

    # --- beginning ---

    def identity(self) -> Identity | None:
        """The node that this state belongs to; None if it is new.

        The database and the file beside it should agree. Where they don't, one was lost, or the
        daemon ended between two writes: the later life is the one to go on from.
        """
        beside = self.directory.read_identity()
        saved = self._saved_identity()
        if beside is None or saved is None:
            return saved or beside
        later = max(saved, beside, key=lambda identity: identity.life)
        return Identity(later.node_id, later.life, saved.last)

    def _saved_identity(self) -> Identity | None:
        node_id, life, last = (self._meta.get(key, 0) for key in ("node_id", "life", "hlc"))
        if not isinstance(node_id, bytes):
            return None
        assert isinstance(life, int)
        assert isinstance(last, int)
        return Identity(NodeId(node_id), life, last)

    def adopt(self, identity: Identity) -> None:
        """Belong to that node from now on."""
        self.directory.write_identity(identity)
        self._note({"node_id": identity.node_id, "life": identity.life, "hlc": identity.last})
        self._life = identity.life

    def begin(self, boot: str, randbits: RandBits, node_id: NodeId | None = None) -> Begun:
        """Find out as whom to go on, and note that a daemon runs, in that boot.

        With a key a node's id is given. Raises ConfigError if the state is another's.
        """
        known = self.identity()
        if known is not None and node_id is not None and known.node_id != node_id:
            raise ConfigError(
                f"the state in {self.directory.path} is that of node {known.node_id.hex()}, "
                f"which does not sign with the key there ({node_id.hex()})",
                hint="start it without --sign, or give the signing node a --data of its own",
            )
        warnings: list[str] = []
        if known is None:
            known = Identity(node_id or NodeId(randbits(64).to_bytes(8, "big")), 1)
            life = another_life(0, randbits) if self.damage else 1
        else:
            life, warnings = self._next_life(known, boot, randbits)
        identity = Identity(known.node_id, life, known.last)
        self.adopt(identity)
        self._boot = boot
        if self.directory.marked:
            self.directory.unmark()
        self._note_run()
        return Begun(identity, warnings)

    def _next_life(self, known: Identity, boot: str, randbits: RandBits) -> tuple[int, list[str]]:
        """The life to go on as, and why it is another one, if it is and was not told yet."""
        life = another_life(known.life, randbits)
        if self.damage:
            return life, []
        if self._saved_identity() is None:
            why = "the database of this node is gone"
        elif self.directory.marked:
            why = "this node passed on updates that it could not save before it ended"
        elif self.was_copied:
            why = "the state directory was copied or restored from a backup"
        elif self.may_have_forgotten(boot):
            why = "the machine was cut off and may have lost the last writes of this node"
            life = known.life + 1  # nobody else goes on from here
        else:
            return known.life, []
        asks = "asking the peers for what they have of it"
        return life, [f"{why}: going on as life {life}, and {asks}"]

    @property
    def was_copied(self) -> bool:
        """True if these are not the files that the last daemon left here."""
        return self._meta.get("places", self.directory.found) != self.directory.found

    def may_have_forgotten(self, boot: str) -> bool:
        """True if what the last daemon had acknowledged, or told its peers, may be lost.

        It may if it was not closed, the machine was started anew since (a power cut), and not
        every transaction was synced.
        """
        last = self._meta.get("run", "")
        level = self._meta.get("run_sync", self.sync)
        return bool(last) and last != boot and level != "full"

    def _note_run(self) -> None:
        self.directory.enter()
        places = self.directory.places()
        self._note({"run": self._boot, "run_sync": self.sync, "places": places, COUNTED: ""})
        self._runs = True

    def _note(self, meta: Meta) -> None:
        self._database.note(meta)
        self._meta.update(meta)

    def load(self, progress: Progress = lambda rows, about: None) -> Iterator[SavedModel]:
        """Every model that was saved. Raises Damaged, maybe after some; then set it aside."""
        return self._database.load(progress)

    # --- saving ---

    def write(self, batch: Batch) -> None:
        """All of it, or on StorageError nothing. May run beside the loop; one at a time."""
        meta: Meta = {}
        if batch.life != self._life:
            node_id = self._meta.get("node_id")
            if isinstance(node_id, bytes):
                self.directory.write_identity(Identity(NodeId(node_id), batch.life))
            meta["life"] = batch.life
        if batch.hlc:
            meta["hlc"] = batch.hlc
        self._database.write(batch, meta)
        self._meta.update(meta)
        self._life = batch.life

    @property
    def marked(self) -> bool:
        return self.directory.marked

    def mark(self) -> None:
        """Note, on a disk that takes nothing else, that this run may forget what it passes on."""
        self.directory.mark()

    def unmark(self) -> None:
        """All is saved."""
        self.directory.unmark()
        self._note({"places": self.directory.places()})

    # --- peers that were joined for good ---

    def read_peers(self) -> list[str]:
        """The addresses of `join --save`."""
        return self.directory.read_peers()

    def write_peers(self, addresses: Iterable[str]) -> None:
        self.directory.write_peers(addresses)

    # --- keeping ---

    @property
    def wants_checkpoint(self) -> bool:
        """True once the write-ahead log has grown enough to be folded in."""
        return self._db is not None and self._db.wal_bytes > CHECKPOINT_BYTES

    @property
    def log_is_too_long(self) -> bool:
        """True while it grows faster than it is folded in: then writers are to wait."""
        return self._db is not None and self._db.wal_bytes > LOG_MAX * CHECKPOINT_BYTES

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the database; beside the loop, it stops no writer."""
        self._database.checkpoint("PASSIVE")

    def empty_log(self) -> None:
        """Fold in what a checkpoint left, and cut the log; not while something is written."""
        self._database.checkpoint("TRUNCATE")

    @property
    def bytes(self) -> int:
        """On disk, write-ahead log included."""
        try:
            size = self.path.stat().st_size
        except OSError:
            size = 0
        return size + (self._db.wal_bytes if self._db is not None else 0)

    def close(self, last: int = 0) -> None:
        """Fold all in and let go of the directory. Nothing is lost if this never happens.

        `last` is the hlc's, if all that was accepted is saved.
        """
        try:
            if self._db is not None:
                meta: Meta = {"run": ""} if self._runs and not self.marked else {}
                if last:
                    meta["hlc"] = last
                self._db.close(meta)
        finally:
            self.directory.close()
