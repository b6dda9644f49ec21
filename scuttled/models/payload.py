"""Payloads of all data types: text, bytes or JSON, kept as the exact bytes.

Within the JSON of a whole model each value stands so that it can be told from every other:

    text         "text"                         bytes    {"value_b64": "kA=="}
    JSON         itself, but for what would be mistaken for one of these:
    a string     {"kind": "json", "value": "text"}
    an object that has "value_b64", or both "kind" and "value": in such an object, too
"""

import base64
import json
import math
from typing import Any, NoReturn

from scuttled.errors import DataError, UsageError
from scuttled.replica.change import BYTES, JSON, KIND_NUMBERS, TEXT, Slot

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
    """A value as JSON can say it; bytes that are no text become text with escapes. `exact` makes of
    that what can be told apart.
    """
    if kind == JSON:
        try:
            value = read_json(payload)
        except (ValueError, RecursionError):
            return _Opaque(payload)  # a peer's doing; shown as text rather than not at all
        if isinstance(value, str):
            return _JsonText(value)
        return _JsonObject(value) if _looks_wrapped(value) else value
    return _Opaque(payload) if kind == BYTES else payload.decode("utf-8", "backslashreplace")


class _Opaque(str):
    """Bytes, as text that remembers them."""

    payload: bytes

    def __new__(cls, payload: bytes) -> "_Opaque":
        made = super().__new__(cls, payload.decode("utf-8", "backslashreplace"))
        made.payload = payload
        return made


class _JsonText(str):
    """A JSON string, which is another value than the text."""

    __slots__ = ()


class _JsonObject(dict[str, Any]):
    """A JSON object that looks like the form in which another value is told."""

    __slots__ = ()


def _looks_wrapped(value: object) -> bool:
    return isinstance(value, dict) and ("value_b64" in value or {"kind", "value"} <= value.keys())


def exact(told: Any) -> Any:
    """Values that a model or an operation told, each so that it can be told from others.

    In place: lists and dicts, nested as deep as they like, are those of the caller.
    """
    root = [told]
    open_ones: list[Any] = [root]
    while open_ones:
        inside = open_ones.pop()
        for at, value in inside.items() if isinstance(inside, dict) else enumerate(inside):
            if isinstance(value, _Opaque):
                inside[at] = {"value_b64": base64.b64encode(value.payload).decode()}
            elif isinstance(value, _JsonText):
                inside[at] = {"kind": "json", "value": str(value)}
            elif isinstance(value, _JsonObject):
                inside[at] = {"kind": "json", "value": dict(value)}
            elif isinstance(value, list | dict):
                open_ones.append(value)
    return root[0]


def plain_value(slot: Slot) -> Any:
    """Value of a slot, as JSON can say it."""
    return unpack(slot.kind, slot.payload)
