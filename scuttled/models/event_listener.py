"""A listener: hears each event once, whatever becomes of it, of the daemon or of the cluster.

What it has heard is a clock (replica/subscription), so it is good on every node.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from scuttled.errors import UsageError
from scuttled.models.entries import made_at, made_by
from scuttled.replica.change import KINDS, Slot
from scuttled.replica.slots import Slots
from scuttled.replica.subscription import Follower
from scuttled.replica.update import Source, parse_source, source_text

LOOKED_AT_MAX = 1000  # in one call, events for others


class Heard(NamedTuple):
    """An event."""

    name: str
    kind: str
    payload: bytes
    slot: Slot


def read_event(slot: Slot) -> tuple[str, str, bytes]:
    """Name, kind and payload of an event; of what a peer made wrong, something to look at.

    payload of the slot:  | kind u8 | length of name u16 BE | name | payload of the event |
    """
    data = slot.payload
    end = 3 + int.from_bytes(data[1:3], "big")
    kind = KINDS.get(data[0] if data else 0, "bytes")
    return data[3:end].decode("utf-8", "backslashreplace"), kind, data[end:]


class Listener:
    """One reader of a model of events; of all names or some."""

    def __init__(
        self, model: Slots, names: Collection[str] = (), heard: Mapping[Source, int] | None = None
    ) -> None:
        self.model = model
        self.close: Callable[[], object] = lambda: None  # whoever wakes it may say how to end
        self._names = frozenset(names)
        self._follower = Follower(model, heard)

    @property
    def heard(self) -> dict[Source, int]:
        """Of each source, up to when."""
        return self._follower.given

    def has_something(self) -> bool:
        """True while `next` may have news. Cheap."""
        return self._follower.has_something()

    def next(self, most: int) -> list[Heard]:
        """At most so many events, by rank; maybe none although `has_something`."""
        found: list[Heard] = []
        now_ms = self.model.now_ms()
        looked = 0
        while len(found) < most and looked < LOOKED_AT_MAX + most:
            slot = self._follower.next_slot()
            if slot is None:
                break
            looked += 1
            if slot.shown(now_ms) and not self._knows(slot):  # neither removed nor expired
                event = Heard(*read_event(slot), slot)
                if not self._names or event.name in self._names:
                    found.append(event)
        return found

    def _knows(self, slot: Slot) -> bool:
        """True if it was heard as its author first wrote it, and has been issued anew since."""
        author = made_by(slot)
        return slot.source != author and self.heard.get(author, 0) >= made_at(slot)

    def cursor(self) -> str:
        """Cursor: all that was heard, as text; `read_cursor` reads it, on any node."""
        return ",".join(f"{source_text(source)}={time}" for source, time in self.heard.items())


def read_cursor(text: str) -> dict[Source, int]:
    """Clock that a listener's cursor stands for. Raises UsageError."""
    heard: dict[Source, int] = {}
    try:
        for part in text.split(",") if text else ():
            name, _, time = part.partition("=")
            source = parse_source(name)
            if source is None or not 0 <= int(time) < 2**63 or str(int(time)) != time:
                raise ValueError
            heard[source] = int(time)
    except ValueError:
        raise UsageError(f"cursor '{text:.80}' is not one that `on` gave") from None
    return heard
