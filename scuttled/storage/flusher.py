"""Keeps what the node holds on disk, whatever the disk does.

All that came in one turn of the loop is one transaction. If the disk fails, the daemon goes on:
whoever waits for a write is told that it is not on disk, further writes are refused, and the
transaction is tried again until it succeeds. What peers send is kept in memory and passed on
meanwhile, once a mark on disk says that this run may forget it. If the database turns out to be
damaged, it is set aside, and all that is in memory is saved to a fresh one.
"""

import logging
from collections.abc import Callable

import trio

from scuttled.errors import StorageError
from scuttled.node.node import Node
from scuttled.replica.checkpoint import SAVE_ENTRIES_MAX
from scuttled.replica.update import NodeId
from scuttled.runtime.environment import Environment
from scuttled.runtime.wakeup import Wakeup
from scuttled.storage.storage import Batch, Damaged, Identity, Storage, another_life

logger = logging.getLogger(__name__)

SHORTEN_S = 0.01  # between attempts to fold in a log that is too long...
SHORTEN_TRIES = 100  # ...and how many there are before a write goes on
CLOCKS_S = 0.2  # between savings of the clocks; a clock on disk may lag, never lead
CHECKPOINT_S = 1.0  # between looks at the write-ahead log
RETRY_S = (0.1, 1.0)  # after a failure, doubling
ANEW_S = 10.0  # at most so often: what damages one database may damage the next


class Flusher:
    """Storage's side of one node. `ring` tells that there is something to save."""

    def __init__(self, node: Node, storage: Storage, environment: Environment) -> None:
        self.node = node
        self.storage = storage
        self.environment = environment
        self.now = environment.now
        self.rng = environment.rng
        self._bell = Wakeup()
        self._bell.ring()  # what `begin` wrote
        self._clocks = False  # with the next transaction
        self._log_is_long = False  # a checkpoint left much of it
        self._retry_s = RETRY_S[0]
        self._failures = 0
        self._checkpoint_fails = False
        self._found: Damaged | None = None  # by a checkpoint
        self._anew_at_s = -ANEW_S
        self.durability = node.durability
        self.durability.subscribe(self._bell.ring)

    async def keep_saving(self) -> None:
        """Storage reads the logs: all that came in one turn of the loop is one transaction."""
        node = self.node
        while True:
            await self._bell.heard()
            if not self.durability.urgent:
                await trio.lowlevel.checkpoint()  # nobody waits for it; let watchers go first
            self.durability.saving_begins()
            if self._found is not None:
                self._begin_anew(self._found)
                self._found = None
            if node.twin_words:
                self._take_another_id()
            clocks = self._clocks
            self._clocks = False
            while (batch := self.durability.unsaved(clocks=clocks)) is not None:
                if not await self._save(batch):
                    await trio.sleep(self._retry_s)
                elif self.storage.log_is_too_long:
                    await self._shorten_log()
                elif batch.rows >= SAVE_ENTRIES_MAX:
                    await trio.lowlevel.checkpoint()
            self._land()
            if self._log_is_long:
                self._log_is_long = False
                await self._fold(self.storage.empty_log)

    async def _shorten_log(self) -> None:
        """Let writers wait until it is folded in; a checkpoint under way may be in the way."""
        for _ in range(SHORTEN_TRIES):
            await self._fold(self.storage.empty_log)
            if self._checkpoint_fails or not self.storage.log_is_too_long:
                return
            await trio.sleep(SHORTEN_S)

    async def keep_saving_clocks(self) -> None:
        """A clock on disk may lag behind (never lead): so it is saved at most every CLOCKS_S."""
        while True:
            if not self.durability.is_saved():
                self._clocks = True
                self._bell.ring()
            await trio.sleep(CLOCKS_S)

    async def keep_checkpointing(self) -> None:
        """Most of it beside the writers; what they added meanwhile, in a pause of theirs."""
        while True:
            await trio.sleep(CHECKPOINT_S)
            if self.storage.wants_checkpoint and not self.durability.failing:
                await self._fold(self.storage.checkpoint)
                self._log_is_long = self.storage.wants_checkpoint
                self._bell.ring()

    async def _save(self, batch: Batch) -> bool:
        """True if it is on disk. If not, it is to be tried again: soon if the database is new."""
        storage = self.storage
        try:
            if storage.sync == "full" or batch.slow:  # an fsync takes as long as it takes
                await self.environment.beside(storage.write, batch)
            else:
                storage.write(batch)
        except Damaged as found:
            return self._begin_anew(found)
        except StorageError as error:
            self._fails(error)
            return False
        self.node.saved(batch)
        self._works()
        return True

    def save_rest(self) -> None:
        """At the end, a last time. Raises StorageError, which tells what is not on disk."""
        node = self.node
        try:
            while (batch := self.durability.unsaved(clocks=True)) is not None:
                self.storage.write(batch)
                node.saved(batch)
            if self.durability.adrift:
                self.storage.unmark()
        except StorageError as error:
            if self.durability.rows_unsaved:  # else a clock, which may lag behind
                count = f"{self.durability.rows_unsaved:,} updates are not on disk"
                raise StorageError(f"{error.message}: {count}", hint=error.hint) from error

    # --- a disk that fails ---

    def _fails(self, error: StorageError) -> None:
        node = self.node
        if not self.durability.failing:
            logger.error(
                "%s: users' writes are refused until the disk takes them; reads and gossip go on",
                error.message,
            )
            self._retry_s = RETRY_S[0]
            self._failures = 0
        else:
            self._retry_s = min(2 * self._retry_s, RETRY_S[1])
        self._failures += 1
        node.fails(error.message.removeprefix("can't write "))
        if not self.durability.adrift:
            self._cast_off()

    def _cast_off(self) -> None:
        try:
            self.storage.mark()
        except StorageError:
            return  # what is not saved stays here; peers' updates reach others another way
        self.durability.drift(True)

    def _works(self) -> None:
        if self.durability.failing:
            logger.info("the disk takes writes again, after %d failures", self._failures)
            self.node.fails("")

    def _land(self) -> None:
        """All is saved: nothing that this node passed on can be forgotten any more."""
        if self.durability.adrift and not self.durability.failing:
            try:
                self.storage.unmark()
            except StorageError as error:
                logger.warning("%s: tried again with the next write", error.message)
                return
            self.durability.drift(False)

    # --- another live node has our id ---

    def _take_another_id(self) -> None:
        """On disk first. If the disk fails, this comes again with the next handshake."""
        node = self.node
        another = node.author.another_id
        try:
            node_id = another() if another else NodeId(self.rng.getrandbits(64).to_bytes(8, "big"))
            self.storage.adopt(Identity(node_id, 1, node.author.hlc.last))
        except StorageError as error:
            logger.error("%s, and no other id could be taken: %s", node.twin_words, error)
            node.no_other_id()
        else:
            node.live_elsewhere(node_id, self.now().wall_ms)

    # --- a damaged database ---

    def _begin_anew(self, found: Damaged) -> bool:
        """Set it aside; True if there is a fresh one."""
        author = self.node.author
        now = self.now()
        if now.mono_s - self._anew_at_s < ANEW_S:
            self._fails(found)
            return False
        life = another_life(author.life, self.rng.getrandbits)
        identity = Identity(author.node_id, life, author.hlc.last)
        try:
            self.storage.begin_anew(found, now.wall_ms, identity)
        except StorageError as error:
            self._fails(error)
            return False
        self._anew_at_s = now.mono_s
        self.node.begin_anew(life, now.wall_ms)
        logger.error(
            "%s; all that is in memory is saved anew, and this node goes on as life %d",
            self.storage.damage,
            life,
        )
        return True

    async def _fold(self, checkpoint: Callable[[], None]) -> None:
        """A checkpoint, beside the loop. That it fails is no harm yet."""
        try:
            await self.environment.beside(checkpoint)
        except Damaged as found:
            self._found = found  # for the task that saves: it may be in the middle of a write
            self._bell.ring()
        except StorageError as error:
            if not self._checkpoint_fails:
                logger.warning("%s: tried again every second", error.message)
            self._checkpoint_fails = True
        else:
            self._checkpoint_fails = False
