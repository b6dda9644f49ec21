"""Programs on a machine that write to their daemon, and that watch it, by the control protocol."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from scuttled.client import protocol
from scuttled.node.node import DEFAULT_MODEL
from scuttled.replica.change import TEXT, parse
from scuttled.replica.update import Source, parse_source
from scuttled.simulation.faults import Faults
from scuttled.simulation.history import Violation
from scuttled.simulation.machine import Machine
from scuttled.simulation.network import SimulatedStream

MODELS = (DEFAULT_MODEL, DEFAULT_MODEL, "other")
OPERATIONS: dict[str, list[tuple[str, list[Any]]]] = {
    "set": [("add", ["a"]), ("add", ["b"]), ("remove", ["a"]), ("remove", ["b"])],
    "counter": [("add", [1]), ("add", [-2])],
    "log": [("append", ["entry"])],
    "events": [("emit", ["event", 1])],
    "value": [("set", ["one"]), ("set", [2])],
    "doc": [("put", ["r", {"f": 1}]), ("put", ["s", {"f": 2, "g": "x"}]), ("remove", ["r"])],
    "sequence": [("push", [1]), ("unshift", [2]), ("insert", [0, ["x", "y"]]), ("pop", [])],
}
CLASH = "clash"
READS = "reads are monotone, and of what was written"

Rank = tuple[int, Source]


class Hungup(Exception):
    """The daemon is gone; what was asked may have been done or not."""


class Caller:
    """A connection to a daemon's control socket."""

    def __init__(self, stream: SimulatedStream) -> None:
        self._stream = stream
        self._frames = protocol.ControlFrames()
        self._got: list[protocol.Message] = []
        self._count = 0

    async def ask(self, op: str, **fields: Any) -> protocol.Message:
        """The answer to one request. Raises Hungup."""
        number = await self.say(op, **fields)
        while True:
            message = await self.hear()
            if message.get("id") == number:
                return message

    async def say(self, op: str, **fields: Any) -> int:
        self._count += 1
        try:
            await self._stream.send_all(protocol.encode({"id": self._count, "op": op, **fields}))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Hungup from None
        return self._count

    async def hear(self) -> protocol.Message:
        while not self._got:
            try:
                data = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise Hungup from None
            if not data:
                raise Hungup
            self._got = list(self._frames.feed(data))
        return self._got.pop(0)


@asynccontextmanager
async def calling(machine: Machine) -> AsyncIterator[Caller]:
    """A connection that was greeted. Raises Hungup, in the body too."""
    try:
        stream = await machine.world.local.connect(f"{machine.name}.program", machine.control)
    except OSError:
        raise Hungup from None
    async with stream:
        caller = Caller(stream)
        await caller.ask("hello", protocol=list(protocol.VERSIONS))
        yield caller


class Writer:
    """A program that writes now and then, and is told when it is on disk."""

    def __init__(self, machine: Machine, faults: Faults, *, rate: float, keys: int) -> None:
        self.machine = machine
        self.faults = faults
        self.rate = rate
        self.keys = keys
        self.rng = random.Random(machine.world.rng.getrandbits(64))  # noqa: S311  (a simulation)
        self.resting = trio.Event()  # set: writes no more
        self._number = 0

    async def keep_writing(self) -> None:
        """Through all that befalls its daemon, until it rests."""
        while not self.resting.is_set():
            await self.machine.up.wait()
            try:
                async with calling(self.machine) as caller:
                    while not self.resting.is_set():
                        for _ in range(self._burst()):
                            await self._write(caller)
                        await trio.sleep(self.rng.expovariate(self.rate))
            except Hungup:
                await trio.sleep(self.rng.uniform(0, 0.1))

    def _burst(self) -> int:
        return self.rng.choice((1, 1, 1, 1, 30)) if self.rng.random() < 0.1 else 1

    async def _write(self, caller: Caller) -> None:
        chance = self.rng.random()
        world = self.machine.world
        if self.faults.deletes and chance < 0.2:
            asked = await self._delete(caller)
        elif self.faults.models and chance < 0.45:
            asked = await self._call(caller)
        elif self.faults.clash and chance < 0.47:
            data_type = self.rng.choice(("set", "counter"))
            world.counts["clash"] += 1
            asked = await caller.ask("model_create", model=CLASH, type=data_type)
        else:
            asked = await self._set(caller)
        if error := asked.get("error"):
            world.check("answers", lambda: self._check_error(error))

    def _check_error(self, error: dict[str, Any]) -> None:
        """A refusal (1) is an answer; anything else is not to be."""
        if error["code"] != 1:
            raise Violation(f"{self.machine} was answered {error}")

    async def _set(self, caller: Caller) -> protocol.Message:
        self._number += 1
        model = self.rng.choice(MODELS)
        key = f"k{self.rng.randrange(self.keys)}"
        value = b"%s %d" % (self.machine.name.encode(), self._number)
        if self.rng.random() < 0.02:
            value += bytes(self.rng.randrange(30_000))
        ttl = {}
        if self.faults.expiries and self.rng.random() < 0.15:
            self.machine.world.counts["expiries"] += 1
            ttl = {"ttl_ms": self.rng.randint(1, 5000)}
        answer = await caller.ask("set", model=model, key=key, kind="text", value=value, **ttl)
        if "ok" in answer:
            check = self.machine.world.check
            check("acknowledged is on disk", lambda: self._check_set(model, answer["ok"]["rev"]))
        return answer

    def _check_set(self, model: str, rev: str) -> None:
        """Check that a write told as ok is on disk, and that no peer saw it before (I5)."""
        time, source = rank_of(rev)
        if self.machine.world.history.find(model, source, time) is None:
            raise Violation(f"{rev} of {model} was acknowledged, and never written")
        if self.machine.daemon is None:
            return
        held = self.machine.node.models.get(model)
        if held is not None:
            written = self.machine.world.history.written(model, source, time)
            if written is not None and written.end > held.log.durable:
                raise Violation(f"{written} of {model} was acknowledged before it was on disk")

    async def _delete(self, caller: Caller) -> protocol.Message:
        self.machine.world.counts["deletes"] += 1
        if self.rng.random() < 0.05:
            return await caller.ask("model_drop", model="other")
        keys = [f"k{self.rng.randrange(self.keys)}" for _ in range(self.rng.randint(1, 3))]
        return await caller.ask("del", model=self.rng.choice(MODELS), keys=keys)

    async def _call(self, caller: Caller) -> protocol.Message:
        """One operation on a model of another type."""
        self.machine.world.counts["models"] += 1
        data_type = self.rng.choice(sorted(OPERATIONS))
        model = f"a-{data_type}"
        created = await caller.ask("model_create", model=model, type=data_type)
        if "error" in created:
            return created
        operation, args = self.rng.choice(OPERATIONS[data_type])
        return await caller.ask("call", model=model, operation=operation, args=args)


class Watcher:
    """A program that watches: it sees each key's ranks rise, and only what was written."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    async def keep_watching(self) -> None:
        while True:
            await self.machine.up.wait()
            try:
                async with calling(self.machine) as caller:
                    await self._watch(caller)
            except Hungup:
                await trio.sleep(0.05)

    async def _watch(self, caller: Caller) -> None:
        seen: dict[tuple[str, str], Rank] = {}
        await caller.say("watch", snapshot=True)
        while True:
            for row in (await caller.hear()).get("rows", ()):
                if row[0] == "reset":
                    seen.clear()
                elif row[0] in ("set", "del"):
                    self.machine.world.check(READS, partial(self._look, row, seen))

    def _look(self, row: list[Any], seen: dict[tuple[str, str], Rank]) -> None:
        op, model, key, _, value, rev = row[:6]
        rank = rank_of(rev)
        before = seen.get((model, key))
        if model in MODELS:  # of other types, several places may go by one label
            if before is not None and rank <= before:
                raise Violation(f"{self.machine} showed {key} of {model} at {rev} after {before}")
            seen[model, key] = rank
        written = self.machine.world.history.find(model, rank[1], rank[0])
        if written is None:
            raise Violation(f"{self.machine} showed {key} of {model} at {rev}: from nowhere")
        slot = parse(written.record, written.source)
        if op == "set" and model in MODELS and (slot.kind != TEXT or slot.payload != value):
            raise Violation(f"{self.machine} showed {value!r:.80} at {rev}, not {slot!r:.80}")


def rank_of(rev: str) -> Rank:
    time, _, source = rev.partition(".")
    found = parse_source(source)
    assert found is not None, rev
    return int(time), found
