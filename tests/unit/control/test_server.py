"""The control socket: who may make it, and what becomes of requests, answers and streams."""

import math
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from support.control_caller import HELLO, Caller
from support.scenes import a_door, save
from support.sockets import Member, on_sockets, socket_pair
from support.waiting import comes_true

from scuttled.client import protocol
from scuttled.control import server as control_room
from scuttled.control.backpressure import Backpressure
from scuttled.control.operations import Requests
from scuttled.control.server import ANSWERS_BYTES_MAX, CALLERS_MAX, STREAMS_MAX, Control
from scuttled.errors import DATAERR, CantCreate, ConfigError
from scuttled.runtime.clocks import read_clocks
from scuttled.runtime.streams import bytes_unread
from scuttled.runtime.unix_socket import open_control_socket


class Room:
    """A control room over a node without a disk."""

    def __init__(self, *, stored: bool = False) -> None:
        self.member = Member(1)
        for model in self.member.node.models.values() if stored else ():
            model.log.stored = True
        requests = Requests(self.member.node, a_door())
        self.control = Control(self.member.node, requests, read_clocks)

    @asynccontextmanager
    async def caller(self, *, greet: bool = True) -> AsyncIterator[Caller]:
        """A connection; at the end it hangs up, and the room has seen that."""
        here, there = await socket_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.control.serve, there)
            async with here:
                caller = Caller(here)
                if greet:
                    await caller.say(HELLO)
                    assert "ok" in (await caller.heard() or {})
                yield caller


@pytest.fixture
def room() -> Room:
    return Room()


def _set(i: int, key: str = "key", value: bytes = b"value") -> dict[str, Any]:
    return {"id": i, "op": "set", "key": key, "kind": "bytes", "value": value}


# --- requests ------------------------------------------------------------------------------------


@on_sockets
async def test_requests_are_answered_in_order_however_the_bytes_come(room: Room) -> None:
    async with room.caller() as caller:
        frames = b"".join(
            protocol.encode(_set(i)) + protocol.encode({"id": i + 1, "op": "get", "key": "key"})
            for i in range(1, 200, 2)
        )
        for start in range(0, len(frames), 333):
            await caller.stream.send_all(frames[start : start + 333])
        answers = [await caller.heard() for _ in range(200)]
    assert [answer and answer["id"] for answer in answers] == list(range(1, 201))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"op": "status"}, "request with the id None, not a number"),
        ({"id": "7", "op": "status"}, "request with the id '7', not a number"),
        ({"id": True, "op": "status"}, "request with the id True, not a number"),
        ({"id": 7, "op": "status"}, "the first request must be hello"),
        ({"id": 7, "op": "hello", "protocol": 1}, "hello with protocol 1, expected"),
    ],
)
@on_sockets
async def test_who_does_not_say_hello_is_told_to(
    room: Room, request_: dict[str, Any], words: str
) -> None:
    async with room.caller(greet=False) as caller:
        await caller.say(request_)
        answer = await caller.heard()
        assert answer is not None
        assert words in answer["error"]["message"]
        await caller.say(HELLO)
        assert "ok" in (await caller.heard() or {})


@on_sockets
async def test_a_bug_in_an_operation_is_told_and_logged_and_ends_nothing(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room.control.requests, "carry_out", None)  # calls it: TypeError
    async with room.caller(greet=False) as caller:
        await caller.say(HELLO)
        answer = await caller.heard()
        assert answer is not None
        assert answer["error"]["code"] == 70
        assert answer["error"]["message"].startswith("a bug in 'hello': TypeError: ")
        monkeypatch.undo()
        await caller.say(HELLO)
        assert "ok" in (await caller.heard() or {})
    assert "operation 'hello' failed" in caplog.text


@on_sockets
async def test_a_caller_who_has_said_all_still_gets_its_answers(room: Room) -> None:
    async with room.caller() as caller:
        await caller.say(*(_set(i) for i in range(1, 101)))
        await caller.stream.send_eof()
        assert [message["id"] for message in await caller.rest()] == list(range(1, 101))


@on_sockets
async def test_answers_that_are_not_read_stop_the_reading_of_requests(room: Room) -> None:
    room.member.put("large", bytes(400_000))
    async with room.caller() as caller:
        gets = [{"id": i, "op": "get", "key": "large"} for i in range(1, 101)]
        await caller.say(*gets)
        (serving,) = room.control._open
        await comes_true(serving._is_full)
        held = len(serving._answers)
        await trio.testing.wait_all_tasks_blocked()
        assert ANSWERS_BYTES_MAX < held < ANSWERS_BYTES_MAX + 500_000
        assert len(serving._answers) == held
        answers = [await caller.heard() for _ in gets]
        assert [answer and answer["id"] for answer in answers] == list(range(1, 101))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"op": "watch"}, "64 streams on one connection, no more"),
        ({"op": "wait", "key": "never"}, "64 waits on one connection, no more"),
    ],
)
@on_sockets
async def test_streams_and_waits_of_one_connection_are_counted(
    room: Room, request_: dict[str, Any], words: str
) -> None:
    async with room.caller() as caller:
        await caller.say(*({"id": i, **request_} for i in range(1, STREAMS_MAX + 2)))
        while "error" not in (message := await caller.heard() or {}):
            pass
        assert message["id"] == STREAMS_MAX + 1
        assert words in message["error"]["message"]


@on_sockets
async def test_writes_that_wait_for_the_disk_stop_the_reading_of_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a caller that never reads could fill the memory while the disk is slow."""
    monkeypatch.setattr("scuttled.control.server.UNSAVED_MAX", 50)
    room = Room(stored=True)
    async with room.caller() as caller:
        await caller.say(*(_set(i) for i in range(1, 201)))
        (serving,) = room.control._open
        await comes_true(serving._is_full)
        await trio.testing.wait_all_tasks_blocked()
        assert len(serving._unsaved) == 51
        answers: list[protocol.Message | None] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                answers.extend([await caller.heard() for _ in range(200)])

            await comes_true(lambda: save(room.member.node) or answers)
    assert [answer and answer["id"] for answer in answers] == list(range(1, 201))
    assert all(answer and "ok" in answer for answer in answers)


@on_sockets
async def test_an_answer_larger_than_a_client_takes_is_an_error_and_the_next_comes(
    room: Room,
) -> None:
    room.member.node.create("log", "log")
    async with room.caller() as caller:
        value = "x" * 500_000
        for i in range(1, 11):
            call = {"op": "call", "model": "log", "operation": "append", "args": [value]}
            await caller.say({"id": i, **call})
            assert "ok" in (await caller.heard() or {})
        await caller.say({"id": 11, "op": "call", "model": "log", "operation": "items"})
        answer = await caller.heard()
        assert answer is not None
        assert answer["error"]["code"] == DATAERR
        assert "the answer is 5,000," in answer["error"]["message"]
        await caller.say({"id": 12, "op": "call", "model": "log", "operation": "size"})
        assert await caller.heard() == {"id": 12, "ok": {"result": 10}}


@on_sockets
async def test_a_watch_of_very_many_models_is_told_in_frames_that_a_client_takes(
    room: Room,
) -> None:
    """Each row has a cursor, which is as long as there are models."""
    node = room.member.node
    for n in range(400):
        node.create(f"{'m' * 55}{n}", "map")
    for n in range(500):
        room.member.put(f"k{n}", b"v")
    async with room.caller() as caller:
        await caller.say({"id": 1, "op": "watch", "snapshot": True})
        rows: list[Any] = []
        while not rows or rows[-1][0] != "live":
            message = await caller.heard()
            assert message is not None
            rows += message["rows"]
    assert len(rows) == 501


@on_sockets
async def test_a_caller_that_goes_leaves_nothing_behind(room: Room) -> None:
    node = room.member.node
    async with room.caller() as caller:
        await caller.say({"id": 1, "op": "watch"}, {"id": 2, "op": "wait", "key": "never"})
        await caller.heard()
        assert node.watchers
        assert node.waiters
    assert not node.watchers
    assert not node.waiters
    assert not room.control._open


@on_sockets
async def test_a_stream_that_is_cancelled_ends_and_others_go_on(room: Room) -> None:
    async with room.caller() as caller:
        await caller.say({"id": 1, "op": "watch"}, {"id": 2, "op": "watch"})
        for _ in range(2):
            assert (await caller.heard() or {})["rows"][0][0] == "live"
        await caller.say({"id": 3, "op": "cancel", "stream": 1})
        assert await caller.heard() == {"id": 1, "end": {"cancelled": True}}
        assert await caller.heard() == {"id": 3, "ok": {}}
        room.member.put("key", b"1")
        assert (await caller.heard() or {})["id"] == 2


@on_sockets
async def test_one_caller_too_many_is_hung_up_on(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert CALLERS_MAX > 100
    monkeypatch.setattr("scuttled.control.server.CALLERS_MAX", 1)
    async with room.caller(), room.caller(greet=False) as caller:
        assert await caller.heard() is None
    assert "control connection closed: 1 are open" in caplog.text


# --- the end -------------------------------------------------------------------------------------


@on_sockets
async def test_at_the_end_idle_callers_watches_and_waits_are_let_go(room: Room) -> None:
    async with room.caller() as idle, room.caller() as busy:
        await busy.say({"id": 1, "op": "watch"}, {"id": 2, "op": "wait", "key": "never"})
        await busy.heard()
        await room.control.finish()
        assert await idle.rest() == []
        assert await busy.rest() == []


@on_sockets
async def test_at_the_end_what_was_asked_by_then_is_answered_and_nothing_else(room: Room) -> None:
    async with room.caller() as caller, trio.open_nursery() as nursery:
        await caller.say(*(_set(i) for i in range(1, 501)))
        nursery.start_soon(room.control.finish)
        await trio.lowlevel.checkpoint()
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert [message["id"] for message in await caller.rest()] == list(range(1, 501))


@on_sockets
async def test_at_the_end_a_write_is_answered_only_once_it_is_on_disk(room: Room) -> None:
    model = room.member.map
    model.log.stored = room.member.node.durability.stored = True
    async with room.caller() as caller, trio.open_nursery() as nursery:
        await caller.say(_set(1))
        nursery.start_soon(room.control.finish)
        with trio.move_on_after(0.05) as early:
            await caller.heard()
        assert early.cancelled_caught
        batch = room.member.node.durability.unsaved(clocks=True)
        assert batch is not None
        room.member.node.saved(batch)
        assert [message["id"] for message in await caller.rest()] == [1]


@on_sockets
async def test_at_the_end_a_listing_is_told_to_its_end(room: Room) -> None:
    for number in range(3000):
        room.member.put(f"key-{number}", bytes(1000))
    async with room.caller() as caller, trio.open_nursery() as nursery:
        await caller.say({"id": 1, "op": "list", "values": True})
        await comes_true(lambda: room.member.node.watchers)
        nursery.start_soon(room.control.finish)
        parts = await caller.rest()
        assert sum(len(part.get("rows", [])) for part in parts) == 3000
        assert parts[-1]["end"]["count"] == 3000


# --- making the socket ---------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run" / "control.sock")


@on_sockets
async def test_the_socket_is_there_for_as_long_as_it_is_served(path: str) -> None:
    async with open_control_socket(path, 0o640, "") as listener:
        status = os.stat(path)
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o640
        async with await trio.open_unix_socket(path), await listener.accept():
            pass
    assert not os.listdir(os.path.dirname(path))


@on_sockets
async def test_a_stale_socket_is_replaced(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    async with open_control_socket(path, 0o660, ""), await trio.open_unix_socket(path):
        pass


@on_sockets
async def test_a_live_socket_is_not_replaced(path: str) -> None:
    async with open_control_socket(path, 0o660, ""):
        with pytest.raises(CantCreate, match="another daemon answers") as caught:
            async with open_control_socket(path, 0o660, ""):
                pass
        assert "--socket PATH" in caught.value.hint
        async with await trio.open_unix_socket(path):
            pass


@on_sockets
async def test_what_is_no_socket_is_not_touched(path: str) -> None:
    os.makedirs(path)
    with pytest.raises(CantCreate, match="it is not a socket"):
        async with open_control_socket(path, 0o660, ""):
            pass
    assert stat.S_ISDIR(os.stat(path).st_mode)


@on_sockets
async def test_a_socket_that_another_daemon_made_since_is_left_to_it(path: str) -> None:
    async with open_control_socket(path, 0o660, ""):
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            inode = os.stat(path).st_ino
    assert os.stat(path).st_ino == inode


@on_sockets
async def test_an_unknown_group_and_a_place_that_can_not_be_are_named(path: str) -> None:
    with pytest.raises(ConfigError, match="there is no group 'no such group'"):
        async with open_control_socket(path, 0o660, "no such group"):
            pass
    with pytest.raises(CantCreate, match="can't make the control socket /proc/x/y"):
        async with open_control_socket("/proc/x/y", 0o660, ""):
            pass


# --- flow control --------------------------------------------------------------------------------


def _limit(room: Room, per_s: float) -> None:
    course = room.member.node.sharing.course("map")
    assert course is not None
    course.flow.allowed = per_s


@pytest.fixture
def paced_room() -> Room:
    """Where writers of maps are held back."""
    room = Room()
    room.control.pacing = Backpressure(room.member.node, ["map"])
    _limit(room, 1)
    return room


def _exhaust(i: int) -> dict[str, Any]:
    """It goes at once, and who comes after it has to wait for a quarter of an hour."""
    return {"id": i, "op": "del", "keys": ["none"] * 1000}


@on_sockets
async def test_who_is_held_back_gets_its_answers_late_and_in_order(paced_room: Room) -> None:
    async with paced_room.caller() as caller:
        gets = ({"id": 100 + i, "op": "get", "key": "key"} for i in range(3))
        await caller.say(_exhaust(1), *(_set(i, value=b"%d" % i) for i in range(2, 41)), *gets)
        assert (await caller.heard() or {})["id"] == 1
        await comes_true(lambda: paced_room.control.pacing.facts(read_clocks())[0]["held"])
        assert paced_room.member.value("key") is None
        _limit(paced_room, math.inf)
        answers = [await caller.heard() for _ in range(42)]
    assert [answer and answer["id"] for answer in answers] == [*range(2, 41), 100, 101, 102]
    assert all(answer and "ok" in answer for answer in answers)
    assert paced_room.member.value("key") == b"40"


@on_sockets
async def test_what_a_held_back_caller_sends_after_it_stays_in_the_socket(paced_room: Room) -> None:
    async with paced_room.caller() as caller, trio.open_nursery() as nursery:
        sent = trio.Event()

        async def send() -> None:
            await caller.say(_exhaust(1), *(_set(i, value=bytes(100_000)) for i in range(2, 99)))
            sent.set()

        nursery.start_soon(send)
        await comes_true(lambda: paced_room.control.pacing.facts(read_clocks())[0]["held"])
        (serving,) = paced_room.control._open
        await comes_true(lambda: bytes_unread(serving.stream) > 0)
        await trio.testing.wait_all_tasks_blocked()
        assert not sent.is_set()  # the kernel's buffer is full, and ours hold one helping
        nursery.cancel_scope.cancel()


@on_sockets
async def test_a_write_whose_time_is_over_is_not_made_and_said_so(paced_room: Room) -> None:
    async with paced_room.caller() as caller:
        await caller.say(_exhaust(1), {**_set(2, "late"), "hold_ms": 50}, {"id": 3, "op": "status"})
        assert (await caller.heard() or {})["id"] == 1
        answer = await caller.heard()
        assert answer is not None
        assert answer["id"] == 2
        assert answer["error"]["code"] == 75
        assert answer["error"]["message"].startswith("not written: held back for ")
        assert "ok" in (await caller.heard() or {})
    assert paced_room.member.value("late") is None


@on_sockets
async def test_a_write_whose_caller_has_gone_is_not_made(paced_room: Room) -> None:
    async with paced_room.caller() as caller:
        await caller.say(_exhaust(1), _set(2, "late"), _set(3, "later"))
        await caller.heard()
        await comes_true(lambda: paced_room.control.pacing.facts(read_clocks())[0]["held"])
    assert not paced_room.control._open  # it was noticed while held back
    assert paced_room.member.value("late") is None
    assert paced_room.control.pacing.facts(read_clocks())[0]["held"] == 0


@on_sockets
async def test_others_are_not_held_back_by_who_is(paced_room: Room) -> None:
    async with paced_room.caller() as held, paced_room.caller() as reader:
        paced_room.member.put("key", b"value")
        await held.say(_exhaust(1), _set(2))
        await held.heard()
        await comes_true(lambda: paced_room.control.pacing.facts(read_clocks())[0]["held"])
        await reader.say({"id": 1, "op": "get", "key": "key"})
        assert (await reader.heard() or {})["ok"]["value"] == b"value"


@on_sockets
async def test_at_the_end_who_is_held_back_is_let_through(paced_room: Room) -> None:
    async with paced_room.caller() as caller:
        await caller.say(_exhaust(1), *(_set(i, f"k{i}") for i in range(2, 6)))
        await caller.heard()
        await comes_true(lambda: paced_room.control.pacing.facts(read_clocks())[0]["held"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(paced_room.control.finish)
            assert [message["id"] for message in await caller.rest()] == [2, 3, 4, 5]
    assert paced_room.member.value("k5") == b"value"


@on_sockets
async def test_a_request_nested_too_deep_to_be_shown_is_refused_and_ends_nothing(
    room: Room,
) -> None:
    """msgpack takes 1,024 levels, and to show so many in an error is more than Python does."""
    deep = b"\x91" * 1000 + b"\xc0"
    async with room.caller() as caller:
        for key in (b"\xa2id", b"\xa2op", b"\xa4args"):
            body = b"\x83\xa2id\x07\xa2op\xa4call" + key + deep
            await caller.stream.send_all(len(body).to_bytes(4, "big") + body)
            answer = await caller.heard()
            assert answer is not None
            assert "nested more than 200 levels deep" in answer["error"]["message"]
        await caller.say(_set(8))
        assert "ok" in (await caller.heard() or {})


def test_a_clock_that_does_not_fit_beside_its_rows_comes_behind_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "FRAME_BYTES_MAX", 150)
    rows = [["set", "x" * 40], ["set", "y" * 40], ["set", "z" * 40]]
    clock = {"one": {"s" * 60: 1}, "two": {"t" * 60: 2}}
    parts = list(protocol.ControlFrames().feed(control_room._row_frames(7, rows, clock)))
    assert [row for part in parts for row in part["rows"]] == rows
    told = [at for at, part in enumerate(parts) if "clock" in part]
    last = max(at for at, part in enumerate(parts) if part["rows"])
    assert min(told) >= last
    assert {k: v for part in parts for k, v in part.get("clock", {}).items()} == clock
