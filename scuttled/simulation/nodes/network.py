"""Connections between machines: bytes take their time, come in pieces, and may stop anywhere."""

from collections import deque
from math import inf

from scuttled.errors import RemoteProtocolError
from scuttled.protocol.host import End as Ended
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code
from scuttled.simulation.history import Violation
from scuttled.simulation.nodes.machine import NodeMachine
from scuttled.simulation.nodes.queue_world import QueueWorld

PIPE_BYTES = 128 << 10  # in flight one way, before its sender has to wait
PARTED_S = 0.2  # between looks whether a parted network has healed


class Topology:
    """Topology: who is connected with whom, and who can reach whom."""

    def __init__(self, world: QueueWorld) -> None:
        self.world = world
        self.connections: dict[Cable, None] = {}  # in order, for the trace
        self.parted: set[frozenset[str]] = set()  # pairs; their bytes wait, unless they are cut

    def reaches(self, a: NodeMachine, b: NodeMachine) -> bool:
        return frozenset((a.name, b.name)) not in self.parted

    def dial(self, dialler: NodeMachine, listener: NodeMachine) -> None:
        """Do once what a daemon's dialling task does: connect, unless there is a link."""
        open_already = any(c.is_dialled(dialler, listener) for c in self.connections)
        linked = listener.disk.node_id in dialler.up.links
        if listener.node is not None and not (open_already or linked):
            if self.reaches(dialler, listener):
                self.connections[Cable(self, dialler, listener)] = None


class OneWay:
    """One direction of a connection."""

    def __init__(self, network: Topology, source: "Endpoint", target: "Endpoint") -> None:
        self.network = network
        self.source = source
        self.target = target
        self.size = 0
        self._chunks: deque[bytes] = deque()  # b"": the end
        self._moving = False

    def send(self, data: bytes) -> None:
        rng = self.network.world.rng
        while data:
            size = rng.choice((len(data), len(data), rng.randint(1, len(data))))
            self._chunks.append(data[:size])
            self.size += size
            data = data[size:]
        self._move()

    def close(self, *, lose: bool) -> None:
        """No more will come; with `lose`, what is in flight comes in part."""
        rng = self.network.world.rng
        if lose and self._chunks:
            kept = rng.randrange(len(self._chunks))
            torn = self._chunks[kept]
            self._chunks = deque(list(self._chunks)[:kept])
            if torn:
                self._chunks.append(torn[: rng.randint(1, len(torn))])
        if not self._chunks or self._chunks[-1]:
            self._chunks.append(b"")
        self._move()

    def _move(self) -> None:
        if self._chunks and not self._moving:
            self._moving = True
            rng = self.network.world.rng
            delay_s = rng.choice((0.0005, 0.002, 0.02, rng.uniform(0, 0.2)))
            self.network.world.later(delay_s + self.target.machine.slow_s, self._arrive)

    def _arrive(self) -> None:
        if not self.network.reaches(self.source.machine, self.target.machine):
            self.network.world.later(PARTED_S, self._arrive)
            return
        self._moving = False
        if self._chunks:
            chunk = self._chunks.popleft()
            self.size -= len(chunk)
            self.target.receive(chunk)
            self.source.turn()
            self._move()


class Endpoint:
    """One end of a connection: does with its link what the gossip shell does."""

    def __init__(self, connection: "Cable", machine: NodeMachine, dialled: str) -> None:
        self.connection = connection
        self.machine = machine
        self.link = Link(machine.up, dialled=dialled, now=machine.now)
        self.out: OneWay  # set by the connection
        self.closed = False
        self._armed_s = inf
        self._turning = False
        machine.hangups[connection.cut] = None

    def begin(self) -> None:
        self.link.wake = lambda: self.machine.later(0.0, self.turn)
        self.link.rearm = self._arm
        self.turn()

    def _arm(self) -> None:
        now = self.machine.now
        due_s = max(now.mono_s + 0.001, self.link.next_timer(now))
        if due_s < self._armed_s:
            self._armed_s = due_s
            self.machine.later(due_s - now.mono_s, self._tick)

    def _tick(self) -> None:
        self._armed_s = inf
        if not self.closed:
            self.link.tick(self.machine.now)
            self.turn()

    def turn(self) -> None:
        """Send what the link has, as long as the pipe takes more."""
        if self.closed or self._turning:
            return
        self._turning = True
        link = self.link
        now = self.machine.now
        over = link.ended is not None and link.ended.by_peer
        while not over and self.out.size < PIPE_BYTES and link.wants_to_send(now):
            data = link.draw(now)
            if not data:
                break
            self.out.send(data)
        self._turning = False
        if link.ended is not None:
            self.close(lose=False)
        else:
            self._arm()

    def receive(self, chunk: bytes) -> None:
        if self.closed:
            return
        machine = self.machine
        link = self.link
        machine.world.note(f"{machine.name} {link.dialled} ".encode() + chunk)
        if chunk:
            try:
                link.receive(chunk, machine.now)
            except RemoteProtocolError as error:
                raise Violation(f"{machine.name} was told nonsense: {error.message}") from error
            machine.up.notices.clear()
            machine.check()
        else:
            link.ended = Ended(Code.PROTOCOL, "the connection was closed", by_peer=True)
        self.turn()

    def close(self, *, lose: bool) -> None:
        if not self.closed:
            self.closed = True
            self.machine.hangups.pop(self.connection.cut, None)
            self.machine.up.gone(self.link)
            self.out.close(lose=lose)
            self.connection.closed()


class Cable:
    """Two ends and the pipes between them."""

    def __init__(self, network: Topology, dialler: NodeMachine, listener: NodeMachine) -> None:
        self.network = network
        self.ends = Endpoint(self, dialler, listener.name), Endpoint(self, listener, "")
        first, second = self.ends
        first.out, second.out = OneWay(network, first, second), OneWay(network, second, first)
        first.begin()
        second.begin()

    def is_dialled(self, dialler: NodeMachine, listener: NodeMachine) -> bool:
        """True if it was `dialler` that made it, and has not given it up."""
        first, second = self.ends
        return first.machine is dialler and second.machine is listener and not first.closed

    def cut(self) -> None:
        """It breaks, maybe in the middle of a frame."""
        for end in self.ends:
            end.close(lose=True)

    def closed(self) -> None:
        if all(end.closed for end in self.ends):
            self.network.connections.pop(self, None)
