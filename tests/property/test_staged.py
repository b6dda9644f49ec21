"""Exhaustive search over three nodes with the real session code: no clock ever lies.

Every script of a few writes by two nodes to two keys, every order of exchanges between any two
of the three, each cut off after any number of frames. In every state that can be reached

* every clock is truthful: what it covers is in the state, or is outranked there (I3);
* whichever node dies now, the two others agree as soon as they have talked.

A clock that moves entry by entry, as in the ancestor, fails 112 of 336 such scripts.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from scuttled.models.map import Map
from scuttled.protocol.messages import Delta
from scuttled.protocol.session import Session
from scuttled.replica.change import TEXT, slot_of
from scuttled.replica.hlc import Author
from scuttled.replica.update import Instant, NodeId, Source, outranks, timestamp_of

NODES = (0, 1, 2)
NOW = Instant(0.0, 1_000)
ONE_RECORD = 2  # bytes: a frame then takes a single record
SKEW_MS = 60_000

Write = tuple[int, str]  # node, key


class Frozen(NamedTuple):
    """A node's model, as a value: what distinguishes one state of the search from another."""

    clock: tuple[tuple[Source, int], ...]
    log: tuple[tuple[bytes, Source], ...]  # live entries in order of arrival
    last: int


World = tuple[Frozen, ...]
EMPTY: World = (Frozen((), (), 0),) * len(NODES)


def node_id(node: int) -> NodeId:
    return NodeId(bytes([node]) * 8)


def thaw(frozen: Frozen, node: int) -> Map:
    model = Map("m", Author(node_id(node)))
    records = [record for record, _ in frozen.log]
    sources = [source for _, source in frozen.log]
    if records:
        model.restore(list(range(len(records))), records, sources, dict(frozen.clock))
    else:
        model.clock.merge(frozen.clock)
    model.author.hlc.last = frozen.last
    return model


def freeze(model: Map) -> Frozen:
    entries, cursor = [], 0
    while cursor < model.log.end:
        piece = model.log.piece(cursor, model.log.end)
        cursor = piece.next
        entries += zip(piece.records, piece.sources, strict=True)
    log = tuple((record, source) for record, source in entries if record is not None)
    return Frozen(tuple(sorted(model.clock.items())), log, model.author.hlc.last)


def open_link(sender: Map, receiver: Map, session: type[Session]) -> tuple[Session, Session]:
    """Two ends of a fresh link, after their CLOCKs."""
    one, two = session(sender, SKEW_MS), session(receiver, SKEW_MS)
    first, second = one.clock_message(), two.clock_message()
    two.receive_clock(first)
    one.receive_clock(second)
    return one, two


def drain(one: Session) -> Iterator[Delta]:
    """All frames, one record each, until the peer lacks nothing."""
    while one.has_something(NOW):
        delta = one.next_delta(ONE_RECORD, NOW)
        if delta is not None:
            yield delta


def exchanges(a: Frozen, b: Frozen, i: int, j: int, session: type[Session]) -> Iterator[Frozen]:
    """What b may become by a link from a that is cut at some point.

    The order of records within a session is free, so before the commit any of them may have come.
    """
    one, _ = open_link(thaw(a, i), thaw(b, j), session)
    frames = list(drain(one))
    for count in range(1, len(frames)):
        for some in itertools.combinations(frames, count):
            receiver = thaw(b, j)
            _, two = open_link(thaw(a, i), receiver, session)
            for delta in some:
                if delta is not frames[-1] and delta.commit is None:
                    two.receive_delta(delta, NOW)
            yield freeze(receiver)
    receiver = thaw(b, j)
    _, two = open_link(thaw(a, i), receiver, session)
    for delta in frames:
        two.receive_delta(delta, NOW)
        yield freeze(receiver)


def agree(a: Frozen, b: Frozen, i: int, j: int, session: type[Session]) -> bool:
    """Whether two survivors hold the same once they have said all."""
    first, second = thaw(a, i), thaw(b, j)
    one, two = open_link(first, second, session)
    for _ in range(4):
        for sender, receiver in ((one, two), (two, one)):
            for delta in drain(sender):
                receiver.receive_delta(delta, NOW)
    return held(freeze(first)) == held(freeze(second)) and first.clock == second.clock


def held(frozen: Frozen) -> frozenset[tuple[bytes, Source]]:
    return frozenset(frozen.log)


def truthful(frozen: Frozen, history: list[tuple[bytes, Source]]) -> bool:
    clock, slots = dict(frozen.clock), {slot_of(r): (r, s) for r, s in frozen.log}
    for record, source in history:
        if clock.get(source, 0) >= timestamp_of(record):
            mine = slots.get(slot_of(record))
            if mine is None or outranks(record, source, *mine):
                return False
    return True


class Search:
    """Breadth-first over everything that can happen to one script of writes."""

    def __init__(self, session: type[Session] = Session) -> None:
        self.session = session
        self.states = 0
        self._agree: dict[tuple[Frozen, Frozen, int, int], bool] = {}
        self._next: dict[tuple[Frozen, Frozen, int, int], list[Frozen]] = {}

    def violation(self, script: tuple[Write, ...]) -> str:
        """What goes wrong in some state; "" if nothing does."""
        start: tuple[World, tuple[tuple[bytes, Source], ...]] = (EMPTY, ())
        seen, todo = {start}, deque([start])
        while todo:
            world, history = todo.popleft()
            self.states += 1
            if wrong := self._wrong(world, list(history)):
                return wrong
            for state in self._steps(world, history, script):
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
        return ""

    def _wrong(self, world: World, history: list[tuple[bytes, Source]]) -> str:
        for node, frozen in enumerate(world):
            if not truthful(frozen, history):
                return f"the clock of node {node} lies"
        for dead in NODES:
            i, j = (node for node in NODES if node != dead)
            key = (world[i], world[j], i, j)
            if key not in self._agree:
                self._agree[key] = agree(*key, self.session)
            if not self._agree[key]:
                return f"when node {dead} dies, {i} and {j} differ for ever"
        return ""

    def _steps(
        self, world: World, history: tuple[tuple[bytes, Source], ...], script: tuple[Write, ...]
    ) -> Iterator[tuple[World, tuple[tuple[bytes, Source], ...]]]:
        if len(history) < len(script):
            node, key = script[len(history)]
            model = thaw(world[node], node)
            update = model.put(key, TEXT, b"v", 0)
            after = (*world[:node], freeze(model), *world[node + 1 :])
            yield after, (*history, (update.record, update.source))
        for i, j in itertools.permutations(NODES, 2):
            pair = (world[i], world[j], i, j)
            if pair not in self._next:
                self._next[pair] = list(exchanges(*pair, self.session))
            for became in self._next[pair]:
                yield (*world[:j], became, *world[j + 1 :]), history


def scripts(length: int) -> Iterator[tuple[Write, ...]]:
    """All, but for those that are the same with nodes or keys named otherwise."""
    for script in itertools.product(itertools.product((0, 1), "jk"), repeat=length):
        if script[0] == (0, "j"):
            yield script


def check(length: int) -> int:
    search = Search()
    for script in scripts(length):
        wrong = search.violation(script)
        assert not wrong, f"{script}: {wrong}"
    return search.states


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_every_clock_is_truthful_and_survivors_agree(length: int) -> None:
    assert check(length) > length


@pytest.mark.slow
def test_every_clock_is_truthful_and_survivors_agree_after_five_writes() -> None:
    assert check(5) > 100_000


class CommitsTooEarly(Session):
    """The ancestor's rule, or near it: each frame claims all that its sender's clock covers."""

    def next_delta(self, bytes_max: int, now: Instant) -> Delta | None:
        delta = super().next_delta(bytes_max, now)
        if delta is None:
            return None
        clock = dict(self.model.clock.items())
        return Delta(delta.model, delta.round, delta.runs, delta.cursor, clock)


def test_the_search_finds_a_commit_that_comes_too_early() -> None:
    search = Search(CommitsTooEarly)
    found = [search.violation(script) for length in (2, 3) for script in scripts(length)]
    assert any("lies" in wrong for wrong in found)
