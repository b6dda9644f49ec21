"""A command costs click, msgpack and one round trip: never the daemon's half of the program."""

from collections.abc import Iterator

import pytest
from support.fleet import Daemon, Fleet

HEAVY = (
    "trio",
    "sqlite3",
    "asyncio",
    "scuttled.daemon.daemon",
    "scuttled.node.node",
    "scuttled.protocol.link",
    "scuttled.replica.scuttlebutt",
)

ROOMS_OF_GET = {
    "scuttled",
    "scuttled.__main__",
    "scuttled.cli",
    "scuttled.cli.candidates",
    "scuttled.cli.cli",
    "scuttled.cli.dashed_arguments",
    "scuttled.cli.options",
    "scuttled.cli.output",
    "scuttled.cli.settings",
    "scuttled.client",
    "scuttled.client.client",
    "scuttled.client.protocol",
    "scuttled.errors",
    "scuttled.length_prefixed",
    "scuttled.printable",
    "scuttled.version",
}
"""But for its own file, which is imported by name. Each costs every `get` of a loop some time."""

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


def loaded_by(daemon: Daemon, *command: str) -> set[str]:
    done = daemon.cli(*command, check=False, env={"PYTHONPROFILEIMPORTTIME": "1"})
    words = done.stderr.decode().splitlines()
    return {line.rpartition("|")[2].strip() for line in words if line.startswith("import time:")}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_does_not_load_the_daemon(daemon: Daemon, command: list[str]) -> None:
    loaded = loaded_by(daemon, *command)
    assert loaded >= {"click", "scuttled.cli.cli"}
    assert loaded.isdisjoint(HEAVY)


def test_a_get_loads_these_rooms_and_no_others(daemon: Daemon) -> None:
    daemon.cli("set", "k", "v")
    loaded = loaded_by(daemon, "get", "k")
    rooms = {name for name in loaded if name.split(".")[0] == "scuttled"}
    assert "scuttled.client.client" in rooms
    assert rooms <= ROOMS_OF_GET
