"""HTTP connections on top of aiohttp: they serve requests in turn, within limits, and answer bytes
that are not HTTP."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _PAYLOAD_ACCESS_ERROR, ERROR, _ErrInfo

from fetchml.api.http.errors import HeadTimeout, HeadTooLarge, InternalError, raw_reply
from fetchml.api.http.framing import checked
from fetchml.api.http.reply import SMALL_BYTES, JsonReply, Reply
from fetchml.api.http.request import RestRequest
from fetchml.api.trace import new_trace
from fetchml.auth.connection_limits import CloseReason
from fetchml.errors import BadRequest, Overloaded, RequestError
from fetchml.system.log import current_trace
from fetchml.system.pacing import Pace

if TYPE_CHECKING:
    from fetchml.api.http.connection_server import ConnectionServer

IDLE_SECONDS = 75
"""A connection without a request is closed after this time."""
LINGERING_SECONDS = 2
"""The rest of a rejected body is read for this long, so that the client can read the reply."""
HEAD_BYTES = 32 * 1024
"""Limit of a request's head: the request line and the headers, without spaces around values."""
HEADS_BYTES = 32 << 20
"""Limit of all incomplete heads together."""

CONNECTION_BYTES = 3 * SMALL_BYTES
"""Uncounted memory of one connection: a small body, a small reply, and the connection itself."""

log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """One HTTP connection, counted and limited."""

    __slots__ = (
        "_body_bytes", "_caller", "_counted", "_head_bytes", "_head_timer", "_is_plain", "_payload",
        "_server", "_unparsed", "_unsent", "_unsent_since", "_wire", "stream",
    )  # fmt: skip

    _wire: asyncio.Transport
    """The same as `transport`, but kept until the connection is lost rather than until it is
    closing."""

    def __init__(self, server: "ConnectionServer", **settings: Any) -> None:
        super().__init__(server, **settings)
        self._server = server
        self._caller: str | None = None
        """The caller that the connection is counted for; `None` if it was refused or is gone."""
        self._counted = 0
        """Requests whose heads have been noted as complete."""
        self._payload: StreamReader | None = None
        """The body of the newest request."""
        self._body_bytes = 0
        """Bytes received for this body, the headers of its chunks and trailers included."""
        self._head_bytes = 0
        """Bytes received of an incomplete head."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._unparsed = 0
        """Bytes received in which the next head may have begun."""
        self._is_plain = False
        """The current request is one of HTTP/1.1 that keeps the connection open, and not HEAD."""
        self._unsent = 0
        self._unsent_since = 0.0
        self.stream: asyncio.Task[object] | None = None
        """A task to cancel when the client disconnects; a reply that only waits would not notice.
        """

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

    async def start(self) -> None:  # noqa: PLR0915 - all requests pay for calls
        """Answer the connection's requests in turn. aiohttp calls this method; its own makes a task
        for each request, which takes 2 % of a submit's time."""
        loop, server, pace = self._loop, self._server, Pace()
        while not self._force_close:
            if not self._messages:
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            handler = server.request_handler
            if not isinstance(message, _ErrInfo):
                try:
                    message = checked(message)
                except BadRequest as fault:
                    message = _ErrInfo(HTTPStatus.BAD_REQUEST, fault, fault.message)
            if isinstance(message, _ErrInfo):
                handler, message = self._make_error_handler(message), ERROR
            self._is_plain = (
                message.version == HttpVersion11
                and not message.should_close
                and message.method != "HEAD"
            )
            server.requests_count += 1
            # The task is None in the request: it would be part of a cycle, and nothing asks for it.
            request = web.BaseRequest(
                message, payload, self, StreamWriter(self, loop), cast("Any", None), loop
            )
            try:
                response, is_lost = await self._handle_request(request, None, handler)
                if is_lost:
                    break
                self._keepalive = bool(response.keep_alive)
                if not payload.is_eof():
                    await self._skip(payload)
                payload.set_exception(_PAYLOAD_ACCESS_ERROR)
                # An idle connection would keep them, and they are not counted any more.
                del message, payload, request, response
            except ConnectionError:
                break
            except Exception:
                log.exception("a connection failed")
                self.force_close()
            except BaseException:
                self.force_close()
                raise
            if self._messages:
                await pace.rest()  # What is read ahead may be thousands of requests.
            if not self._keepalive or self._close or self._force_close:
                break
            self._next_keepalive_close_time = close_at = loop.time() + IDLE_SECONDS
            if self._keepalive_handle is None:
                self._keepalive_handle = loop.call_at(close_at, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _skip(self, body: StreamReader) -> None:
        """Read the rest of a body that was answered early, for a moment: a client that is still
        sending may not read its reply."""
        if not self._force_close and body.exception() is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGERING_SECONDS):
                    while not body.is_eof():
                        await body.readany()
        if not body.is_eof() and not self._force_close:
            self.close()

    def data_received(self, data: bytes) -> None:
        if self._caller is None:
            self._wire.close()  # The refusal that was sent also answers this request.
            return
        if len(data) <= HEAD_BYTES:
            self._receive(data)
            return
        # In portions, so that little of a head can follow another request uncounted.
        for first in range(0, len(data), HEAD_BYTES):
            self._receive(data[first : first + HEAD_BYTES])

    def _receive(self, data: bytes) -> None:
        if self._request_count != self._counted:
            self._note_request()
        begun = self._payload is None or self._payload.is_eof()
        # While the parser is paused, it keeps whole requests.
        kept = self._buffer_paused
        super().data_received(data)
        size = len(data)
        if self._request_count != self._counted:
            if not begun:
                self._end_body()
            if self._unparsed + size > HEAD_BYTES:
                self._check_heads(self._request_count - self._counted)
            begun = False
            self._note_request()
            if self._head_bytes:
                self._end_head()
        elif begun and data and not self._upgraded and not self._close and not self._force_close:
            self._count_head(size)
        elif not begun and self._payload is not None and not self._force_close:
            self._body_bytes += size
            if not (self._reading_paused or self._buffer_paused or self._upgraded):
                self._check_framing(self._payload)
        self._unparsed = self._unparsed + size if begun or kept else size

    def _end_body(self) -> None:
        """Pass a fault that the parser found in a body on to the reader of the body: aiohttp has
        queued it as a request of its own."""
        fault, body = self._messages[-1][0], self._payload
        if isinstance(fault, _ErrInfo) and body is not None and not body.is_eof():
            body.set_exception(fault.exc)

    def _check_heads(self, count: int) -> None:
        """Replace the first of the newest `count` messages whose head is too large by an error
        reply, which closes the connection."""
        waiting = self._messages
        for at in range(len(waiting) - count, len(waiting)):
            message = waiting[at][0]
            if isinstance(message, RawRequestMessage) and _head_size(message) > HEAD_BYTES:
                self._server.registry.ended[CloseReason.HEAD_TOO_LARGE] += 1
                error = HeadTooLarge(HEAD_BYTES)
                waiting[at] = (_ErrInfo(error.status, error, error.message), EMPTY_PAYLOAD)
                break

    def _check_framing(self, payload: StreamReader) -> None:
        """Drop a client that sends more for headers of chunks and for trailers than for the body:
        aiohttp keeps trailers until they end."""
        framing = self._body_bytes - payload.total_bytes
        if framing <= HEAD_BYTES + payload.total_bytes:
            return
        self._server.registry.ended[CloseReason.FRAMING_TOO_LARGE] += 1
        current, waiting = self._current_request, len(self._messages)
        if current is None:
            is_next = waiting == 1
        else:
            is_next = waiting == 0 and not current.writer.output_size
        if is_next and self.transport is not None:
            self.transport.write(raw_reply(BadRequest(_FRAMING), new_trace(None)))
        payload.set_exception(ConnectionResetError())  # As if the client had disconnected.
        self.force_close()

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
        if self._payload is not None:
            self._body_bytes = self._payload.total_bytes

    def _count_head(self, size: int) -> None:
        """Count `size` more bytes of an incomplete head, and refuse it beyond the limits."""
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
        """Reply to an incomplete head and close, unless an earlier request is being answered."""
        self._server.registry.ended[why] += 1
        self._end_head()
        if self._request_in_progress or self._messages:
            self.close()
            return
        if self.transport is not None:
            self.transport.write(raw_reply(error, new_trace(None)))
        self.force_close()

    def resume_writing(self) -> None:
        self._unsent = 0  # The client has read some bytes.
        super().resume_writing()

    def drop_if_not_read(self, now: float) -> None:
        """Drop the connection if its client has read nothing for too long. `now`: the event loop's
        time. An open WebSocket has a time limit of its own, which gives a reason."""
        unsent = self._wire.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since >= self._server.timeouts.send and (
            self._payload_parser is None or self._wire.is_closing()
        ):
            self._server.registry.ended[CloseReason.NOT_READ] += 1
            self._wire.abort()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send a reply. aiohttp calls this method."""
        if isinstance(resp, JsonReply):
            if self._is_plain and resp.keep_alive and not self._upgraded:
                return self._write_json(resp)
            resp = resp.response()
        finishing = super().finish_response(request, resp, start_time)
        return resp.counted(finishing) if isinstance(resp, Reply) else finishing

    async def _write_json(self, reply: JsonReply) -> tuple[web.StreamResponse, bool]:
        """Return the reply, and whether the connection is lost."""
        if self.transport is None or self.transport.is_closing():
            return reply, True
        self.transport.write(reply.wire)
        if self._paused:
            try:
                await self._drain_helper()
            except ConnectionError:
                return reply, True
        return reply, False

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
            error = exc if isinstance(exc, RequestError) else BadRequest(_fault(exc))
            # The bytes are not logged: half a header may hold an API key.
            log.debug("unreadable request: %s", type(exc).__name__)
        response = failed.error(error)
        response.force_close()
        return response


_FRAMING = "The chunks' extensions and trailers are larger than the body"


def _fault(exc: BaseException | None) -> str:
    if isinstance(exc, LineTooLong):
        return "The request line or a header is too long"
    return "This is not a valid HTTP/1.1 request"


def _head_size(message: RawRequestMessage) -> int:
    """Return the bytes of a head without the spaces that its values may have around them."""
    target = message.path.encode("utf-8", "surrogateescape")
    line = len(message.method) + len(target) + len("  HTTP/1.1\r\n")
    return line + sum(len(name) + len(value) + 4 for name, value in message.raw_headers) + 2
