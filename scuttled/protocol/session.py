"""Session: anti-entropy of one model over one link.

Theory of operation. A session never queues. It is a reader of the model's arrival log: it knows
how far it has read (`cursor`), what the peer is known to have (`theirs`), and, asked, says the
next thing that the peer lacks. Catching up, going live and starting afresh are one path.

    log    0 . . . cursor . . . . [newest, sent early] . . end
           sent or known    |  still to send  |    skip      |

*What goes first.* While a frame can't hold all that is missing, half of it goes to what has
waited longest (from the cursor on; a key that changes meanwhile keeps its place: send_order) and
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
How that paces the sender stands in in_flight.

*Forgotten deletions.* Where one end lies below the other's floor (see handshake), there is a RESET
instead of a session: one end serves its whole state, the other gathers it. `confirmed` is what
the peer has said on this very connection that its clock covers: all that it sends after that is
in accord with it, so that may be forgotten here while the session goes on.

*Two halves.* A session sends and receives, and the fields of each half stand together. They meet
where a division would have to reach across: what comes in is not to be sent back (`_skip`), a
peer's commit tells what the peer has (`_learn_all`), and the clock that it raises is known to the
peer by then (`_commit`).                       [docs/protocol.md; van Renesse et al. 2008, 3]
"""

from scuttled.protocol.acks import Receipts
from scuttled.protocol.handshake import check_floor, who_resets
from scuttled.protocol.in_flight import Flight
from scuttled.protocol.messages import ClockMessage, Delta, Have, Reset
from scuttled.protocol.send_order import RECORD_OVERHEAD, Turns
from scuttled.replica.scuttlebutt import Received, Scuttlebutt
from scuttled.replica.sources import SOURCES_MAX, check_sources, check_together
from scuttled.replica.update import TICKS_PER_MS, Instant, Source, Stamp, stamp, timestamp_of

SKIPS_MAX = 256  # stretches remembered; of one more, a duplicate is sent
SCAN_ENTRIES_MAX = 16_384  # looked at in one draw, so that nobody else waits for long
COMMIT_SOURCES_MAX = 20_000  # in one frame; more go in several


class Session:
    """Replication of one model over one link. Symmetric; pure."""

    def __init__(self, model: Scuttlebutt, max_skew_ms: int, *, sends: bool = True) -> None:
        self.model = model
        self.max_skew_ms = max_skew_ms
        self.sends = sends

        # --- what the session is. At most one of `open`, `serving` and `staging` holds; none
        # until both CLOCKs are there, and again from `void` on.
        self._mine: ClockMessage | None = None  # the two that are compared
        self._peers: ClockMessage | None = None
        self.answers = False  # our next CLOCK is the answer to one that starts afresh
        self.open = False  # neither end lies below the other's floor: DELTAs go both ways
        self.serving = False  # the peer resets: it is sent our whole state
        self.staging: Scuttlebutt | None = None  # we reset: what has come of the peer's state

        # --- the sending half. acked <= cursor <= the log's end.
        self._their_round = 0  # of the peer's latest CLOCK; names our DELTAs
        self.cursor = 0  # below it all was sent, or the peer has it, or it stands in `_turns`
        self.theirs: dict[Source, Stamp] = {}  # its clock, with what our commits add to it
        self.confirmed: dict[Source, int] = {}  # of that, what it has said itself on this link
        self._skips: list[tuple[int, int]] = []  # ascending, apart, from the cursor on; some empty
        self._high = 0  # arrivals below it were offered as newest once
        self._turns = Turns(model)
        self._committed = 0  # the revision of our clock that the peer knows all of
        self._whole = False  # the peer wants all, whatever it has
        self._served = False  # and has all of it, serving
        self.flight = Flight()

        # --- the receiving half
        self.round = 0  # of our latest CLOCK; only a commit that names it is heeded
        self._void_rounds = 0  # up to this one, DELTAs were for a state that is no more
        self.future: dict[Source, Stamp] = {}  # first refused of each source; not empty: no commit
        self.complete = False  # all has come that the peer had to send when it started
        self.receipts = Receipts(model)
        self._prepared = 0  # segments of our log that are ready to be compared with `staging`

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
        self._whole = message.whole
        self.complete = not message.times
        times = {} if message.whole else message.times
        self.theirs = {source: stamp(time) for source, time in times.items()}
        self.confirmed = dict(message.times)
        self.cursor = 0
        self._high = 0
        self._committed = 0
        self._skips = []
        self._peers = message
        self._turns = Turns(self.model)
        self.flight.clear()
        if message.again:  # it compares with what we say next
            self.answers = True
            self._mine = None
        self._compare()
        if self.open:  # neither end could heed the other's commit: before all is sent in vain
            check_together(self.model.clock, message.times, self.model.name)

    def _compare(self) -> None:
        """Decide what this session is; both ends see the same two CLOCKs."""
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
                self.serving = True
                self.theirs = {}  # whatever it has, it lets go of

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
        """True while one end takes over the other's state; no DELTA is for it."""
        return self.serving or self.staging is not None

    # --- sending ---

    def has_something(self, now: Instant) -> bool:
        """True if `next_delta` may have something to say. Cheap, and never wrongly false."""
        return self.behind and not self.paused(now)

    @property
    def behind(self) -> bool:
        """True while the peer may lack something, be it that too much is under way to send now."""
        model = self.model
        if self.serving and not self._served:
            return self.cursor < model.log.visible or model.log.visible == model.log.end
        if not (self.open and self.sends):
            return False
        return self.cursor < model.log.visible or (
            self._committed < model.clock.revision and model.log.visible == model.log.end
        )

    def paused(self, now: Instant) -> bool:
        return self.flight.paused(now.mono_s)

    def next_delta(self, bytes_max: int, now: Instant) -> Delta | Reset | None:
        """The next thing the peer lacks, as far as `bytes_max` goes; None if it lacks nothing.

        None may also mean that a part of the log was looked at in vain: ask `has_something`.
        """
        runs: dict[Source, list[bytes]] = {}
        start = self.cursor
        stop = self.model.log.visible  # what is not on disk yet, no peer sees (I5)
        self._turns.forget_below(start)
        # Half for what has waited longest, half for the newest, and what that leaves again for
        # what has waited: nobody starves, and a watcher at a peer far behind sees what goes on.
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
        # I3: at this instant nothing that we hold is missing at the peer, be it that we do not
        # show it yet. What was sent early lies below the cursor now.
        if self.cursor >= stop == self.model.log.end:
            self._skips.clear()
            self._turns.clear()
            self._high = stop
            self._whole = False
            if size <= bytes_max:  # a huge record and a long commit do not fit in one frame
                commit = self._next_commit()
        if not runs and not commit:
            return None
        if runs:
            self.flight.add(start, self.cursor, size, now.mono_s, sum(map(len, runs.values())))
        model = self.model
        hurry = bool(runs) and start < model.hurry_to  # of what a writer waits for, some is here
        return Delta(model.name, self._their_round, [*runs.items()], self.cursor, commit, hurry)

    def _next_reset(
        self, runs: dict[Source, list[bytes]], start: int, size: int, now: Instant
    ) -> Reset | None:
        """A part of our state or, once all of it was sent, the clock and floor that it has now."""
        model = self.model
        end = None
        if runs:
            self.flight.add(start, self.cursor, size, now.mono_s, 0)
        elif not self.cursor >= model.log.visible == model.log.end:
            return None
        else:
            end = (model.clock.copy_times(), model.floor.copy_times())
            self._served = True
        return Reset(model.name, self._their_round, list(runs.items()), self.cursor, end)

    def _next_commit(self) -> dict[Source, int]:
        """The times that our clock covers and the peer's, as far as we know, does not."""
        theirs = self.theirs
        clock = self.model.clock
        commit = {
            source: time for source, time in clock.since(self._committed)
            if theirs.get(source, b"") < stamp(time)
        }  # fmt: skip
        if len(commit) > COMMIT_SOURCES_MAX:
            # The rest with the next draw: `_committed` stays, and `theirs` tells what went out.
            commit = dict(list(commit.items())[:COMMIT_SOURCES_MAX])
        else:
            self._committed = clock.revision
        for source, time in commit.items():
            theirs[source] = stamp(time)
        return commit

    def _take(
        self, runs: dict[Source, list[bytes]], cursor: int, stop: int, budget: int
    ) -> tuple[int, int]:
        """Add to `runs` what the peer lacks from `cursor` on; the new cursor, and bytes taken.

        Stretch by stretch: a piece never reaches into one that is to be skipped, nor beyond a
        segment. Where the budget is used up the cursor stays, before what was not taken.
        """
        log = self.model.log
        size = looked = 0
        while cursor < stop and size < budget and looked < SCAN_ENTRIES_MAX:
            # Skips are ascending, so if the cursor has come to one, it is the first.
            if self._skips and self._skips[0][0] <= cursor:
                cursor = max(cursor, self._skips.pop(0)[1])
                continue
            limit = min(stop, self._skips[0][0]) if self._skips else stop
            # Whole segments that the peer covers cost one comparison each, and no look inside.
            cursor = log.step_over(cursor, limit, self.theirs)
            piece = log.piece(cursor, limit)
            looked += len(piece.records) + 1  # an empty piece is work, too
            taken, used = self._turns.pick(runs, piece, budget - size, self.theirs, self._skips)
            size += used
            if taken < len(piece.records):
                return piece.positions[taken], size
            cursor = piece.next
        return cursor, size

    def _take_newest(self, runs: dict[Source, list[bytes]], stop: int, budget: int) -> int:
        """Send early what arrived last, as much as fits; bytes taken.

        One stretch that reaches back from `stop`, within the last segment, and only over what
        was never offered as newest: so each arrival has one chance to be early, and what misses
        it waits for the cursor.
        """
        log = self.model.log
        skipped_to = self._skips[-1][1] if self._skips else 0  # no echo of what came from the peer
        start = max(self._high, self.cursor, log.tail.first, skipped_to)
        self._high = stop
        if start >= stop or len(self._skips) >= SKIPS_MAX:
            return 0  # a stretch that can't be remembered would be sent twice
        piece = log.piece(start, stop)
        # How far back it goes is reckoned before anything is taken: the stretch has to be sent
        # whole, or its rest would be skipped for ever. So each record counts, also one that the
        # peer has; and a hole counts nothing, since what took its slot lies in the stretch, too.
        room = budget
        at = len(piece.records)
        while at and room > 0:
            at -= 1
            room -= len(piece.records[at] or b"") + RECORD_OVERHEAD
        if room < 0:
            at += 1  # the last one did not fit
        if at == len(piece.records):
            return 0
        self._skip(piece.positions[at], stop)
        piece = log.piece(piece.positions[at], stop)
        taken, size = self._turns.pick(runs, piece, budget, self.theirs, [])
        assert taken == len(piece.records), "a stretch to skip was not sent whole"
        return size

    def _skip(self, start: int, stop: int) -> None:
        """Leave out what stands from `start` up to `stop`: the peer has it, or is sent it now.

        Stretches come in order of arrival, so a new one touches the last, or lies above it.
        """
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
        theirs = self.theirs
        confirmed = self.confirmed
        if len(confirmed) + len(times) > SOURCES_MAX:
            check_sources(len(confirmed.keys() | times.keys()), self.model.name)
        for source, time in times.items():
            confirmed[source] = max(confirmed.get(source, 0), time)
            known = stamp(time)
            # Who is sent all, whatever it has, is not spared what it says it has.
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
        whole = self.staging
        most = timestamp_of(limit)
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
        knew_all = self._committed == clock.revision
        self.receipts.owe_times()
        self.model.commit([(source, min(time, most)) for source, time in times.items()])
        if knew_all:  # and knows what it has just told
            self._committed = clock.revision

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
        """The size of each thing that is held, and the most that it may be (I7)."""
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
