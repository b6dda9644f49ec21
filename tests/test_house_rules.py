"""Each rule of the house, broken once in a made-up one: a rule that nothing breaks is none."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support import house
from support.house import House

FLOORS = """
    errors
    replica units
    protocol
    cli made
"""
SOUND = {
    "__init__.py": '"""The front door, which may have code."""\nNAMES = ["protocol.link"]\n',
    "errors.py": "class Refused(Exception): ...\n",
    "units.py": "import re\n",
    "replica/__init__.py": '"""What a node holds."""\n\n__all__ = ["Log"]\n',
    "replica/log.py": "from made.errors import Refused\nclass Log: ...\n",
    "replica/slots.py": "from made.replica.log import Log\nfrom datetime import datetime\n",
    "protocol/__init__.py": '"""How two nodes reconcile."""\nfrom made.replica.log import Log\n',
    "protocol/link.py": "import msgpack\nfrom made.replica import log\nfrom made import units\n",
    "cli/__init__.py": '"""The commands."""\n',
    "cli/cli.py": "async def main(): ...\n",
    "cli/commands/__init__.py": '"""One file each."""\n',
    "cli/commands/del_.py": "def command():\n    from made.protocol import link\n",
    "tests/test_errors.py": "",
    "tests/test_floods.py": "",
    "tests/replica/test_log.py": "",
    "tests/cli/test_del.py": "",
    "tests/cli/test_terminal.py": "",
}
HOMES = {"msgpack": {"protocol.link"}}
TOPICS = {"": ["floods"], "cli": ["terminal"]}
Rule = Callable[[House], Iterable[str]]


def of_each_module(rule: Callable[[House, str], Iterable[str]]) -> Rule:
    return lambda made: [words for module in made.modules for words in rule(made, module)]


def faces(made: House) -> list[str]:
    return [words for module in made.faces for words in house.code_in_a_face(made, module)]


def names(made: House) -> Iterable[str]:
    return house.one_name_of_two_classes(made, ())


def unit_tests(made: House) -> Iterable[str]:
    return house.tests_out_of_place(made, made.package.parent / "tests", TOPICS)


arrows = of_each_module(house.arrows_up)
homes = of_each_module(
    lambda made, m: house.packages_away_from_home(made, m, HOMES, sys.stdlib_module_names)
)
waiting = of_each_module(lambda made, m: [] if m == "cli.cli" else house.awaits(made, m))
clocks = of_each_module(lambda made, m: house.clocks_and_chance(made, m, {("units", "time")}))
RULES = [
    house.misplaced_rooms,
    arrows,
    house.circles,
    faces,
    names,
    homes,
    waiting,
    clocks,
    unit_tests,
]


def build(place: Path, files: dict[str, str], floors: str = FLOORS) -> House:
    for name, text in files.items():
        path = place / name if name.startswith("tests/") else place / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return House(place / "made", floors)


@pytest.mark.parametrize("rule", RULES)
def test_a_sound_house_breaks_no_rule(tmp_path: Path, rule: Rule) -> None:
    assert list(rule(build(tmp_path, SOUND))) == []


@pytest.mark.parametrize(
    ("rule", "file", "text", "complaint"),
    [
        (arrows, "errors.py", "import made.replica.log", "errors (floor 1) imports"),
        (arrows, "errors.py", "from made.replica import log", "errors (floor 1) imports"),
        (arrows, "units.py", "from made.replica.log import Log", "units (floor 2) imports"),
        (
            arrows,
            "replica/log.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made.cli import cli",
            "replica.log (floor 2) imports cli.cli (floor 4)",
        ),
        (arrows, "units.py", "def f():\n    import made", "units (floor 2) imports made"),
        (
            house.circles,
            "replica/log.py",
            "from made.replica import slots",
            "replica.log, in a circle or above one, imports ['replica.slots']",
        ),
        (faces, "cli/__init__.py", '"""A face."""\nimport os\n', "has code in line 2"),
        (faces, "cli/commands/__init__.py", '"""."""\n\nX = 1\n', "has code in line 3"),
        (faces, "replica/__init__.py", "", "replica/__init__.py has no docstring"),
        (names, "units.py", "class Log: ...", "class Log stands in ['replica.log', 'units']"),
        (homes, "replica/log.py", "import msgpack", "replica.log imports msgpack, at home in"),
        (homes, "cli/cli.py", "from requests import get", "imports requests, which has no home"),
        (waiting, "errors.py", "async def f(): ...", "errors awaits in line 1"),
        (clocks, "errors.py", "import time", "errors uses time; take"),
        (
            clocks,
            "replica/log.py",
            "import datetime\ndef f(): return datetime.datetime.now()",
            "replica.log uses datetime.now; take",
        ),
        (house.misplaced_rooms, "gossip/__init__.py", '"""A room."""', "no floor for gossip"),
        (house.misplaced_rooms, "replica.py", "", "replica is a file and a package"),
        (unit_tests, "tests/gossip/test_log.py", "", "gossip/test_log.py: there is no room gossip"),
        (unit_tests, "tests/cli/test_log.py", "", "'cli' has no file log"),
        (unit_tests, "tests/test_log.py", "", "test_log.py: '' has no file log"),
        (unit_tests, "tests/test_replica.py", "", "'' has no file replica"),
        (unit_tests, "tests/cli/commands/test_del.py", "", "there is no room cli/commands"),
        (unit_tests, "cli/terminal.py", "", "terminal is no topic of 'cli', but a file"),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_says_where(
    tmp_path: Path, rule: Rule, file: str, text: str, complaint: str
) -> None:
    complaints = list(rule(build(tmp_path, {**SOUND, file: text})))
    assert any(complaint in words for words in complaints), complaints


def test_a_relative_import_is_none_of_ours(tmp_path: Path) -> None:
    made = build(tmp_path, {**SOUND, "cli/cli.py": "from . import commands"})
    with pytest.raises(AssertionError, match=r"cli\.cli:1 has a relative import"):
        made.imports("cli.cli")


@pytest.mark.parametrize(
    ("roof", "complaint"),
    [
        ("gossip", "gossip has a floor, and is nowhere"),
        ("units", "units stands on 2 floors"),
    ],
)
def test_a_floor_is_of_one_room_that_is_there(tmp_path: Path, roof: str, complaint: str) -> None:
    assert list(house.misplaced_rooms(build(tmp_path, SOUND, FLOORS + roof))) == [complaint]


def test_a_topic_without_a_test_is_none(tmp_path: Path) -> None:
    sound = {name: text for name, text in SOUND.items() if name != "tests/cli/test_terminal.py"}
    assert list(unit_tests(build(tmp_path, sound))) == ["no test of the topic terminal in 'cli'"]


def test_what_a_table_names_is_there_and_is_named_once(tmp_path: Path) -> None:
    made = build(tmp_path, SOUND)
    assert list(house.misnamed_places(made, {"replica", "cli.cli", "errors"})) == []
    assert list(house.misnamed_places(made, {"replica", "replica.log", "gossip"})) == [
        "gossip is no room and no file",
        "replica.log is named, and so is its whole room",
    ]


def test_twins_are_two_classes(tmp_path: Path) -> None:
    made = build(tmp_path, {**SOUND, "units.py": "class Log: ..."})
    assert list(house.one_name_of_two_classes(made, {"Log"})) == []
    assert list(house.one_name_of_two_classes(made, {"Log", "Refused"})) == ["Refused has no twin"]


def test_folders_are_what_git_keeps_in_the_package() -> None:
    tracked = [
        "made/cli/cli.py",
        "made/docs/a.md",
        "made/cli/b.py",
        "made/errors.py",
        "tests/x/y.py",
    ]
    assert house.folders(Path("/somewhere/made"), tracked) == {"cli", "docs"}
