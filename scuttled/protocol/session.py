"""One model on one link.

Theory of operation. A session never queues. It is a reader of the model's arrival log: it knows
how far it has read (`cursor`), what the peer is known to have (`theirs`), and, asked, says the
next thing that the peer lacks. Catching up, going live and starting afresh are one path.

    log    0 . . . cursor . . . . [newest, sent early] . . end
           sent or known    |  still to send  |    skip      |

*What goes first.* While a frame can't hold all that is missing, half of it goes to what has
waited longest (from the cursor on; a key that changes meanwhile keeps its place: see turns) and
half to what has just arrived (back from the end); the stretch sent early is remembered in `skips`.
Under the load of the paper's own experiment this has a lower peak staleness than its best order:
docs/paper.md.

*No echo.* What came from this peer is a stretch to skip, too. Forgetting a skip costs a
duplicate, nothing else, so there are at most SKIPS_MAX.

*The commit (I3).* Entries move data; only a commit moves the receiver's clock. It is issued in a
draw after which nothing that this node holds is missing at the receiver: the cursor has come to
the end of the log, and all of the log is visible. Then the receiver may take over our clock. If
the link drops before, it keeps the entries and claims nothing.

*Rounds.* A CLOCK starts the session, or starts it afresh: the peer forgets what it sent and
looks anew from that clock. It carries a round number, and a DELTA names the round it belongs to,
so that a commit that was under way when we asked to start afresh is not taken for its answer.

*The future (I9).* An update stamped too far ahead is refused, and from then on no commit of this
round is heeded, not for other sources either: the sender may have left out what the refused one
outranks. When its time has come, the session starts afresh.

*Acknowledgement.* HAVE names the last DELTA that is on disk at the peer, by its cursor.
How that paces the sender is told in flight.          [DESIGN 4, flowgossip 3]

*Forgotten deletions.* Where one end lies below the other's floor (see handshake), there is a RESET
instead of a session: one end serves its whole state, the other gathers it. `confirmed` is what
the peer has said on this very connection that its clock covers: all that it sends after that is
in accord with it, so that may be forgotten here while the session goes on.
"""

from scuttled.protocol.acks import Receipts
from scuttled.protocol.handshake import check_floor, who_resets
from scuttled.protocol.in_flight import Flight
from scuttled.protocol.messages import ClockMessage, Delta, Have, Reset
from scuttled.protocol.send_order import RECORD_OVERHEAD, Turns
from scuttled.replica.scuttlebutt import Received, Scuttlebutt
from scuttled.replica.sources import SOURCES_MAX, check_sources, check_together
from scuttled.replica.update import TICKS_PER_MS, Instant, Source, Stamp, stamp, timestamp_of

SKIPS_MAX = 256
SCAN_ENTRIES_MAX = 16_384  # looked at in one draw, so that nobody else waits for long
COMMIT_SOURCES_MAX = 20_000  # in one frame; more go in several


class Session:
    """Replication of one model over one link. Symmetric; pure."""

    def __init__(self, model: Scuttlebutt, max_skew_ms: int, *, sends: bool = True) -> None:
        self.model = model
        self.max_skew_ms, self.sends = max_skew_ms, sends
        self._mine: ClockMessage | None = None  # the two that are compared
        self._peers: ClockMessage | None = None
        self.answers = False  # our next CLOCK is the answer to one that starts afresh
        self.serving = False  # the peer resets: it is sent our whole state
        self._served = False
        self.staging: Scuttlebutt | None = None  # we reset: what has come of the peer's state
        self._whole = False  # the peer wants all, whatever it has
        self._prepared = 0  # segments of our log, to be compared with that
        self.confirmed: dict[Source, int] = {}
        # sending
        self.open = False  # both CLOCKs are there, and neither end lies below the other's floor
        self.theirs: dict[Source, Stamp] = {}
        self.cursor = 0
        self._their_round = 0
        self._high = 0  # arrivals below were offered as newest
        self._skips: list[tuple[int, int]] = []  # ascending, above the cursor
        self._turns = Turns(model)
        self._told = 0  # revision of our clock that a commit told
        self.flight = Flight()
        # receiving
        self.round = 0
        self.future: dict[Source, Stamp] = {}
        self._void_rounds = 0  # what belongs to one of these was for a state that is no more
        self.receipts = Receipts(model)
        self.complete = False  # all has come that the peer had to send when it started

    # --- starting ---

    def clock_message(self, *, members: int = 1, whole: bool = False) -> ClockMessage:
        """Ask the peer to start this session, or to start it afresh; `whole`: with all it has."""
        again = self.round > 0 and not self.answers
        if self.answers and self._peers is not None:
            whole = self._peers.whole
        elif again:
            self._peers = None  # what it said last may be old by now; it will say it anew
        self.answers = False
        self.round += 1
        self.future.clear()
        self.receipts.clear()
        model = self.model
        self._mine = ClockMessage(
            model.name, model.data_type, model.clock.copy_times(), model.floor.copy_times(),
            self.round, members, model.log.live, again, whole,
        )  # fmt: skip
        self._compare()
        return self._mine

    def receive_clock(self, message: ClockMessage) -> None:
        """The peer (re)starts: look anew at everything, from its clock on."""
        check_sources(max(len(message.times), len(message.floor)), self.model.name)
        self._their_round = message.round
        self._whole, self.complete = message.whole, not message.times
        times = {} if message.whole else message.times
        self.theirs = {source: stamp(time) for source, time in times.items()}
        self.confirmed = dict(message.times)
        self.cursor = self._high = self._told = 0
        self._skips, self._peers = [], message
        self._turns = Turns(self.model)
        self.flight.clear()
        if message.again:  # it compares with what we say next
            self.answers, self._mine = True, None
        self._compare()
        if self.open:  # neither end could heed the other's commit: before all is sent in vain
            check_together(self.model.clock, message.times, self.model.name)

    def _compare(self) -> None:
        """What this session is to be; both ends see the same two CLOCKs."""
        self.open = self.serving = self._served = False
        self.staging = None
        if self._mine is None or self._peers is None:
            return
        match who_resets(self._mine, self._peers):
            case None:
                self.open = True
            case "i":
                self.staging = self.model.blank()
            case "peer":
                self.serving, self.theirs = True, {}

    def void(self) -> None:
        """Our state was replaced: nothing that is under way is heeded until we ask afresh.

        Its entries neither: the peer may not know yet what the new state has forgotten, and would
        bring it back. It sends all of it again, from our new clock on.
        """
        self._void_rounds = self.round
        self.open = self.serving = False
        self.staging = None

    @property
    def rejoining(self) -> bool:
        """Whether one end takes over the other's state; no DELTA is for it."""
        return self.serving or self.staging is not None

    # --- sending ---

    def has_something(self, now: Instant) -> bool:
        """Whether `next_delta` may have something to say. Cheap, and never wrongly no."""
        return self.behind and not self.paused(now)

    @property
    def behind(self) -> bool:
        """Whether the peer may lack something, be it that too much is under way to send it now."""
        model = self.model
        if self.serving and not self._served:
            return self.cursor < model.log.visible or model.log.visible == model.log.end
        if not (self.open and self.sends):
            return False
        return self.cursor < model.log.visible or (
            self._told < model.clock.revision and model.log.visible == model.log.end
        )

    def paused(self, now: Instant) -> bool:
        return self.flight.paused(now.mono_s)

    def next_delta(self, bytes_max: int, now: Instant) -> Delta | Reset | None:
        """The next thing the peer lacks, as far as `bytes_max` goes; None if it lacks nothing.

        None may also mean that a part of the log was looked at in vain: ask `has_something`.
        """
        runs: dict[Source, list[bytes]] = {}
        stop, start = self.model.log.visible, self.cursor
        self._turns.forget_below(start)
        self.cursor, size = self._take(runs, self.cursor, stop, bytes_max // 2)
        if self.cursor < stop and size:
            size += self._take_newest(runs, stop, bytes_max // 2)
            self.cursor, more = self._take(runs, self.cursor, stop, bytes_max - size)
            size += more
        self._turns.lags = self.cursor < stop
        self.flight.drew(now.mono_s, left=self._turns.lags)
        if self.serving:
            return self._next_reset(runs, start, size, now)
        commit = None
        if self.cursor >= stop == self.model.log.end:
            self._skips.clear()
            self._turns.clear()
            self._high, self._whole = stop, False
            if size <= bytes_max:  # a huge record and a long commit do not fit in one frame
                commit = self._next_commit()
        if not runs and not commit:
            return None
        if runs:
            self.flight.add(start, self.cursor, size, now.mono_s, sum(map(len, runs.values())))
        model, hurry = self.model, bool(runs) and start < self.model.hurry_to
        return Delta(model.name, self._their_round, [*runs.items()], self.cursor, commit, hurry)

    def _next_reset(
        self, runs: dict[Source, list[bytes]], start: int, size: int, now: Instant
    ) -> Reset | None:
        """A part of our state or, once all of it was sent, the clock and floor that it has now."""
        model, end = self.model, None
        if runs:
            self.flight.add(start, self.cursor, size, now.mono_s, 0)
        elif not self.cursor >= model.log.visible == model.log.end:
            return None
        else:
            end, self._served = (model.clock.copy_times(), model.floor.copy_times()), True
        return Reset(model.name, self._their_round, list(runs.items()), self.cursor, end)

    def _next_commit(self) -> dict[Source, int]:
        """What our clock covers and the peer's, as far as we know, does not."""
        theirs, clock = self.theirs, self.model.clock
        commit = {
            source: time for source, time in clock.since(self._told)
            if theirs.get(source, b"") < stamp(time)
        }  # fmt: skip
        if len(commit) > COMMIT_SOURCES_MAX:
            # The rest with the next draw. What is told is known to be known from now on.
            commit = dict(list(commit.items())[:COMMIT_SOURCES_MAX])
        else:
            self._told = clock.revision
        for source, time in commit.items():
            theirs[source] = stamp(time)
        return commit

    def _take(
        self, runs: dict[Source, list[bytes]], cursor: int, stop: int, budget: int
    ) -> tuple[int, int]:
        """Add to `runs` what the peer lacks from `cursor` on; the new cursor, and bytes taken."""
        log, size, looked = self.model.log, 0, 0
        while cursor < stop and size < budget and looked < SCAN_ENTRIES_MAX:
            if self._skips and self._skips[0][0] <= cursor:
                cursor = max(cursor, self._skips.pop(0)[1])
                continue
            limit = min(stop, self._skips[0][0]) if self._skips else stop
            cursor = log.step_over(cursor, limit, self.theirs)
            piece = log.piece(cursor, limit)
            looked += len(piece.records) + 1
            taken, used = self._turns.pick(runs, piece, budget - size, self.theirs, self._skips)
            size += used
            if taken < len(piece.records):
                return piece.positions[taken], size
            cursor = piece.next
        return cursor, size

    def _take_newest(self, runs: dict[Source, list[bytes]], stop: int, budget: int) -> int:
        """Send early what arrived last, as much as fits; bytes taken."""
        log = self.model.log
        told = self._skips[-1][1] if self._skips else 0  # no echo of what came from the peer
        start = max(self._high, self.cursor, log.tail.first, told)
        self._high = stop
        if start >= stop or len(self._skips) >= SKIPS_MAX:
            return 0
        piece = log.piece(start, stop)
        room, at = budget, len(piece.records)
        while at and room > 0:
            at -= 1
            room -= len(piece.records[at] or b"") + RECORD_OVERHEAD
        if room < 0:
            at += 1
        if at == len(piece.records):
            return 0
        self._skip(piece.positions[at], stop)
        piece = log.piece(piece.positions[at], stop)
        taken, size = self._turns.pick(runs, piece, budget, self.theirs, [])
        assert taken == len(piece.records), "a stretch to skip was not sent whole"
        return size

    def _skip(self, start: int, stop: int) -> None:
        """What stands from `start` up to `stop` need not be sent."""
        if start <= self.cursor < stop:
            self.cursor = stop
        elif stop > self.cursor:
            skips = self._skips
            if skips and skips[-1][1] >= start:
                skips[-1] = (min(skips[-1][0], start), max(skips[-1][1], stop))
            elif len(skips) < SKIPS_MAX:
                skips.append((start, stop))

    def receive_have(self, message: Have) -> None:
        """The peer has that on disk: count it as acknowledged, and send none of it."""
        self._learn_all(message.times)
        if message.round == self._their_round:
            self.flight.acknowledged(message.cursor)

    def _learn_all(self, times: dict[Source, int]) -> None:
        theirs, confirmed = self.theirs, self.confirmed
        if len(confirmed) + len(times) > SOURCES_MAX:
            check_sources(len(confirmed.keys() | times.keys()), self.model.name)
        for source, time in times.items():
            confirmed[source] = max(confirmed.get(source, 0), time)
            known = stamp(time)
            if theirs.get(source, b"") < known and not (self.serving or self._whole):
                theirs[source] = known

    # --- receiving ---

    def receive_delta(self, delta: Delta, now: Instant) -> Received:
        """Merge the updates; then, if the peer committed, let the clock move (I3, I4)."""
        if delta.round <= self._void_rounds:
            return Received(self.model.log.end, self.model.log.end, {})
        limit = stamp((now.wall_ms + self.max_skew_ms) * TICKS_PER_MS)
        received = self.model.receive(delta.runs, limit)
        self._skip(received.start, received.end)
        self._note_future(received)
        if delta.commit is not None:
            self._learn_all(delta.commit)
        if delta.round == self.round and not self.future:  # what is refused is not acknowledged
            self.receipts.hear(delta.cursor, self.model.log.end)
            if delta.commit is not None:
                self.complete = True
                self._commit(delta.commit, timestamp_of(limit))
        return received

    def receive_reset(self, message: Reset, now: Instant) -> Scuttlebutt | None:
        """Gather a part of the peer's state; all of it, once it is whole, and none of it from
        the future (I9); else we ask again later.
        """
        if message.round != self.round or self.staging is None:
            return None
        limit = stamp((now.wall_ms + self.max_skew_ms) * TICKS_PER_MS)
        whole, most = self.staging, timestamp_of(limit)
        self._note_future(whole.receive(message.runs, limit))
        self._prepared = self.model.log.prepare(self._prepared)
        if not self.future:
            self.receipts.hear(message.cursor, 0)
        if message.end is None or self.future:
            return None
        times, floor = message.end
        check_floor(times, floor, self.model.name)
        whole.commit([(source, min(time, most)) for source, time in times.items()])
        whole.floor.merge([(source, min(time, most)) for source, time in floor.items()])
        self.staging = None
        return whole

    def _commit(self, times: dict[Source, int], most: int) -> None:
        """Let our clock move; what rose by the peer's own word it need not be told.

        Not beyond what we would take: else a forged commit would silence a source for ever (I4).
        """
        clock = self.model.clock
        told_all = self._told == clock.revision
        self.receipts.owe_times()
        self.model.commit([(source, min(time, most)) for source, time in times.items()])
        if told_all:
            self._told = clock.revision

    def _note_future(self, received: Received) -> None:
        check_sources(len(self.future.keys() | received.future.keys()), self.model.name)
        for source, first in received.future.items():
            self.future[source] = min(first, self.future.get(source, first))

    def retry_ms(self) -> int | None:
        """The wall-clock time at which what was refused as of the future may be asked for again."""
        if not self.future:
            return None
        return timestamp_of(min(self.future.values())) // TICKS_PER_MS + 1 - self.max_skew_ms

    # --- how far we are ---

    def bounds(self) -> dict[str, tuple[int, int]]:
        """What is held of each kind, and the most that may be (I7)."""
        return {
            "stretches to skip": (len(self._skips), SKIPS_MAX),
            "sources that the peer has": (len(self.theirs), 2 * SOURCES_MAX),  # its and ours
            "sources that it confirmed": (len(self.confirmed), SOURCES_MAX),
            "sources that were refused": (len(self.future), SOURCES_MAX),
            **self._turns.bounds(),
            **self.flight.bounds(),
        }

    @property
    def acked(self) -> int:
        """Below this position the peer has all of our log on disk, or it came from there."""
        return self.flight.acked(self.cursor)

    @property
    def lag(self) -> int:
        """Updates in our log that the peer has not acknowledged."""
        return self.model.log.count_between(self.acked, self.model.log.end)

    @property
    def synced(self) -> bool:
        """The peer has all of ours on disk, and we have all that it has told us of."""
        clock = self.model.clock
        return (
            self.open
            and self.lag == 0
            and not self.future
            and all(clock.covers(s, timestamp_of(t)) for s, t in self.theirs.items())
        )
