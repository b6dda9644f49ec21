"""What must hold of a node whatever came in, and of every reader of its state."""

import json
from typing import NoReturn

from scuttled.client import protocol
from scuttled.control.scan import Scan
from scuttled.node.consistency import JOBS_MAX
from scuttled.node.node import Node
from scuttled.node.notices import NOTICES_MAX
from scuttled.npm.bridge import Bridge
from scuttled.npm.codec import read_line
from scuttled.npm.session import Talk
from scuttled.npm.translation import DIALECTS
from scuttled.protocol import session as session_room
from scuttled.protocol.codec import FRAME_BYTES_MAX, HELLO_BYTES_MAX
from scuttled.protocol.link import OUTBOX_MAX, Link
from scuttled.replica.change import DELETED, parse, slot_of
from scuttled.replica.slots import Slots
from scuttled.replica.update import SOURCE_BYTES, TICKS_PER_MS, Instant, timestamp_of
from scuttled.replica.version_vector import Clock

SOURCES_MAX = 60  # what the doors have to do with, lest it take megabytes to get there
STOPPED_MAX = 8
MODELS_MAX = 20
OTHER_PEER = b'{"id":"another","clock":{}}\n'


def check_node(node: Node, now: Instant) -> None:
    """All of it. Raises AssertionError, or whatever a reader stumbles over."""
    # Its own writes lie above what it has accepted, so they may pass the limit by a little.
    most = (now.wall_ms + node.max_skew_ms + 1) * TICKS_PER_MS
    assert len(node.models) <= MODELS_MAX
    assert len(node.notices.warnings) <= NOTICES_MAX
    assert len(node.notices.news) <= NOTICES_MAX
    assert node.author.hlc.last <= most, "the hlc ran ahead (I9)"
    for model in node.models.values():
        assert isinstance(model, Slots)
        _check_log(model, most)
        _check_counts(model)
        _read(node, model, now)


def _check_log(model: Slots, most: int) -> None:
    for clock in (model.clock, model.floor):
        assert len(clock) <= SOURCES_MAX, f"{len(clock)} sources in a clock"
        for source, time in clock.items():
            assert len(source) == SOURCE_BYTES
            assert 0 <= time <= most, f"a clock of {model.name} covers the future (I9)"
    for slot, at in model._slots.items():
        record, source = model.log.entry(at)
        assert slot_of(record) == slot
        assert len(source) == SOURCE_BYTES
        assert timestamp_of(record) <= most, f"an update of the future in {model.name} (I9)"


def _check_counts(model: Slots) -> None:
    entries = [model.log.entry(at) for at in model._slots.values()]
    slots = [parse(*entry) for entry in entries]
    assert model.log.live == len(entries) == sum(segment.live for segment in model.log.segments)
    assert model.bytes == sum(len(entry.record) for entry in entries)
    assert model.tombstones == sum(slot.kind == DELETED for slot in slots)
    assert model.count >= 0
    assert len(list(model.history(Clock()))) == len(entries)


def _read(node: Node, model: Slots, now: Instant) -> None:
    """Everything that shows a model to people and programs."""
    listing = Scan(node, model, "", values=True, deleted=True)
    while not listing.done:
        protocol.encode({"id": 1, "rows": listing.rows(now)})
    kind, whole = model.whole()
    if model.data_type != "value":  # whose bytes are told as they are
        assert kind == "json"
        json.loads(whole, parse_constant=_no_constant)
    model.option_ms("ttl_ms")
    for update in model.history(Clock()):
        model.told(update)


def _no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is told as JSON, and is none")


def read_as_npm(node: Node, now: Instant) -> None:
    """What an npm peer is told of it. Adds a setting to the models it looks at."""
    for model in list(node.user_models()):
        if model.data_type in DIALECTS:
            target = model.name if model.data_type == "map" else f"{model.data_type}:{model.name}"
            hear_all(Talk(Bridge(node, target), now), now)


def hear_all(talk: Talk, now: Instant) -> list[object]:
    """As an npm peer that has nothing: every line is JSON."""
    talk.feed(OTHER_PEER, now)
    said = b""
    for _ in range(1000):
        if not talk.wants_to_send(now):
            return [read_line(line) for line in said.splitlines()]
        said += talk.draw(now)
    raise AssertionError("it never stops talking")


def check_link(link: Link) -> None:
    """Nothing in it is beyond its named maximum (I7)."""
    begun = bytes(link._frames._buffer[:4])
    most = HELLO_BYTES_MAX if link.peer is None else FRAME_BYTES_MAX
    waits = link.ended is None and len(begun) == 4
    assert not waits or int.from_bytes(begun, "big") <= most, "it waits for a huge frame"
    assert len(link._outbox) <= OUTBOX_MAX
    assert len(link.stopped) <= STOPPED_MAX + 1  # the one too many ended it
    assert link._to_refuse.keys() <= link.stopped.keys()
    assert len(link.sessions) <= MODELS_MAX
    for session in link.sessions.values():
        assert len(session._skips) <= session_room.SKIPS_MAX
        for of, what in (
            (session.theirs, "what the peer has"),
            (session.confirmed, "what it has confirmed"),
            (session.future, "what it was refused"),
        ):
            # one message may bring as many again as a frame holds
            assert len(of) <= 2 * SOURCES_MAX + 1, f"{len(of)} sources in {what}"
    host = link.host
    assert isinstance(host, Node)
    assert len(host.verifier._jobs) <= JOBS_MAX
