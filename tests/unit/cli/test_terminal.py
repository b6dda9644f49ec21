"""What a person at a terminal sees: a real pseudo-terminal, a real process."""

import os
import re
from collections.abc import Callable

import pytest
from support.commands import run_on_terminal
from support.scripted_daemon import MS, ScriptedDaemon, rev

Terminal = Callable[..., tuple[int, str]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Runs a command on a terminal of 60 columns; (exit code, what was shown)."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def call(*args: str, typed: str = "") -> tuple[int, str]:
        return run_on_terminal(*args, env=os.environ, typed=typed.encode(), columns=60)

    return call


def uncolored(text: str) -> str:
    return re.sub(r"\x1b\[\d*m", "", text)


def test_get_adds_a_newline_and_lets_no_value_command_the_terminal(
    daemon: ScriptedDaemon, terminal: Terminal
) -> None:
    daemon.put("k", b"a\n\x1b[2J\xff", "bytes")
    assert terminal("get", "k") == (0, "a\n\\x1b[2J\\xff\n")


def test_set_says_what_it_did(daemon: ScriptedDaemon, terminal: Terminal) -> None:
    assert terminal("set", "k", "v") == (0, f"k = v  (rev {rev(2)})\n")
    shown = terminal("set", "k", "v", "--if-absent")[1]
    assert shown.endswith(", checked on this node only)\n")
    assert terminal("set", "-q", "k", "v") == (0, "")


def test_ls_is_a_table_with_a_header_cut_to_the_width(
    daemon: ScriptedDaemon, terminal: Terminal
) -> None:
    daemon.put("a", b"1")
    daemon.put("svc/long", b"x" * 200)
    code, shown = terminal("ls", "-l")
    header, first, second = uncolored(shown).splitlines()
    assert header.split() == ["KEY", "VALUE", "REV", "NODE", "AGE"]
    assert first.split()[:2] == ["a", "1"]
    assert "xxx…" in second
    assert (code, max(map(len, [header, first, second])) <= 60) == (0, True)
    assert terminal("ls", "--color", "never")[1] == "KEY\na\nsvc/long\n"


def test_colour_can_be_refused(
    daemon: ScriptedDaemon, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" in terminal("ls")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in terminal("ls")[1]
    assert "\x1b" in terminal("ls", "--color", "always")[1]
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in terminal("ls")[1]


def test_watch_lines_are_made_to_be_read(daemon: ScriptedDaemon, terminal: Terminal) -> None:
    kinds = {"set": ("text", b"10.0.0.9:80"), "del": ("deleted", b"")}
    rows = [
        [op, "default", "svc/web", *held, rev(0), "web1", "c", MS] for op, held in kinds.items()
    ]
    rows[1][6] = ""
    daemon.answers["watch"] = lambda request: [{"rows": rows}]
    code, shown = terminal("watch", "-n", "2")
    node = daemon.answers["hello"]({})[0]["ok"]["node"]  # type: ignore[index]
    assert MS % 1000 == 123
    assert (code, uncolored(shown)) == (
        0,
        f"02:21:01.123 set svc/web = 10.0.0.9:80  web1\n02:21:01.123 del svc/web  {node}\n",
    )


def test_del_by_prefix_asks(daemon: ScriptedDaemon, terminal: Terminal) -> None:
    daemon.put("a/1", b"")
    code, shown = terminal("del", "--prefix", "a/", typed="n\n")
    assert "delete 1 key of model default? [y/N]: " in shown
    assert (code, list(daemon.state)) == (1, ["a/1"])
    assert terminal("del", "--prefix", "a/", typed="y\n")[0] == 0
    assert daemon.state == {}


def test_ctrl_c_at_a_question_is_130_without_a_traceback(
    daemon: ScriptedDaemon, terminal: Terminal
) -> None:
    daemon.put("a/1", b"")
    code, shown = terminal("del", "--prefix", "a/", typed="\x04")
    assert code == 130
    assert "Traceback" not in shown
    assert list(daemon.state) == ["a/1"]
