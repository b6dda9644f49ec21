"""The door to npm peers: a real conversation with one that lies, in lines that are not quite JSON.

Whatever it says, that conversation ends by RemoteProtocolError or goes on, the node is sound, and
another npm peer is told the state in lines that it can read.
"""

import json
import random

import pytest
from support.doors import Door, check_words
from support.link_door import lower_maxima
from support.mutate import Mutator
from support.scenes import node_id, save
from support.soundness import SOURCES_MAX, check_node, hear_all, read_as_npm

from scuttled.errors import RemoteProtocolError
from scuttled.node.membership import NodeSettings
from scuttled.node.node import Node
from scuttled.npm import codec, session
from scuttled.npm.bridge import Bridge
from scuttled.npm.session import Talk
from scuttled.replica.hlc import Author
from scuttled.replica.update import Instant

NOW = Instant(1000.0, 1_795_401_400_000)  # a little after what the corpus says
TARGETS = (
    "default",
    "events:evts",
    "value:now",
    "log:list",
    "bucket:app-",
    "bucket:",
    "bucket:app-{meta=map,chat=events}",
)


class NpmDoor(Door):
    name = "npm"
    rooms = (
        "npm/codec.py", "npm/session.py", "npm/translation.py", "npm/bridge.py", "npm/hazards.py",
        "npm/names.py", "npm/removals.py", "npm/shared.py", "replica/subscription.py",
    )  # fmt: skip

    def mutated(self, m: Mutator, data: bytes, corpus: list[bytes]) -> bytes:
        m.known = (*m.known, "A", "AAAA", "A~", 1_795_401_318_666, 1_795_401_399_999.5, None, [], 1)
        said = data.split(b"\n")
        others = m.rng.choice(corpus).split(b"\n")
        for _ in range(m.times()):
            if m.rng.random() < 0.3 or not said:
                said = m.sequence(said, others)
                continue
            at = m.rng.randrange(len(said))
            said[at] = self._changed(m, said[at])
        return b"\n".join(said)

    def _changed(self, m: Mutator, line: bytes) -> bytes:
        if m.rng.random() < 0.15:
            return m.bytes(line)
        try:
            tree = json.loads(line)
        except (ValueError, RecursionError):
            return m.bytes(line)
        if m.rng.random() < 0.1 and isinstance(tree, list) and len(tree) >= 3:
            return self._many(m, tree)
        return m.dump_json(m.tree(tree))

    def _many(self, m: Mutator, update: list[object]) -> bytes:
        """The same update of many peers, or with many odd names."""
        some = [[*update[:2], f"{m.rng.random()}{m.rng.choice(('', '~'))}"] for _ in range(200)]
        if m.rng.random() < 0.5:
            some = [[[["x", n], n, n], *update[1:]] for n in range(200)]
        if m.rng.random() < 0.3:
            some = [[[f"odd name {n}", 1], *update[1:]] for n in range(200)]
        return b"\n".join(m.dump_json(line) for line in some)

    def take(self, data: bytes, rng: random.Random) -> None:
        settings = NodeSettings("n1", "default", bytes(8))
        node = Node(Author(node_id(1), now_ms=lambda: NOW.wall_ms), settings, stored=True)
        node.begin((), NOW.wall_ms)
        bridge = Bridge(node, rng.choice(TARGETS))
        conversation = Talk(bridge, NOW)
        try:
            for piece in Mutator(rng).chunks(data):
                conversation.feed(piece, NOW)
                self._check_talk(conversation)
                if rng.random() < 0.3:
                    save(node)
                if conversation.wants_to_send(NOW):
                    self._check_lines(conversation.draw(NOW))
        except RemoteProtocolError as error:
            check_words(error.message, most=1000)
        conversation.end()
        save(node)
        check_node(node, NOW)
        self._check_lines(
            b"".join(codec.write_line(line) for line in hear_all(Talk(bridge, NOW), NOW))
        )
        read_as_npm(node, NOW)

    def _check_talk(self, conversation: Talk) -> None:
        """It remembers no more than is named (I7)."""
        assert len(conversation._lines._rest) <= codec.LINE_BYTES_MAX
        assert len(conversation._heard) <= SOURCES_MAX + 1
        assert len(conversation.left_out) <= session.CAUSES_MAX + 1
        assert all(len(why) < 1000 for why in conversation.left_out)

    def _check_lines(self, said: bytes) -> None:
        for line in said.splitlines():
            json.loads(line, parse_constant=_never)


def _never(name: str) -> None:
    raise AssertionError(f"{name} is no JSON, and was said to a peer")


def test_whatever_an_npm_peer_says_only_its_conversation_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lower_maxima(monkeypatch)
    NpmDoor().fuzz(800)
