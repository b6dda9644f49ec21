"""A program that starts again is the same author, if it can't have forgotten anything (I5)."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scuttled import Counter, Map, Set, StateDirectory, new_author, save, signing_author
from scuttled.errors import CantCreate, DataError, UsageError
from scuttled.replica.hlc import Author


def run_once(path: Path, key: str = "k", value: object = 1) -> Author:
    """A program that starts, writes and ends in order; as whom."""
    with StateDirectory(path) as state:
        source = state.author.source
        state.open(Map, "m").set(key, value)
    return Author(state.author.node_id, int.from_bytes(source[8:], "big"))


def test_a_program_that_ended_in_order_goes_on_as_the_same_source(tmp_path: Path) -> None:
    path = tmp_path / "state"
    sources = {run_once(path, f"k{n}").source for n in range(50)}
    assert len(sources) == 1
    with StateDirectory(path) as state:
        model = state.open(Map, "m")
        assert (len(model), len(model.clock), state.renewed) == (50, 1, "")
    assert (path / "m.model").stat().st_size < 5_000


def test_what_it_writes_lies_above_what_it_wrote_though_the_clock_went_back(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.author.hlc.observe(state.author.hlc.last + (1 << 50))
        first = state.open(Map, "one")
        first["k"] = "before"
    with StateDirectory(tmp_path) as state:
        other = state.open(Map, "two")
        other["k"] = "other"
        assert other.author.hlc.last > 1 << 50
        again = state.open(Map, "one")
        again["k"] = "after"
        assert again["k"] == "after"


def crash(path: Path) -> None:
    """A program that is killed after it has written, and maybe told it to others."""
    script = (
        "import os, signal, sys\n"
        "from scuttled import Map, StateDirectory\n"
        "state = StateDirectory(sys.argv[1])\n"
        "state.open(Map, 'm').set('lost', 1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], timeout=60)
    assert done.returncode == -signal.SIGKILL


def restore_all(path: Path) -> None:
    shutil.copytree(path, path.with_name("backup"))
    run_once(path, "later")
    shutil.rmtree(path)
    shutil.copytree(path.with_name("backup"), path)


def restore_in_place(path: Path) -> None:
    shutil.copytree(path, path.with_name("backup"))
    run_once(path, "later")
    shutil.copytree(path.with_name("backup"), path, dirs_exist_ok=True)


def restore_one(path: Path) -> None:
    older = (path / "m.model").read_bytes()
    run_once(path, "later")
    (path / "m.model").write_bytes(older)


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (crash, "did not end in order"),
        (restore_all, "was copied, or restored"),
        (restore_in_place, "was copied, or restored"),
        (restore_one, "not what was saved last: m"),
        (lambda path: save(Map("m"), path / "m.model"), "not what was saved last: m"),
        (lambda path: (path / "m.model").unlink(), "not what was saved last: m"),
        (lambda path: (path / "ended").unlink(), "is gone or damaged"),
        (lambda path: (path / "ended").write_text("00000000 {}\n"), "is gone or damaged"),
    ],
)
def test_who_may_have_forgotten_takes_a_life_that_nobody_has(
    tmp_path: Path, happens: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "state"
    before = run_once(path)
    happens(path)
    with StateDirectory(path) as state:
        assert words in state.renewed
        assert state.author.node_id == before.node_id
        assert state.author.life >= 2**31
        life = state.author.life
    with StateDirectory(path) as state:
        assert (state.author.life, state.renewed) == (life, "")


def test_a_copy_that_runs_beside_its_original_is_another_source(tmp_path: Path) -> None:
    run_once(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with StateDirectory(tmp_path / "a") as one, StateDirectory(tmp_path / "b") as two:
        assert one.author.source != two.author.source


def test_a_second_program_is_kept_out_by_name(tmp_path: Path) -> None:
    with StateDirectory(tmp_path), pytest.raises(CantCreate, match=f"pid {os.getpid()}"):
        StateDirectory(tmp_path)
    run_once(tmp_path)


def test_an_identity_that_is_gone_or_damaged_is_not_believed(tmp_path: Path) -> None:
    before = run_once(tmp_path)
    data = (tmp_path / "identity").read_bytes()
    for damaged in (None, b"", data[:-3], data.replace(b" ", b"  x", 1)):
        if damaged is None:
            (tmp_path / "identity").unlink()
        else:
            (tmp_path / "identity").write_bytes(damaged)
        with StateDirectory(tmp_path) as state:
            assert state.author.node_id != before.node_id
            assert state.open(Map, "m") == {"k": 1}


def test_saving_in_between_outlives_a_kill(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from scuttled import Map, StateDirectory\n"
        "state = StateDirectory(sys.argv[1])\n"
        "model = state.open(Map, 'm')\n"
        "model['saved'] = 1\n"
        "state.save()\n"
        "model['lost'] = 1\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], timeout=60)
    with StateDirectory(tmp_path) as state:
        assert state.open(Map, "m") == {"saved": 1}
        assert state.renewed


def test_an_error_in_the_block_comes_out_and_all_is_saved(tmp_path: Path) -> None:
    def fail() -> None:
        with StateDirectory(tmp_path) as state:
            state.open(Map, "m")["k"] = 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with StateDirectory(tmp_path) as state:
        assert (state.open(Map, "m"), state.renewed) == ({"k": 1}, "")


def test_what_is_written_after_the_end_is_of_another_life(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        model = state.open(Map, "m")
        source = state.author.source
    assert model.author.source != source
    model["k"] = 1
    state.close()
    with pytest.raises(UsageError, match="was closed"):
        state.save()
    with StateDirectory(tmp_path) as again:
        assert again.author.source == source
        assert again.open(Map, "m") == {}


def test_a_process_that_is_forked_off_is_somebody_else(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from scuttled import Map, StateDirectory, new_author\n"
        "other = Map('other', new_author())\n"
        "with StateDirectory(sys.argv[1]) as state:\n"
        "    model = state.open(Map, 'm')\n"
        "    before = model.author.source, other.author.source\n"
        "    if os.fork() == 0:\n"
        "        after = model.author.source, other.author.source\n"
        "        print(before[0] != after[0], before[1] != after[1], flush=True)\n"
        "        try:\n"
        "            state.save()\n"
        "        except Exception as error:\n"
        "            print(error, flush=True)\n"
        "        sys.exit()\n"
        "    os.wait()\n"
        "    model['k'] = 1\n"
        "    print(before == (model.author.source, other.author.source))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0] == "True True"
    assert "is that of process" in lines[1]
    assert lines[2] == "True"
    with StateDirectory(tmp_path) as state:
        assert (state.open(Map, "m"), state.renewed) == ({"k": 1}, "")


def test_models_of_one_directory_have_one_author_and_their_own_types(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.open(Counter, "hits").add(3)
        assert state.open(Counter, "hits") is state.open(Counter, "hits")
        assert state.open(Set, "tags").author is state.author
        with pytest.raises(UsageError, match="open as a counter, not a set"):
            state.open(Set, "hits")
        with pytest.raises(DataError, match=r"model name '\.\./up'"):
            state.open(Map, "../up")
    with StateDirectory(tmp_path) as state:
        with pytest.raises(DataError, match="a saved counter, not a map"):
            state.open(Map, "hits")
        assert state.open(Counter, "hits").get() == 3


def test_a_damaged_model_is_refused_and_its_file_stays(tmp_path: Path) -> None:
    run_once(tmp_path)
    data = bytearray((tmp_path / "m.model").read_bytes())
    data[-20] ^= 1
    (tmp_path / "m.model").write_bytes(data)
    with StateDirectory(tmp_path) as state:
        assert "not what was saved last" in state.renewed
        with pytest.raises(DataError):
            state.open(Map, "m")
    assert (tmp_path / "m.model").read_bytes() == data


def test_an_author_that_signs_is_kept_and_another_one_is_refused(tmp_path: Path) -> None:
    seed = bytes(range(32))
    with StateDirectory(tmp_path, signing_author(seed)) as state:
        source = state.author.source
        state.open(Map, "m")["k"] = 1
    with StateDirectory(tmp_path, signing_author(seed)) as state:
        assert state.author.source == source
        assert state.open(Map, "m") == {"k": 1}
    with pytest.raises(UsageError, match="the author that was given is"):
        StateDirectory(tmp_path, new_author())
    with StateDirectory(tmp_path, signing_author(seed)) as state:
        assert state.renewed == ""


def test_the_state_of_a_daemon_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "scuttled.db").touch()
    with pytest.raises(DataError, match="the state of a daemon"):
        StateDirectory(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scuttled.db"]


def test_a_place_that_can_not_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CantCreate, match="can't use the state directory"):
        StateDirectory(tmp_path / "file")
    with pytest.raises(UsageError, match="without a name"):
        StateDirectory("")


def test_every_flipped_bit_of_the_note_and_of_the_identity_is_noticed(tmp_path: Path) -> None:
    """Who can't tell as whom it ended goes on as somebody that nobody was."""
    before = run_once(tmp_path).source
    found = {name: (tmp_path / name).read_bytes() for name in ("ended", "identity")}
    with StateDirectory(tmp_path) as state:
        for name, data in found.items():
            for at in range(len(data) - 1):  # but for the newline, which says nothing
                for bit in range(8):
                    flipped = bytearray(data)
                    flipped[at] ^= 1 << bit
                    (tmp_path / name).write_bytes(flipped)
                    if name == "ended":
                        assert state._read_ended() is None
                    else:
                        assert state._directory.read_identity() is None
            (tmp_path / name).write_bytes(data)
        assert state.author.source == before
