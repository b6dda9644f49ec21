"""Keys that look like options, patterns, prefixes: each can be named, exactly, by every command."""

import pytest
from support.fleet import Daemon

DASHED = ["-5", "-5v", "-", "-ly", "--", "--json", "--no-such"]
GLOBS = ["a*b", "*", "a?b", "dir/", "/", "a\\b", "\\", "a\\*b", "a/b*/"]
OTHERS = ["a=b", "a\\=b", "a\nb", "\u202e*"]
KEYS = DASHED + GLOBS + OTHERS
NEAR = [
    "aXb",
    "aXXb",
    "dir/x",
    "dir",
    "a",
    "b",
    "/x",
    "x",
    "a\\xb",
    "a\\",
    "a\\\\",
    "a/b/",
    "ab",
    "a b",
    "a\tb",
]


def escaped(key: str) -> str:
    """As the help says."""
    for special in "\\*?":
        key = key.replace(special, f"\\{special}")
    return f"{key[:-1]}\\/" if key.endswith("/") else key


def as_argument(key: str) -> list[str]:
    return ["--", key] if key.startswith("--") else [key]


@pytest.fixture(scope="module")
def full(shared: Daemon) -> Daemon:
    with shared.client() as client:
        for key in {*KEYS, *NEAR}:
            client.request("set", model="odd", key=key, kind="text", value=key.encode())
    return shared


@pytest.mark.parametrize("key", KEYS)
def test_get_names_it(full: Daemon, key: str) -> None:
    named = as_argument(key)
    assert full.cli("-m", "odd", "get", *named).stdout == key.encode()


@pytest.mark.parametrize("key", KEYS)
def test_ls_names_it_and_nothing_else(full: Daemon, key: str) -> None:
    pattern = escaped(key)
    named = ["--", pattern] if pattern.startswith("--") else [pattern]
    rows = full.json("-m", "odd", "ls", *named)
    assert [row["key"] for row in rows] == [key]


@pytest.mark.parametrize("key", KEYS)
def test_watch_names_it_and_nothing_else(full: Daemon, key: str) -> None:
    pattern = escaped(key)
    pattern = "\\" + pattern if pattern.startswith("--") else pattern
    with full.tail("-j", "-m", "odd", "watch", pattern, "--snapshot", "--for", "200ms") as tail:
        lines = tail.rest()
    assert len(lines) == 2, lines
    assert '"op":"live"' in lines[1]


@pytest.mark.parametrize("key", KEYS)
def test_wait_names_it(full: Daemon, key: str) -> None:
    pattern = escaped(key).replace("=", "\\=")
    full.wait("-m", "odd", "--key", f"{pattern}={key}")


@pytest.mark.parametrize("key", KEYS)
def test_set_and_del_name_it(full: Daemon, key: str) -> None:
    named = as_argument(key)
    full.ask("set", model="odd2", key=f"{key}2", kind="text", value=b"v")
    full.cli("-m", "odd2", "set", *named, "v")
    assert full.json("-m", "odd2", "del", "--dry-run", *named)[0]["key"] == key
    assert full.json("-m", "odd2", "del", *named)[0]["count"] == 1
    assert list(full.state("odd2")) == [f"{key}2"]
    full.ask("del", model="odd2", keys=[f"{key}2"])


@pytest.mark.parametrize("key", GLOBS)
def test_a_prefix_is_taken_as_it_stands(full: Daemon, key: str) -> None:
    wanted = sorted(k for k in {*KEYS, *NEAR} if k.startswith(key))
    shown = full.json("-m", "odd", "del", "--prefix", key, "--dry-run")
    assert [row["key"] for row in shown] == wanted
    lines = full.json("-m", "odd", "export", "--prefix", key)
    assert [line["key"] for line in lines if "key" in line] == wanted


def test_patterns_are_patterns_still(full: Daemon) -> None:
    def keys(pattern: str) -> set[str]:
        return {row["key"] for row in full.json("-m", "odd", "ls", pattern)}

    assert keys("dir/") == {"dir/", "dir/x"}
    assert keys("a?b") == {"a*b", "a?b", "aXb", "a\\b", "a=b", "a b", "a\tb", "a\nb"}
    assert keys("a\\\\*") == {key for key in {*KEYS, *NEAR} if key.startswith("a\\")}
    assert keys("a\\b") == {"a\\b"}, "before a letter it stands for itself"


def test_depth_folds_behind_the_prefix_that_is_meant(full: Daemon) -> None:
    rows = full.json("-m", "odd", "ls", "--depth", "1", "dir/")
    assert [(row["key"], row["keys"]) for row in rows] == [("dir/", 1), ("dir/x", 1)]
    assert [row["key"] for row in full.json("-m", "odd", "ls", "--depth", "1", "dir\\/")] == [
        "dir/"
    ]


@pytest.mark.parametrize("command", ["get", "ls", "del", "watch", "on", "forget"])
def test_an_option_that_is_none_is_no_key(full: Daemon, command: str) -> None:
    """`del --dryrun --prefix a/ --yes` must not delete."""
    done = full.cli(command, "--dryrun", "a", "--yes" if command == "del" else "-q", check=False)
    assert done.returncode == 2
    assert b"no such option" in done.stderr
    named = "'\\--dryrun'" if command in ("watch", "on") else "-- --dryrun"
    assert f"as a name: scuttled {command} {named}" in done.stderr.decode()


def test_events_of_odd_names_are_heard(full: Daemon) -> None:
    for name, said in (("-5", "-5"), ("--x", "\\--x"), ("a*b", "a\\*b"), ("a\\b", "a\\b")):
        full.cli("emit", "--", name, "v")
        assert full.json("on", "--all", "-n", "1", said, "--for", "10s")[0]["key"] == name


def test_the_values_of_options_may_begin_with_a_dash(full: Daemon) -> None:
    full.cli("-m", "odd", "wait", "--key", "-5=-5")
    assert full.text("-m", "odd", "get", "no-such", "--default", "-7") == "-7"
    lines = full.json("-m", "odd", "export", "--prefix", "-5")
    assert [line["key"] for line in lines if "key" in line] == ["-5", "-5v"]
