"""What a terminal obeys never reaches it as it is: one class of characters, and its doors."""

import json
import re
import sys
import unicodedata
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scuttled.cli import formatting, output
from scuttled.config.config import load
from scuttled.errors import RemoteProtocolError
from scuttled.npm.codec import is_id
from scuttled.printable import UNSAFE, has_control, one_line
from scuttled.protocol import codec
from scuttled.protocol.messages import PROTOCOL, Bye, ErrorMessage, Hello
from scuttled.replica.update import NodeId

COMMANDS = [
    "\x1b[2J",
    "\x1b]0;owned\x07",
    "\n",
    "\r",
    "\x7f",
    "\x9b31m",
    "\x85",
    "\u2028",
    "\u2029",
]
TURNERS = ["\u202e", "\u200b", "\u2066", "\u200d", "\ufeff", "\xad", "\U000e0041"]
unsafe = re.compile(f"[{UNSAFE}]")
HELLO = Hello(*PROTOCOL, "default", NodeId(b"n" * 8), b"i" * 8, "web1", "web1:7960", "1.0", 1)


def test_the_class_has_all_that_unicode_calls_control_format_or_separator() -> None:
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert unsafe.match(chr(code)), hex(code)


@pytest.mark.parametrize("odd", [*COMMANDS, *TURNERS])
def test_a_sentence_is_one_line_and_commands_nothing(odd: str) -> None:
    assert one_line(f"a{odd}b").isprintable()
    assert one_line("naïve 日本 is as it was") == "naïve 日本 is as it was"


# --- the wire ------------------------------------------------------------------------------------


def read_again(**changes: Any) -> Any:
    return codec.decode(codec.encode(replace(HELLO, **changes))[4:])


@pytest.mark.parametrize("field", ["name", "address", "version", "cluster", "features"])
@pytest.mark.parametrize("odd", COMMANDS)
def test_a_hello_that_would_command_a_terminal_is_refused(field: str, odd: str) -> None:
    value: Any = (f"a{odd}",) if field == "features" else f"a{odd}"
    with pytest.raises(RemoteProtocolError, match="without control characters") as refused:
        read_again(**{field: value})
    assert refused.value.message.isprintable()


@pytest.mark.parametrize("odd", [*TURNERS, " ", "|", "日本", "e\u0301", "\u0627\u200c\u0628"])
def test_an_odd_but_harmless_name_is_let_in(odd: str) -> None:
    assert read_again(name=f"a{odd}b").name == f"a{odd}b"
    assert not has_control(odd)


@pytest.mark.parametrize("odd", [*COMMANDS, *TURNERS])
def test_the_words_of_an_end_are_never_refused_but_escaped(odd: str) -> None:
    for end in (Bye(9, f"a{odd} stops"), ErrorMessage(1, f"a{odd} stops")):
        read = codec.decode(codec.encode(end)[4:])
        assert isinstance(read, Bye | ErrorMessage)
        assert read.code == end.code
        assert read.words == one_line(end.words)


@pytest.mark.parametrize(
    "frame",
    [
        [codec.CLOCK, "m\n", "map", {}, {}, 1, 1, 0, False, False],
        [codec.CLOCK, "m", "map\x1b", {}, {}, 1, 1, 0, False, False],
        [codec.DELTA, "m\u2028", 1, [], 0, None, False],
        [codec.RESET, "m\n", 1, [], 0, None],
        [codec.HAVE, "m\n", 1, {}, 0],
        [codec.ASK, 1, "m\n", 0, []],
        [codec.TELL, 1, "m\n", b"h" * 8, [], [], {}],
        [codec.ERROR, 1, "words", "m\n"],
        [codec.PING, 1, 1, b"", {"map\n": [1.0, None, [], 1]}],
    ],
    ids=lambda frame: str(frame[0]),
)
def test_models_and_data_types_are_names_too(frame: list[Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode(msgpack.packb(frame))


# --- cells, lines and JSON -----------------------------------------------------------------------


@given(st.text() | st.binary())
def test_cells_lines_and_json_hold_nothing_that_a_terminal_obeys(value: str | bytes) -> None:
    cell = output.table(["K"], [[value]], columns=None).removeprefix("K\n").removesuffix("\n")
    assert not unsafe.search(cell)
    assert not unsafe.search(output.plain_line([value]).removesuffix("\n"))
    if isinstance(value, str):
        fields = json.loads(line := output.json_line({"key": value}))
        assert not unsafe.search(line.removesuffix("\n"))
        assert fields == {"v": 1, "key": value}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_escaped_is_read_back_exactly(value: str) -> None:
    assert formatting.unescape(formatting.escape(value).encode()) == value.encode()


@pytest.mark.parametrize("half", ["\ud800", "a\udfffb"])
def test_half_of_a_pair_can_be_written(half: str, capfdbinary: Any) -> None:
    output.line(half)
    output.write(output.table(["K"], [[half]], columns=None))
    output.say(half)
    output.flush()
    assert b"\xed" not in capfdbinary.readouterr().out


def test_a_mark_at_the_start_of_a_cell_does_not_leave_it() -> None:
    assert formatting.escape("\u0301a") == "\\xcc\\x81a"
    assert formatting.escape("e\u0301") == "e\u0301"


def test_marks_take_no_column() -> None:
    shown = output.table(["K", "V"], [["e\u0301\ufe0f", "a"], ["ab", "b"]], columns=None)
    assert [output.span(line) for line in shown.splitlines()] == [5, 5, 5]


def test_marks_beyond_number_are_cut_off() -> None:
    shown = output.table(["K"], [["e" + "\u0301" * 10_000]], columns=None)
    assert len(shown) < 40
    assert shown.endswith("…\n")


def test_a_message_is_one_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("no key 'a\nscuttled: all is well\u202e'")
    assert capsys.readouterr().err == "no key 'a\\nscuttled: all is well\\u202e'\n".replace(
        "\\n", "\\x0a"
    )


def test_an_npm_id_is_a_name_too() -> None:
    assert not is_id("a\x1b[2J")
    assert is_id("a\u200db")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web 1\n", "web-1-"),
        ("", "node"),
        ("日本.example", "日本"),
        ("\udcff", "-"),
        ("h" * 99, "h" * 64),
    ],
)
def test_any_host_name_makes_a_name_that_a_node_may_have(
    host: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert load({"HOME": "/home/web"}).config.name == name
