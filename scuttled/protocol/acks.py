"""What has come in on one session and is to be acknowledged: HAVE says what is on disk.

The counterpart of flight. A DELTA may be acknowledged once our log is saved as far as it went when
the DELTA was merged. Two such marks are kept, the oldest and the latest, so a steady stream is
acknowledged steadily. Besides, HAVE tells what a commit has made our clock cover, also to who
sent that commit: it then knows that whatever comes on this connection from now on is in accord.
"""

from scuttled.protocol.messages import Have
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Source


class Receipts:
    """The acknowledgements of one session, of which `next` gives the next."""

    def __init__(self, model: Scuttlebutt) -> None:
        self.model = model
        self._heard = 0  # cursor of the latest DELTA
        self._told = 0  # revision of our clock, as told by CLOCK or HAVE
        self._owes_times = False  # a commit has raised our clock; to be told when it is on disk
        self._mark: tuple[int, int] | None = None  # (our log's end, cursor heard by then)
        self._latest: tuple[int, int] | None = None  # likewise

    def clear(self) -> None:
        """A CLOCK was sent: it tells our clock, and cursors start anew."""
        self._heard = 0
        self._mark = self._latest = None
        self._told = self.model.clock.revision

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
        """Whether there is something to acknowledge, now or once it is saved."""
        return self._mark is not None or self._owes_times

    @property
    def due(self) -> bool:
        """Whether `next` has something to say by now."""
        if self._owes_times and self._clock_is_saved():
            return True
        return self._mark is not None and self._mark[0] <= self.model.log.durable

    def next(self, round_: int) -> Have | None:
        """What is on disk by now and was not told; None if nothing."""
        cursor, durable = 0, self.model.log.durable
        while self._mark is not None and self._mark[0] <= durable:
            cursor = self._mark[1]
            self._mark, self._latest = self._latest, None
        times = self._times_to_tell()
        return Have(self.model.name, round_, times, cursor) if cursor or times else None

    def _clock_is_saved(self) -> bool:
        model = self.model
        return not model.log.stored or model.saved.revision == model.clock.revision

    def _times_to_tell(self) -> dict[Source, int]:
        if not self._clock_is_saved():
            return {}
        self._owes_times = False
        clock = self.model.clock
        since, self._told = self._told, clock.revision
        return dict(clock.since(since))
