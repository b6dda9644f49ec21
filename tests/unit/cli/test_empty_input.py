"""What names a thing is never empty: a variable that is not set must not mean the user's own."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.scripted_daemon import Scuttled

from scuttled.cli.cli import COMMANDS, cli
from scuttled.client.client import socket_paths
from scuttled.config.config import SETTINGS, load
from scuttled.errors import UsageError

TEXT = {"default"}  # of `get`: what to give instead, and nothing is something
BLANK = ("", " ", "\t\n")


def _leaves(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield words
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        inner = command.get_command(ctx, name)
        assert inner is not None
        yield from _leaves(inner, (*words, name))


def _options() -> Iterator[tuple[tuple[str, ...], str]]:
    """(command, option) of every option that takes text."""
    ctx = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(ctx, name)
        assert command is not None
        for words in _leaves(command, (name,)):
            found = command if len(words) == 1 else command.get_command(ctx, words[1])
            for param in found.get_params(click.Context(found, parent=ctx)):
                if isinstance(param, click.Option) and not (param.is_flag or param.count):
                    if param.name not in TEXT:
                        yield words, param.opts[-1]


def _arguments(words: tuple[str, ...]) -> list[str]:
    """Enough of them, so that nothing else is missing."""
    given = {"set": ["k", "v"], "get": ["k"], "del": ["k"], "call": ["size"], "emit": ["e"]}
    given |= {"import": ["f"], "join": ["a"], "forget": ["n"], "completion": ["bash"]}
    given |= {"create": ["m"], "drop": ["m"], "part": ["a"]}
    return given.get(words[-1], [])


@pytest.mark.parametrize(("words", "option"), list(_options()), ids=lambda part: "".join(part))
def test_no_option_that_names_a_thing_may_be_empty(
    scuttled: Scuttled, words: tuple[str, ...], option: str
) -> None:
    for value in BLANK:
        for args in ((*words, *_arguments(words), option, value),):
            code, out, said = scuttled(*args)
            assert (code, out) == (2, b""), (args, said)
            assert f"{option} is {value!r}" in said
            assert "a variable that is not set?" in said


@pytest.mark.parametrize("option", ["-m", "--socket", "--timeout"])
def test_nor_in_front_of_the_verb(scuttled: Scuttled, option: str) -> None:
    code, out, said = scuttled(option, "", "ls")
    assert (code, out) == (2, b"")
    assert "is '', which names nothing" in said


@pytest.mark.parametrize(
    "args",
    [
        ["export", ""], ["import", " "], ["join", ""], ["join", "db1", ""], ["forget", ""],
        ["model", "info", ""], ["model", "drop", "--yes", ""], ["model", "create", ""],
        ["config", "check", ""], ["config", "init", ""], ["emit", ""], ["on", ""], ["call", ""],
    ],
)  # fmt: skip
def test_nor_an_argument_that_names_a_file_a_node_or_a_model(
    scuttled: Scuttled, args: list[str]
) -> None:
    code, out, said = scuttled(*args)
    assert (code, out) == (2, b"")
    assert "a variable that is not set?" in said


@pytest.mark.parametrize("name", ["MODEL", "SOCKET", "OUTPUT", "TIMEOUT", "CONFIG"])
def test_nor_a_variable_that_all_commands_heed(
    scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for value in BLANK:
        monkeypatch.setenv(f"SCUTTLED_{name}", value)
        code, out, said = scuttled("ls")
        assert (code, out) == (2, b"")
        assert f"SCUTTLED_{name} is {value!r}" in said
        assert f"hint: unset SCUTTLED_{name}\n" in said


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.word)
def test_nor_a_setting_of_the_daemon(setting: object, tmp_path: Path) -> None:
    variable, flag, word = setting.variable, setting.flag, setting.word  # type: ignore[attr-defined]
    for value in BLANK:
        with pytest.raises(UsageError, match=f"^{variable} is .*a variable that is not set"):
            load({variable: value})
        with pytest.raises(UsageError, match=f"^{flag} is .*a variable that is not set"):
            load({}, flags={word: value})


@pytest.mark.parametrize("text", [",", ", ,", ",db1", "db1,,db2", "db1, ,db2"])
def test_nor_a_part_of_a_list(text: str) -> None:
    for flags, environ in (({"peers": text}, {}), ({}, {"SCUTTLED_PEERS": text})):
        with pytest.raises(UsageError, match="a variable that is not set"):
            load(environ, flags=flags)
    with pytest.raises(UsageError, match="--peers is ''"):
        load({}, flags={"peers": ("db1", "")})
    assert load({}, flags={"peers": "db1, db2,"}).config.peers == ("db1", "db2")


def test_nor_the_file_of_the_configuration() -> None:
    with pytest.raises(UsageError, match="is no configuration file"):
        load({}, file="")
    with pytest.raises(UsageError, match="is no configuration file"):
        load({"SCUTTLED_CONFIG": " "})


def test_nor_the_socket_of_a_program() -> None:
    for explicit, environ in (("", {}), (None, {"SCUTTLED_SOCKET": ""})):
        with pytest.raises(UsageError, match="is no path of a control socket"):
            socket_paths(explicit, environ)


def test_nothing_was_made_by_any_of_it(
    scuttled: Scuttled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    scuttled("serve", "--data", "")
    assert os.listdir(tmp_path) == []
