"""State of one daemon on its disk: storage, identity and key, from opening to the last write.

The state directory is locked as long as this is open. A database that is damaged is set aside, and
the node begins anew as another life, since it may have forgotten what it wrote (I5).
"""

import logging
from contextlib import suppress
from pathlib import Path

from scuttled.config.config import Config
from scuttled.errors import StorageError
from scuttled.node.node import Node
from scuttled.replica.hlc import Author
from scuttled.replica.signatures import Signer, Verifier
from scuttled.replica.update import NodeId
from scuttled.runtime import keys
from scuttled.runtime.environment import Environment
from scuttled.storage.flusher import Flusher
from scuttled.storage.storage import Damaged, Identity, Storage, another_life

logger = logging.getLogger(__name__)


class State:
    """State that a daemon comes back with; with `--memory` it is made up for one run."""

    def __init__(self, config: Config, environment: Environment) -> None:
        """Raises ScuttledError if it can't be opened; then nothing is left open."""
        self._environment = environment
        self._home = None if config.memory else Path(config.data)
        self._trust = config.trust
        self.signer = self._read_signer() if config.sign else None
        node_id = keys.node_id(self.signer) if self.signer else None
        self.storage: Storage | None = None  # None: nothing is kept
        self.flusher: Flusher | None = None  # once there is a node to be kept
        if self._home is None:
            self.identity = Identity(node_id or NodeId(environment.rng.randbytes(8)), 1)
        else:
            now_ms = environment.now().wall_ms
            self.storage = Storage(self._home, config.sync, now_ms)
            self.identity = self._begin(self.storage, node_id)

    def _begin(self, storage: Storage, node_id: NodeId | None) -> Identity:
        try:
            begun = storage.begin(
                self._environment.boot_id(), self._environment.rng.getrandbits, node_id
            )
        except BaseException:
            with suppress(StorageError):  # what went wrong first is what there is to tell
                storage.close()
            raise
        for words in begun.warnings:
            logger.warning("%s", words)
        if storage.damage:
            _log_damage(storage, begun.identity)
        return begun.identity

    # --- the key ---

    def _read_signer(self) -> Signer:
        """Signs for this node; its key is made at the first start. Raises ScuttledError."""
        home = self._home
        seed = keys.read_key(home) if home else None
        if seed is None:
            seed = self._make_seed()
        elif home and not keys.has_check(home):
            keys.write_check(home, seed)
        return keys.make_seal(seed)

    def _make_seed(self) -> bytes:
        """Raises StorageError."""
        seed = self._environment.rng.randbytes(keys.SEED_BYTES)
        if self._home:
            keys.write_key(self._home, seed)
        return seed

    def author(self) -> Author:
        """The author of all that this node writes."""
        identity = self.identity
        environment = self._environment
        author = Author(
            identity.node_id, identity.life, identity.last, lambda: environment.now().wall_ms
        )
        if self.signer is None:
            return author

        def renew_key() -> NodeId:
            """Another live node has ours: sign with another one. Raises StorageError."""
            self.signer = keys.make_seal(self._make_seed())
            author.signer = self.signer
            return keys.node_id(self.signer)

        trusted = [NodeId(bytes.fromhex(node)) for node in self._trust]
        mine = [author.node_id] if trusted else []
        author.signer = self.signer
        author.another_id = renew_key
        author.verifier = Verifier(keys.check_with_ed25519(), frozenset([*trusted, *mine]))
        return author

    # --- what is held ---

    def begin_anew(self, found: Damaged) -> None:
        """Set the damaged database aside. Raises StorageError."""
        assert self.storage is not None
        now_ms = self._environment.now().wall_ms
        life = another_life(self.identity.life, self._environment.rng.getrandbits)
        self.identity = Identity(self.identity.node_id, life, self.identity.last)
        self.storage.begin_anew(found, now_ms, self.identity)
        _log_damage(self.storage, self.identity)

    def keep(self, node: Node) -> None:
        """From now on the flusher has what the node holds."""
        if self.storage is not None:
            self.flusher = Flusher(node, self.storage, self._environment)

    def close(self) -> None:
        """Save the rest. Raises StorageError if something that was accepted is not on disk."""
        if self.storage is None:
            return
        last = 0
        try:
            if self.flusher is not None:
                self.flusher.save_rest()
                last = self.flusher.node.author.hlc.last
        except BaseException:
            with suppress(StorageError):
                self.storage.close()
            raise
        self.storage.close(last)


def _log_damage(storage: Storage, identity: Identity) -> None:
    logger.error(
        "%s; this node begins anew as life %d, and asks the peers for the state",
        storage.damage,
        identity.life,
    )
