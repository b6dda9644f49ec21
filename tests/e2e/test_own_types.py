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
