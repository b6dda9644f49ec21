"""import and export."""

import hashlib
import io
import os
import tempfile
from pathlib import Path

import pytest
from support.scripted_daemon import ScriptedDaemon, Scuttled, error, ok

from scuttled.cli.files import LINE_BYTES_MAX
from scuttled.cli.import_contents import Contents
from scuttled.cli.progress import Progress
from scuttled.cli.settings import Settings
from scuttled.errors import StorageError


def test_an_export_is_imported_again_under_another_name(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    daemon.put("t", b"text")
    daemon.put("b", b"\xff", "bytes")
    daemon.put("j", b'{"a": 1}', "json")
    before = dict(daemon.state)
    file = str(tmp_path / "backup.ndjson")
    assert scuttled("export", file).err.startswith("3 keys, ")
    assert sorted(os.listdir(tmp_path)) == ["backup.ndjson", "control.sock"]
    assert scuttled("export").objects[0]["scuttled_export"] == 1
    done = scuttled("import", "--under", "old/", "-m", "copy", file)
    assert done == (0, b"", "3 keys imported into copy\n")
    for key, (kind, value, _) in before.items():
        assert daemon.state[f"old/{key}"][:2] == (kind, value)


def test_import_pipelines_batches_of_one_kind(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    lines = b"".join(b"k%d\tv\n" % number for number in range(1200))
    assert scuttled("import", "--tsv", "-", stdin=lines).err == (
        "1,200 keys imported into default\n"
    )
    assert [len(request["pairs"]) // 2 for request in daemon.asked("load")] == [500, 500, 200]
    large = b"".join(b"k%d\t%s\n" % (n, b"x" * 100_000) for n in range(6))
    scuttled("import", "-q", "--tsv", "-", stdin=large)
    assert [len(request["pairs"]) // 2 for request in daemon.asked("load")[3:]] == [3, 3]


def test_import_tells_of_each_key_when_it_is_to_go(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    lines = b'{"key":"a","value":""}\n{"key":"b","value":"","expires_ms":%d}\n' % (1 << 50)
    assert scuttled("import", "-", stdin=lines).code == 0
    header, end = b'{"v":1,"scuttled_export":1}\n', hashlib.sha256()
    end.update(header + lines)
    trailer = b'{"v":1,"end":true,"keys":2,"sha256":"%s"}\n' % end.hexdigest().encode()
    assert scuttled("import", "-", stdin=header + lines + trailer).code == 0
    loads = daemon.asked("load")
    assert [load["pairs"] for load in loads] == [["a", b"", "b", b""]] * 2
    # Without an export's first line nothing is said of `a`: it gets the model's TTL, if any.
    assert [load["expires_ms"] for load in loads] == [[None, 1 << 50], [0, 1 << 50]]


def test_of_a_key_that_comes_twice_the_last_one_counts(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    done = scuttled("import", "--tsv", "-", stdin=b"k\t1\nother\t\nk\t2\n")
    said = "1 line with a key that came before, and the last one counts: 'k' in line 3"
    assert done.err == f"scuttled: standard input: {said}\n2 keys imported into default\n"
    assert [load["pairs"] for load in daemon.asked("load")] == [["other", b"", "k", b"2"]]


@pytest.mark.parametrize("args", [[], ["--all-models"]], ids=["one model", "all models"])
def test_an_export_cut_or_changed_anywhere_is_65_and_the_daemon_is_not_even_asked(
    daemon: ScriptedDaemon, scuttled: Scuttled, args: list[str]
) -> None:
    daemon.put("a", b"1")
    daemon.put("b", b"\xff", "bytes")
    whole = scuttled("export", *args).out
    damaged = [whole[:size] for size in range(len(whole) - 1)]
    for place in range(len(whole)):
        for mask in (0x01, 0xFF):
            turned = bytearray(whole)
            turned[place] ^= mask
            damaged.append(bytes(turned))
    daemon.requests.clear()
    for content in damaged:
        done = scuttled("import", "--mode", "replace", "--yes", "-", stdin=content)
        assert (done.code, done.out) == (65, b""), content
        assert done.err.startswith("scuttled: nothing imported: standard input: "), content
    assert daemon.requests == []
    for content in (whole, whole[:-1]):
        assert scuttled("import", "-", stdin=content).code == 0


def test_every_line_of_a_table_is_checked_before_the_first_is_written(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    lines = [b"k%d\tv\n" % number for number in range(3000)]
    file = tmp_path / "table"
    for place in (0, 1500, 2999):
        file.write_bytes(b"".join([*lines[:place], b"bad\\q\tv\n", *lines[place:]]))
        done = scuttled("import", "--tsv", str(file))
        assert done.code == 65
        assert f"{file}: line {place + 1}: '\\\\q' is no escape" in done.err
    assert daemon.requests == []


def test_a_file_that_changes_while_it_is_read_is_an_error_of_its_own() -> None:
    file = io.BytesIO(b"a\t1\nb\t2\n")
    contents = Contents(file, "table", tsv=True)
    idle = Progress("", 0, Settings({}))
    contents.check(0, idle)
    file.seek(4)
    file.write(b"cut")
    with pytest.raises(StorageError, match=r"table changed while it was imported.*line 2: no tab"):
        list(contents.entries([""], idle))


def test_a_model_of_another_type_is_found_before_anything_is_written(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    file = scuttled("export", "--all-models").out
    models = [{"name": "default", "type": "set", "keys": 0, "bytes": 0}]
    daemon.answers["model_list"] = ok(models=models)
    done = scuttled("import", "-", stdin=file)
    assert (done.code, done.err) == (
        1,
        "scuttled: nothing imported: model 'default' is a set, not a map\n",
    )
    assert daemon.asked("load") == daemon.asked("model_create") == []
    daemon.answers["get"] = ok(kind="json", value=b'["a"]')
    done = scuttled("export", "--all-models")
    assert done.objects[0]["models"] == 1
    assert done.objects[1] == {"v": 1, "model": "default", "type": "set", "state": ["a"]}
    daemon.answers["model_info"] = ok(name="default", type="set", keys=1)
    assert scuttled("export").objects[1] == done.objects[1]
    assert scuttled("export", "--prefix", "a").err == (
        "scuttled: model 'default' is a set: only a map has prefixes\n"
    )


def test_a_model_too_large_to_be_got_at_once_is_left_out_and_the_rest_is_exported(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    models = [{"name": "big", "type": "log", "keys": 9, "bytes": 10**6}]
    daemon.answers["model_list"] = ok(models=models)
    daemon.answers["get"] = lambda _: [error(65, "model big is 1,000,000 bytes as JSON")]
    done = scuttled("export", "--all-models")
    assert (done.code, done.objects[0]["models"]) == (1, 0)
    assert done.err == (
        "scuttled: left out: model big is 1,000,000 bytes as JSON\n"
        "scuttled: big left out: this is a backup of the rest only\n"
    )
    daemon.answers["model_info"] = ok(**models[0])
    assert scuttled("-m", "big", "export").code == 65


def test_the_default_model_of_a_new_node_gets_the_settings_of_the_file(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["model_info"] = ok(type="map", ttl_ms=60_000)
    file = scuttled("export", "--all-models").out
    scuttled("import", "-", stdin=file)
    assert daemon.asked("model_create") == [], "it has a TTL of its own"
    daemon.answers["model_info"] = ok(type="map", ttl_ms=0)
    scuttled("import", "-", stdin=file)
    (asked,) = daemon.asked("model_create")
    assert (asked["model"], asked["type"], asked["ttl_ms"]) == ("default", "map", 60_000)
    daemon.put("k", b"v")
    scuttled("import", "-", stdin=file)
    assert len(daemon.asked("model_create")) == 1, "it is in use"


@pytest.mark.parametrize(
    ("args", "stdin", "code", "words"),
    [
        (["--mode", "replace", "--tsv"], b"\n", 65, "standard input: it holds no keys"),
        (["--mode", "replace"], b"", 65, "standard input: it is empty"),
        (["--mode", "other"], b"", 2, "'merge', 'missing', 'replace'"),
        (["--tsv", "--under", "u" * 4096], b"ab\tv\n", 65, "line 1: key of 4098 bytes with --u"),
        (["--tsv", "--under", "\udcff"], b"k\tv\n", 2, "is not UTF-8"),
        (["--tsv"], b"k\t" + b"x" * LINE_BYTES_MAX, 65, "line 1: longer than 16777216 bytes"),
    ],
)
def test_what_an_import_can_not_do_is_said(  # type: ignore[no-untyped-def]
    daemon: ScriptedDaemon, scuttled: Scuttled, args, stdin, code, words
) -> None:
    done = scuttled("import", *args, "-", stdin=stdin)
    assert (done.code, daemon.requests) == (code, [])
    assert words in done.err


def test_a_large_standard_input_is_not_kept_in_memory(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file can be made for it, that is said; a small one needs none."""
    line = b"k%d\t" + b"x" * 500_000 + b"\n"
    large = b"".join(line % number for number in range(20))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(tempfile, "tempdir", "/nowhere")
        done = scuttled("import", "--tsv", "-", stdin=large)
        assert (done.code, daemon.requests) == (74, [])
        assert "standard input not copied to a temporary file: No such file" in done.err
        assert scuttled("import", "--tsv", "-", stdin=line % 0).code == 0
    assert scuttled("import", "--tsv", "-", stdin=large).code == 0
    assert len(daemon.state) == 20


def test_a_damaged_import_changes_nothing_and_names_the_line(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    done = scuttled("import", "--tsv", "-", stdin=b"good\t1\nbad\n")
    assert (done.code, daemon.requests) == (65, [])
    assert done.err == (
        "scuttled: nothing imported: standard input: line 2:"
        " no tab, where KEY, a tab and VALUE should be: 'bad'\n"
    )
    assert scuttled("import", "/nowhere").code == 66
    assert scuttled("import", "/").code == 66


def test_a_dry_import_asks_the_daemon_and_changes_nothing(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.put("old", b"")
    args = ["import", "--tsv", "--dry-run", "--mode", "replace", "-"]
    done = scuttled(*args, stdin=b"a\t1\n")
    assert done == (0, b"old\tdefault\n", "1 key would be imported into default, 1 deleted\n")
    counts = {"count": 1, "left": 0, "expired": 0, "deleted": 1}
    assert scuttled(*args, "-j", stdin=b"a\t1\n").objects == [
        {"v": 1, "model": "default", "key": "old", "op": "del", "dry_run": True},
        {"v": 1, "model": "default", **counts, "dry_run": True},
    ]
    assert list(daemon.state) == ["old"]


def test_an_export_of_lines_with_tabs_is_read_again(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    daemon.put("a\tb", b"\\ \xff\n", "bytes")
    daemon.put("c", b"1")
    before = {key: held[:2] for key, held in daemon.state.items()}
    file = tmp_path / "table"
    assert scuttled("export", "--tsv").out == b"a\\tb\t\\\\ \\xff\\n\nc\t1\n"
    assert scuttled("export", "--tsv", str(file)).err == f"2 keys, 19 B in {file}\n"
    daemon.state.clear()
    assert scuttled("import", "--tsv", str(file)).code == 0
    assert {key: held[:2] for key, held in daemon.state.items()} == before
    assert scuttled("export", "--tsv", "--all-models").code == 2


def test_an_export_that_fails_leaves_the_old_file(
    daemon: ScriptedDaemon, scuttled: Scuttled, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "backup"
    file.write_text("old")
    daemon.answers["list"] = lambda request: [error(1, "no model")]
    assert scuttled("export", str(file)).code == 1
    assert file.read_text() == "old"
    assert os.listdir(folder) == ["backup"]
    assert scuttled("export", "/nowhere/backup").code == 1
    daemon.answers["list"] = lambda request: [{"end": {"count": 0, "cursor": ""}}]
    assert scuttled("export", "/nowhere/backup").code == 73
    assert scuttled("export", "/dev/full").code == 74


def test_export_by_prefix_takes_its_characters_literally(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    for key in ("a?b", "a?c", "axd"):
        daemon.put(key, b"")
    daemon.answers["list"] = lambda request: daemon._list({**request, "pattern": ""})
    keys = [found.get("key") for found in scuttled("export", "--prefix", "a?").objects]
    assert keys == [None, "a?b", "a?c", None]
