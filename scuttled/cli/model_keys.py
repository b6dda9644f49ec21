"""Keys of one model, as the daemon lists them, and their deletion."""

from collections.abc import Iterable, Iterator
from typing import Any

from scuttled.client.client import Client, Row
from scuttled.client.patterns import at_least, escaped
from scuttled.client.rows import KeyRow

_KEYS_PER_REQUEST = 500  # of at most 4 KiB each: well below a frame


def latest(batches: Iterable[list[Row]], *, deleted: bool) -> list[KeyRow]:
    """The last row of each key, sorted by key, which is the order of its bytes.

    A key that changes while the daemon lists it comes twice. `deleted` takes those, too, that are
    gone.
    """
    found: dict[str, KeyRow] = {}
    for rows in batches:
        for row in map(KeyRow.of, rows):
            found[row.key] = row
    return [found[key] for key in sorted(found) if deleted or found[key].kind != "deleted"]


def existing(client: Client, model: str, keys: tuple[str, ...], *, prefix: bool) -> list[str]:
    """The keys that are there now, sorted. `prefix`: those that begin with one of `keys`, too."""
    found: set[str] = set()
    for wanted in keys:
        # What the daemon lists is more than that where a prefix looks like a pattern, or the
        # daemon knows no escapes.
        pattern = at_least(wanted) if prefix or wanted != escaped(wanted) else wanted
        for row in latest(client.stream("list", model=model, pattern=pattern), deleted=False):
            if row.key.startswith(wanted) if prefix else row.key == wanted:
                found.add(row.key)
    return sorted(found)


def deletions(model: str, keys: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests that delete them, as a pipeline takes them."""
    for start in range(0, len(keys), _KEYS_PER_REQUEST):
        yield "del", {"model": model, "keys": keys[start : start + _KEYS_PER_REQUEST]}
