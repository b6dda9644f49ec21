"""`scuttled ls`: the keys of a model, with what is known about them."""

import time
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.candidates import complete_patterns
from scuttled.cli.dashed_arguments import DashedVerb
from scuttled.cli.formatting import expiry_fields, revision, update_fields, value_fields
from scuttled.cli.model_keys import latest
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.client.rows import CountRow, KeyRow
from scuttled.errors import UsageError
from scuttled.units import format_duration

# Characters of a revision that a table shows.
_REV_TICKS = 10
_REV_SOURCE = 4


@verb(
    "ls",
    cls=DashedVerb,
    examples="""
        scuttled ls
        scuttled ls -l svc/
        scuttled ls 'svc/*/port'
        scuttled ls --depth 1
        scuttled set 'a*b' star && scuttled ls 'a\\*b'
        scuttled ls -j | head -1
    """,
)
@click.argument("pattern", default="", shell_complete=complete_patterns)
@click.option("-l", "long", is_flag=True, help="Value, revision, node and age too.")
@click.option("--wide", is_flag=True, help="Whole revisions and values, however long the lines.")
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Fold keys at the N-th slash.")
@click.option("--count", is_flag=True, help="Only how many.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N.")
@click.option("--deleted", is_flag=True, help="Deleted keys too, while they are remembered.")
def command(
    settings: Settings,
    pattern: str,
    long: bool,
    wide: bool,
    depth: int | None,
    count: bool,
    limit: int | None,
    deleted: bool,
) -> None:
    r"""List keys, sorted: all, or those that match PATTERN.

    A PATTERN that ends in / is a prefix, one with * or ? a glob (quote it), else it is one key. A
    backslash before * ? / \ = or - takes it as it is: 'a\*b' and 'dir\/' are one key each.

    A table shows the end of each revision; --wide, get -l and a pipe have all of it. In a pipe:
    lines of KEY, with -l KEY VALUE REV NODE TIME_MS, separated by tabs.
    """
    if depth and (long or deleted):
        raise UsageError("--depth folds keys, so it excludes -l and --deleted")
    if depth or count:
        _show_tally(settings, pattern, depth or 0, count=count, limit=limit, deleted=deleted)
        return
    values = long or settings.json
    with settings.connect() as client:
        batches = client.stream(
            "list", model=settings.model, pattern=pattern, values=values, deleted=deleted
        )
        rows = latest(batches, deleted=deleted)
    _show_rows(settings, rows[:limit], long=long, wide=wide, deleted=deleted)


def _show_tally(
    settings: Settings, pattern: str, depth: int, *, count: bool, limit: int | None, deleted: bool
) -> None:
    """Numbers that the daemon counts: no key comes here that is not shown."""
    folds: dict[str, int] = {}
    with settings.connect() as client:
        counting = client.stream(
            "tally", model=settings.model, pattern=pattern, depth=depth, deleted=deleted
        )
        for rows in counting:
            for row in map(CountRow.of, rows):
                folds[row.name] = folds.get(row.name, 0) + row.keys
    if depth:
        _show_folds(settings, {name: folds[name] for name in sorted(folds)[:limit]}, count)
    else:
        found = (counting.end or {}).get("count", 0)
        _show_count(settings, found if limit is None else min(found, limit))


def _show_count(settings: Settings, number: int) -> None:
    if settings.json:
        output.emit({"model": settings.model, "count": number})
    else:
        output.write(f"{number}\n")


def _show_folds(settings: Settings, folds: dict[str, int], count: bool) -> None:
    if count:
        _show_count(settings, len(folds))
    elif settings.json:
        for name, number in folds.items():
            output.emit({"model": settings.model, "key": name, "keys": number})
    elif settings.form == "plain":
        for name, number in folds.items():
            output.write(output.plain_line([name, number]))
    else:
        settings.show(["KEY", "KEYS"], [[n, f"{c:,}"] for n, c in folds.items()])


def _show_rows(
    settings: Settings, rows: list[KeyRow], *, long: bool, wide: bool, deleted: bool
) -> None:
    if settings.json:
        for row in rows:
            output.emit({"model": settings.model, **_fields(row)})
    elif settings.form == "plain":
        for row in rows:
            output.write(output.plain_line(_columns(row, long=long, deleted=deleted)))
    elif long:
        now_ms = int(time.time() * 1000)
        cells = [_cells(settings, row, now_ms, wide=wide) for row in rows]
        header = ["KEY", "VALUE", "REV", "NODE", "AGE"]
        settings.show(header, cells, {"(deleted)": "2"}, wide=wide)
    else:
        settings.show(["KEY"], [[row.key] for row in rows], wide=wide)


def _columns(row: KeyRow, *, long: bool, deleted: bool) -> list[object]:
    """With --deleted a column at the end tells which ones are."""
    columns: list[object] = [row.key]
    if long:
        columns += [row.value, row.rev, *revision(row.rev)]
    if deleted:
        columns.append("deleted" if row.kind == "deleted" else None)
    return columns


def _cells(settings: Settings, row: KeyRow, now_ms: int, *, wide: bool) -> list[bytes | str]:
    node, ms = revision(row.rev)
    value = "(deleted)" if row.kind == "deleted" else row.value or b""
    rev = row.rev
    if not wide:  # enough to tell two of a key apart: the end of the time, the writer's beginning
        ticks, _, source = rev.partition(".")
        rev = f"…{ticks[-_REV_TICKS:]}.{source[:_REV_SOURCE]}"
    age = format_duration(max(now_ms - ms, 0) / 1000)
    return [row.key, value, rev, settings.label(row.name, node), age]


def _fields(row: KeyRow) -> dict[str, Any]:
    if row.kind == "deleted":
        held: dict[str, Any] = {"deleted": True}
    else:
        held = value_fields(row.kind, row.value or b"")
    about = {**update_fields(row.rev, row.name), **expiry_fields(row.expires_ms)}
    return {"key": row.key, **held, **about}
