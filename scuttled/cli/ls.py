"""`scuttled ls`: the keys of a model, with what is known about them."""

import time
from collections.abc import Iterable
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.options import Settings, complete_keys, verb
from scuttled.cli.text import escape, expiry_fields, revision, update_fields, value_fields
from scuttled.client import Row
from scuttled.errors import UsageError
from scuttled.units import format_duration


@verb(
    "ls",
    examples="""
        scuttled ls
        scuttled ls -l svc/
        scuttled ls 'svc/*/port'
        scuttled ls --depth 1
        scuttled ls -j | head -1
    """,
)
@click.argument("pattern", default="", shell_complete=complete_keys)
@click.option("-l", "long", is_flag=True, help="Value, revision, node and age too.")
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Fold keys at the N-th slash.")
@click.option("--count", is_flag=True, help="Only how many.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N.")
@click.option("--deleted", is_flag=True, help="Deleted keys too, while they are remembered.")
def command(
    settings: Settings,
    pattern: str,
    long: bool,
    depth: int | None,
    count: bool,
    limit: int | None,
    deleted: bool,
) -> None:
    """List keys, sorted: all, or those that match PATTERN.

    A PATTERN that ends in / is a prefix, one with * or ? a glob (quote it), else it is one key.
    In a pipe: lines of KEY, with -l KEY VALUE REV NODE TIME_MS, separated by tabs.
    """
    if depth and (long or deleted):
        raise UsageError("--depth folds keys, so it excludes -l and --deleted")
    values = not count and not depth and (long or settings.json)
    with settings.connect() as client:
        batches = client.stream(
            "list", model=settings.model, pattern=pattern, values=values, deleted=deleted
        )
        rows = latest(batches, deleted=deleted)
    if depth:
        folds = fold(rows, depth, pattern if pattern.endswith("/") else "")
        _show_folds(settings, dict(list(folds.items())[:limit]), count)
    elif count:
        _show_count(settings, len(rows[:limit]))
    else:
        _show_rows(settings, rows[:limit], long=long, deleted=deleted)


def latest(batches: Iterable[list[Row]], *, deleted: bool) -> list[Row]:
    """The last row of each key, sorted by key, which is the order of its bytes."""
    found: dict[str, Row] = {}
    for rows in batches:
        for row in rows:
            found[row[0]] = row
    return [found[key] for key in sorted(found) if deleted or found[key][1] != "deleted"]


def fold(rows: Iterable[Row], depth: int, below: str) -> dict[str, int]:
    """How many keys each name stands for; `depth` counts slashes behind the prefix `below`."""
    folds: dict[str, int] = {}
    for row in rows:
        parts = row[0][len(below) :].split("/", depth)
        name = below + "/".join(parts[:depth]) + ("/" if len(parts) > depth else "")
        folds[name] = folds.get(name, 0) + 1
    return folds


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
        settings.show(["KEY", "KEYS"], [[escape(n), f"{c:,}"] for n, c in folds.items()])


def _show_rows(settings: Settings, rows: list[Row], *, long: bool, deleted: bool) -> None:
    if settings.json:
        for row in rows:
            output.emit({"model": settings.model, **_fields(row)})
    elif settings.form == "plain":
        for row in rows:
            output.write(output.plain_line(_columns(row, long=long, deleted=deleted)))
    elif long:
        now_ms = int(time.time() * 1000)
        cells = [_cells(settings, row, now_ms) for row in rows]
        settings.show(["KEY", "VALUE", "REV", "NODE", "AGE"], cells, {"(deleted)": "2"})
    else:
        settings.show(["KEY"], [[escape(row[0])] for row in rows])


def _columns(row: Row, *, long: bool, deleted: bool) -> list[object]:
    """With --deleted a column at the end tells which ones are."""
    key, kind, value, rev = row[:4]
    columns: list[object] = [key]
    if long:
        columns += [value, rev, *revision(rev)]
    if deleted:
        columns.append("deleted" if kind == "deleted" else None)
    return columns


def _cells(settings: Settings, row: Row, now_ms: int) -> list[str]:
    key, kind, value, rev, name = row[:5]
    node, ms = revision(rev)
    shown = "(deleted)" if kind == "deleted" else escape(value)
    writer = settings.label(name, node)
    return [escape(key), shown, rev, writer, format_duration(max(now_ms - ms, 0) / 1000)]


def _fields(row: Row) -> dict[str, Any]:
    key, kind, value, rev, name, expires_ms = row[:6]
    held = {"deleted": True} if kind == "deleted" else value_fields(kind, value)
    return {"key": key, **held, **update_fields(rev, name), **expiry_fields(expires_ms)}
