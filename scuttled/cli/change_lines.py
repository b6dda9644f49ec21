"""Lines about one change, as `watch` and `on` write them: for programs, as JSON, and for people."""

import time
from collections.abc import Mapping
from typing import Any

from scuttled.cli import output
from scuttled.cli.formatting import (
    clock_time,
    escape,
    revision,
    rfc3339,
    update_fields,
    value_fields,
)
from scuttled.cli.settings import Settings
from scuttled.client.rows import ChangeRow

CHANGES = ("set", "del", "expire", "event")  # the other rows tell where a stream stands
STYLES = {"set": "32", "del": "31", "expire": "33", "event": "36", "reset": "35", "live": "2"}

_ROOM_MIN = 20  # columns that a value gets, however long the key


def json_fields(row: ChangeRow, cursor: str) -> dict[str, Any]:
    """The object of -j."""
    if row.op not in CHANGES:
        why = {"reason": reason(row)} if row.op == "reset" else {}
        return {"op": row.op, **why, "cursor": cursor}
    held = {} if row.kind == "deleted" else value_fields(str(row.kind), row.value or b"")
    time_ms = row.time_ms or 0
    about = {**update_fields(row.rev, row.name), "time": rfc3339(time_ms), "time_ms": time_ms}
    return {"op": row.op, "model": row.model, "key": row.key, **held, **about, "cursor": cursor}


def plain_columns(row: ChangeRow, *, models: bool) -> list[object]:
    """OP KEY VALUE REV NODE TIME_MS; with `models` MODEL, too."""
    columns: list[object]
    if row.op in CHANGES:
        node, _ = revision(row.rev)
        columns = [row.op, row.key, row.value or None, row.rev, node, row.time_ms]
    else:
        why = reason(row) if row.op == "reset" else None
        columns = [row.op, None, why, None, None, None]
    if models:
        columns.append(row.model)
    return columns


def sentence(settings: Settings, row: ChangeRow, styles: Mapping[str, str], *, models: bool) -> str:
    """`10:02:11.120 set svc/web = 10.0.0.9:80  web1`, as wide as the terminal."""
    op = row.op
    shown = f"\x1b[{styles[op]}m{op}\x1b[0m" if op in styles else op
    if op not in CHANGES:
        why = f": {escape(reason(row))}" if op == "reset" else ""
        return f"{clock_time(int(time.time() * 1000))} {shown}{why}\n"
    front = f"{clock_time(row.time_ms or 0)} {op} {escape(row.key)}"
    node, _ = revision(row.rev)
    back = f"  {escape(settings.label(row.name, node))}"
    if models:
        back += f"  {escape(row.model)}"
    if row.kind != "deleted":
        room = max((output.width() or 1 << 30) - output.span(front + back) - 3, _ROOM_MIN)
        # No character has more than 4 bytes.
        front += " = " + output.cut(escape((row.value or b"")[: 4 * room]), room)
    return front.replace(f" {op} ", f" {shown} ", 1) + back + "\n"


def reason(row: ChangeRow) -> str:
    """Why a stream begins afresh."""
    if isinstance(row.value, bytes):
        return row.value.decode("utf-8", "replace")
    return row.value or ""
