"""export and import: what one daemon holds, another one gets, or nothing of it."""

import json
import random
import signal
from pathlib import Path

import pytest
from support.backups import JSON_TEXT, VALUES, fill, held
from support.fleet import Daemon, Fleet
from support.waiting import until


def test_an_export_read_by_a_fresh_daemon_gives_the_same_keys_and_bytes(
    shared: Daemon, fleet: Fleet, model: str
) -> None:
    fill(shared, model)
    fresh = fleet.daemon("fresh")
    with (
        shared.begin("-m", model, "export") as export,
        fresh.begin("-m", model, "import", "-", stdin=export.stdout) as reader,
    ):
        _, words = reader.communicate(timeout=30)
        assert (reader.returncode, export.wait()) == (0, 0)
    assert words.decode() == f"{len(VALUES) + 2} keys imported into {model}\n"
    assert held(fresh, model) == held(shared, model)
    for key in VALUES:
        assert fresh.cli("-m", model, "get", key).stdout == VALUES[key]
    assert fresh.text("-m", model, "get", "json") == JSON_TEXT


def test_an_export_is_json_lines_with_a_header_and_a_checksum(shared: Daemon, model: str) -> None:
    fill(shared, model)
    lines = [json.loads(line) for line in shared.text("-m", model, "export").splitlines()]
    assert {line["v"] for line in lines} == {1}
    assert (lines[0]["scuttled_export"], lines[0]["model"]) == (1, model)
    assert (lines[-1]["end"], lines[-1]["keys"]) == (True, len(lines) - 2)
    assert len(lines[-1]["sha256"]) == 64
    keys = [line["key"] for line in lines[1:-1]]
    assert keys == sorted(keys)


def test_a_file_is_replaced_as_a_whole(shared: Daemon, model: str, tmp_path: Path) -> None:
    fill(shared, model)
    file = tmp_path / "backup"
    file.write_text("older")
    done = shared.cli("-m", model, "export", str(file))
    assert done.stdout == b""
    assert b"sha256" in done.stderr
    piped = shared.text("-m", model, "export").splitlines()
    assert file.read_text().splitlines()[1:-1] == piped[1:-1]
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
    shared.cli("-m", f"{model}.back", "import", str(file))
    assert shared.text("-m", f"{model}.back", "ls") == shared.text("-m", model, "ls")


def test_a_part_can_be_exported_and_put_elsewhere(shared: Daemon, model: str) -> None:
    fill(shared, model)
    part = shared.cli("-m", model, "export", "--prefix", "svc").stdout
    target = ["-m", f"{model}.part", "import", "--under", "old/", "-"]
    assert b"would be" in shared.cli(*target, "--dry-run", stdin=part).stderr
    assert shared.cli("-m", f"{model}.part", "ls", check=False).returncode == 1
    shared.cli(*target, stdin=part)
    assert shared.text("-m", f"{model}.part", "ls") == "old/svc/a\nold/svc/b\nold/svcs\n"


def test_keys_that_are_not_in_the_file_stay(shared: Daemon, model: str) -> None:
    shared.cli("-m", model, "set", "mine", "stays")
    shared.cli("-m", model, "set", "both", "old")
    shared.cli("-m", model, "import", "--tsv", "-", stdin=b"both\tnew\ntheirs\tcomes\n")
    assert shared.text("-m", model, "ls", "-l").replace("\t", " ").split()[1::5] == [
        "new",
        "stays",
        "comes",
    ]


def damaged(export: bytes) -> dict[str, bytes]:
    """The ways in which files get damaged, and some bytes at random places turned."""
    lines = export.splitlines(keepends=True)
    found = {
        "no last line": b"".join(lines[:-1]),
        "half of it": export[: len(export) // 2],
        "no newline at the end and a bit less": export[:-2],
        "one line less": b"".join(lines[:2] + lines[3:]),
        "one line twice": b"".join(lines[:2] + lines[1:]),
        "two lines exchanged": b"".join([lines[0], lines[2], lines[1], *lines[3:]]),
        "something behind it": export + b'{"key":"k","value":"v"}\n',
        "another export behind it": export + export,
    }
    rng = random.Random(65)
    for place in rng.sample(range(len(export)), 12):
        turned = bytearray(export)
        turned[place] ^= 1 << rng.randrange(7)
        found[f"byte {place} turned"] = bytes(turned)
    return found


def test_a_damaged_file_is_65_and_writes_nothing(shared: Daemon, model: str) -> None:
    for key in ("a", "b", "c"):
        shared.cli("-m", model, "set", key, "value")
    export = shared.cli("-m", model, "export").stdout
    target = f"{model}.damaged"
    shared.cli("model", "create", target)
    for how, content in damaged(export).items():
        done = shared.cli("-m", target, "import", "-", stdin=content, check=False)
        assert (done.returncode, done.stdout) == (65, b""), how
        assert done.stderr.startswith(b"scuttled: nothing imported: standard input: line "), how
        assert shared.text("-m", target, "ls", "--count") == "0\n", how
    shared.cli("-m", target, "import", "-", stdin=export)
    assert shared.text("-m", target, "ls", "--count") == "3\n"


@pytest.mark.parametrize(
    ("lines", "place"),
    [(b"a\t1\nno tab\n", b"line 2"), (b"a\t1\nb\t\\q\n", b"line 2"), (b"a\t1\n\tv\n", b"line 2")],
)
def test_a_wrong_line_of_a_table_is_named_and_nothing_written(
    shared: Daemon, model: str, lines: bytes, place: bytes
) -> None:
    shared.cli("model", "create", model)
    done = shared.cli("-m", model, "import", "--tsv", "-", stdin=lines, check=False)
    assert (done.returncode, place in done.stderr) == (65, True)
    assert shared.text("-m", model, "ls") == ""


def test_files_that_are_not_there_or_can_not_be_made(
    shared: Daemon, model: str, tmp_path: Path
) -> None:
    shared.cli("-m", model, "set", "k", "v")
    codes = [
        shared.cli("-m", model, *command, check=False).returncode
        for command in (
            ["import", "/no/such/file"],
            ["import", str(tmp_path)],
            ["export", "/no/such/directory/file"],
            ["export", str(tmp_path)],
            ["export", "/dev/full"],
        )
    ]
    assert codes == [66, 66, 73, 73, 74]


def test_an_export_that_is_killed_leaves_the_old_file(
    shared: Daemon, model: str, tmp_path: Path
) -> None:
    lines = "".join(f"key/{number}\t{'x' * 200}\n" for number in range(20_000))
    shared.cli("-m", model, "import", "--tsv", "-", stdin=lines.encode())
    file = tmp_path / "backup"
    file.write_text("older")
    with shared.begin("-m", model, "export", str(file)) as export:
        until(lambda: len(list(tmp_path.iterdir())) > 1, "the export to begin")
        export.send_signal(signal.SIGINT)
        _, words = export.communicate(timeout=30)
    assert (export.returncode, words) == (130, b"")
    assert file.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
