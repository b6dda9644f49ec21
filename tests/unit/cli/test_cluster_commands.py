"""The commands about models, peers and the daemon."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.scripted_daemon import MS, NODE, ScriptedDaemon, Scuttled, error, ok

from scuttled.cli import output

PEER = {
    "node": NODE,
    "name": "db1",
    "address": "10.0.0.2:7960",
    "state": "up",
    "rtt_ms": 3.1,
    "lag": 0,
    "lag_ms": 0,
    "seen_ms": MS,
    "version": "0.1.0",
    "reason": "",
    "hint": "",
    "configured": "",
}
NEVER = dict.fromkeys(PEER) | {
    "address": "db3:7960",
    "state": "never",
    "reason": "no route",
    "hint": "build one",
    "configured": "db3",
}
STATUS = {
    "node": NODE,
    "life": 1,
    "name": "web1",
    "version": "0.1.0",
    "cluster": "default",
    "pid": 812,
    "uptime_s": 11_520.4,
    "listen": "10.0.0.1:7960",
    "advertise": "",
    "data": "/var/lib/scuttled",
    "sync": "normal",
    "control": "/run/scuttled/control.sock",
    "models": [{"name": "default", "type": "map", "keys": 2, "tombstones": 1, "bytes": 90}],
    "keys": 2,
    "tombstones": 1,
    "bytes": 90,
    "peers_up": 1,
    "peers_configured": 2,
    "links": [PEER, NEVER],
    "updates_in": 5,
    "updates_out": 6,
    "bytes_in": 700,
    "bytes_out": 800,
    "rate_in": 0.5,
    "rate_out": 0.0,
    "skew_ms": 700,
    "future": 2,
    "members": 3,
    "deleted": {"count": 2, "oldest_ms": 7_200_000, "held_up_by": ["db3"]},
    "resets": [{"at_ms": MS, "words": "model default was reset to the state of db1"}],
    "storage": {"path": "/var/lib/scuttled/state.db", "bytes": 4096, "unsaved": 0},
    "rss_bytes": 30_000_000,
    "healthy": False,
    "problems": ["clock 0.7 s off", "disk slow"],
}


def test_peers_in_a_pipe_leave_empty_what_is_not_known(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["peers"] = ok(peers=[PEER, NEVER])
    assert scuttled("peers").out.decode() == (
        f"db1\t{NODE}\t10.0.0.2:7960\tup\t3.1\t0\t0\t{MS}\t0.1.0\t\t\t\n"
        "\t\tdb3:7960\tnever\t\t\t\t\t\tno route\tbuild one\tdb3\n"
    )
    assert scuttled("peers", "-j").objects == [
        {"v": 1, **PEER, "seen": "2026-11-23T02:21:01.123Z"},
        {"v": 1, **NEVER},
    ]


def test_status_checks_health_only_when_asked(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["status"] = lambda request: [{"ok": STATUS}]
    assert scuttled("status").code == 0
    done = scuttled("status", "--check")
    assert (done.code, done.err) == (
        1,
        "scuttled: web1 is degraded: clock 0.7 s off; disk slow\n",
    )
    assert scuttled("status", "--check", "-q") == (1, b"", "")
    assert scuttled("status", "-j").objects == [{"v": 1, **STATUS}]
    daemon.answers["status"] = lambda request: [{"ok": {**STATUS, "healthy": True}}]
    assert scuttled("status", "--check", "-q") == (0, b"", "")


def test_status_on_a_terminal_is_one_screen(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUTTLED_OUTPUT", "table")
    daemon.answers["status"] = lambda request: [{"ok": STATUS}]
    lines = scuttled("status").out.decode().splitlines()
    assert lines[0] == f"web1 ({NODE})  degraded, 1 of 2 peers up"
    assert "node     up 3h 12m  pid 812  scuttled 0.1.0  cluster default" in lines
    assert "members  3  deleted 1  to be forgotten 2, oldest 2h, not yet seen by db3" in lines
    assert "gossip   in 0.5 updates/s  out 0.0 updates/s" in lines
    assert any(line.endswith("ago: model default was reset to the state of db1") for line in lines)
    assert "problem  disk slow" in lines
    assert len(lines) < 24


def test_status_fits_a_terminal_of_80_columns(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUTTLED_OUTPUT", "table")
    monkeypatch.setattr(output, "width", lambda: 80)
    words = "model default was reset to the state of db1, " + "which has forgotten deletions " * 9
    resets = [{"at_ms": MS, "words": words}]
    daemon.answers["status"] = lambda request: [{"ok": {**STATUS, "resets": resets}}]
    lines = scuttled("status").out.decode().splitlines()
    assert max(map(len, lines)) <= 80
    told = " ".join(" ".join(lines).split())
    assert " ".join(words.split()) in told, "nothing is cut"


def test_status_of_a_daemon_without_disk_says_so(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUTTLED_OUTPUT", "table")
    storage = {"path": None, "bytes": None, "unsaved": 0}
    daemon.answers["status"] = lambda request: [{"ok": {**STATUS, "data": "", "storage": storage}}]
    assert b"memory only" in scuttled("status").out


def test_models_are_made_listed_described_and_dropped(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["model_list"] = ok(models=STATUS["models"])
    daemon.answers["model_create"] = ok(created=True)
    daemon.answers["model_drop"] = ok(count=2)
    daemon.answers["model_info"] = ok(
        name="default",
        type="map",
        keys=2,
        tombstones=1,
        bytes=90,
        ttl_ms=0,
        sources=1,
        log={"first": 0, "end": 3, "live": 3},
        clock={"s.1": 9},
        operations=[{"name": "set", "args": ["key", "value"], "words": "Set a key."}],
    )
    assert scuttled("model", "ls").out == b"default\tmap\t2\t1\t90\n"
    assert scuttled("model", "create", "tags", "--type", "set", "--ttl", "1h").err == (
        "set tags created\n"
    )
    assert daemon.asked("model_create")[0]["ttl_ms"] == 3_600_000
    assert b"call set key value\tSet a key.\n" in scuttled("model", "info").out
    assert scuttled("model", "info", "-j").objects[0]["operations"][0]["name"] == "set"
    assert scuttled("model", "drop", "tags").code == 2
    assert daemon.asked("model_drop") == []
    assert scuttled("model", "drop", "tags", "--yes", "-j").objects == [
        {"v": 1, "model": "tags", "count": 2}
    ]


def test_call_takes_json_where_it_is_json_and_text_elsewhere(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["call"] = ok(result=["a\tb", 5, None])
    done = scuttled("-m", "tags", "call", "add", "red", "5", "-5", '"5"', '{"a":1}', "NaN", "-x")
    assert daemon.asked("call")[0]["args"] == ["red", 5, -5, "5", {"a": 1}, "NaN", "-x"]
    assert done.out == b"a\\tb\n5\nnull\n"
    assert scuttled("-j", "call", "items").objects == [
        {"v": 1, "model": "default", "operation": "items", "result": ["a\tb", 5, None]}
    ]
    daemon.answers["call"] = ok(result=None)
    assert scuttled("call", "clear").out == b""


def test_join_and_leave_say_what_became_of_it(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["join"] = ok(added=["db1:7960"], known=["db2:7960"])
    daemon.answers["leave"] = ok(peers=1)
    done = scuttled("join", "db1,db2", "db3", "--save")
    assert done.out == b"db1:7960\tadded\t\t\t\t\ndb2:7960\tknown\t\t\t\t\n"
    assert done.code == 0  # of a daemon that does not say how it goes with them
    assert daemon.asked("join")[0]["addresses"] == ["db1", "db2", "db3"]
    assert daemon.asked("join")[0]["save"] is True
    assert scuttled("leave").err == "left: told 1 peer, the daemon is stopping\n"


def test_wait_asks_for_all_conditions_at_once(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["wait"] = ok()
    assert scuttled("wait", "--peers", "2", "--synced", "--key", "a=b=c", "-m", "m").code == 0
    asked = daemon.asked("wait")[0]
    assert "wait_ms" not in asked  # for ever
    assert (asked["peers"], asked["synced"], asked["model"]) == (2, True, "m")
    assert (asked["key"], asked["value"]) == ("a", b"b=c")
    assert scuttled("wait").code == 2


def test_the_daemon_says_what_is_missing_when_time_is_over(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["wait"] = lambda request: [error(75, "0 peers up, waited for 2: db1 is down")]
    done = scuttled("wait", "--peers", "2", "--timeout", "1m")
    assert done.code == 75
    assert done.err == "scuttled: waited 1m in vain: 0 peers up, waited for 2: db1 is down\n"
    assert 0 < daemon.asked("wait")[0]["wait_ms"] <= 60_000


def test_wait_gives_up_when_its_time_is_over(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["wait"] = lambda request: []
    done = scuttled("wait", "--key", "k", "--timeout", "30ms")
    assert done.code == 75
    assert done.err.startswith("scuttled: waited 30ms in vain: daemon does not answer")
    monkeypatch.setenv("SCUTTLED_SOCKET", "/nowhere/s")
    assert scuttled("wait", "--up", "--timeout", "30ms").code == 75
    assert scuttled("wait", "--key", "k").code == 69


def test_wait_up_waits_for_a_socket_to_appear(scuttled: Scuttled, tmp_path: Path) -> None:
    path = tmp_path / "late.sock"
    program = [sys.executable, "-m", "scuttled", "wait", "--up", "--socket", str(path), "-v"]
    with subprocess.Popen(program) as waiting, ScriptedDaemon(path) as daemon:
        assert daemon.await_request("hello")
        assert waiting.wait(10) == 0


def test_version_is_told_with_and_without_a_daemon(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scuttled("version").out == b"client\t0.1.0\ndaemon\t0.1.0\n"
    told = scuttled("version", "-j").objects[0]
    assert (told["daemon"], told["protocol"], told["node"]) == ("0.1.0", 1, NODE)
    monkeypatch.setenv("SCUTTLED_SOCKET", "/nowhere/s")
    assert scuttled("version").out == b"client\t0.1.0\ndaemon\t\n"
    assert scuttled("version", "-j").objects[0]["daemon"] is None


def test_version_of_a_daemon_that_speaks_otherwise_is_76(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["hello"] = lambda request: [error(76, "protocols 2 to 3 only")]
    assert scuttled("version").code == 76


def test_config_show_asks_the_daemon_that_runs(daemon: ScriptedDaemon, scuttled: Scuttled) -> None:
    daemon.answers["config"] = ok(
        settings=[{"key": "node.name", "value": '"web1"', "origin": "flag --name"}]
    )
    assert scuttled("config", "show").out == b'node.name\t"web1"\n'
    assert scuttled("config", "show", "--origin", "-j").objects == [
        {"v": 1, "key": "node.name", "value": "web1", "origin": "flag --name"}
    ]


def test_a_hint_stands_below_its_problem_and_below_the_error_of_check(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnoses = [
        {"code": "skew", "words": "clock 0.7 s off", "hint": "", "about": "db1"},
        {"code": "disk", "words": "disk slow", "hint": "buy another", "about": ""},
    ]
    daemon.answers["status"] = lambda request: [{"ok": {**STATUS, "diagnoses": diagnoses}}]
    assert scuttled("status", "--check").err == (
        "scuttled: web1 is degraded: clock 0.7 s off; disk slow\nhint: buy another\n"
    )
    monkeypatch.setenv("SCUTTLED_OUTPUT", "table")
    lines = scuttled("status").out.decode().splitlines()
    place = lines.index("problem  clock 0.7 s off")
    assert lines[place + 1 : place + 3] == ["problem  disk slow", "  hint   buy another"]


def _verdict(address: str, state: str, reason: str = "", hint: str = "") -> dict[str, str]:
    return {
        "address": address,
        "peer": address,
        "state": state,
        "name": "db1" if state == "up" else "",
        "reason": reason,
        "hint": hint,
    }


def test_join_says_who_is_up_and_ends_with_1_if_somebody_is_not(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    verdicts = [
        _verdict("db1", "up"),
        _verdict("db2", "never", "Connection refused"),
        _verdict("db3", "refused", "not encrypted", "add --insecure"),
        _verdict("me", "self"),
    ]
    words = [verdict["address"] for verdict in verdicts]
    daemon.answers["join"] = ok(added=words, known=[], peers=verdicts)
    done = scuttled("join", *words)
    assert done.out.decode().splitlines()[:2] == [
        "db1\tadded\tup\tdb1\tdb1\t",
        "db2\tadded\tnever\t\tdb2\tConnection refused",
    ]
    assert (done.code, done.err) == (
        1,
        "scuttled: db2 is not up: Connection refused; db3 is refused: not encrypted; "
        "me is this very node; it is dialled on\nhint: add --insecure\n",
    )
    daemon.answers["join"] = ok(added=["db1"], known=[], peers=verdicts[:1])
    assert scuttled("join", "db1").code == 0
    assert scuttled("join", ",").code == 2


def test_a_name_of_several_addresses_is_up_with_one_of_them(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    verdicts = [
        _verdict("all", "up"),
        _verdict("all", "down", "no answer"),
        _verdict("all", "self"),
    ]
    daemon.answers["join"] = ok(added=["all"], known=[], peers=verdicts)
    done = scuttled("join", "all", "-j")
    assert (done.code, len(done.objects)) == (0, 3)


def test_part_says_what_comes_back_at_the_next_start(
    daemon: ScriptedDaemon, scuttled: Scuttled
) -> None:
    daemon.answers["part"] = ok(parted=["db1", "db2"], configured=["db2"])
    done = scuttled("part", "db1,db2")
    assert done.out == b"db1\tparted\ndb2\tparted\n"
    assert done.err.startswith("scuttled: db2 is configured: it is dialled again after a restart")
    assert daemon.asked("part")[0]["addresses"] == ["db1", "db2"]


def test_why_a_peer_is_not_up_is_wrapped_below_its_row_and_never_cut(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUTTLED_OUTPUT", "table")
    monkeypatch.setattr("scuttled.cli.output.width", lambda: 60)
    reason = "10.0.0.9 is beyond loopback, and plain TCP is not encrypted between machines"
    peer = {**NEVER, "reason": reason, "hint": "add --insecure"}
    daemon.answers["peers"] = ok(peers=[peer, PEER])
    _, first, why, more, hint, second = scuttled("peers").out.decode().splitlines()
    assert first.startswith("-")
    assert f"{why.strip()} {more.strip()}" == f"why: {reason}"
    assert max(map(len, (why, more, hint))) < 60
    assert hint == "    hint: add --insecure"
    assert second.startswith("db1")


def test_the_id_stands_beside_a_name_that_two_members_bear(
    daemon: ScriptedDaemon, scuttled: Scuttled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUTTLED_OUTPUT", "table")
    daemon.answers["peers"] = ok(peers=[PEER])
    assert scuttled("peers").out.decode().splitlines()[1].startswith("db1   ")
    daemon.answers["hello"] = ok(protocol=1, namesakes=["db1"])
    assert scuttled("peers").out.decode().splitlines()[1].startswith(f"db1 ({NODE[:8]})  ")
