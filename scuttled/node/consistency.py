"""Consistency check: nodes that say the same of their clocks should hold the same.

    us                                   peer
    ASK model, at_ms, []   ------------>          hashes its model, a slice at a time
                           <------------ TELL     clock, a sum for each bucket of keys
    (sums differ, clocks are equal)
    ASK model, at_ms, [3, 77] --------->
                           <------------ TELL     the hash of each key in these buckets

`scuttled verify` asks for it. All work is in generators that the shell drives slice by slice
(`step`), so that nothing stalls.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from scuttled.node.subscribers import Subscribers, Subscription, Waker
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Ask, Tell
from scuttled.replica.change import SLOT_BYTES_MAX
from scuttled.replica.fingerprint import fingerprint, rows
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import NodeId

ASKS_MAX = 16  # of one check to one peer at a time
JOBS_MAX = 256  # slices of work that wait; what a peer asks beyond that is not answered
BUCKETS_ASKED_MAX = 16
KEYS_MAX = 1000  # named of a model and peer...
KEYS_BYTES_MAX = 64 << 10  # ...and of these: many findings have to fit in an answer
ROWS_BYTES_MAX = 512 << 10  # of keys in one TELL

Job = Generator[None, None, None]


@dataclass(slots=True)
class Finding:
    """Comparison of a model on this node with a peer's."""

    model: str
    node_id: NodeId
    peer: str
    state: str = "silent"  # silent, same, behind (clocks differ), differs
    keys: list[str] = field(default_factory=list)  # that differ
    more: bool = False  # there are others
    busy: bool = False  # an answer is being compared; others are not heard meanwhile


@dataclass(slots=True)
class Check:
    """One comparison with all linked peers; over when nothing is pending."""

    number: int
    at_ms: int
    findings: dict[tuple[str, NodeId], Finding] = field(default_factory=dict)
    pending: set[tuple[str, NodeId]] = field(default_factory=set)
    to_ask: dict[NodeId, deque[str]] = field(default_factory=dict)  # models, a few at a time

    @property
    def done(self) -> bool:
        return not self.pending


class ConsistencyCheck:
    """A node's fingerprints: those that peers ask for, and its own checks."""

    def __init__(
        self,
        models: Mapping[str, Scuttlebutt],
        links: Mapping[NodeId, Link],
        made_progress: Callable[[], None],
    ) -> None:
        """`made_progress` is called when a check may be over."""
        self.models = models
        self.links = links
        self._made_progress = made_progress
        self._work = Subscribers()
        self._jobs: deque[Job] = deque()
        self._checks: dict[int, Check] = {}
        self._count = 0

    def subscribe(self, wake: Waker) -> Subscription:
        """Have `wake` called when there is work for `step`."""
        return self._work.add(wake)

    # --- checks of our own ---

    def begin(self, models: Iterable[Slots], at_ms: int) -> Check:
        """Ask every linked peer; `at_ms` is the time by which keys have expired or not."""
        self._count += 1
        check = Check(self._count, at_ms)
        self._checks[check.number] = check
        names = [model.name for model in models]
        for node_id, link in self.links.items():
            assert link.peer is not None
            shared = deque(name for name in names if name in link.sessions)
            for name in shared:
                check.findings[name, node_id] = Finding(name, node_id, link.peer.name)
                check.pending.add((name, node_id))
            check.to_ask[node_id] = shared
            for _ in range(ASKS_MAX):
                self._ask_next(check, node_id, link)
        return check

    def _ask_next(self, check: Check, node_id: NodeId, link: Link) -> None:
        if waiting := check.to_ask[node_id]:
            link.say(Ask(check.number, waiting.popleft(), check.at_ms, []))

    def end(self, check: Check) -> None:
        """Nobody waits for it any more."""
        self._checks.pop(check.number, None)

    # --- what links hear ---

    def hear(self, link: Link, message: Ask | Tell) -> None:
        if isinstance(message, Ask):
            self._asked(link, message)
        else:
            self._told(link, message)

    def _asked(self, link: Link, ask: Ask) -> None:
        model = self.models.get(ask.model)
        if isinstance(model, Slots) and len(self._jobs) < JOBS_MAX:
            self._add(self._answer(link, model, ask))

    def _told(self, link: Link, tell: Tell) -> None:
        check = self._checks.get(tell.number)
        peer = link.peer
        model = self.models.get(tell.model)
        if check is None or peer is None or not isinstance(model, Slots):
            return
        finding = check.findings.get((tell.model, peer.node_id))
        if finding is None or finding.busy:
            return
        if (tell.model, peer.node_id) in check.pending:
            finding.busy = True
            self._add(self._compare(check, finding, link, model, tell))

    def _add(self, job: Job) -> None:
        self._jobs.append(job)
        self._work.wake()

    def step(self) -> bool:
        """Do a slice of work; False if there is none. Jobs take turns."""
        if not self._jobs:
            return False
        job = self._jobs.popleft()
        try:
            next(job)
        except StopIteration:
            self._made_progress()
        else:
            self._jobs.append(job)
        return True

    # --- jobs ---

    def _answer(self, link: Link, model: Slots, ask: Ask) -> Job:
        if ask.buckets:
            found = yield from rows(model, frozenset(ask.buckets), ask.at_ms)
            told: dict[bytes, int] = {}
            size = 0
            for slot, value in found.items():
                size += _row_bytes(slot)
                if size > ROWS_BYTES_MAX:
                    break
                told[slot] = value
            link.say(Tell(ask.number, ask.model, model.clock_hash(), ask.buckets, [], told))
        else:
            sums = yield from fingerprint(model, ask.at_ms)
            link.say(Tell(ask.number, ask.model, model.clock_hash(), [], sums, {}))

    def _compare(self, check: Check, finding: Finding, link: Link, model: Slots, tell: Tell) -> Job:
        if tell.sums:
            mine = yield from fingerprint(model, check.at_ms)
            both = zip(mine, tell.sums, strict=True)
            different = [bucket for bucket, (one, other) in enumerate(both) if one != other]
            if tell.clock != model.clock_hash():
                finding.state = "behind"
            elif not different:
                finding.state = "same"
            else:
                finding.more = len(different) > BUCKETS_ASKED_MAX
                asked = different[:BUCKETS_ASKED_MAX]
                link.say(Ask(check.number, model.name, check.at_ms, asked))
                finding.busy = False
                return
        else:
            mine_rows = yield from rows(model, frozenset(tell.buckets), check.at_ms)
            if _may_be_cut(tell.rows):  # what the peer had no room to tell is not missing there
                mine_rows = {slot: mine_rows[slot] for slot in tell.rows if slot in mine_rows}
                finding.more = True
            keys = sorted({*mine_rows.items()} ^ {*tell.rows.items()})
            names = list(dict.fromkeys(slot.decode("utf-8", "replace") for slot, _ in keys))
            finding.state = "differs" if names else "behind"  # it was on its way
            finding.keys = _first_of(names)
            finding.more = finding.more or len(names) > len(finding.keys)
        check.pending.discard((finding.model, finding.node_id))
        self._ask_next(check, finding.node_id, link)


def _row_bytes(slot: bytes) -> int:
    """Of a key and its hash in a TELL, at most."""
    return len(slot) + 12


def _may_be_cut(told: Mapping[bytes, int]) -> bool:
    """True if a peer that stops at ROWS_BYTES_MAX may have had more to tell."""
    return sum(map(_row_bytes, told)) + _row_bytes(bytes(SLOT_BYTES_MAX)) > ROWS_BYTES_MAX


def _first_of(names: list[str]) -> list[str]:
    """As many as an answer has room for."""
    sizes = accumulate(map(len, names[:KEYS_MAX]))
    return [name for name, size in zip(names, sizes, strict=False) if size <= KEYS_BYTES_MAX]
