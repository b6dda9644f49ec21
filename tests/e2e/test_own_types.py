"""A data type of somebody else's, held by daemons."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from support.fleet import Daemon, Fleet
from support.waiting import until

WORDS = '''
from scuttled import Clock, Scuttlebutt, Slots, Update, operation


class Longest(Scuttlebutt):
    data_type = "longest"
    best = None

    def history(self, clock: Clock) -> list[Update]:
        best = self.best
        return [best] if best and not clock.covers(best.source, best.timestamp) else []

    def apply_update(self, update: Update) -> bool:
        def rank(u: Update):
            return len(u.change), u.timestamp, u.source

        if self.best and rank(update) <= rank(self.best):
            return False
        self.best = update
        return True

    def to_json(self) -> str:
        return self.best.change.decode() if self.best else ""

    @operation
    def say(self, word: str) -> bool:
        """Say a word; whether it is the longest so far."""
        return self.local_update(word.encode()) == self.best


class Tags(Slots):
    """Fills slots: a tag is there or not."""

    data_type = "tags"

    def to_json(self) -> list[str]:
        return [self.label(slot).decode() for slot in self.shown()]

    @operation
    def tag(self, name: str) -> None:
        """Put one on."""
        self.fill(name.encode(), 1, b"", self.now_ms())

    @operation
    def untag(self, name: str) -> None:
        """Take one off."""
        self.fill(name.encode(), 0, b"", self.now_ms())
'''


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "words.py").write_text(WORDS)
    return {"PYTHONPATH": str(tmp_path), "SCUTTLED_TYPES": "words:Longest,words:Tags"}


def test_it_is_replicated_saved_and_called(fleet: Fleet, env: dict[str, str]) -> None:
    a, b = fleet.chain("a", "b", env=env)
    a.cli("model", "create", "best", "--type", "longest")
    assert a.text("-m", "best", "call", "say", "hello") == "true\n"
    b.wait("--synced")
    b.cli("-m", "best", "call", "say", "longer still")
    a.wait("--synced")
    b.wait("--synced")
    assert a.text("-m", "best", "get") == b.text("-m", "best", "get") == '"longer still"\n'
    a.kill9()
    a.start()
    assert a.text("-m", "best", "get") == '"longer still"\n'
    assert a.text("verify").count("differ") == 0


def test_its_changes_are_watched_as_its_type_tells_them(
    fleet: Fleet, env: dict[str, str], tmp_path: Path
) -> None:
    a, b = fleet.chain("a", "b", env=env)
    a.cli("model", "create", "best", "--type", "longest")
    b.wait("--synced")
    file = tmp_path / "cursor"
    with b.tail("-m", "best", "watch", "--cursor-file", str(file)) as tail:
        until(file.exists, "the first cursor")
        a.cli("-m", "best", "call", "say", "hello")
        first = tail.line().split("\t")
        b.kill9()
        b.start()
        b.cli("-m", "best", "call", "say", "longer still")
        second = tail.line().split("\t")
    assert first[0] == second[0] == "set"
    assert (first[2], second[2]) == ("hello", "longer still")
    assert first[1] == f"{first[4]}.1"  # the source, for want of keys
    b.wait("--synced")
    (snapshot, live) = b.text("-m", "best", "watch", "--snapshot", "--for", "1s").splitlines()
    assert (snapshot.split("\t")[2], live.split("\t")[0]) == ("longer still", "live")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("ls",), "is a longest, which has no keys"),
        (("get", "k"), "is a longest, which has no keys"),
        (("set", "k", "v"), "is a longest, not a map"),
        (("del", "k"), "is a longest, not a map"),
        (("on",), "is a longest, not a events"),
        (("emit", "e"), "is a longest, not a events"),
        (("call", "shout"), "shout"),
        (("model", "drop", "best", "--yes"), "is a longest, which can't be dropped"),
    ],
)
def test_what_it_has_not_is_refused_in_words(
    fleet: Fleet, env: dict[str, str], command: tuple[str, ...], words: str
) -> None:
    a = fleet.daemon("a", env=env)
    a.cli("model", "create", "best", "--type", "longest")
    done = a.cli("-m", "best", *command, check=False)
    assert done.returncode in (1, 2)
    assert words in done.stderr.decode()


def test_a_node_without_the_type_says_so_and_the_rest_goes_on(
    fleet: Fleet, env: dict[str, str]
) -> None:
    a = fleet.daemon("a", env=env)
    b = fleet.daemon("b", peers=["a"])
    a.cli("model", "create", "best", "--type", "longest")
    a.cli("set", "k", "v")
    b.wait("--key", "k=v")
    until(lambda: "data type 'longest', allowed are map" in b.log(), "b to say why")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere.at_all:C", "ModuleNotFoundError"),
        ("words:Missing", "no subclass of Scuttlebutt"),
        ("words:Clock", "no subclass of Scuttlebutt"),
        ("words", "is not a type: write it like package.module:Class"),
    ],
)
def test_what_is_no_type_is_refused_at_the_start(
    fleet: Fleet, env: dict[str, str], text: str, words: str
) -> None:
    daemon = fleet.daemon("a", args=["--types", text], env=env, start=False)
    daemon.start(wait=False)
    assert daemon.ended() == 78
    assert words in daemon.log()


def test_a_daemon_that_holds_one_and_is_started_without_the_type_says_what_it_lacks(
    fleet: Fleet, env: dict[str, str]
) -> None:
    a = fleet.daemon("a", env=env)
    a.cli("model", "create", "best", "--type", "longest")
    a.cli("-m", "best", "call", "say", "hello")
    a.stop()
    a.serve_env.pop("SCUTTLED_TYPES")
    a.start(wait=False)
    assert a.ended() == 65
    assert "model 'best' is on disk as a longest, a data type that this daemon does not" in a.log()
    assert "serve --types" in a.log()
    a.serve_env.update(env)
    a.start()
    assert a.text("-m", "best", "get") == '"hello"\n'


# --- in a backup ---------------------------------------------------------------------------------


def filled(daemon: Daemon) -> bytes:
    """With models of both types and another one; an export of all."""
    daemon.cli("model", "create", "best", "--type", "longest")
    daemon.cli("model", "create", "tags", "--type", "tags")
    daemon.cli("-m", "best", "call", "say", "hello")
    daemon.cli("-m", "best", "call", "say", "longer still")
    for name in ("red", "gone", "blue"):
        daemon.cli("-m", "tags", "call", "tag", name)
    daemon.cli("-m", "tags", "call", "untag", "gone")
    daemon.cli("set", "k", "v")
    return daemon.cli("export", "--all-models").stdout


def own(daemon: Daemon) -> dict[str, str]:
    return {name: daemon.text("-m", name, "get") for name in ("best", "tags")}


def test_an_export_has_them_and_they_come_back(fleet: Fleet, env: dict[str, str]) -> None:
    a, b = fleet.daemon("a", env=env), fleet.daemon("b", env=env)
    file = filled(a)
    dry = b.cli("import", "--dry-run", "-", stdin=file).stderr.decode()
    assert "1 key would be imported into best" in dry
    assert [line["name"] for line in b.json("model", "ls")] == ["default"]
    assert b.cli("import", "-", stdin=file).returncode == 0
    assert own(b) == own(a) == {"best": '"longer still"\n', "tags": '["blue", "red"]\n'}
    again = b.cli("import", "-", stdin=file).stderr.decode()
    assert "0 keys imported into best, 1 left alone" in again
    assert "0 keys imported into tags, 2 left alone" in again
    b.kill9()
    b.start()
    assert own(b) == own(a)


def test_what_was_imported_reaches_the_others_and_stays_where_it_is_known(
    fleet: Fleet, env: dict[str, str]
) -> None:
    a = fleet.daemon("a", env=env)
    file = filled(a)
    a.stop()
    b, c = fleet.chain("b", "c", env=env)
    b.cli("import", "-", stdin=file)
    c.wait("--synced")
    b.wait("--synced")
    assert own(c) == own(b) == {"best": '"longer still"\n', "tags": '["blue", "red"]\n'}
    assert b.clock("best") == c.clock("best")
    b.cli("-m", "best", "call", "say", "longer than all of that")
    c.wait("--synced")
    c.cli("import", "-", stdin=file)
    assert own(c)["best"] == '"longer than all of that"\n'


def test_replace_makes_what_fills_slots_what_the_file_says(
    fleet: Fleet, env: dict[str, str]
) -> None:
    a = fleet.daemon("a", env=env)
    file = filled(a)
    before = own(a)
    a.cli("-m", "tags", "call", "tag", "later")
    a.cli("import", "--mode", "replace", "--yes", "-", stdin=file)
    assert own(a) == before


def test_a_model_alone_is_exported_and_imported_too(fleet: Fleet, env: dict[str, str]) -> None:
    a, b = fleet.daemon("a", env=env), fleet.daemon("b", env=env)
    filled(a)
    one = a.cli("-m", "best", "export").stdout
    b.cli("import", "-", stdin=one)
    assert b.text("-m", "best", "get") == '"longer still"\n'


def test_a_daemon_that_does_not_know_the_type_takes_the_rest_and_says_so(
    fleet: Fleet, env: dict[str, str]
) -> None:
    a, b = fleet.daemon("a", env=env), fleet.daemon("b")
    file = filled(a)
    done = b.cli("import", "-", stdin=file, check=False)
    words = done.stderr.decode()
    assert done.returncode == 1
    assert "left out: best: this daemon knows no data type 'longest'" in words
    assert "scuttled: best, tags left out, the rest of standard input is imported" in words
    assert "serve --types" in words
    assert b.text("get", "k") == "v"
    assert [line["name"] for line in b.json("model", "ls")] == ["default"]


def in_an_export(*lines: dict[str, object]) -> bytes:
    models = sum("model" in line for line in lines)
    header = {"v": 1, "scuttled_export": 1, "models": models, "node": "b", "time_ms": 1}
    data = b"".join(json.dumps({"v": 1, **line}).encode() + b"\n" for line in (header, *lines))
    keys = sum("key" in line for line in lines)
    end = {"v": 1, "end": True, "keys": keys, "sha256": sha256(data).hexdigest()}
    return data + json.dumps(end).encode() + b"\n"


def test_an_export_of_before_that_has_their_state_only_is_taken_but_for_them(
    fleet: Fleet, env: dict[str, str]
) -> None:
    b = fleet.daemon("b", env=env)
    file = in_an_export(
        {"model": "best", "type": "longest", "state": "longer still"},
        {"model": "default", "type": "map", "ttl_ms": 0},
        {"key": "k", "value": "v"},
    )
    done = b.cli("import", "-", stdin=file, check=False)
    assert done.returncode == 1
    assert b"left out: best: of the data type 'longest' this file holds no updates" in done.stderr
    assert b.text("get", "k") == "v"


def test_what_a_backup_has_left_out_is_in_its_exit_code(fleet: Fleet, env: dict[str, str]) -> None:
    a, b = fleet.daemon("a", env=env), fleet.daemon("b", env=env)
    filled(a)
    file = fleet.directory / "all"
    with a.client() as client:
        for n in range(6):
            word = chr(97 + n) * 500_000 + "x" * n
            client.request("call", model="best", operation="say", args=[word])
    assert a.cli("export", "--all-models", str(file)).returncode == 0, "only the longest is kept"
    a.cli("model", "create", "log", "--type", "log")
    with a.client() as client:
        for _ in range(3):
            client.request("call", model="log", operation="append", args=["x" * 400_000])
    done = a.cli("export", "--all-models", str(file), check=False)
    assert done.returncode == 1
    assert b"scuttled: log left out: this is a backup of the rest only" in done.stderr
    b.cli("import", str(file))
    assert b.text("get", "k") == "v"
    assert own(b) == own(a)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"updates": [["a", 1, "x"]]}, "that are none"),
        ({"updates": [["YQ==", True, "x"]]}, "that are none"),
        ({"updates": {}}, "that are none"),
        ({"clock": None}, "that are none"),
        ({"updates": [["YQ==", 1, "nobody"]]}, "expected change, timestamp, source"),
        ({"clock": {"nobody": 1}}, "a clock with 'nobody'"),
        ({"type": "tags", "updates": [["YQ==", 1, f"{'0' * 16}.1"]]}, "that a tags can't take"),
        ({"updates": [["YQ==", 1 << 62, f"{'0' * 16}.1"]]}, "stamped in the future"),
    ],
)
def test_a_line_that_is_damaged_makes_no_model(
    fleet: Fleet, env: dict[str, str], wrong: dict[str, object], words: str
) -> None:
    b = fleet.daemon("b", env=env)
    line = {"model": "best", "type": "longest", "updates": [], "clock": {}, **wrong}
    done = b.cli("import", "-", stdin=in_an_export(line), check=False)
    assert done.returncode in (1, 65)
    assert words in done.stderr.decode()
    assert [line["name"] for line in b.json("model", "ls")] == ["default"]
