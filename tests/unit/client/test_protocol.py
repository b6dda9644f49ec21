from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scuttled.client import protocol
from scuttled.errors import RemoteProtocolError

values = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
messages = st.dictionaries(st.text(), values | st.lists(values, max_size=3), max_size=4)


def received(chunks: list[bytes]) -> list[protocol.Message]:
    frames = protocol.ControlFrames()
    return [message for chunk in chunks for message in frames.feed(chunk)]


@given(st.lists(messages, max_size=5), st.data())
def test_messages_arrive_in_order_however_the_bytes_are_cut(
    sent: list[protocol.Message], data: st.DataObject
) -> None:
    stream = b"".join(map(protocol.encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    edges = [0, *cuts, len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    assert received(chunks) == sent


def test_a_message_comes_with_its_last_byte_and_not_before() -> None:
    frame = protocol.encode({"id": 1})
    frames = protocol.ControlFrames()
    assert list(frames.feed(frame[:-1])) == []
    assert list(frames.feed(frame[-1:])) == [{"id": 1}]


def test_stray_bytes_of_a_command_line_are_kept() -> None:
    text = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert received([protocol.encode({"id": 1, "key": text})]) == [{"id": 1, "key": text}]


def test_a_frame_over_the_maximum_is_refused_before_its_body_comes() -> None:
    good = protocol.encode({"id": 1})
    stream = protocol.ControlFrames().feed(good + (protocol.FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    assert next(stream) == {"id": 1}
    with pytest.raises(RemoteProtocolError, match="4194305 bytes, at most 4194304"):
        next(stream)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\x93\x01\x02\x03", b"\xa3abc", b"\x81\x01\x02", b"\x80\x80", b"\x91" * 5000],
    ids=["empty", "reserved", "array", "text", "int key", "two", "deep"],
)
def test_a_frame_that_holds_no_map_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        received([len(body).to_bytes(4, "big") + body])
