"""All that was ever written, and what must hold of it on every node."""

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

from scuttled.node.node import Node
from scuttled.replica.change import CLEAR, DELETED, parse, slot_of
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import Source, Update, source_text, timestamp_of


class Violation(AssertionError):
    """Something that must never be was seen."""


class Written(NamedTuple):
    """An update, where it goes, and the end of its writer's log just after it."""

    update: Update
    slot: bytes
    end: int  # 0: acknowledged, or it came through a kill; it may not be lost any more


class History:
    """Every update by model and source, but for what a kill took before anybody could see it."""

    def __init__(self) -> None:
        self.models: dict[str, dict[Source, list[Written]]] = {}
        self.seen: Callable[[str, Written], bool] = lambda model, written: False  # by anybody
        self._graves: dict[tuple[str, bytes], list[Update]] = {}  # deletions, and what expires
        self._ever: dict[tuple[str, Source, int], Update] = {}  # also what a kill took
        self._writers: dict[Source, str] = {}

    def claim(self, source: Source, name: str) -> None:
        """A machine writes as that source. Raises Violation if another one ever did (I5)."""
        if self._writers.setdefault(source, name) != name:
            raise Violation(f"{name} writes as {source_text(source)}, {self._writers[source]} did")

    @property
    def count(self) -> int:
        """Updates that were ever written."""
        return len(self._ever)

    def find(self, model: str, source: Source, time: int) -> Update | None:
        """The update of that rank, if it was ever written."""
        return self._ever.get((model, source, time))

    def written(self, model: str, source: Source, time: int) -> Written | None:
        """That write, unless it was lost."""
        known = self.models.get(model, {}).get(source, [])
        at = bisect_left(known, time, key=lambda written: written.update.timestamp)
        return known[at] if at < len(known) and known[at].update.timestamp == time else None

    def holds(self, model: Scuttlebutt, written: Written) -> bool:
        """True if an update is in the state, or dominated there, or was by what was collected."""
        assert isinstance(model, Slots)
        rank = (written.update.timestamp, written.update.source)
        found = (model.lookup(written.slot), model.lookup(CLEAR))
        if any(slot is not None and (slot.timestamp, slot.source) >= rank for slot in found):
            return True
        graves = self._graves.get((model.name, written.slot), [])
        return any(
            (grave.timestamp, grave.source) >= rank
            and model.floor.covers(grave.source, grave.timestamp)
            for grave in graves
        )

    def add(self, model: str, update: Update, slot: bytes, end: int) -> None:
        """Note a write. Raises Violation if it does not stand above its source's others (I1)."""
        known = self.models.setdefault(model, {}).setdefault(update.source, [])
        if not known or known[-1].update.timestamp < update.timestamp:
            known.append(Written(update, slot, end))
            self._ever[model, update.source, update.timestamp] = update
            found = parse(update.record, update.source)
            if found.kind == DELETED or found.expires_ms:
                self._graves.setdefault((model, slot), []).append(update)
            return
        at = bisect_left(known, update.timestamp, key=lambda written: written.update.timestamp)
        if known[at].update != update:  # an old one is read again when it expires
            raise Violation(f"{update} in {model} is not above {known[-1].update}")

    def check_truthful(self, model: Scuttlebutt, checked: dict[Source, int]) -> None:
        """Check that all is held that the clock covers (I3). `checked`: what was seen before."""
        for source, time in model.clock.items():
            known = self.models.get(model.name, {}).get(source, [])
            at = checked.get(source, 0)
            while at < len(known) and known[at].update.timestamp <= time:
                if not self.holds(model, known[at]):
                    raise Violation(f"{model.name}'s clock covers {known[at]}, which is not there")
                at += 1
            checked[source] = at

    def check_known(self, model: str, record: bytes, source: Source) -> None:
        """Somebody wrote that. Raises Violation."""
        time = timestamp_of(record)
        written = self._ever.get((model, source, time))
        if written is None or written.record != record:
            raise Violation(f"{Update.of(record, source)} in {model} was never written")

    def check_covered(self, model: Scuttlebutt, source: Source) -> None:
        """The clock covers all that this source wrote and has not lost. Raises Violation."""
        known = self.models.get(model.name, {}).get(source, [])
        if known and not model.clock.covers(source, known[-1].update.timestamp):
            raise Violation(f"{model.name} lacks {known[-1]}, though its writer is here")

    def note_acknowledged(self, models: dict[str, Scuttlebutt], writer: str) -> None:
        """Before a kill: what stands below `visible` was acknowledged, and is not to be lost."""
        for name, source, known in self._by(writer):
            visible = models[name].log.durable if name in models else 0
            self.models[name][source] = [
                written._replace(end=0) if written.end <= visible else written for written in known
            ]

    def forget_lost(self, models: dict[str, Scuttlebutt], writer: str, now: Source) -> None:
        """After a restart: what nobody saw may be gone. Raises Violation for what may not (I5).

        What an earlier life wrote may have gone by a RESET; its source is not `now`'s.
        """
        for name, source, known in self._by(writer):
            kept = []
            for written in known:
                if name in models and self._came_through(models[name], written):
                    kept.append(written._replace(end=0))
                elif self.seen(name, written):
                    if source == now:
                        raise Violation(
                            f"{written} of {name} was sent before it was saved, and is lost"
                        )
                    kept.append(written)
                elif written.end == 0 and source == now:
                    raise Violation(f"{written} of {name} was acknowledged, and is lost")
            self.models[name][source] = kept

    def _came_through(self, model: Scuttlebutt, written: Written) -> bool:
        """True if a kill has left it. That something outranks it is no sign of that, if it was not
        acknowledged: a node that begins writes rows of its own."""
        assert isinstance(model, Slots)
        slot = model.lookup(written.slot)
        rank = (written.update.timestamp, written.update.source)
        if slot is not None and (slot.timestamp, slot.source) == rank:
            return True
        return written.end == 0 and self.holds(model, written)

    def _by(self, writer: str) -> list[tuple[str, Source, list[Written]]]:
        return [
            (name, source, known)
            for name, sources in self.models.items()
            for source, known in sources.items()
            if self._writers.get(source) == writer
        ]


class Witness:
    """A reader of one node's logs, like any other: what it writes goes into the history.

    Each look also checks that what others wrote was written, and that clocks that moved are
    truthful.
    """

    def __init__(self, history: History, node: Node, name: str) -> None:
        self.history = history
        self.node = node
        self.name = name
        self.sources: set[Source] = {node.author.source}  # under which it has written
        self._read: dict[str, int] = {}
        self._checked: dict[str, dict[Source, int]] = {}
        self._revisions: dict[str, int] = {}
        self._resets = 0

    def look(self) -> None:
        """Raises Violation."""
        self.read()
        self.check()

    def read(self) -> None:
        """Read what is new in the logs."""
        self.sources.add(self.node.author.source)
        self.history.claim(self.node.author.source, self.name)
        for name, model in self.node.models.items():
            at = self._read.get(name, 0)
            while at < model.log.end:
                piece = model.log.piece(at, model.log.end)
                at = piece.next
                for place, record, source in zip(
                    piece.positions, piece.records, piece.sources, strict=True
                ):
                    if record is not None:
                        self._note(name, record, source, place)
            self._read[name] = at

    def _note(self, name: str, record: bytes, source: Source, place: int) -> None:
        if source in self.sources:
            self.history.add(name, Update.of(record, source), slot_of(record), place + 1)
        else:
            self.history.check_known(name, record, source)

    def check(self) -> None:
        """Clocks that moved are truthful (I3)."""
        resets = len(self.node.replaced.resets) + len(self.node.replaced.taken_back)
        if self._resets != resets:  # a clock went back: look at all of it again
            self._resets = resets
            self._checked.clear()
            self._revisions.clear()
        for name, model in self.node.models.items():
            if self._revisions.get(name) != model.clock.revision:
                self._revisions[name] = model.clock.revision
                self.history.check_truthful(model, self._checked.setdefault(name, {}))
