"""Lines of keys and values, read one after the other. Pure, but for the lines it is given.

Two forms: JSON lines, with an export's first and last line or without, and tab-separated lines.
Whatever is wrong is a DataError that names the line and what was seen there. Only who has taken
all items knows that the file is good: an export's checksum stands in its last line.

    an export:             {"v":1,"scuttled_export":1,"model":"tags",...}    and the keys, or
                           {"v":1,"scuttled_export":1,"models":2,...}        and for each model
        its line           {"v":1,"model":"tags","type":"map","ttl_ms":0}    and its keys, or
                           {"v":1,"model":"seen","type":"set","state":[1]}   all of it
        a key              {"v":1,"key":"k","value":"text"}
        the last line      {"v":1,"end":true,"keys":1,"sha256":"..."}
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from scuttled.cli import import_hints
from scuttled.cli.formatting import dump_json, from_base64, kind_of, parse_json, unescape
from scuttled.cli.import_models import is_own_type, is_restorable, plain_state
from scuttled.cli.own_types import is_section
from scuttled.client.client import KEY_BYTES_MAX, VALUE_BYTES_MAX
from scuttled.errors import DataError

FORMAT = 1  # of exports: the number in their first line
DATA_TYPE = "map"  # the one that has keys and values
MS_MAX = 2**63 - 1
TTL_MS_MAX = 100 * 366 * 86_400_000  # docs/control.md
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KINDS = ("text", "bytes", "json")
_SEEN_MAX = 60  # characters of a bad line that are shown


class ImportHeader(NamedTuple):
    """The first line of an export."""

    all_models: bool
    prefix: str  # only keys that begin with it were exported
    models: int | None = None  # how many, if it has more than one


class Section(NamedTuple):
    """A model of an export of all models. The keys behind it are its."""

    model: str
    ttl_ms: int
    data_type: str = DATA_TYPE
    state: Any = None  # all of a model that is no map
    own: dict[str, Any] | None = None  # the whole line, of a type that is somebody else's


class ImportEntry(NamedTuple):
    key: str
    kind: str
    value: bytes
    expires_ms: int | None  # 0: never; None: nothing is said of it


class TabLinesReader:
    """Lines of KEY, a tab and VALUE, with the escapes of our own output. Empty lines are nothing.

    A carriage return at the end of a line is the line's, not the value's, and a byte order mark at
    the beginning the file's, not the key's: ours are escaped.
    """

    header = None

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.number = 0  # of the line that was read last
        self._lines = lines

    def __iter__(self) -> Iterator[ImportEntry]:
        for whole in _without_mark(self._lines):
            self.number += 1
            line = whole.removesuffix(b"\n").removesuffix(b"\r")
            if line:
                yield self._entry(line)

    def _entry(self, line: bytes) -> ImportEntry:
        cause = import_hints.of_any(line)
        if cause is not None:
            raise _mistaken(self.number, cause, line)
        if line.startswith(import_hints.UTF8_MARK):
            words = "a byte order mark in the midst of the file; in a key it is \\xef\\xbb\\xbf"
            raise _wrong(self.number, words, line)
        columns = line.split(b"\t")
        if len(columns) != 2:
            raise _mistaken(self.number, import_hints.of_tabs(len(columns), line), line)
        try:
            key, value = map(unescape, columns)
        except DataError as error:
            raise _wrong(self.number, error.message, line) from None
        entry = ImportEntry(_key(self.number, key, line), kind_of(value), value, None)
        return _checked(self.number, entry, line)


class JsonLinesReader:
    """JSON objects with "key" and "value" or "value_b64". An export is checked to be whole.

    The newline of an export's last line may be missing: all that it says is there.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        from hashlib import sha256

        self.header: ImportHeader | None = None  # known once the first line was read
        self.number = 0  # of the line that was read last
        self._lines = lines
        self._models: set[str] = set()
        self._count = 0  # of keys
        self._ended = False
        self._digest = sha256()

    def __iter__(self) -> Iterator[Section | ImportEntry]:
        blank = True
        for whole in _without_mark(self._lines):
            self.number += 1
            # Nothing that JSON says lies in the ends of lines, which an editor or a mail changes.
            line = whole.removesuffix(b"\r\n") + b"\n" if whole.endswith(b"\r\n") else whole
            if line.strip():
                blank = False
                yield from self._items(line)
            self._digest.update(line)
        if blank:
            raise DataError("it is empty: there is no line of JSON in it")
        if self.header and not self._ended:
            raise DataError(
                f"line {self.number}: the export's last line is missing: the file was cut off"
            )
        if self.header and self.header.models not in (None, len(self._models)):
            raise DataError(
                f"line {self.number}: {self.header.models} models were exported,"
                f" here are {len(self._models)}"
            )

    def _items(self, line: bytes) -> Iterator[Section | ImportEntry]:
        """The item of this line; none, if it tells of the file itself."""
        fields = _object(self.number, line)
        if self._ended:
            raise _wrong(self.number, "something behind the export's last line", line)
        if "scuttled_export" in fields:
            self.header = _header(self.number, fields, line)
        elif fields.get("end") is True and "key" not in fields:
            self._check_trailer(fields, line)
            self._ended = True
        elif self.header and self.header.all_models and "key" not in fields:
            section = _own_section(self.number, fields, line)
            if section is None:
                section = _section(self.number, fields, line)
            if section.model in self._models:
                raise _wrong(self.number, f"model {section.model} for the second time", line)
            self._models.add(section.model)
            yield section
        else:
            self._count += 1
            yield self._entry(fields, line)

    def _entry(self, fields: dict[str, Any], line: bytes) -> ImportEntry:
        key = fields.get("key")
        if "key" not in fields:
            raise _mistaken(self.number, import_hints.of_object(list(fields)), line)
        if not isinstance(key, str):
            raise _wrong(self.number, f'no "key" that is text: it is {_kind(key)}', line)
        if self.header and self.header.all_models and not self._models:
            raise _wrong(self.number, "a key before the line of its model", line)
        name = _key(self.number, key.encode("utf-8", "surrogatepass"), line)
        expires_ms = fields.get("expires_ms", 0 if self.header else None)
        if "expires_ms" in fields and not _is_ms(expires_ms):
            raise _wrong(self.number, f'"expires_ms" is no whole number from 0 to {MS_MAX}', line)
        _check_version(self.number, fields, line)
        kind, value = _held(self.number, fields, line)
        return _checked(self.number, ImportEntry(name, kind, value, expires_ms), line)

    def _check_trailer(self, fields: dict[str, Any], line: bytes) -> None:
        _check_version(self.number, fields, line)
        for name, kind in (("keys", int), ("sha256", str)):
            if name in fields and type(fields[name]) is not kind:
                raise _wrong(self.number, f'"{name}" is {_kind(fields[name])}', line)
        if self.header:
            whole = fields.keys() >= {"keys", "sha256", "v"}
            if not (whole and line.removesuffix(b"\n").endswith(b"}")):
                raise _wrong(self.number, "not the last line of an export", line)
        if fields.get("keys", self._count) != self._count:
            raise DataError(
                f"line {self.number}: {fields['keys']!r:.40} keys were exported,"
                f" here are {self._count}"
            )
        sha256 = self._digest.hexdigest()
        if fields.get("sha256", sha256) != sha256:
            raise DataError(
                f"line {self.number}: the checksum is wrong: {fields['sha256']!s:.70} was exported,"
                f" here is {sha256}"
            )


def _object(number: int, line: bytes) -> dict[str, Any]:
    parsed = parse_json(line) if kind_of(line) == "text" else None
    if parsed is None or not isinstance(parsed[0], dict):
        raise _mistaken(number, import_hints.of_json(number, line), line)
    return parsed[0]


def _check_version(number: int, fields: dict[str, Any], line: bytes) -> None:
    """`v` is ours in every line; the fields that we do not know say nothing to us."""
    version = fields.get("v", FORMAT)
    if type(version) is not int or version != FORMAT:
        raise _wrong(number, f'"v" is {version!r:.40}; this program reads {FORMAT}', line)


def _header(number: int, fields: dict[str, Any], line: bytes) -> ImportHeader:
    if number != 1:
        raise _wrong(number, "the first line of another export", line)
    seen = fields["scuttled_export"]
    if type(seen) is not int or seen != FORMAT:
        raise DataError(f"line 1: an export of format {seen!r:.40}; this program reads {FORMAT}")
    _check_version(number, fields, line)
    for name in ("prefix", "model", "node"):
        if not isinstance(fields.get(name, ""), str):
            raise _wrong(number, f'"{name}" is {_kind(fields[name])}, not text', line)
    for name in ("models", "time_ms"):
        if name in fields and not _is_ms(fields[name]):
            raise _wrong(number, f'"{name}" is no whole number from 0', line)
    prefix = fields.get("prefix", "")
    try:
        prefix.encode()
    except UnicodeEncodeError:
        raise _wrong(number, 'half a surrogate pair in "prefix"', line) from None
    return ImportHeader("models" in fields, prefix, fields.get("models"))


def _section(number: int, fields: dict[str, Any], line: bytes) -> Section:
    _check_version(number, fields, line)
    model = fields.get("model")
    ttl_ms = fields.get("ttl_ms", 0)
    if not isinstance(model, str) or not _MODEL_NAME.fullmatch(model):
        raise _wrong(
            number, 'neither a "key" nor a "model" with a name that a model can have', line
        )
    data_type = fields.get("type")
    if data_type != DATA_TYPE:
        state = fields.get("state")
        if not isinstance(data_type, str) or not is_restorable(data_type, state):
            words = f'model of "type" {data_type!r:.40} with no "state" that is one'
            raise _wrong(number, words, line)
        exact = fields.get("exact", False)
        if not isinstance(exact, bool):
            raise _wrong(number, f'"exact" is {_kind(exact)}, neither true nor false', line)
        return Section(model, 0, data_type, plain_state(data_type, state) if exact else state)
    if not _is_ms(ttl_ms, TTL_MS_MAX):
        raise _wrong(number, f'"ttl_ms" is no whole number from 0 to {TTL_MS_MAX}', line)
    return Section(model, ttl_ms)


def _own_section(number: int, fields: dict[str, Any], line: bytes) -> Section | None:
    """A model of a type that only some daemons know; None if it is another one.

    An export of before has its state only, from which it can't be made again: it is left out.
    """
    model = fields.get("model")
    data_type = fields.get("type")
    if not isinstance(model, str) or not isinstance(data_type, str):
        return None
    if not _MODEL_NAME.fullmatch(model) or not _MODEL_NAME.fullmatch(data_type):
        return None
    if not is_own_type(data_type):
        return None
    _check_version(number, fields, line)
    if "updates" in fields and not is_section(fields):
        raise _wrong(number, '"updates" or "clock" that are none', line)
    return Section(model, 0, data_type, own=fields)


def _is_ms(value: object, most: int = MS_MAX) -> bool:
    return type(value) is int and 0 <= value <= most


def _held(number: int, fields: dict[str, Any], line: bytes) -> tuple[str, bytes]:
    """Kind and value."""
    if ("value" in fields) == ("value_b64" in fields):
        raise _wrong(number, 'not one of "value" and "value_b64"', line)
    kind = fields.get("kind")
    if "kind" in fields and (not isinstance(kind, str) or kind not in _KINDS):
        raise _wrong(number, f'"kind" is {kind!r:.40}, not one of {", ".join(_KINDS)}', line)
    if "value_b64" in fields:
        value = _from_base64(number, fields["value_b64"], line)
        if kind == "json" and (kind_of(value) != "text" or parse_json(value) is None):
            raise _wrong(number, '"kind" says json, and "value_b64" is none', line)
        if kind == "text" and kind_of(value) != "text":
            raise _wrong(number, '"kind" says text, and "value_b64" is none', line)
        return kind or "bytes", value
    value = fields["value"]
    if kind == "json" or (kind is None and not isinstance(value, str)):
        return "json", _json_text(number, fields, line).encode()
    if not isinstance(value, str):
        raise _wrong(number, f'"kind" says {kind}, and "value" is {_kind(value)}', line)
    if "raw" in fields:
        raise _wrong(number, '"raw" beside a "value" that is text', line)
    try:
        return kind or "text", value.encode()
    except UnicodeEncodeError:
        raise _wrong(number, "half a surrogate pair in the value", line) from None


def _json_text(number: int, fields: dict[str, Any], line: bytes) -> str:
    """The value's JSON as it once was written, if an export noted it."""
    text = dump_json(fields["value"])
    if "raw" not in fields:
        return text
    raw = fields["raw"]
    parsed = parse_json(raw) if isinstance(raw, str) else None
    if parsed is None or dump_json(parsed[0]) != text:  # for 1 is not true, whatever Python says
        raise _wrong(number, '"raw" is not the JSON of "value"', line)
    return str(raw)


def _from_base64(number: int, text: object, line: bytes) -> bytes:
    if not isinstance(text, str):
        raise _wrong(number, f'"value_b64" is {_kind(text)}, not text', line)
    try:
        return from_base64(text)
    except ValueError:
        raise _wrong(number, '"value_b64" is not base64', line) from None


def _kind(value: object) -> str:
    """JSON's word for it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "an array"
    return "an object"


def _without_mark(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a file, without the byte order mark that some editors put in front of it."""
    first = True
    for line in lines:
        rest = line.removeprefix(import_hints.UTF8_MARK) if first else line
        first = False
        if rest:
            yield rest


def _key(number: int, key: bytes, line: bytes) -> str:
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise _wrong(number, f"key of {len(key)} bytes, 1 to {KEY_BYTES_MAX} are possible", line)
    if key.startswith(b"\0"):
        raise _wrong(number, "key that begins with NUL", line)
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise _wrong(number, "key that is not UTF-8", line) from None


def _checked(number: int, entry: ImportEntry, line: bytes) -> ImportEntry:
    size = len(entry.value)
    if size > VALUE_BYTES_MAX:
        raise _wrong(number, f"value of {size} bytes, at most {VALUE_BYTES_MAX}", line)
    return entry


def _mistaken(number: int, cause: import_hints.Cause, line: bytes) -> DataError:
    error = _wrong(number, cause.words, line)
    error.hint = cause.hint
    return error


def _wrong(number: int, what: str, line: bytes) -> DataError:
    text = line.decode("utf-8", "backslashreplace").rstrip("\n")
    seen = text if len(text) <= _SEEN_MAX else text[:_SEEN_MAX] + "…"
    return DataError(f"line {number}: {what}: {seen!r}")
