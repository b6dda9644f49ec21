"""The control protocol's frames, shared by the daemon and its clients. Pure: bytes in, maps out.

    frame:  | length u32 BE | msgpack map |

The operations and their fields are told in docs/control.md.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgpack

from scuttled.errors import RemoteProtocolError
from scuttled.length_prefixed import HEADER_BYTES, FrameReader

VERSIONS = (1, 1)  # oldest and newest version of the control protocol spoken here
DEPTH_MAX = 200  # levels of lists and maps in a request; Python's own limits lie not far above
FRAME_BYTES_MAX = 4 << 20  # far above a value's maximum: one too large gets an error, no hangup

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """One frame. Text that came from a command line may hold stray bytes; they are kept."""
    body: bytes = msgpack.packb(message, unicode_errors="surrogateescape")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class ControlFrames:
    """Takes bytes as they come and gives the maps they hold, in order.

    Raises RemoteProtocolError at a frame over FRAME_BYTES_MAX or one that is not a msgpack map;
    the stream is then out of step and must be closed.
    """

    def __init__(self) -> None:
        self._reader = FrameReader(FRAME_BYTES_MAX, _oversize)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Every message completed by `data`."""
        return map(_decode, self._reader.feed(data))


def _oversize(_: bytes, size: int, most: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"control frame of {size} bytes, at most {most}")


def _decode(body: bytes) -> Message:
    try:
        message = msgpack.unpackb(body, unicode_errors="surrogateescape", strict_map_key=True)
    except ValueError as error:  # msgpack's errors are ValueErrors, and so are bad UTF-8 and depth
        raise RemoteProtocolError(f"control frame is not msgpack: {error}") from error
    if not isinstance(message, dict):
        raise RemoteProtocolError(f"control frame holds a {type(message).__name__}, not a map")
    return message


def is_too_deep(request: Message) -> bool:
    """True if more than DEPTH_MAX levels are nested there, which not even an error could show."""
    level: list[Any] = [request]
    for _ in range(DEPTH_MAX + 1):
        inner = [
            value.values() if type(value) is dict else value
            for value in level
            if type(value) in (dict, list)
        ]
        if not inner:
            return False
        level = list(chain.from_iterable(inner))
    return True
