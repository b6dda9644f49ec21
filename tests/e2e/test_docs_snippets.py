"""Every Python snippet of the documentation is run, as its reader would run it."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import scuttled
from scuttled import Map, StateDirectory

DOCS = Path(scuttled.__file__).with_name("docs")
README = Path(__file__).parents[2] / "README.md"

# What runs each snippet: a test below, or one elsewhere.
RUN = {
    "library.md 0": "test_a_snippet_prints_what_the_page_says",
    "library.md 1": "test_a_snippet_prints_what_the_page_says",
    "hub.py": "test_the_two_files_listen_dial_again_save_and_load",
    "shop.py": "test_the_two_files_listen_dial_again_save_and_load",
    "threads.py": "test_a_snippet_prints_what_the_page_says",
    "blocking.py": "test_a_program_that_blocks_and_one_with_asyncio_reach_the_hub",
    "with_asyncio.py": "test_a_program_that_blocks_and_one_with_asyncio_reach_the_hub",
    "library.md 7": "tests/unit/library/test_model_file.py",
}


def snippets() -> dict[str, tuple[str, str]]:
    """By name (of the file that the first line names, or page and number): the code, and what it
    prints, if the page says so.
    """
    found = {}
    for page in [*sorted(DOCS.glob("*.md")), README]:
        text = page.read_text("utf-8")
        blocks = re.finditer(r"```python\n((?s:.*?))```\n(?:\nprints\n\n((?:    .*\n)+))?", text)
        for number, block in enumerate(blocks):
            named = re.match(r"# (\w+\.py)\b", block[1])
            printed = re.sub("(?m)^    ", "", block[2] or "")
            found[named[1] if named else f"{page.name} {number}"] = block[1], printed
    return found


SNIPPETS = snippets()


def test_every_snippet_is_run_by_a_test() -> None:
    assert SNIPPETS.keys() == RUN.keys()


def test_no_python_hides_in_a_block_of_another_kind() -> None:
    for page in DOCS.glob("*.md"):
        text = re.sub(r"```python\n.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        assert not re.search(r"(?m)^ *(import|from) \w+( import .*)?$", text), page.name


@pytest.mark.parametrize("name", [name for name, (_, printed) in SNIPPETS.items() if printed])
def test_a_snippet_prints_what_the_page_says(tmp_path: Path, name: str) -> None:
    code, printed = SNIPPETS[name]
    (tmp_path / "snippet.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "snippet.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (printed, "")


class Program:
    """A snippet that runs as a process, and its lines as they come."""

    def __init__(self, home: Path, name: str, *args: object) -> None:
        (home / name).write_text(SNIPPETS[name][0])
        self.process = subprocess.Popen(
            [sys.executable, name, *map(str, args)],
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.seen: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))

    def line(self, pattern: str) -> str:
        """The next line of that kind."""
        while True:
            try:
                self.seen.append(self._lines.get(timeout=60))
            except queue.Empty:
                raise AssertionError(f"no line {pattern!r} among {self.seen}") from None
            if re.fullmatch(pattern, self.seen[-1]):
                return self.seen[-1]

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)

    def clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()


Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a snippet under its name; what still runs at the end is killed."""
    with ExitStack() as stack:

        def start(name: str, *args: object) -> Program:
            program = Program(tmp_path, name, *args)
            stack.callback(program.clean_up)
            return program

        yield start


def hub(start: Start, port: int = 0) -> tuple[Program, int]:
    program = start("hub.py", port)
    return program, int(program.line(r"port \d+").split()[1])


def test_the_two_files_listen_dial_again_save_and_load(tmp_path: Path, start: Start) -> None:
    first, port = hub(start)
    apples = start("shop.py", port, "apples", 3)
    first.line("apples = 3")
    assert first.end() == 0
    apples.line("the line is down: .*")
    pears = start("shop.py", port, "pears", 5)
    pears.line("no line: .*")
    second, _ = hub(start, port)
    second.line("pears = 5")
    apples.line("pears = 5")
    pears.line("apples = 3")
    assert pears.end(signal.SIGKILL) == -signal.SIGKILL
    assert [apples.end(signal.SIGINT), second.end()] == [0, 0]
    for name, renewed in (("hub", False), ("shop-apples", False), ("shop-pears", True)):
        with StateDirectory(tmp_path / f"{name}-state") as state:
            assert bool(state.renewed) == renewed
            if not renewed:
                assert state.open(Map, "stock") == {"apples": "3", "pears": "5"}


def test_a_stranger_does_not_end_the_hub(start: Start) -> None:
    program, port = hub(start)
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        program.line("refused: .*HTTP.*")
    start("shop.py", port, "apples", 3)
    program.line("apples = 3")


def test_a_program_that_blocks_and_one_with_asyncio_reach_the_hub(start: Start) -> None:
    program, port = hub(start)
    blocking = start("blocking.py", port)
    guest = start("with_asyncio.py", port)
    assert blocking.line(".*") == "7"
    program.line("figs = 7|dates = 2")
    program.line("figs = 7|dates = 2")
    assert guest.line(".*") == "figs 7"
    program.line("kiwis = 4")
    assert [blocking.process.wait(60), guest.process.wait(60)] == [0, 0]


USER = """
from collections.abc import Mapping
import trio
from scuttled import (GONE, Clock, Counter, Events, Log, Map, Replicated, Scuttlebutt,
    StateDirectory, Update, UpdateEvent, load, new_author, replicate, save, operation)

stock = Map("stock", new_author())
stock["k"] = 1
count: int = len(stock)
names: list[str] = list(stock)
plain: dict[str, object] = dict(stock)
for key, value in stock.items():
    print(key.upper(), value)

def told(event: UpdateEvent) -> None:
    print(event.key, event.value is GONE, event.source == stock.id)

stock.on("update", told)

def show(mapping: Mapping[str, object]) -> int:
    return len(mapping)

show(stock)

async def main(stream: trio.SocketStream) -> bool:
    result: Replicated = await replicate([stock, Log("log", stock.author)], stream, tail=False)
    return result.synced

class Longest(Scuttlebutt):
    data_type = "longest"
    def history(self, clock: Clock) -> list[Update]:
        return []
    def apply_update(self, update: Update) -> bool:
        return True
    @operation
    def say(self, word: str) -> bool:
        return bool(self.local_update(word))

with StateDirectory("state") as state:
    hits: Counter = state.open(Counter, "hits")
    hits.add(1)
save(stock, "file")
news: int = load(stock, "file")
Events().listen(lambda name, payload: None, "x")
"""


def test_a_users_program_passes_strict_type_checks(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    for name in ("hub.py", "shop.py", "threads.py", "blocking.py", "with_asyncio.py"):
        (tmp_path / name).write_text(SNIPPETS[name][0])
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == f"Success: no issues found in {len(files)} source files\n"
