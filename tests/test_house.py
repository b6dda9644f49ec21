"""The rules of the house that no other test would notice being broken (DESIGN: floors, homes).

Each failure says where and what to do. To add a room, give it its place in HOUSE.
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

from scuttled.cli import COMMANDS, cli
from scuttled.models import MODELS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "scuttled"

# From the cellar up. A room imports only from the lines above its own; within one line nobody
# imports anybody. A package, such as `cli`, is one room and may import within itself.
HOUSE = {
    "cellar": """
        scuttled core
        version
        errors
        units printable patterns
        core.update core.flow
        core.clock
        core.hlc
        core.changes
        core.security
        core.messages
        core.log
        core.observers
        core.sources
        core.scuttlebutt
        core.slots
        core.fingerprint
        core.told
        core.wire
        core.following
        core.sharing
        core.handshake core.flight core.pulse core.receipts core.turns
        core.session
        core.host
        core.link
    """,
    "rooms": """
        models storage config rpc refusals signing cursors
        covering telling
    """,
    "hall": """
        library
        keeping
        timekeeping
        leases
        rejoining unsaved verifying notices links problems
        future
        members
        node client
        loading holding measuring
        pacing
        watching
        hearing listing tally
    """,
    "doors": """
        waking repeats
        signals
        requests transport readiness logs control_socket descriptors
        outside
        control npm trio_client replication
    """,
    "shell": """
        dialling
        gossip saving
    """,
    "roof": """
        peering
        report
        daemon
        simulation
    """,
    "street": """
        demo
        paper
        cli
        __main__
    """,
}

HOMES = {
    "msgpack": {"core.wire", "rpc"},
    "platformdirs": {"config"},
    "tomllib": {"config"},
    "click": {"cli", "__main__"},
    "sqlite3": {"storage"},
    "cryptography": {"signing"},
    "numpy": {"paper"},
    "matplotlib": {"paper"},
    "trio": {
        "replication",
        "waking",
        "signals",
        "transport",
        "control",
        "npm",
        "trio_client",
        "dialling",
        "gossip",
        "saving",
        "daemon",
        "simulation",
        "outside",
        "control_socket",
    },
}

# Below the doors time and chance are arguments, or the simulator could not run these rooms.
IMPURE_MODULES = {"time", "random", "secrets", "uuid", "asyncio", "threading", "sched"}
IMPURE_NAMES = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom"}
IMPURE_FOR_A_REASON = {
    ("library", "time"),  # models in a program of one's own want an identity and the time
    ("library", "secrets"),
    ("keeping", "secrets"),  # likewise
    ("client", "time"),  # it blocks in a command's process, never in the daemon: its deadlines
}

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

STEPS = [
    (floor, set(line.split()))
    for floor, lines in HOUSE.items()
    for line in lines.strip().splitlines()
]
FLOORS = list(HOUSE)


# --- reading the house ---------------------------------------------------------------------------


def _module(path: Path) -> str:
    """`scuttled/core/wire.py` -> `core.wire`; the package itself is `scuttled`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "scuttled"


SOURCES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _room(module: str) -> str:
    """The room that a module belongs to: itself or the package around it that HOUSE names."""
    rooms = {room for _, step in STEPS for room in step}
    if module in rooms:
        return module
    outer = module.split(".")[0]
    return outer if outer in rooms - {"core"} else module


def _step(module: str) -> int | None:
    return next((at for at, (_, step) in enumerate(STEPS) if _room(module) in step), None)


def _floor(module: str) -> int:
    at = _step(module)
    assert at is not None, f"{module} has no place in HOUSE: add it to tests/test_house.py"
    return FLOORS.index(STEPS[at][0])


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


def test_every_room_has_its_place_in_the_house() -> None:
    lost = [module for module in SOURCES if _step(module) is None]
    assert not lost, f"no place in HOUSE: {lost}; add them to tests/test_house.py"


# The package itself is the front door: it names rooms, and imports them when they are asked for.
@pytest.mark.parametrize("module", sorted(set(SOURCES) - {"scuttled"}))
def test_a_room_imports_only_from_below(module: str) -> None:
    here = _step(module)
    assert here is not None, f"{module} has no place in HOUSE: add it to tests/test_house.py"
    for other in _own_imports(module) - {"scuttled"}:
        if _room(other) == _room(module):
            continue
        there = _step(other)
        assert there is not None, f"{module} imports {other}, which has no place in HOUSE"
        floors = STEPS[here][0], STEPS[there][0]
        assert there < here, f"{module} imports {other}, which is not below it: {floors}"


@pytest.mark.parametrize("module", SOURCES)
def test_a_package_is_imported_only_in_its_home(module: str) -> None:
    for package in {name.split(".")[0] for name in _imports(module)} - {"scuttled"}:
        if package in HOMES:
            homes = sorted(HOMES[package])
            assert _room(module) in homes, f"{module} imports {package}, at home in {homes}"
        else:
            known = package in sys.stdlib_module_names
            assert known, f"{module} imports {package}, which has no home in HOMES"


LOWER = [
    module
    for module in SOURCES
    if _step(module) is not None and _floor(module) < FLOORS.index("doors")
]


@pytest.mark.parametrize("module", LOWER)
def test_nothing_below_the_doors_awaits(module: str) -> None:
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    lines = [node.lineno for node in ast.walk(_tree(module)) if isinstance(node, kinds)]
    assert not lines, f"{module} awaits in lines {lines}; what awaits lives in a door or above"


@pytest.mark.parametrize("module", LOWER)
def test_nothing_below_the_doors_reads_a_clock_or_draws_randomness(module: str) -> None:
    modules = {name.split(".")[0] for name in _imports(module)} & IMPURE_MODULES
    names = {_last_two(node) for node in ast.walk(_tree(module)) if isinstance(node, ast.Attribute)}
    found = modules | (names & IMPURE_NAMES)
    allowed = {what for room, what in IMPURE_FOR_A_REASON if room == _room(module)}
    assert found <= allowed, f"{module} uses {found - allowed}; take `now` or `rng` as an argument"


def _last_two(node: ast.Attribute) -> str:
    """`datetime.now` for `datetime.now` and `datetime.datetime.now` alike."""
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return f"{name}.{node.attr}"


@pytest.mark.parametrize("module", ["scuttled.client", "scuttled.cli"])
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


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: path.name)
def test_every_file_with_a_command_is_in_the_table(path: Path) -> None:
    has_command = re.search(r"(?m)^(def command\(|command\b.*=)", path.read_text("utf-8"))
    listed = f"scuttled.{_module(path)}" in COMMANDS.values()
    assert bool(has_command) == listed, f"{path.name}: give it its line in scuttled/cli/__init__.py"


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
