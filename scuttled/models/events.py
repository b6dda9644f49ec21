"""Events that every node hears (npm ReliableEventEmitter): once per listener, whatever happens.

payload:  | kind u8 | length of name u16 BE | name | payload of the event |
"""

from collections.abc import Callable, Mapping
from typing import Any

from scuttled.errors import DataError, UsageError
from scuttled.models.entries import Entries
from scuttled.models.event_listener import Listener, read_event
from scuttled.models.operations import operation, reading
from scuttled.models.payload import pack, unpack
from scuttled.replica.change import BYTES, KINDS, Slot
from scuttled.replica.update import Source

NAME_BYTES_MAX = 1024


def check_name(name: object) -> bytes:
    """The bytes of an event's name. Raises UsageError, DataError."""
    if not isinstance(name, str):
        raise UsageError(f"an event's name that is a {type(name).__name__}, not text")
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise DataError(f"event {name!r:.80} is not UTF-8") from None
    if not 1 <= len(data) <= NAME_BYTES_MAX:
        raise DataError(f"an event's name of {len(data)} bytes, allowed are 1 to {NAME_BYTES_MAX}")
    return data


def event_payload(name: object, kind: int, payload: bytes) -> bytes:
    """Payload of the slot of an event. Raises UsageError, DataError."""
    data = check_name(name)
    return bytes((kind,)) + len(data).to_bytes(2, "big") + data + payload


class Events(Entries):
    """Events that every listener of every replica hears once, also those it was away for."""

    data_type = "events"

    def put(self, name: str, kind: int, payload: bytes) -> str:
        """Emit; the name of the entry, for good."""
        return self.enter(BYTES, event_payload(name, kind, payload))

    def label(self, slot: Slot) -> bytes:
        """`name/entry`, so that a pattern can ask for the events of a name: `deploy/`."""
        name = read_event(slot)[0] + "/" if slot.payload else ""
        return name.encode() + super().label(slot)

    def value(self, slot: Slot) -> tuple[str, bytes]:
        _, kind, payload = read_event(slot)
        return kind, payload

    def to_json(self) -> list[dict[str, Any]]:
        """The events, the oldest first."""
        return [self._plain(slot) for slot in self.shown()]

    def _plain(self, slot: Slot) -> dict[str, Any]:
        name, kind, payload = read_event(slot)
        number = next((n for n, known in KINDS.items() if known == kind), BYTES)
        return {"name": name, "payload": unpack(number, payload)}

    def listen(
        self,
        callback: Callable[[str, Any], object],
        *names: str,
        heard: Mapping[Source, int] | None = None,
    ) -> Listener:
        """Call back with name and payload for each event once: those that are here, then as they
        come; of these names, or of all. `heard` says what was heard before (a listener's own).

        The listener that is given back knows what was heard; `close` ends it. What the callback
        raises comes out where the event came in, once all others were told; it has heard that one.
        """
        listener = Listener(self, names, heard)
        observed = self.observed
        telling = False

        def tell() -> None:
            nonlocal telling
            if telling:
                return
            telling = True
            errors: list[Exception] = []
            try:
                while listener.has_something():
                    for event in listener.next(1):  # what stands behind it may not be lost
                        told = self._plain(event.slot)
                        try:
                            callback(told["name"], told["payload"])
                        except Exception as error:
                            errors.append(error)
            finally:
                telling = False
            if errors:
                raise errors[0]

        observed.wakers.add(tell)
        listener.close = lambda: observed.wakers.discard(tell)
        tell()
        return listener

    @operation
    def emit(self, name: str, payload: Any = None) -> str:
        """Emit an event to every listener of every node; the name of its entry."""
        check_name(name)
        kind, data = pack(payload)
        return self.put(name, kind, data)

    @operation
    def remove(self, entry: str) -> bool:
        """Take an event back from whoever has not heard it yet; whether it was there."""
        return self.take_out(entry)

    @reading
    def events(self, name: str = "") -> list[dict[str, Any]]:
        """All events, or those of a name, the oldest first."""
        return [event for event in self.to_json() if name in ("", event["name"])]

    @reading
    def size(self) -> int:
        """How many events there are."""
        return self.count_shown()
