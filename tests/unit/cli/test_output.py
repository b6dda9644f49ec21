import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scuttled.cli import formatting, output
from scuttled.errors import DataError, RemoteProtocolError

# -- escapes


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"plain", "plain"),
        ("grün ☃".encode(), "grün ☃"),
        (b"a\tb\nc\rd\\e", r"a\tb\nc\rd\\e"),
        (b"\x1b[31mred\x00\x7f", r"\x1b[31mred\x00\x7f"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("\x9b31m".encode(), r"\xc2\x9b31m"),
    ],
)
def test_a_field_of_a_line_holds_nothing_that_could_be_taken_for_more(
    value: bytes, line: str
) -> None:
    assert formatting.escape(value) == line
    assert formatting.unescape(line.encode()) == value


@given(st.binary())
def test_escaping_any_bytes_gives_one_printable_line_and_comes_back(value: bytes) -> None:
    line = formatting.escape(value)
    assert not set(line) & set("\t\n\r\x1b\x00")
    assert formatting.unescape(line.encode()) == value


@pytest.mark.parametrize("field", [rb"\q", rb"C:\dir", rb"\x4", rb"\xzz", b"end\\"])
def test_a_backslash_that_no_output_of_ours_holds_is_refused(field: bytes) -> None:
    with pytest.raises(DataError, match="is no escape"):
        formatting.unescape(field)


def test_a_value_on_a_terminal_keeps_its_lines_but_can_not_command_it() -> None:
    assert formatting.printable(b"a\tb\nc\\\x1b[2J\xff") == "a\tb\nc\\\\x1b[2J\\xff"


# -- revisions and times


def test_a_revision_tells_its_node_and_time() -> None:
    rev = f"{1_795_400_461_123 << 12 | 7}.9f3ac21b44d0e713.2"
    assert formatting.revision(rev) == ("9f3ac21b44d0e713", 1_795_400_461_123)


@pytest.mark.parametrize("rev", ["", "12", "x.9f.1", "-1.9f.1", "12."])
def test_a_malformed_revision_is_the_daemons_mistake(rev: str) -> None:
    with pytest.raises(RemoteProtocolError):
        formatting.revision(rev)


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert formatting.rfc3339(1_795_400_461_003) == "2026-11-23T02:21:01.003Z"
    assert formatting.rfc3339(0) == "1970-01-01T00:00:00.000Z"


def test_a_time_beyond_all_calendars_is_still_shown() -> None:
    assert formatting.rfc3339(1 << 52) == f"@{1 << 52}ms"


# -- JSON


@pytest.mark.parametrize(
    ("kind", "value", "fields"),
    [
        ("text", b"hello", {"value": "hello"}),
        ("text", b"\xff", {"value_b64": "/w=="}),
        ("bytes", b"hello", {"value_b64": "aGVsbG8="}),
        ("json", b'{"a": [1]}', {"kind": "json", "value": {"a": [1]}}),
        ("json", b'"5"', {"kind": "json", "value": "5"}),
        ("json", b"null", {"kind": "json", "value": None}),
        ("json", b"{", {"kind": "json", "value_b64": "ew=="}),
        ("json", b"NaN", {"kind": "json", "value_b64": "TmFO"}),
    ],
)
def test_a_value_is_text_or_base64_and_never_both(
    kind: str, value: bytes, fields: dict[str, object]
) -> None:
    assert formatting.value_fields(kind, value) == fields


@given(st.text(st.characters()) | st.just("\ud800"))
def test_a_json_line_is_one_line_of_utf8_whatever_it_holds(value: str) -> None:
    line = output.json_line({"value": value})
    assert line.count("\n") == 1
    assert json.loads(line.encode()) == {"v": 1, "value": value}


def test_json_of_unbounded_depth_is_no_json() -> None:
    assert formatting.parse_json("[" * 100_000) is None


# -- lines and tables


def test_a_plain_line_leaves_what_is_unknown_empty() -> None:
    assert output.plain_line(["a\tb", None, 3, b"\xff"]) == "a\\tb\t\t3\t\\xff\n"


def test_a_table_is_aligned_under_its_header() -> None:
    shown = output.table(["KEY", "VALUE"], [["a", "1"], ["longer", "22"]], columns=None)
    assert shown == "KEY     VALUE\na       1\nlonger  22\n"


def test_an_empty_table_is_its_header() -> None:
    assert output.table(["KEY", "VALUE"], [], columns=80) == "KEY  VALUE\n"


@given(
    st.lists(st.lists(st.text(max_size=60), min_size=3, max_size=3), max_size=4),
    st.integers(30, 100),
)
def test_a_table_is_never_wider_than_the_terminal(rows: list[list[str]], columns: int) -> None:
    shown = output.table(["A", "B", "C"], rows, columns=columns)
    assert all(output.span(line) <= columns for line in shown.split("\n"))


def test_the_widest_column_is_cut_first_and_shows_it() -> None:
    shown = output.table(["KEY", "VALUE"], [["short", "x" * 50]], columns=20)
    assert shown == "KEY    VALUE\nshort  xxxxxxxxxxxx…\n"


def test_wide_characters_count_as_two_columns() -> None:
    shown = output.table(["K", "V"], [["日本", "a"], ["ab", "b"]], columns=None)
    assert shown == "K     V\n日本  a\nab    b\n"


def test_colour_comes_only_when_it_is_asked_for() -> None:
    rows = [["up", "a"], ["down", "b"]]
    assert "\x1b" not in output.table(["STATE", "N"], rows, columns=None)
    shown = output.table(["STATE", "N"], rows, columns=None, styles={"up": "32"})
    assert "\x1b[32mup   \x1b[0m  a" in shown
    assert "\ndown   b" in shown
