"""`/ws`: the WebSocket handshake and its authentication (contract reading 28)."""

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode, web

from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.http.sessions import SESSION_PROTOCOL, SessionCredentials
from fetchml.api.http.streams import Streams, abort
from fetchml.api.ws.session import SocketEnded, Timing, WatchSession
from fetchml.auth.admission import Admission
from fetchml.core.model import Status
from fetchml.errors import BadRequest, RateLimited, RequestError, Unauthorized, Unavailable
from fetchml.views import WatchFilter

if TYPE_CHECKING:
    from fetchml.engine.engine import Engine

PROTOCOL = "fetchml.v1"
KEY_PROTOCOL = "fetchml.key."
"""Prefix of the protocol that carries the API key: browsers cannot set other headers."""
MAX_MESSAGE_BYTES = 4096
"""Largest message from a client, which sends only `ping` and `pong`."""
MAX_REASON_BYTES = 123
"""Longest reason that fits into a close frame."""

_CLOSE_CODES: dict[type[RequestError], int] = {
    Unauthorized: WSCloseCode.POLICY_VIOLATION,
    Unavailable: WSCloseCode.GOING_AWAY,
}

log = logging.getLogger(__name__)


class WatchOperation:
    """Admits clients of `/ws` and starts their sessions."""

    def __init__(
        self,
        engine: "Engine",
        admission: Admission,
        credentials: SessionCredentials,
        streams: Streams,
        timing: Timing,
    ) -> None:
        self._credentials = credentials
        self._engine = engine
        self._admission = admission
        self._streams = streams
        self._timing = timing

    def routes(self) -> list[Route]:
        # Keyless for the router only: `watch` itself also accepts a key sent as a protocol.
        return [Route("GET", "/ws", self.watch, keyless=True)]

    async def watch(self, request: RestRequest) -> web.StreamResponse:
        http = request.http
        protocols = _protocols(http)
        if secret := _key(http, protocols):
            request.admit(self._admission, secret)
        else:
            self._credentials.admit(request, _named(protocols, SESSION_PROTOCOL))
        query = Query(http, "since", "task_id", "status", "view")
        full, since = query.full_view(), query.number("since")
        where = WatchFilter(query.text("task_id"), query.status("status", tuple(Status)))
        if protocols and PROTOCOL not in protocols:
            raise BadRequest(f"Sec-WebSocket-Protocol: must offer {PROTOCOL}")
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,),
            timeout=self._timing.close_within,
            max_msg_size=MAX_MESSAGE_BYTES,
            compress=False,  # Compression takes 300 KB of memory per client.
        )
        if not _is_handshake(socket, http):
            raise BadRequest("This is a WebSocket: connect with a WebSocket handshake")
        socket.headers.update(request.headers({}))
        try:
            with self._streams.open(request):
                await socket.prepare(http)
                updates = self._engine.watch(request.principal, where, since, completes=True)
                await WatchSession(
                    socket, updates, self._timing, full=full, hold=request.message
                ).run()
        except SocketEnded as end:
            await self._close(http, socket, end)
        except RateLimited:
            raise
        except (Unauthorized, Unavailable) as error:
            if not socket.prepared:
                raise
            await self._close(http, socket, SocketEnded(_CLOSE_CODES[type(error)], error.message))
        except ConnectionError:
            raise
        except Exception:
            log.exception("a WebSocket watch failed")
            await self._close(
                http, socket, SocketEnded(WSCloseCode.INTERNAL_ERROR, "An error occurred")
            )
        return socket

    async def _close(
        self, request: web.BaseRequest, socket: web.WebSocketResponse, end: SocketEnded
    ) -> None:
        message = end.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
        try:
            async with asyncio.timeout(2 * self._timing.close_within):
                await socket.close(code=end.code, message=message)
        except TimeoutError:
            abort(request)


def _is_handshake(socket: web.WebSocketResponse, request: web.BaseRequest) -> bool:
    try:
        return request.method == "GET" and bool(socket.can_prepare(request))
    except ValueError:
        return False  # A Sec-WebSocket-Key with characters beyond ASCII.


def _protocols(request: web.BaseRequest) -> list[str]:
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", ()))
    return [name.strip() for name in offered.split(",")] if offered else []


def _key(request: web.BaseRequest, protocols: list[str]) -> str | None:
    if secret := request.headers.get("X-API-Key"):
        return secret
    return _named(protocols, KEY_PROTOCOL)


def _named(protocols: list[str], prefix: str) -> str | None:
    """Return what follows the prefix in the first protocol that has it."""
    found = next((name for name in protocols if name.startswith(prefix)), None)
    return found.removeprefix(prefix) if found else None
