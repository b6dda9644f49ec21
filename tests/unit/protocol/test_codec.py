from itertools import pairwise
from math import inf
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import examples, record, source

from scuttled.errors import RemoteProtocolError
from scuttled.printable import one_line
from scuttled.protocol import codec
from scuttled.protocol.messages import (
    Ask,
    Bye,
    ClockMessage,
    Delta,
    ErrorMessage,
    FlowReport,
    Have,
    Hello,
    Message,
    Ping,
    Pong,
    Reset,
    Strait,
    Tell,
)
from scuttled.protocol.rate_law import Rates
from scuttled.replica.update import RECORD_BYTES_MAX, TIMESTAMP_MAX, NodeId, make_source

plain = st.characters().filter(lambda char: one_line(char) == char)
text = st.text(plain, max_size=255)
numbers = st.integers(0, TIMESTAMP_MAX)
sources = st.builds(make_source, st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1))
clocks = st.dictionaries(sources, numbers, max_size=4)
records = st.binary(min_size=9, max_size=60).filter(lambda record: record[0] < 0x80)
runs = st.lists(st.tuples(sources, st.lists(records, max_size=4)), max_size=4)
ids = st.binary(min_size=8, max_size=8)
flags = st.booleans()
buckets = st.lists(st.integers(0, 255), max_size=4)
hashes = st.integers(0, 2**64 - 1)
sums = st.just([]) | hashes.map(lambda value: [value] * 256)
rows = st.dictionaries(st.binary(max_size=9), hashes, max_size=4)
hellos = st.builds(
    Hello,
    numbers,
    numbers,
    text,
    ids.map(NodeId),
    ids,
    text,
    text,
    text,
    numbers,
    st.lists(text, max_size=2).map(tuple),
)
rates = st.floats(0, 1e12)
flows = st.dictionaries(
    st.text(plain, min_size=1, max_size=255),
    st.builds(
        FlowReport,
        st.builds(Rates, rates, st.floats(-1e12, 1e12) | st.just(inf)),
        st.lists(st.builds(Strait, ids.map(NodeId), numbers, rates), max_size=3).map(tuple),
        st.integers(1, 1 << 16),
    ),
    max_size=3,
)
MESSAGES = {
    "hello": hellos,
    "clock": st.builds(
        ClockMessage, text, text, clocks, clocks, numbers, numbers, numbers, flags, flags
    ),
    "delta": st.builds(Delta, text, numbers, runs, numbers, st.none() | clocks, flags),
    "reset": st.builds(Reset, text, numbers, runs, numbers, st.none() | st.tuples(clocks, clocks)),
    "ask": st.builds(Ask, numbers, text, numbers, buckets),
    "tell": st.builds(Tell, numbers, text, ids, buckets, sums, rows),
    "have": st.builds(Have, text, numbers, clocks, numbers),
    "ping": st.builds(Ping, numbers, numbers, st.just(b"") | ids, flows),
    "pong": st.builds(Pong, numbers, numbers, flows),
    "bye": st.builds(Bye, numbers, text),
    "error": st.builds(ErrorMessage, numbers, text, text),
}
messages = st.one_of(*MESSAGES.values())


def frame(fields: Any) -> bytes:
    return bytes(msgpack.packb(fields))


@pytest.mark.parametrize("kind", MESSAGES)
@given(data=st.data())
def test_a_message_is_read_as_it_was_sent(kind: str, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    frames = codec.Frames()
    frames.trust()
    assert list(frames.feed(codec.encode(message))) == [message]
    assert frames.halfway == 0


@given(st.lists(messages, max_size=5), st.data())
def test_messages_arrive_in_order_however_the_bytes_are_cut(
    sent: list[Message], data: st.DataObject
) -> None:
    stream = b"".join(map(codec.encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    frames, received = codec.Frames(), []
    frames.trust()
    for start, end in pairwise([0, *cuts, len(stream)]):
        received += frames.feed(stream[start:end])
    assert received == sent


def test_records_are_the_same_bytes_on_the_wire_as_at_rest() -> None:
    delta = Delta("m", 1, [(source(1), [record("k"), record("j")])], 2, None)
    assert record("k") in codec.encode(delta)
    assert record("j") in codec.encode(delta)


# --- what makes no sense -------------------------------------------------------------------------


def decode(body: bytes) -> Message | None:
    """A message, or None for a RemoteProtocolError; anything else is a bug."""
    try:
        return codec.decode(body)
    except RemoteProtocolError:
        return None


@examples(300)
@given(st.binary(max_size=200))
def test_random_bytes_are_a_protocol_error_and_nothing_else(body: bytes) -> None:
    decode(body)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=14)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=2) | st.binary(max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)


@examples(300)
@given(st.integers(-1, 12), st.lists(anything, max_size=11))
def test_random_msgpack_is_a_message_or_a_protocol_error(kind: int, fields: list[Any]) -> None:
    message = decode(frame([kind, *fields]))
    if message is not None:
        assert decode(codec.encode(message)[4:]) == message


@examples(300)
@given(messages, st.data())
def test_a_message_in_which_one_thing_is_wrong_is_a_message_or_a_protocol_error(
    message: Message, data: st.DataObject
) -> None:
    fields = msgpack.unpackb(codec.encode(message)[4:], strict_map_key=False)
    at = data.draw(st.integers(0, len(fields) - 1))
    fields[at] = data.draw(anything)
    decode(frame(fields))


@examples(300)
@given(messages, st.data())
def test_a_flipped_bit_is_another_message_or_a_protocol_error(
    message: Message, data: st.DataObject
) -> None:
    body = bytearray(codec.encode(message)[4:])
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    decode(bytes(body))


S = source(1)
GOOD = {
    "hello": [1, 1, 1, "c", b"n" * 8, b"i" * 8, "name", "", "0.1", 5, [], 4],
    "clock": [2, "m", "map", {S: 1}, {}, 1, 3, 100, False, False],
    "delta": [3, "m", 1, [S, [record("k")]], 1, None, False],
    "have": [4, "m", 1, {S: 1}, 1],
    "ping": [5, 1, 2, b""],
    "pong": [6, 1, 2],
    "bye": [7, 9, "words"],
    "error": [8, 1, "words", ""],
    "reset": [9, "m", 1, [S, [record("k")]], 1, [{S: 5}, {S: 2}]],
}


@pytest.mark.parametrize("kind", GOOD)
def test_each_sample_below_is_good_but_for_what_is_wrong_with_it(kind: str) -> None:
    assert codec.decode(frame(GOOD[kind]))


def bad(kind: str, at: int, value: object) -> list[object]:
    fields: list[object] = list(GOOD[kind])
    fields[at] = value
    return fields


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (None, "not \\[type, ...\\]"),
        ([], "not \\[type, ...\\]"),
        ({}, "not \\[type, ...\\]"),
        (["1"], "not \\[type, ...\\]"),
        ([0], "unknown type 0"),
        ([99], "unknown type 99"),
        ([5], "ping: 0 fields"),
        ([5, 1, 2, b"", {}, 5], "ping: 5 fields"),
        ([5, 1, 2, b"", 4], "flows 4, expected at most 32"),
        ([5, 1, 2, b"", {str(n): [1, 1, [], 1] for n in range(33)}], "at most 32 data types"),
        ([6, 1, 2, {"": [1, 1, [], 1]}], "data type '', expected text"),
        ([6, 1, 2, {"log": [1, 1]}], r"a flow \[1, 1\], expected"),
        ([6, 1, 2, {"log": [1, 1, [], 0]}], "peers 0, expected 1 to"),
        ([6, 1, 2, {"log": [1, 1, [], 65537]}], "peers 65537, expected 1 to 65536"),
        ([6, 1, 2, {"log": [-1, 1, [], 1]}], "rate -1, expected 0 to"),
        ([6, 1, 2, {"log": [float("inf"), 1, [], 1]}], "rate inf"),
        ([6, 1, 2, {"log": [float("nan"), 1, [], 1]}], "rate nan"),
        ([6, 1, 2, {"log": [True, 1, [], 1]}], "rate True"),
        ([6, 1, 2, {"log": [1, 1, [[b"i" * 8, 1, 1]] * 17, 1]}], "17 straits, at most 16"),
        ([6, 1, 2, {"log": [1, 1, [[b"i" * 8, 1]], 1]}], "a strait"),
        ([6, 1, 2, {"log": [1, 1, [[b"i" * 7, 1, 1]], 1]}], "node id"),
        ([6, 1, 2, {"log": [1, 1, [[b"i" * 8, -1, 1]], 1]}], "time -1"),
        (GOOD["hello"][:-1], "hello: 10 fields"),
        (bad("hello", 1, -1), "version -1, expected a whole number"),
        (bad("hello", 1, True), "version True, expected a whole number"),
        (bad("hello", 1, 1.0), "version 1.0, expected a whole number"),
        (bad("hello", 3, b"c"), "cluster b'c', expected text"),
        (bad("hello", 3, "c" * 256), "text of at most 255"),
        (bad("hello", 4, b"short"), "node id b'short', expected 8 bytes"),
        (bad("hello", 5, "text"), "incarnation 'text', expected 8 bytes"),
        (bad("hello", 9, 2**63), "time 9223372036854775808, expected"),
        (bad("hello", 10, "x"), "features 'x', expected a list"),
        (bad("hello", 10, [1]), "feature 1, expected text"),
        (bad("hello", 11, -1), "time -1, expected"),
        (bad("clock", 3, []), "a clock that is a list, not a map"),
        (bad("clock", 3, {b"short": 1}), "source b'short', expected 12 bytes"),
        (bad("clock", 3, {"text": 1}), "source 'text', expected 12 bytes"),
        (bad("clock", 3, {S: "1"}), "timestamp '1', expected a whole number"),
        (bad("clock", 3, {S: 2**63}), "timestamp 9223372036854775808"),
        (bad("clock", 4, None), "a clock that is a NoneType"),
        (bad("delta", 3, None), "not pairs of source and records"),
        (bad("delta", 3, [S]), "not pairs of source and records"),
        (bad("delta", 3, [b"s", []]), "source b's', expected 12 bytes"),
        (bad("delta", 3, [S, b"x"]), "not all byte strings"),
        (bad("delta", 3, [S, [b"x" * 9, "y"]]), "not all byte strings"),
        (bad("delta", 3, [S, [b"x" * 8]]), "an update of 8 bytes"),
        (bad("delta", 3, [S, [b"x" * (RECORD_BYTES_MAX + 1)]]), "at most 786432"),
        (bad("delta", 3, [S, [b"\x80" + b"x" * 9]]), "beyond all time"),
        (bad("delta", 5, []), "a clock that is a list"),
        (bad("delta", 6, 1), "hurry 1, expected true or false"),
        (bad("clock", 6, -1), "count of members -1"),
        (bad("clock", 8, None), "again None, expected true or false"),
        (bad("reset", 5, [{}]), "the end of a RESET"),
        (bad("reset", 5, [{}, 1]), "a clock that is a int"),
        (bad("reset", 3, [S]), "not pairs of source and records"),
        (bad("have", 2, None), "round None"),
        (bad("ping", 3, b"1234567"), "hash b'1234567', expected 8 bytes"),
        (bad("bye", 2, "x" * 501), "text of at most 500"),
        (bad("error", 3, None), "model None, expected text"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_malformed_shape_is_named(fields: object, words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        codec.decode(frame(fields))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\x93\x05\x01", b"\x81\x80\x01"],
    ids=["empty", "reserved", "deep", "long", "cut", "map as key"],
)
def test_what_is_no_msgpack_is_told(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not msgpack"):
        codec.decode(body)


def test_text_that_is_no_utf8_is_refused() -> None:
    body = frame(GOOD["bye"]).replace(b"words", b"w\xffrds")
    with pytest.raises(RemoteProtocolError, match="not msgpack"):
        codec.decode(body)


def test_a_later_hello_may_say_more_at_its_end() -> None:
    message = codec.decode(frame([*GOOD["hello"], "new", {"and": "more"}]))
    assert isinstance(message, Hello)
    assert message.name == "name"


# --- frames --------------------------------------------------------------------------------------


def test_before_hello_only_small_frames_are_taken() -> None:
    stream = (codec.HELLO_BYTES_MAX + 1).to_bytes(4, "big")
    with pytest.raises(RemoteProtocolError, match="frame of 4097 bytes, at most 4096"):
        list(codec.Frames().feed(stream))
    trusting = codec.Frames()
    trusting.trust()
    assert list(trusting.feed(stream)) == []


def test_a_frame_over_the_maximum_is_refused_before_its_body_comes() -> None:
    frames = codec.Frames()
    frames.trust()
    stream = frames.feed(codec.encode(Pong(1, 2)) + (codec.FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    assert next(stream) == Pong(1, 2)
    with pytest.raises(RemoteProtocolError, match="frame of 1048577 bytes, at most 1048576"):
        next(stream)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n", "this is HTTP"),
        (b"POST / HTTP/1.1\r\n", "this is HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "this is TLS"),
    ],
)
def test_who_speaks_another_protocol_is_told_so(data: bytes, words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        list(codec.Frames().feed(data))


def test_trust_counts_from_the_next_frame_on_even_within_one_chunk() -> None:
    frames = codec.Frames()
    large = Delta("m", 1, [(S, [record("k", value=b"x" * 9000)])], 1, None)
    stream = frames.feed(codec.encode(Pong(1, 2)) + codec.encode(large))
    assert next(stream) == Pong(1, 2)
    frames.trust()
    assert next(stream) == large


def test_a_message_too_large_for_a_frame_is_our_own_bug() -> None:
    huge = Delta("m", 1, [(S, [bytes(9)] * 100_000)], 1, None)
    with pytest.raises(AssertionError, match="made a frame of"):
        codec.encode(huge)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([codec.CLOCK, "m", "map", {}, {}, 1, 1, 0, 1, False], "again 1, expected true or false"),
        ([codec.DELTA, "m", 1, [], 1, None, None], "hurry None, expected true or false"),
        ([codec.RESET, "m", 1, [], 1, [{}]], "expected clock and floor"),
        ([codec.RESET, "m", 1, [], 1, [{}, 5]], "a clock that is a int"),
        ([codec.ASK, 1, "m", 1, [256]], "expected numbers below 256"),
        ([codec.ASK, 1, "m", 1, [True]], "expected numbers below 256"),
        ([codec.TELL, 1, "m", b"x" * 8, [], [1], {}], "expected 256 of 64 bits"),
        ([codec.TELL, 1, "m", b"x" * 8, [], [2**64 - 1, -1] * 128, {}], "expected 256 of 64 bits"),
        ([codec.TELL, 1, "m", b"x" * 8, [], [], {b"k": "h"}], "expected key and hash"),
        ([codec.TELL, 1, "m", b"x", [], [], {}], "hash"),
    ],
)
def test_every_malformed_shape_of_the_rarer_messages_is_named(fields: object, words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        codec.decode(frame(fields))


DEEP = b"\x91" * 1015 + b"\xc0"


@pytest.mark.parametrize(
    "body",
    [DEEP, b"\x94\x05" + DEEP + b"\x01\xc4\x00", b"\x93\x07\x01" + DEEP],
    ids=["all", "ping", "bye"],
)
def test_what_is_nested_too_deep_to_be_shown_is_told(body: bytes) -> None:
    """msgpack takes 1,024 levels; to show so many is more than Python 3.11 does, which says so."""
    with pytest.raises(RemoteProtocolError, match=r"nested too deep|\[{20}") as caught:
        codec.decode(body)
    assert len(caught.value.message) < 200
