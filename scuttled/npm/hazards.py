"""Hazards to an npm peer's process: names and values that end it, or that spoil its state.

npm keeps everything in plain objects, which inherit from Object.prototype, and tells everything by
EventEmitters, which throw at an `error` that nobody listens to. So what is harmless here is fatal
there, at once and again at every start, since it is kept. Each rule below was seen on the real
packages (node 20): the whole table of names and values was tried on every type, alone and as a
part of a scuttlebucket.          [docs/npm.md, "What npm can't say"]
"""

from typing import Any


class Unsayable(Exception):
    """One of the two sides has no words for it; why."""


# `store["constructor"]` is a function where npm expects an update, or nothing.
INHERITED = frozenset(
    (
        "__proto__ constructor hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString "
        "toString valueOf __defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__"
    ).split()
)

# By which npm's own code speaks to itself, on the very emitter on which events are told: `error`
# throws, `dispose` ends all streams, `_update` is forwarded as if it were an update.
INTERNAL = frozenset(
    (
        "error dispose _update _remove newListener removeListener old_data unverified_data "
        "unstream unclone"
    ).split()
)

NESTING_MAX = 1000  # JSON.stringify of node gives up between 4,000 and 6,000 levels, and throws


def check_event_name(name: str) -> None:
    """Raises Unsayable."""
    if name in INHERITED or name in INTERNAL:
        raise Unsayable(f"the event name {name}, which ends or upsets an npm process")


def check_part_name(name: str) -> None:
    """Raises Unsayable."""
    if name in INHERITED:
        raise Unsayable(f"the part {name}, a name that ends an npm process")


def check_key(key: str, *, in_bucket: bool) -> None:
    """Of a map. A bucket listens to what a key replaces, and dies of what it inherits.

    Raises Unsayable.
    """
    if key == "__proto__":
        raise Unsayable("the key __proto__, which npm refuses")
    if in_bucket and key in INHERITED:
        raise Unsayable(f"the key {key}, which in a bucket ends an npm process")


def check_nesting(payload: bytes) -> None:
    """Of a JSON text. Raises Unsayable."""
    if payload.count(b"[") + payload.count(b"{") > NESTING_MAX:  # else it can't be too deep
        depth, _ = nesting(payload)
        if depth > NESTING_MAX:
            raise Unsayable(f"a value nested {depth} deep, at most {NESTING_MAX}")


def nesting(text: bytes) -> tuple[int, int]:
    """Depth at which brackets stand in each other at most, and how many are open at the end."""
    deepest = depth = 0
    in_string = escaped = False
    for byte in text:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:  # a backslash
                escaped = True
            elif byte == 0x22:  # a quote
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest, depth


def check_entry(change: Any, *, ours: bool) -> None:
    """Of a log. Behind it may be any type of npm's, so it must be fit for each that we know.

    What an npm peer wrote it has survived itself; of what was written here (`ours`) more is asked.
    Raises Unsayable.
    """
    if isinstance(change, dict):
        _check_names(change)
    elif isinstance(change, list):
        _check_list(change)
    elif ours:
        raise Unsayable("an entry that is neither an object nor a list, as npm's changes are")
    if not ours:
        return
    # append-only: Object.defineProperty of a pushed number or text throws.
    if isinstance(change, dict) and change.get("push") and not _is_tree(change["push"]):
        raise Unsayable('an entry {"push": ...} of what is neither an object nor a list')
    # crdt tells each field by an EventEmitter.
    if isinstance(change, list) and len(change) > 1 and _has(change[1], "error"):
        raise Unsayable("a row's field named error, which ends an npm process")


def _check_list(change: list[Any]) -> None:
    first = change[0] if change else None
    if isinstance(first, str):  # crdt: [row, {field: value}]
        _check_name(first)
        if len(change) > 1 and isinstance(change[1], dict):
            _check_names(change[1])
    for step in change:  # gossip-object: [[[path, ...], value], ...]
        if isinstance(step, list) and step and isinstance(step[0], list):
            for name in step[0]:
                _check_name(name)


def _check_names(fields: dict[str, Any]) -> None:
    for name in fields:
        _check_name(name)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name in INHERITED:
        raise Unsayable(f"the name {name}, which ends or upsets an npm process")


def _is_tree(value: object) -> bool:
    return isinstance(value, dict | list)


def _has(value: object, name: str) -> bool:
    return isinstance(value, dict) and name in value
