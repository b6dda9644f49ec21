"""Signals at any moment: in the midst of coming up, of going down, and of commands."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import begin_scuttled, clean_environ
from support.fleet import Daemon, Fleet
from support.notify_socket import Systemd
from support.waiting import until

KEYS = 60_000  # a start with so many tells systemd that it goes on
IN_FLIGHT = 8 * 500
MANY = "".join(f"key/{number}\tvalue {number}\n" for number in range(KEYS)).encode()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path / "notify")
    with systemd.sock:
        yield systemd


@pytest.fixture
def told(fleet: Fleet, systemd: Systemd) -> Daemon:
    """A daemon that tells systemd of its life; not started."""
    return fleet.daemon("a", env={"NOTIFY_SOCKET": systemd.path}, start=False)


def test_who_is_told_ready_may_stop_it_at_once(told: Daemon, systemd: Systemd) -> None:
    for _ in range(5):
        told.start(wait=False)
        systemd.until("READY")
        assert told.stop() == 0
        assert not Path(told.socket).exists()
        systemd.pending()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_go_on_while_it_stops_do_not_break_into_that(
    told: Daemon, systemd: Systemd, number: int
) -> None:
    for _ in range(5):
        told.start(wait=False)
        systemd.until("READY")
        process = told.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            process.send_signal(number)
        assert told.ended() == 0
        assert not Path(told.socket).exists()
        systemd.pending()
    assert "Traceback" not in told.log()


def test_a_signal_breaks_off_a_long_load(told: Daemon, systemd: Systemd) -> None:
    told.start()
    told.cli("import", "--tsv", "-", stdin=MANY)
    assert told.stop() == 0
    systemd.pending()
    told.start(wait=False)
    systemd.until("EXTEND_TIMEOUT_USEC")
    assert told.stop() == 0
    assert not any("READY" in fields for fields in systemd.pending())
    assert told.start().ask("status")["life"] == 1, "nothing was forgotten by that"
    assert told.text("get", f"key/{KEYS - 1}") == f"value {KEYS - 1}"


def test_sighup_ends_nothing_and_is_answered_in_the_log(daemon: Daemon) -> None:
    daemon.cli("set", "k", "v")
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: "SIGHUP: nothing is read anew" in daemon.log(), "an answer in the log")
    assert daemon.text("get", "k") == "v"
    assert daemon.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_export_that_is_ended_leaves_no_unfinished_file(
    daemon: Daemon, tmp_path: Path, number: int
) -> None:
    daemon.cli("import", "--tsv", "-", stdin=MANY)
    file = tmp_path / "folder" / "backup.ndjson"
    file.parent.mkdir()
    file.write_text("the old one")
    with daemon.begin("export", "--all-models", "--timeout", "60s", str(file)) as export:
        until(lambda: len(os.listdir(file.parent)) == 2, "the unfinished file")
        daemon.pause()
        export.send_signal(number)
        assert export.wait(30) == 128 + number
        assert export.stderr is not None
        assert export.stderr.read() == b""
    assert os.listdir(file.parent) == ["backup.ndjson"]
    assert file.read_text() == "the old one"
    daemon.resume()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_import_that_is_ended_says_what_is_in(
    daemon: Daemon, tmp_path: Path, number: int
) -> None:
    file = tmp_path / "many.tsv"
    file.write_bytes(MANY)
    with daemon.begin("import", "--tsv", "--timeout", "60s", str(file)) as import_:
        until(
            lambda: daemon.ask("model_info", model="default")["keys"] > IN_FLIGHT,
            "more keys than there are without an answer at a time",
        )
        daemon.pause()
        import_.send_signal(number)
        assert import_.wait(30) == 128 + number
        assert import_.stderr is not None
        said = import_.stderr.read().decode()
    daemon.resume()
    found = re.search(
        r"cut short: ([\d,]+) keys imported into default \(and up to ([\d,]+) more", said
    )
    assert found, said
    least, more = (int(text.replace(",", "")) for text in found.groups())
    keys = until(lambda: daemon.ask("model_info", model="default")["keys"], "the keys")
    assert 0 < least <= keys <= least + more < KEYS
    daemon.cli("import", "--tsv", str(file))
    assert daemon.ask("model_info", model="default")["keys"] == KEYS


def test_an_import_says_what_is_in_when_the_daemon_goes_away(
    daemon: Daemon, tmp_path: Path
) -> None:
    file = tmp_path / "many.tsv"
    file.write_bytes(MANY)
    with daemon.begin("import", "--tsv", str(file)) as import_:
        until(lambda: daemon.ask("model_info", model="default")["keys"] > 0, "the first keys")
        daemon.kill9()
        assert import_.wait(30) == 69
        assert import_.stderr is not None
        assert b"cut short: " in import_.stderr.read()


def test_an_import_that_is_ended_while_it_reads_has_imported_nothing(daemon: Daemon) -> None:
    with daemon.begin("import", "--tsv", "-", stdin=subprocess.PIPE) as import_:
        assert import_.stdin is not None
        import_.stdin.write(MANY)
        import_.stdin.flush()
        import_.send_signal(signal.SIGTERM)
        assert import_.wait(30) == 143
        assert import_.stderr is not None
        assert import_.stderr.read() == b"scuttled: cut short: nothing was imported\n"
    assert daemon.text("ls", "--count") == "0\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_simulations_end_at_once_with_all_their_processes(tmp_path: Path, number: int) -> None:
    process = begin_scuttled(
        *("simulate", "--seeds", "100000", "--jobs", "2"),
        env=clean_environ(tmp_path),
        start_new_session=True,
    )
    until(lambda: len(_workers(process.pid)) == 2, "two workers")
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    with process:
        assert process.wait(30) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == b""  # its end: nobody else has it open any more


def _workers(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    return [line.decode() for line in lines if b"spawn_main" in line]
