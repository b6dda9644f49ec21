"""A whole daemon in this process: coming up, going down, and what ends it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.control_caller import RawCaller, request
from support.waiting import PATIENCE_S

from scuttled.client.client import Client
from scuttled.config import config as configuration
from scuttled.daemon.daemon import Daemon, serve
from scuttled.errors import (
    CantCreate,
    ConfigError,
    Refused,
    ScuttledError,
    StorageError,
    UsageError,
)
from scuttled.gossip.targets import TARGETS_MAX
from scuttled.runtime.signals import HEEDED
from scuttled.storage.storage import Storage

Script = Callable[[Client], None]


class Place:
    """Where a daemon of these tests lives, and how it is run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = str(home / "control.sock")
        self.said: list[str] = []

    def loaded(self, **flags: object) -> configuration.Loaded:
        flags = {"listen": "127.0.0.1:0", "data": str(self.home / "data"), "name": "n1", **flags}
        return configuration.load({}, flags={**flags, "socket": self.socket})

    def run(self, script: Script, **flags: object) -> None:
        """Serves here, as signals ask for, while `script` is a caller; its errors are ours."""
        failed: list[BaseException] = []
        up = threading.Event()

        def say(line: str) -> None:
            self.said.append(line)
            up.set()

        def call() -> None:
            up.wait(PATIENCE_S)
            try:
                with Client.connect([self.socket], PATIENCE_S) as client:
                    client.hello()
                    script(client)
            except BaseException as error:
                failed.append(error)
                os.kill(os.getpid(), signal.SIGTERM)

        caller = threading.Thread(target=call)
        before = signal.signal(signal.SIGTERM, lambda *_: None)  # one that comes late is harmless
        caller.start()
        try:
            serve(self.loaded(**flags), say=say)
        finally:
            up.set()
            caller.join(PATIENCE_S)
            signal.signal(signal.SIGTERM, before)
            if failed:
                raise failed[0]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"):
        monkeypatch.delenv(name, raising=False)
    before = {number: signal.getsignal(number) for number in HEEDED}
    yield Place(tmp_path)
    for number, action in before.items():  # a daemon's process has no use for them any more
        signal.signal(number, action)


def _end(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def _set(client: Client, key: str, value: str = "x") -> None:
    client.request("set", model="default", key=key, kind="text", value=value)


# --- its life ------------------------------------------------------------------------------------


def test_what_was_written_is_there_after_a_restart_and_it_is_the_same_node(place: Place) -> None:
    nodes = []

    def first(client: Client) -> None:
        nodes.append(client.hello()["node"])
        _set(client, "key", "value")
        assert client.request("leave") == {"peers": 0}

    def second(client: Client) -> None:
        assert client.request("get", model="default", key="key")["value"] == b"value"
        status = client.request("status")
        assert (status["node"], status["life"], status["sync"]) == (nodes[0], 1, "normal")
        _end()

    place.run(first)
    assert not os.path.exists(place.socket)
    place.run(second)
    assert not os.path.exists(place.socket)


def test_it_says_what_it_is_and_where(place: Place) -> None:
    place.run(lambda client: _end(), peers="127.0.0.1:1", cluster="west")
    said = "\n".join(place.said)
    assert "node n1 (" in said
    assert "cluster  west" in said
    assert f"control  {place.socket}" in said
    assert "peers 127.0.0.1:1" in said
    assert "gossip   127.0.0.1:" in said
    assert "127.0.0.1:0" not in said


def test_in_memory_it_leaves_nothing_behind(place: Place) -> None:
    def script(client: Client) -> None:
        _set(client, "key")
        assert client.request("status")["data"] == ""
        with pytest.raises(Refused, match="keeps nothing on disk"):
            client.request("join", addresses=["127.0.0.1:1"], save=True)
        _end()

    place.run(script, memory=True)
    assert not (place.home / "data").exists()


def test_a_second_ctrl_c_does_not_wait_for_callers(place: Place) -> None:
    """The first one grants them a grace, here to one that does not read."""

    def script(client: Client) -> None:
        client.request("set", model="default", key="large", kind="bytes", value=bytes(500_000))
        asked = (request(number, "get", model="default", key="large") for number in range(1, 100))
        with RawCaller(place.socket) as deaf, Client.connect([place.socket]) as other:
            deaf.flood(asked, stuck_s=0.05)
            other.hello()
            _end(signal.SIGINT)
            with pytest.raises(Exception, match="hung up"):
                other.request("wait", model="default", key="never", wait_s=None)
            _end(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        place.run(script)


# --- peers ---------------------------------------------------------------------------------------


def test_peers_are_joined_once_and_those_that_are_saved_again_after_a_restart(
    place: Place,
) -> None:
    one, two = "127.0.0.1:1", "127.0.0.1:2"

    def addresses(client: Client) -> set[str]:
        rows = client.request("peers")["peers"]
        return {row["address"] for row in rows if row["state"] != "self"}

    def first(client: Client) -> None:
        assert client.request("join", addresses=[one]) == {"added": [one], "known": []}
        answer = client.request("join", addresses=[one, two], save=True)
        assert answer == {"added": [two], "known": [one]}
        with pytest.raises(ConfigError, match="is not an address"):
            client.request("join", addresses=["127.0.0.1:3", "no address"], save=True)
        many = [f"127.0.0.1:{port}" for port in range(10, 11 + TARGETS_MAX)]
        with pytest.raises(UsageError, match=f"at most {TARGETS_MAX}"):
            client.request("join", addresses=many)
        assert addresses(client) == {one, two}
        _end()

    def second(client: Client) -> None:
        assert addresses(client) == {one, two}
        _end()

    place.run(first)
    place.run(second)


# --- what it does not come up with, and what ends it ---------------------------------------------


def test_a_state_directory_is_for_one(place: Place) -> None:
    def script(client: Client) -> None:
        client.hello()
        with pytest.raises(CantCreate, match="is in use by another scuttled") as caught:
            Storage(place.home / "data", "normal")
        assert f"(pid {os.getpid()})" in caught.value.message
        _end()

    place.run(script)


def test_what_it_can_not_listen_on_ends_it_before_it_says_anything(place: Place) -> None:
    def script(client: Client) -> None:
        taken = client.request("status")["listen"]
        other = place.loaded(listen=taken, data=str(place.home / "other"))
        with pytest.raises(CantCreate, match=f"can't listen on {taken}"):
            _run_beside(other)
        other = place.loaded(data=str(place.home / "other"))
        with pytest.raises(CantCreate, match="another daemon answers at the control socket"):
            _run_beside(other)
        client.request("status")
        _end()

    place.run(script)
    with pytest.raises(ConfigError, match="links are plain TCP"):
        serve(place.loaded(listen="0.0.0.0:0"), say=print)


def _run_beside(loaded: configuration.Loaded) -> None:
    """Signals are for the main thread only; these do not come so far."""
    said: list[str] = []
    try:
        serve(loaded, say=said.append)
    finally:
        assert said == []


def test_a_disk_that_fails_does_not_end_it_and_nothing_is_acknowledged(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Storage.write

    def fail(self: Storage, batch: Any) -> None:
        raise StorageError("can't write x: no space left on device")

    def script(client: Client) -> None:
        client.request("status")
        monkeypatch.setattr(Storage, "write", fail)
        with pytest.raises(
            ScuttledError, match=r"not on disk: .*no space left.*yet come true"
        ) as e:
            _set(client, "key")
        assert e.value.code == 74
        with pytest.raises(ScuttledError, match=r"can't write: .*no space left.*gossip go on") as e:
            _set(client, "another")
        assert e.value.code == 74
        assert client.request("get", model="default", key="key")["value"] == b"x"
        assert client.request("call", model="default", operation="has", args=["another"]) == {
            "result": False
        }
        with pytest.raises(ScuttledError, match="can't write: "):
            client.request("call", model="default", operation="set", args=["a", "b"])
        with pytest.raises(ScuttledError, match="can't write: "):
            client.request("model_create", model="other")
        status = client.request("status")
        assert status["problems"] == ["the disk fails: x: no space left on device"]
        assert (status["healthy"], status["storage"]["unsaved"]) == (False, 1)
        monkeypatch.setattr(Storage, "write", write)
        client.request("wait", synced=True)
        assert client.request("status")["problems"] == []
        _set(client, "another")
        _end()

    place.run(script)
    place.run(lambda client: (client.request("get", model="default", key="key"), _end())[1])


def test_a_disk_that_fails_to_the_end_is_told_with_what_is_not_on_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Storage, batch: Any) -> None:
        raise StorageError("can't write x: no space left on device")

    def script(client: Client) -> None:
        client.request("status")
        monkeypatch.setattr(Storage, "write", fail)
        with pytest.raises(ScuttledError, match="not on disk"):
            _set(client, "key")
        _end()

    with pytest.raises(StorageError, match="no space left on device: 1 updates are not on disk"):
        place.run(script)
    assert not os.path.exists(place.socket)
    lives = []
    monkeypatch.undo()

    def after(client: Client) -> None:
        lives.append(client.request("status")["life"])
        _end()

    place.run(after)
    assert lives[0] >= 1 << 31, "what it passed on may be known to peers"


def test_a_daemon_has_no_state_before_it_runs(place: Place) -> None:
    daemon = Daemon(place.loaded(), say=print)
    assert daemon.parts is None
    assert not (place.home / "data").exists()
