"""Makes what nobody should send out of what real nodes do send. All chance comes from one seed.

Two levels. Bytes know nothing of what they mean: bits flip, pieces go, come twice, change places.
Trees are what msgpack and JSON say: a leaf becomes one of another type or a number at an edge, a
branch is dropped, repeated, wrapped. On top stand sequences: whole frames or lines out of order.
"""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack

EDGES = (0, 1, 2, 127, 128, 255, 256, 4096, 65_535, 65_536, 2**31, 2**32 - 1, 2**32, 2**53)
EDGES += (2**62, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**31), -(2**63))
DEEP = (3, 30, 300, 500, 520, 900, 990, 1000, 1020, 1100)  # levels; decoders give up somewhere here
TEXTS = ("", "\0", "_members", "default", "__proto__", "\u2028", "é", "\ud800", "*", "a/b", "-1")
MANY = (2, 3, 10, 100)  # copies
STRAY = (
    b"\0",
    b"\xff",
    b"\n",
    b"[",
    b"\t",
    b'"',
    b"{",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"NaN",
    b"1e999",
)
NODES_MAX = 400  # of a tree that are looked at


class Raw:
    """A piece of the output, as it is to stand there: what no encoder would make."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class Mutator:
    """One seed's chances. `known` are values that mean something behind the door."""

    def __init__(self, rng: random.Random, known: Sequence[Any] = ()) -> None:
        self.rng = rng
        self.known = known

    def times(self) -> int:
        """How many changes are to be made: mostly few, so that what comes behind is reached."""
        return self.rng.choice((1, 1, 1, 2, 2, 3, 5, 8))

    # --- bytes ---

    def bytes(self, data: bytes, others: Sequence[bytes] = ()) -> bytes:
        """`data`, after one change."""
        change: Callable[[bytes], bytes] = self.rng.choice(
            (self._flip, self._poke, self._poke, self._cut, self._repeat, self._insert, self._count)
        )
        if others and self.rng.random() < 0.15:
            return self._splice(data, self.rng.choice(others))
        return change(data)

    def _span(self, data: bytes) -> tuple[int, int]:
        start = self.rng.randint(0, len(data))
        length = self.rng.choice((1, 2, 4, 8, 16, 64, len(data)))
        return start, min(len(data), start + length)

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self.rng.randrange(len(data))
        return data[:at] + bytes((data[at] ^ 1 << self.rng.randrange(8),)) + data[at + 1 :]

    def _poke(self, data: bytes) -> bytes:
        """Other bytes in the place of some."""
        start, end = self._span(data)
        return data[:start] + self.rng.randbytes(end - start) + data[end:]

    def _cut(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] if self.rng.random() < 0.3 else data[:start] + data[end:]

    def _repeat(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:end] + data[start:end] * self.rng.choice(MANY) + data[end:]

    def _insert(self, data: bytes) -> bytes:
        at = self.rng.randint(0, len(data))
        what = self.rng.choice((*STRAY, *STRAY[:4]))
        return data[:at] + what * self.rng.choice((1, 1, 2, 40, 2000)) + data[at:]

    def _count(self, data: bytes) -> bytes:
        """A big-endian number one more or less, or at an edge: lengths, counts and stamps lie."""
        size = self.rng.choice((1, 2, 4, 8))
        if len(data) < size:
            return data
        at = self.rng.randrange(min(len(data) - size + 1, 64))
        number = int.from_bytes(data[at : at + size], "big")
        number = self.rng.choice((number + 1, number - 1, *EDGES)) % 2 ** (8 * size)
        return data[:at] + number.to_bytes(size, "big") + data[at + size :]

    def _splice(self, data: bytes, other: bytes) -> bytes:
        return data[: self.rng.randint(0, len(data))] + other[self.rng.randint(0, len(other)) :]

    # --- trees ---

    def tree(self, tree: Any) -> Any:
        """A copy of a tree of lists, maps and leaves, with one place in it changed."""
        places = [()]
        for place in places:  # grows while it is walked
            if len(places) < NODES_MAX:
                places += [(*place, key) for key in _keys(_at(tree, place))]
        return self._changed(tree, self.rng.choice(places))

    def _changed(self, tree: Any, place: tuple[Any, ...]) -> Any:
        if not place:
            return self._other(tree)
        key, *rest = place
        if rest or self.rng.random() < 0.6:
            changed = self._changed(tree[key], tuple(rest))
            if isinstance(tree, list):
                return [*tree[:key], changed, *tree[key + 1 :]]
            return {**tree, key: changed}
        return self._without_or_twice(tree, key)

    def _without_or_twice(self, tree: Any, key: Any) -> Any:
        if isinstance(tree, list):
            copies = self.rng.choice((0, 2, *MANY))
            return [*tree[:key], *[tree[key]] * copies, *tree[key + 1 :]]
        others = {name: value for name, value in tree.items() if name != key}
        if self.rng.random() < 0.5:
            return others
        name = self._other(key)
        return {**others, name if _is_hashable(name) else key: tree[key]}

    def _other(self, value: Any) -> Any:
        """Something in the place of a value: like it, or not at all."""
        chance = self.rng.random()
        if chance < 0.35:
            return self._alike(value)
        if chance < 0.6 and self.known:
            return self.rng.choice(self.known)
        return self.atom() if chance < 0.9 else self.rng.choice(([value], {"a": value}))

    def _alike(self, value: Any) -> Any:
        match value:
            case bool():
                return not value
            case int():
                return self.rng.choice((value + 1, value - 1, value * 4096, value // 2, -value))
            case float():
                return self.rng.choice((value + 0.0001, value * 2, -value, value // 1))
            case bytes():
                return self.bytes(value, [k for k in self.known if isinstance(k, bytes)])
            case str():
                data = self.bytes(value.encode("utf-8", "surrogatepass"))
                return data.decode("utf-8", "replace")
            case list():
                return self.sequence(value)
            case dict():
                return {**value, **self.flood()}
        return self.atom()

    def flood(self) -> dict[Any, Any]:
        """Many keys that nobody has seen: as sources are, twelve bytes with a time."""
        count = self.rng.choice((1, 30, 200))
        return {self.rng.randbytes(12): self.rng.choice((1, 2**40)) for _ in range(count)}

    def atom(self) -> Any:
        return self.rng.choice((
            None, True, False, [], {}, b"", *EDGES, 0.5, float("nan"), float("inf"), -0.0,
            *TEXTS, self.rng.randbytes(8), self.rng.randbytes(12), "x" * 300, b"y" * 5000,
            Raw(b""),  # stands for what is too deep; see `dump_msgpack` and `dump_json`
        ))  # fmt: skip

    # --- sequences ---

    def sequence(self, items: Sequence[Any], others: Sequence[Any] = ()) -> list[Any]:
        """The same items, but one is missing, comes again, or stands elsewhere."""
        some = list(items)
        if not some:
            return [*others[:1]]
        at, to = self.rng.randrange(len(some)), self.rng.randrange(len(some))
        match self.rng.randrange(6):
            case 0:
                del some[at]
            case 1:
                some.insert(to, some[at])
            case 2:
                some[at], some[to] = some[to], some[at]
            case 3:
                some.insert(to, some.pop(at))
            case 4 if others:
                some.insert(at, self.rng.choice(others))
            case _:
                some[at:at] = [some[at]] * self.rng.choice(MANY)
        return some

    def chunks(self, data: bytes) -> Iterable[bytes]:
        """The same bytes, in pieces."""
        most = self.rng.choice((1, 7, 100, 5000, 1 << 20))
        if len(data) > 2000 * most:
            most = len(data)
        at = 0
        while at < len(data):
            size = self.rng.randint(1, most)
            yield data[at : at + size]
            at += size

    # --- encodings ---

    def dump_msgpack(self, tree: Any) -> bytes:
        raw: dict[bytes, bytes] = {}
        data: bytes = msgpack.packb(
            _plain(tree, lambda _: self._mark(raw, self._deep_msgpack())),
            unicode_errors="surrogatepass",
        )
        for mark, piece in raw.items():
            data = data.replace(b"\xc4\x10" + mark, piece)
        return data

    def _mark(self, raw: dict[bytes, bytes], piece: bytes) -> bytes:
        mark = self.rng.randbytes(16)
        raw[mark] = piece
        return mark

    def _deep_msgpack(self) -> bytes:
        opening = self.rng.choice((b"\x91", b"\x81\xa1k", b"\x92\xc0"))
        return opening * self.rng.choice(DEEP) + b"\xc0"

    def dump_json(self, tree: Any) -> bytes:
        raw: dict[bytes, bytes] = {}

        def stand_in(_: Raw) -> str:
            return self._mark(raw, self._odd_json()).hex()

        text = json.dumps(_plain(tree, stand_in), ensure_ascii=False, default=repr, skipkeys=True)
        data = text.encode("utf-8", "surrogatepass")
        for mark, piece in raw.items():
            data = data.replace(b'"' + mark.hex().encode() + b'"', piece)
        return data

    def _odd_json(self) -> bytes:
        deep = self.rng.choice(DEEP)
        pieces = (b"[" * deep + b"]" * deep, b'{"a":' * deep + b"1" + b"}" * deep, b"1e999")
        return self.rng.choice(
            (*pieces, b"-1e999", b"1" * 400, b"9" * 5000, b"1e-400", b'"\\ud800"')
        )


def _is_hashable(value: Any) -> bool:
    return isinstance(value, str | bytes | int)


def _keys(tree: Any) -> Iterable[Any]:
    if isinstance(tree, dict):
        return tree.keys()
    return range(len(tree)) if isinstance(tree, list) else ()


def _at(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        tree = tree[key]
    return tree


def _plain(tree: Any, stand_in: Callable[[Raw], Any]) -> Any:
    """What encoders take: numbers that msgpack has, keys that are hashable."""
    if isinstance(tree, Raw):
        return stand_in(tree)
    if isinstance(tree, list):
        return [_plain(item, stand_in) for item in tree]
    if isinstance(tree, dict):
        return {
            key if _is_hashable(key) else repr(key): _plain(value, stand_in)
            for key, value in tree.items()
        }
    if type(tree) is int:
        return min(max(tree, -(2**63)), 2**64 - 1)
    return tree
