"""Acknowledgements of one session: HAVE says what of all that came in is on disk.

The counterpart of in_flight. A DELTA may be acknowledged once our log is saved as far as it went
when the DELTA was merged. Two such marks are kept, the oldest and the latest, so a steady stream
is acknowledged steadily. Besides, HAVE tells what a commit has made our clock cover, also to who
sent that commit: it then knows that whatever comes on this connection from now on is in accord.
"""

from scuttled.protocol.messages import Have
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Source

HAVE_DELAY_S = 0.05  # acknowledgements are collected for so long...
HAVE_BYTES = 64 << 10  # ...or until so much has come


class AckDelay:
    """For how long the HAVEs of a link wait for more that they could acknowledge with it."""

    def __init__(self) -> None:
        self.ends_s: float | None = None  # None: nothing came that is to be acknowledged
        self.bytes = 0  # of records that have come since the last HAVE

    def begin(self, now_s: float) -> None:
        """Something came; the wait that is under way goes on."""
        if self.ends_s is None:
            self.ends_s = now_s + HAVE_DELAY_S

    def hurry(self, now_s: float) -> None:
        """A writer waits for the acknowledgement."""
        self.ends_s = now_s

    def is_over(self, now_s: float) -> bool:
        ends_s = self.ends_s
        return ends_s is not None and (ends_s <= now_s or self.bytes >= HAVE_BYTES)

    def ends_before(self, time_s: float) -> bool:
        return self.ends_s is not None and self.ends_s < time_s

    def clear(self) -> None:
        """All that is on disk was acknowledged."""
        self.ends_s = None
        self.bytes = 0


class Receipts:
    """The acknowledgements of one session, of which `next` gives the next."""

    def __init__(self, model: Scuttlebutt) -> None:
        self.model = model
        self._heard = 0  # cursor of the latest DELTA; only rises, until a CLOCK
        self._said = 0  # revision of our clock in the latest CLOCK or HAVE
        self._owes_times = False  # a commit has raised our clock; to be told when it is on disk
        self._mark: tuple[int, int] | None = None  # (our log's end, cursor heard by then)
        self._latest: tuple[int, int] | None = None  # likewise; only beside a mark, and above it

    def clear(self) -> None:
        """A CLOCK was sent: it tells our clock, and cursors start anew."""
        self._heard = 0
        self._mark = self._latest = None
        self._said = self.model.clock.revision

    def hear(self, cursor: int, end: int) -> None:
        """Note a DELTA's cursor: to be acknowledged once our log is saved up to `end`."""
        if cursor <= self._heard:
            return
        self._heard = cursor
        if self._mark is None:
            self._mark = (end, cursor)
        else:
            self._latest = (end, cursor)

    def owe_times(self) -> None:
        """Our clock has moved by the peer's word."""
        self._owes_times = True

    @property
    def pending(self) -> bool:
        """True while there is something to acknowledge, now or once it is saved."""
        return self._mark is not None or self._owes_times

    @property
    def due(self) -> bool:
        """True if `next` has something to say by now."""
        if self._owes_times and self._clock_is_saved():
            return True
        return self._mark is not None and self._mark[0] <= self.model.log.durable

    def next(self, round_: int) -> Have | None:
        """The HAVE of what is on disk by now and was not said; None if nothing."""
        cursor = 0
        durable = self.model.log.durable
        while self._mark is not None and self._mark[0] <= durable:
            cursor = self._mark[1]
            self._mark = self._latest
            self._latest = None
        times = self._times_to_say()
        return Have(self.model.name, round_, times, cursor) if cursor or times else None

    def _clock_is_saved(self) -> bool:
        model = self.model
        return not model.log.stored or model.saved.revision == model.clock.revision

    def _times_to_say(self) -> dict[Source, int]:
        if not self._clock_is_saved():
            return {}
        self._owes_times = False
        clock = self.model.clock
        times = dict(clock.since(self._said))
        self._said = clock.revision
        return times
