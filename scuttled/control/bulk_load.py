"""Many keys at once: what a `load` of the control protocol writes, and what it leaves. Pure.

All of a request is checked before anything of it is written. Then each key is decided by what
this node holds at that moment: no other write can come between the look and the deed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from scuttled.errors import UsageError
from scuttled.models.map import Map, key_slot
from scuttled.models.payload import check_value

MODES = ("set", "merge", "missing")  # every key; those that differ; those that are not there
EXPIRES_MS_MAX = 2**63 - 1


class LoadEntry(NamedTuple):
    slot: bytes
    kind: int
    value: bytes
    expires_ms: int | None  # 0: never; None: after the model's TTL, if it has one


@dataclass(frozen=True, slots=True)
class Load:
    """A request that makes sense."""

    entries: list[LoadEntry]
    mode: str
    dry_run: bool

    def carry_out(self, model: Map | None, wall_ms: int) -> dict[str, int]:
        """Writes what is due, or only counts it. None: a model that is not there yet."""
        counts = {"count": 0, "left": 0, "expired": 0}
        ttl_ms = model.ttl_ms if model is not None else 0
        by_model_ms = wall_ms + ttl_ms if ttl_ms else 0
        for slot, kind, value, given_ms in self.entries:
            expires_ms = by_model_ms if given_ms is None else given_ms
            if 0 < expires_ms <= wall_ms:
                counts["expired"] += 1
            elif model is not None and self._leaves(
                model, LoadEntry(slot, kind, value, expires_ms), wall_ms
            ):
                counts["left"] += 1
            else:
                counts["count"] += 1
                if model is not None and not self.dry_run:
                    model.fill(slot, kind, value, wall_ms, expires_ms)
        return counts

    def _leaves(self, model: Map, wanted: LoadEntry, wall_ms: int) -> bool:
        if self.mode == "set":
            return False
        held = model.live(wanted.slot, wall_ms)
        if held is None:
            return False
        same = (held.kind, held.payload, held.expires_ms) == wanted[1:]
        return same or self.mode == "missing"


def read_load(request: Mapping[str, Any]) -> Load:
    """Raises UsageError, DataError."""
    pairs = request.get("pairs")
    mode = request.get("mode", "set")
    if not isinstance(pairs, list) or len(pairs) % 2:
        raise UsageError("load wants pairs: [key, value, key, value, ...]")
    if mode not in MODES:
        raise UsageError(f"load with the mode {mode!r:.40}, allowed are {', '.join(MODES)}")
    expiries = _expiries(request.get("expires_ms"), len(pairs) // 2)
    entries = [
        LoadEntry(key_slot(key), *check_value(request.get("kind"), value), expires_ms)
        for key, value, expires_ms in zip(pairs[::2], pairs[1::2], expiries, strict=True)
    ]
    dry_run = request.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise UsageError(f"dry_run {dry_run!r:.40}, expected true or false")
    return Load(entries, mode, dry_run)


def _expiries(given: object, count: int) -> list[int | None]:
    if given is None:
        return [None] * count
    if not isinstance(given, list) or len(given) != count:
        raise UsageError(f"load of {count} keys wants as many expires_ms: [ms, nil, ...]")
    for ms in given:
        if ms is not None and not (type(ms) is int and 0 <= ms <= EXPIRES_MS_MAX):
            raise UsageError(f"expires_ms {ms!r:.40}, expected 0 to {EXPIRES_MS_MAX}, or nil")
    return given
