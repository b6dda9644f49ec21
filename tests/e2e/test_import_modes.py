"""What an import makes of keys that are there, and whole nodes in one file."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.backups import fill, held
from support.fleet import Daemon, Fleet

FAR_MS = 4_000_000_000_000  # in the year 2096


def told(daemon: Daemon, model: str) -> list[list[str]]:
    """KEY and VALUE of `ls -l`, as it writes them: all but the revision, its node and its time."""
    return [line.split("\t")[:2] for line in daemon.text("-m", model, "ls", "-l").splitlines()]


def revs(daemon: Daemon, model: str) -> dict[str, str]:
    return {key: rev for key, (_, _, rev) in daemon.state(model).items()}


def piped(source: Daemon, target: Daemon, *args: str) -> str:
    """`export ARGS | import -`; what import says."""
    with (
        source.begin("export", *args) as export,
        target.begin("import", "-", stdin=export.stdout) as reader,
    ):
        _, words = reader.communicate(timeout=60)
        assert (reader.returncode, export.wait()) == (0, 0), words
    return words.decode()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    """A daemon with models of all sorts and 20,000 keys, and a fresh one that got its export."""
    with Fleet(tmp_path_factory.mktemp("whole")) as fleet:
        one, other = fleet.daemon("one"), fleet.daemon("other")
        fill(one, "sorts")
        one.cli("model", "create", "brief", "--ttl", "1h")
        one.cli("-m", "brief", "set", "lease", "mine")
        one.cli("model", "create", "empty", "--ttl", "1d")
        one.cli("model", "create", "dropped")
        one.cli("model", "drop", "dropped", "--yes")
        lines = "".join(f"key/{n}\tvalue of {n}\n" for n in range(20_000))
        one.cli("import", "--tsv", "-", stdin=lines.encode())
        assert "20,000 keys imported into default\n" in piped(one, other, "--all-models")
        yield one, other


def test_a_whole_node_comes_back_in_one_file(whole: tuple[Daemon, Daemon]) -> None:
    one, other = whole
    names = ["brief", "default", "empty", "sorts"]
    assert [line["name"] for line in other.json("model", "ls")] == names
    for model in names:
        assert told(other, model) == told(one, model)
        assert held(other, model) == held(one, model)
        assert (
            (other.ask("model_info", model=model)["ttl_ms"])
            == (one.ask("model_info", model=model)["ttl_ms"])
        )
    assert len(told(other, "default")) == 20_000
    assert other.ask("get", model="sorts", key="later")["expires_ms"] > 0


def test_what_was_imported_exports_to_the_same_lines(whole: tuple[Daemon, Daemon]) -> None:
    first, second = (daemon.text("export", "--all-models").splitlines() for daemon in whole)
    assert second[1:-1] == first[1:-1]
    assert json.loads(first[0])["models"] == 4
    assert json.loads(first[1]) == {"v": 1, "model": "brief", "type": "map", "ttl_ms": 3_600_000}


def test_an_import_done_twice_writes_nothing_the_second_time(whole: tuple[Daemon, Daemon]) -> None:
    one, other = whole
    before = {model: revs(other, model) for model in ("brief", "default", "sorts")}
    said = piped(one, other, "--all-models")
    assert "0 keys imported into default, 20,000 left alone\n" in said
    assert {model: revs(other, model) for model in before} == before


def test_of_all_models_one_can_be_taken(whole: tuple[Daemon, Daemon], fleet: Fleet) -> None:
    third = fleet.daemon("third")
    file = whole[0].cli("export", "--all-models").stdout
    done = third.cli("-m", "brief", "import", "-", stdin=file)
    assert done.stderr.decode() == (
        "1 key imported into brief\n3 of the 4 models in standard input left out\n"
    )
    assert [line["name"] for line in third.json("model", "ls")] == ["brief", "default"]
    done = third.cli("import", "-", stdin=file, env={"SCUTTLED_MODEL": "brief"})
    assert done.stderr.startswith(b"0 keys imported into brief, 1 left alone\n3 of the 4 models")
    done = third.cli("-m", "nope", "import", "-", stdin=file, check=False)
    assert (done.returncode, done.stderr.decode()) == (
        1,
        "scuttled: nothing imported: no model 'nope' in standard input,"
        " which has brief, default, empty, sorts\n",
    )


def test_replace_gives_models_the_settings_of_the_file_too(
    whole: tuple[Daemon, Daemon], fleet: Fleet, tmp_path: Path
) -> None:
    third = fleet.daemon("third")
    file = str(tmp_path / "all")
    whole[0].cli("export", "--all-models", file)
    third.cli("model", "create", "brief", "--ttl", "5s")
    third.cli("model", "create", "sorts", "--ttl", "5s")
    third.cli("-m", "sorts", "set", "mine", "x")
    third.cli("import", file)
    assert third.ask("model_info", model="brief")["ttl_ms"] == 5000
    assert b"1 deleted" in third.cli("import", "--mode", "replace", "--yes", file).stderr
    ttls = [third.ask("model_info", model=name)["ttl_ms"] for name in ("brief", "sorts")]
    assert ttls == [3_600_000, 0]
    assert held(third, "sorts") == held(whole[0], "sorts")


# --- what becomes of keys that are there ---------------------------------------------------------


def lines(*keys: tuple[str, str], expires_ms: int = 0) -> bytes:
    more = {"expires_ms": expires_ms} if expires_ms else {}
    return b"".join(json.dumps({"key": k, "value": v, **more}).encode() + b"\n" for k, v in keys)


@pytest.fixture
def there(shared: Daemon, model: str) -> dict[str, str]:
    """The revisions of `same`, `other` and `mine`, which are in the model."""
    for key, value in {"same": "1", "other": "1", "mine": "1"}.items():
        shared.cli("-m", model, "set", key, value)
    return revs(shared, model)


FILE = lines(("same", "1"), ("other", "2"), ("new", "2"))


def test_merge_sets_what_differs(shared: Daemon, model: str, there: dict[str, str]) -> None:
    done = shared.cli("-m", model, "import", "-", stdin=FILE)
    assert done.stderr.decode() == f"2 keys imported into {model}, 1 left alone\n"
    assert told(shared, model) == [["mine", "1"], ["new", "2"], ["other", "2"], ["same", "1"]]
    assert revs(shared, model)["same"] == there["same"]


def test_missing_sets_what_is_not_there(shared: Daemon, model: str, there: dict[str, str]) -> None:
    done = shared.cli("-m", model, "import", "--mode", "missing", "-", stdin=FILE)
    assert done.stderr.decode() == f"1 key imported into {model}, 2 left alone\n"
    assert told(shared, model) == [["mine", "1"], ["new", "2"], ["other", "1"], ["same", "1"]]
    assert {key: rev for key, rev in revs(shared, model).items() if key != "new"} == there


def test_replace_deletes_the_rest_if_somebody_says_yes(
    shared: Daemon, model: str, there: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(FILE)
    command = ["-m", model, "import", "--mode", "replace", str(file)]
    question = f"delete 1 key of model {model} not in {file}"
    done = shared.cli(*command, check=False)
    assert (done.returncode, done.stderr.decode()) == (
        2,
        f"scuttled: no terminal to ask on: to {question} it takes --yes\n",
    )
    code, screen = shared.on_terminal(*command, typed=b"n\n")
    assert (code, f"{question}? [y/N]: " in screen) == (1, True)
    assert revs(shared, model) == there
    assert shared.on_terminal(*command, typed=b"y\n")[0] == 0
    assert told(shared, model) == [["new", "2"], ["other", "2"], ["same", "1"]]
    assert shared.cli(*command).stderr.endswith(b", 3 left alone\n"), "nothing to ask about"


def test_replace_keeps_to_what_the_file_speaks_of(
    shared: Daemon, model: str, there: dict[str, str]
) -> None:
    for key in ("svc/a", "svc/b", "old/x", "old/svc/x"):
        shared.cli("-m", model, "set", key, "1")
    part = shared.cli("-m", model, "export", "--prefix", "svc/").stdout
    replace = ["-m", model, "import", "--mode", "replace", "--yes"]
    shared.cli("-m", model, "del", "svc/b")
    shared.cli("-m", model, "set", "svc/c", "1")
    done = shared.cli(*replace, "-", stdin=part)
    assert done.stderr.decode() == f"1 key imported into {model}, 1 left alone, 1 deleted\n"
    shared.cli(*replace, "--under", "old/", "-", stdin=part)
    keys = [key for key, _ in told(shared, model)]
    assert keys == [
        *("mine", "old/svc/a", "old/svc/b", "old/x"),
        *("other", "same", "svc/a", "svc/b"),
    ]
    shared.cli(*replace, "--under", "old/", "-", stdin=lines(("only", "1")))
    assert [key for key, _ in told(shared, model) if key.startswith("old/")] == ["old/only"]


def test_a_dry_run_tells_what_would_be_done(
    shared: Daemon, model: str, there: dict[str, str]
) -> None:
    command = ["-m", model, "import", "--mode", "replace", "--dry-run", "-"]
    done = shared.cli(*command, stdin=FILE)
    assert done.stdout.decode() == f"mine\t{model}\n"
    assert done.stderr.decode() == (
        f"2 keys would be imported into {model}, 1 left alone, 1 deleted\n"
    )
    done = shared.cli("-j", *command, stdin=FILE)
    assert json.loads(done.stdout.splitlines()[1]) == {
        **{"v": 1, "model": model, "count": 2, "left": 1, "expired": 0, "deleted": 1},
        "dry_run": True,
    }
    assert revs(shared, model) == there


def test_keys_whose_time_is_over_are_skipped_and_counted(
    shared: Daemon, model: str, there: dict[str, str]
) -> None:
    content = lines(("mine", "2"), ("new", "2"), expires_ms=5)
    content += lines(("other", "1"), expires_ms=FAR_MS)
    done = shared.cli("-m", model, "import", "-", stdin=content)
    assert done.stderr.decode() == f"1 key imported into {model}, 2 expired\n"
    assert told(shared, model) == [["mine", "1"], ["other", "1"], ["same", "1"]]
    assert shared.ask("get", model=model, key="other")["expires_ms"] == FAR_MS
    shared.cli("-m", model, "import", "--mode", "replace", "--yes", "-", stdin=content)
    assert told(shared, model) == [["other", "1"]]


def test_a_damaged_file_of_all_models_makes_no_model(whole: tuple[Daemon, Daemon]) -> None:
    file = whole[0].cli("export", "--all-models").stdout
    other = whole[1]
    before = other.cli("model", "ls").stdout
    for content in (
        file.replace(b'"model":"brief"', b'"model":"newer"'),
        file[:-2],
        file[: file.rindex(b'{"v":1,"end"')],
    ):
        done = other.cli("import", "-", stdin=content, check=False)
        assert (done.returncode, done.stdout) == (65, b"")
    assert other.cli("model", "ls").stdout == before


def test_a_pipe_with_a_name_is_read_like_a_file(shared: Daemon, model: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with shared.begin("-m", model, "import", str(pipe)) as reader:
        pipe.write_bytes(FILE)
        assert reader.communicate(timeout=30)[1].decode() == f"3 keys imported into {model}\n"
