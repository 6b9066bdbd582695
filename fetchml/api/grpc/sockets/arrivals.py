"""Reports that a connection has arrived at a listening socket, although gRPC may accept it at once.

`epoll` reports what is so when it is asked: nothing, if another thread was faster. A signal is not
lost. The kernel sends it to a thread of this module alone, which waits for nothing else.
"""

import asyncio
import fcntl
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Collection

_F_SETOWN_EX = 15
_F_OWNER_TID = 0


class Arrivals:
    """Calls a function in the event loop after connections have arrived at listening sockets."""

    def __init__(self, listening: Collection[socket.socket], arrived: Callable[[], object]) -> None:
        """Created in the event loop, which `arrived` is called in. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._arrived = arrived
        self._closing = False
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._wait, args=(started,), name="grpc-arrivals", daemon=True
        )
        self._thread.start()
        started.wait()
        owner = struct.pack("=ii", _F_OWNER_TID, self._thread.native_id)
        for each in listening:
            fcntl.fcntl(each, _F_SETOWN_EX, owner)
            flags = fcntl.fcntl(each, fcntl.F_GETFL)
            fcntl.fcntl(each, fcntl.F_SETFL, flags | os.O_ASYNC)

    def close(self, listening: Collection[socket.socket]) -> None:
        """Stop calling. Raises OSError."""
        for each in listening:
            fcntl.fcntl(each, fcntl.F_SETFL, fcntl.fcntl(each, fcntl.F_GETFL) & ~os.O_ASYNC)
        self._closing = True
        assert self._thread.ident is not None  # noqa: S101  # It has started.
        signal.pthread_kill(self._thread.ident, signal.SIGIO)
        self._thread.join()

    def _wait(self, started: threading.Event) -> None:
        # Blocked, it stays until this thread asks for it. Otherwise it would end the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
        started.set()
        while not self._closing:
            signal.sigwait({signal.SIGIO})
            if not self._closing:
                self._loop.call_soon_threadsafe(self._arrived)
