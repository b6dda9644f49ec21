"""A command costs click, msgpack and one round trip: never the daemon's half of the program."""

from collections.abc import Iterator

import pytest
from fleet import Daemon, Fleet

HEAVY = (
    "trio",
    "sqlite3",
    "asyncio",
    "scuttled.daemon.daemon",
    "scuttled.node.node",
    "scuttled.protocol.link",
    "scuttled.replica.scuttlebutt",
)

COMMANDS = [
    ["get", "k"],
    ["set", "k", "v"],
    ["del", "k"],
    ["ls", "-l"],
    ["watch", "--for", "1ms"],
    ["model", "info"],
    ["call", "size"],
    ["peers"],
    ["join", "127.0.0.1:1"],
    ["part", "127.0.0.1:1"],
    ["wait", "--up"],
    ["status"],
    ["version"],
    ["completion", "bash"],
    ["import", "--tsv", "/dev/null"],
    ["export"],
    ["config", "show"],
    ["--help"],
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Fleet(tmp_path_factory.mktemp("light")) as fleet:
        yield fleet.daemon("light")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_does_not_load_the_daemon(daemon: Daemon, command: list[str]) -> None:
    done = daemon.cli(*command, check=False, env={"PYTHONPROFILEIMPORTTIME": "1"})
    words = done.stderr.decode().splitlines()
    loaded = {line.rpartition("|")[2].strip() for line in words if line.startswith("import time:")}
    assert loaded >= {"click", "scuttled.cli.cli"}
    assert loaded.isdisjoint(HEAVY)
