"""Finds the connections that gRPC accepts on a port, as soon as it accepts them.

The kernel reports when a connection arrives at a listening socket (`arrivals`). Right after that,
gRPC accepts it in a thread of its own, and the connection is among the process's files.
"""

import asyncio
import logging
import select
import socket
import time
from collections.abc import Callable, Collection
from contextlib import suppress

from fetchml.api.grpc.sockets.arrivals import Arrivals
from fetchml.api.grpc.sockets.byte_limit import LimitedConnection, hold_accepted, unaccepted
from fetchml.api.grpc.sockets.counting import ByteCounts, CountedConnection
from fetchml.api.grpc.sockets.newcomers import Limited, Newcomers
from fetchml.api.grpc.sockets.own_sockets import (
    NewConnection,
    OwnConnections,
    close_connections,
    listening_sockets,
)

SPIN_SECONDS = 0.0005
"""A connection that gRPC is accepting is looked for at each turn of the loop for so long."""
AWAIT_SECONDS = 0.001
"""After that, looks are apart by this time until it is found, as long as gRPC has not accepted it,
and for `MOST_AWAITED_SECONDS` at least."""
MOST_AWAITED_SECONDS = 0.010
LOOK_AGAIN_SECONDS = (0.01, 0.05, 0.5)
"""Later looks after a connection has arrived, in case there was another one that gRPC's thread had
accepted without having listed it among the files."""
PAUSE = 3
"""Looks are apart by this multiple of the processor time that one takes."""

log = logging.getLogger(__name__)


class ConnectionWatch:
    """Hands each new connection to a port to `Newcomers`, or closes it. Used from the event
    loop."""

    def __init__(
        self,
        port: int,
        newcomers: Newcomers,
        excess: Callable[[Collection[str]], set[str]],
    ) -> None:
        """`excess`: returns which of the connected peers to close. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._newcomers = newcomers
        self._excess = excess
        self._connections = OwnConnections(port)
        self._events = select.epoll()
        self._listening = listening_sockets(port)
        self._buffer_bytes: int | None = None
        """The receive buffer of an ordinary connection; `None` if new ones cannot be held."""
        self._counts: ByteCounts | None = None
        """Limits the bytes if the kernel cannot."""
        self._peers: dict[int, str] = {}
        """Number of a newcomer's file → peer, while its end is awaited."""
        self._is_closed = False
        self._spin_until = 0.0
        self._spinning = False
        self._was_accepting = False
        """Whether a connection waited to be accepted at the last turn."""
        self._looked_at = 0.0
        self._not_before = 0.0
        """Time before which no look begins."""
        self._looks: list[asyncio.TimerHandle] = []
        self._again: asyncio.TimerHandle | None = None
        """The next look after one that failed."""
        self._awaiting: asyncio.TimerHandle | None = None
        self._check: asyncio.TimerHandle | None = None
        self._arrivals = Arrivals(self._listening, self._arrived)
        for listening in self._listening:
            self._hold(listening)
        self._loop.add_reader(self._events.fileno(), self._on_ends)
        self._arrived()

    def close(self) -> None:
        """Stop watching."""
        self._arrivals.close(self._listening)
        self._loop.remove_reader(self._events.fileno())
        self._is_closed = True
        for timer in filter(None, [*self._looks, self._again, self._awaiting, self._check]):
            timer.cancel()
        self._newcomers.close()
        if self._counts is not None:
            self._counts.close()
        self._events.close()
        for listening in self._listening:
            listening.close()

    def _hold(self, listening: socket.socket) -> None:
        try:
            self._buffer_bytes = hold_accepted(listening)
        except OSError as error:
            log.warning(
                "the kernel cannot limit what gRPC clients without a key send (%s): it is counted",
                error,
            )
            self._counts = self._counts or ByteCounts()

    def _on_ends(self) -> None:
        for number, _ in self._events.poll(0):
            if number in self._peers:
                self._newcomers.end(self._peers[number])

    def _arrived(self) -> None:
        """Look for connections now, and again a little later."""
        if self._is_closed:
            return
        self._expect()
        self._spin()

    def _expect(self) -> None:
        """Look for a connection that is accepted about now, and again a little later."""
        self._spin_until = time.monotonic() + SPIN_SECONDS
        for timer in self._looks:
            timer.cancel()
        self._looks = [self._loop.call_later(delay, self._look) for delay in LOOK_AGAIN_SECONDS]

    def _spin(self) -> None:
        if not self._spinning:
            self._spinning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._spinning = False
        if self._is_closed:
            return
        now = time.monotonic()
        accepting = self._accepting()
        if self._was_accepting and not accepting:
            self._expect()  # However late that was after its arrival.
        self._was_accepting = accepting
        # In a flood one always waits: then those before it are looked for now and then.
        is_late = now >= self._looked_at + MOST_AWAITED_SECONDS
        may_look = now >= self._not_before and (is_late or not accepting)
        if may_look and self._look() and not accepting:
            return
        if now < self._spin_until:
            self._spin()
        elif accepting or now < self._spin_until + MOST_AWAITED_SECONDS:
            self._spinning = True
            self._awaiting = self._loop.call_later(AWAIT_SECONDS, self._turn)

    def _accepting(self) -> bool:
        """Return whether a connection waits to be accepted."""
        with suppress(OSError):  # gRPC has closed the socket: the server is shutting down.
            return any(unaccepted(listening) for listening in self._listening)
        return False

    def _look(self) -> bool:
        """Take up new connections; return whether there are any."""
        began = time.thread_time()
        self._looked_at = time.monotonic()
        try:
            new = self._connections.look()
        except OSError as error:
            self._look_again(str(error))
            return False
        if self._connections.has_missed:
            self._look_again("the process may not open more files")
        if new:
            excess = self._excess(self._connections.peers)
            for connection in new:
                self._take(connection, excess)
            if before := excess - {connection.peer for connection in new}:
                close_connections(before)
            self._check_newcomers()
        self._newcomers.all_arrived()
        self._not_before = time.monotonic() + PAUSE * (time.thread_time() - began)
        return bool(new)

    def _look_again(self, reason: str) -> None:
        """Repeat a look that failed: without one, a connection would stay unread."""
        if self._again is None:
            log.warning("cannot inspect gRPC connections: %s", reason)
            self._again = self._loop.call_later(LOOK_AGAIN_SECONDS[-1], self._repeat)

    def _repeat(self) -> None:
        self._again = None
        self._look()

    def _take(self, connection: NewConnection, excess: Collection[str]) -> None:
        peer, copy = connection
        if peer in excess:
            with suppress(OSError):  # The client has disconnected.
                copy.shutdown(socket.SHUT_RDWR)
            copy.close()
            return
        try:
            self._events.register(copy.fileno(), select.EPOLLRDHUP | select.EPOLLET)
        except OSError as error:
            log.warning("closed a gRPC connection: its end cannot be awaited: %s", error)
            with suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)
            copy.close()
            return
        self._peers[copy.fileno()] = peer
        limited: Limited
        if self._counts is None and self._buffer_bytes is not None:
            limited = LimitedConnection(copy, self._buffer_bytes, self._released)
        else:
            self._counts = self._counts or ByteCounts()
            limited = CountedConnection(copy, self._counts, self._released)
        self._newcomers.arrive(peer, limited)

    def _released(self, number: int) -> None:
        """Await no end of this newcomer: its copied file is about to be closed."""
        del self._peers[number]
        self._events.unregister(number)

    def _check_newcomers(self) -> None:
        if self._check is not None:
            self._check.cancel()
        delay = self._newcomers.check()
        self._check = None if delay is None else self._loop.call_later(delay, self._check_newcomers)
