"""What a value may be, for all data types: text, bytes or JSON, kept as the exact bytes."""

import json
import math
from typing import Any, NoReturn

from scuttled.core.changes import BYTES, JSON, KIND_NUMBERS, TEXT, Slot
from scuttled.errors import DataError, UsageError

VALUE_BYTES_MAX = 512 << 10  # a record must fit a frame of 1 MiB with room to spare


def read_json(data: bytes) -> Any:
    """As json.loads, but for NaN, 1e999 and the like: they could be told to nobody as JSON; and for
    what is not UTF-8, or has a mark in front that says so.

    Raises ValueError, RecursionError.
    """
    return json.loads(data.decode(), parse_constant=_no_number, parse_float=_finite)


def _finite(digits: str) -> float:
    return float(digits) if math.isfinite(float(digits)) else _no_number(digits)


def _no_number(digits: str) -> NoReturn:
    raise ValueError(f"{digits:.40} is no number that JSON has")


def check_value(kind: object, value: object) -> tuple[int, bytes]:
    """A value as the control protocol gives it: its kind's number and its bytes.

    Raises UsageError, DataError.
    """
    number = KIND_NUMBERS.get(kind) if isinstance(kind, str) else None
    if number is None:
        raise UsageError(f"value of kind {kind!r:.40}, allowed are {', '.join(KIND_NUMBERS)}")
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        raise UsageError(f"a value that is a {type(value).__name__}, not bytes")
    if len(value) > VALUE_BYTES_MAX:
        raise DataError(f"value of {len(value)} bytes, at most {VALUE_BYTES_MAX}")
    if number == JSON:
        try:
            read_json(value)
        except (ValueError, RecursionError) as error:
            raise DataError(f"value is not JSON: {error}") from None
    elif number == TEXT:
        try:
            value.decode()
        except UnicodeDecodeError:
            number = BYTES
    return number, value


def pack(value: Any) -> tuple[int, bytes]:
    """A value that an operation was given: text stays text, all else is JSON.

    Raises UsageError, DataError.
    """
    if isinstance(value, str):
        try:
            return check_value("text", value)
        except UnicodeEncodeError:
            raise UsageError(f"half a surrogate pair in the value {value!r:.60}") from None
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"a value that JSON can't say: {error}") from None
    return check_value("json", text)


def unpack(kind: int, payload: bytes) -> Any:
    """A value as JSON can say it; bytes that are no text become text with escapes."""
    if kind == JSON:
        try:
            return read_json(payload)
        except (ValueError, RecursionError):
            pass  # a peer's doing; shown as text rather than not at all
    return payload.decode("utf-8", "backslashreplace")


def plain_value(slot: Slot) -> Any:
    """What stands in a slot, as JSON can say it."""
    return unpack(slot.kind, slot.payload)
