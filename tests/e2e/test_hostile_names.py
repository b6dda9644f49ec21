"""A peer whose names are full of commands for terminals, before every command that shows them."""

import json
import re
import time
from collections.abc import Iterator

import pytest
from support.fleet import Daemon, Fleet
from support.strangers import Stranger
from support.waiting import until

from scuttled.printable import UNSAFE
from scuttled.protocol.messages import Code, Delta, ErrorMessage
from scuttled.replica.change import JSON, TEXT, make_change
from scuttled.replica.update import Update

unsafe = re.compile(f"(?!\r?\n|\t)[{UNSAFE}]")
NAME = "we\u202eb\u200b|1\u2066"  # odd, and let in
EVIL = "\x1b[2J\x1b]0;owned\x07\nerror all is lost\x9b31m\u2028\u202e"
SHOWN = [
    ["ls", "-l"],
    ["get", "-l", f"k{EVIL}"],
    ["get", f"k{EVIL}"],
    ["get"],
    ["peers"],
    ["members"],
    ["status"],
    ["verify", "--timeout", "1s"],
    ["watch", "--snapshot", "-n", "1"],
    ["del", "no\x1b[2Jkey\n\u202e"],
    ["export"],
    ["model", "info"],
]


@pytest.fixture
def host(fleet: Fleet) -> Iterator[Daemon]:
    """A daemon that has met a peer which tells of itself, and of a key, in the worst of words."""
    a = fleet.daemon("a")
    with Stranger(a, NAME) as stranger:
        stranger.greet(address=f"10.0.0.1:7960{NAME}", version=f"1.0{NAME}")
        ticks = time.time_ns() // 1_000_000 << 12
        facts = {"name": EVIL, "address": EVIL, "version": EVIL, "life": 1}
        row = make_change(stranger.node_id.hex().encode(), JSON, json.dumps(facts).encode())
        key = make_change(f"k{EVIL}".encode(), TEXT, EVIL.encode())
        for model, change in (("_members", row), ("default", key)):
            stranger.open(model)
            run = (stranger.source, [Update(change, ticks, stranger.source).record])
            stranger.say(Delta(model, 1, [run], 1, None))
        until(lambda: a.text("ls"), "its key")
        until(lambda: "owned" in a.text("members"), "its row")
        yield a


def test_no_command_sends_a_peers_text_to_a_terminal_as_it_is(host: Daemon) -> None:
    for command in SHOWN:
        _, screen = host.on_terminal(*command, env={"NO_COLOR": "1"})
        assert screen.strip(), command
        found = unsafe.search(screen.replace("\r\n", "\n"))
        assert not found, f"{command}: {found!r} in {screen!r}"
        if command[:1] in (["peers"], ["members"], ["ls"]):
            assert screen.count("\n") <= 3, f"{command}: a row of its own in {screen!r}"
    for command in SHOWN:
        done = host.cli("-j", *command, check=False)
        lines = done.stdout.decode().splitlines(keepends=True) or [done.stderr.decode()]
        assert all(json.loads(line)["v"] == 1 for line in lines if line.startswith("{"))
        assert not unsafe.search("".join(lines)), command


def test_a_value_goes_into_a_pipe_exactly_as_it_is(host: Daemon) -> None:
    assert host.cli("get", f"k{EVIL}").stdout == EVIL.encode()


def test_a_line_for_programs_is_a_line_and_can_be_read_back(host: Daemon) -> None:
    lines = host.text("export", "--tsv")
    assert lines.count("\n") == 1
    assert not unsafe.search(lines)
    host.cli("-m", "copy", "import", "--tsv", "-", stdin=lines.encode())
    assert host.cli("-m", "copy", "get", f"k{EVIL}").stdout == EVIL.encode()


def test_the_log_has_a_peers_words_in_one_line(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    with Stranger(a, NAME) as stranger:
        stranger.greet()
        stranger.open()
        stranger.say(ErrorMessage(Code.PROTOCOL, EVIL))
    until(lambda: "all is lost" in a.log_path.read_text(), "the end of the link")
    log = a.log_path.read_text()
    assert not unsafe.search(log)
    assert "link to we\\u202eb\\u200b|1\\u2066 closed" in log
    assert not any(line.startswith("error") for line in log.splitlines())


@pytest.mark.parametrize("field", ["name", "address", "version"])
def test_a_hello_with_commands_for_a_terminal_is_refused_in_words(fleet: Fleet, field: str) -> None:
    a = fleet.daemon("a")
    with Stranger(a) as stranger:
        answer = stranger.greet(**{field: EVIL})
    assert isinstance(answer, ErrorMessage)
    assert (answer.code, f"{field} '" in answer.words) == (Code.PROTOCOL, True)
    assert "expected text without control characters" in answer.words
    assert a.json("status")[0]["healthy"]
