"""Results of operations: an answer, one that waits, a stream, or the end of one."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from scuttled.control.event_stream import EventStream
from scuttled.control.scan import Scan
from scuttled.control.tally import Tally
from scuttled.control.watch import Watch
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Instant

Until = tuple[Scuttlebutt, int]  # a model, and where its log is to be saved to


class Answer(NamedTuple):
    ok: dict[str, Any]
    until: Until | None = None  # say it when the log is saved so far

    @property
    def saved(self) -> bool:
        return self.until is None or self.until[0].log.durable >= self.until[1]


class Waiting(NamedTuple):
    """An answer to be given when a condition holds, or when the time is over."""

    holds: Callable[[Instant], bool]
    answer: Callable[[Instant], dict[str, Any]] = lambda _: {}
    until: Until | None = None  # who wrote is told at once if that can't be saved
    deadline_s: float = math.inf  # of the monotonic clock
    late: Callable[[Instant], dict[str, Any]] = lambda _: {}  # what there is then; may raise


class Cancellation(NamedTuple):
    """The end of a stream of the same connection."""

    stream: object  # its id; what is none ends nothing


Result = Answer | Waiting | Scan | Tally | Watch | EventStream | Cancellation
