"""Completion: what the scripts ask, and what bash makes of the answers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.scripted_daemon import ScriptedDaemon, Scuttled, ok

from scuttled.cli.commands.completion import _bash_keeps, _split

# Asks like bash does when Tab is pressed at the end of a line.
_TAB = r"""
eval "$(scuttled completion bash)"
COMP_LINE=$1 COMP_POINT=${#1}
read -r -a COMP_WORDS <<< "${1//:/ : }"
[[ $1 == *[\ :] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_scuttled_completion scuttled
printf '%s\n' "${COMPREPLY[@]}"
"""


Tab = Callable[[str], list[str]]


@pytest.fixture
def tab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tab:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    program = tmp_path / "bin" / "scuttled"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scuttled "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def call(line: str) -> list[str]:
        done = subprocess.run(
            [bash, "--norc", "-c", _TAB, "bash", line], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.splitlines()

    return call


@pytest.mark.parametrize(
    ("line", "words", "last"),
    [
        ("scuttled ", ["scuttled"], ""),
        ("scuttled ge", ["scuttled"], "ge"),
        (r"scuttled get my\ k", ["scuttled", "get"], "my k"),
        ('scuttled get "my k', ["scuttled", "get"], "my k"),
        (r"scuttled get 'it'\''s", ["scuttled", "get"], "it's"),
        ('scuttled set "" a:b', ["scuttled", "set", ""], "a:b"),
        ("scuttled get \\", ["scuttled", "get"], ""),
    ],
)
def test_words_are_read_from_the_line_as_a_shell_reads_them(
    line: str, words: list[str], last: str
) -> None:
    assert _split(line) == (words, last)


def test_what_bash_takes_for_an_earlier_word_is_not_repeated() -> None:
    assert _bash_keeps("a:b:c", " :=") == 4
    assert _bash_keeps("a:b:c", " =") == 0
    assert _bash_keeps("--model=x", " :=") == 8


def test_bash_completes_commands_options_and_keys(daemon: ScriptedDaemon, tab: Tab) -> None:
    for key in ("svc/web", "svc/db", "my key", "a:b:c", "x*y", "new\nline"):
        daemon.put(key, b"")
    assert tab("scuttled sta") == ["status"]
    assert tab("scuttled model dr") == ["drop"]
    assert tab("scuttled get --def") == ["--default"]
    assert tab("scuttled get sv") == ["svc/db", "svc/web"]
    assert tab("scuttled get my") == ["my\\ key"]
    assert tab("scuttled get x") == ["x\\*y"]
    assert tab("scuttled get a:b:") == ["c"]
    assert tab("scuttled get new") == [""]


def test_models_complete_as_arguments_and_as_the_global_option(
    daemon: ScriptedDaemon, tab: Tab
) -> None:
    daemon.answers["model_list"] = ok(models=[{"name": "tags"}, {"name": "default"}])
    assert tab("scuttled model info t") == ["tags"]
    assert tab("scuttled get -m ta") == ["tags"]
    assert tab("scuttled -m tags get x") == [""]
    assert daemon.asked("list")[0]["model"] == "tags"


def test_without_an_answer_in_time_there_is_nothing(
    daemon: ScriptedDaemon, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["list"] = lambda request: []
    assert tab("scuttled get sv") == [""]
    monkeypatch.setenv("SCUTTLED_SOCKET", "/nowhere/s")
    assert tab("scuttled get sv") == [""]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(scuttled: Scuttled, shell: str) -> None:
    assert "_SCUTTLED_COMPLETE" in scuttled("completion", shell).out.decode()
    assert scuttled("completion", shell, "-j").objects[0]["shell"] == shell
    assert scuttled("completion", "tcsh").code == 2


def test_where_a_pattern_is_taken_a_key_comes_as_the_pattern_that_means_it(
    daemon: ScriptedDaemon, tab: Tab
) -> None:
    for key in ("x*y", "dir/", "a=b", "a\\b"):
        daemon.put(key, b"")
    assert tab("scuttled get x") == [r"x\*y"], "in the quotes of a shell"
    assert tab("scuttled ls x") == [r"x\\\*y"]
    assert tab("scuttled watch d") == [r"dir\\/"]
    assert tab("scuttled wait --key a") == [r"a\\=b", r"a\\\\b"]
    assert tab(r"scuttled ls 'x\*") == [r"x\*y"], "bash closes the quotes that are open"
