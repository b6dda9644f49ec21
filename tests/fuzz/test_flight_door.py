"""Between two real nodes sits somebody who changes what they say while they say it.

Here both ends answer, so the conversation comes to where no recorded one does: rounds, commits,
acknowledgements, pauses, RESETs. What the node of the link door must stand, this one must stand.
An input is the script of that somebody: each byte decides about one piece that is under way.
"""

import random

import pytest
from support.doors import Door
from support.link_door import NOW, VICTIM, LinkDoor, Settled, a_node, lower_maxima, split, write
from support.mutate import Mutator
from support.scenes import Line, node_id, save
from support.soundness import check_link, check_node, read_as_npm

from scuttled.errors import RemoteProtocolError
from scuttled.node.node import Node
from scuttled.protocol import link as link_room
from scuttled.protocol.messages import Ask
from scuttled.simulation.nodes import MemoryDisk

FRIEND = 0xCC  # of the one in between, it does not know that
STEPS_MAX = 150


class FlightDoor(Door):
    name = "flight"
    rooms = LinkDoor.rooms

    def corpus(self) -> list[bytes]:
        return [bytes(200), b"\x05\x40" * 60, b"\x00\x00\xe0" * 50]

    def mutated(self, m: Mutator, data: bytes, corpus: list[bytes]) -> bytes:
        return m.rng.randbytes(m.rng.randrange(2, STEPS_MAX))

    def take(self, data: bytes, rng: random.Random) -> None:
        victim, friend = a_node(VICTIM, signed=False), a_node(FRIEND, signed=False)
        for node in (victim, friend):
            node.create("tags", "set")
            write(node, f"of {node.settings.name}", NOW.wall_ms)
        line, time = Line(friend, victim, NOW), Settled(rng)
        liar, door = Mutator(rng), LinkDoor()
        liar.known = tuple(door._words())
        disk = MemoryDisk(node_id(VICTIM))
        for step in data[:STEPS_MAX]:
            self._step(step, line, time, door, liar, disk)
            if any(link.ended for link in line.links):
                line.draw(0, time.now)
                line.draw(1, time.now)
                line.hang_up()
                line = Line(*rng.sample(line.nodes, 2), time.now)
        line.hang_up()
        check_node(victim, time.now)
        door._restarts_the_same(victim, disk)
        door._meets_another(victim, time.now)
        read_as_npm(victim, time.now)

    def _step(
        self, step: int, line: Line, time: Settled, door: LinkDoor, liar: Mutator, disk: MemoryDisk
    ) -> None:
        end, what = step & 1, step >> 1
        victim = next(node for node in line.nodes if node.author.node_id == node_id(VICTIM))
        now = time.go_on()
        self._meanwhile(what, line, time)
        try:
            if what % 7:  # else nobody takes what this one says
                save(line.nodes[end], disk if line.nodes[end] is victim else None)
                line.draw(end, now)
            frames = list(split(line.under_way[end]))
            if frames and line.nodes[end] is not victim and what % 4 == 0:
                at = liar.rng.randrange(len(frames))
                frames[at] = door._changed(liar, frames[at])
                if what % 8 == 0:
                    frames = liar.sequence(frames)
            line.under_way[end] = b"".join(frames)
            line.deliver(end, now)
        except RemoteProtocolError as error:
            line.links[1 - end].close(link_room.Code.PROTOCOL, error.message)
        for link in line.links:
            link.tick(now)
            check_link(link)

    def _meanwhile(self, what: int, line: Line, time: Settled) -> None:
        node = line.nodes[what & 1]
        assert isinstance(node, Node)
        match what % 13:
            case 1:
                write(node, f"k{what % 3}", time.now.wall_ms)
            case 2:
                node.expire(time.now.wall_ms)
                node.tend(time.now)
            case 3:
                while node.verifier.step():
                    pass
            case 4:
                for link in line.links:
                    if link.up:
                        for number in range(40):
                            link.say(Ask(number, "default", 0, []))
            case 5:
                for link in line.links:
                    link.send_whole("default")


def test_whatever_is_done_to_what_two_nodes_say_they_stay_sound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lower_maxima(monkeypatch)
    FlightDoor().fuzz(150)
