"""Frames between nodes: how large they may be, and the messages in a stream of them."""

from collections.abc import Iterator

from scuttled.errors import RemoteProtocolError
from scuttled.length_prefixed import HEADER_BYTES, FrameReader
from scuttled.protocol.codec import FRAME_BYTES_MAX, HELLO_BYTES_MAX, decode
from scuttled.protocol.messages import Message


class Frames:
    """Takes bytes as they come, gives messages.

    Raises RemoteProtocolError at the first thing that is wrong; the stream is then to be closed.
    """

    def __init__(self) -> None:
        self._reader = FrameReader(HELLO_BYTES_MAX, _oversize)

    def trust(self) -> None:
        """The other end said HELLO and was accepted: frames may be large."""
        self._reader.bytes_max = FRAME_BYTES_MAX

    def feed(self, data: bytes) -> Iterator[Message]:
        return map(decode, self._reader.feed(data))

    def bounds(self) -> dict[str, tuple[int, int]]:
        """The size of what is held, and the most, while no error was raised (I7)."""
        reader = self._reader
        return {
            "bytes of half a frame": (reader.halfway, HEADER_BYTES + reader.bytes_max),
            "bytes of the frame awaited": (reader.awaited, reader.bytes_max),
        }


def _oversize(data: bytes, size: int, most: int) -> RemoteProtocolError:
    """The error, which names the protocol of another program that dialled the port."""
    words = f"frame of {size} bytes, at most {most}"
    if data[:4] in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI"):
        words = f"{words}: this is HTTP, and the port speaks scuttled"
    elif data[:2] == b"\x16\x03":
        words = f"{words}: this is TLS, and the port speaks plain scuttled"
    return RemoteProtocolError(words)
