"""The handshake of WebSockets: authentication (contract reading 28), the protocol, the end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from socket import SO_RCVBUF, SOL_SOCKET

from aiohttp import WSCloseCode, web

from fetchml.api.http.request import RestRequest
from fetchml.api.http.sessions import SESSION_PROTOCOL, SessionCredentials
from fetchml.api.http.streams import Streams, abort
from fetchml.auth.admission import Admission
from fetchml.errors import BadRequest, Conflict, RequestError, Unauthorized, Unavailable

PROTOCOL = "fetchml.v1"
KEY_PROTOCOL = "fetchml.key."
"""Prefix of the protocol that carries the API key: browsers cannot set other headers."""
RECEIVE_BYTES = 16 * 1024
MAX_REASON_BYTES = 123
"""Longest reason that fits into a close frame."""

_CLOSE_CODES: dict[type[RequestError], int] = {
    Unauthorized: WSCloseCode.POLICY_VIOLATION,
    Unavailable: WSCloseCode.GOING_AWAY,
    Conflict: WSCloseCode.GOING_AWAY,
}

log = logging.getLogger(__name__)


class SocketEnded(Exception):
    """The session is over; the close frame carries the code and the reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Handshake:
    """Admits clients that ask for a WebSocket, and closes it with a reason."""

    def __init__(
        self,
        admission: Admission,
        credentials: SessionCredentials,
        streams: Streams,
        close_within: float,
    ) -> None:
        """`close_within`: longest wait for the client's close frame, in seconds."""
        self._admission = admission
        self._credentials = credentials
        self._streams = streams
        self._close_within = close_within

    def admit(self, request: RestRequest) -> list[str]:
        """Admit the client by key or session. Returns the protocols that it offers. Raises
        Unauthorized, Forbidden, RateLimited."""
        protocols = protocols_of(request.http)
        if secret := key_of(request.http, protocols):
            request.admit(self._admission, secret)
        else:
            self._credentials.admit(request, _named(protocols, SESSION_PROTOCOL))
        return protocols

    def socket(
        self,
        request: RestRequest,
        protocols: list[str],
        max_bytes: int,
        heartbeat: float | None = None,
    ) -> web.WebSocketResponse:
        """Return a socket, not connected yet. Raises BadRequest.

        max_bytes: largest message from the client.
        heartbeat: seconds between the pings of RFC 6455, which every WebSocket library answers.
        """
        if protocols and PROTOCOL not in protocols:
            raise BadRequest(f"Sec-WebSocket-Protocol: must offer {PROTOCOL}")
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,),
            timeout=self._close_within,
            max_msg_size=max_bytes,
            heartbeat=heartbeat,
            autoping=False,  # It answers thousands in one pass of the event loop.
            compress=False,  # Compression takes 300 KB of memory per client.
        )
        if not _is_handshake(socket, request.http):
            raise BadRequest("This is a WebSocket: connect with a WebSocket handshake")
        socket.headers.update(request.headers({}))
        return socket

    async def serve(
        self,
        request: RestRequest,
        socket: web.WebSocketResponse,
        session: Callable[[], Awaitable[None]],
    ) -> web.StreamResponse:
        """Run a session, which connects the socket after its last check, and close the socket
        with the reason of its end. Raises errors of a session that has not connected."""
        _receive_in_small_pieces(request.http)
        with self._streams.farewell():
            await self._serve(request, socket, session)
        return socket

    async def _serve(
        self,
        request: RestRequest,
        socket: web.WebSocketResponse,
        session: Callable[[], Awaitable[None]],
    ) -> None:
        try:
            with self._streams.open(request):
                await session()
        except SocketEnded as end:
            await self._close(request.http, socket, end)
        except RequestError as error:
            if not socket.prepared:
                raise
            code = _CLOSE_CODES.get(type(error), WSCloseCode.TRY_AGAIN_LATER)
            await self._close(request.http, socket, SocketEnded(code, error.message))
        except ConnectionError:
            raise
        except Exception:
            if not socket.prepared:
                raise
            log.exception("a WebSocket session failed")
            failure = SocketEnded(WSCloseCode.INTERNAL_ERROR, "An error occurred")
            await self._close(request.http, socket, failure)

    async def _close(
        self, request: web.BaseRequest, socket: web.WebSocketResponse, end: SocketEnded
    ) -> None:
        message = end.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
        try:
            async with asyncio.timeout(2 * self._close_within):
                await socket.close(code=end.code, message=message)
        except TimeoutError:
            abort(request)


def protocols_of(request: web.BaseRequest) -> list[str]:
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", ()))
    return [name.strip() for name in offered.split(",")] if offered else []


def key_of(request: web.BaseRequest, protocols: list[str]) -> str | None:
    """Return the API key of the header, else of a protocol; `None` without one."""
    if secret := request.headers.get("X-API-Key"):
        return secret
    return _named(protocols, KEY_PROTOCOL)


def _named(protocols: list[str], prefix: str) -> str | None:
    """Return what follows the prefix in the first protocol that has it."""
    match = next((name for name in protocols if name.startswith(prefix)), None)
    return match.removeprefix(prefix) if match else None


def _receive_in_small_pieces(request: web.BaseRequest) -> None:
    """Bound what one read of the socket gives. aiohttp takes all frames of it in one turn of the
    event loop, and a frame may be of six bytes."""
    wire = None if request.transport is None else request.transport.get_extra_info("socket")
    if wire is not None:
        wire.setsockopt(SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES)


def _is_handshake(socket: web.WebSocketResponse, request: web.BaseRequest) -> bool:
    try:
        return request.method == "GET" and bool(socket.can_prepare(request))
    except ValueError:
        return False  # A Sec-WebSocket-Key with characters beyond ASCII.
