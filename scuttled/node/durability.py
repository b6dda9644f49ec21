"""Durability of a node's state: what of it is on disk, what is not, and whether the disk takes it.

Storage is a reader of every log. It is woken at news, takes them with `unsaved`, and says `saved`
once they are on disk; only then do readers that speak to others go on (I5). What a disk does
besides, the one who writes says, too:

             fails(words)                      drift(True)
    works  ---------------->  failing  ---------------------->  failing, adrift
           <----------------           (a mark says so on disk)
             fails("")

While it fails, users' writes are refused and wait; reads go on. Adrift, what peers send is passed
on though it is not saved, since the mark makes the next start begin a new life.
"""

from collections.abc import Callable, Collection, Mapping

from scuttled.errors import StorageError
from scuttled.node.subscribers import Subscribers, Subscription, Waker
from scuttled.replica.checkpoint import Batch, forget_saved, model_batch, note_saved
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import TICKS_PER_MS

HLC_AHEAD_TICKS = 1000 * TICKS_PER_MS  # how far the hlc is persisted ahead of use

ShowModel = Callable[[Scuttlebutt], None]


class Durability:
    """Durability of one node's models."""

    def __init__(
        self,
        models: Mapping[str, Scuttlebutt],
        author: Author,
        show: ShowModel,
        *,
        stored: bool,
    ) -> None:
        """`show` is called with each model of which readers that speak to others may see more."""
        self.models = models
        self.author = author
        self.stored = stored  # False: it lives in memory, and is as durable as it can be
        self.failing = ""  # why the disk takes nothing
        self.adrift = False  # what is not saved is passed on all the same
        self.urgent = False  # a writer waits for what is not on disk; until storage turns to it
        self.hurried = False  # a writer waits until others have it on disk: clocks go out at once
        self._show = show
        self._storage = Subscribers()
        self._dirty: dict[str, Scuttlebutt] = {}  # all models that are not saved are in it
        self._hlc_saved = author.hlc.last  # at or above every timestamp that was made (I1)

    # --- what is new ---

    def subscribe(self, wake: Waker) -> Subscription:
        """Storage's own: have `wake` called when there is something for it to do."""
        return self._storage.add(wake)

    def wake_storage(self) -> None:
        self._storage.wake()

    def adopt(self, model: Scuttlebutt) -> None:
        """A model is new on this node."""
        if self.stored:
            model.log.begin_stored()
        model.log.drift(self.adrift)
        self.note_change(model)

    def note_change(self, model: Scuttlebutt) -> None:
        """Something of it is not on disk; that can wait until storage comes by."""
        self._dirty[model.name] = model

    def accepted(self, model: Scuttlebutt, *, urgent: bool) -> None:
        """Something of it is new: storage is woken, and nobody else before it is done."""
        self._dirty[model.name] = model
        if self.stored:
            self.urgent = self.urgent or urgent
            self._storage.wake()
        if self.adrift or not self.stored:
            self._show(model)

    def hurry(self, model: Scuttlebutt) -> None:
        """A writer waits until others have on disk what this model holds now."""
        model.hurry()
        self.hurried = True
        self._storage.wake()

    def end_hurry(self) -> bool:
        """True once all that was hurried for is on disk; then nobody hurries any more."""
        over = self.hurried and self.is_saved()
        self.hurried = self.hurried and not over
        return over

    # --- saving ---

    def saving_begins(self) -> None:
        """Storage turns to all that is new by now."""
        self.urgent = False

    def unsaved(self, *, clocks: bool) -> Batch | None:
        """The next transaction: what storage lacks; None if it lacks nothing.

        With `clocks` false only models with new updates: a saved clock may lag behind, since
        it then claims less than is there, and what a peer sends once more changes nothing.
        """
        dirty: Collection[Scuttlebutt] = self._dirty.values()
        clocks = clocks or self.hurried
        if not clocks:
            dirty = [model for model in dirty if model.log.end > model.log.saved]
        models = [model_batch(model, clocks=clocks) for model in dirty]
        last = self.author.hlc.last
        hlc = last + HLC_AHEAD_TICKS if last > self._hlc_saved else 0
        return Batch(models, self.author.life, hlc) if models else None

    def saved(self, batch: Batch) -> None:
        """That batch is on disk: readers that speak to others may go on."""
        for part in batch.models:
            model = self.models[part.name]
            note_saved(model, part)
            if model.is_saved:
                self._dirty.pop(part.name, None)
            self._show(model)
        if batch.life == self.author.life:  # else it is of before the future was taken back
            self._hlc_saved = batch.hlc or self._hlc_saved

    def is_saved(self) -> bool:
        """True while all that was accepted is on disk (or needs no disk)."""
        return not self.stored or all(model.is_saved for model in self._dirty.values())

    @property
    def rows_unsaved(self) -> int:
        """Of the users' updates, how many are not on disk."""
        if not self.stored:
            return 0
        logs = (model.log for model in self._dirty.values() if not model.is_system)
        return sum(log.count_between(log.saved, log.end) for log in logs)

    # --- what a disk does ---

    def fails(self, words: str) -> None:
        """The disk takes nothing; "": it does again."""
        self.failing = words

    def drift(self, adrift: bool) -> None:
        """Pass on what is not saved, or no longer, which wants all to be saved."""
        self.adrift = adrift
        for model in self.models.values():
            model.log.drift(adrift)
            self._show(model)

    def check_writable(self) -> None:
        """Raises StorageError while the disk takes nothing."""
        if self.failing:
            raise StorageError(f"can't write: {self.failing}; reads and gossip go on")

    def forget_saved(self) -> None:
        """Storage has lost all that it had, and is to have everything again."""
        for model in self.models.values():
            forget_saved(model)
            self._dirty[model.name] = model
        self._hlc_saved = 0

    # --- models that are replaced ---

    @property
    def is_settled(self) -> bool:
        """True while storage is ready for models that are replaced."""
        under_way = any(model.saved.replaced for model in self.models.values())
        return not (self.failing or self.adrift or under_way)

    def hlc_fell(self) -> None:
        """The future was taken back: the hlc that is on disk is too high."""
        self._hlc_saved = 0
