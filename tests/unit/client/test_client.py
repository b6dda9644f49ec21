import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.scripted_daemon import HANG_UP, NODE, ScriptedDaemon, error, ok
from support.unprivileged import unprivileged

from scuttled import errors
from scuttled.client import protocol
from scuttled.client.client import Client, socket_paths
from scuttled.client.explanations import unreachable


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon(tmp_path / "control.sock") as daemon:
        yield daemon


@pytest.fixture
def client(daemon: ScriptedDaemon) -> Iterator[Client]:
    with Client.connect([daemon.path]) as client:
        yield client


# -- where to look


def test_a_named_socket_stands_alone() -> None:
    environ = {"SCUTTLED_SOCKET": "/from/environment", "XDG_RUNTIME_DIR": "/run/user/1"}
    assert socket_paths("/from/flag", environ) == ["/from/flag"]
    assert socket_paths(None, environ) == ["/from/environment"]


def test_without_a_name_the_users_own_daemon_comes_before_the_systems() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/1", "HOME": "/home/ann"}
    assert socket_paths(None, environ) == [
        "/run/user/1/scuttled/control.sock",
        "/home/ann/.local/state/scuttled/run/control.sock",
        "/run/scuttled/control.sock",
    ]


def test_a_state_home_counts_only_if_it_is_absolute() -> None:
    assert socket_paths(None, {"XDG_STATE_HOME": "/state", "HOME": "/h"})[0] == (
        "/state/scuttled/run/control.sock"
    )
    assert socket_paths(None, {"XDG_STATE_HOME": "state", "HOME": "/h"})[0] == (
        "/h/.local/state/scuttled/run/control.sock"
    )


def test_the_first_path_that_answers_is_taken(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    with Client.connect([str(tmp_path / "absent"), daemon.path]) as client:
        assert client.path == daemon.path


def test_when_none_answers_every_path_is_told_with_its_reason(tmp_path: Path) -> None:
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    long = str(tmp_path / ("x" * 108))
    with pytest.raises(errors.Unavailable) as caught:
        Client.connect([str(tmp_path / "absent"), str(dead), long])
    message = caught.value.message
    assert f"{tmp_path}/absent (absent)" in message
    assert f"{dead} (refused: nobody listens)" in message
    assert f"(too long: {len(long)} bytes, at most 107)" in message
    assert caught.value.hint == "scuttled serve"


def test_a_socket_one_may_not_use_is_told_apart_from_none(daemon: ScriptedDaemon) -> None:
    os.chmod(daemon.path, 0)
    with pytest.raises(errors.NotPermitted) as caught, unprivileged():
        Client.connect([daemon.path])
    assert "usermod -aG scuttled $USER" in caught.value.hint
    os.chmod(daemon.path, stat.S_IRWXU)


def test_of_all_reasons_a_missing_permission_is_told_first() -> None:
    absent, forbidden = FileNotFoundError(2, "absent"), PermissionError(13, "forbidden")
    told = unreachable([("/a", absent), ("/b", forbidden)])
    assert isinstance(told, errors.NotPermitted)
    assert told.message == "daemon not reachable: tried /a (absent), /b (not permitted)"


def test_a_full_backlog_is_a_time_out_and_not_absence(tmp_path: Path) -> None:
    path = str(tmp_path / "busy.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(errors.TimedOut, match="busy"):
            Client.connect([path], timeout_s=0.05)


# -- requests


def test_a_call_is_one_round_trip(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.put("k", b"v")
    assert client.request("get", model="default", key="k")["value"] == b"v"
    assert daemon.writes == [2]
    assert [request["op"] for request in daemon.requests] == ["hello", "get"]
    assert daemon.requests[0]["protocol"] == list(protocol.VERSIONS)
    assert client.daemon["node"] == NODE


def test_hello_can_be_asked_for_by_itself_and_is_sent_once(
    daemon: ScriptedDaemon, client: Client
) -> None:
    assert client.hello()["name"] == "web1"
    assert client.hello()["name"] == "web1"
    client.request("cancel")
    assert [request["op"] for request in daemon.requests] == ["hello", "cancel"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, errors.Refused),
        (2, errors.UsageError),
        (65, errors.DataError),
        (73, errors.CantCreate),
        (74, errors.StorageError),
        (75, errors.TimedOut),
        (77, errors.NotPermitted),
        (78, errors.ConfigError),
        (99, errors.ScuttledError),
    ],
)
def test_the_daemons_error_keeps_its_code_words_and_hint(
    daemon: ScriptedDaemon, client: Client, code: int, kind: type[errors.ScuttledError]
) -> None:
    daemon.answers["get"] = lambda request: [error(code, "no: because", "try this")]
    with pytest.raises(kind) as caught:
        client.request("get", model="default", key="k")
    assert (caught.value.code, caught.value.message) == (code, "no: because")
    assert caught.value.hint == "try this"
    assert client.request("cancel") == {}  # and the connection is still good


def test_without_a_common_protocol_the_first_request_says_so(
    daemon: ScriptedDaemon, client: Client
) -> None:
    daemon.answers["hello"] = lambda request: [error(76, "protocols 2 to 3 only")]
    with pytest.raises(errors.NoCommonProtocol, match="2 to 3 only"):
        client.request("get", model="default", key="k")


@pytest.mark.parametrize("part", [b"", b"\0\0", protocol.encode({"id": 1, "ok": {}})[:-1]])
def test_a_daemon_that_goes_away_is_unavailable(
    daemon: ScriptedDaemon, client: Client, part: bytes
) -> None:
    daemon.answers["get"] = lambda request: [part, HANG_UP]
    with pytest.raises(errors.Unavailable, match="hung up"):
        client.request("get", model="default", key="k")


def test_a_request_to_a_daemon_that_is_gone_is_unavailable(
    daemon: ScriptedDaemon, client: Client
) -> None:
    client.hello()
    daemon.drop_connections()
    with pytest.raises(errors.Unavailable, match="hung up"):
        client.request("set", model="default", key="k", kind="bytes", value=bytes(500_000))


def test_silence_is_a_time_out_that_names_the_limit(daemon: ScriptedDaemon) -> None:
    daemon.answers["get"] = lambda request: []
    with (
        Client.connect([daemon.path], timeout_s=0.02) as client,
        pytest.raises(errors.TimedOut, match=r"not a byte in 0\.02 s"),
    ):
        client.request("get", model="default", key="k")


def test_one_call_may_wait_longer_than_the_connection(daemon: ScriptedDaemon) -> None:
    daemon.answers["wait"] = lambda request: []
    with Client.connect([daemon.path], timeout_s=30.0) as client:
        with pytest.raises(errors.TimedOut):
            client.request("wait", wait_s=0.02, peers=1)


@pytest.mark.parametrize("frame", [{}, {"ok": 5}, {"error": "no"}, {"error": {"message": "m"}}])
def test_an_answer_of_no_known_form_is_the_daemons_mistake(
    daemon: ScriptedDaemon, client: Client, frame: dict[str, object]
) -> None:
    daemon.answers["get"] = lambda request: [frame]
    with pytest.raises(errors.RemoteProtocolError):
        client.request("get", model="default", key="k")


def test_bytes_that_are_no_frame_are_the_daemons_mistake(
    daemon: ScriptedDaemon, client: Client
) -> None:
    daemon.answers["get"] = lambda request: [b"HTTP/1.1 200 OK\r\n\r\n"]
    with pytest.raises(errors.RemoteProtocolError, match="control frame"):
        client.request("get", model="default", key="k")


# -- streams


def test_a_stream_gives_batches_and_then_its_end(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.answers["list"] = lambda request: [
        {"rows": [["a"], ["b"]]},
        {"rows": []},
        {"rows": [["c"]]},
        {"end": {"count": 3, "cursor": "c9"}},
    ]
    stream = client.stream("list", model="default")
    assert list(stream) == [[["a"], ["b"]], [["c"]]]
    assert stream.end == {"count": 3, "cursor": "c9"}
    assert not stream.running()


def test_an_error_ends_a_stream_and_leaves_the_connection_good(
    daemon: ScriptedDaemon, client: Client
) -> None:
    daemon.answers["list"] = lambda request: [{"rows": [["a"]]}, error(1, "no such model")]
    stream = client.stream("list", model="nope")
    assert next(stream) == [["a"]]
    with pytest.raises(errors.Refused, match="no such model"):
        next(stream)
    assert list(stream) == []
    assert client.request("cancel") == {}


def test_only_a_live_stream_may_be_silent(daemon: ScriptedDaemon) -> None:
    daemon.answers["watch"] = lambda request: []
    with Client.connect([daemon.path], timeout_s=0.02) as client:
        client.hello()
        with pytest.raises(errors.TimedOut):
            next(client.stream("watch"))
        stream = client.stream("watch", live=True)
        late = threading.Timer(0.06, lambda: daemon.push("watch", rows=[["late"]]))
        late.start()
        assert next(stream) == [["late"]]
        late.join()


def test_rows_wait_while_another_request_is_answered(
    daemon: ScriptedDaemon, client: Client
) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [["first"]]}, {"rows": [["second"]]}]
    daemon.put("k", b"v")
    stream = client.stream("watch", live=True)
    assert client.request("get", model="default", key="k")["value"] == b"v"
    assert stream.buffered()
    assert stream.poll() == [["first"]]
    assert stream.poll() == [["second"]]
    assert stream.poll() == []


def test_poll_does_not_wait_for_the_rest_of_a_frame(daemon: ScriptedDaemon, client: Client) -> None:
    frame = protocol.encode({"id": 1, "rows": [["row"]]})
    daemon.answers["watch"] = lambda request: [frame[:5]]
    stream = client.stream("watch", live=True)
    client.hello()
    assert stream.poll() == []
    daemon.answers["cancel"] = lambda request: [frame[5:]]
    client._forget(client._send("cancel", {}))
    assert next(stream) == [["row"]]


def test_a_closed_stream_is_cancelled_and_its_late_rows_are_dropped(
    daemon: ScriptedDaemon, client: Client
) -> None:
    daemon.answers["watch"] = lambda request: [{"rows": [["one"]]}, {"rows": [["two"]]}]
    stream = client.stream("watch", live=True)
    assert next(stream) == [["one"]]
    stream.close()
    stream.close()
    daemon.put("k", b"v")
    assert client.request("get", model="default", key="k")["value"] == b"v"
    assert [request["stream"] for request in daemon.asked("cancel")] == [1]
    assert list(stream) == []


# -- pipelines


def test_a_pipeline_answers_in_order(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.answers["load"] = lambda request: [{"ok": {"count": request["number"]}}]
    requests = (("load", {"number": number}) for number in range(100))
    assert [done["count"] for done in client.pipeline(requests, window=7)] == list(range(100))


def test_a_pipeline_never_has_more_than_its_window_in_flight(client: Client) -> None:
    sent = 0

    def requests() -> Iterator[tuple[str, dict[str, object]]]:
        nonlocal sent
        while sent < 50:
            sent += 1
            yield "cancel", {}

    for answered, _ in enumerate(client.pipeline(requests(), window=5)):
        assert sent - answered <= 5 + 1


def test_the_first_error_ends_a_pipeline(daemon: ScriptedDaemon, client: Client) -> None:
    daemon.answers["load"] = lambda request: [
        error(65, "too large") if request["number"] == 3 else {"ok": {"count": 1}}
    ]
    answers = client.pipeline((("load", {"number": number}) for number in range(9)), window=2)
    with pytest.raises(errors.DataError, match="too large"):
        list(answers)
    daemon.answers["get"] = ok(value=b"v")
    assert client.request("get") == {"value": b"v"}


@pytest.mark.parametrize(
    ("value", "words"),
    [(2**64, "a whole number beyond 64 bits"), ("\ud800", "half a surrogate pair")],
)
def test_what_can_not_be_sent_is_bad_data_and_the_connection_goes_on(
    tmp_path: Path, value: object, words: str
) -> None:
    with ScriptedDaemon(tmp_path / "control.sock") as daemon:
        daemon.answers["call"] = ok(result=1)
        with Client.connect([str(tmp_path / "control.sock")]) as client:
            with pytest.raises(errors.DataError, match=words):
                client.request("call", args=[value])
            assert client.request("call", args=[1]) == {"result": 1}
