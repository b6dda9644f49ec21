import os
import signal
import socket
from pathlib import Path

import pytest

from scuttled.cli.commands import demo as command
from scuttled.cli.commands.demo import Objects, Screen, Sentences
from scuttled.demo import inventory
from scuttled.demo.inventory import read_packages
from scuttled.demo.nodes import Nodes, State, differing, digest, free_ports
from scuttled.demo.signal_shield import SignalShield
from scuttled.demo.story import NEWS, Line, Step, differences, news, spell
from scuttled.errors import Stopped

STATE: State = {"a": ("text", b"1", "7.n.1"), "b": ("text", b"2", "8.n.1")}
LINES = [
    Line("a", "3.4 ms", 1000, 500, {"ms": 3.4}),
    Line("b", "killed: SIGKILL to pid 7", fields={"pid": 7}),
    Line("c", "9.9 ms", 500, 500, {"ms": 9.9}),
]
STEP = Step("heal", "b is started again", ["it answers", "converged"], LINES, {"same_ms": 9.9})

# --- what is compared ---


def test_a_digest_knows_keys_kinds_values_and_revisions_and_no_order() -> None:
    assert digest(dict(reversed(STATE.items()))) == digest(STATE)
    others: list[State] = [
        {**STATE, "a": ("text", b"3", "7.n.1")},
        {**STATE, "a": ("bytes", b"1", "7.n.1")},
        {**STATE, "a": ("text", b"1", "9.n.1")},
        {"a": STATE["a"]},
        {},
    ]
    assert len({digest(state) for state in [STATE, *others]}) == 6


def test_keys_differ_by_their_revision_too() -> None:
    rewritten = {**STATE, "a": ("text", b"1", "9.n.1")}
    assert differing(STATE, STATE) == []
    assert differing(STATE, rewritten) == ["a"]
    assert differing(STATE, {}) == ["a", "b"]


def test_what_differs_is_named_and_not_all_of_it() -> None:
    many = {f"k{number}": ("text", b"", "1.n.1") for number in range(5)}
    assert differences({"a": STATE, "b": STATE}) == ""
    assert differences({"a": {}, "b": STATE, "c": STATE}) == (
        "a and b in 2 keys (a, b); a and c in 2 keys (a, b)"
    )
    assert differences({"a": {}, "b": many}) == "a and b in 5 keys (k0, k1, k2, …)"


def test_both_sides_write_keys_of_their_own_and_one_in_common() -> None:
    assert news("a").keys() & news("c").keys() == {"greeting"}
    assert len(news("a")) == NEWS + 1
    assert list(news("a"))[-1] == "greeting"  # whoever sees it has seen all of them


def test_times_are_as_exact_as_they_are_worth() -> None:
    times = [0.0, 0.0034, 0.00996, 0.027, 0.9994, 0.9996, 1.064]
    said = ["0.0 ms", "3.4 ms", "10 ms", "27 ms", "999 ms", "1.00 s", "1.06 s"]
    assert [spell(seconds) for seconds in times] == said


# --- real keys ---


def test_packages_are_lines_of_name_and_version() -> None:
    listed = "bash\t5.2-1\nlibc6\t2.36\nlibc6\t2.36\ngone\t\n\tx\nbroken\n"
    assert read_packages(listed) == {"pkg/bash": b"5.2-1", "pkg/libc6": b"2.36"}


def test_without_dpkg_files_of_the_library_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory.shutil, "which", lambda name: None)
    found = inventory.inventory(7)
    assert "library" in found.words
    assert len(found.entries) == 7
    key, value = next(iter(found.entries.items()))
    size, _, checksum = value.partition(b" ")
    path = Path(os.__file__).parent / key.removeprefix("lib/")
    assert (int(size), len(checksum)) == (path.stat().st_size, 64)


def test_a_dpkg_that_fails_is_like_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory.shutil, "which", lambda name: "/bin/false")
    assert "library" in inventory.inventory(1).words


def test_the_number_of_keys_can_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_packages", lambda: {"pkg/b": b"2", "pkg/a": b"1"})
    assert inventory.inventory(1).entries == {"pkg/a": b"1"}
    assert len(inventory.inventory(None).entries) == 2
    assert "packages" in inventory.inventory(9).words


# --- nodes that have not been started ---


def test_ports_are_free_and_not_twice_the_same() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_chain_in_a_directory_of_its_own_that_goes_with_it() -> None:
    with Nodes("default", SignalShield()) as nodes:
        flags = {}
        for node in nodes.all:
            words = node.command[node.command.index("serve") + 1 :]
            flags[node.name] = dict(zip(words[::2], words[1::2], strict=True))
        a, b, c = flags.values()
        assert a["--peers"] == c["--peers"] == b["--listen"]
        assert b["--peers"] == f"{a['--listen']},{c['--listen']}"
        assert all(Path(flag["--data"]).parent == nodes.home for flag in flags.values())
        assert {flag["--config"] for flag in flags.values()} == {os.devnull}
        assert nodes.home.stat().st_mode & 0o077 == 0
    assert not nodes.home.exists()


def test_a_long_name_of_the_temporary_directory_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with Nodes("default", SignalShield()) as nodes:
        assert all(len(node.socket) <= 107 for node in nodes.all)


# --- signals ---


def test_a_signal_ends_what_heeds_it_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as caught, SignalShield() as signals:  # noqa: PT012
        try:
            with signals.heeded():
                os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # cleaning up is not interrupted
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_waits_for_what_must_not_be_cut() -> None:
    done = []
    with pytest.raises(Stopped), SignalShield() as signals, signals.heeded():  # noqa: PT012
        with signals.shielded():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("noted")
        done.append("never")
    assert done == ["noted"]


def test_a_signal_before_or_after_is_not_forgotten() -> None:
    done = []
    with pytest.raises(Stopped), SignalShield() as signals:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        done.append("noted")
        with signals.heeded():
            done.append("never")
    with pytest.raises(Stopped), SignalShield() as signals:  # noqa: PT012
        with signals.heeded():
            done.append("done")
        os.kill(os.getpid(), signal.SIGINT)
    assert done == ["noted", "done"]


# --- the three ways to tell it ---


def test_in_a_pipe_a_step_is_one_plain_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    teller = Sentences()
    teller.begin("heal", "b is started again")
    teller.look(lambda: LINES)
    assert capfdbinary.readouterr().out == b""
    teller.end(STEP)
    assert capfdbinary.readouterr().out.decode() == (
        "heal: b is started again; a 1,000 keys (3.4 ms), b (killed: SIGKILL to pid 7),"
        " c 500 keys (9.9 ms); it answers; converged\n"
    )


def test_for_programs_a_step_is_one_object(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Objects().end(STEP)
    assert capfdbinary.readouterr().out.decode() == (
        '{"v":1,"step":"heal","what":"b is started again","results":["it answers","converged"],'
        '"same_ms":9.9,"nodes":[{"name":"a","keys":1000,"ms":3.4},{"name":"b","pid":7},'
        '{"name":"c","keys":500,"ms":9.9}]}\n'
    )


def test_on_a_screen_a_picture_is_drawn_over_itself(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    screen = Screen(61, colored=False, utf8=False)
    screen.begin("heal", "b is started again")
    screen.look(lambda: LINES)
    screen.look(lambda: pytest.fail("too soon for another picture"))
    first = capfdbinary.readouterr().out.decode().split("\n")
    screen.end(STEP)
    back, *last = capfdbinary.readouterr().out.decode().split("\r\x1b[K")
    assert first[:2] == ["", "heal    b is started again"]
    assert back == "\x1b[3A"
    assert "".join(last).splitlines() == [
        "        a  ==========----------   1,000 keys  3.4 ms",
        "        b  killed: SIGKILL to pid 7",
        "        c  ==========               500 keys  9.9 ms",
        "        it answers",
        "        converged",
    ]


def test_no_line_of_a_picture_is_wider_than_the_screen(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    for columns in (40, 57, 80, 200):
        screen = Screen(columns, colored=False, utf8=True)
        screen.begin("heal", "words " * 40)
        screen.end(STEP._replace(results=["more words " * 20]))
        shown = capfdbinary.readouterr().out.decode().replace("\r\x1b[K", "").splitlines()
        assert max(map(len, shown)) < columns


def test_colour_only_where_it_is_wanted(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Screen(80, colored=True, utf8=True).end(STEP)
    assert b"\x1b[32m" in capfdbinary.readouterr().out
    Screen(80, colored=False, utf8=True).end(STEP)
    assert b"\x1b[32m" not in capfdbinary.readouterr().out


def test_what_to_type_works_where_the_program_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command.shutil, "which", lambda name: None)
    assert command._program().endswith(" -m scuttled")
    monkeypatch.setattr(command.shutil, "which", lambda name: "/usr/bin/scuttled")
    assert command._program() == "scuttled"
