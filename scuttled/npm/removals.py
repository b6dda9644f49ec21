"""Removals of append-only: `{"remove": "SOURCE:MILLISECONDS"}` names the entry that goes.

append-only dies of a removal of what it has not, or of a second one. An offline peer never learns
of a removal, and nobody learns of what it removed meanwhile. So a removal is said only of an entry
that crossed this very connection, under its own name, and was not removed since.
"""

from collections import OrderedDict
from typing import Any

from scuttled.models.entries import entry_slot
from scuttled.npm.codec import is_id, ticks_of
from scuttled.npm.hazards import Unsayable
from scuttled.npm.names import namesake
from scuttled.npm.shared import SHARED_MAX
from scuttled.replica.update import parse_source


def is_push(change: Any) -> bool:
    return isinstance(change, dict) and bool(change.get("push"))


def removed_slot(change: Any, *, ours: bool) -> bytes | None:
    """The slot of the entry that a change removes; None if it removes none.

    Raises Unsayable at a removal that was written here and names nothing that could be there; what
    an npm peer wrote may be of another type, which has its own meaning of `remove`.
    """
    if not isinstance(change, dict) or not change.get("remove") or is_push(change):
        return None
    slot = _slot_of(change["remove"])
    if slot is None and ours:
        raise Unsayable("a removal that does not name an entry as SOURCE:MILLISECONDS")
    return slot


def _slot_of(name: object) -> bytes | None:
    if not isinstance(name, str):
        return None
    source, colon, time = name.rpartition(":")
    try:
        ticks = ticks_of(float(time) if "." in time else int(time)) if colon else None
    except ValueError:
        return None
    if ticks is None or not is_id(source):
        return None
    return entry_slot(ticks, parse_source(source) or namesake(source))


class Removals:
    """Which entries that crossed a connection can't be removed there (any more).

    As many are remembered as of what crossed: an entry goes before its removal does.
    """

    def __init__(self) -> None:
        self._settled: OrderedDict[bytes, None] = OrderedDict()

    def settle(self, slot: bytes) -> None:
        """It is removed there, or stands there under another name."""
        self._settled[slot] = None
        while len(self._settled) > SHARED_MAX:
            self._settled.popitem(last=False)

    def check(self, slot: bytes, *, has_crossed: bool) -> None:
        """Raises Unsayable if the peer would die of it."""
        if not has_crossed or slot in self._settled:
            raise Unsayable("a removal of what was not sent, or was removed, on this connection")
