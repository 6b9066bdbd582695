"""The server of all HTTP connections: what they share, and those that it refuses."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from fetchml.api.http.connection import IDLE_SECONDS, Connection
from fetchml.api.http.errors import raw_reply
from fetchml.api.trace import new_trace
from fetchml.auth.connection_limits import ConnectionLimits
from fetchml.errors import RequestError

REFUSED_SECONDS = 1
"""A refused connection stays open for this long, so that the client can read the reason."""
MOST_REFUSED = 64
"""Refused connections that stay open at one time; others are dropped immediately."""
READ_BYTES = 32 << 10
"""Bytes of a body that are read ahead, in addition to the piece received last."""


@dataclass(frozen=True, slots=True)
class ConnectionTimeouts:
    """Time limits of a connection in seconds."""

    head: float
    """Longest time from the first byte of a head to its last."""
    send: float
    """A connection is dropped if its client reads nothing of pending bytes for this long."""


class ConnectionServer(web.Server):
    """Creates `Connection`s and holds the state that they share."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        connections: ConnectionLimits,
        timeouts: ConnectionTimeouts,
    ) -> None:
        super().__init__(answer)
        self.registry = connections
        self.timeouts = timeouts
        self.head_bytes = 0
        """Bytes received of all incomplete heads."""
        self._here: set[Connection] = set()
        self._refused: dict[asyncio.Transport, asyncio.TimerHandle] = {}

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            read_bufsize=READ_BYTES,
        )

    def open(self, connection: Connection, peer: str) -> str:
        """Count a new connection and return the caller that it is counted for. Raises
        TooManyConnections, Overloaded."""
        caller = self.registry.open(peer)
        self._here.add(connection)
        return caller

    def close(self, connection: Connection, caller: str) -> None:
        self._here.discard(connection)
        self.registry.close(caller)

    def turn_away(self, transport: asyncio.Transport, error: RequestError) -> None:
        """Send the reason of a refusal, and leave a moment to read it."""
        if len(self._refused) >= MOST_REFUSED:
            transport.abort()
            return
        transport.write(raw_reply(error, new_trace(None)))
        loop = asyncio.get_running_loop()
        self._refused[transport] = loop.call_later(REFUSED_SECONDS, transport.abort)

    def turned_away(self, transport: asyncio.Transport) -> None:
        timer = self._refused.pop(transport, None)
        if timer is not None:
            timer.cancel()

    async def drop_stalled_forever(self) -> None:
        """Drop connections whose clients read nothing; check several times per time limit."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.timeouts.send / 4)
            now = loop.time()
            for connection in list(self._here):
                connection.drop_if_not_read(now)
