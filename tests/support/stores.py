"""Storages on a disk, and nodes that begin from them."""

import random
from pathlib import Path

from scuttled.node.node import Node, NodeSettings
from scuttled.replica.hlc import Author
from scuttled.storage.storage import Identity, Storage
from support.scenes import WALL, node_id

ME = Identity(node_id(1), 1)
RNG = random.Random(1)

_opened: list[Storage] = []


def opened(directory: Path) -> Storage:
    storage = Storage(directory, "off")
    _opened.append(storage)
    if storage.identity() is None:
        storage.adopt(ME)
    return storage


def begun(storage: Storage) -> Node:
    identity = storage.identity()
    assert identity is not None
    node = Node(
        Author(identity.node_id, identity.life),
        NodeSettings("n1", "test", b"12345678"),
        stored=True,
    )
    node.begin(storage.load(), WALL)
    return node


def kept(node: Node, storage: Storage) -> None:
    """Save all, as the daemon does."""
    while (batch := node.durability.unsaved(clocks=True)) is not None:
        storage.write(batch)
        node.saved(batch)


def abandon_all() -> None:
    """Those that a test has not closed, for it plays a kill."""
    for storage in _opened:
        if storage._db is not None:
            storage._db.abandon()
    _opened.clear()
