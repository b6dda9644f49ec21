"""Length-prefixed frames in a stream of bytes: those of nodes and those of the control socket.

    frame:  | length u32 BE | body |

What a body holds, how large it may be and what is said of one that is larger is its protocol's
matter.
"""

from collections.abc import Callable, Iterator

HEADER_BYTES = 4

Oversize = Callable[[bytes, int, int], Exception]  # of what came, the size it says, and the most


class FrameReader:
    """Takes bytes as they come and gives the bodies of the frames that they complete, in order."""

    def __init__(self, bytes_max: int, oversize: Oversize) -> None:
        self.bytes_max = bytes_max  # of a body; may change between two of them
        self._oversize = oversize
        self._buffer = bytearray()  # begins with a frame; after `feed`, with one not yet whole

    @property
    def halfway(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._buffer)

    @property
    def awaited(self) -> int:
        """Bytes of its body once it is whole; 0 while no frame has begun."""
        if len(self._buffer) < HEADER_BYTES:
            return 0
        return int.from_bytes(self._buffer[:HEADER_BYTES], "big")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Every body completed by `data`.

        Raises `oversize`'s error at a header that says more than `bytes_max`, before any of that
        body is waited for; the stream is then out of step and must be closed.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= HEADER_BYTES:
                size = int.from_bytes(buffer[start : start + HEADER_BYTES], "big")
                if size > self.bytes_max:
                    raise self._oversize(bytes(buffer[start:]), size, self.bytes_max)
                end = start + HEADER_BYTES + size
                if len(buffer) < end:
                    break
                body = bytes(memoryview(buffer)[start + HEADER_BYTES : end])
                start = end
                yield body
        finally:  # also if whoever iterates stops halfway
            del buffer[:start]
