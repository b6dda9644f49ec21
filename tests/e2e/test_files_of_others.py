"""Files that other programs wrote, given to `import`: read right, or refused with the way out."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.fleet import Daemon

MARK = b"\xef\xbb\xbf"
TSV = b"svc/web\t10.0.0.1:80\nsvc/db\t10.0.0.2:5432\n"
NDJSON = b'{"key":"svc/web","value":"10.0.0.1:80"}\n{"key":"svc/db","value":"10.0.0.2:5432"}\n'
BOTH = {"svc/web": b"10.0.0.1:80", "svc/db": b"10.0.0.2:5432"}


@pytest.fixture
def model(shared: Daemon) -> Any:
    """A model that this test alone has."""
    number = len(shared.json("model", "ls"))
    return f"m{number}-{len(shared.clock())}"


def values(daemon: Daemon, model: str) -> dict[str, bytes]:
    names = [row["name"] for row in daemon.json("model", "ls")]
    state = daemon.state(model) if model in names else {}
    return {key: value for key, (_, value, _) in state.items()}


@pytest.mark.parametrize(
    ("options", "content"),
    [
        (["--tsv"], TSV),
        (["--tsv"], MARK + TSV),
        (["--tsv"], TSV.replace(b"\n", b"\r\n")),
        (["--tsv"], MARK + TSV.replace(b"\n", b"\r\n")),
        (["--tsv"], TSV[:-1]),
        (["--tsv"], b"\n\n" + TSV + b"\r\n\n"),
        ([], NDJSON),
        ([], MARK + NDJSON),
        ([], NDJSON.replace(b"\n", b"\r\n")),
        ([], MARK + NDJSON.replace(b"\n", b"\r\n")[:-2]),
        ([], NDJSON[:-1]),
        ([], b"\r\n\n" + NDJSON + b"\n\n"),
    ],
)
def test_marks_and_ends_of_lines_are_no_part_of_keys_and_values(
    shared: Daemon, model: str, options: list[str], content: bytes
) -> None:
    shared.cli("-m", model, "import", *options, "-", stdin=content)
    assert values(shared, model) == BOTH
    shared.cli("model", "drop", model, "--yes")


def test_an_export_that_went_through_an_editor_is_still_whole(shared: Daemon, model: str) -> None:
    shared.cli("-m", model, "import", "--tsv", "-", stdin=TSV)
    export = shared.cli("-m", model, "export").stdout
    for changed in (MARK + export, export.replace(b"\n", b"\r\n"), export[:-1]):
        shared.cli("-m", model, "import", "-", stdin=changed)
    assert values(shared, model) == BOTH
    done = shared.cli("-m", model, "import", "-", stdin=export.replace(b"80", b"81"), check=False)
    assert done.returncode == 65
    assert b"the checksum is wrong" in done.stderr
    shared.cli("model", "drop", model, "--yes")


@pytest.mark.parametrize(
    ("options", "content", "words", "hint"),
    [
        ([], json.dumps([{"key": "a", "value": "b"}]).encode(), "line 1: not a JSON object but an"
         " array", "jq -c '.[]' FILE | scuttled import -"),
        ([], b'[\n  {"key": "a", "value": "b"}\n]\n', "line 1: not a JSON object but an array",
         "jq -c '.[]'"),
        ([], b'{"a": "b", "c": "d"}\n', "line 1: no \"key\" that is text: an object of keys and"
         " values?", "jq -c 'to_entries[]' FILE | scuttled import -"),
        ([], b'{\n  "key": "a",\n  "value": "b"\n}\n', "line 1: not a JSON object, or not in one"
         " line", "jq -c . FILE"),
        ([], NDJSON.decode().encode("utf-16"), "line 1: this is UTF-16, and UTF-8 is read",
         "iconv -f UTF-16 -t UTF-8 FILE"),
        ([], NDJSON.decode().encode("utf-16-le"), "line 1: this is UTF-16", "iconv"),
        (["--tsv"], TSV.decode().encode("utf-16"), "line 1: this is UTF-16", "iconv"),
        (["--tsv"], TSV.decode().encode("utf-16-le"), "line 1: this is UTF-16", "iconv"),
        (["--tsv"], b"a\tb\nc\0\td\n", "line 2: a NUL byte", "\\x00"),
        ([], b'{"key":"a","value":"b\0"}\n', "line 1: a NUL byte", ""),
        ([], '{"key":"größe","value":"x"}\n'.encode("latin-1"), "line 1: not a JSON object,"
         " and not UTF-8",
         "iconv -f LATIN1"),
        ([], gzip.compress(NDJSON), "line 1: this is compressed", "gunzip -c FILE"),
        (["--tsv"], gzip.compress(TSV), "line 1: this is compressed", "gunzip -c FILE"),
        ([], NDJSON.replace(b"\n", b"\r"), "line 1: lines that end in a carriage return", "tr "),
        (["--tsv"], TSV.replace(b"\n", b"\r"), "line 1: 3 columns", "tr "),
        (["--tsv"], TSV + MARK + TSV, "line 3: a byte order mark in the midst", ""),
        ([], NDJSON + MARK + NDJSON, "line 3: a byte order mark in the midst", "one after the"),
        (["--tsv"], NDJSON, "line 1: no tab", "without --tsv"),
        ([], TSV, "line 1: not a JSON object", "--tsv"),
        ([], b"", "it is empty", ""),
        ([], MARK, "it is empty", ""),
        ([], b"\n\r\n", "it is empty", ""),
        (["--tsv", "--mode", "replace"], MARK, "it holds no keys", "scuttled del --prefix ''"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_with_its_cause_and_a_way_out(
    shared: Daemon, model: str, options: list[str], content: bytes, words: str, hint: str
) -> None:
    done = shared.cli("-m", model, "import", *options, "-", stdin=content, check=False)
    said = done.stderr.decode()
    assert done.returncode == 65, said
    assert f"nothing imported: standard input: {words}" in said
    assert hint in said
    assert values(shared, model) == {}


def test_the_way_out_names_the_file(shared: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "my keys.json"
    file.write_bytes(b'[{"key":"a","value":"b"}]')
    done = shared.cli("import", str(file), check=False)
    assert f"hint: jq -c '.[]' '{file}' | scuttled import -" in done.stderr.decode()


def test_of_a_key_that_comes_twice_the_last_counts_and_it_is_said(
    shared: Daemon, model: str
) -> None:
    done = shared.cli("-m", model, "import", "--tsv", "-", stdin=b"a\t1\nb\t2\na\t3\nb\t4\na\t5\n")
    assert values(shared, model) == {"a": b"5", "b": b"4"}
    said = done.stderr.decode()
    assert "3 lines with a key that came before, and the last one counts: 'a' in line 3" in said
    shared.cli("model", "drop", model, "--yes")


@pytest.mark.parametrize("value", ["null", "true", "1234", '"null "', '"AAA"', "[]", "{}"])
def test_a_value_in_base64_is_text_and_strictly_base64(
    shared: Daemon, model: str, value: str
) -> None:
    line = f'{{"key":"k","value_b64":{value}}}\n'.encode()
    done = shared.cli("-m", model, "import", "-", stdin=line, check=False)
    assert done.returncode == 65
    assert b'line 1: "value_b64" is ' in done.stderr
    assert values(shared, model) == {}


def test_what_an_object_is_told_to_become_is_what_import_reads(shared: Daemon, model: str) -> None:
    """The hint for an object of keys and values makes lines of "key" and "value"."""
    entries = [{"key": key, "value": value} for key, value in {"a": "b", "n": 1}.items()]
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    shared.cli("-m", model, "import", "-", stdin=lines.encode())
    assert values(shared, model) == {"a": b"b", "n": b"1"}
    shared.cli("model", "drop", model, "--yes")
