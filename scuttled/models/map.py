"""Keys and values, last writer wins: the data type of `scuttled set` and `get`.

A slot is a key. A value is text, bytes or JSON, kept as the exact bytes that `get` writes out.
"""

from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any

from scuttled.errors import DataError, RemoteProtocolError, UsageError
from scuttled.models.operations import operation, reading
from scuttled.models.payload import pack, plain_value
from scuttled.replica.change import DELETED, SLOT_BYTES_MAX, Slot
from scuttled.replica.slots import OPTION_MS_MAX, Slots
from scuttled.replica.update import Update

KEY_BYTES_MAX = SLOT_BYTES_MAX
TTL_MS_MAX = OPTION_MS_MAX


def key_slot(key: object) -> bytes:
    """The slot of a key. Raises DataError, naming what was seen and what is allowed."""
    if not isinstance(key, str):
        raise UsageError(f"a key that is a {type(key).__name__}, not text")
    try:
        slot = key.encode()
    except UnicodeEncodeError:
        raise DataError(f"key {key!r:.80} is not UTF-8") from None
    if not 1 <= len(slot) <= KEY_BYTES_MAX:
        raise DataError(f"key of {len(slot)} bytes, allowed are 1 to {KEY_BYTES_MAX}")
    if slot[0] == 0:
        raise DataError(f"key {key!r:.80} begins with NUL, which is reserved")
    return slot


_NONE = object()  # equals no value


class _Branch(dict[str, Any]):
    """An object that stands for a path, not a value that happens to be one."""


def _leaves(path: str, tree: Any) -> Iterator[tuple[str, Any]]:
    """The keys and values of a tree of objects; "" is the value at the path itself."""
    if not isinstance(tree, dict):
        yield path, tree
        return
    for name, value in tree.items():
        yield from _leaves(f"{path}/{name}".strip("/") if name else path, value)


class _Items(ItemsView[str, Any]):
    """Keys and values as they were when the iteration began."""

    _mapping: "Map"

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._mapping.to_json().items())


class _Values(ValuesView[Any]):
    """Values as they were when the iteration began."""

    _mapping: "Map"

    def __iter__(self) -> Iterator[Any]:
        return iter(self._mapping.to_json().values())


class Map(Slots, MutableMapping[str, Any]):
    """Keys and values that several write: in each key the last write stands.

    A mapping like a dict, but for this: a key is text, a value is what JSON can say; iteration is
    sorted by key, and goes over what was there when it began, so the map may change meanwhile;
    what is read is a copy, so a list that was read is set again to change it. None is a value,
    JSON's null: `del` deletes a key, and GONE tells observers so. Two maps, or a map and a dict,
    are equal if they hold the same.
    """

    data_type = "map"
    settings = ("ttl_ms",)
    __hash__ = None  # type: ignore[assignment]  # as of every mapping that changes

    def put(self, key: str, kind: int, value: bytes, wall_ms: int, ttl_ms: int = 0) -> Update:
        """Set a key; with a TTL, its own or the model's, it is gone by itself after that."""
        ttl_ms = ttl_ms or self.ttl_ms
        return self.fill(key_slot(key), kind, value, wall_ms, wall_ms + ttl_ms if ttl_ms else 0)

    def discard(self, key: str, wall_ms: int) -> Update | None:
        """Delete a key by a tombstone; None if there was none to delete."""
        slot = key_slot(key)
        if self.live(slot, wall_ms) is None:
            return None
        return self.fill(slot, DELETED, b"", wall_ms)

    def check_slot(self, slot: bytes) -> None:
        """A key is UTF-8, and not empty. Raises RemoteProtocolError."""
        if not slot:
            raise RemoteProtocolError("an update of the empty key")
        super().check_slot(slot)

    def find_label(self, label: bytes) -> Slot | None:
        """Slot that a reader sees under that key."""
        return self.live(label, self.now_ms())

    def find(self, key: str, wall_ms: int) -> Slot | None:
        """Slot of a key at that time. Raises UsageError, DataError at what is no key."""
        return self.live(key_slot(key), wall_ms)

    @property
    def ttl_ms(self) -> int:
        """The TTL of keys that are set without one; 0: none."""
        return self.option_ms("ttl_ms")

    def to_json(self) -> dict[str, Any]:
        """Keys and values."""
        return {self.label(slot).decode(): plain_value(slot) for slot in self.shown()}

    # --- as a mapping ---

    def __getitem__(self, key: str) -> Any:
        """The value of a key. Raises KeyError."""
        found = self._find(key)
        if found is None:
            raise KeyError(key)
        return plain_value(found)

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a key. Raises UsageError, DataError at what can't be a key or a value."""
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        """Delete a key. Raises KeyError."""
        if self._find(key) is None:
            raise KeyError(key)
        self.delete(key)

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter([self.label(slot).decode() for slot in self.shown()])

    def __len__(self) -> int:
        return self.count_shown()

    def __repr__(self) -> str:
        return f"<Map {self.name!r} of {self.id}, keys: {len(self)}>"

    def items(self) -> ItemsView[str, Any]:
        """Keys and values, sorted by key."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """The values, sorted by key."""
        return _Values(self)

    def clear(self) -> None:
        """Delete every key that is here."""
        for key in self:
            self.delete(key)

    def update(  # type: ignore[override]  # the overloads of a mapping, in one
        self, other: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **more: Any
    ) -> None:
        """Set many keys; none of them if one can't be. Raises UsageError, DataError."""
        wanted = {**dict(other), **more}
        packed = [(key, *pack(value)) for key, value in wanted.items() if key_slot(key)]
        for key, kind, data in packed:
            self.put(key, kind, data, self.now_ms())

    def _find(self, key: object) -> Slot | None:
        """Slot of a key; None, too, for what can be no key."""
        try:
            return self.live(key_slot(key), self.now_ms())
        except (UsageError, DataError):
            return None

    # --- by name: `scuttled call` ---

    @reading
    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; the default, or null, if there is none."""
        found = self.find(key, self.now_ms())
        return default if found is None else plain_value(found)

    @operation
    def set(self, key: str, value: Any, ttl_ms: int = 0) -> str:
        """Set a key, maybe for so many ms only; the revision."""
        if type(ttl_ms) is not int or not 0 <= ttl_ms <= TTL_MS_MAX:
            raise UsageError(f"ttl_ms {ttl_ms!r:.40}, expected 0 to {TTL_MS_MAX}")
        kind, data = pack(value)
        update = self.put(key, kind, data, self.now_ms(), ttl_ms)
        return Slot(b"", kind, b"", 0, update.timestamp, update.source).rev

    @operation
    def delete(self, key: str) -> bool:
        """Delete a key; whether it was there."""
        return self.discard(key, self.now_ms()) is not None

    @reading
    def tree(self, path: str = "") -> Any:
        """What stands at a path and below it, as nested objects; null if nothing does.

        Where a key is a value and a path to others as well, its own value goes by "".
        """
        root: dict[str, Any] = {}
        for key, value in self._below(path).items():
            *way, name = key.removeprefix(path).strip("/").split("/")
            at = root
            for step in way:
                if not isinstance(inner := at.get(step), _Branch):
                    inner = at[step] = _Branch({} if step not in at else {"": inner})
                at = inner
            if isinstance(at.get(name), _Branch):
                at[name][""] = value
            else:
                at[name] = value
        return root.get("") if set(root) == {""} else root or None

    @operation
    def plant(self, path: str, tree: Any) -> int:
        """Make what stands at a path and below it that tree of objects; how many keys changed."""
        held = self._below(path)
        wanted = dict(_leaves(path.rstrip("/"), tree))
        for key in wanted:
            key_slot(key)
        changed = {key: value for key, value in wanted.items() if held.get(key, _NONE) != value}
        packed = {key: pack(value) for key, value in changed.items()}
        gone = [key for key in held if key not in wanted]
        for key, (kind, data) in packed.items():
            self.put(key, kind, data, self.now_ms())
        for key in gone:
            self.discard(key, self.now_ms())
        return len(packed) + len(gone)

    def _below(self, path: str) -> dict[str, Any]:
        """The keys at a path and below it, sorted, with their values."""
        if not isinstance(path, str):
            raise UsageError(f"a path that is a {type(path).__name__}, not text")
        at = path.rstrip("/").encode("utf-8", "surrogateescape")
        held = {
            self.label(slot).decode(): plain_value(slot)
            for slot in self.shown()
            if not at or (self.label(slot) + b"/").startswith(at + b"/")
        }
        return dict(sorted(held.items()))

    @reading
    def has(self, key: str) -> bool:
        """True if a key is there."""
        return self.find(key, self.now_ms()) is not None

    @reading
    def size(self) -> int:
        """How many keys there are."""
        return self.count_shown()
