"""The rules of the house that no other test would notice being broken: floors, homes, faces.

Each failure says where, and what is wrong. docs/architecture.md draws the house;
support/house.py reads it.
"""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support import house
from support.house import House, is_of

from scuttled.cli import import_models
from scuttled.cli.cli import COMMANDS, cli
from scuttled.models.registry import MODELS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "scuttled"

# From the cellar up. A room imports only from the floors below its own; on one floor nobody imports
# anybody. A room is a package or a file beside them, and its files may import each other.
HOUSE = House(
    PACKAGE,
    """
    errors printable version length_prefixed
    replica client units
    models protocol config demo
    node runtime paper
    gossip storage control npm
    daemon library
    simulation scuttled
    cli
    __main__
    """,
)

# Where a package is imported: in these files, or in all of a room.
HOMES = {
    "msgpack": {"protocol.codec", "client.protocol"},
    "platformdirs": {"config.locations"},
    "tomllib": {"config.file"},
    "click": {"cli", "__main__"},
    "sqlite3": {"storage"},
    "cryptography": {"runtime.keys"},
    "numpy": {"paper"},
    "matplotlib": {"paper.figures"},
    "trio": {
        "runtime",
        "gossip",
        "storage.flusher",
        "control.server",
        "npm.server",
        "daemon",
        "library.replicate",
        "simulation",
    },
}

# These await and look at the world; all others are pure, or the simulator could not run them.
SHELL = {
    *("runtime", "gossip", "storage.flusher", "control.server", "npm.server", "daemon"),
    *("library.replicate", "simulation", "demo", "paper", "cli", "scuttled", "__main__"),
}

# Beside the shell time and chance are arguments.
IMPURE_FOR_A_REASON = {
    ("replica.default_author", "time"),  # a program of one's own wants an identity and the time
    ("replica.default_author", "secrets"),
    ("library.authors", "secrets"),
    ("library.model_file", "secrets"),  # names a file that takes the place of another
    ("library.persistence", "secrets"),  # draws a life
    ("client.client", "time"),  # it blocks in a command's process, never in the daemon
}

# Classes of one name that are one thing on both sides of something.
TWINS: set[str] = set()

# Tests in tests/unit/<room> that are about more than one file of it.
TOPICS = {
    "cli": ["cluster_commands", "data_commands", "empty_input", "terminal"],
    "control": ["field_types"],
    "demo": ["demo"],
    "library": ["saved_file"],
    "models": ["mapping", "types"],
    "node": ["taking_back"],
    "paper": ["paper"],
    "replica": ["seed"],
    "runtime": ["systemd_units"],
    "storage": ["faults", "flipped_bits", "power_cuts"],
    "": ["async_tests"],
}

FOLDERS_MAX = 18  # rooms and docs; beside them stand a few files
SUMMARY_CHARS_MAX = 64  # of a command, beside the longest name, on 80 columns

TOP_LEVEL = {
    *("scuttled", "tests", "systemd", "config"),
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"),
}
LOCK_FILES = re.compile(
    r"(.*\.lock|.*-lock\.(json|yaml)|npm-shrinkwrap\.json|pylock\..*toml|Pipfile\.lock)"
)
INDEX_ADDRESSES = re.compile(
    r"pypi\.org|pythonhosted\.org|pypi\.python\.org|npmjs\.(org|com)|yarnpkg\.com"
    r"|index-url\s*[=:]",
    re.IGNORECASE,
)


def _tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


# --- floors and homes ----------------------------------------------------------------------------


def test_the_house_has_nine_floors_and_every_room_stands_on_one() -> None:
    assert len(HOUSE.floors) == 9
    assert not list(house.misplaced_rooms(HOUSE))


def test_the_package_shows_at_most_18_folders() -> None:
    rooms = house.folders(PACKAGE, _tracked())
    assert len(rooms) <= FOLDERS_MAX, f"scuttled/ has {len(rooms)}: {sorted(rooms)}"


@pytest.mark.parametrize("module", HOUSE.modules)
def test_a_room_imports_only_from_below(module: str) -> None:
    assert not list(house.arrows_up(HOUSE, module))


def test_no_files_import_each_other_in_a_circle() -> None:
    assert not list(house.circles(HOUSE))


@pytest.mark.parametrize("module", HOUSE.faces)
def test_the_init_of_a_package_is_a_face_without_code(module: str) -> None:
    assert not list(house.code_in_a_face(HOUSE, module))


def test_one_word_names_one_class() -> None:
    assert not list(house.one_name_of_two_classes(HOUSE, TWINS))


@pytest.mark.parametrize("module", HOUSE.modules)
def test_a_package_is_imported_only_in_its_home(module: str) -> None:
    assert not list(house.packages_away_from_home(HOUSE, module, HOMES, sys.stdlib_module_names))


@pytest.mark.parametrize(
    ("table", "places"),
    [
        *((f"HOMES[{package}]", homes) for package, homes in HOMES.items()),
        ("SHELL", SHELL),
        ("IMPURE_FOR_A_REASON", {module for module, _ in IMPURE_FOR_A_REASON}),
    ],
)
def test_what_the_tables_name_is_there_once(table: str, places: set[str]) -> None:
    assert not list(house.misnamed_places(HOUSE, places)), table


PURE = [module for module in HOUSE.modules if not is_of(module, SHELL)]


@pytest.mark.parametrize("module", PURE)
def test_nothing_pure_awaits(module: str) -> None:
    assert not list(house.awaits(HOUSE, module)), "what awaits is named in SHELL"


@pytest.mark.parametrize("module", PURE)
def test_nothing_pure_reads_a_clock_or_draws_randomness(module: str) -> None:
    assert not list(house.clocks_and_chance(HOUSE, module, IMPURE_FOR_A_REASON))


def test_unit_tests_stand_as_the_house_does() -> None:
    assert not list(house.tests_out_of_place(HOUSE, ROOT / "tests" / "unit", TOPICS))


@pytest.mark.parametrize("module", ["scuttled.client.client", "scuttled.cli.cli"])
def test_a_command_starts_without_trio(module: str) -> None:
    script = (
        f"import sys, {module}; print([m for m in ('trio', 'platformdirs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


# --- commands ------------------------------------------------------------------------------------


def _with_subcommands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, f"{' '.join(words)} lists {name}, which does not load"
            yield from _with_subcommands(inner, (*words, name))


def summaries(group: click.Group) -> Iterator[tuple[str, str]]:
    """What the list of commands says of each, and of each command within it."""
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            yield name, command.get_short_help_str(limit=SUMMARY_CHARS_MAX)
            if isinstance(command, click.Group):
                yield from summaries(command)


def test_no_summary_of_a_command_is_cut_on_a_terminal_of_80_columns() -> None:
    cut = {name: words for name, words in summaries(cli) if words.endswith("...")}
    assert not cut, "the first sentence of a command's docstring is its summary: make it shorter"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_its_help_has_examples(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, f"{COMMANDS[name]} has no `command`"
    for words in _with_subcommands(command, (name,)):
        shown = CliRunner().invoke(cli, [*words, "--help"])
        assert shown.exit_code == 0, f"scuttled {' '.join(words)} --help: {shown.output}"
        _, _, examples = shown.output.partition("\nExamples:\n")
        assert f"scuttled {words[0]}" in examples, f"{words}: no example of it in its help"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.search(rf"\bscuttled {re.escape(name)}\b", readme) is not None
    assert told, f"README.md, section Commands, tells nothing of `scuttled {name}`"


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "cli").rglob("*.py")), ids=lambda path: path.name
)
def test_every_file_with_a_command_is_in_the_table(path: Path) -> None:
    has_command = re.search(r"(?m)^(def command\(|command\b.*=)", path.read_text("utf-8"))
    listed = f"scuttled.{HOUSE.module(path)}" in COMMANDS.values()
    assert bool(has_command) == listed, f"{path.name}: give it its line in scuttled/cli/cli.py"


# --- what ships ----------------------------------------------------------------------------------


def test_the_top_level_holds_nothing_unexpected() -> None:
    names = {name.split("/")[0] for name in _tracked()}
    odd = {name for name in names - TOP_LEVEL if not name.startswith(".")}
    assert not odd, f"unexpected at the top level: {sorted(odd)}"


def test_nothing_tracked_locks_versions_or_names_a_package_index() -> None:
    locks = [name for name in _tracked() if LOCK_FILES.fullmatch(name.split("/")[-1])]
    assert not locks, f"lock files: {locks}"
    found = {
        name: match[0]
        for name in _tracked()
        if (match := INDEX_ADDRESSES.search((ROOT / name).read_text("utf-8", "replace")))
    }
    assert not found, f"addresses of package indexes: {found}"


@pytest.mark.parametrize("data_type", MODELS)
def test_every_data_type_has_its_file_and_is_documented(data_type: str) -> None:
    model = MODELS[data_type]
    home = PACKAGE / "models" / f"{data_type}.py"
    assert Path(inspect.getfile(model)) == home, f"{data_type} is not in models/{data_type}.py"
    docs = "".join(page.read_text("utf-8") for page in (PACKAGE / "docs").glob("*.md"))
    assert f"`{data_type}`" in docs, f"docs/data-types.md tells nothing of `{data_type}`"
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"`{data_type}`" in readme, f"README.md names the types, but not `{data_type}`"
    own = import_models.is_own_type(data_type)
    assert not own, f"cli/import_models.py does not say how to import a {data_type}"
