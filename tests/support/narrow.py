"""A link that is too narrow: a proxy that passes so many bytes a second, one way."""

import socket
import threading
import time
from contextlib import suppress

_CHUNK_S = 0.05  # between two helpings
_BUFFER_BYTES = 8 << 10  # of the kernel, in front of the narrow part


class Narrow:
    """Passes what is said to `address` on to another one. Use it with `with`."""

    def __init__(self, target: str, bytes_per_s: int) -> None:
        self._target = (target.rpartition(":")[0], int(target.rpartition(":")[2]))
        self.bytes_per_s = bytes_per_s
        self.passed = 0
        """Bytes that went through the narrow way so far."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Narrow":
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                threading.Thread(target=self._pass, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, narrow: bool) -> None:
        size = int(self.bytes_per_s * _CHUNK_S) if narrow else 1 << 16
        with suppress(OSError):
            while data := source.recv(size):
                sink.sendall(data)
                if narrow:
                    self.passed += len(data)
                    time.sleep(len(data) / self.bytes_per_s)
        for sock in (source, sink):  # one way is over: so is the other
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
