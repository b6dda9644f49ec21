"""Stream of events: a listener's, as rows that a watch has, too."""

from collections.abc import Sequence

from scuttled.client.rows import ChangeRow
from scuttled.control.watch import ROWS_BYTES, live_row
from scuttled.models.event_listener import Listener, read_cursor
from scuttled.models.events import Events
from scuttled.node.node import Node
from scuttled.replica.update import TICKS_PER_MS, Instant

ROWS_MAX = 500  # in one part of a stream
_SOURCE_CHARS = 45  # in a cursor


class EventStream:
    """Events as they come, each once. `after` None: from now on; else a cursor, "" for all.
    `live`: a row of that name comes first, for the sake of its cursor.

    Every row has the cursor behind it; where clocks are long, a part has fewer rows.
    """

    durable = True  # it is told of what is on disk

    def __init__(
        self,
        node: Node,
        model: Events,
        names: Sequence[str],
        *,
        after: str | None,
        live: bool = False,
    ) -> None:
        heard = model.clock.copy_times() if after is None else read_cursor(after)
        self.node = node
        self.model = model
        self._listener = Listener(model, names, heard)
        self._first: list[ChangeRow] = []
        if live:
            self._first.append(live_row(self._listener.cursor()))

    def has_something(self) -> bool:
        return bool(self._first) or self._listener.has_something()

    def rows(self, now: Instant) -> list[ChangeRow]:
        """The next rows; maybe none although `has_something`."""
        rows = self._first
        self._first = []
        most = min(ROWS_MAX, 1 + ROWS_BYTES // (_SOURCE_CHARS * (1 + len(self._listener.heard))))
        size = 0
        while len(rows) < most and size < ROWS_BYTES:
            found = self._listener.next(1)
            if not found:
                break
            name, kind, payload, slot = found[0]
            size += len(payload)
            rows.append(
                ChangeRow(
                    op="event",
                    model=self.model.name,
                    key=name,
                    kind=kind,
                    value=payload,
                    rev=slot.rev,
                    name=self.node.name_of(slot.source),
                    cursor=self._listener.cursor(),
                    time_ms=slot.timestamp // TICKS_PER_MS,
                )
            )
        return rows
