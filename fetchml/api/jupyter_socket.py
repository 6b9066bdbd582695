"""A WebSocket of a browser, handed on to Jupyter and back: kernels and terminals.

Memory does not grow with a slow side: its messages are sent before the next one is taken.
"""

import asyncio
import logging
from contextlib import suppress
from typing import NamedTuple

import aiohttp
from aiohttp import ClientWSTimeout, WSCloseCode, WSMsgType, web
from yarl import URL

from fetchml.api.call import Call
from fetchml.api.jupyter_headers import Target, for_jupyter, protocols
from fetchml.api.streams import Streams, abort
from fetchml.errors import BadRequest, Unavailable
from fetchml.jupyter_link import JupyterLink

MAX_MESSAGE_BYTES = 32 << 20
"""One message of each direction of each socket may be in memory. Jupyter itself takes 10 MiB."""
MAX_REASON_BYTES = 123
"""What a close frame has room for."""
CLOSE_SECONDS = 2.0

Socket = web.WebSocketResponse[bool] | aiohttp.ClientWebSocketResponse[bool]

_ON_THE_WIRE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""Codes that a close frame may have, beside 3000 to 4999."""
_PASSED_ON = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)

log = logging.getLogger(__name__)


class Close(NamedTuple):
    """How one side has ended it."""

    code: int
    reason: bytes = b""


class Refused(Exception):
    """Jupyter does not take the WebSocket."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def hand_on_socket(
    call: Call,
    link: JupyterLink,
    target: Target,
    streams: Streams,
    *,
    answer_seconds: float,
    take_seconds: float,
) -> web.StreamResponse:
    """Until one side ends it, or the server. `answer_seconds`: for Jupyter's answer to the
    handshake. `take_seconds`: a side that takes nothing, or says nothing, for so long is let go.

    Raises BadRequest, Unavailable, and Refused with an error's status.
    """
    request = call.request
    offered = protocols(request.headers)
    socket = _socket(take_seconds)
    if not _is_handshake(socket, request):
        raise BadRequest("This is a WebSocket: connect with a WebSocket handshake")
    try:
        with streams.open(call, keyless=True):
            async with (
                link.session(answer_seconds=answer_seconds) as session,
                await _connect(session, call, target, offered, answer_seconds) as jupyter,
            ):
                socket = _socket(take_seconds, *filter(None, [jupyter.protocol]))
                socket.headers.update(call.headers({}))
                await socket.prepare(request)
                await _both_ways(request, socket, jupyter, take_seconds)
    except Unavailable:
        if not socket.prepared:
            raise
        # The server shuts down, and both sides were told.
    return socket


def _socket(pulse_seconds: float, *chosen: str) -> web.WebSocketResponse[bool]:
    return web.WebSocketResponse(
        protocols=chosen,
        timeout=CLOSE_SECONDS,
        autoclose=False,
        autoping=False,
        heartbeat=pulse_seconds,
        max_msg_size=MAX_MESSAGE_BYTES,
        compress=False,
        decode_text=False,
    )


def _is_handshake(socket: web.WebSocketResponse[bool], request: web.BaseRequest) -> bool:
    try:
        return request.method == "GET" and bool(socket.can_prepare(request))
    except ValueError:
        return False  # A Sec-WebSocket-Key that is not even ASCII.


async def _connect(
    session: aiohttp.ClientSession,
    call: Call,
    target: Target,
    offered: list[str],
    answer_seconds: float,
) -> aiohttp.ClientWebSocketResponse[bool]:
    try:
        headers = for_jupyter(call.request.headers)
    except ValueError:
        raise BadRequest("A header can't be sent on as it is") from None
    try:
        async with asyncio.timeout(answer_seconds):
            return await session.ws_connect(
                URL(f"http://jupyter{target.whole}", encoded=True),
                protocols=offered,
                headers=headers,
                timeout=ClientWSTimeout(ws_close=CLOSE_SECONDS),
                autoclose=False,
                autoping=False,
                max_msg_size=MAX_MESSAGE_BYTES,
                decode_text=False,
            )
    except aiohttp.WSServerHandshakeError as error:
        if 400 <= error.status < 600:
            raise Refused(error.status) from None
        raise Unavailable("Jupyter does not answer as a WebSocket does") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        raise Unavailable("Jupyter does not answer") from error


async def _both_ways(
    request: web.BaseRequest,
    browser: web.WebSocketResponse[bool],
    jupyter: aiohttp.ClientWebSocketResponse[bool],
    take_seconds: float,
) -> None:
    ways = [
        asyncio.create_task(_one_way(source, sink, take_seconds))
        for source, sink in ((browser, jupyter), (jupyter, browser))
    ]
    end = Close(WSCloseCode.GOING_AWAY)
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        end = done.pop().result()
    except asyncio.CancelledError:
        if request.protocol.connected:
            end = Close(WSCloseCode.GOING_AWAY, b"the server is shutting down")
        raise
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await asyncio.gather(_close(browser, end), _close(jupyter, end))
        if not browser.closed:
            abort(request)


async def _one_way(source: Socket, sink: Socket, take_seconds: float) -> Close:
    """Hand messages on until there are no more; then how it ended."""
    while True:
        message = await source.receive()
        if message.type in _PASSED_ON:
            try:
                async with asyncio.timeout(take_seconds):
                    await sink.send_frame(message.data, message.type)
            except TimeoutError:
                return Close(WSCloseCode.TRY_AGAIN_LATER, b"the other side takes nothing")
            except (aiohttp.ClientError, ConnectionError, RuntimeError):
                return Close(WSCloseCode.INTERNAL_ERROR, b"the other side has left")
        elif message.type is WSMsgType.CLOSE:
            return Close(message.data, (message.extra or "").encode())
        else:
            # Cut off, or nothing that can be a WebSocket's frame: too large, for one.
            code = source.close_code or WSCloseCode.INTERNAL_ERROR
            return Close(WSCloseCode.INTERNAL_ERROR if code == 1006 else code)


async def _close(socket: Socket, end: Close) -> None:
    code = end.code if end.code in _ON_THE_WIRE or 3000 <= end.code <= 4999 else WSCloseCode.OK
    reason = end.reason[:MAX_REASON_BYTES].decode(errors="ignore").encode()
    with suppress(TimeoutError, ConnectionError, aiohttp.ClientError, RuntimeError):
        async with asyncio.timeout(2 * CLOSE_SECONDS):
            await socket.close(code=code, message=reason)
