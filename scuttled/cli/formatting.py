"""Forms of values, revisions and times, for people and for programs. Pure.

One escape for all cells and tab-separated output: `\\t \\n \\r \\\\` and `\\xNN` for every byte of
what a terminal obeys (printable.py) or of what is not UTF-8. So a line is a line whatever a value
holds, no value can send commands to a terminal, and `import --tsv` reads exactly what was
written. Tables and lines are escaped where they are made, in `output`.
"""

import re
from datetime import UTC, datetime
from typing import Any

from scuttled.errors import DataError, RemoteProtocolError
from scuttled.printable import UNSAFE

_UNSAFE = f"[{UNSAFE}\\\\]"
_UNPRINTABLE = f"(?![\t\n])[{UNSAFE}]"
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_BYTE_OF = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


def escape(value: bytes | str) -> str:
    """One field of a tab-separated line, or one cell of a table."""
    text = _as_text(value)
    if text.isprintable() and "\\" not in text and text[:1].isascii():
        return text
    text = re.sub(_UNSAFE, _escaped, text)
    if not text[:1].isascii() and _joins(text[0]):
        return _hex_of(text[0]) + text[1:]
    return text


def _joins(char: str) -> bool:
    """True if a terminal draws it over what stands before: at a beginning, the edge of the cell."""
    from unicodedata import category

    return category(char)[0] == "M"


def printable(value: bytes | str) -> str:
    """A whole value for a terminal: lines and tabs stay, what would command it does not."""
    return re.sub(_UNPRINTABLE, _hex, _as_text(value))


def json_safe(text: str) -> str:
    """The same JSON without what a terminal obeys, which can stand in its strings only."""
    return text if text.isprintable() else re.sub(_UNPRINTABLE, _json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def unescape(field: bytes) -> bytes:
    """The inverse of `escape`. Raises DataError at a backslash that no output of ours holds."""
    return _ESCAPE.sub(_unescaped, field) if b"\\" in field else field


def _as_text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def _escaped(match: re.Match[str]) -> str:
    return _NAMED.get(match[0]) or _hex(match)


def _hex(match: re.Match[str]) -> str:
    return _hex_of(match[0])


def _hex_of(char: str) -> str:
    """Its bytes as escapes: a stray one as it was, half of a pair as if UTF-8 had a form for it."""
    is_stray = "\udc80" <= char <= "\udcff"
    raw = char.encode("utf-8", "surrogateescape" if is_stray else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _unescaped(match: re.Match[bytes]) -> bytes:
    word = match[1]
    if word[:1] == b"x" and len(word) == 3:
        return bytes([int(word[1:], 16)])
    if word not in _BYTE_OF:
        seen = match[0].decode("utf-8", "backslashreplace")
        raise DataError(f"{seen!r} is no escape: write a backslash as \\\\")
    return _BYTE_OF[word]


def revision(rev: str) -> tuple[str, int]:
    """(node id, time in ms since the epoch) of an update named `<timestamp>.<node>.<life>`."""
    ticks, _, rest = rev.partition(".")
    if not ticks.isdecimal() or not rest:
        raise RemoteProtocolError(f"daemon sent revision {rev!r}, not TIMESTAMP.NODE.LIFE")
    return rest.partition(".")[0], int(ticks) >> 12


def rfc3339(ms: int) -> str:
    """`2026-11-23T02:21:01.123Z`."""
    try:
        when = datetime.fromtimestamp(ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):  # a clock far beyond year 9999 is still shown
        return f"@{ms}ms"
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def clock_time(ms: int) -> str:
    """`10:02:11.120`, in the user's own time zone: what a tail on a terminal needs."""
    try:
        when = datetime.fromtimestamp(ms // 1000)
    except (ValueError, OverflowError, OSError):
        return f"@{ms}ms"
    return f"{when:%H:%M:%S}.{ms % 1000:03d}"


def update_fields(rev: str, name: str) -> dict[str, Any]:
    """The fields of a JSON object that tell which update this is, whose, and of when."""
    node, ms = revision(rev)
    return {"rev": rev, "node": node, "name": name, "time": rfc3339(ms), "time_ms": ms}


def expiry_fields(expires_ms: int) -> dict[str, Any]:
    """The time at which a key goes; nothing for one that stays."""
    return {"expires": rfc3339(expires_ms), "expires_ms": expires_ms} if expires_ms else {}


def value_fields(kind: str, value: bytes) -> dict[str, Any]:
    """`value`, or `value_b64` for bytes; JSON is parsed and says so, for a JSON string is no text.

    Never both. A value that is not what its kind says is given as bytes.
    """
    if kind == "json":
        parsed = parse_json(value)
        return {"kind": "json", **({"value": parsed[0]} if parsed else _base64(value))}
    if kind == "text":
        try:
            return {"value": value.decode()}
        except UnicodeDecodeError:
            pass
    return _base64(value)


def _base64(value: bytes) -> dict[str, Any]:
    import base64

    return {"value_b64": base64.b64encode(value).decode()}


def from_base64(text: str) -> bytes:
    """Strictly: no blanks, whole, and written as its bytes are written. Raises ValueError."""
    import base64

    value = base64.b64decode(text, validate=True)
    if base64.b64encode(value).decode() != text:
        raise ValueError(f"{text!r:.40} is not how these bytes are written")
    return value


def parse_json(text: bytes | str) -> tuple[Any] | None:
    """(the value,), or None if it is not JSON, or can't be said as such again: NaN, 1e999."""
    import json
    import math

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is not JSON")

    def finite(digits: str) -> float:
        number = float(digits)
        return number if math.isfinite(number) else refuse(digits)

    try:
        if isinstance(text, bytes):
            text = text.decode()  # json would take UTF-16, too, and a mark in front
        return (json.loads(text, parse_constant=refuse, parse_float=finite),)
    except (ValueError, RecursionError):
        return None


def dump_json(value: object) -> str:
    """Compact JSON in one line that can be written as UTF-8, lone surrogates and all."""
    import json

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def kind_of(value: bytes) -> str:
    """Text if it can be text."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return "bytes"
    return "text"
