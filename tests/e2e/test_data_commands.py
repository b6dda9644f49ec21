"""get, set, del, ls, call and model, as a user runs them, against a running daemon."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.commands import Completed
from support.fleet import Daemon
from support.waiting import until

VALUES = {
    "text": b"hello",
    "negative": b"-5",
    "dashes": b"--",
    "empty": b"",
    "newline at the end": b"one\n",
    "only a newline": b"\n",
    "unicode": "grüße 🎉".encode(),
    "tabs and escapes": b"a\tb\\tc\x1b[31mred",
    "NUL": b"a\0b\0",
    "not UTF-8": b"\xff\xfe\x80",
    "every byte": bytes(range(256)),
    "large": os.urandom(512 << 10),
}


def shell(daemon: Daemon, script: str, *args: str, cwd: Path | None = None) -> Completed:
    """A script that finds `scuttled` on its PATH."""
    return subprocess.run(
        ["bash", "-c", script, "bash", *args],
        env=daemon.env,
        capture_output=True,
        timeout=30,
        check=False,
        cwd=cwd,
    )


# -- values


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_byte_for_byte(
    shared: Daemon, model: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / "value").write_bytes(VALUES[name])
    script = """
        export SCUTTLED_MODEL=$1
        scuttled set file --file value && scuttled get file > file && cmp value file &&
        scuttled set stdin - < value && scuttled get stdin > stdin && cmp value stdin &&
        cat value | scuttled set dash --file - && scuttled get dash | cmp value -
    """
    done = shell(shared, script, model, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("value", ["-5", "--", "-", "", "--json", "-m", "a b", "grüße", "--file"])
def test_a_value_on_the_command_line_needs_no_tricks(
    shared: Daemon, model: str, value: str
) -> None:
    """But - means standard input, and an option's own name wants the usual --."""
    options = ["--"] if value in ("--json", "-m", "--file", "--") else []
    shared.cli("-m", model, "set", "k", *options, value, stdin=b"typed")
    wanted = b"typed" if value == "-" else value.encode()
    assert shared.cli("-m", model, "get", "k").stdout == wanted


def test_a_json_value_stays_as_it_was_written(shared: Daemon, model: str) -> None:
    text = '{"cpu": 4.0,  "names": ["a", "\\u00fc"]}'
    shared.cli("-m", model, "set", "limits", "--json-value", text)
    assert shared.text("-m", model, "get", "limits") == text
    (told,) = shared.json("-m", model, "get", "limits")
    assert told["value"] == {"cpu": 4.0, "names": ["a", "ü"]}
    for wrong in ("{", "", "NaN", "{} {}"):
        done = shared.cli("-m", model, "set", "limits", "--json-value", wrong, check=False)
        assert done.returncode == 65
    assert shared.text("-m", model, "get", "limits") == text


def test_json_tells_text_from_bytes(shared: Daemon, model: str) -> None:
    shared.cli("-m", model, "set", "text", "a\tb")
    shared.cli("-m", model, "set", "bytes", "-", stdin=b"\xff")
    text, binary = (shared.json("-m", model, "get", key)[0] for key in ("text", "bytes"))
    assert (text["value"], binary["value_b64"]) == ("a\tb", "/w==")
    assert "value_b64" not in text
    assert "value" not in binary
    assert text["time"].endswith("Z")
    assert (type(text["rev"]), type(text["time_ms"])) == (str, int)


def test_what_is_too_large_is_65_and_not_written(shared: Daemon, model: str) -> None:
    shared.cli("-m", model, "set", "k", "v")
    large = b"x" * (512 * 1024 + 1)
    done = shared.cli("-m", model, "set", "k", "-", stdin=large, check=False)
    assert done.returncode == 65
    assert b"524288" in done.stderr
    assert shared.cli("-m", model, "set", "x" * 4097, "v", check=False).returncode == 65
    assert shared.cli("-m", model, "set", "x" * 4096, "v").returncode == 0
    assert shared.text("-m", model, "get", "k") == "v"


def test_a_missing_value_or_file_is_told_before_anything_is_written(
    shared: Daemon, model: str
) -> None:
    missing = shared.cli("-m", model, "set", "k", check=False)
    assert (missing.returncode, b"VALUE is missing" in missing.stderr) == (2, True)
    assert shared.cli("-m", model, "set", "k", "v", "--file", "f", check=False).returncode == 2
    assert shared.cli("-m", model, "set", "k", "--file", "/no/file", check=False).returncode == 66
    assert shared.cli("-m", model, "set", "k", "--file", "/", check=False).returncode == 66
    assert shared.cli("-m", model, "ls", check=False).returncode == 1  # the model is not there


# -- conditions and time


def test_a_condition_that_does_not_hold_is_1_and_changes_nothing(
    shared: Daemon, model: str
) -> None:
    shared.cli("-m", model, "set", "k", "first", "--if-absent")
    (rev,) = (row["rev"] for row in shared.json("-m", model, "get", "k"))
    refused = shared.cli("-m", model, "set", "k", "second", "--if-absent", check=False)
    assert (refused.returncode, rev.encode() in refused.stderr) == (1, True)
    shared.cli("-m", model, "set", "k", "third", "--if-rev", rev)
    assert shared.cli("-m", model, "set", "k", "4", "--if-rev", rev, check=False).returncode == 1
    assert shared.text("-m", model, "get", "k") == "third"
    both = shared.cli("-m", model, "set", "k", "5", "--if-rev", rev, "--if-absent", check=False)
    assert both.returncode == 2


def test_a_key_with_a_ttl_goes_by_itself(shared: Daemon, model: str) -> None:
    """Two keys: the time to look at the first one may be all that the second one has."""
    shared.cli("-m", model, "set", "long", "v", "--ttl", "1h")
    (told,) = shared.json("-m", model, "get", "long")
    assert told["expires_ms"] - told["time_ms"] == pytest.approx(3_600_000, abs=5)
    shared.cli("-m", model, "del", "long")
    shared.cli("-m", model, "set", "short", "v", "--ttl", "300ms")
    until(lambda: shared.cli("-m", model, "get", "short", check=False).returncode == 1, "expiry")
    assert shared.text("-m", model, "ls") == ""


def test_a_model_may_give_its_keys_a_ttl(shared: Daemon, model: str) -> None:
    shared.cli("model", "create", model, "--type", "map", "--ttl", "1h")
    shared.cli("-m", model, "set", "k", "v")
    (told,) = shared.json("-m", model, "get", "k")
    assert told["expires_ms"] - told["time_ms"] == pytest.approx(3_600_000, abs=5)


# -- finding and deleting


@pytest.fixture
def keys(shared: Daemon, model: str) -> Daemon:
    lines = ["svc/web/port\t80", "svc/web/host\tw", "svc/db/port\t5432", "svc\tx", "svcs/a\ty"]
    shared.cli("-m", model, "import", "--tsv", "-", stdin="\n".join(lines).encode())
    return shared


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("svc/", ["svc/db/port", "svc/web/host", "svc/web/port"]),
        ("svc", ["svc"]),
        ("svc/*/port", ["svc/db/port", "svc/web/port"]),
        ("svc?/*", ["svcs/a"]),
        ("*", ["svc", "svc/db/port", "svc/web/host", "svc/web/port", "svcs/a"]),
        ("nothing/", []),
    ],
)
def test_ls_takes_a_prefix_a_glob_or_one_key(
    keys: Daemon, model: str, pattern: str, found: list[str]
) -> None:
    assert keys.text("-m", model, "ls", pattern).splitlines() == found
    assert keys.text("-m", model, "ls", pattern, "--count") == f"{len(found)}\n"
    assert keys.text("-m", model, "ls", pattern, "--limit", "1").splitlines() == found[:1]


def test_ls_folds_keys_to_a_depth(keys: Daemon, model: str) -> None:
    assert keys.text("-m", model, "ls", "--depth", "1") == "svc\t1\nsvc/\t3\nsvcs/\t1\n"
    assert keys.text("-m", model, "ls", "svc/", "--depth", "1") == "svc/db/\t1\nsvc/web/\t2\n"


def test_ls_shows_what_was_deleted_if_asked(keys: Daemon, model: str) -> None:
    keys.cli("-m", model, "del", "svc")
    assert "svc\tdeleted" in keys.text("-m", model, "ls", "--deleted").splitlines()
    assert "svc" not in keys.text("-m", model, "ls").splitlines()


def test_lines_for_programs_are_escaped_and_can_be_read_back(shared: Daemon, model: str) -> None:
    shared.cli("-m", model, "set", "tab\there", "-", stdin=b"a\tb\nc\\d\x1b\xff")
    (line,) = shared.text("-m", model, "ls", "-l").splitlines()
    key, value, rev, node, ms = line.split("\t")
    assert (key, value) == ("tab\\there", "a\\tb\\nc\\\\d\\x1b\\xff")
    assert rev.split(".")[1] == node
    assert int(ms) == int(rev.split(".")[0]) >> 12
    shared.cli("-m", f"{model}.back", "import", "--tsv", "-", stdin=f"{key}\t{value}\n".encode())
    assert shared.cli("-m", f"{model}.back", "get", "tab\there").stdout == b"a\tb\nc\\d\x1b\xff"


def test_a_reader_that_has_enough_ends_ls_quietly(shared: Daemon, model: str) -> None:
    lines = "".join(f"key/{number:06}\t{'x' * 50}\n" for number in range(20_000))
    shared.cli("-m", model, "import", "--tsv", "-", stdin=lines.encode())
    for command in ("ls -l", "ls -j", "export"):
        done = shell(shared, f"scuttled -m {model} {command} | head -1; exit ${{PIPESTATUS[0]}}")
        assert (done.returncode, done.stderr) == (141, b"")
        assert done.stdout.count(b"\n") == 1


def test_get_of_a_pattern_is_a_usage_error_with_the_command_that_was_meant(
    keys: Daemon, model: str
) -> None:
    done = keys.cli("-m", model, "get", "svc/", check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"hint: scuttled ls -l svc/" in done.stderr


def test_a_key_that_is_not_there_is_1_unless_there_is_a_default(shared: Daemon, model: str) -> None:
    shared.cli("model", "create", model)
    done = shared.cli("-m", model, "get", "no", check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"scuttled: no key 'no' in model {model}\n"
    assert shared.text("-m", model, "get", "no", "--default", "-7") == "-7"
    assert shared.cli("-m", "never-made", "get", "k", check=False).returncode == 1


def test_del_counts_on_stderr_and_is_1_if_nothing_was_there(keys: Daemon, model: str) -> None:
    done = keys.cli("-m", model, "del", "svc", "svcs/a", "no")
    assert (done.stdout, done.stderr.decode()) == (b"", f"2 keys deleted from {model}\n")
    assert keys.cli("-m", model, "del", "svc", check=False).returncode == 1
    pattern = keys.cli("-m", model, "del", "svc/*", check=False)
    assert (pattern.returncode, b"hint: scuttled del --dry-run" in pattern.stderr) == (1, True)


def test_del_by_prefix_asks_and_without_a_terminal_wants_yes(keys: Daemon, model: str) -> None:
    done = keys.cli("-m", model, "del", "--prefix", "svc/", check=False)
    assert (done.returncode, b"--yes" in done.stderr) == (2, True)
    shown = keys.text("-m", model, "del", "--prefix", "svc/", "--dry-run")
    assert shown.splitlines() == ["svc/db/port", "svc/web/host", "svc/web/port"]
    code, screen = keys.on_terminal("-m", model, "del", "--prefix", "svc/", typed=b"n\n")
    assert (code, "delete 3 keys" in screen) == (1, True)
    assert keys.text("-m", model, "ls", "--count") == "5\n"
    code, screen = keys.on_terminal("-m", model, "del", "--prefix", "svc/", typed=b"y\n")
    assert code == 0
    keys.cli("-m", model, "del", "--prefix", "svcs", "--yes")
    assert keys.text("-m", model, "ls") == "svc\n"


# -- call and model


def test_call_takes_any_operation_of_the_type(shared: Daemon, model: str) -> None:
    shared.cli("model", "create", model)
    call = ["-m", model, "call"]
    assert shared.text(*call, "set", "k", "v").strip().count(".") == 2  # a revision
    assert shared.text(*call, "get", "k") == "v\n"
    assert shared.text(*call, "has", "k") == "true\n"
    shared.cli(*call, "set", "n", "-5")
    assert json.loads(shared.cli("-m", model, "get", "n").stdout) == -5
    shared.cli(*call, "set", "t", '"-5"')
    assert shared.json("-m", model, "get", "t")[0]["value"] == "-5"
    assert shared.text(*call, "size") == "3\n"
    assert shared.text(*call, "get", "no") == ""
    assert shared.text(*call, "delete", "no") == "false\n"
    assert shared.cli(*call, "frob", check=False).returncode == 1
    assert shared.cli(*call, "set", "k", check=False).returncode == 2


def test_a_model_is_made_by_its_first_write_or_on_purpose_and_can_be_dropped(
    shared: Daemon, model: str
) -> None:
    assert shared.cli("model", "info", model, check=False).returncode == 1
    shared.cli("-m", model, "set", "k", "v")
    (info,) = shared.json("model", "info", model)
    assert (info["name"], info["type"], info["keys"]) == (model, "map", 1)
    assert f"{model}\tmap\t1\t0\t" in shared.text("model", "ls")
    again = shared.json("model", "create", model, "--type", "map")
    assert again[0]["created"] is False
    assert shared.cli("model", "drop", model, check=False).returncode == 2
    code, screen = shared.on_terminal("model", "drop", model, typed=b"y\n")
    assert (code, "dropped" in screen) == (0, True)
    assert shared.cli("model", "drop", model, "--yes", check=False).returncode == 1
    assert shared.cli("-m", model, "get", "k", check=False).returncode == 1
    assert model not in shared.text("model", "ls")


def test_models_of_the_system_can_be_read_and_not_written(shared: Daemon) -> None:
    assert shared.text("-m", "_members", "ls")
    for command in (["set", "k", "v"], ["del", "k"], ["call", "set", "k", "v"]):
        assert shared.cli("-m", "_members", *command, check=False).returncode == 1
    assert shared.cli("model", "create", "_mine", check=False).returncode == 1
    assert shared.cli("model", "drop", "default", "--yes", check=False).returncode == 1
    assert shared.cli("-m", "a/b", "set", "k", "v", check=False).returncode == 65
    assert shared.cli("model", "create", "x", "--type", "frob", check=False).returncode == 2
