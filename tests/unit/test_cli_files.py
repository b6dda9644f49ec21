"""import and export."""

import os
from pathlib import Path

from scripted_daemon import ScriptedDaemon, Scuttled, error


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


def test_import_gives_keys_that_expire_what_is_left_of_their_time(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    lines = b'{"key":"past","value":"","expires_ms":5}\n'
    lines += b'{"key":"later","value":"","expires_ms":%d}\n' % (1 << 50)
    assert scuttled("import", "-", stdin=lines).code == 0
    assert [request["key"] for request in daemon.asked("set")] == ["later"]
    assert 0 < daemon.asked("set")[0]["ttl_ms"] < 1 << 50


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


def test_a_dry_import_needs_no_daemon(scuttled: Scuttled) -> None:
    done = scuttled("import", "--tsv", "--dry-run", "-j", "-", stdin=b"a\t1\n")
    assert done.objects == [{"v": 1, "model": "default", "count": 1, "dry_run": True}]
    assert done.err == "1 key would be imported into default\n"


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
