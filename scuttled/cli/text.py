"""How values, revisions and times are written for people and for programs. Pure.

One escape for all tab-separated output: `\\t \\n \\r \\\\` and `\\xNN` for every byte that is a
control character or not UTF-8. So a line is a line whatever a value holds, no value can send
commands to a terminal, and `import --tsv` reads exactly what was written.
"""

import re
from datetime import UTC, datetime
from typing import Any

from scuttled.errors import DataError, RemoteProtocolError

# Control characters of ASCII and Latin-1, and what surrogateescape makes of stray bytes.
_UNSAFE = re.compile("[\x00-\x1f\\\\\x7f-\x9f\udc80-\udcff]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udcff]")  # but tab and newline
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_BYTE_OF = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


def escape(value: bytes | str) -> str:
    """One field of a tab-separated line, or one cell of a table."""
    return _UNSAFE.sub(_escaped, _as_text(value))


def printable(value: bytes) -> str:
    """A whole value for a terminal: lines and tabs stay, what would command it does not."""
    return _UNPRINTABLE.sub(_hex, _as_text(value))


def unescape(field: bytes) -> bytes:
    """The inverse of `escape`. Raises DataError at a backslash that no output of ours holds."""
    return _ESCAPE.sub(_unescaped, field) if b"\\" in field else field


def _as_text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def _escaped(match: re.Match[str]) -> str:
    return _NAMED.get(match[0]) or _hex(match)


def _hex(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))


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
    """When a key goes; nothing for one that stays."""
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


def parse_json(text: bytes | str) -> tuple[Any] | None:
    """(the value,), or None if it is not JSON. NaN and Infinity are not, whatever Python says."""
    import json

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    try:
        return (json.loads(text, parse_constant=refuse),)
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
