"""HTTP connections: counted by caller, dropped if their clients read nothing, and with an error
reply of the contract's form for bytes that are not HTTP.

`web.RequestHandler` does the rest. Of it, only the methods of `asyncio.Protocol` and `handle_error`
are extended; if aiohttp stops calling the latter, such bytes get its own reply in plain text.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from fetchml.api.http.errors import InternalError, raw_reply
from fetchml.api.http.reply import SMALL_BYTES
from fetchml.api.http.request import RestRequest
from fetchml.api.trace import new_trace
from fetchml.auth.limits import CloseReason, ConnectionLimits
from fetchml.errors import BadRequest, RequestError
from fetchml.system.log import current_trace

_CREDENTIALS = struct.Struct("3i")
"""pid, uid, gid"""
LINE_BYTES = 8190
"""Limit of a request line, and of a header."""
MOST_HEADERS = 64

REFUSED_SECONDS = 1
"""A refused connection stays open for this long, so that the client can read the reason."""

CONNECTION_BYTES = 3 * SMALL_BYTES
"""Uncounted memory of one connection: a small body, a small reply, and the connection itself."""

_UNREADABLE = (
    "This is not a valid HTTP/1.1 request, or too large: the request line and each of at most "
    f"{MOST_HEADERS} headers may have {LINE_BYTES} bytes"
)

log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """One HTTP connection, counted and limited."""

    __slots__ = ("_caller", "_server", "_unsent", "_unsent_since", "_wire", "stream")

    _caller: str
    """The caller that the connection is counted for."""
    _wire: asyncio.Transport
    """The same as `transport`, but kept until the connection is lost rather than until it is
    closing."""

    def __init__(self, server: "ConnectionServer", **settings: Any) -> None:
        super().__init__(server, **settings)
        self._server = server
        self._unsent = 0
        self._unsent_since = 0.0
        self.stream: asyncio.Task[object] | None = None
        """A task to cancel when the client disconnects; a reply that only waits would not notice.
        """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        try:
            self._caller = self._server.open(self, _peer(transport))
        except RequestError as error:
            self._server.refuse(self._wire, error)
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.close(self, self._caller)
        super().connection_lost(exc)
        if self.stream is not None:
            self.stream.cancel()

    def resume_writing(self) -> None:
        self._unsent = 0  # The client has read some bytes.
        super().resume_writing()

    def drop_if_not_read(self, now: float) -> None:
        """Drop the connection if its client has read nothing for too long. `now`: the event
        loop's time. An open stream has its own time limit."""
        unsent = self._wire.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent or self.stream is not None:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since >= self._server.send_seconds:
            self._server.registry.ended[CloseReason.NOT_READ] += 1
            self._wire.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Make an error reply. aiohttp calls this method for bytes that are not a valid request,
        and for an exception from a handler."""
        if isinstance(exc, ConnectionError):
            raise exc
        failed = RestRequest(request, new_trace(None))
        current_trace.set(failed.trace_id)
        error: RequestError
        if status >= 500:
            error = InternalError()
            log.error("a request failed", exc_info=exc)
        else:
            error = BadRequest(_UNREADABLE)
            # The bytes are not logged: half a header may hold an API key.
            log.debug("unreadable request: %s", type(exc).__name__)
        response = failed.error(error)
        response.force_close()
        return response


def _peer(transport: asyncio.BaseTransport) -> str:
    """Return the address of a connection's client; for the socket of tasks the uid, which is a
    user's own where the server may hand files over."""
    sock = transport.get_extra_info("socket")
    if sock.family == socket.AF_UNIX:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return f"uid {_CREDENTIALS.unpack(credentials)[1]}"
    return str((transport.get_extra_info("peername") or ("",))[0])


class RefusedConnection(asyncio.Protocol):
    """A connection beyond the limits, which gets the reason and a moment to read it."""

    def __init__(
        self, transport: asyncio.Transport, error: RequestError, refused: set[asyncio.Transport]
    ) -> None:
        """`refused`: those that are open."""
        self._transport = transport
        self._refused = refused
        refused.add(transport)
        transport.write(raw_reply(error, new_trace(None)))
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(REFUSED_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._transport.close()  # The refusal that was sent also answers this request.

    def connection_lost(self, exc: BaseException | None) -> None:
        self._timer.cancel()
        self._refused.discard(self._transport)


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
