"""Files of keys and values, read as a whole or not at all. Pure, but for the lines it is given.

Two forms: JSON lines, with an export's first and last line or without, and tab-separated lines.
Whatever is wrong is a DataError that names the line and what was seen there.
"""

from collections.abc import Iterable
from typing import Any

from scuttled.cli.text import dump_json, kind_of, parse_json, unescape
from scuttled.client import KEY_BYTES_MAX, VALUE_BYTES_MAX
from scuttled.errors import DataError

FORMAT = 1  # of exports: the number in their first line
Entry = tuple[str, bytes, int]  # kind, value, when it expires in ms (0: never)

_SEEN_MAX = 60  # characters of a bad line that are shown


def read_tab_lines(lines: Iterable[bytes]) -> dict[str, Entry]:
    """Lines of KEY, a tab and VALUE, with the escapes of our own output. Empty lines are nothing.

    A carriage return at the end of a line is the line's, not the value's: ours are escaped.
    """
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, 1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if not line:
            continue
        columns = line.split(b"\t")
        if len(columns) != 2:
            what = "no tab" if len(columns) == 1 else f"{len(columns)} columns"
            raise _wrong(number, f"{what}, where KEY, a tab and VALUE should be", line)
        try:
            key, value = map(unescape, columns)
        except DataError as error:
            raise _wrong(number, error.message, line) from None
        entries[_key(number, key, line)] = _checked(number, (kind_of(value), value, 0), line)
    return entries


def read_json_lines(lines: Iterable[bytes]) -> dict[str, Entry]:
    """JSON objects with "key" and "value" or "value_b64". An export is checked to be whole."""
    from hashlib import sha256

    entries: dict[str, Entry] = {}
    digest = sha256()
    exported = ended = False
    number = count = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            digest.update(line)
            continue
        fields = _object(number, line)
        if ended:
            raise _wrong(number, "something behind the export's last line", line)
        if "scuttled_export" in fields:
            _check_header(number, fields, line)
            exported = True
        elif fields.get("end") is True and "key" not in fields:
            if exported and not (fields.keys() >= {"keys", "sha256"} and fields.get("v") == 1):
                raise _wrong(number, "not the last line of an export", line)
            _check_trailer(number, fields, count, digest.hexdigest())
            ended = True
        else:
            key = fields.get("key")
            if not isinstance(key, str):
                raise _wrong(number, 'no "key" that is text', line)
            text = key.encode("utf-8", "surrogatepass")
            entries[_key(number, text, line)] = _checked(number, _entry(number, fields, line), line)
            count += 1
        digest.update(line)
    if exported and not ended:
        raise DataError(f"line {number}: the export's last line is missing: the file was cut off")
    return entries


def _object(number: int, line: bytes) -> dict[str, Any]:
    parsed = parse_json(line) if kind_of(line) == "text" else None
    if parsed is None or not isinstance(parsed[0], dict):
        error = _wrong(number, "not a JSON object", line)
        if number == 1 and b"\t" in line:
            error.hint = "for lines of KEY, a tab and VALUE: scuttled import --tsv FILE"
        raise error
    return parsed[0]


def _check_header(number: int, fields: dict[str, Any], line: bytes) -> None:
    if number != 1:
        raise _wrong(number, "the first line of another export", line)
    if fields["scuttled_export"] != FORMAT:
        seen = fields["scuttled_export"]
        raise DataError(f"line 1: an export of format {seen!r}; this program reads {FORMAT}")


def _check_trailer(number: int, fields: dict[str, Any], count: int, sha256: str) -> None:
    if fields.get("keys", count) != count:
        raise DataError(f"line {number}: {fields['keys']} keys were exported, here are {count}")
    if fields.get("sha256", sha256) != sha256:
        raise DataError(
            f"line {number}: the checksum is wrong: {fields['sha256']} was exported,"
            f" here is {sha256}"
        )


def _entry(number: int, fields: dict[str, Any], line: bytes) -> Entry:
    expires_ms = fields.get("expires_ms", 0)
    if not isinstance(expires_ms, int):
        raise _wrong(number, '"expires_ms" is no whole number', line)
    if ("value" in fields) == ("value_b64" in fields):
        raise _wrong(number, 'not one of "value" and "value_b64"', line)
    if "value_b64" in fields:
        value = _from_base64(number, fields["value_b64"], line)
        kind = "json" if fields.get("kind") == "json" else "bytes"
        return kind, value, expires_ms
    value = fields["value"]
    if isinstance(value, str) and fields.get("kind") != "json":
        try:
            return "text", value.encode(), expires_ms
        except UnicodeEncodeError:
            raise _wrong(number, "half a surrogate pair in the value", line) from None
    return "json", _json_text(number, fields, line).encode(), expires_ms


def _json_text(number: int, fields: dict[str, Any], line: bytes) -> str:
    """The value's JSON as it once was written, if an export noted it."""
    raw = fields.get("raw")
    if raw is None:
        return dump_json(fields["value"])
    parsed = parse_json(raw) if isinstance(raw, str) else None
    if parsed is None or parsed[0] != fields["value"]:
        raise _wrong(number, '"raw" is not the JSON of "value"', line)
    return str(raw)


def _from_base64(number: int, text: object, line: bytes) -> bytes:
    import base64

    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:
        raise _wrong(number, '"value_b64" is not base64', line) from None


def _key(number: int, key: bytes, line: bytes) -> str:
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise _wrong(number, f"key of {len(key)} bytes, 1 to {KEY_BYTES_MAX} are possible", line)
    if key.startswith(b"\0"):
        raise _wrong(number, "key that begins with NUL", line)
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise _wrong(number, "key that is not UTF-8", line) from None


def _checked(number: int, entry: Entry, line: bytes) -> Entry:
    if len(entry[1]) > VALUE_BYTES_MAX:
        size = len(entry[1])
        raise _wrong(number, f"value of {size} bytes, at most {VALUE_BYTES_MAX}", line)
    return entry


def _wrong(number: int, what: str, line: bytes) -> DataError:
    text = line.decode("utf-8", "backslashreplace").rstrip("\n")
    seen = text if len(text) <= _SEEN_MAX else text[:_SEEN_MAX] + "…"
    return DataError(f"line {number}: {what}: {seen!r}")
