"""`scuttled import`: read a whole file, and only if all of it is good, write it into a model."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.files import open_to_read, reading
from scuttled.cli.load import Entry, read_json_lines, read_tab_lines
from scuttled.cli.options import Settings, verb
from scuttled.client import KEY_BYTES_MAX
from scuttled.errors import DataError

_PAIRS_PER_REQUEST = 500
_BYTES_PER_REQUEST = 256 << 10
_QUIET_S = 0.5  # shorter work needs no progress bar


@verb(
    "import",
    examples="""
        scuttled export backup.ndjson && scuttled import backup.ndjson
        scuttled import --dry-run --under old/ backup.ndjson
        printf 'svc/web\\t10.0.0.1:80\\n' | scuttled import --tsv -
    """,
)
@click.argument("file")
@click.option("--tsv", is_flag=True, help="Lines of KEY, a tab, VALUE, escaped as `ls -l` does.")
@click.option("--under", default="", metavar="P", help="Put P before every key.")
@click.option("--dry-run", is_flag=True, help="Read and check all, and write nothing.")
def command(settings: Settings, file: str, tsv: bool, under: str, dry_run: bool) -> None:
    """Set all keys of FILE, which an export wrote or any program that writes JSON lines with
    "key" and "value" (or "value_b64"). Keys that are not in it stay as they are.

    A damaged file changes nothing.
    """
    entries = _read(file, tsv=tsv)
    if under:
        entries = {_under(under, key): entry for key, entry in entries.items()}
    if not dry_run:
        _send(settings, entries)
    done = "would be imported" if dry_run else "imported"
    if settings.json:
        dry = {"dry_run": True} if dry_run else {}
        output.emit({"model": settings.model, "count": len(entries), **dry})
    settings.say(f"{output.counted(len(entries))} {done} into {settings.model}")


def _read(path: str, *, tsv: bool) -> dict[str, Entry]:
    """All pairs of the file. Of a key that comes twice the last one counts."""
    try:
        with open_to_read(path) as file, reading(path):
            return read_tab_lines(file) if tsv else read_json_lines(file)
    except DataError as error:
        name = "standard input" if path == "-" else path
        raise DataError(f"nothing imported: {name}: {error.message}", hint=error.hint) from error


def _under(prefix: str, key: str) -> str:
    whole = prefix + key
    if len(whole.encode()) > KEY_BYTES_MAX:
        raise DataError(f"nothing imported: {whole[:40]!r}… is longer than {KEY_BYTES_MAX} bytes")
    return whole


def _send(settings: Settings, entries: dict[str, Entry]) -> None:
    progress = _Progress(len(entries), settings)
    with settings.connect() as client, progress:
        requests = list(_requests(settings.model, entries))
        sizes = iter([len(fields.get("pairs", "12")) // 2 for _, fields in requests])
        for _ in client.pipeline(requests):
            progress.advance(next(sizes))


def _requests(model: str, entries: dict[str, Entry]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`load`s of one kind each; keys that expire go one by one, since only `set` knows a TTL."""
    now_ms = int(time.time() * 1000)
    pending: dict[str, tuple[list[object], int]] = {}
    for key, (kind, value, expires_ms) in entries.items():
        if expires_ms:
            if expires_ms > now_ms:
                ttl_ms = expires_ms - now_ms
                fields = {"key": key, "kind": kind, "value": value, "ttl_ms": ttl_ms}
                yield "set", {"model": model, **fields}
            continue
        pairs, size = pending.get(kind, ([], 0))
        pairs += [key, value]
        size += len(key) + len(value)
        pending[kind] = (pairs, size)
        if len(pairs) >= 2 * _PAIRS_PER_REQUEST or size >= _BYTES_PER_REQUEST:
            yield "load", {"model": model, "kind": kind, "pairs": pairs}
            del pending[kind]
    for kind, (pairs, _) in pending.items():
        yield "load", {"model": model, "kind": kind, "pairs": pairs}


class _Progress:
    """A bar on stderr, for people, once it is worth it."""

    def __init__(self, length: int, settings: Settings) -> None:
        self._length = length
        self._wanted = not settings.quiet and sys.stderr.isatty()
        self._begun = time.monotonic()
        self._done = 0
        self._bar: Any = None

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def advance(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._wanted and time.monotonic() - self._begun > _QUIET_S:
            bar: Any = click.progressbar(length=self._length, label="importing", file=sys.stderr)
            self._bar = bar.__enter__()
            self._bar.update(self._done)
