"""The handshakes of WebSockets from browsers to Jupyter, for kernels and terminals."""

import asyncio
import base64
import binascii
import hashlib
import os
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from aiohttp.http import WS_KEY, StreamWriter
from yarl import URL

from fetchml.api.http.request import RestRequest
from fetchml.api.http.streams import Streams
from fetchml.api.proxy.headers import protocols
from fetchml.api.proxy.relay import Endpoint, relay
from fetchml.api.proxy.upstream import Upstream
from fetchml.errors import BadRequest, Unavailable

_KEY_BYTES = 16


class SocketRejected(Exception):
    """Jupyter rejects the WebSocket, with an HTTP status of 400 to 599."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def proxy_socket(
    request: RestRequest,
    upstream: Upstream,
    streams: Streams,
    *,
    answer_seconds: float,
    stall_seconds: float,
) -> web.StreamResponse:
    """Connect the browser's WebSocket to Jupyter until either side or the server ends it.

    `answer_seconds`: longest wait for Jupyter's answer to the handshake. `stall_seconds`: see
    `relay`. Raises BadRequest, Unavailable, and SocketRejected.
    """
    http = request.http
    key = _handshake_key(http)
    if not _is_same_origin(http.headers):
        raise SocketRejected(403)
    begun = False
    try:
        with streams.open(request, keyless=True):
            async with upstream.session(answer_seconds) as session:
                answer = await _connect(session, request, upstream, answer_seconds)
                try:
                    jupyter = _detach(answer)
                    response = _accept(request, key, answer)
                    await response.prepare(http)
                    begun = True
                    browser = Endpoint(http.protocol, http.writer, masked=True)
                    http.protocol.set_parser(browser)  # type: ignore[arg-type]
                    await relay(http, browser, jupyter, stall_seconds)
                finally:
                    answer.close()
    except Unavailable:
        if not begun:
            raise
        # The server shuts down, and both sides have received a close frame.
    return response


def _handshake_key(request: web.BaseRequest) -> str:
    """Return the client's `Sec-WebSocket-Key`. Raises BadRequest for an invalid handshake."""
    headers = request.headers
    key = headers.get("Sec-WebSocket-Key", "")
    options = {option.strip().lower() for option in headers.get("Connection", "").split(",")}
    try:
        is_key = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    if not (
        is_key
        and request.method == "GET"
        and request.version >= aiohttp.HttpVersion11
        and "upgrade" in options
        and headers.get("Sec-WebSocket-Version", "").strip() == "13"
    ):
        raise BadRequest("This is a WebSocket: connect with a WebSocket handshake, version 13")
    return key


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether the page that connects was served by the host that it connects to. A client
    that sends no `Origin` is not a browser and has no browser's cookies."""
    origin = headers.get("Origin")
    if origin is None:
        return True
    scheme, _, host = origin.partition("://")
    return scheme in ("http", "https") and host.lower() == headers.get("Host", "").lower()


async def _connect(
    session: aiohttp.ClientSession,
    request: RestRequest,
    upstream: Upstream,
    answer_seconds: float,
) -> aiohttp.ClientResponse:
    """Jupyter's answer to the same handshake, with a key of the server's own: a 101."""
    key = base64.b64encode(os.urandom(_KEY_BYTES)).decode()
    try:
        headers = upstream.headers(request.http.headers)
    except ValueError:
        raise BadRequest("A header cannot be forwarded: it has invalid characters") from None
    headers.update(
        {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        }
    )
    if offered := protocols(request.http.headers):
        headers["Sec-WebSocket-Protocol"] = ",".join(offered)
    try:
        async with asyncio.timeout(answer_seconds):
            answer = await session.request(
                "GET",
                URL(f"http://jupyter{upstream.path}", encoded=True),
                headers=headers,
                allow_redirects=False,
                read_until_eof=False,
            )
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        raise Unavailable(f"{upstream.name} does not respond") from error
    if 400 <= answer.status < 600:
        answer.close()
        raise SocketRejected(answer.status)
    if answer.status != 101 or not _agrees(answer, key):
        answer.close()
        raise Unavailable(f"Invalid WebSocket handshake of {upstream.name}")
    return answer


def _agrees(answer: aiohttp.ClientResponse, key: str) -> bool:
    headers = answer.headers
    return (
        headers.get("Upgrade", "").strip().lower() == "websocket"
        and headers.get("Connection", "").strip().lower() == "upgrade"
        and headers.get("Sec-WebSocket-Accept", "").strip() == _accept_of(key)
        and "Sec-WebSocket-Extensions" not in headers
    )


def _accept_of(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + WS_KEY).digest()).decode()  # noqa: S324


def _detach(answer: aiohttp.ClientResponse) -> Endpoint:
    """Detach the connection from HTTP: the bytes that follow are frames."""
    assert answer.connection is not None  # noqa: S101  # A reply of 101 keeps its connection.
    protocol = answer.connection.protocol
    assert protocol is not None  # noqa: S101
    protocol.read_timeout = None
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    side = Endpoint(protocol, writer, masked=False)
    protocol.set_parser(side, None)
    return side


def _accept(request: RestRequest, key: str, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": _accept_of(key),
    }
    chosen = answer.headers.get("Sec-WebSocket-Protocol", "").strip()
    if chosen in protocols(request.http.headers):
        headers["Sec-WebSocket-Protocol"] = chosen
    response = web.StreamResponse(status=101, headers=request.headers(headers))
    response.force_close()
    return response
