"""Rows of streams, by name: lists on the wire, whose fields docs/control.md tells in this order.

The daemon builds them and its clients read them: `ChangeRow.of(row)`. A later version may say more
at a row's end, which is passed over. Apart from `client`, since most commands never have a row.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class ChangeRow(NamedTuple):
    """A change, or where a stream stands: of `watch` and `on`."""

    op: str  # set, del, expire, event; reset and live, which have nothing but a cursor and a reason
    model: str
    key: str
    kind: str | None
    value: bytes | None  # of reset: why
    rev: str
    name: str  # of the node that wrote it; "" while that is not known
    cursor: str  # behind this row
    time_ms: int | None

    @classmethod
    def of(cls, row: Sequence[Any]) -> "ChangeRow":
        return cls._make(row[:9])


class KeyRow(NamedTuple):
    """A key that a model holds, or held: of `list`."""

    key: str
    kind: str  # "deleted" if it is gone
    value: bytes | None  # None where values were not asked for
    rev: str
    name: str
    expires_ms: int  # 0: never

    @classmethod
    def of(cls, row: Sequence[Any]) -> "KeyRow":
        return cls._make(row[:6])


class CountRow(NamedTuple):
    """The number of keys below one name, to be added to what other rows say of it: of `tally`."""

    name: str
    keys: int

    @classmethod
    def of(cls, row: Sequence[Any]) -> "CountRow":
        return cls._make(row[:2])


StreamRow = ChangeRow | KeyRow | CountRow
