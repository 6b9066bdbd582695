"""The server of all HTTP connections: what they share, and those that it refuses."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from fetchml.api.http.connection import LINE_BYTES, MOST_HEADERS, Connection, RefusedConnection
from fetchml.auth.connection_limits import ConnectionLimits
from fetchml.errors import RequestError

LINGERING_SECONDS = 2
"""The rest of a rejected body is read for this long, so that the client can read the reply."""
MOST_REFUSED = 64
"""Refused connections that stay open at one time; others are dropped immediately."""
READ_BYTES = 32 << 10
"""Bytes of a body that are read ahead, in addition to the piece received last."""


class ConnectionServer(web.Server):
    """Creates `Connection`s and holds the state that they share."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        connections: ConnectionLimits,
        *,
        idle_seconds: float,
        send_seconds: float,
    ) -> None:
        """`idle_seconds`: a connection without a complete request is closed after this time.
        `send_seconds`: it is dropped if its client reads nothing of pending bytes for this long."""
        super().__init__(answer)
        self.registry = connections
        self.send_seconds = send_seconds
        self._idle_seconds = idle_seconds
        self._here: set[Connection] = set()
        self._refused: set[asyncio.Transport] = set()

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=self._idle_seconds,
            lingering_time=LINGERING_SECONDS,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            max_headers=MOST_HEADERS,
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

    def refuse(self, transport: asyncio.Transport, error: RequestError) -> None:
        """Send the reason of a refusal, and leave a moment to read it."""
        if len(self._refused) >= MOST_REFUSED:
            transport.set_protocol(asyncio.Protocol())
            transport.abort()
        else:
            transport.set_protocol(RefusedConnection(transport, error, self._refused))

    async def drop_stalled_forever(self) -> None:
        """Drop connections whose clients read nothing; check several times per time limit."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.send_seconds / 4)
            now = loop.time()
            for connection in list(self._here):
                connection.drop_if_not_read(now)
