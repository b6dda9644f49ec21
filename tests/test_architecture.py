"""docs/architecture.md against the house it draws: floors, files, invariants."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "scuttled"
DOCS = PACKAGE / "docs"
PAGE = (DOCS / "architecture.md").read_text("utf-8")
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
}
NOT_HERE = re.compile(r"\b(DESIGN|CLI\.md|HOUSE\.md|STYLE\.md|flowgossip)\b")
PLACE = re.compile(r"`([a-z_]+(?:/[a-zA-Z_]+)+(?:\.\w+)?)/?`")


def _house() -> list[set[str]]:
    """The nine lines of tests/test_house.py, from the cellar up."""
    tree = ast.parse((ROOT / "tests" / "test_house.py").read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HOUSE":
            assert isinstance(node.value, ast.Call)
            lines = ast.literal_eval(node.value.args[1]).strip().splitlines()
            return [set(line.split()) for line in lines]
    raise AssertionError("tests/test_house.py has no HOUSE")


def test_the_drawing_shows_the_floors_that_are_checked() -> None:
    drawn = re.findall(r"(?m)^    (\d)  (\S.*)$", PAGE)
    floors = {
        int(number): {word for word in re.sub(r"\(.*?\)", "", rooms).split()}
        for number, rooms in drawn
    }
    assert floors == dict(enumerate(_house(), 1))


def test_every_room_is_told_of() -> None:
    rooms = set.union(*_house()) - {"scuttled", "__main__"}
    told = {name for line in re.findall(r"(?m)^\| (`.*?) \|", PAGE) for name in line.split("`")}
    assert rooms <= told, f"docs/architecture.md says nothing of {sorted(rooms - told)}"


@pytest.mark.parametrize("place", sorted(set(PLACE.findall(PAGE))))
def test_what_the_page_names_is_there(place: str) -> None:
    place = place.replace("NAME", "set")
    candidates = [PACKAGE / place, PACKAGE / f"{place}.py", ROOT / place]
    assert any(path.exists() for path in candidates), f"docs/architecture.md names {place}"


@pytest.mark.parametrize("name", SOURCES)
def test_what_the_code_cites_is_in_the_repository(name: str) -> None:
    text = SOURCES[name]
    assert not NOT_HERE.search(text), f"{name} cites {NOT_HERE.search(text)}"
    for page in re.findall(r"\bdocs/([\w-]+\.md)", text):
        assert (DOCS / page).exists(), f"{name} cites docs/{page}"
    numbers = set(re.findall(r"\(I(\d+)\b", text))
    gone = [number for number in numbers if f"* **I{number} " not in PAGE]
    assert not gone, f"{name} cites invariants {gone}, which docs/architecture.md does not have"
