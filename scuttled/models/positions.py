"""Places in a list: bytes that sort as the list does, with room between any two.

    position:  waypoint | waypoint | ... | 0x80
    waypoint:  | side u8: 0x01 left, 0xff right | run 8 bytes | number u32 BE, from 2^31 on |

A position is a path through a tree: left children sort before a node, right ones behind. What one
writer puts in one after the other is a run: only its number goes up (or down, if it goes on in
front), so a position does not grow with the list, and two runs that are put in at one place at
once stand one behind the other, never mixed. A level more is needed only to put something into
the midst of a run. [Weidner and Kleppmann 2023, Fugue; the runs as in Weidner's position strings]
"""

from hashlib import blake2b

from scuttled.replica.update import Source, stamp

LEFT = b"\x01"
RIGHT = b"\xff"
END = b"\x80"
RUN_BYTES = 8
WAYPOINT_BYTES = 1 + RUN_BYTES + 4
POSITION_BYTES_MIN = WAYPOINT_BYTES + len(END)
_MIDDLE = 1 << 31


def is_position(data: bytes) -> bool:
    """True if that is one; a peer may say anything."""
    sides = set(data[:-1:WAYPOINT_BYTES])
    return (
        len(data) % WAYPOINT_BYTES == 1
        and len(data) >= POSITION_BYTES_MIN
        and data.endswith(END)
        and sides <= {LEFT[0], RIGHT[0]}
    )


class Runs:
    """Makes positions on one node, and remembers which runs it can go on with."""

    def __init__(self) -> None:
        self._mine: dict[bytes, tuple[int, int]] = {}  # by path to its number: least and greatest

    def note(self, position: bytes) -> None:
        """That one is taken."""
        head, number = _split(position)
        if head in self._mine:
            least, most = self._mine[head]
            self._mine[head] = min(least, number), max(most, number)

    def between(self, left: bytes | None, right: bytes | None, source: Source, time: int) -> bytes:
        """A position that nobody else has, between these neighbours; None is the edge.

        `time` is one at which this source has begun no other run.
        """
        for neighbour, ahead in ((left, False), (right, True)):
            if neighbour is not None:
                head, number = _split(neighbour)
                least, most = self._mine.get(head, (0, 0))
                if head in self._mine and number == (least if ahead else most):
                    candidate = _join(head, number - 1 if ahead else number + 1)
                    if _lies_between(left, candidate, right) and 0 < number < 2 * _MIDDLE - 1:
                        self.note(candidate)
                        return candidate
        if left is not None and not (right is not None and _is_below(right, left)):
            path = left[:-1] + RIGHT
        elif right is not None:
            path = right[:-1] + LEFT
        else:
            path = RIGHT
        head = path + blake2b(source + stamp(time), digest_size=RUN_BYTES).digest()
        self._mine[head] = _MIDDLE, _MIDDLE
        return _join(head, _MIDDLE)


def _lies_between(left: bytes | None, position: bytes, right: bytes | None) -> bool:
    return (left is None or left < position) and (right is None or position < right)


def _is_below(position: bytes, other: bytes) -> bool:
    """True if it is in the tree that hangs on the other: what follows in a run hangs on it, too."""
    if position.startswith(other[:-1]):
        return True
    head, number = _split(other)
    in_run = position.startswith(head) and number >= _MIDDLE
    return in_run and position[len(head) : len(head) + 4] > other[len(head) : -1]


def _split(position: bytes) -> tuple[bytes, int]:
    return position[:-5], int.from_bytes(position[-5:-1], "big")


def _join(head: bytes, number: int) -> bytes:
    return head + number.to_bytes(4, "big") + END
