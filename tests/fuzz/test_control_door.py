"""The control socket: a real room of a real node, and a caller whose requests are not quite right.

The room answers each with what the protocol knows, or hangs up; no answer speaks of a bug, and
another caller is served as ever.
"""

import random
from collections.abc import Iterable
from typing import Any

import msgpack
import pytest
import trio
from support.control_caller import HELLO, Caller
from support.doors import Door
from support.link_door import lower_maxima, split
from support.mutate import Mutator
from support.scenes import a_door, a_node
from support.soundness import check_node
from trio.testing import memory_stream_pair

from scuttled.client import protocol
from scuttled.control.operations import OPERATIONS, Requests
from scuttled.control.server import STREAMS_MAX, Control
from scuttled.errors import NO, SOFTWARE
from scuttled.models.operations import operations
from scuttled.models.registry import MODELS
from scuttled.runtime.clocks import read_clocks

CODES = {NO, 2, 65, 66, 69, 73, 74, 75, 76, 77, 78}
KINDS = ("ok", "error", "rows", "end")


class ControlDoor(Door):
    name = "control"
    rooms = (
        "client/protocol.py",
        "control/server.py",
        "control/operations.py",
        "control/data_operations.py",
        "control/cluster_operations.py",
        "control/results.py",
        "control/bulk_load.py",
        "control/watch.py",
        "control/event_stream.py",
        "control/write_concern.py",
        *(f"models/{data_type}.py" for data_type in MODELS),
        "models/operations.py",
        "models/payload.py",
        "models/positions.py",
        "models/grouped.py",
        "models/entries.py",
    )

    def mutated(self, m: Mutator, data: bytes, corpus: list[bytes]) -> bytes:
        requests = [frame for _ in range(m.times()) for frame in split(m.rng.choice(corpus))]
        m.known = (
            *m.known,
            "default",
            "k",
            "tg",
            "evs",
            "set",
            "map",
            "all",
            "add",
            "text",
            "json",
        )
        requests = [*split(data), *requests]
        for _ in range(m.times()):
            if m.rng.random() < 0.25:
                requests = m.sequence(requests)
            elif m.rng.random() < 0.3:
                requests.append(self._calls(m))
            elif requests:
                at = m.rng.randrange(len(requests))
                op = m.rng.choice(list(OPERATIONS))
                requests[at] = self._changed(m, requests[at], op)
        return b"".join(requests)

    def _changed(self, m: Mutator, frame: bytes, op: str) -> bytes:
        if m.rng.random() < 0.1:
            return m.bytes(frame)
        try:
            tree = msgpack.unpackb(frame[4:])
            if m.rng.random() < 0.2 and isinstance(tree, dict):
                tree = {**tree, "op": op}
            body = m.dump_msgpack(m.tree(tree))
        except (ValueError, TypeError, RecursionError):
            body = m.bytes(frame[4:])
        return len(body).to_bytes(4, "big") + body

    def _calls(self, m: Mutator) -> bytes:
        """Some operations of one type, with arguments of any kind, in a model made for it."""
        kind = m.rng.choice(list(MODELS))
        frames: list[dict[str, Any]] = [
            {"id": 90, "op": "model_create", "model": f"of-{kind}", "type": kind}
        ]
        for number in range(m.rng.randrange(1, 8)):
            op = m.rng.choice(operations(MODELS[kind]))
            count = m.rng.randint(op.least, len(op.args)) if m.rng.random() < 0.9 else 4
            args = [self._argument(m) for _ in range(count)]
            fields = {"op": "call", "model": f"of-{kind}", "operation": op.name, "args": args}
            frames.append({"id": number, **fields})
        frames.append({"id": 91, "op": "get", "model": f"of-{kind}"})
        bodies = map(m.dump_msgpack, frames)
        return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)

    def _argument(self, m: Mutator) -> Any:
        usual = ("a", "b", {"name": "x", "size": 1}, [1, "a"], 0, 1, -1, 2, None, "x\ny\nx\n", True)
        argument = m.rng.choice(usual)
        return m.tree(argument) if m.rng.random() < 0.3 else argument

    def take(self, data: bytes, rng: random.Random) -> None:
        node = a_node(1, wall_ms=read_clocks().wall_ms)
        control = Control(node, Requests(node, a_door()), read_clocks)
        trio.run(self._try, control, list(Mutator(rng).chunks(data)))
        check_node(node, read_clocks())

    async def _try(self, control: Control, pieces: list[bytes]) -> None:
        greeted = [protocol.encode(HELLO), *pieces]
        for message in await _exchange(control, greeted):
            _check(message)
        asked = [
            HELLO,
            {"id": 1, "op": "set", "key": "well", "kind": "text", "value": b"behaved"},
            {"id": 2, "op": "get", "key": "well"},
        ]
        answers = await _exchange(control, map(protocol.encode, asked))
        assert ["ok" in answer for answer in answers] == [True] * 3, answers
        assert answers[2]["ok"]["value"] == b"behaved"


async def _exchange(control: Control, pieces: Iterable[bytes]) -> list[protocol.Message]:
    """Say that, and hang up; what was answered."""
    here, there = memory_stream_pair()
    caller = Caller(here)
    heard: list[protocol.Message] = []

    async def say() -> None:
        try:
            for piece in pieces:
                await here.send_all(piece)
            await here.send_eof()
        except trio.BrokenResourceError:
            pass  # the room has hung up

    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.serve, there)
        nursery.start_soon(say)
        while (message := await caller.heard()) is not None:
            heard.append(message)
            for connection in control._open:
                assert len(connection._streams) <= STREAMS_MAX
                assert len(connection._waiting) <= STREAMS_MAX
    return heard


def _check(message: protocol.Message) -> None:
    assert len(message) == 2, message
    assert sum(kind in message for kind in KINDS) == 1, message
    error = message.get("error")
    if error is not None:
        assert error["code"] != SOFTWARE, f"a bug was met: {error['message']}"
        assert error["code"] in CODES
        assert isinstance(error["message"], str)
        assert len(error["message"]) < 5000


def test_whatever_a_caller_says_others_are_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lower_maxima(monkeypatch)
    ControlDoor().fuzz(300)
