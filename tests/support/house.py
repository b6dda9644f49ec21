"""A house of Python rooms, read from its files, and the rules that such a house keeps.

Ours is in tests/test_house.py, with its tables; tests/test_house_rules.py breaks each rule in a
made-up one. A rule yields complaints: where, and what is wrong there.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

# Neither waits nor looks at the world, but by these.
AWAITING = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
IMPURE_MODULES = {"time", "random", "secrets", "uuid", "asyncio", "threading", "sched"}
IMPURE_NAMES = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom"}


def room_of(module: str) -> str:
    """`protocol.codec` -> `protocol`."""
    return module.split(".")[0]


def is_of(module: str, places: Collection[str]) -> bool:
    """True if a module is one of these files, or in one of these rooms."""
    return module in places or room_of(module) in places


class House:
    """A package: its rooms by floor, from the cellar up, and its modules with what they import.

    A room is a package within it, or a file beside those. Modules are named without the package's
    own name, which stands for its `__init__`, the front door.
    """

    def __init__(self, package: Path, floors: str) -> None:
        self.package = package
        self.floors = [line.split() for line in floors.strip().splitlines()]
        self.paths: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(package.rglob("*.py")):
            self.paths[self.module(path)].append(path)
        self._trees: dict[str, ast.Module] = {}

    def module(self, path: Path) -> str:
        """`scuttled/protocol/codec.py` -> `protocol.codec`."""
        parts = path.relative_to(self.package).with_suffix("").parts
        inner = parts[:-1] if parts[-1] == "__init__" else parts
        return ".".join(inner) or self.package.name

    @property
    def modules(self) -> list[str]:
        return list(self.paths)

    @property
    def rooms(self) -> set[str]:
        return {room_of(module) for module in self.paths}

    @property
    def faces(self) -> list[str]:
        """The `__init__` of each package within; the front door is something else."""
        inits = [m for m, paths in self.paths.items() if paths[0].name == "__init__.py"]
        return [module for module in inits if module != self.package.name]

    def floor(self, module: str) -> int:
        """Counted from 1, the cellar; 0 for a room that stands on none."""
        room = room_of(module)
        return next((at for at, rooms in enumerate(self.floors, 1) if room in rooms), 0)

    def tree(self, module: str) -> ast.Module:
        if module not in self._trees:
            text = self.paths[module][0].read_text(encoding="utf-8")
            self._trees[module] = ast.parse(text)
        return self._trees[module]

    def imports(self, module: str) -> set[str]:
        """All that is imported anywhere in it, in functions and under TYPE_CHECKING too."""
        found: set[str] = set()
        for node in ast.walk(self.tree(module)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}:{node.lineno} has a relative import"
                found |= {self._imported(node.module or "", alias.name) for alias in node.names}
        return found

    def _imported(self, package: str, name: str) -> str:
        """The module that `from package import name` reads: a name may be a module of its own."""
        whole = f"{package}.{name}"
        is_module = whole.removeprefix(f"{self.package.name}.") in self.paths
        return whole if package.split(".")[0] == self.package.name and is_module else package

    def own_imports(self, module: str) -> set[str]:
        own = self.package.name
        ours = {name for name in self.imports(module) if room_of(name) == own}
        return {name.removeprefix(f"{own}.") for name in ours}

    def foreign_imports(self, module: str) -> set[str]:
        """The packages of others."""
        return {room_of(name) for name in self.imports(module)} - {self.package.name}


# --- floors --------------------------------------------------------------------------------------


def misplaced_rooms(house: House) -> Iterator[str]:
    """Every room stands on one floor, and every file in one room."""
    named = Counter(room for rooms in house.floors for room in rooms)
    for room in sorted(house.rooms - named.keys()):
        yield f"no floor for {room}"
    for room in sorted(named.keys() - house.rooms):
        yield f"{room} has a floor, and is nowhere"
    for room, times in named.items():
        if times > 1:
            yield f"{room} stands on {times} floors"
    for module, paths in house.paths.items():
        if len(paths) > 1:
            yield f"{module} is a file and a package"


def folders(package: Path, tracked: Iterable[str]) -> set[str]:
    """Folders that `ls` shows of a package, if git keeps something in them."""
    inner = [name.split("/")[1:] for name in tracked if name.split("/")[0] == package.name]
    return {name for name, *below in inner if below}


def arrows_up(house: House, module: str) -> Iterator[str]:
    """A room imports from below; its files may import each other."""
    here = house.floor(module)
    for other in sorted(house.own_imports(module)):
        there = house.floor(other)
        if room_of(other) != room_of(module) and there >= here:
            yield f"{module} (floor {here}) imports {other} (floor {there})"


def circles(house: House) -> Iterator[str]:
    """Two files of which each needs the other are one, or three. For types, too."""
    left = {module: house.own_imports(module) - {module} for module in house.modules}
    left[house.package.name] = set()  # the front door imports what it is asked for
    while free := {module for module, needs in left.items() if not needs & left.keys()}:
        for module in free:
            del left[module]
    for module, needs in sorted(left.items()):
        yield f"{module}, in a circle or above one, imports {sorted(needs & left.keys())}"


def code_in_a_face(house: House, module: str) -> Iterator[str]:
    """An `__init__` is run by whoever imports a file beside it: it holds no code."""
    first, *rest = house.tree(module).body or [ast.Pass()]
    if not isinstance(first, ast.Expr):
        yield f"{module}/__init__.py has no docstring"
    for node in rest:
        if not isinstance(node, ast.ImportFrom) and not _is_all(node):
            yield f"{module}/__init__.py has code in line {node.lineno}"


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def one_name_of_two_classes(house: House, twins: Collection[str]) -> Iterator[str]:
    """One word, one thing; twins are one thing on two sides."""
    homes = defaultdict(list)
    for module in house.modules:
        for node in ast.walk(house.tree(module)):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(module)
    for name, modules in sorted(homes.items()):
        if len(modules) > 1 and name not in twins:
            yield f"class {name} stands in {modules}"
    for name in sorted(twins):
        if len(homes[name]) < 2:
            yield f"{name} has no twin"


# --- homes ---------------------------------------------------------------------------------------


def packages_away_from_home(
    house: House, module: str, homes: Mapping[str, Collection[str]], standard: Collection[str]
) -> Iterator[str]:
    """Each package of others is imported in its home alone."""
    for package in sorted(house.foreign_imports(module)):
        if package not in homes:
            if package not in standard:
                yield f"{module} imports {package}, which has no home"
        elif not is_of(module, homes[package]):
            yield f"{module} imports {package}, at home in {sorted(homes[package])}"


def misnamed_places(house: House, places: Collection[str]) -> Iterator[str]:
    """A table's places are there, and named once: not as a file and with its room."""
    for place in sorted(places):
        if place not in house.paths and place not in house.rooms:
            yield f"{place} is no room and no file"
        elif place != room_of(place) and room_of(place) in places:
            yield f"{place} is named, and so is its whole room"


def awaits(house: House, module: str) -> Iterator[str]:
    for node in ast.walk(house.tree(module)):
        if isinstance(node, AWAITING):
            yield f"{module} awaits in line {node.lineno}"


def clocks_and_chance(
    house: House, module: str, allowed: Collection[tuple[str, str]]
) -> Iterator[str]:
    nodes = ast.walk(house.tree(module))
    names = {_last_two(node) for node in nodes if isinstance(node, ast.Attribute)}
    found = (house.foreign_imports(module) & IMPURE_MODULES) | (names & IMPURE_NAMES)
    for name in sorted(found):
        if (module, name) not in allowed:
            yield f"{module} uses {name}; take `now` or `rng` as an argument"


def _last_two(node: ast.Attribute) -> str:
    """`datetime.now` for `datetime.now` and `datetime.datetime.now` alike."""
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return f"{name}.{node.attr}"


# --- tests ---------------------------------------------------------------------------------------


def tests_out_of_place(
    house: House, units: Path, topics: Mapping[str, Iterable[str]]
) -> Iterator[str]:
    """Unit tests stand as the house does: `units/<room>/test_<file>.py`.

    One that is about more than a file stands for a topic, and is named in `topics` of its room.
    What tests the files beside the rooms stands in `units` itself, whose room is "".
    """
    files = defaultdict(set)
    for module in set(house.modules) - {house.package.name, *house.faces}:
        room, _, file = module.rpartition(".")
        files[room_of(room)].add(file.rstrip("_"))
    topic_of = {(room, topic) for room, names in topics.items() for topic in names}
    for room, topic in sorted(topic_of):
        if not (units / room / f"test_{topic}.py").exists():
            yield f"no test of the topic {topic} in '{room}'"
        elif topic in files[room]:
            yield f"{topic} is no topic of '{room}', but a file"
    for path in sorted(units.rglob("test_*.py")):
        inner = path.relative_to(units)
        room = inner.parent.as_posix().replace(".", "")
        name = path.stem.removeprefix("test_")
        if room and room not in house.rooms:
            yield f"{inner}: there is no room {room}"
        elif name not in files[room] and (room, name) not in topic_of:
            yield f"{inner}: '{room}' has no file {name}, and no such topic is listed"
