"""Frames of answers, errors and rows: each at most as long as a client takes (I7). Pure."""

from collections.abc import Sequence
from typing import Any

from scuttled.client import protocol
from scuttled.client.rows import StreamRow
from scuttled.control.cursors import Clocks
from scuttled.errors import DataError, ScuttledError, StorageError


def error_fields(error: ScuttledError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def answer_frame(i: object, answer: dict[str, Any]) -> bytes:
    """An answer, or that it is larger than a client takes: it would hang up (I7)."""
    frame = protocol.encode({"id": i, **answer})
    if len(frame) <= protocol.FRAME_BYTES_MAX:
        return frame
    size = len(frame)
    most = protocol.FRAME_BYTES_MAX
    error = DataError(f"what was asked is done, but the answer is {size:,} bytes, at most {most:,}")
    return protocol.encode({"id": i, "error": error_fields(error)})


def row_frames(i: int, rows: Sequence[StreamRow], clock: Clocks) -> bytes:
    """A part of a stream, in as many frames as it needs: a single row, or clock, always fits.

    The clock is true behind the last row, so it comes with that or after it.
    """
    part: dict[str, Any] = {"id": i, "rows": rows}
    if clock:
        part["clock"] = clock
    frame = protocol.encode(part)
    if len(frame) <= protocol.FRAME_BYTES_MAX:
        return frame
    if len(rows) > 1:
        half = len(rows) // 2
        return row_frames(i, rows[:half], {}) + row_frames(i, rows[half:], clock)
    if rows and clock:
        return row_frames(i, rows, {}) + row_frames(i, [], clock)
    if len(clock) > 1:
        return b"".join(row_frames(i, [], {name: times}) for name, times in clock.items())
    return frame


def not_on_disk(why: str) -> StorageError:
    return StorageError(
        f"not on disk: {why}; this node holds it in memory and goes on trying, "
        "so it may yet come true"
    )
