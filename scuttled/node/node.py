"""The doorway: what holds a daemon's models and links, and through which every update passes (I6).

Plain and synchronous, so that the simulator runs this very code. A local write and a peer's DELTA
end in the same `accepted`: watchers are woken, and storage. When storage has written (`saved`),
links are woken: what is not on disk is not sent (I5). Waking never does work.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from scuttled.errors import DataError, Refused
from scuttled.models.map import Map
from scuttled.models.registry import MODELS, make_model
from scuttled.node.consistency import ConsistencyCheck
from scuttled.node.durability import Durability
from scuttled.node.future import take_back
from scuttled.node.leases import renew_leases
from scuttled.node.links import Links
from scuttled.node.membership import FORGOTTEN, MEMBERS, Membership, NodeSettings
from scuttled.node.notices import Notices
from scuttled.node.replaced_states import ReplacedStates
from scuttled.node.subscribers import Subscribers, Subscription, Waker
from scuttled.node.timekeeping import Timekeeping
from scuttled.protocol.flow_control import RATES, FlowControl
from scuttled.protocol.handshake import Refusal
from scuttled.protocol.host import Host
from scuttled.protocol.link import Link
from scuttled.protocol.messages import PROTOCOL, Ask, Code, Delta, Hello, Tell
from scuttled.replica.checkpoint import Batch, SavedModel
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import Rejoined, rejoin
from scuttled.replica.scuttlebutt import Received, Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import TICKS_PER_MS, Instant, NodeId, Source, node_of, source_text
from scuttled.version import __version__

DEFAULT_MODEL = "default"
MODELS_MAX = 1024
COLLECT_S = 1.0  # between looks for deletions that nobody needs any more


class Node(Host[Link]):
    """One member of a cluster: its models, its links, its author."""

    def __init__(self, author: Author, settings: NodeSettings, *, stored: bool) -> None:
        self.author = author
        self.settings = settings
        self.max_skew_ms = settings.max_skew_ms
        self.models: dict[str, Scuttlebutt] = {}
        self.links = Links()
        self.sharing: FlowControl = FlowControl()
        self.watchers = Subscribers()  # woken when something was accepted
        self.waiters = Subscribers()  # woken when something was saved or acknowledged
        self._tending = Subscribers()  # woken when `tend` is due at once
        self.durability = Durability(self.models, author, self._tell_links, stored=stored)
        self.notices = Notices()
        self.future = 0  # updates refused as of the future so far
        self.doubted: Counter[str] = Counter()  # updates not believed so far, by cause
        self.new_lives = 0
        self.replaced = ReplacedStates()
        self.time = Timekeeping(settings.max_skew_ms)
        self._begun_at: dict[str, int] = {}  # ends of the logs that were loaded
        self.verifier = ConsistencyCheck(self.models, self.links, self.made_progress)
        self.twin_words = ""  # an older node has our id
        self.wall_ms = 0  # when `tend` was called last
        self.alone = True  # this state has never met another node: see `met_others`
        self._announced_s = -math.inf
        self._collected_s = -math.inf

    # --- models ---

    def begin(self, saved: Iterable[SavedModel], wall_ms: int) -> None:
        """Take up what storage kept, and have what every node has. Raises DataError at a model
        of a type that nobody knows here.
        """
        for model in saved:
            self.met_others()  # for all we know
            if model.data_type not in MODELS:
                raise DataError(
                    f"model '{model.name}' is on disk as a {model.data_type:.40}, "
                    "a data type that this daemon does not know",
                    hint="scuttled serve --types PACKAGE.MODULE:CLASS",
                )
            self._open(model.name, model.data_type).restore(
                model.positions,
                model.records,
                model.sources,
                model.clock,
                model.floor,
                model.marks,
            )
        self._begun_at = {name: model.log.end for name, model in self.models.items()}
        for name in (DEFAULT_MODEL, MEMBERS):
            if name not in self.models:
                self._open(name, Map.data_type)
        rows = self.models[MEMBERS]
        self.members = Membership(rows, self.author, self.settings, stored=self.durability.stored)
        hlc_ms = self.author.hlc.last // TICKS_PER_MS
        self.members.begin(hlc_ms, wall_ms)
        self.wall_ms = wall_ms
        self.time.measure(hlc_ms, wall_ms)
        self._announce(wall_ms)

    def _open(self, name: str, data_type: str) -> Scuttlebutt:
        if len(self.models) >= MODELS_MAX:
            raise Refused(f"there are {MODELS_MAX} models already, the most there can be")
        model = make_model(name, data_type, self.author)
        self.models[name] = model
        self.durability.adopt(model)
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
        self.durability.check_writable()
        self.create(name, data_type)
        return self.models[name]

    def user_models(self) -> Iterator[Scuttlebutt]:
        return (model for model in self.models.values() if not model.is_system)

    # --- the doorway ---

    def accepted(self, model: Scuttlebutt, *, urgent: bool = True) -> None:
        """Something of this model is new: wake its readers.

        It is urgent when a writer waits until it is saved; a peer's updates let watchers go first.
        """
        self.watchers.wake()
        if model.name == MEMBERS:
            self.members.read()
            if self.members.forgot_me:
                self._tending.wake()
        self.durability.accepted(model, urgent=urgent)

    def _tell_links(self, model: Scuttlebutt) -> None:
        self.links.model_changed(model)
        self.made_progress()

    def subscribe(self, wake: Waker, *, saved: bool = False) -> Subscription:
        """Have `wake` called whenever something was accepted, until the handle is closed.

        With `saved`, instead, whenever a writer or a caller may have waited for what has come
        about: something was saved or acknowledged, the disk fails, a link came or went.
        """
        return (self.waiters if saved else self.watchers).add(wake)

    def subscribe_tending(self, wake: Waker) -> Subscription:
        """Have `wake` called when `tend` is due at once, and not in its own time."""
        return self._tending.add(wake)

    def made_progress(self) -> None:
        """Something came about that somebody may have waited for."""
        self.waiters.wake()

    def expire(self, wall_ms: int) -> None:
        """Let keys go whose time is over."""
        for model in self.models.values():
            if isinstance(model, Slots) and model.expire(wall_ms):
                self.accepted(model)

    def next_expiry_ms(self) -> int | None:
        slots = (model for model in self.models.values() if isinstance(model, Slots))
        return min((due for model in slots if (due := model.next_expiry_ms())), default=None)

    # --- as time passes ---

    def tend(self, now: Instant) -> None:
        """Do what is due now and then: our rows in `_members`, clocks, forgetting deletions."""
        self.wall_ms = now.wall_ms
        since_s = now.mono_s - self._announced_s
        hurried = self.durability.end_hurry()
        if hurried or since_s >= self.members.interval_s(now.wall_ms) or self.members.forgot_me:
            self._announced_s = now.mono_s
            if self.members.forgot_me:
                self.notices.warn(FORGOTTEN)
            self._announce(now.wall_ms)
        self._keep_time(now)
        self.replaced.shed()
        self.notices.tell_taken()
        if now.mono_s - self._collected_s >= COLLECT_S:
            self._collected_s = now.mono_s
            self._collect(now.wall_ms)
            self._look_at_members(now.wall_ms)

    def _look_at_members(self, wall_ms: int) -> None:
        """Forget who is gone for good, and warn of two that bear one name."""
        if self.members.forget_ghosts(wall_ms):
            self.accepted(self.members.model, urgent=False)
        for name in self.members.new_namesakes(wall_ms):
            self.notices.warn(f"more than one member is named {name} (hint: scuttled members)")

    def _collect(self, wall_ms: int) -> None:
        for model in self.user_models():
            if isinstance(model, Slots) and model.grave_count and not model.keeps_deleted:
                if self.members.collect(model, self.links.values(), wall_ms, alone=self.alone):
                    self.durability.note_change(model)

    # --- the wall clock ---

    @property
    def holds_back(self) -> bool:
        return self.time.ahead_ms > 0

    def look_at_clock(self, now: Instant, steady_s: float) -> None:
        """Was it set? To be called often, and before what has expired is let go."""
        jump_ms = self.time.look(now, steady_s)
        if jump_ms:
            self.members.leap(jump_ms)
            for model in self.models.values():
                since = self._begun_at.get(model.name, 0)
                if isinstance(model, Slots) and renew_leases(model, since, jump_ms, now.wall_ms):
                    self.accepted(model)

    def hear_clock(self, peer: Hello | str, now: Instant) -> None:
        self.time.hear_first(peer, self.author.node_id, now)

    def _keep_time(self, now: Instant) -> None:
        """Hear the clocks of linked peers; take our future back if they say so."""
        self.time.measure(self.author.hlc.last // TICKS_PER_MS, now.wall_ms)
        self.time.hear_links(self.links.values(), now)
        if self.time.may_take_back(self.links.values(), now) and not self.twin_words:
            if self.durability.is_settled:
                self._take_back(now)

    def _take_back(self, now: Instant) -> None:
        """Issue anew, under a new life, what is stamped in the future and nobody takes."""
        limit = (now.wall_ms + self.max_skew_ms) * TICKS_PER_MS
        models = list(self.models.values())
        report, changed, husks = take_back(models, self.author, now.wall_ms, limit)
        self.replaced.let_go(husks)
        self.replaced.note_taken_back(report)
        self.new_lives += 1
        self.durability.hlc_fell()
        self.notices.warn(report.words)
        self.members.read_anew()
        self.time.measure(self.author.hlc.last // TICKS_PER_MS, now.wall_ms)
        for model in changed:
            self.accepted(model)
        self._announce(now.wall_ms)
        self.links.begin_afresh(f"{self.settings.name} has taken back its future")

    def hurry(self, model: Scuttlebutt) -> None:
        """A writer waits until others have on disk what this model holds now."""
        self.durability.hurry(model)
        self._tending.wake()

    # --- storage, a reader of every log ---

    def saved(self, batch: Batch) -> None:
        """That batch is on disk."""
        self.durability.saved(batch)
        if self.durability.hurried and self.durability.is_saved():
            self._tending.wake()

    def fails(self, words: str) -> None:
        """The disk takes nothing; "": it does again. Whoever waits for it is told."""
        self.durability.fails(words)
        self.made_progress()

    def begin_anew(self, life: int, wall_ms: int) -> None:
        """Storage has lost all: go on as that life, and have everything saved again."""
        self.durability.forget_saved()
        self.author.live_as(life)
        self.new_lives += 1
        self._announce(wall_ms)

    # --- members ---

    def _announce(self, wall_ms: int) -> None:
        """Write this node's rows of `_members`, as far as they are no longer true."""
        if self.members.announce(self.models.values(), wall_ms):
            self.accepted(self.members.model, urgent=False)

    def retire(self, wall_ms: int) -> None:
        """Tell the others that this node will not come back."""
        self.members.retire(wall_ms)
        self.accepted(self.members.model)

    def cluster_size(self, model: Scuttlebutt) -> int:
        return self.members.count_above_floor(model, self.wall_ms)

    def reset(self, link: Link, model: Scuttlebutt, whole: Scuttlebutt, now: Instant) -> None:
        """Take over a peer's whole state; then all sessions start anew, on new links.

        Where there was nothing yet, nobody was told anything that no longer holds: it is enough
        that the sessions of this one model start anew.
        """
        assert isinstance(model, Slots) and isinstance(whole, Slots) and link.peer  # noqa: PT018
        under_way = model.saved.replaced
        was_empty = not (len(model.clock) or len(model.floor) or model.log.live or under_way)
        if not under_way:  # else the last one is not on disk yet: come again
            report = Rejoined(model.name, link.peer.name, now.wall_ms)
            husk = rejoin(model, whole, self.author, self.settings.rejoin, report)
            self.replaced.let_go([husk])
            self.sharing.count(model.data_type, report.taken)
            if was_empty:
                self.notices.took_over(report.peer, model.name, report.taken)
            else:
                self.replaced.note_reset(report)
                if report.lost_nothing:
                    self.notices.tell(report.words)
                else:
                    self.notices.warn(report.words)
            if report.life:
                self.new_lives += 1
            self._announce(now.wall_ms)
            self.accepted(model)
        if was_empty:
            for other in tuple(self.links.values()):
                other.start_afresh(model)
        else:
            self.links.begin_afresh(f"{self.settings.name} was reset and starts afresh")

    def name_of(self, source: Source) -> str:
        return self.members.names.get(node_of(source), "")

    # --- what a link wants of us ---

    def hello(self, now: Instant) -> Hello:
        me = self.settings
        node_id = self.author.node_id
        return Hello(
            *PROTOCOL, me.cluster, node_id, me.incarnation, me.name, me.address, __version__,
            now.wall_ms, (RATES,), me.began_ms,
        )  # fmt: skip

    def establish(self, link: Link, now: Instant) -> None:
        self.links.establish(link, self.author.node_id)
        assert link.peer is not None
        self.met_others()
        self.members.names.setdefault(link.peer.node_id, link.peer.name)
        self.made_progress()

    def gone(self, link: Link) -> None:
        self.links.gone(link)
        self.made_progress()

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
            self.notices.warn(
                f"a peer knows more of {source_text(mine)} than this node does (state restored or "
                f"lost?): going on as {source_text(self.author.source)}"
            )
            self._announce(now.wall_ms)

    def twin(self, node_id: NodeId, words: str) -> None:
        if node_id == self.author.node_id:  # not one that we have given up since
            self.twin_words = words
            self.durability.wake_storage()
            self._tending.wake()

    def no_other_id(self) -> None:
        """None could be taken: the twin is heard of again with the next handshake."""
        self.twin_words = ""

    def met_others(self) -> None:
        """This state has met another node: what is forgotten from now on has to raise the floor."""
        self.alone = False

    def live_elsewhere(self, node_id: NodeId, wall_ms: int) -> None:
        """Go on under another id, since a live node has this one; all links start anew."""
        self.notices.warn(f"{self.twin_words}: going on as {node_id.hex()}")
        self.twin_words = ""
        self.author.node_id = node_id
        self.author.live_as(1)
        self._announce(wall_ms)
        self.links.begin_afresh(f"{self.settings.name} has taken another id")

    def verify(self, link: Link, message: Ask | Tell) -> None:
        self.verifier.hear(link, message)

    def heard(self, link: Link, model: Scuttlebutt, delta: Delta, received: Received) -> None:
        self.future += received.refused
        if received.doubted:
            self.doubted.update(received.doubted)
            assert link.peer is not None
            self.notices.doubted(link.peer.name, model.name, received.doubted, link.heard_at)
        if received.refused and not model.is_system:
            who = {s: self.name_of(s) or source_text(s) for s in received.future}
            self.notices.refused_future(model.name, received, who, self.max_skew_ms, link.heard_at)
        self.sharing.count(model.data_type, received.end - received.start)
        if received.end > received.start or delta.commit:
            self.accepted(model, urgent=False)
        if delta.hurry:
            self.hurry(model)
