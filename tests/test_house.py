"""The rules of the house that no other test would notice being broken (DESIGN: floors, homes).

Each failure says where and what to do. docs/architecture.md draws the house.
"""

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from scuttled.cli.cli import COMMANDS, cli
from scuttled.models.registry import MODELS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "scuttled"

# From the cellar up. A room imports only from the floors below its own; on one floor nobody imports
# anybody. A room is a package or a file beside them, and its files may import each other.
HOUSE = """
    errors printable version length_prefixed
    replica client units
    models protocol config demo
    node runtime paper
    gossip storage control npm
    daemon library
    simulation scuttled
    cli
    __main__
"""

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
IMPURE_MODULES = {"time", "random", "secrets", "uuid", "asyncio", "threading", "sched"}
IMPURE_NAMES = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom"}
IMPURE_FOR_A_REASON = {
    ("library.authors", "time"),  # a program of one's own wants an identity and the time
    ("library.authors", "secrets"),
    ("library.model_file", "secrets"),  # names a file that takes the place of another
    ("library.persistence", "secrets"),  # draws a life
    ("client.client", "time"),  # it blocks in a command's process, never in the daemon
}

ENTRIES_MAX = 18  # packages and docs; beside them stand a few files
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

FLOORS = [line.split() for line in HOUSE.strip().splitlines()]
FLOOR = {room: number for number, rooms in enumerate(FLOORS, 1) for room in rooms}


# --- reading the house ---------------------------------------------------------------------------


def _module(path: Path) -> str:
    """`scuttled/protocol/codec.py` -> `core.wire`; the package itself is `scuttled`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "scuttled"


SOURCES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _room(module: str) -> str:
    """`protocol.codec` -> `protocol`."""
    return module.split(".")[0]


def _is_of(module: str, places: set[str]) -> bool:
    """Whether a module is one of these files, or in one of these rooms."""
    return module in places or _room(module) in places


def _tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def _imports(module: str) -> Iterator[str]:
    """Every module imported anywhere in this one, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} has a relative import"
            yield from (_from(node.module or "", alias.name) for alias in node.names)


def _from(package: str, name: str) -> str:
    """`from scuttled.core import wire` imports a module, `from ...wire import Frame` does not."""
    inner = f"{package}.{name}".removeprefix("scuttled.")
    return f"{package}.{name}" if package.startswith("scuttled") and inner in SOURCES else package


def _own_imports(module: str) -> set[str]:
    ours = {name for name in _imports(module) if name.split(".")[0] == "scuttled"}
    return {name.removeprefix("scuttled.") for name in ours}


def _tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


# --- floors and homes ----------------------------------------------------------------------------


def test_the_house_has_nine_floors_and_every_room_stands_on_one() -> None:
    assert len(FLOORS) == 9
    lost = {_room(module) for module in SOURCES} - set(FLOOR)
    assert not lost, f"no floor in HOUSE for {sorted(lost)}"
    named = [room for rooms in FLOORS for room in rooms]
    assert sorted(named) == sorted({_room(module) for module in SOURCES}), "each once, and no other"


def test_the_package_shows_at_most_18_folders() -> None:
    folders = {name.split("/")[1] for name in _tracked() if name.count("/") > 1}
    rooms = [name for name in folders if (PACKAGE / name).is_dir()]
    assert len(rooms) <= ENTRIES_MAX, f"scuttled/ has {len(rooms)}: {sorted(rooms)}"


# The package itself is the front door: it names rooms, and imports them when they are asked for.
@pytest.mark.parametrize("module", sorted(SOURCES))
def test_a_room_imports_only_from_below(module: str) -> None:
    here = FLOOR[_room(module)]
    for other in _own_imports(module) - {"scuttled"}:
        if _room(other) != _room(module):
            there = FLOOR[_room(other)]
            assert there < here, f"{module} (floor {here}) imports {other} (floor {there})"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Two files of which each needs the other are one, or three. For types, too."""
    left = {module: _own_imports(module) & set(SOURCES) - {module} for module in SOURCES}
    left["scuttled"] = set()
    while free := {module for module, needs in left.items() if not needs & set(left)}:
        for module in free:
            del left[module]
    circles = {module: sorted(needs & set(left)) for module, needs in left.items()}
    assert not circles, f"in a circle, or above one: {circles}"


FACES = sorted(module for module, path in SOURCES.items() if path.name == "__init__.py")


@pytest.mark.parametrize("module", sorted(set(FACES) - {"scuttled"}))
def test_the_init_of_a_package_is_a_face_without_code(module: str) -> None:
    """What stands in it is run by whoever imports a file beside it."""
    first, *rest = _tree(module).body
    assert isinstance(first, ast.Expr), f"{module}: no docstring"
    code = [node for node in rest if not isinstance(node, ast.ImportFrom) and not _is_all(node)]
    assert not code, f"{module}/__init__.py has code in line {code[0].lineno}"


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


@pytest.mark.parametrize("module", SOURCES)
def test_a_package_is_imported_only_in_its_home(module: str) -> None:
    for package in {name.split(".")[0] for name in _imports(module)} - {"scuttled"}:
        if package in HOMES:
            homes = HOMES[package]
            assert _is_of(module, homes), f"{module} imports {package}, at home in {sorted(homes)}"
        else:
            known = package in sys.stdlib_module_names
            assert known, f"{module} imports {package}, which has no home in HOMES"


@pytest.mark.parametrize(
    ("table", "places"),
    [
        *((f"HOMES[{package}]", homes) for package, homes in HOMES.items()),
        ("SHELL", SHELL),
        ("IMPURE_FOR_A_REASON", {module for module, _ in IMPURE_FOR_A_REASON}),
    ],
)
def test_what_the_tables_name_is_there(table: str, places: set[str]) -> None:
    gone = places - set(SOURCES) - set(FLOOR)
    assert not gone, f"{table} names {sorted(gone)}, which is no room and no file"


PURE = [module for module in SOURCES if not _is_of(module, SHELL)]


@pytest.mark.parametrize("module", PURE)
def test_nothing_pure_awaits(module: str) -> None:
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    lines = [node.lineno for node in ast.walk(_tree(module)) if isinstance(node, kinds)]
    assert not lines, f"{module} awaits in lines {lines}; what awaits is named in SHELL"


@pytest.mark.parametrize("module", PURE)
def test_nothing_pure_reads_a_clock_or_draws_randomness(module: str) -> None:
    modules = {name.split(".")[0] for name in _imports(module)} & IMPURE_MODULES
    names = {_last_two(node) for node in ast.walk(_tree(module)) if isinstance(node, ast.Attribute)}
    found = modules | (names & IMPURE_NAMES)
    allowed = {what for file, what in IMPURE_FOR_A_REASON if file == module}
    assert found <= allowed, f"{module} uses {found - allowed}; take `now` or `rng` as an argument"


def _last_two(node: ast.Attribute) -> str:
    """`datetime.now` for `datetime.now` and `datetime.datetime.now` alike."""
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return f"{name}.{node.attr}"


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


def test_no_two_files_of_tests_have_one_name() -> None:
    """Pytest takes the second for the first, and only when both are collected."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py"))
    names.subtract({"conftest.py": names["conftest.py"], "__init__.py": names["__init__.py"]})
    assert [name for name, count in names.items() if count > 1] == []


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
    assert re.search(rf"\bscuttled {re.escape(name)}\b", readme), f"README.md: scuttled {name}"


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "cli").rglob("*.py")), ids=lambda path: path.name
)
def test_every_file_with_a_command_is_in_the_table(path: Path) -> None:
    has_command = re.search(r"(?m)^(def command\(|command\b.*=)", path.read_text("utf-8"))
    listed = f"scuttled.{_module(path)}" in COMMANDS.values()
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
    assert f"`{data_type}`" in docs, f"no page of scuttled/docs tells of `{data_type}`"
