"""A data type of somebody else's, held by daemons."""

from pathlib import Path

import pytest
from fleet import Fleet, until

WORDS = '''
from scuttled import Clock, Scuttlebutt, Update, operation


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
'''


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "words.py").write_text(WORDS)
    return {"PYTHONPATH": str(tmp_path), "SCUTTLED_TYPES": "words:Longest"}


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
