"""Steps of the demo, and what was measured at each.

Nothing here is arranged: every number is counted or timed, and what is said of the nodes is what
they answered. A step that finds them different raises Refused, with what differs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, Protocol

from scuttled.demo.inventory import Inventory
from scuttled.demo.nodes import START_S, DemoNode, Nodes, State, differing, digest
from scuttled.errors import Refused

NEWS = 100  # keys that a and c write, each on its own, while b is dead
GONE_MAX = 10  # keys that a deletes meanwhile

_GREETING = "greeting"  # the one key that both write
_NAMED_MAX = 3  # keys that an error names


class Line(NamedTuple):
    """One node in a picture. `keys` is None where there is nothing to count."""

    name: str
    note: str
    keys: int | None = None
    same: int = 0
    """How many of the keys are the same on all nodes that live."""
    fields: Mapping[str, Any] = MappingProxyType({})


class Step(NamedTuple):
    """One step: what was done, what came of it, the nodes after it; `fields` are for programs."""

    name: str
    what: str
    results: Sequence[str]
    lines: Sequence[Line]
    fields: Mapping[str, Any]


class Teller(Protocol):
    """Shows the story while it happens."""

    def begin(self, name: str, what: str) -> None:
        """A step begins."""

    def look(self, picture: Callable[[], Sequence[Line]]) -> None:
        """Something moved. Drawing the picture costs time, so a teller may look away."""

    def end(self, step: Step) -> None:
        """The step that was begun is over."""


class Story:
    """The steps, in their order. Each leaves the nodes as the next one expects them."""

    def __init__(self, nodes: Nodes, keys: Inventory, teller: Teller) -> None:
        self.nodes = nodes
        self.keys = keys
        self.teller = teller
        self.a, self.b, self.c = nodes.all
        self._began = 0.0
        self._heading = ("", "")

    def run(self) -> None:
        """All of it. Raises Refused if nodes differ that should not."""
        for step in (self.start, self.load, self.split, self.heal, self.crash):
            step()

    # -- the steps

    def start(self) -> None:
        self._begin(
            "start", "three nodes in a chain a - b - c, a process each; a and c know only b"
        )
        self.nodes.start(self.nodes.all)
        answer_s = self._passed()
        self.b.ask("wait", peers=2, wait_s=START_S)
        linked_s = self._passed()
        lines = [self._process(node) for node in self.nodes.all]
        result = f"they answer after {spell(answer_s)}, and are linked after {spell(linked_s)}"
        self._end([result], lines, answer_ms=_ms(answer_s), linked_ms=_ms(linked_s))

    def load(self) -> None:
        entries = self.keys.entries
        count = len(entries)
        self._begin("load", f"{_keys(count)} written at a: {self.keys.words}")
        self.nodes.load(self.a, entries, self._look)
        written_s = self._passed()
        self._converge(lambda: len(self.a.held) == count and self.nodes.agree())
        state = self._confirm()
        lines = [self._arrival(node) for node in (self.b, self.c)]
        lines.insert(0, self._line(self.a, f"{spell(written_s)} to disk", ms=_ms(written_s)))
        same_s = self._last_change()
        result = f"converged after {spell(same_s)}: {_same(state)}"
        self._end([result], lines, same_ms=_ms(same_s), keys=count, digest=digest(state))

    def split(self) -> None:
        self._begin("split", "b is killed; a and c can't reach each other, and both go on writing")
        dead = self._kill(self.b)
        gone = list(self.keys.entries)[: min(GONE_MAX, len(self.keys.entries) // 2)]
        if gone:
            self.a.ask("del", model=self.nodes.model, keys=gone)
        for node in (self.a, self.c):
            self.nodes.load(node, news(node.name), self._look)
        self._converge(lambda: all(_greeting(n.held) == n.name for n in (self.a, self.c)))
        here, there = (node.listing(self.nodes.model) for node in (self.a, self.c))
        apart = len(differing(here, there))
        lines = [self._state(self.a, here), dead, self._state(self.c, there)]
        deleted = f" and deleted {len(gone)}" if gone else ""
        results = [
            f"a wrote {NEWS + 1} keys{deleted}, c wrote {NEWS + 1}; both wrote one of them",
            f"a and c differ in {_keys(apart)}",
        ]
        self._end(results, lines, differing=apart, deleted=len(gone), written=NEWS + 1)

    def heal(self) -> None:
        self._begin("heal", "b is started again, with the same command")
        self.nodes.start([self.b])
        answer_s = self._passed()
        self._converge(self.nodes.agree)
        state = self._confirm()
        lines = [self._arrival(node) for node in self.nodes.all]
        same_s = self._last_change()
        results = [
            f"b answers after {spell(answer_s)}",
            f"converged after {spell(same_s)}: {_same(state)}",
            f"the key that both wrote has {_greeting(state)}'s value everywhere: the later one",
        ]
        times = {"answer_ms": _ms(answer_s), "same_ms": _ms(same_s)}
        self._end(results, lines, **times, keys=len(state), digest=digest(state))

    def crash(self) -> None:
        self._begin("crash", "all three are killed, and b is started alone, with nobody to ask")
        self.b.ask(
            "wait", synced=True, wait_s=START_S
        )  # what a peer wrote is promised once it is on disk here
        before = self.b.listing(self.nodes.model)
        dead = [self._kill(node) for node in self.nodes.all]
        self._began = time.monotonic()
        self.nodes.start([self.b])
        answer_s = self._passed()
        after = self.b.listing(self.nodes.model)
        if after != before:
            self._refuse({"b before": before, "b after": after})
        self._converge(lambda: self.b.held == after)
        lines = [dead[0], self._state(self.b, after), dead[2]]
        result = f"b answers after {spell(answer_s)}, and has from its disk what it had before"
        self._end([result], lines, answer_ms=_ms(answer_s), keys=len(after), digest=digest(after))

    def keep(self) -> None:
        """Brings the nodes back that `crash` left dead."""
        self._begin("keep", "a and c are started again")
        self.nodes.start([self.a, self.c])
        self._converge(self.nodes.agree)
        state = self._confirm()
        lines = [self._process(node) for node in self.nodes.all]
        self._end([f"converged: {_same(state)}"], lines, keys=len(state), digest=digest(state))

    # -- what they share

    def _begin(self, name: str, what: str) -> None:
        self._heading = (name, what)
        self.teller.begin(name, what)
        self._began = time.monotonic()

    def _end(self, results: Sequence[str], lines: Sequence[Line], **fields: object) -> None:
        self.teller.end(Step(*self._heading, results, lines, fields))

    def _passed(self) -> float:
        return time.monotonic() - self._began

    def _last_change(self) -> float:
        return max(node.changed_at for node in self.nodes.living) - self._began

    def _look(self) -> None:
        self.teller.look(lambda: [self._arrival(node) for node in self.nodes.all])

    def _converge(self, done: Callable[[], bool]) -> None:
        if not self.nodes.follow(done, self._look):
            self._confirm()
            raise Refused("the nodes agree, but did not do what they were told in time")

    def _confirm(self) -> State:
        """Asks each of them for all it has, and compares it to the last revision."""
        states = {node.name: node.listing(self.nodes.model) for node in self.nodes.living}
        first, *others = states.values()
        if any(other != first for other in others):
            self._refuse(states)
        return first

    def _refuse(self, states: dict[str, State]) -> NoReturn:
        raise Refused(f"the nodes did not converge: they differ: {differences(states)}")

    # -- lines of pictures

    def _kill(self, node: DemoNode) -> Line:
        pid = node.kill()
        fields = {"pid": pid, "signal": "SIGKILL"}
        return Line(node.name, f"killed: SIGKILL to pid {pid}", fields=fields)

    def _line(self, node: DemoNode, note: str, **fields: object) -> Line:
        return Line(node.name, note, len(node.held), self.nodes.common(), fields)

    def _arrival(self, node: DemoNode) -> Line:
        """With the time of the last change it saw in this step."""
        if node.client is None:
            return Line(node.name, "down")
        changed_s = max(node.changed_at - self._began, 0.0)
        return self._line(node, spell(changed_s) if changed_s else "", ms=_ms(changed_s))

    def _state(self, node: DemoNode, state: State) -> Line:
        return self._line(node, digest(state), digest=digest(state))

    def _process(self, node: DemoNode) -> Line:
        status = node.ask("status")
        fields = {name: status[name] for name in ("pid", "node", "listen", "data")}
        fields |= {"socket": node.socket, "command": node.command}
        return Line(node.name, f"pid {status['pid']}  {status['listen']}", fields=fields)


def news(name: str) -> dict[str, bytes]:
    """Keys that node `name` writes while it is cut off; last the one that the other writes, too."""
    values = {f"{name}/{number:03}": b"written while b was dead" for number in range(1, NEWS + 1)}
    return {**values, _GREETING: f"hello from {name}".encode()}


def _greeting(state: State) -> str:
    """Whose greeting it holds: a node's name, or nothing."""
    value = state.get(_GREETING, ("", b"", ""))[1]
    return value.decode().removeprefix("hello from ")


def _same(state: State) -> str:
    return f"all three have the same {_keys(len(state))} ({digest(state)})"


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count:,} keys"


def differences(states: dict[str, State]) -> str:
    """Which keys differ, in words: `a and b in 2 keys (x, y)`."""
    names = list(states)
    found = []
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            keys = differing(states[one], states[other])
            if keys:
                shown = ", ".join(keys[:_NAMED_MAX])
                if len(keys) > _NAMED_MAX:
                    shown += ", …"
                found.append(f"{one} and {other} in {_keys(len(keys))} ({shown})")
    return "; ".join(found)


def spell(seconds: float) -> str:
    """`3.4 ms`, `27 ms`, `1.06 s`: as exact as it is worth telling."""
    ms = seconds * 1000
    if ms < 9.95:
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 999.5 else f"{seconds:.2f} s"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
