"""aiohttp's side of a connection: its limits, and what a client sees when its bytes are no HTTP
request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong

from fetchml.api.http.errors import HeadTimeout, HeadTooLarge, Internal, raw_reply
from fetchml.api.http.reply import SMALL_BYTES, Reply
from fetchml.api.http.request import RestRequest
from fetchml.api.trace import new_trace
from fetchml.auth.open_connections import CloseReason, OpenConnections
from fetchml.errors import BadRequest, Overloaded, RequestError
from fetchml.system.log import current_trace

IDLE_SECONDS = 75
"""A connection that is between two requests is closed after so long."""
LINGERING_SECONDS = 2
"""The rest of a refused body is taken for so long, so that the client gets to read the reply."""
REFUSED_SECONDS = 1
"""A refused connection stays open for so long, so that the client gets to read why."""
MOST_REFUSED = 64
"""Refused connections that stay open at a time; others are dropped at once."""
HEAD_BYTES = 32 * 1024
"""A request's line and headers."""
HEADS_BYTES = 32 << 20
"""What has come of all heads that are not complete."""

READ_BYTES = 32 << 10
"""Of a body that are read ahead; what comes in one go is kept beside that."""
CONNECTION_BYTES = 3 * SMALL_BYTES
"""What one may hold beside all that is counted: a little of a body and of a reply, and itself."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionTimeouts:
    """Seconds."""

    head: float
    """From a head's first byte to its last."""
    send: float
    """A client that takes nothing of what waits for it for so long is dropped."""


class Connection(web.RequestHandler):
    __slots__ = (
        "_caller", "_counted", "_head_bytes", "_head_timer", "_payload", "_server", "_unsent",
        "_unsent_since", "_wire", "stream",
    )  # fmt: skip

    _wire: asyncio.Transport
    """As `transport`, but until the connection is gone, not only until it is to be closed."""

    def __init__(self, server: "ConnectionServer", **settings: Any) -> None:
        super().__init__(server, **settings)
        self._server = server
        self._caller: str | None = None
        """Whom it is counted for; None: it was refused, or is gone."""
        self._counted = 0
        """Requests whose head was taken note of."""
        self._payload: StreamReader | None = None
        """The body of the newest request."""
        self._head_bytes = 0
        """What has come of a head that is not complete."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._unsent_since = 0.0
        self.stream: asyncio.Task[object] | None = None
        """Cancelled when the client leaves: a reply that only waits would not notice."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("",)
        try:
            self._caller = self._server.open(self, str(peer[0]))
        except RequestError as error:
            self._server.turn_away(self._wire, error)
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._caller is None:
            self._server.turned_away(self._wire)
            return
        self._server.close(self, self._caller)
        self._caller = None
        self._end_head()
        super().connection_lost(exc)
        if self.stream is not None:
            self.stream.cancel()

    def data_received(self, data: bytes) -> None:
        if self._caller is None:
            self._wire.close()  # It has sent its request: the refusal is its answer.
            return
        if len(data) <= HEAD_BYTES:
            self._receive(data)
            return
        # In portions, so that little of a head can come behind another request uncounted.
        for first in range(0, len(data), HEAD_BYTES):
            self._receive(data[first : first + HEAD_BYTES])

    def _receive(self, data: bytes) -> None:
        if self._request_count != self._counted:
            self._note_request()
        begun = self._payload is None or self._payload.is_eof()
        super().data_received(data)
        if self._request_count != self._counted:
            self._note_request()
            if self._head_bytes:
                self._end_head()
        elif begun and data and not self._upgraded and not self._close and not self._force_close:
            self._count_head(len(data))

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp calls this twice for each body, and each time has the parser look for what it
        left when reading was paused."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def _note_request(self) -> None:
        self._counted = self._request_count
        if self._messages:
            self._payload = self._messages[-1][1]
        elif self._current_request is not None:
            self._payload = self._current_request.content

    def _count_head(self, size: int) -> None:
        """More of a head has come, and it is not complete."""
        if self._head_timer is None:
            seconds = self._server.timeouts.head
            self._head_timer = self._loop.call_later(seconds, self._head_is_late)
        self._head_bytes += size
        self._server.head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._refuse(HeadTooLarge(HEAD_BYTES), CloseReason.HEAD_TOO_LARGE)
        elif self._server.head_bytes > HEADS_BYTES:
            self._refuse(
                Overloaded("The server receives too much at once"), CloseReason.HEADS_TOO_LARGE
            )

    def _head_is_late(self) -> None:
        self._refuse(HeadTimeout(self._server.timeouts.head), CloseReason.HEAD_TOO_SLOW)

    def _end_head(self) -> None:
        self._server.head_bytes -= self._head_bytes
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: RequestError, why: CloseReason) -> None:
        """Answers a head that never became a request; what is being answered comes first."""
        self._server.registry.ended[why] += 1
        self._end_head()
        if self._request_in_progress or self._messages:
            self.close()
            return
        if self.transport is not None:
            self.transport.write(raw_reply(error, new_trace(None)))
        self.force_close()

    def resume_writing(self) -> None:
        self._unsent = 0  # The client has taken something.
        super().resume_writing()

    def drop_if_not_read(self, now: float) -> None:
        """`now`: the loop's time. A WebSocket has its own time limit, with a reason."""
        unsent = self._wire.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since >= self._server.timeouts.send and (
            self._payload_parser is None or self._wire.is_closing()
        ):
            self._server.registry.ended[CloseReason.NOT_READ] += 1
            self._wire.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp sends a reply here."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            if isinstance(resp, Reply):
                resp.sent()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp calls this for what never became a request, and for what a handler raised."""
        if isinstance(exc, ConnectionError):
            raise exc
        failed = RestRequest(request, new_trace(None))
        current_trace.set(failed.trace_id)
        error: RequestError
        if status >= 500:
            error = Internal()
            log.error("a request failed", exc_info=exc)
        else:
            error = BadRequest(_what_is_wrong(exc))
            # Not what it was: half a header may be a key.
            log.debug("unreadable request: %s", type(exc).__name__)
        response = failed.error(error)
        response.force_close()
        return response


def _what_is_wrong(exc: BaseException | None) -> str:
    if isinstance(exc, LineTooLong):
        return "The request line or a header is too long"
    return "This is not a valid HTTP/1.1 request"


class ConnectionServer(web.Server):
    """Makes the connections ours, and has what they share."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        connections: OpenConnections,
        timeouts: ConnectionTimeouts,
    ) -> None:
        super().__init__(answer)
        self.registry = connections
        self.timeouts = timeouts
        self.head_bytes = 0
        """What has come of all heads that are not complete."""
        self._here: set[Connection] = set()
        self._refused: dict[asyncio.Transport, asyncio.TimerHandle] = {}

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            read_bufsize=READ_BYTES,
        )

    def open(self, connection: Connection, peer: str) -> str:
        """Raises TooManyConnections, Overloaded."""
        caller = self.registry.open(peer)
        self._here.add(connection)
        return caller

    def close(self, connection: Connection, caller: str) -> None:
        self._here.discard(connection)
        self.registry.close(caller)

    def turn_away(self, transport: asyncio.Transport, error: RequestError) -> None:
        """Give the reason, and a moment to read it."""
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

    async def drop_who_does_not_read(self) -> None:
        """For ever: look a few times within the time that clients have."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.timeouts.send / 4)
            now = loop.time()
            for connection in list(self._here):
                connection.drop_if_not_read(now)
