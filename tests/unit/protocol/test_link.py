from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    NOW,
    PLENTY,
    TICKS,
    WALL,
    Line,
    a_node,
    at,
    default,
    examples,
    put,
    record,
    save,
    source,
    state,
    values,
    write,
)

from scuttled.errors import Refused, RemoteProtocolError
from scuttled.models.registry import MODELS
from scuttled.node.node import MODELS_MAX, Node
from scuttled.protocol import codec, heartbeat, in_flight, link, session
from scuttled.protocol.handshake import Refusal, check_hello
from scuttled.protocol.link import Link
from scuttled.protocol.messages import (
    Ask,
    Bye,
    ClockMessage,
    Code,
    Delta,
    ErrorMessage,
    Have,
    Hello,
    Message,
    Ping,
    Pong,
)
from scuttled.replica import sources
from scuttled.replica.change import TEXT
from scuttled.replica.update import Instant, stamp


def linked(one: Node | None = None, two: Node | None = None) -> Line:
    """Two nodes whose link is up and has nothing to say."""
    line = Line(one or a_node(1), two or a_node(2))
    line.settle()
    assert line.up
    return line


def tell(line: Line, end: int, *messages: Message, now: Instant = NOW) -> None:
    """As if the other end had said that to this one."""
    line.links[end].receive(b"".join(map(codec.encode, messages)), now)


def said(line: Line, end: int, now: Instant = NOW) -> list[Message]:
    """What this end has to say by now, which is then lost."""
    line.draw(end, now)
    frames = codec.Frames()
    frames.trust()
    data, line.under_way[end] = line.under_way[end], b""
    return list(frames.feed(data))


# --- shaking hands -------------------------------------------------------------------------------


def test_two_nodes_shake_hands_and_share_what_they_have() -> None:
    one, two = a_node(1), a_node(2)
    write(one, "of one")
    write(two, "of two")
    linked(one, two)
    assert values(default(one)) == values(default(two)) == {"of one": "v", "of two": "v"}
    assert state(default(one)) == state(default(two))
    assert state(one.models["_members"]) == state(two.models["_members"])


@examples(50)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_bytes_may_come_in_any_pieces(sizes: list[int]) -> None:
    one, two = a_node(1), a_node(2)
    write(one, "k", "x" * 100)
    line = Line(one, two)
    for n in range(400):
        for end in (0, 1):
            line.draw(end)
            line.deliver(end, most=sizes[n % len(sizes)])
    line.settle()
    assert values(default(two)) == {"k": "x" * 100}


def test_the_listener_says_nothing_before_it_was_spoken_to() -> None:
    line = Line(a_node(1), a_node(2))
    assert said(line, 1) == []
    assert [type(message) for message in said(line, 0)] == [Hello]


def test_the_listener_waits_for_the_dialler_to_choose_this_link() -> None:
    line = Line(a_node(1), a_node(2))
    line.draw(0)
    line.deliver(0)
    assert line.links[1].peer is not None
    assert not line.links[1].up
    assert [type(message) for message in said(line, 1)] == [Hello]


@pytest.mark.parametrize("message", [Pong(1, 2), ClockMessage("m", "map", {}, {}, 1)])
def test_who_does_not_begin_with_hello_is_cut_off(message: Message) -> None:
    line = Line(a_node(1), a_node(2))
    with pytest.raises(RemoteProtocolError, match="before HELLO"):
        tell(line, 1, message)


def test_a_second_hello_is_nonsense() -> None:
    line = linked()
    with pytest.raises(RemoteProtocolError, match="a second HELLO"):
        tell(line, 1, line.nodes[0].hello(NOW))


def test_a_large_frame_is_taken_from_who_has_shaken_hands_and_from_no_other() -> None:
    line = Line(a_node(1), a_node(2))
    large = codec.encode(Delta("default", 1, [(source(1), [bytes(9)] * 9000)], 1, None))
    with pytest.raises(RemoteProtocolError, match="at most 4096"):
        line.links[1].receive(large, NOW)


MINE = a_node(1).hello(NOW)
THEIRS = a_node(2).hello(NOW)


@pytest.mark.parametrize(
    ("theirs", "code", "words"),
    [
        (replace(THEIRS, cluster="x"), Code.CLUSTER, "'x' and 'test' are different clusters"),
        (replace(THEIRS, oldest=2, newest=3), Code.VERSION, "n2 speaks 2 to 3, n1 1 to 1"),
        (replace(THEIRS, oldest=0, newest=0), Code.VERSION, "no common protocol"),
        (MINE, Code.SELF, "that address is this very node"),
        (replace(MINE, incarnation=b"another!"), Code.TWIN, "a state directory copied"),
        (
            replace(THEIRS, wall_ms=WALL + 60_001),
            Code.SKEW,
            "the clock of n2 is 60.0 s ahead of that of n1, allowed are 60 s",
        ),
        (replace(THEIRS, wall_ms=WALL - 61_000), Code.SKEW, "61.0 s behind that of n1"),
    ],
    ids=["cluster", "newer", "older", "self", "twin", "ahead", "behind"],
)
def test_a_hello_that_does_not_fit_is_refused(theirs: Hello, code: Code, words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        check_hello(MINE, theirs, 60_000)
    assert caught.value.reason == code


@pytest.mark.parametrize(
    "theirs",
    [
        THEIRS,
        replace(THEIRS, oldest=0, newest=9),
        replace(THEIRS, wall_ms=WALL + 60_000),
        replace(THEIRS, wall_ms=WALL - 60_000),
        replace(THEIRS, features=("more",)),
    ],
    ids=["plain", "versions", "ahead", "behind", "features"],
)
def test_a_hello_that_fits_is_not(theirs: Hello) -> None:
    check_hello(MINE, theirs, 60_000)


def test_both_ends_learn_why_a_link_was_refused() -> None:
    line = Line(a_node(1), a_node(2, cluster="other"))
    line.settle()
    ends = [end.ended for end in line.links]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].code == ends[1].code == Code.CLUSTER
    assert ends[0].words == ends[1].words == "'test' and 'other' are different clusters"
    assert (ends[0].by_peer, ends[1].by_peer) == (True, False)
    assert not line.nodes[0].links


def test_a_node_that_dials_itself_learns_so() -> None:
    node = a_node(1)
    line = Line(node, node)
    line.settle()
    assert [end.ended.code for end in line.links if end.ended] == [Code.SELF, Code.SELF]
    assert not node.links


def test_words_longer_than_a_peer_takes_are_cut() -> None:
    line = linked()
    line.links[0].close(Code.PROTOCOL, "x" * 5000)
    (error,) = said(line, 0)
    assert error == ErrorMessage(Code.PROTOCOL, "x" * codec.WORDS_MAX)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.LEAVING, Bye),
        (Code.DUPLICATE, Bye),
        (Code.SELF, Bye),
        (Code.PROTOCOL, ErrorMessage),
        (Code.SKEW, ErrorMessage),
    ],
)
def test_leaving_is_not_failing(code: Code, kind: type) -> None:
    line = linked()
    line.links[0].close(code, "words")
    line.draw(0)
    line.deliver(0)
    ended = line.links[1].ended
    assert ended == (code, "words", True)
    line.links[1].tick(at(60.0))
    assert said(line, 1) == []


def test_what_comes_after_the_end_is_not_taken() -> None:
    line = linked()
    tell(line, 1, Bye(Code.LEAVING, "stops"), line.nodes[0].hello(NOW))
    tell(line, 1, Bye(99, "unknown code"))
    assert line.links[1].ended == (Code.LEAVING, "stops", True)
    other = linked()
    tell(other, 1, Bye(99, "of a later version"))
    assert other.links[1].ended == (Code.PROTOCOL, "of a later version", True)


# --- models --------------------------------------------------------------------------------------


def test_a_model_that_is_new_here_is_opened_and_new_ones_are_told() -> None:
    one, two = a_node(1), a_node(2)
    line = linked(one, two)
    model = one.model_to_write("packages", "map")
    put(model, "curl")  # type: ignore[arg-type]
    one.accepted(model)
    line.settle()
    assert values(two.models["packages"]) == {"curl": "v"}  # type: ignore[arg-type]


def test_a_type_clash_stops_that_model_on_that_link_and_nothing_else() -> None:
    one, two = a_node(1), a_node(2)
    line = linked(one, two)
    tell(line, 1, ClockMessage("default", "log", {}, {}, 1))
    (error,) = said(line, 1)
    assert isinstance(error, ErrorMessage)
    assert (error.code, error.model) == (Code.TYPE, "default")
    assert error.words == "model 'default' is a map on n2, and a log on the other node"
    tell(line, 0, error)
    write(one, "k")
    model = one.model_to_write("packages", "map")
    put(model, "curl")  # type: ignore[arg-type]
    one.accepted(model)
    line.settle()
    assert line.up
    assert line.links[0].stopped == line.links[1].stopped == {"default": error.words}
    assert values(default(two)) == {}
    assert values(two.models["packages"]) == {"curl": "v"}  # type: ignore[arg-type]
    tell(line, 1, Delta("default", 1, [], 1, None))


def test_a_model_of_an_unknown_type_is_refused_and_the_link_stays() -> None:
    line = linked()
    tell(line, 1, ClockMessage("tree", "btree", {}, {}, 1))
    (error,) = said(line, 1)
    assert isinstance(error, ErrorMessage)
    assert error.words == f"data type 'btree', allowed are {', '.join(MODELS)}"
    assert line.up


def test_one_model_more_than_there_can_be_is_refused_and_the_link_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = linked()
    monkeypatch.setattr("scuttled.node.node.MODELS_MAX", 2)
    tell(line, 1, ClockMessage("third", "map", {}, {}, 1))
    (error,) = said(line, 1)
    assert isinstance(error, ErrorMessage)
    assert (error.code, error.model) == (Code.MODELS, "third")
    assert line.up


def test_updates_of_a_model_that_was_never_opened_are_nonsense() -> None:
    line = linked()
    with pytest.raises(RemoteProtocolError, match="'unheard of', which has no session"):
        tell(line, 1, Delta("unheard of", 1, [], 1, None))


def test_a_have_of_a_model_that_was_never_opened_is_let_pass() -> None:
    tell(linked(), 1, Have("unheard of", 1, {}, 1))


def test_an_update_that_is_none_ends_the_link_and_what_stood_before_it_is_saved() -> None:
    two = a_node(2, stored=True)
    line = linked(a_node(1), two)
    bad = [record("good", TICKS), stamp(TICKS) + b"?"]
    with pytest.raises(RemoteProtocolError, match="too short"):
        tell(line, 1, Delta("default", 1, [(source(9), bad)], 1, None))
    assert values(default(two)) == {"good": "v"}
    assert not two.durability.is_saved()
    save(two)
    assert default(two).log.visible == default(two).log.end


@examples(200)
@given(st.data())
def test_no_bytes_of_a_peer_raise_anything_but_a_protocol_error(data: st.DataObject) -> None:
    line = linked()
    kinds: list[Message] = [
        ClockMessage("default", "map", {source(1): TICKS}, {}, 1),
        ClockMessage("x", data.draw(st.text(max_size=5)), {source(2): 2**63 - 1}, {}, 7),
        Delta("default", 1, [(source(1), [data.draw(st.binary(min_size=9, max_size=30))])], 3, {}),
        Have("default", data.draw(st.integers(0, 3)), {source(1): 5}, data.draw(st.integers(0, 9))),
        Ping(1, 2, data.draw(st.binary(min_size=8, max_size=8))),
        Pong(data.draw(st.integers(0, 5)), 2),
        ErrorMessage(7, "words", data.draw(st.sampled_from(["default", "x"]))),
    ]
    try:
        for message in data.draw(st.lists(st.sampled_from(kinds), max_size=9)):
            body = bytearray(codec.encode(message))
            if data.draw(st.booleans()):
                body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
            line.links[1].receive(bytes(body), NOW)
            line.links[1].tick(NOW)
            line.draw(1)
    except RemoteProtocolError:
        pass
    write(line.nodes[1], "still", "there")
    assert values(default(line.nodes[1]))["still"] == "there"


# --- fairness and limits -------------------------------------------------------------------------


def test_a_large_model_does_not_make_a_small_one_wait() -> None:
    one, two = a_node(1), a_node(2)
    for n in range(50):
        put(default(one), f"k{n}", "x" * 30_000)
    small = one.model_to_write("small", "map")
    put(small, "k")  # type: ignore[arg-type]
    line = Line(one, two)
    for _ in range(4):
        for end in (0, 1):
            if line.links[end].wants_to_send(NOW):
                line.under_way[end] += line.links[end].draw(NOW)
            line.deliver(end)
    assert values(two.models["small"]) == {"k": "v"}  # type: ignore[arg-type]
    assert default(two).count < 50


def test_one_draw_is_bounded() -> None:
    one, two = a_node(1), a_node(2)
    for n in range(500):
        put(default(one), f"k{n}", "x" * 1000)
    line = Line(one, two)
    largest = 0
    for _ in range(100):
        for end in (0, 1):
            data = line.links[end].draw(NOW)
            largest = max(largest, len(data))
            line.under_way[end] += data
            line.deliver(end)
    assert default(two).count == 500
    assert 0.9 * link.DRAW_BYTES <= largest <= 1.2 * link.DRAW_BYTES


def test_however_many_models_are_refused_at_once_the_link_stays() -> None:
    """They come in one piece at each start of a link: it would be closed again for ever."""
    line = linked()
    many = [ClockMessage(f"m{n}", "no such type", {}, {}, 1) for n in range(1000)]
    tell(line, 1, *many, *many)
    errors = said(line, 1)
    assert [error.model for error in errors] == [f"m{n}" for n in range(1000)]  # type: ignore[union-attr]
    assert line.up


def test_two_nodes_that_have_all_models_there_can_be_and_none_in_common_stay_linked() -> None:
    nodes = a_node(1), a_node(2)
    for number, node in enumerate(nodes):
        for n in range(MODELS_MAX - 2):
            node.create(f"m{number}-{n}", "map")
    line = linked(*nodes)
    write(nodes[0], "k")
    line.settle()
    assert values(default(nodes[1])) == {"k": "v"}
    assert len(line.links[0].stopped) == len(line.links[1].stopped) == 2 * (MODELS_MAX - 2)


def test_a_peer_that_names_models_without_end_is_cut_off() -> None:
    line = linked()
    with pytest.raises(RemoteProtocolError, match=f"more than {link.STOPPED_MAX} models"):
        _name_models(line, 5000)
    assert len(line.links[1].stopped) <= link.STOPPED_MAX + 1


def _name_models(line: Line, count: int) -> None:
    for n in range(count):
        tell(line, 1, ClockMessage(f"m{n}", "no such type", {}, {}, 1))
        said(line, 1)


def test_an_error_about_a_model_that_is_not_shared_is_let_pass() -> None:
    line = linked()
    tell(line, 1, *[ErrorMessage(Code.TYPE, "words", f"m{n}") for n in range(5000)])
    assert line.links[1].stopped == {}


def test_a_flood_of_pings_is_answered_once() -> None:
    line = linked()
    tell(line, 1, *[Ping(n, WALL, b"") for n in range(1000)])
    assert said(line, 1) == [Pong(999, WALL)]


# --- acknowledgement -----------------------------------------------------------------------------


def test_acknowledgements_are_collected_for_a_while() -> None:
    one, two = a_node(1), a_node(2)
    line = linked(one, two)
    line.pass_time(0.0, 1.0)
    for n in range(3):
        write(one, f"k{n}")
        line.draw(0, at(1.0))
        line.deliver(0, at(1.0))
    assert said(line, 1, at(1.0)) == []
    assert line.links[1].next_timer(at(1.0)) == 1.0 + link.HAVE_DELAY_S
    (have,) = said(line, 1, at(1.0 + link.HAVE_DELAY_S))
    assert isinstance(have, Have)
    tell(line, 0, have)
    assert line.links[0].lag == 0


def test_acknowledgements_do_not_wait_when_much_has_come() -> None:
    one, two = a_node(1), a_node(2)
    line = linked(one, two)
    line.pass_time(0.0, 1.0)
    write(one, "k", "x" * (link.HAVE_BYTES + 1))
    line.draw(0, at(1.0))
    line.deliver(0, at(1.0))
    assert [type(message) for message in said(line, 1, at(1.0))] == [Have]


def test_what_is_not_saved_is_acknowledged_when_it_is() -> None:
    one, two = a_node(1), a_node(2, stored=True)
    line = linked(one, two)
    line.pass_time(0.0, 1.0)
    write(one, "k")
    line.draw(0, at(1.0))
    line.deliver(0, at(1.0))
    assert said(line, 1, at(2.0)) == []
    rung: list[str] = []
    line.links[1].next_timer(at(2.0))
    line.links[1].rearm = lambda: rung.append("rearm")
    save(two)
    assert rung == ["rearm"]
    assert [type(message) for message in said(line, 1, at(2.0))] == [Have]


def test_a_link_is_synced_when_both_ends_have_all_on_disk() -> None:
    one, two = a_node(1, stored=True), a_node(2, stored=True)
    write(one, "k")
    line = linked(one, two)
    line.pass_time(0.0, 0.5)
    assert all(end.synced for end in line.links)
    write(two, "j")
    save(two)
    assert not line.links[1].synced
    line.pass_time(0.5, 1.0)
    assert all(end.synced for end in line.links)
    assert [end.lag for end in line.links] == [0, 0]


# --- time ----------------------------------------------------------------------------------------


def test_an_idle_link_is_pinged_and_measures_its_round_trip() -> None:
    line = linked()
    line.pass_time(0.0, 1.0)
    for end in line.links:
        end.tick(at(heartbeat.PING_IDLE_S + 1.5))
    pings = said(line, 0, at(heartbeat.PING_IDLE_S + 1.5))
    assert [type(message) for message in pings] == [Ping]
    tell(line, 1, *pings, now=at(5.0))
    pongs = [m for m in said(line, 1, at(5.0)) if isinstance(m, Pong)]
    tell(line, 0, *pongs, now=at(heartbeat.PING_IDLE_S + 2.0))
    assert line.links[0].pulse.rtt_s == pytest.approx(0.5)


def test_a_silent_link_ends() -> None:
    line = linked()
    first = line.links[0]
    due_s = first.next_timer(NOW)
    for _ in range(20):
        first.tick(at(due_s))
        first.draw(at(due_s))
        if first.ended:
            break
        due_s = max(due_s + 0.001, first.next_timer(at(due_s)))
    assert first.ended is not None
    assert first.ended.words == "silent for 10 s"
    assert due_s == pytest.approx(10.0, abs=0.1)


def test_a_handshake_that_does_not_come_ends_the_connection() -> None:
    listener = Link(a_node(1), dialled="", now=NOW)
    assert listener.next_timer(NOW) == link.HELLO_S
    listener.tick(at(link.HELLO_S - 0.1))
    assert listener.ended is None
    listener.tick(at(link.HELLO_S))
    assert listener.ended is not None
    assert listener.ended.words == "no handshake within 10 s"


def test_links_that_talk_live_on() -> None:
    line = linked()
    line.pass_time(0.0, 60.0, step_s=0.5)
    assert line.up
    assert line.links[0].bytes_out < 2000


def test_clocks_that_differ_without_reason_start_the_models_afresh() -> None:
    """What should not happen, had: one end thinks that the other has what it lacks."""
    one, two = a_node(1), a_node(2)
    line = linked(one, two)
    line.pass_time(0.0, 1.0)
    default(one).write(record("lost")[8:], WALL)
    session = line.links[0].sessions["default"]
    session.cursor, session._told = default(one).log.end, default(one).clock.revision
    line.pass_time(1.0, 3.0)
    assert values(default(two)) == {}
    line.pass_time(3.0, 20.0)
    assert values(default(two)) == {"lost": "v"}
    assert state(default(one)) == state(default(two))


def test_clocks_are_given_time_anew_after_a_start() -> None:
    beats, differ = heartbeat.Heartbeat(at(0.0)), (bytes(8), b"other...")
    for second in (10.0, 20.0):
        beats.ping(at(second), lambda: bytes(8))
    assert not beats.out_of_step(*differ)
    beats.restarted()
    assert not beats.out_of_step(*differ)
    assert beats.out_of_step(*differ)


def test_a_stalled_sender_asks_whether_the_peer_reads() -> None:
    one, two = a_node(1), a_node(2)
    line = linked(one, two)
    line.pass_time(0.0, 1.0)
    write(one, "k")
    line.draw(0, at(1.0))
    write(one, "j")
    late = at(1.0 + line.links[0].sessions["default"].flight.stall_s + 0.01)
    assert line.links[0].next_timer(at(1.0)) <= late.mono_s
    line.links[0].tick(late)
    line.under_way[0] = b""
    assert [type(message) for message in said(line, 0, late)] == [Ping]
    assert not line.links[0].wants_to_send(late)


AHEAD_MS = 65_000


def test_a_pause_does_not_outlive_the_answer_even_if_nothing_was_acknowledged() -> None:
    """A peer that refused an update as of the future acknowledges nothing in this round."""
    one, two = a_node(1), a_node(2)
    line = linked(one, two)
    line.pass_time(0.0, 1.0)
    default(one).put("ahead", TEXT, b"v", WALL + AHEAD_MS)
    one.accepted(default(one))
    line.settle(at(1.0))
    assert line.links[0].sessions["default"].paused(at(2.0))
    put(default(one), "next")
    one.accepted(default(one))
    line.links[0].tick(at(2.0))
    line.settle(at(2.0))
    assert line.links[0].sessions["default"].cursor == default(one).log.end
    assert line.links[1].updates_in == 1 + 2


def test_what_was_refused_is_asked_for_again_and_then_all_is_whole() -> None:
    one, two = a_node(1), a_node(2)
    line = linked(one, two)
    line.pass_time(0.0, 1.0)
    default(one).put("ahead", TEXT, b"v", WALL + AHEAD_MS)
    one.accepted(default(one))
    line.pass_time(1.0, 3.0)
    assert values(default(two)) == {}
    assert two.future == 1
    assert "stamped 64.0 s ahead" in two.notices.warnings[0]
    line.pass_time(3.0, 8.0)
    assert values(default(two), WALL + AHEAD_MS) == {"ahead": "v"}
    assert state(default(one)) == state(default(two))
    assert two.future == 1, "it was not asked for in vain"


def test_counts_of_what_went_over_the_link_are_kept() -> None:
    one, two = a_node(1), a_node(2)
    for n in range(10):
        write(one, f"k{n}")
    line = linked(one, two)
    first, second = line.links
    members = 1
    assert (first.updates_out, second.updates_in) == (10 + members, 10 + members)
    assert (second.updates_out, first.updates_in) == (members, members)
    assert (first.bytes_out, second.bytes_out) == (second.bytes_in, first.bytes_in)
    assert PLENTY > first.bytes_out > 200


def test_a_pause_is_as_long_as_the_round_trip_asks_for() -> None:
    line = linked()
    line.pass_time(0.0, 1.0)
    line.links[0].tick(at(6.0))
    pings = said(line, 0, at(6.0))
    tell(line, 0, Pong(pings[0].sent_ms, WALL), now=at(6.5))  # type: ignore[union-attr]
    assert line.links[0].sessions["default"].flight.stall_s == in_flight.STALL_S + 1.0


# --- a peer that floods --------------------------------------------------------------------------


def test_a_peer_that_takes_no_answers_is_left_and_nobody_gets_an_error() -> None:
    """`tick` and `draw` are called where no peer's error is expected: it would end the daemon."""
    line = linked()
    tell(line, 1, *[Ask(number, "default", 0, []) for number in range(100)])
    while line.nodes[1].verifier.step():
        pass
    line.links[1].tick(at(4.0))
    assert line.links[1].ended is not None
    assert line.links[1].ended.words == "64 messages wait, and the peer takes none"
    assert isinstance(said(line, 1, at(4.0))[-1], ErrorMessage)


def test_what_a_peer_says_of_clocks_is_bounded_over_all_its_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "SOURCES_MAX", 50)
    monkeypatch.setattr(sources, "SOURCES_MAX", 50)
    line = linked()
    tell(line, 1, *[Have("default", 1, {source(n): 1}, 0) for n in range(3, 50)])
    assert line.links[1].stopped == {}
    tell(line, 1, *[Have("default", 1, {source(n): 1}, 0) for n in range(50, 100)])
    assert_full(line, "51 sources in the model 'default', at most 50")


def test_what_is_refused_as_of_the_future_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SOURCES_MAX", 50)
    line, late = linked(), record("k", TICKS * 2)
    deltas = [Delta("default", 1, [(source(n), [late])], 1, None) for n in range(100)]
    tell(line, 1, *deltas)
    assert_full(line, "51 sources in the model 'default', at most 50")


def test_a_clock_of_more_sources_than_there_can_be_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "SOURCES_MAX", 50)
    times = {source(n): 1 for n in range(51)}
    for clock in (
        ClockMessage("default", "map", times, {}, 2),
        ClockMessage("default", "map", {}, times, 2),
    ):
        line = linked()
        tell(line, 1, clock)
        assert_full(line, "51 sources in the model 'default', at most 50")


# --- a model full of sources ---------------------------------------------------------------------


def assert_full(line: Line, words: str) -> None:
    """That model has stopped at both ends, which say why; all else goes on."""
    line.settle()
    assert line.links[0].stopped == line.links[1].stopped == {"default": words}
    other = line.nodes[1].model_to_write("other", "map")
    put(other, "k")  # type: ignore[arg-type]
    line.nodes[1].accepted(other)
    line.settle()
    assert line.up
    assert values(line.nodes[0].models["other"]) == {"k": "v"}  # type: ignore[arg-type]


def fill(node: Node, first: int, stop: int) -> None:
    default(node).clock.merge([(source(n), 1) for n in range(first, stop)])


@pytest.fixture
def fifty(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (sources, session):
        monkeypatch.setattr(room, "SOURCES_MAX", 50)


@pytest.mark.usefixtures("fifty")
@pytest.mark.parametrize("full", [0, 1], ids=["dialler", "listener"])
def test_a_model_with_more_sources_than_there_can_be_takes_no_link_down(full: int) -> None:
    nodes = a_node(1), a_node(2)
    fill(nodes[full], 10, 61)
    assert_full(linked(*nodes), "51 sources in the model 'default', at most 50")


@pytest.mark.usefixtures("fifty")
def test_an_older_peer_that_let_pass_that_a_model_is_full_is_told_again() -> None:
    nodes = a_node(1), a_node(2)
    fill(nodes[1], 10, 61)
    line = linked(*nodes)
    tell(line, 1, ClockMessage("default", "map", {}, {}, 1))
    (error,) = said(line, 1)
    assert isinstance(error, ErrorMessage)
    assert error.model == "default"
    assert line.up


@pytest.mark.usefixtures("fifty")
def test_two_models_that_have_too_many_sources_together_stop_before_all_is_sent() -> None:
    nodes = a_node(1), a_node(2)
    fill(nodes[0], 10, 40)
    fill(nodes[1], 40, 70)
    write(nodes[0], "k")
    line = linked(*nodes)
    assert_full(line, "61 sources in the model 'default', at most 50")
    assert values(default(nodes[1])) == {}


@pytest.mark.usefixtures("fifty")
def test_a_commit_that_brings_a_source_too_many_stops_that_model_only() -> None:
    nodes = a_node(1), a_node(2)
    fill(nodes[0], 10, 60)
    line = linked(*nodes)
    assert line.links[0].stopped == {}
    tell(line, 1, Delta("default", line.links[1].sessions["default"].round, [], 9, {source(9): 1}))
    assert_full(line, "51 sources in the model 'default', at most 50")


@pytest.mark.usefixtures("fifty")
def test_a_member_finds_a_place_in_a_model_that_takes_nobody_else() -> None:
    """Its life may be a new one (I5): it must not be left without a way to write."""
    nodes = a_node(1), a_node(2)
    fill(nodes[0], 10, 59)
    line = linked(*nodes)
    write(nodes[1], "k")
    line.settle()
    assert values(default(nodes[0])) == {"k": "v"}
    assert line.links[0].stopped == {}
    with pytest.raises(Refused, match="model 'default' has 50 sources, so there can be no new"):
        write(nodes[0], "k")
    assert values(default(nodes[0])) == {"k": "v"}


@pytest.mark.usefixtures("fifty")
def test_a_node_for_whose_rows_there_is_no_place_goes_on() -> None:
    node = a_node(1)
    node.members.model.clock.merge([(source(n), 1) for n in range(10, 60)])
    node.begin_anew(2, WALL)
    node.tend(at(100.0))
    node.retire(WALL)
    write(node, "k")
    line = linked(node, a_node(3))
    assert values(default(line.nodes[1])) == {"k": "v"}


@pytest.mark.usefixtures("fifty")
def test_no_row_tells_of_a_clock_that_no_peer_would_take() -> None:
    node = a_node(1)
    row = f"{node.author.node_id.hex()}/default"
    write(node, "k")
    node.tend(at(1.0))
    assert node.members.model.find(row, WALL) is not None
    fill(node, 10, 60)
    node.tend(at(2.0))
    assert node.members.model.find(row, WALL) is None


def test_a_commit_of_our_own_times_does_not_silence_what_we_write_next() -> None:
    """A peer's word raises our clock of ourselves; a write below it would be sent to nobody."""
    line = linked()
    ahead = TICKS + 50_000 * 4096
    commit = {line.nodes[1].author.source: ahead}
    tell(line, 1, Delta("default", line.links[1].sessions["default"].round, [], 99, commit))
    assert default(line.nodes[1]).clock[line.nodes[1].author.source] == ahead
    other = linked(a_node(3), line.nodes[1])
    write(line.nodes[1], "next")
    other.settle()
    assert "next" in values(default(other.nodes[0]))
