"""The gossip port, under fire: see support/link_door.py."""

import msgpack
import pytest
from support.link_door import LinkDoor, lower_maxima, split

from scuttled.protocol import codec


def test_whatever_a_peer_says_a_node_stays_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    lower_maxima(monkeypatch)
    LinkDoor().fuzz(300)


def test_the_corpus_holds_every_message_there_is() -> None:
    frames = [frame for data in LinkDoor().corpus() for frame in split(data) if len(frame) > 5]
    known = {message for message in codec._READERS if message != codec.ERROR}
    seen = {
        msgpack.unpackb(frame[4:], strict_map_key=False)[0]
        for frame in frames
        if len(frame) == 4 + int.from_bytes(frame[:4], "big")
    }
    assert known <= seen
