"""-j: one JSON object for each thing, from which it can be told apart from every other."""

import base64
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import until

VALUES: list[tuple[str, bytes]] = [
    ("text", b"\\x90"),
    ("bytes", b"\x90"),
    ("text", b"x"),
    ("json", b'"x"'),
    ("text", b"5"),
    ("json", b"5"),
    ("json", b"5.5"),
    ("text", b"null"),
    ("json", b"null"),
    ("text", b'{"value_b64":"kA=="}'),
    ("json", b'{"value_b64":"kA=="}'),
    ("json", b'{"value":1,"kind":"json"}'),
    ("json", b'{"kind":"json","value":{"value_b64":"kA=="}}'),
    ("json", b'{"value":1}'),
    ("json", b'"\\\\x90"'),
    ("bytes", b"\xff\xfe"),
    ("text", "\u202e\x9b".encode()),
    ("text", b""),
    ("bytes", b"\xed\xa0\x80"),
    ("json", b"[]"),
    ("text", b"[]"),
]


def meant(told: Any) -> tuple[str, Any]:
    """What a value in the JSON of a whole model stands for, by the rules of docs/data-types.md."""
    if isinstance(told, str):
        return "text", told.encode()
    if isinstance(told, dict) and "value_b64" in told:
        return "bytes", base64.b64decode(told["value_b64"], validate=True)
    if isinstance(told, dict) and {"kind", "value"} <= told.keys():
        return "json", told["value"]
    return "json", told


def test_in_a_whole_map_each_value_can_be_told_from_others(daemon: Daemon) -> None:
    with daemon.client() as client:
        for at, (kind, value) in enumerate(VALUES):
            client.request("set", key=f"k{at:02}", kind=kind, value=value)
    told = json.loads(daemon.cli("get").stdout)
    assert daemon.json("get")[0]["value"] == told
    texts = [json.dumps(told[f"k{at:02}"]) for at in range(len(VALUES))]
    assert len(set(texts)) == len(VALUES)
    for text, (kind, value) in zip(texts, VALUES, strict=True):
        expected = json.loads(value) if kind == "json" else value
        assert meant(json.loads(text)) == (kind, expected)
    assert told["k01"] == {"value_b64": "kA=="}
    assert told["k00"] == "\\x90"
    assert daemon.json("call", "get", "k01")[0]["result"] == {"value_b64": "kA=="}


def test_bytes_in_other_types_come_back_from_an_export(fleet: Fleet) -> None:
    one, other = fleet.daemon("one"), fleet.daemon("other")
    stray = b"\x90".decode("utf-8", "surrogateescape")
    for name, kind, operation, args in (
        ("lo", "log", "append", [stray]),
        ("lo", "log", "append", ["\\x90"]),
        ("lo", "log", "append", [{"value_b64": "kA=="}]),
        ("do", "doc", "put", ["row", {"a": stray, "b": "\\x90"}]),
        ("se", "sequence", "push", [stray]),
        ("va", "value", "set", [stray]),
        ("vb", "value", "set", [{"kind": "json", "value": 1}]),
        ("ev", "events", "emit", ["e", stray]),
        ("st", "set", "add", [{"value_b64": "kA=="}]),
    ):
        one.ask("model_create", model=name, type=kind)
        one.ask("call", model=name, operation=operation, args=args)
    export = one.cli("export", "--all-models").stdout
    other.cli("import", "-", stdin=export)
    assert (
        other.cli("export", "--all-models").stdout.splitlines()[1:-1] == (export.splitlines()[1:-1])
    )
    assert [row["value_b64"] for row in other.json("-m", "lo", "ls") if "value_b64" in row] == [
        "kA=="
    ]
    assert other.cli("-m", "va", "get").stdout == b"\x90"
    assert other.json("-m", "do", "get")[0]["value"] == {
        "row": {"a": {"value_b64": "kA=="}, "b": "\\x90"}
    }


def test_a_replace_that_changes_nothing_says_so(daemon: Daemon) -> None:
    daemon.cli("set", "k", "v")
    daemon.cli("model", "create", "s", "--type", "set")
    for element in ("a", "b", "5"):
        daemon.cli("-m", "s", "call", "add", element)
    daemon.cli("emit", "e", "1")
    daemon.cli("emit", "e", "2")
    before = daemon.clock("s"), daemon.clock("events")
    export = daemon.cli("export", "--all-models").stdout
    for dry_run in (["--dry-run"], []):
        done = daemon.cli("-j", "import", "--mode", "replace", "--yes", *dry_run, "-", stdin=export)
        counts = {row["model"]: row for row in map(json.loads, done.stdout.splitlines())}
        for model, left in (("default", 1), ("s", 3), ("events", 2)):
            row = counts[model]
            assert (row["count"], row["left"], row["deleted"]) == (0, left, 0), model
    assert (daemon.clock("s"), daemon.clock("events")) == before
    daemon.cli("-m", "s", "call", "add", "c")
    done = daemon.cli("-j", "import", "--mode", "replace", "--dry-run", "-", stdin=export)
    counts = {row["model"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert (counts["s"]["count"], counts["s"]["deleted"]) == (3, 4)


def test_a_setting_is_encoded_once(daemon: Daemon) -> None:
    settings = {row["key"]: row["value"] for row in daemon.json("config", "show")}
    assert settings["node.name"] == "a"
    assert settings["cluster.peers"] == []
    assert settings["gossip.insecure"] is False
    assert settings["cluster.keep_deleted"] == "60s"


# --- errors --------------------------------------------------------------------------------------

ERRORS: list[tuple[list[str], int]] = [
    (["get", "no-such-key"], 1),
    (["get", "a*"], 2),
    (["get", "--no-such-option"], 2),
    (["no-such-command"], 2),
    (["set", "k"], 2),
    (["set"], 2),
    (["ls", "--limit", "x"], 2),
    (["model"], 2),
    (["model", "create", "a b"], 65),
    (["import", "/no/such/file"], 66),
    (["import", "--mode", "no", "x"], 2),
    (["import", "--tsv", "-"], 65),
    (["--socket", "/no/such", "get", "k"], 69),
    (["--socket", "/" + "x" * 200, "get", "k"], 69),
    (["export", "/no/such/directory/file"], 73),
    (["wait", "--key", "no-such-key", "--timeout", "10ms"], 75),
    (["watch", "--for", "10ms"], 75),
    (["serve", "--config", "/no/such"], 78),
    (["forget", "nobody"], 1),
    (["--timeout", "0", "get", "k"], 2),
    (["call", "no-such-operation"], 1),
]


SPELLINGS: list[tuple[list[str], list[str], dict[str, str]]] = [
    (["-j"], [], {}),
    ([], ["-j"], {}),
    ([], ["-qj"], {}),
    ([], ["--json"], {}),
    ([], [], {"SCUTTLED_OUTPUT": "json"}),
]
CASES = [(command, code, SPELLINGS[0]) for command, code in ERRORS]
CASES += [(command, code, how) for command, code in ERRORS[:5] for how in SPELLINGS[1:]]


@pytest.mark.parametrize(("command", "code", "how"), CASES, ids=lambda value: str(value)[:50])
def test_an_error_is_one_json_object_on_stderr(
    shared: Daemon,
    command: list[str],
    code: int,
    how: tuple[list[str], list[str], dict[str, str]],
) -> None:
    before, behind, env = how
    done = shared.cli(*before, *command, *behind, check=False, env=env, stdin=b"no tab here\n")
    assert (done.returncode, done.stdout) == (code, b"")
    (line,) = done.stderr.decode().splitlines()
    error = json.loads(line)
    assert error.keys() == {"v", "code", "message", "hint"}
    assert (error["v"], error["code"]) == (1, code)
    assert error["message"]
    assert not error["message"].startswith("scuttled")


def test_no_error_is_json_behind_the_words_of_another(shared: Daemon) -> None:
    """-j behind -- is a key, or a word of the command to run."""
    done = shared.cli("get", "--", "-j", check=False)
    assert done.stderr == b"scuttled: no key '-j' in model default\n"


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
@pytest.mark.parametrize("command", [["watch"], ["wait", "--key", "no-such-key"], ["on"]])
def test_an_end_by_a_signal_is_an_object_too(
    shared: Daemon, command: list[str], ended_by: signal.Signals
) -> None:
    code = 128 + ended_by
    for args, said in (([*command, "-j"], True), (command, False)):
        process = shared.begin(*args)
        _await_connection(process.pid)
        process.send_signal(ended_by)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == code
        told = {"v": 1, "code": code, "message": f"ended by {ended_by.name}", "hint": ""}
        assert [json.loads(line) for line in stderr.splitlines()] == [told] * said


def _await_connection(pid: int) -> None:
    def has_a_socket() -> bool:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if str(path.readlink()).startswith("socket:"):
                    return True
            except FileNotFoundError:  # closed since it was listed
                pass
        return False

    until(has_a_socket, "its connection")
