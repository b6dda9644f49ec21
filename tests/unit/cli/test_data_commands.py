"""get, set, del and ls, through the whole way in: argv, a socket, stdout."""

import os
from pathlib import Path
from typing import Any

import pytest
from support.scripted_daemon import MS, NODE, ScriptedDaemon, Scuttled, ok, rev


def test_get_writes_exactly_the_stored_bytes(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.put("k", b"\x00\xff\n\nend", "bytes")
    assert scuttled("get", "k") == (0, b"\x00\xff\n\nend", "")


def test_get_of_no_key_says_so_and_exits_1(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    assert scuttled("get", "nope") == (1, b"", "scuttled: no key 'nope' in model default\n")
    assert scuttled("get", "nope", "--default", "x") == (0, b"x", "")
    assert scuttled("get", "nope", "--default", "x", "-j").objects == [
        {"v": 1, "model": "default", "key": "nope", "value": "x", "default": True}
    ]


def test_get_of_a_glob_is_refused_with_a_hint(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    done = scuttled("get", "svc/*", "--default", "x")
    assert (done.code, done.out) == (2, b"")
    assert "hint: scuttled ls -l 'svc/*'\n" in done.err


def test_a_key_that_looks_like_a_glob_but_exists_can_be_read(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.put("http://x/?q=1", b"v")
    assert scuttled("get", "http://x/?q=1").out == b"v"


def test_get_with_json_tells_all_there_is(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["get"] = ok(
        kind="text", value=b"v", rev=rev(0), name="web1", expires_ms=MS + 1000
    )
    assert scuttled("-j", "get", "k").objects == [
        {
            "v": 1,
            "model": "default",
            "key": "k",
            "value": "v",
            "rev": rev(0),
            "node": NODE,
            "name": "web1",
            "time": "2026-11-23T02:21:01.123Z",
            "time_ms": MS,
            "expires": "2026-11-23T02:21:02.123Z",
            "expires_ms": MS + 1000,
        }
    ]
    line = scuttled("get", "-l", "k").out.decode()
    assert line == f"k\tv\t{rev(0)}\t{NODE}\t{MS}\ttext\t{MS + 1000}\n"


@pytest.mark.parametrize("value", ["-5", "--foo", "-5v", "-jx", "--json=1", "", "a b", "*", "--"])
def test_set_takes_any_word_for_a_value(
    daemon: ScriptedDaemon, scuttled: Scuttled, value: str
) -> None:
    words = ["--", "--"] if value == "--" else [value]
    assert scuttled("set", "k", *words) == (0, b"", "")
    assert daemon.state["k"][:2] == ("text", value.encode())


def test_set_still_knows_its_options_on_both_sides_of_a_dash(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    done = scuttled("set", "-qm", "tags", "k", "-5", "--ttl", "1m", "--if-absent", "-j")
    assert done.objects == [{"v": 1, "model": "tags", "key": "k", "rev": rev(2), "node": NODE}]
    asked = daemon.asked("set")[0]
    assert (asked["model"], asked["value"], asked["ttl_ms"]) == ("tags", b"-5", 60_000)
    assert (asked["if_absent"], asked["if_rev"]) == (True, "")


def test_set_without_a_value_is_a_usage_error(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    done = scuttled("set", "k")
    assert (done.code, daemon.requests) == (2, [])
    assert done.err.startswith("scuttled: VALUE is missing")


def test_set_reads_standard_input_and_files_as_they_are(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    scuttled("set", "a", "-", stdin=b"text\n")
    scuttled("set", "b", "-", stdin=b"\xff\n")
    (tmp_path / "f").write_bytes(b"from file")
    scuttled("set", "c", "--file", str(tmp_path / "f"))
    assert [daemon.state[key][:2] for key in "abc"] == [
        ("text", b"text\n"),
        ("bytes", b"\xff\n"),
        ("text", b"from file"),
    ]


def test_set_keeps_bytes_of_the_command_line_that_are_no_text(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    scuttled("set", "k", os.fsdecode(b"\xfe\xff"))
    assert daemon.state["k"][:2] == ("bytes", b"\xfe\xff")


def test_set_checks_json_and_keeps_it_as_it_was_given(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    assert scuttled("set", "k", "--json-value", "1.0e5").code == 0
    assert daemon.state["k"][:2] == ("json", b"1.0e5")
    assert scuttled("get", "k", "-j").objects[0]["value"] == 100_000
    assert scuttled("set", "k", "--json-value", "{oops").code == 65


def test_set_refuses_what_is_too_large_or_not_there(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    assert scuttled("set", "k", "-", stdin=bytes(524_289)).code == 65
    done = scuttled("set", "k", "--file", "/nowhere/file")
    assert (done.code, done.err) == (
        66,
        "scuttled: /nowhere/file not read: No such file or directory\n",
    )
    assert scuttled("set", "k", "--file", "/").code == 66
    assert daemon.requests == []


@pytest.mark.parametrize(
    "args",
    [
        ["k", "v", "--file", "f"],
        ["k", "v", "--if-absent", "--if-rev", "1"],
        ["k", "v", "--ttl", "5"],
        ["k", "v", "--ttl", "0"],
        ["k", "v", "extra"],
        ["k", "v", "--if-rev"],
        [],
    ],
)
def test_set_refuses_what_contradicts_itself(scuttled: Scuttled, args: list[str]) -> None:
    done = scuttled("set", *args)
    assert done.code == 2
    assert done.err.startswith("scuttled: ")


def test_del_counts_on_stderr_and_exits_1_if_none_existed(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.put("a", b"")
    assert scuttled("del", "a", "b") == (0, b"", "1 key deleted from default\n")
    assert scuttled("del", "a", "-j").objects == [{"v": 1, "model": "default", "count": 0}]
    done = scuttled("del", "svc/*")
    assert (done.code, done.out) == (1, b"")
    assert done.err == (
        "scuttled: nothing deleted: no key 'svc/*' in model default\n"
        "hint: scuttled del --dry-run --prefix svc/\n"
    )


def test_del_by_prefix_needs_a_yes(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    for key in ("a/1", "a/2", "ab", "b"):
        daemon.put(key, b"")
    done = scuttled("del", "--prefix", "a/")
    assert (done.code, len(daemon.state)) == (2, 4)
    assert "--yes" in done.err
    done = scuttled("del", "--prefix", "a/", "--dry-run")
    assert done == (0, b"a/1\na/2\n", "would delete 2 keys from default\n")
    assert scuttled("del", "--prefix", "a/", "--yes").err == "2 keys deleted from default\n"
    assert sorted(daemon.state) == ["ab", "b"]


def test_del_sends_many_keys_in_several_requests(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    for number in range(1200):
        daemon.put(f"k{number}", b"")
    assert scuttled("del", "--prefix", "k", "--yes").err == "1,200 keys deleted from default\n"
    assert [len(request["keys"]) for request in daemon.asked("del")] == [500, 500, 200]


def test_ls_is_sorted_by_bytes_and_takes_the_last_row_of_a_key(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    def row(key: str, value: bytes | None, number: int, kind: str = "text") -> list[Any]:
        return [key, kind, value, rev(number), "", 0]

    daemon.answers["list"] = lambda request: [
        {"rows": [row("ü", b"1", 1), row("b", b"2", 2), row("gone", b"", 3)]},
        {"rows": [row("B", b"x\ty", 4), row("b", b"new", 5), row("gone", b"", 6, "deleted")]},
        {"end": {"count": 6, "cursor": "c"}},
    ]
    assert scuttled("ls").out.decode() == "B\nb\nü\n"
    assert scuttled("ls", "-l", "--limit", "2").out.decode() == (
        f"B\tx\\ty\t{rev(4)}\t{NODE}\t{MS + 4}\nb\tnew\t{rev(5)}\t{NODE}\t{MS + 5}\n"
    )
    assert scuttled("ls", "--deleted").out.decode() == "B\t\nb\t\ngone\tdeleted\nü\t\n"
    assert [found["value"] for found in scuttled("ls", "-j").objects] == ["x\ty", "new", "1"]


def test_ls_asks_for_values_only_when_it_shows_them(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    for args in ([], ["-l"], ["-j"]):
        scuttled("ls", *args)
    assert [request["values"] for request in daemon.asked("list")] == [False, True, True]


def test_ls_fetches_no_keys_to_count_them(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    for key in ("a", "a/b", "a/c"):
        daemon.put(key, b"")
    assert scuttled("ls", "--count").out == b"3\n"
    assert scuttled("ls", "a/", "--count", "-j").objects == [
        {"v": 1, "model": "default", "count": 2}
    ]
    assert scuttled("ls", "--count", "--limit", "2").out == b"2\n"
    scuttled("ls", "--depth", "1")
    assert daemon.asked("list") == []


def test_a_table_of_ls_shortens_revisions_unless_it_is_to_be_wide(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.put("k", b"v" * 200)
    monkeypatch.setenv("SCUTTLED_OUTPUT", "table")
    row = scuttled("ls", "-l").out.decode().splitlines()[1].split()
    ticks, node, _ = rev(0).split(".")
    assert row[2] == f"…{ticks[-10:]}.{node[:4]}"
    wide = scuttled("ls", "-l", "--wide").out.decode().splitlines()[1].split()
    assert wide[1:3] == ["v" * 200, rev(0)]


def test_ls_folds_at_a_depth_below_the_prefix(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    for key in ("a", "a/b", "a/c/1", "a/c/2", "b/x"):
        daemon.put(key, b"")
    assert scuttled("ls", "--depth", "1").out == b"a\t1\na/\t3\nb/\t1\n"
    assert scuttled("ls", "a/", "--depth", "1").out == b"a/b\t1\na/c/\t2\n"
    assert scuttled("ls", "--depth", "1", "--count").out == b"3\n"
    assert scuttled("ls", "--depth", "1", "--limit", "1", "-j").objects == [
        {"v": 1, "model": "default", "key": "a", "keys": 1}
    ]
    assert scuttled("ls", "--depth", "1", "-l").code == 2
