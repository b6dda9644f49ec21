"""Sending side of a stream, without turns of the loop that a small message does not need."""

import os
import select

import trio

AT_ONCE_BYTES = 4096


class StreamWriter:
    """The sending side of a stream, for its one writer: what is sent is chosen last.

    Does what trio's `wait_send_all_might_not_block` and `send_all` do, but asks the kernel
    first: a socket that can take a small message, the common case, costs a system call each and
    not two turns of the loop. Large ones take trio's way, which lets others run.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._fd = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else None
        self._poll = select.poll()
        if self._fd is not None:
            self._poll.register(self._fd, select.POLLOUT)

    async def wait(self) -> None:
        """Return when the stream can take more. Not a checkpoint if it can by now."""
        if self._fd is None or not self._poll.poll(0):
            await self._stream.wait_send_all_might_not_block()

    async def send_all(self, data: bytes) -> None:
        sent = 0
        if self._fd is not None and data and len(data) <= AT_ONCE_BYTES:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                pass
        if sent < len(data):
            await self._stream.send_all(data[sent:])
