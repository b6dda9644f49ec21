import io
import json
from collections.abc import Iterable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scuttled.cli import import_format
from scuttled.cli.export_format import ExportLines, ExportSection
from scuttled.cli.import_format import ImportEntry, JsonLinesReader, Section, TabLinesReader
from scuttled.cli.output import plain_line
from scuttled.client.client import KEY_BYTES_MAX, VALUE_BYTES_MAX
from scuttled.client.rows import KeyRow
from scuttled.control import bulk_load
from scuttled.errors import DataError
from scuttled.models import map, payload

keys = st.text(min_size=1, max_size=20).filter(lambda key: not key.startswith("\0"))
json_texts = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
).map(lambda value: json.dumps(value).encode())
held = (
    st.tuples(st.just("text"), st.text().map(str.encode))
    | st.tuples(st.just("bytes"), st.binary())
    | st.tuples(st.just("json"), json_texts | st.sampled_from([b"1.0e5", b'{"a" : 1}', b'"x"']))
)


HEADER = {"scuttled_export": 1, "node": "n", "time_ms": 1}


def rows_of(state: dict[str, tuple[str, bytes]], expires_ms: int = 0) -> list[KeyRow]:
    return [KeyRow(key, *state[key], "1.n.1", "", expires_ms) for key in sorted(state)]


def exported(state: dict[str, tuple[str, bytes]], expires_ms: int = 0) -> list[bytes]:
    section = ExportSection(None, rows_of(state, expires_ms))
    return list(ExportLines({**HEADER, "model": "m"}, [section]))


def all_exported(**models: dict[str, tuple[str, bytes]]) -> list[bytes]:
    sections = [
        ExportSection(
            {"model": name, "type": "map", "ttl_ms": 60_000 if name == "brief" else 0},
            rows_of(state),
        )
        for name, state in models.items()
    ]
    return list(ExportLines({**HEADER, "models": len(models)}, sections))


def read_json_lines(lines: Iterable[bytes]) -> dict[str, ImportEntry]:
    return {item.key: item for item in JsonLinesReader(lines) if isinstance(item, ImportEntry)}


def read_tab_lines(lines: Iterable[bytes]) -> dict[str, ImportEntry]:
    return {entry.key: entry for entry in TabLinesReader(lines)}


def held_in(entries: dict[str, ImportEntry]) -> dict[str, tuple[str, bytes, int | None]]:
    return {key: entry[1:] for key, entry in entries.items()}


@given(st.dictionaries(keys, held, max_size=5))
def test_an_export_comes_back_to_the_byte(state: dict[str, tuple[str, bytes]]) -> None:
    expected = {key: (*state[key], 0) for key in state}
    assert held_in(read_json_lines(exported(state))) == expected


def test_an_export_keeps_when_a_key_expires() -> None:
    assert read_json_lines(exported({"k": ("text", b"v")}, 123))["k"].expires_ms == 123


@given(st.dictionaries(keys, st.binary(), max_size=5))
def test_lines_of_ours_come_back_to_the_byte(state: dict[str, bytes]) -> None:
    lines = [plain_line([key, value]).encode() for key, value in state.items()]
    assert {key: entry.value for key, entry in read_tab_lines(lines).items()} == state


SMALL = [
    exported({"a": ("text", b"1"), "b": ("json", b'{"n": 1}')}, 1795400461123),
    all_exported(
        brief={"a": ("text", "ü".encode()), "b": ("bytes", b"\xff")},
        empty={},
        other={"a": ("json", b"1.0e5")},
    ),
]


@pytest.mark.parametrize("lines", SMALL, ids=["one model", "all models"])
def test_an_export_that_was_cut_anywhere_is_refused(lines: list[bytes]) -> None:
    whole = b"".join(lines)
    for size in range(len(whole) - 1):
        with pytest.raises(DataError):
            read_json_lines(io.BytesIO(whole[:size]))
    assert read_json_lines(io.BytesIO(whole[:-1])) == read_json_lines(lines)  # no last newline


@pytest.mark.parametrize("lines", SMALL, ids=["one model", "all models"])
def test_an_export_with_any_one_byte_changed_is_refused(lines: list[bytes]) -> None:
    whole = b"".join(lines)
    masks = [1 << bit for bit in range(8)] + [0xFF, ord("\n") ^ ord("\t"), ord("\n") ^ ord("\r")]
    for place in range(len(whole)):
        for mask in masks:
            turned = bytearray(whole)
            turned[place] ^= mask
            with pytest.raises(DataError):
                read_json_lines(io.BytesIO(turned))


def test_an_export_of_all_models_has_a_line_for_each() -> None:
    state = {"k": ("text", b"v")}
    lines = all_exported(brief=state, empty={}, other=state)
    assert list(JsonLinesReader(lines)) == [
        Section("brief", 60_000),
        ImportEntry("k", "text", b"v", 0),
        Section("empty", 0),
        Section("other", 0),
        ImportEntry("k", "text", b"v", 0),
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"key":"k","value":"v"}', "line 2: a key before the line of its model"),
        ('{"model":"_members","type":"map"}', "with a name that a model can have"),
        ('{"model":5,"type":"map"}', 'neither a "key" nor a "model"'),
        (
            '{"model":"m","type":"set"}',
            'line 2: model of "type" \'set\' with no "state" that is one',
        ),
        ('{"model":"m","type":"doc","state":{"r":1}}', "model of \"type\" 'doc' with no"),
        ('{"model":"m","type":"events","state":[{}]}', "model of \"type\" 'events' with no"),
        ('{"model":"m","type":"ufo","updates":1}', 'line 2: "updates" or "clock" that are none'),
        ('{"model":"m"}', 'model of "type" None'),
        ('{"model":"m","type":"map","ttl_ms":-1}', '"ttl_ms" is no whole number'),
        ('{"model":"m","type":"map","ttl_ms":3162240000001}', "from 0 to 3162240000000"),
        ('{"model":"m","type":"map"}\n{"model":"m","type":"map"}', "line 3: model m for the sec"),
    ],
)
def test_a_bad_line_of_a_model_is_named(line: str, what: str) -> None:
    text = json.dumps({**HEADER, "models": 1}) + "\n" + line + "\n"
    with pytest.raises(DataError) as caught:
        list(JsonLinesReader(io.BytesIO(text.encode())))
    assert what in caught.value.message


def test_what_a_file_may_hold_is_what_the_daemon_takes() -> None:
    assert (import_format.KEY_BYTES_MAX, import_format.VALUE_BYTES_MAX) == (
        map.KEY_BYTES_MAX,
        payload.VALUE_BYTES_MAX,
    )
    assert (import_format.TTL_MS_MAX, import_format.MS_MAX) == (
        map.TTL_MS_MAX,
        bulk_load.EXPIRES_MS_MAX,
    )


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\n"])
def test_an_empty_file_is_no_export_and_no_json(content: bytes) -> None:
    with pytest.raises(DataError, match="it is empty"):
        read_json_lines(io.BytesIO(content))


def test_a_line_that_was_changed_breaks_the_checksum() -> None:
    lines = exported({"a": ("text", b"1"), "b": ("text", b"2")})
    lines[1] = lines[1].replace(b'"1"', b'"7"')
    with pytest.raises(DataError, match="line 4: the checksum is wrong"):
        read_json_lines(lines)


def test_a_line_that_is_missing_is_counted() -> None:
    lines = exported({"a": ("text", b"1"), "b": ("text", b"2")})
    with pytest.raises(DataError, match="line 3: 2 keys were exported, here are 1"):
        read_json_lines(lines[:1] + lines[2:])


def test_plain_objects_of_any_program_are_read() -> None:
    lines = [
        b'{"key":"a","value":"text"}\n',
        b"\n",
        b'{"key":"b","value":{"n":1}}\r\n',
        b'{"key":"c","value_b64":"/w=="}\n',
        b'{"key":"d","value":5,"rev":"ignored"}',
    ]
    assert held_in(read_json_lines(lines)) == {
        "a": ("text", b"text", None),
        "b": ("json", b'{"n":1}', None),
        "c": ("bytes", b"\xff", None),
        "d": ("json", b"5", None),
    }


def test_a_checksum_is_checked_in_a_file_without_a_header_too() -> None:
    line = b'{"key":"a","value":"1"}\n'
    good = {"end": True, "sha256": sha256(line).hexdigest()}
    assert len(read_json_lines([line, json.dumps(good).encode()])) == 1
    with pytest.raises(DataError, match="checksum"):
        read_json_lines([line, json.dumps({**good, "sha256": "0"}).encode()])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b'{"value":"x"}', 'no "key"'),
        (b'{"key":5,"value":"x"}', 'no "key"'),
        (b'{"key":"","value":"x"}', "key of 0 bytes"),
        (b'{"key":"\\u0000a","value":"x"}', "begins with NUL"),
        (b'{"key":"\\ud800","value":"x"}', "not UTF-8"),
        (b'{"key":"k","value":"\\ud800"}', "surrogate"),
        (b'{"key":"k"}', 'not one of "value" and "value_b64"'),
        (b'{"key":"k","value":"x","value_b64":"/w=="}', "not one of"),
        (b'{"key":"k","value_b64":"%"}', "not base64"),
        (b'{"key":"k","value":"x","expires_ms":"soon"}', "expires_ms"),
        (b'{"key":"k","value":"x","expires_ms":-1}', "no whole number from 0 to"),
        (b'{"key":"k","value":NaN}', "not a JSON object"),
        (b'{"key":"k","kind":"json","value":1,"raw":"2"}', '"raw" is not the JSON of "value"'),
        (b'{"key":"k","kind":"json","value":1,"raw":1}', '"raw" is not'),
        (b'{"v":1,"scuttled_export":1}', "first line of another export"),
        (b'{"key":"' + b"k" * (KEY_BYTES_MAX + 1) + b'","value":""}', "key of 4097 bytes"),
        (b'{"key":"k","value":"' + b"v" * (VALUE_BYTES_MAX + 1) + b'"}', "at most 524288"),
    ],
)
def test_a_bad_json_line_is_named_and_shown(line: bytes, what: str) -> None:
    with pytest.raises(DataError, match=r"^line 2: ") as caught:
        read_json_lines([b'{"key":"good","value":"1"}\n', line + b"\n"])
    assert what in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"novalue", "no tab"),
        (b"k\tv\tmore", "3 columns"),
        (b"k\t\\q", "is no escape"),
        (b"\tv", "key of 0 bytes"),
        (b"\xff\tv", "not UTF-8"),
    ],
)
def test_a_bad_tab_line_is_named_and_shown(line: bytes, what: str) -> None:
    with pytest.raises(DataError, match=r"^line 3: ") as caught:
        read_tab_lines([b"good\t1\r\n", b"\n", line])
    assert what in caught.value.message


def test_something_behind_the_last_line_is_refused() -> None:
    lines = [*exported({"a": ("text", b"1")}), b'{"key":"b","value":"2"}\n']
    with pytest.raises(DataError, match="line 4: something behind"):
        read_json_lines(lines)


def test_an_export_of_a_later_format_is_refused() -> None:
    with pytest.raises(DataError, match="an export of format 2; this program reads 1"):
        read_json_lines([b'{"v":1,"scuttled_export":2}\n'])


def test_tab_lines_taken_for_json_get_a_hint() -> None:
    with pytest.raises(DataError) as caught:
        read_json_lines([b"a\t1\n"])
    assert "--tsv" in caught.value.hint


@pytest.mark.parametrize(
    "line",
    [
        {"v": 1, "scuttled_export": "x" * 9000},
        {"v": 1, "end": True, "keys": "x" * 9000},
        {"v": 1, "end": True, "sha256": "x" * 9000},
    ],
    ids=["format", "keys", "checksum"],
)
def test_an_error_shows_no_more_of_a_line_than_fits_on_a_screen(line: dict[str, object]) -> None:
    with pytest.raises(DataError) as caught:
        list(JsonLinesReader([json.dumps(line).encode() + b"\n"]))
    assert len(caught.value.message) < 300
