"""aiohttp's side of a connection: what a client sees when its bytes are no HTTP request."""

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from fetchml.api.call import Call
from fetchml.api.errors import Internal
from fetchml.api.trace import new_trace
from fetchml.errors import BadRequest, RequestError
from fetchml.logs import current_trace

IDLE_SECONDS = 75
"""A connection without a whole request head is closed after so long."""
LINGERING_SECONDS = 2
"""The rest of a refused body is taken for so long, so that the client gets to read the reply."""

log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    __slots__ = ("stream",)

    def __init__(self, manager: web.Server, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self.stream: asyncio.Task[object] | None = None
        """Cancelled when the client leaves: a reply that only waits would not notice."""

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.stream is not None:
            self.stream.cancel()

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
        call = Call(request, new_trace(None))
        current_trace.set(call.trace_id)
        error: RequestError
        if status >= 500:
            error = Internal()
            log.error("a request failed", exc_info=exc)
        else:
            error = BadRequest(_what_is_wrong(exc))
            # Not what it was: half a header may be a key.
            log.debug("unreadable request: %s", type(exc).__name__)
        response = call.error(error)
        response.force_close()
        return response


def _what_is_wrong(exc: BaseException | None) -> str:
    if isinstance(exc, LineTooLong):
        return "The request line or a header is too long"
    return "This is not a valid HTTP/1.1 request"


class ConnectionServer(web.Server):
    """Makes the connections ours."""

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGERING_SECONDS,
        )
