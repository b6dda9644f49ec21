"""`scuttled demo`: three nodes on this machine, a node killed and brought back, convergence shown.

The story is told in one of three ways: as pictures that move, on a terminal; as a line for each
step; or as JSON.
"""

import os
import select
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence

import click

from scuttled.cli import output
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.demo.inventory import inventory
from scuttled.demo.nodes import Nodes
from scuttled.demo.signal_shield import SignalShield
from scuttled.demo.story import Line, Step, Story, Teller, spell
from scuttled.errors import Stopped, StorageError

_FRAME_S = 0.04  # between pictures; more often than anybody can see
_BAR_MAX = 40
_WIDTH_MIN = 39
_WIDTH_MAX = 88
_NAME = 8  # columns of a step's name


_GONE = "the nodes are ended, and their directory is removed"
_AFTER_KEYS = "\n" if output.is_watched() else ""  # behind a `^C`
_NEXT = """
Your turn, in two terminals:

  {program} serve

  {program} set greeting hello
  {program} watch
"""


@verb(
    "demo",
    examples="""
        scuttled demo
        scuttled demo --keys 100 -j
        scuttled demo --keep
    """,
)
@click.option("--keys", type=click.IntRange(1), metavar="N", help="Write at most N keys.")
@click.option("--keep", is_flag=True, help="Leave the nodes running, to play with, until Ctrl-C.")
def command(settings: Settings, keys: int | None, keep: bool) -> None:
    """Show what scuttled does, in a few seconds.

    Three nodes on this machine, with real links and real keys; one is killed, two drift apart, it
    comes back, and all are the same again. It needs no daemon and touches none. All it starts and
    writes is gone when it ends. Exit code 0 if the nodes converged, 1 if not.
    """
    began = time.monotonic()
    teller = _teller(settings)
    try:
        with SignalShield() as signals, Nodes(settings.model, signals) as nodes, signals.heeded():
            nodes.idle_s = settings.timeout_s or nodes.idle_s
            story = Story(nodes, inventory(keys), teller)
            story.run()
            if keep:
                story.keep()
                _invite(settings, nodes)
                _wait_for_the_end()
    except Stopped as stop:
        _tell(settings, f"{_AFTER_KEYS}scuttled: stopped: {_GONE}")
        raise click.exceptions.Exit(stop.code) from None
    took_s = time.monotonic() - began
    what = f"{_GONE}: {spell(took_s)} in all"
    teller.begin("done", what)
    teller.end(Step("done", what, [], [], {"ms": round(took_s * 1000)}))
    if not settings.json:
        _tell(settings, _NEXT.format(program=_program()).rstrip())


def _tell(settings: Settings, text: str) -> None:
    """Lines of our own, for people."""
    if not settings.quiet:
        output.show(text)


def _program() -> str:
    """The words to type for `scuttled`, here and now."""
    return "scuttled" if shutil.which("scuttled") else f"{shlex.quote(sys.executable)} -m scuttled"


def _invite(settings: Settings, nodes: Nodes) -> None:
    """Says where the nodes that stay can be talked to."""
    if settings.json:
        _show(output.json_line({"step": "kept", "sockets": {n.name: n.socket for n in nodes.all}}))
        return
    a, b, c = (f"  {_program()} --socket {shlex.quote(node.socket)}" for node in nodes.all)
    words = "The nodes go on until Ctrl-C. In other terminals:"
    _show(f"\n{words}\n\n{c} watch\n{a} set greeting hello\n{b} status\n")


def _wait_for_the_end() -> None:
    """For a signal, or for the reader of stdout to go away."""
    reader = select.poll()
    reader.register(sys.stdout.fileno(), 0)  # errors only
    reader.poll()
    raise BrokenPipeError


def _teller(settings: Settings) -> Teller:
    if settings.json:
        return Objects()
    if settings.form == "table" and output.is_tty() and settings.environ.get("TERM") != "dumb":
        utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        return Screen(output.width() or 80, colored=settings.colored, utf8=utf8)
    return Sentences()


def _show(text: str) -> None:
    """Part of the answer, at once, and past the buffer, which would fail once more at the end."""
    view = memoryview(text.encode("utf-8", "surrogateescape"))
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        while view:
            view = view[os.write(sys.stdout.fileno(), view) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"answer not written: {error.strerror or error}") from error


class Objects:
    """One JSON object for each step."""

    def begin(self, name: str, what: str) -> None:
        pass

    def look(self, picture: Callable[[], Sequence[Line]]) -> None:
        pass

    def end(self, step: Step) -> None:
        nodes = [
            {"name": line.name, **({} if line.keys is None else {"keys": line.keys}), **line.fields}
            for line in step.lines
        ]
        words = {"step": step.name, "what": step.what, "results": step.results}
        _show(output.json_line({**words, **step.fields, "nodes": nodes}))


class Sentences:
    """One line for each step."""

    def begin(self, name: str, what: str) -> None:
        pass

    def look(self, picture: Callable[[], Sequence[Line]]) -> None:
        pass

    def end(self, step: Step) -> None:
        nodes = ", ".join(
            " ".join(filter(None, [line.name, _count(line), f"({' '.join(line.note.split())})"]))
            for line in step.lines
        )
        _show(f"{step.name}: {'; '.join(filter(None, [step.what, nodes, *step.results]))}\n")


class Screen:
    """Pictures that move: a bar for each node, drawn over until the step is over.

    The bright part of a bar are the keys that are the same on all nodes that live.
    """

    def __init__(self, columns: int, *, colored: bool, utf8: bool) -> None:
        self._width = max(min(columns - 1, _WIDTH_MAX), _WIDTH_MIN)
        self._colored = colored
        self._full, self._part = "━╌" if utf8 else "=-"
        self._drawn = 0  # lines of the picture that stands on the screen
        self._drawn_at = 0.0

    def begin(self, name: str, what: str) -> None:
        head, *rest = self._wrapped(what)
        _show(f"\n{self._paint(name.ljust(_NAME), '1')}{head}\n")
        _show("".join(f"{' ' * _NAME}{line}\n" for line in rest))
        self._drawn = 0

    def look(self, picture: Callable[[], Sequence[Line]]) -> None:
        now = time.monotonic()
        if now - self._drawn_at >= _FRAME_S:
            self._draw(picture())
            self._drawn_at = now

    def end(self, step: Step) -> None:
        self._draw(step.lines)
        for result in step.results:
            for line in self._wrapped(result):
                _show(f"{' ' * _NAME}{self._paint(line, '32')}\n")

    def _draw(self, lines: Sequence[Line]) -> None:
        back = f"\x1b[{self._drawn}A" if self._drawn else ""
        most = max([1, *(line.keys or 0 for line in lines)])
        rows = "".join(f"\r\x1b[K{' ' * _NAME}{self._row(line, most)}\n" for line in lines)
        _show(back + rows)
        self._drawn = len(lines)

    def _row(self, line: Line, most: int) -> str:
        if line.keys is None:
            return f"{line.name}  {self._paint(line.note[: self._width - _NAME - 3], '2')}"
        length = max(min(_BAR_MAX, self._width - _NAME - 32), 4)
        whole, same = (round(length * count / most) for count in (line.keys, line.same))
        bar = self._paint(self._full * same, "32") + self._paint(self._part * (whole - same), "33")
        return f"{line.name}  {bar}{' ' * (length - whole)}  {_count(line):>11}  {line.note}"

    def _wrapped(self, text: str) -> list[str]:
        return textwrap.wrap(text, self._width - _NAME, break_long_words=False)

    def _paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colored and text else text


def _count(line: Line) -> str:
    return "" if line.keys is None else output.counted(line.keys)
