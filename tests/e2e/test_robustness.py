"""Nothing that a peer or a caller says ends the daemon, another link or a watch (I8)."""

import itertools
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support.control_caller import RawCaller, request
from support.fleet import Daemon, Fleet
from support.strangers import Stranger, Watcher
from support.waiting import until

from scuttled.client import protocol
from scuttled.protocol import codec
from scuttled.protocol.messages import (
    Bye,
    ClockMessage,
    Code,
    Delta,
    ErrorMessage,
    Hello,
    Ping,
    Pong,
)
from scuttled.replica.change import EXPIRES, OWN, TEXT, make_change
from scuttled.replica.update import TICKS_PER_MS, NodeId, Source, Update

_numbers = itertools.count(1)

MIB = 1 << 20
GROWTH_MAX = 8 * MIB
MEGABYTE = 1_000_000
HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"
HUGE = b"\xff\xff\xff\xff"  # the header of a frame of 4 GiB
DATA_ERROR, PROTOCOL_ERROR = 65, 76


class Pair:
    """Two linked daemons, of which strangers know the first, with a watch at the second."""

    def __init__(self, fleet: Fleet) -> None:
        self.a, self.b = fleet.linked({"a": [], "b": ["a"]})
        self.numbers = 0

    @contextmanager
    def undisturbed(self) -> Iterator["Lines"]:
        """Whatever goes on inside, nothing happens to the link, to writes and to the watch."""
        with Watcher(self.b) as watcher:
            self._write(watcher)
            logged, seen = Lines(self.a), Lines(self.b)
            memory, state = self.a.rss(), self.a.state()
            yield logged
            assert self.a.state() == state
            self._write(watcher)
        grown = self.a.rss() - memory
        assert grown < GROWTH_MAX, f"resident memory grew by {grown / MIB:.1f} MiB"
        assert not logged.about("link to b"), logged.all()
        assert not logged.about("Traceback"), logged.all()
        assert not seen.all(), seen.all()

    def _write(self, watcher: Watcher) -> None:
        self.numbers += 1
        value = str(self.numbers).encode()
        self.a.ask("set", model="default", key="pulse", kind="text", value=value)
        until(lambda: watcher.rows and watcher.rows[-1][2] == value, "the write to be seen at b")


class Lines:
    """What a daemon has logged since."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._began = len(daemon.log())

    def all(self) -> list[str]:
        """But for what is told of lines before: they were counted, and a minute was over."""
        lines = self._daemon.log()[self._began :].splitlines()
        return [line for line in lines if not line.endswith("in the last minute)")]

    def about(self, what: str) -> list[str]:
        return [line for line in self.all() if what in line]

    def only(self) -> str:
        """The one line that there is, or comes."""
        until(self.all, "a line in the log")
        (line,) = self.all()
        return line

    def both(self) -> list[str]:
        """The two lines that there are, or come."""
        until(lambda: self.all()[1:], "two lines in the log")
        first, second = self.all()
        return [first, second]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Fleet(tmp_path_factory.mktemp("pair")) as fleet:
        yield Pair(fleet)


@pytest.fixture
def eve() -> str:
    """A stranger's name that no other test uses: what is logged of one name again is counted."""
    return f"eve{next(_numbers)}"


@pytest.fixture
def fresh_pair(fleet: Fleet) -> Pair:
    """Nobody has knocked at it: of each cause the log has one line a minute."""
    return Pair(fleet)


# --- the gossip port, before HELLO ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (os.urandom(MEGABYTE), "frame of|not msgpack|not \\[type"),
        (HTTP, "this is HTTP"),
        (HUGE, "frame of 4294967295 bytes, at most 4096"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "this is TLS"),
        (b"\x00\x00\x00\x00", "not msgpack"),
        (b"\x00\x00\x00\x01\x90", "not \\[type"),
        (b"\x00\x00\x00\x02\x91\x63", "unknown type 99"),
        (b"\x00\x00\x00\x02\x91\x01", "hello: 0 fields"),
        (b"\x00\x00\x0f\xa0" + b"\x91" * 4000, "not msgpack"),
        (codec.encode(Ping(1, 1, b"")), "Ping before HELLO"),
    ],
    ids=["random", "http", "4 GiB", "tls", "empty", "no type", "type", "fields", "deep", "early"],
)
def test_what_is_no_hello_is_told_so_and_closed(fresh_pair: Pair, data: bytes, words: str) -> None:
    with fresh_pair.undisturbed() as lines:
        with Stranger(fresh_pair.a) as stranger:
            stranger.say(data)
            told = stranger.last_words()
        line = lines.only()
    assert line.split()[1:4] == ["warning", "connection", "from"]
    assert f":{stranger.port} closed: " in line
    assert re.search(words, line)
    assert len(data) > MEGABYTE / 2 or re.search(words, told), told  # a reset may swallow it


def test_half_a_frame_and_an_end_is_one_line(pair: Pair) -> None:
    with pair.undisturbed() as lines:
        with Stranger(pair.a) as stranger:
            stranger.say(b"\x00\x00\x00\x40half")
        assert "the connection was closed before HELLO, after 8 bytes" in lines.only()


def test_who_falls_silent_is_closed_when_his_time_is_over(pair: Pair) -> None:
    """Before HELLO, in it, after it and in the middle of the conversation; all at once here."""
    begun = time.monotonic()
    with pair.undisturbed() as lines, ExitStack() as stack:
        strangers = [
            stack.enter_context(Stranger(pair.a, name)) for name in ("mute", "half", "shy", "lost")
        ]
        mute, half, shy, lost = strangers
        caller = stack.enter_context(RawCaller(pair.a.socket, greet=False))
        caller.say(b"\x00\x00\x00\x40half")
        half.say(b"\x00\x00\x00\x40half")
        shy.greet()
        lost.greet()
        lost.open()
        lost.say(b"\x00\x00\x00\x40half")
        lost.answers = False
        lost_at = time.monotonic()
        for stranger in (mute, half, shy):
            assert stranger.last_words() == "no handshake within 10 s"
        assert 9 < time.monotonic() - begun < 20
        assert lost.last_words() == "silent for 10 s"
        assert 9 < time.monotonic() - lost_at < 20
        until(lambda: len(lines.all()) >= 3, "their lines in the log")
        (line,) = lines.about("closed: no handshake within 10 s")
        assert any(f":{stranger.port} " in line for stranger in (mute, half, shy))
        assert len(lines.about("link to lost closed after 10 s: silent for 10 s")) == 1
        assert len(lines.about("lost")) == 2, "one for its coming, one for its going"
        assert len(lines.all()) == 3, lines.all()


# --- HELLO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"cluster": "other"}, Code.CLUSTER, "'other' and 'default' are different clusters"),
        ({"oldest": 7, "newest": 9}, Code.VERSION, " speaks 7 to 9, a 1 to 1"),
        ({"wall_ms": 1_000_000_000_000}, Code.SKEW, "s behind that of a, allowed are 60 s"),
        ({"wall_ms": 4_000_000_000_000}, Code.SKEW, "s ahead of that of a, allowed are 60 s"),
        ({"name": "\x1b[2J\nx" * 40}, Code.PROTOCOL, "expected text without control characters"),
    ],
    ids=["cluster", "version", "behind", "ahead", "escapes"],
)
def test_a_hello_that_does_not_fit_is_refused_in_words(
    pair: Pair, changes: dict[str, object], code: Code, words: str, eve: str
) -> None:
    with pair.undisturbed() as lines:
        with Stranger(pair.a, eve) as stranger:
            answer: object = stranger.greet(**changes)
            if code is Code.SKEW:  # it is told what time it is here, so that it can see who is off
                assert isinstance(answer, Hello)
                answer = stranger.heard()
            assert isinstance(answer, ErrorMessage)
            assert (answer.code, answer.model) == (code, "")
            assert words in answer.words
            assert stranger.heard() is None
        assert words in lines.only()
        assert f":{stranger.port} " in lines.only()


def test_a_twin_is_told_that_there_are_two_of_one_id(pair: Pair) -> None:
    mine = bytes.fromhex(pair.a.ask("status")["node"])
    with pair.undisturbed() as lines:
        with Stranger(pair.a, "copy") as stranger:
            answer = stranger.greet(node_id=mine)
            assert isinstance(answer, ErrorMessage)
            assert answer.code == Code.TWIN
            assert f"two live nodes have the id {mine.hex()}: a and copy" in answer.words
            assert stranger.heard() is None
        assert "was a state directory copied?" in lines.only()


def test_a_hello_of_a_later_version_with_more_fields_is_understood(pair: Pair) -> None:
    """Or nobody could be told that they speak too new a version."""
    with pair.undisturbed(), Stranger(pair.a, "new") as stranger:
        theirs = stranger.greet(newest=2, features=("signed",))
        assert isinstance(theirs, Hello)
    with pair.undisturbed() as lines, Stranger(pair.a, "new") as stranger:
        hello = [codec.HELLO, 2, 3, "default", os.urandom(8), os.urandom(8), "new", "", "9", 1]
        stranger.say(_raw([*hello, [], 5, {"more": 1}, 2]))
        assert "no common protocol: new speaks 2 to 3, a 1 to 1" in stranger.last_words()
        assert "no common protocol" in lines.only()


def _raw(fields: list[object]) -> bytes:
    body = codec._pack(fields)
    return len(body).to_bytes(4, "big") + body


# --- after HELLO ---------------------------------------------------------------------------------


def _update(change: bytes) -> bytes:
    """A record stamped now."""
    return Update(change, time.time_ns() // 1_000_000 * TICKS_PER_MS, Source(b"")).record


def _delta(*records: object, model: str = "default", source: bytes = b"s" * 12) -> bytes:
    """Made by hand: `wire.encode` would not make most of these."""
    return _raw([codec.DELTA, model, 1, [source, list(records)], 0, None, False])


GOOD = make_change(b"stranger", TEXT, b"x")
BAD_WORDS = {
    "garbage": (b"\x00\x00\x00\x03\xc1\xc1\xc1", "not msgpack"),
    "4 GiB": (HUGE, "frame of 4294967295 bytes, at most 1048576"),
    "a key of 2 MiB": (
        _delta(_update(b"\x01\xff\xff" + bytes(2 * MIB))),
        "frame of 2097[0-9]* bytes, at most 1048576",
    ),
    "no fields": (_raw([codec.DELTA]), "delta: 0 fields"),
    "a record too long": (_delta(_update(GOOD + bytes(800 << 10))), "an update of [0-9]* bytes"),
    "a record too short": (_delta(b"1234567"), "an update of 7 bytes, shorter than its stamp"),
    "no slot": (_delta(_update(b"\x01")), "too short to name its slot"),
    "half a slot": (_delta(_update(b"\x01\x01\xf4abc")), "slot of 500 bytes ends after 3"),
    "an empty key": (_delta(_update(b"\x01\x00\x00")), "an update of the empty key"),
    "a slot of the model's own": (_delta(_update(make_change(b"\0clear", TEXT))), "slot"),
    "an own one of no model": (_delta(_update(make_change(b"key", OWN))), "slot"),
    "an unknown kind": (_delta(_update(make_change(b"key", 77))), "unknown kind 77"),
    "no UTF-8": (_delta(_update(make_change(b"\xff\xfe", TEXT))), "not UTF-8"),
    "a key too long": (_delta(_update(make_change(b"k" * 5000, TEXT))), "at most 4096"),
    "no time of expiry": (_delta(_update(make_change(b"key", TEXT | EXPIRES))), "expires"),
    "beyond all time": (_delta(b"\xff" * 8 + GOOD), "beyond all time"),
    "text for a record": (_delta("text"), "not all byte strings"),
    "a short source": (_delta(_update(GOOD), source=b"abc"), "source b'abc', expected 12 bytes"),
    "a long name": (_delta(_update(GOOD), model="m" * 300), "at most 255"),
    "a model without session": (_delta(_update(GOOD), model="other"), "which has no session"),
    "a second HELLO": (
        codec.encode(Hello(1, 1, "default", NodeId(b"n" * 8), b"i" * 8, "", "", "", 1)),
        "a second HELLO",
    ),
    "a clock of clocks": (
        _raw([codec.CLOCK, "default", "map", {b"s": {}}, {}, 1, 1, 0, False, False]),
        "source b's'",
    ),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_nonsense_from_a_linked_peer_ends_that_link_with_one_line(
    pair: Pair, case: str, eve: str
) -> None:
    """And nothing of it is in the state: `undisturbed` compares."""
    data, expected = BAD_WORDS[case]
    with pair.undisturbed() as lines:
        with Stranger(pair.a, eve) as stranger:
            stranger.greet()
            stranger.open()
            stranger.say(data)
            words = stranger.last_words()
        came, went = lines.both()
        assert f"link to {eve} is up" in came
        assert re.search(f"warning link to {eve} closed after 0 s: .*{expected}", went)
        assert not words or re.search(expected, words)  # a reset may swallow the last words


def test_a_delta_before_any_clock_ends_the_link(pair: Pair, eve: str) -> None:
    with pair.undisturbed() as lines:
        with Stranger(pair.a, eve) as stranger:
            stranger.greet()
            stranger.say(_delta(_update(GOOD)))
            assert "DELTA of the model 'default', which has no session" in stranger.last_words()
        came, went = lines.both()
        assert f"link to {eve} is up" in came
        assert "which has no session" in went


def test_what_stood_before_a_bad_update_is_kept_and_a_write_of_here_still_beats_it(
    pair: Pair, eve: str
) -> None:
    """Stamped 50 s ahead, it was accepted: the clock that stamps must have seen it (I1)."""
    late = time.time_ns() // 1_000_000 * TICKS_PER_MS + 50_000 * TICKS_PER_MS
    good = Update(make_change(b"ahead", TEXT, b"eve's"), late, Source(b"")).record
    with Stranger(pair.a, eve) as stranger:
        stranger.greet()
        stranger.open()
        stranger.say(_delta(good, _update(make_change(b"key", 77))))
        assert "unknown kind 77" in stranger.last_words()
    pair.b.wait("--key", "ahead=eve's")
    pair.a.ask("set", model="default", key="ahead", kind="text", value="ours")
    assert pair.a.ask("get", model="default", key="ahead")["value"] == b"ours"
    pair.b.wait("--key", "ahead=ours")


def test_a_model_of_another_type_stops_on_that_link_and_only_there(pair: Pair, eve: str) -> None:
    with pair.undisturbed() as lines, Stranger(pair.a, eve) as stranger:
        stranger.greet()
        stranger.say(ClockMessage("default", "log", {}, {}, 1))
        told = stranger.until(lambda m: isinstance(m, ErrorMessage))
        assert isinstance(told, ErrorMessage)
        words = "model 'default' is a map on a, and a log on the other node"
        assert (told.code, told.model, told.words) == (Code.TYPE, "default", words)
        stranger.say(_delta(_update(GOOD)))  # was under way: is not taken, and is no offence
        stranger.open("_members")
        stranger.until(lambda m: isinstance(m, Delta) and m.model == "_members" and bool(m.runs))
        came, stopped = lines.both()
        assert f"link to {eve} is up" in came
        assert f"warning model default stopped with {eve}: {words}" in stopped
        assert any(words in problem for problem in pair.a.ask("status")["problems"])
        assert "key" not in pair.a.state()


def test_each_model_that_does_not_fit_is_refused_by_itself_and_the_link_stays(
    pair: Pair, eve: str
) -> None:
    with pair.undisturbed() as lines:
        with Stranger(pair.a, eve) as stranger:
            stranger.greet()
            stranger.open()
            names = {f"m{i}" for i in range(1000)}
            stranger.say(*(ClockMessage(name, "cake", {}, {}, 1) for name in names))
            while names:
                told = stranger.until(lambda m: isinstance(m, ErrorMessage))
                assert isinstance(told, ErrorMessage)
                assert (told.code, "data type 'cake'" in told.words) == (Code.TYPE, True)
                names.remove(told.model)
            stranger.say(Ping(1, 1, b""))
            stranger.until(lambda m: isinstance(m, Pong))
        assert any("data type 'cake', allowed are map" in line for line in lines.all())


def test_models_without_end_that_do_not_fit_end_the_link(pair: Pair, eve: str) -> None:
    with pair.undisturbed() as lines:
        with Stranger(pair.a, eve) as stranger:
            stranger.greet()
            stranger.open()
            stranger.say(*(ClockMessage(f"m{i}", "cake", {}, {}, 1) for i in range(3000)))
            assert "more than 2048 models" in stranger.last_words()
        until(lambda: lines.about("more than 2048 models"), "a line in the log")


def test_errors_of_models_without_end_are_not_remembered(pair: Pair, eve: str) -> None:
    """A link notes which models stopped on it: of those that it has."""
    with pair.undisturbed() as lines, Stranger(pair.a, eve) as stranger:
        stranger.greet()
        stranger.open()
        memory = pair.a.rss()
        for start in range(0, 200_000, 1000):
            numbers = range(start, start + 1000)
            names = (f"{number}{'x' * 200}" for number in numbers)
            stranger.say(*(ErrorMessage(Code.TYPE, "no", name) for name in names))
        stranger.say(Ping(1, 1, b""))
        stranger.until(lambda m: isinstance(m, Pong))
        assert pair.a.rss() - memory < GROWTH_MAX
        stranger.say(Bye(Code.LEAVING, "enough"))
        assert stranger.last_words() == ""
        _, went = lines.both()
        assert "enough" in went


def test_pings_without_end_are_answered_with_the_latest(pair: Pair, eve: str) -> None:
    with pair.undisturbed(), Stranger(pair.a, eve) as stranger:
        stranger.greet()
        stranger.open()
        stranger.say(*(Ping(number, 1, b"") for number in range(200_000)))
        stranger.until(lambda m: isinstance(m, Pong) and m.sent_ms == 199_999)
        stranger.say(Bye(99, "a code that nobody knows"))
        assert stranger.last_words() == ""


# --- the control socket --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (os.urandom(MEGABYTE), "control frame"),
        (HTTP, "control frame of 1195725856 bytes, at most 4194304"),
        (HUGE, "control frame of 4294967295 bytes, at most 4194304"),
        (b"\x00\x00\x00\x03\xc1\xc1\xc1", "control frame is not msgpack"),
        (b"\x00\x00\x00\x01\x90", "control frame holds a list, not a map"),
    ],
    ids=["random", "http", "4 GiB", "garbage", "list"],
)
@pytest.mark.parametrize("greet", [False, True])
def test_a_caller_that_talks_nonsense_is_told_so_and_closed(
    fresh_pair: Pair, data: bytes, words: str, greet: bool
) -> None:
    if data[0] == 0 and len(data) == MEGABYTE:
        data = b"\xff" + data
    with fresh_pair.undisturbed() as lines:
        with RawCaller(fresh_pair.a.socket, greet=greet) as caller:
            caller.say(data)
            (message,) = caller.rest()
            assert message["id"] is None
            assert message["error"]["code"] == PROTOCOL_ERROR
            assert words in message["error"]["message"]
        assert f"warning control connection closed: {words}" in lines.only()


def test_half_a_frame_to_the_control_socket_disturbs_nobody(pair: Pair) -> None:
    with pair.undisturbed() as lines:
        for _ in range(100):
            with RawCaller(pair.a.socket) as caller:
                caller.say(request(1, "get", model="default", key="x")[:-3])
        assert not lines.all()


def test_what_can_be_answered_leaves_the_connection_as_it_was(pair: Pair) -> None:
    """A key of 2 MiB among them: an error of its own, no hang-up."""
    long = "k" * 2 * MIB
    wrong = [
        (request(1, "set", model="default", key=long, kind="text", value="x"), DATA_ERROR),
        (request(1, "set", model="default", key="\0x", kind="text", value="x"), DATA_ERROR),
        (request(1, "set", model="default", key="k", kind="text", value=b"x" * MIB), DATA_ERROR),
        (request(1, "set", model="default", key="k", kind="cake", value=b"x"), 2),
        (request(1, "set", model="default", key=7, kind="text", value=b"x"), 2),
        (request(1, "set", model="a/b", key="k", kind="text", value=b"x"), DATA_ERROR),
        (request(1, "set", model="_members", key="k", kind="text", value=b"x"), 1),
        (request(1, "get", model="default", key=long), DATA_ERROR),
        (request(1, "del", model="default", keys=["k", 7]), 2),
        (request(1, "load", model="default", kind="text", pairs=["k"]), 2),
        (request(1, "load", model="default", kind="text", pairs=["k", "v", long, "v"]), DATA_ERROR),
        (request(1, "set", model="default", key="k", kind="text", value="x", ttl_ms=2**63), 2),
        (request(1, "watch", model="default", after="nonsense:default=x"), 2),
        (request(1, "watch", patterns=["p"] * 101), 2),
        (request(1, "join", addresses=["not an address"]), 78),
        (request(1, "cake"), 2),
    ]
    with pair.undisturbed() as lines, RawCaller(pair.a.socket) as caller:
        for frame, code in wrong:
            caller.say(frame)
            answer = caller.heard() or {}
            assert (answer["id"], answer["error"]["code"]) == (1, code), answer
            assert len(answer["error"]["message"]) < 1000
        for fields in ({}, {"id": "x"}, {"id": 1.5}, {"id": None, "op": "get"}):
            caller.say(protocol.encode(fields))
            answer = caller.heard() or {}
            assert (answer["id"], answer["error"]["code"]) == (None, 2)
        caller.say(request(2, "get", model="default", key="pulse"))
        assert (caller.heard() or {})["ok"]["kind"] == "text"
        assert not lines.all()


def test_every_operation_survives_fields_of_every_kind(pair: Pair) -> None:
    """An answer or an error in words, and never one that the log calls a bug."""
    odd = [None, True, -1, 2**64 - 1, 1.5, "", "x", b"\xff", [], [1], [[]], {}, {"a": 1}, "\udcff"]
    names = ["model", "key", "keys", "kind", "value", "pattern", "patterns", "pairs", "args"]
    names += ["operation", "after", "ttl_ms", "type", "peers", "protocol", "if_rev", "stream"]
    operations = ["hello", "get", "set", "del", "load", "list", "watch", "call", "wait", "cancel"]
    operations += ["model_list", "model_create", "model_info", "model_drop", "status", "peers"]
    rng = random.Random(7)
    with RawCaller(pair.a.socket) as caller:
        for number in range(1, 3000):
            fields = {name: rng.choice(odd) for name in rng.sample(names, rng.randint(0, 6))}
            fields |= {"model": f"odd-{number % 3}"} if rng.random() < 0.5 else {}
            caller.say(protocol.encode({"id": number, "op": rng.choice(operations), **fields}))
        caller.say(request(3000, "status"))
        for message in caller.rest():
            code = message.get("error", {}).get("code")
            assert code in (None, 1, 2, DATA_ERROR, PROTOCOL_ERROR), message
            if message["id"] == 3000:
                break
    assert "Traceback" not in pair.a.log()
