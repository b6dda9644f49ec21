"""Changes in npm's types and in ours: how each reads in the other.

map      Model, expiry-model       ["key", value], a null deletes
value    r-value                   the bare value
events   ReliableEventEmitter      ["name", argument, ...]
log      any other                 the change as it is: an entry each
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from scuttled.errors import DataError, UsageError
from scuttled.models.entries import entry_slot
from scuttled.models.event_listener import read_event
from scuttled.models.events import event_payload
from scuttled.models.map import key_slot
from scuttled.models.payload import pack, unpack
from scuttled.npm.hazards import (
    Unsayable,
    check_entry,
    check_event_name,
    check_key,
    check_nesting,
)
from scuttled.replica.change import BYTES, DELETED, JSON, TEXT, Slot
from scuttled.replica.slots import Slots
from scuttled.replica.update import Source, life_of, parse_source

NUMBER_DIGITS_MAX = 21  # beyond that JavaScript writes a whole number with an exponent


class Translated(NamedTuple):
    """An npm change as one of ours."""

    slot: bytes
    kind: int
    payload: bytes
    arguments: int = 1  # of an event; 1 goes without saying


class Dialect(NamedTuple):
    """Both ways. `hear` is told when and by which source; both raise Unsayable."""

    hear: Callable[[Any, int, Source], Translated]
    say: Callable[[Slot, int], Any]
    last_wins: bool  # npm lets the last to come win a tie, so that ties must be broken


def _pack(value: Any) -> tuple[int, bytes]:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: text can't hold it, JSON can
            return JSON, json.dumps(value).encode()
    try:
        return pack(value)
    except (DataError, UsageError) as error:
        raise Unsayable(error.message) from None


def _plain(kind: int, payload: bytes) -> Any:
    if kind == BYTES:
        raise Unsayable("bytes, for which JSON has no word")
    if kind == JSON:
        check_nesting(payload)
    return unpack(kind, payload)


def name_of(value: Any) -> Any:
    """A property's name as JavaScript makes it of a number or a boolean; else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        text = str(value)
        return text if len(text.lstrip("-")) <= NUMBER_DIGITS_MAX else value
    if isinstance(value, float):
        text = repr(value).removesuffix(".0")
        return text if "e" not in text else value
    return value


def _hear_map(change: Any, ticks: int, source: Source) -> Translated:
    if not (isinstance(change, list) and len(change) == 2) or change[0] == "__proto__":
        raise Unsayable('a change that is not ["key", value]')
    try:
        slot = key_slot(name_of(change[0]))
    except (DataError, UsageError) as error:
        raise Unsayable(error.message) from None
    return Translated(slot, *((DELETED, b"") if change[1] is None else _pack(change[1])))


def _say_map(slot: Slot, now_ms: int) -> Any:
    key = slot.slot.decode()
    check_key(key, in_bucket=False)
    return [key, _plain(slot.kind, slot.payload) if slot.shown(now_ms) else None]


def _hear_entry(change: Any, ticks: int, source: Source) -> Translated:
    return Translated(entry_slot(ticks, source), *_pack(change))


def _say_entry(slot: Slot, now_ms: int) -> Any:
    if not slot.shown(now_ms):
        raise Unsayable("the end of an entry")
    return _plain(slot.kind, slot.payload)


def _say_log_entry(slot: Slot, now_ms: int) -> Any:
    change = _say_entry(slot, now_ms)
    check_entry(change, ours=is_ours(slot))
    return change


def is_ours(slot: Slot) -> bool:
    """True if a node of this cluster wrote it, and not an npm peer."""
    if life_of(slot.source) or not slot.origin:
        return True
    return parse_source(Origin.of(slot).id) is not None


def _hear_event(change: Any, ticks: int, source: Source) -> Translated:
    if not isinstance(change, list) or not change:
        raise Unsayable('a change that is not ["name", argument, ...]')
    name, *arguments = change
    name = name_of(name)
    many = len(arguments)
    kind, payload = _pack(arguments[0] if many == 1 else arguments if many else None)
    try:
        data = event_payload(name, kind, payload)
    except (DataError, UsageError) as error:
        raise Unsayable(error.message) from None
    return Translated(entry_slot(ticks, source), BYTES, data, many)


def _say_event(slot: Slot, now_ms: int) -> Any:
    if not slot.shown(now_ms):
        raise Unsayable("the end of an event")
    name, kind, payload = read_event(slot)
    check_event_name(name)
    number = {"text": TEXT, "json": JSON}.get(kind, BYTES)
    value = _plain(number, payload)
    many = Origin.of(slot).arguments
    if many != 1 and isinstance(value, list) and len(value) == many:
        return [name, *value]
    return [name] if value is None and many == 0 else [name, value]


DIALECTS = {
    "map": Dialect(_hear_map, _say_map, last_wins=True),
    "value": Dialect(_hear_entry, _say_entry, last_wins=False),
    "events": Dialect(_hear_event, _say_event, last_wins=False),
    "log": Dialect(_hear_entry, _say_log_entry, last_wins=False),
}


def dialect(model: Slots) -> Dialect:
    """Raises UsageError for a type that npm has no like of."""
    if model.data_type not in DIALECTS:
        raise UsageError(
            f"model '{model.name}' is a {model.data_type}; npm knows {', '.join(DIALECTS)}"
        )
    return DIALECTS[model.data_type]


def id_bytes(npm_id: str) -> bytes:
    """Raises Unsayable at half of a surrogate pair."""
    try:
        return npm_id.encode()
    except UnicodeEncodeError:
        raise Unsayable("an id that is not UTF-8") from None


class Origin(NamedTuple):
    """Origin of an npm update: what is kept of it beside its change.

    origin:  | life of the bridging node u32 BE | length u16 BE | id | [signature, arguments] |
    """

    id: str  # "" if it is not npm's
    signature: Any = None
    arguments: int = 1

    @classmethod
    def of(cls, slot: Slot) -> "Origin":
        """Of a record of ours; a peer of ours may have written nonsense there."""
        try:
            size = int.from_bytes(slot.origin[4:6], "big")
            id_ = slot.origin[6 : 6 + size].decode()
            signature, arguments = json.loads(slot.origin[6 + size :])
        except (ValueError, TypeError, RecursionError):
            return cls("")
        return cls(id_, signature, arguments if type(arguments) is int else 1)

    def to_bytes(self, life: int) -> bytes:
        """Raises Unsayable: a signature that is too long."""
        name = id_bytes(self.id)
        data = life.to_bytes(4, "big") + len(name).to_bytes(2, "big") + name
        data += json.dumps([self.signature, self.arguments]).encode()
        if len(data) > 0xFFFF:
            raise Unsayable(f"id and signature of {len(data)} bytes, at most {0xFFFF}")
        return data
