"""What keeps a node on disk, on a disk that fails or is damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from support.scenes import WALL, default, write
from support.stores import RNG, begun

from scuttled.errors import StorageError
from scuttled.node.node import Node
from scuttled.replica.update import Instant
from scuttled.runtime.environment import Environment
from scuttled.storage.flusher import ANEW_S, Flusher
from scuttled.storage.storage import Damaged, Storage

T = TypeVar("T")


class Jumping(Environment):
    """This machine, but for its clocks, which are the test's, and jump while a thread works."""

    def now(self) -> Instant:
        return Instant(trio.current_time(), WALL + round(1000 * trio.current_time()))

    async def beside(self, work: Callable[..., T], *args: object) -> T:
        await trio.lowlevel.checkpoint()
        return work(*args)


def begin(directory: Path) -> tuple[Node, Storage, Flusher]:
    storage = Storage(directory, "off", WALL)
    storage.begin("boot", RNG.getrandbits)
    node = begun(storage)
    return node, storage, Flusher(node, storage, Jumping())


def set_aside(directory: Path) -> int:
    return len([*directory.glob("scuttled.db.damaged-*Z")])


async def test_what_damages_one_database_does_not_fill_the_disk_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, storage, saving = begin(tmp_path)

    def damaged(self: Storage, batch: object) -> None:
        raise Damaged(f"can't write {self.path}: it is damaged")

    monkeypatch.setattr(Storage, "write", damaged)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(saving.keep_saving)
        write(node, "k")
        await trio.sleep(0.9 * ANEW_S)
        assert set_aside(tmp_path) == 1
        assert node.durability.failing
        await trio.sleep(ANEW_S)
        assert set_aside(tmp_path) == 2
        nursery.cancel_scope.cancel()
    storage.close()


async def test_a_disk_that_is_known_to_fail_keeps_its_mark_though_all_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint finds damage, and too early for another fresh database: nothing waits to be
    saved, but what is passed on from here may be forgotten."""
    node, storage, saving = begin(tmp_path)

    def damaged(self: Storage) -> None:
        raise Damaged(f"can't write {self.path}: it is damaged")

    monkeypatch.setattr(Storage, "wants_checkpoint", property(lambda self: True))
    monkeypatch.setattr(Storage, "checkpoint", damaged)
    monkeypatch.setattr(Storage, "empty_log", lambda self: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(saving.keep_saving)
        nursery.start_soon(saving.keep_saving_clocks)
        nursery.start_soon(saving.keep_checkpointing)
        await trio.sleep(0.3 * ANEW_S)
        assert node.durability.failing
        assert (node.new_lives, node.durability.is_saved()) == (1, True)
        assert (node.durability.adrift, storage.marked) == (True, True)
        nursery.cancel_scope.cancel()
    storage.close()


@pytest.mark.parametrize("works", [True, False])
async def test_at_the_end_the_mark_goes_if_all_could_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    node, storage, saving = begin(tmp_path)
    before = node.author.life

    def full(self: Storage, batch: object) -> None:
        raise StorageError(f"can't write {self.path}: no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", full)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(saving.keep_saving)
            write(node, "k")
            await trio.sleep(1)
            assert node.durability.adrift
            nursery.cancel_scope.cancel()
        if not works:
            with pytest.raises(StorageError, match="1 updates are not on disk"):
                saving.save_rest()
    if works:
        saving.save_rest()
    storage.close()
    again = Storage(tmp_path, "off", WALL)
    begin_again = again.begin("boot", RNG.getrandbits)
    assert (begin_again.identity.life == before) is works
    assert default(begun(again)).count == works
    again.close()
