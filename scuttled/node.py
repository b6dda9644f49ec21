"""The doorway: what holds a daemon's models and links, and through which every update passes (I6).

Plain and synchronous, so that the simulator runs this very code. A local write and a peer's DELTA
end in the same `accepted`: readers of the model's log are woken, storage first. When storage has
written (`saved`), links are woken: what is not on disk is not sent (I5). Waking never does work.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from scuttled import __version__
from scuttled.core.handshake import Refusal
from scuttled.core.hlc import Author
from scuttled.core.link import Host, Link
from scuttled.core.messages import PROTOCOL, Code, Delta, Hello
from scuttled.core.scuttlebutt import Received, Scuttlebutt
from scuttled.core.slots import JSON, Slots, parse
from scuttled.core.update import (
    TICKS_PER_MS,
    Instant,
    NodeId,
    Source,
    node_of,
    source_text,
    timestamp_of,
)
from scuttled.errors import DataError, Refused, StorageError
from scuttled.models import MODELS
from scuttled.models.map import Map
from scuttled.storage import Batch, SavedModel, model_batch

DEFAULT_MODEL = "default"
MEMBERS = "_members"  # who is in the cluster; each node writes its own row
MODELS_MAX = 1024
SAVE_ENTRIES_MAX = 2048  # of one model in one transaction: some 3 ms
NOTICES_MAX = 100
HLC_AHEAD_TICKS = 1000 * TICKS_PER_MS  # how far the hlc is persisted ahead of use
REPEAT_S = 60.0  # between two notices that updates of one model come from the future

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")

Waker = Callable[[], None]


class Settings(NamedTuple):
    """What a node says of itself."""

    name: str
    cluster: str
    incarnation: bytes  # 8 random bytes for each start
    address: str = ""  # where it can be dialled
    max_skew_ms: int = 60_000


class Node(Host):
    """One member of a cluster: its models, its links, its author."""

    def __init__(self, author: Author, settings: Settings, *, stored: bool) -> None:
        self.author = author
        self.settings = settings
        self.max_skew_ms = settings.max_skew_ms
        self.stored = stored
        self.models: dict[str, Scuttlebutt] = {}
        self.links: dict[NodeId, Link] = {}  # established ones
        self.names: dict[NodeId, str] = {}
        self.watchers: set[Waker] = set()  # woken when something was accepted
        self.progress: set[Waker] = set()  # woken when something was saved or acknowledged
        self.wake_storage: Waker = lambda: None
        self.urgent = False  # somebody waits for storage
        self.failing = ""  # why the disk takes nothing
        self.adrift = False  # what is not saved is passed on all the same
        self.notices: list[str] = []  # for the shell's log
        self.future = 0  # updates refused as of the future so far
        self.new_lives = 0
        self._future_told: dict[str, float] = {}  # by model, when it was last said
        self._dirty: dict[str, Scuttlebutt] = {}  # has something that storage lacks
        self._names_seen = 0
        self._hlc_saved = author.hlc.last

    # --- models ---

    def begin(self, saved: Iterable[SavedModel], wall_ms: int) -> None:
        """Take up what storage kept, and have what every node has."""
        for model in saved:
            self._open(model.name, model.data_type).restore(
                model.positions, model.records, model.sources, model.clock
            )
        for name in (DEFAULT_MODEL, MEMBERS):
            if name not in self.models:
                self._open(name, Map.data_type)
        self._announce(wall_ms)

    def _open(self, name: str, data_type: str) -> Scuttlebutt:
        if not _NAME.fullmatch(name):
            raise DataError(
                f"model name '{name:.80}', allowed are 1 to 64 of letters, digits, . _ -"
            )
        if data_type not in MODELS:
            raise DataError(f"data type '{data_type:.40}', allowed are {', '.join(MODELS)}")
        if len(self.models) >= MODELS_MAX:
            raise Refused(f"there are {MODELS_MAX} models already, the most there can be")
        model = MODELS[data_type](name, self.author)
        model.log.stored = self.stored
        model.log.adrift = self.adrift
        self.models[name] = model
        self._dirty[name] = model
        return model

    def model(self, name: str) -> Scuttlebutt:
        """A model that is there. Raises Refused."""
        found = self.models.get(name)
        if found is None:
            raise Refused(f"no model '{name:.80}'")
        return found

    def create(self, name: str, data_type: str) -> bool:
        """Have a model of that type; False if it was there. Raises Refused at another type."""
        known = self.models.get(name)
        if known is None:
            if name.startswith("_"):
                raise Refused(f"model '{name:.80}': names that begin with _ are the system's")
            self.accepted(self._open(name, data_type))
            return True
        if known.data_type != data_type:
            raise Refused(f"model '{name}' is a {known.data_type}, not a {data_type}")
        return False

    def model_to_write(self, name: str, data_type: str) -> Scuttlebutt:
        """A model for a user's write, created if it is new. Raises Refused, DataError."""
        if name.startswith("_"):
            raise Refused(f"model '{name:.80}' is the system's: it can be read, not written")
        self.check_writable()
        self.create(name, data_type)
        return self.models[name]

    def user_models(self) -> Iterator[Scuttlebutt]:
        return (model for name, model in self.models.items() if not name.startswith("_"))

    # --- the doorway ---

    def accepted(self, model: Scuttlebutt, *, urgent: bool = True) -> None:
        """Something of this model is new: wake its readers.

        It is urgent when a writer waits until it is saved; a peer's updates let watchers go first.
        """
        for wake in tuple(self.watchers):
            wake()
        if model.name == MEMBERS:
            self._learn_names()
        self._dirty[model.name] = model
        if self.stored:
            self.urgent = self.urgent or urgent
            self.wake_storage()
        if self.adrift or not self.stored:
            self._tell_links(model)

    def _tell_links(self, model: Scuttlebutt) -> None:
        for link in self.links.values():
            link.model_changed(model)
        self._made_progress()

    def _made_progress(self) -> None:
        for wake in tuple(self.progress):
            wake()

    def expire(self, wall_ms: int) -> None:
        """Let keys go whose time is over."""
        for model in self.models.values():
            if isinstance(model, Slots) and model.expire(wall_ms):
                self.accepted(model)

    def next_expiry_ms(self) -> int | None:
        times = [
            model.next_expiry_ms() for model in self.models.values() if isinstance(model, Slots)
        ]
        return min((time for time in times if time is not None), default=None)

    # --- storage, a reader of every log ---

    def unsaved(self, *, clocks: bool) -> Batch | None:
        """What storage lacks, as one transaction; None if it lacks nothing.

        With `clocks` false only models with new updates: a saved clock may lag behind, since
        it then claims less than is there, and what a peer sends once more changes nothing.
        """
        dirty: Collection[Scuttlebutt] = self._dirty.values()
        if not clocks:
            dirty = [model for model in dirty if model.log.end > model.log.saved]
        models = [model_batch(model, SAVE_ENTRIES_MAX, clocks=clocks) for model in dirty]
        last = self.author.hlc.last
        hlc = last + HLC_AHEAD_TICKS if last > self._hlc_saved else 0
        return Batch(models, self.author.life, hlc) if models else None

    def saved(self, batch: Batch) -> None:
        """That batch is on disk: readers that speak to others may go on."""
        for part in batch.models:
            model = self.models[part.name]
            log = model.log
            log.saved = part.end
            model.saved_revision = part.revision
            del log.freed[: len(part.freed)]
            if model.is_saved:
                self._dirty.pop(part.name, None)
            self._tell_links(model)
        self._hlc_saved = batch.hlc or self._hlc_saved

    def begin_anew(self, life: int, wall_ms: int) -> None:
        """Storage has lost all: go on as that life, and have everything saved again."""
        for model in self.models.values():
            model.log.forget_saved()
            model.saved_revision = 0
            self._dirty[model.name] = model
        self._hlc_saved = 0
        self.author.live_as(life)
        self.new_lives += 1
        self._announce(wall_ms)

    def fails(self, words: str) -> None:
        """The disk takes nothing; "": it does again. Whoever waits for it is told."""
        self.failing = words
        self._made_progress()

    def drift(self, adrift: bool) -> None:
        """Pass on what is not saved, or no longer, which wants all to be saved."""
        self.adrift = adrift
        for model in self.models.values():
            model.log.adrift = adrift
            self._tell_links(model)

    def check_writable(self) -> None:
        """Raises StorageError while the disk takes nothing."""
        if self.failing:
            raise StorageError(f"can't write: {self.failing}; reads and gossip go on")

    def is_saved(self) -> bool:
        """Whether all that was accepted so far is on disk (or needs no disk)."""
        return not self.stored or all(model.is_saved for model in self._dirty.values())

    @property
    def rows_unsaved(self) -> int:
        return sum(model.log.end - model.log.saved for model in self._dirty.values() if self.stored)

    # --- members ---

    def _announce(self, wall_ms: int) -> None:
        """Write this node's row of `_members`, if it changed."""
        members = self.models[MEMBERS]
        assert isinstance(members, Map)
        key = self.author.node_id.hex()
        row = {
            "name": self.settings.name,
            "address": self.settings.address,
            "version": __version__,
            "life": self.author.life,
        }
        text = json.dumps(row).encode()
        found = members.find(key, wall_ms)
        if found is None or found.payload != text:
            members.put(key, JSON, text, wall_ms)
        self.accepted(members)

    def _learn_names(self) -> None:
        log = self.models[MEMBERS].log
        while self._names_seen < log.end:
            piece = log.piece(self._names_seen, log.end)
            self._names_seen = piece.next
            for record, source in zip(piece.records, piece.sources, strict=True):
                if record is not None:
                    slot = parse(record, source)
                    self.names[node_of(source)] = _name_in(slot.payload)

    def name_of(self, source: Source) -> str:
        return self.names.get(node_of(source), "")

    # --- what a link wants of us ---

    def hello(self, now: Instant) -> Hello:
        mine = self.settings
        return Hello(
            *PROTOCOL, mine.cluster, self.author.node_id, mine.incarnation, mine.name, mine.address,
            __version__, now.wall_ms,
        )  # fmt: skip

    def establish(self, link: Link, now: Instant) -> None:
        """Settle which of two links between the same nodes stays: see `_prefers`."""
        assert link.peer is not None
        peer = link.peer
        other = self.links.get(peer.node_id)
        if other is not None and other is not link and other.ended is None:
            if not self._prefers(link, other):
                raise Refusal(Code.DUPLICATE, f"{peer.name} is linked already")
            other.close(Code.DUPLICATE, "another link takes over")
        self.links[peer.node_id] = link
        self.names.setdefault(peer.node_id, peer.name)
        self._made_progress()

    def _prefers(self, new: Link, old: Link) -> bool:
        """If both nodes dialled, the link dialled by the smaller id stays, on both sides.

        If one node dialled twice, it decides: as the dialler it keeps its live link; the other
        end hears nothing on the second unless the dialler wants it.
        """
        assert new.peer is not None
        assert old.peer is not None
        if new.peer.incarnation != old.peer.incarnation:
            return True  # the peer was restarted; the old link is a ghost
        if bool(new.dialled) == bool(old.dialled):
            return not new.dialled
        return bool(new.dialled) == (self.author.node_id < new.peer.node_id)

    def gone(self, link: Link) -> None:
        """The link is over."""
        if link.peer is not None and self.links.get(link.peer.node_id) is link:
            del self.links[link.peer.node_id]
        self._made_progress()

    def models_to_share(self) -> Iterable[Scuttlebutt]:
        """Small ones and membership first."""
        return sorted(self.models.values(), key=lambda m: (m.name != MEMBERS, m.log.live))

    def model_for_peer(self, name: str, data_type: str) -> Scuttlebutt:
        model = self.models.get(name)
        if model is None:
            try:
                model = self._open(name, data_type)
            except (DataError, Refused) as error:
                code = Code.MODELS if isinstance(error, Refused) else Code.TYPE
                raise Refusal(code, error.message) from None
            self.accepted(model)
        elif model.data_type != data_type:
            raise Refusal(
                Code.TYPE,
                f"model '{name}' is a {model.data_type} on {self.settings.name}, "
                f"and a {data_type:.40} on the other node",
            )
        return model

    def peer_clock(self, model: Scuttlebutt, times: Mapping[Source, int], now: Instant) -> None:
        mine = self.author.source
        if times.get(mine, 0) > model.clock[mine]:
            self.author.live_as(self.author.life + 1)
            most = (now.wall_ms + self.max_skew_ms) * TICKS_PER_MS  # a peer's word, so bounded (I9)
            self.author.hlc.observe(min(times[mine], most))
            self.new_lives += 1
            self.notice(
                f"a peer knows more of {source_text(mine)} than this node does (state restored or "
                f"lost?): going on as {source_text(self.author.source)}"
            )
            self._announce(now.wall_ms)

    def heard(self, link: Link, model: Scuttlebutt, delta: Delta, received: Received) -> None:
        if received.refused:
            self._refused_future(link, model, received)
        if received.end > received.start or delta.commit:
            self.accepted(model, urgent=False)

    def _refused_future(self, link: Link, model: Scuttlebutt, received: Received) -> None:
        self.future += received.refused
        now_s = link.heard_at.mono_s
        if now_s - self._future_told.get(model.name, -REPEAT_S) < REPEAT_S:
            return
        self._future_told[model.name] = now_s
        source, stamp = min(received.future.items(), key=lambda item: item[1])
        ahead = timestamp_of(stamp) // TICKS_PER_MS - link.heard_at.wall_ms
        self.notice(
            f"{received.refused} updates of {self.name_of(source) or source_text(source)} in "
            f"{model.name} are stamped {ahead / 1000:.1f} s ahead of this node's clock, allowed "
            f"are {self.max_skew_ms / 1000:.0f} s: not taken until then"
        )

    def notice(self, words: str) -> None:
        """Something the shell is to log."""
        if len(self.notices) < NOTICES_MAX:
            self.notices.append(words)


def _name_in(payload: bytes) -> str:
    try:
        name = json.loads(payload)["name"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return name[:255].encode(errors="replace").decode() if isinstance(name, str) else ""
