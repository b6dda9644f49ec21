"""Events between real daemons: every listener hears each one once, whoever is killed."""

import json

from support.fleet import Fleet


def test_a_listener_hears_what_was_emitted_while_its_daemon_was_dead(fleet: Fleet) -> None:
    a, b = fleet.chain("a", "b")
    a.cli("emit", "deployed", "v1")
    b.wait("--synced")
    cursor = str(fleet.directory / "heard")
    first = b.cli("on", "--cursor-file", cursor, "-n", "1", "-j")
    assert json.loads(first.stdout)["value"] == "v1"
    b.kill9()
    a.cli("emit", "deployed", "v2")
    a.cli("emit", "other", "--json-value", '{"n": [1]}')
    b.start()
    lines = b.cli("on", "--cursor-file", cursor, "-n", "2", "-j").stdout.splitlines()
    assert [(row["key"], row["value"]) for row in map(json.loads, lines)] == [
        ("deployed", "v2"),
        ("other", {"n": [1]}),
    ]
    for daemon in (a, b):  # the file is as good on another node
        nothing = daemon.cli("on", "--cursor-file", cursor, "--for", "200ms", check=False)
        assert (nothing.returncode, nothing.stdout) == (75, b"")
