"""Limits what new connections send where the kernel cannot (`byte_limit`): their bytes are counted.

Newer kernels let only processes with CAP_NET_ADMIN filter TCP. A thread counts then, since headers
keep the event loop busy just when it matters. Bytes between two counts get through.
"""

import socket
import threading
import time
from collections.abc import Callable

from fetchml.api.grpc.sockets.new_socket import NewSocket

COUNT_SECONDS = 0.01
"""Time between two counts while there are new connections."""
PAUSE = 4
"""Counts are apart by this multiple of the time that one takes."""
MOST_BYTES = 192 * 1024
"""Of all new connections together. An upload sends the first window of its stream, 64 KiB, before
its key has been checked."""


class ByteCounts:
    """Closes those connections that have sent most, as soon as all together have sent too much.
    Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: set[NewSocket] = set()
        self._has_some = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._count, name="grpc-bytes", daemon=True)
        self._thread.start()

    def add(self, connection: NewSocket) -> None:
        """Count the bytes of this connection from now on."""
        with self._lock:
            self._counted.add(connection)
        self._has_some.set()

    def remove(self, connection: NewSocket) -> None:
        """Let it send what it likes: it has presented a valid key, or has ended."""
        with self._lock:
            self._counted.discard(connection)

    def close(self) -> None:
        """Stop counting."""
        self._stopped.set()
        self._has_some.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._stopped.is_set():
            self._has_some.wait()
            began = time.monotonic()
            with self._lock:
                self._close_excess()
                if not self._counted:
                    self._has_some.clear()
            self._stopped.wait(max(COUNT_SECONDS, PAUSE * (time.monotonic() - began)))

    def _close_excess(self) -> None:
        total = 0
        for size, connection in sorted(map(_measured, self._counted), key=lambda each: each[0]):
            total += size
            if total > MOST_BYTES:
                self._counted.discard(connection)
                connection.shut_down_at_once()


class CountedConnection(NewSocket):
    """A new connection whose bytes are counted."""

    def __init__(
        self, connection: socket.socket, counts: ByteCounts, released: Callable[[int], None]
    ) -> None:
        """`connection`, `released`: see `NewSocket`."""
        super().__init__(connection, released)
        self._counts = counts
        counts.add(self)

    def limit(self, most: int) -> None:
        """Nothing: all connections together are limited."""

    def open(self) -> None:
        """Nothing: it is read already."""

    def lift(self) -> None:
        """Let it send what it likes."""
        self._counts.remove(self)

    def close(self) -> None:
        """Close the copy."""
        self._counts.remove(self)
        super().close()


def _measured(connection: NewSocket) -> tuple[int, NewSocket]:
    try:
        return connection.received(), connection
    except OSError:  # It has ended.
        return 0, connection
