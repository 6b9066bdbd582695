"""A WebSocket of a browser, handed on to Jupyter and back: kernels and terminals.

After the handshake frames pass as they come, in pieces, and no message is put together here: what
a socket can hold in memory is one piece for each direction, however large its messages are, and
however slow a side is. Headers of frames are read, so that the server can put in a frame of its
own: a ping, and the end.
"""

import asyncio
import base64
import binascii
import hashlib
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

import aiohttp
from aiohttp import WSCloseCode, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import WS_KEY, StreamWriter
from yarl import URL

from fetchml.adapters.jupyter.link import http_session
from fetchml.api.http.request import RestRequest
from fetchml.api.http.streams import Streams
from fetchml.api.jupyter.headers import Target, for_jupyter, protocols
from fetchml.api.ws.frames import PING, Frames, close_frame, control_frame
from fetchml.errors import BadRequest, Unavailable
from fetchml.ports.jupyter import JupyterLink

CLOSE_SECONDS = 2.0
"""Each side gets to close."""

_KEY_BYTES = 16

log = logging.getLogger(__name__)


class Close(NamedTuple):
    """How the server ends it."""

    code: int
    reason: bytes = b""


class Refused(Exception):
    """Jupyter does not take the WebSocket."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Connection(Protocol):
    """What is used of aiohttp's protocols, of servers and of clients."""

    transport: asyncio.Transport | None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Side:
    """One of the two connections. aiohttp feeds it with what comes, as it feeds a parser."""

    def __init__(self, connection: _Connection, writer: AbstractStreamWriter, *, masked: bool):
        """`masked`: the frames that come from it are."""
        self.frames = Frames(masked=masked)
        """Of what came from it."""
        self.heard = 0
        """Pieces that came from it."""
        self._connection = connection
        self._writer = writer
        self._piece = bytearray()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Called by aiohttp: reading pauses until the piece is taken."""
        self._piece += data
        self.heard += 1
        self._connection.pause_reading()
        self._wake()
        return False, b""

    def feed_eof(self) -> None:
        """Called by aiohttp."""
        self._ended = True
        self._wake()

    def is_silent(self, heard: int) -> bool:
        """Whether nothing has come since so much was `heard`, and nothing that came before is
        still on its way to the other side."""
        return self._waiter is not None and self.heard == heard

    async def receive(self) -> bytes:
        """The next piece; empty at the end."""
        while not self._piece and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            self._connection.resume_reading()
            try:
                await self._waiter
            finally:
                self._waiter = None
        piece, self._piece = bytes(self._piece), bytearray()
        return piece

    async def send(self, data: bytes) -> None:
        """Until it has taken nearly all. Raises ConnectionError."""
        self.put(data)
        await self._writer.drain()

    def put(self, data: bytes) -> None:
        """Without waiting. Raises ConnectionError."""
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("it has left")
        transport.write(data)

    def close(self) -> None:
        """It gets a moment to take what was sent last."""
        transport = self._connection.transport
        if transport is not None:
            transport.close()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.abort)

    def abort(self) -> None:
        if self._connection.transport is not None:
            self._connection.transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def hand_on_socket(
    request: RestRequest,
    link: JupyterLink,
    target: Target,
    streams: Streams,
    *,
    answer_seconds: float,
    take_seconds: float,
) -> web.StreamResponse:
    """Until one side ends it, or the server. `answer_seconds`: for Jupyter's answer to the
    handshake. `take_seconds`: a side that takes nothing, a browser that answers no ping, and a
    Jupyter that does not go on with a frame for so long are let go.

    Raises BadRequest, Unavailable, and Refused with an error's status.
    """
    http = request.http
    key = _handshake_key(http)
    if not _is_of_its_origin(http.headers):
        raise Refused(403)
    begun = False
    try:
        with streams.open(request, keyless=True):
            async with http_session(link, answer_seconds=answer_seconds) as session:
                answer = await _connect(session, request, link, target, answer_seconds)
                try:
                    jupyter = _take_over(answer)
                    response = _accept(request, key, answer)
                    await response.prepare(http)
                    begun = True
                    browser = _Side(http.protocol, http.writer, masked=True)
                    http.protocol.set_parser(browser)  # type: ignore[arg-type]
                    await _both_ways(http, browser, jupyter, take_seconds)
                finally:
                    answer.close()
    except Unavailable:
        if not begun:
            raise
        # The server shuts down, and both sides were told.
    return response


def _handshake_key(request: web.BaseRequest) -> str:
    """Raises BadRequest."""
    headers = request.headers
    key = headers.get("Sec-WebSocket-Key", "")
    options = {option.strip().lower() for option in headers.get("Connection", "").split(",")}
    try:
        fits = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        fits = False
    if not (
        fits
        and request.method == "GET"
        and request.version >= aiohttp.HttpVersion11
        and "upgrade" in options
        and headers.get("Sec-WebSocket-Version", "").strip() == "13"
    ):
        raise BadRequest("This is a WebSocket: connect with a WebSocket handshake, version 13")
    return key


def _is_of_its_origin(headers: Mapping[str, str]) -> bool:
    """Whether the page that connects was served where it connects to. Browsers name the page's
    origin; what names none is no browser, and has no cookies of one."""
    origin = headers.get("Origin")
    if origin is None:
        return True
    scheme, _, place = origin.partition("://")
    return scheme in ("http", "https") and place.lower() == headers.get("Host", "").lower()


async def _connect(
    session: aiohttp.ClientSession,
    request: RestRequest,
    link: JupyterLink,
    target: Target,
    answer_seconds: float,
) -> aiohttp.ClientResponse:
    """Jupyter's answer to the same handshake, with a key of the server's own: a 101."""
    key = base64.b64encode(os.urandom(_KEY_BYTES)).decode()
    try:
        headers = for_jupyter(request.http.headers, link)
    except ValueError:
        raise BadRequest("A header can't be sent on as it is") from None
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
                URL(f"http://jupyter{target.whole}", encoded=True),
                headers=headers,
                allow_redirects=False,
                read_until_eof=False,
            )
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        raise Unavailable("Jupyter does not answer") from error
    if 400 <= answer.status < 600:
        answer.close()
        raise Refused(answer.status)
    if answer.status != 101 or not _agrees(answer, key):
        answer.close()
        raise Unavailable("Jupyter does not answer as a WebSocket does")
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


def _take_over(answer: aiohttp.ClientResponse) -> _Side:
    """From now on what comes is not HTTP."""
    assert answer.connection is not None  # noqa: S101  # a 101 has no end
    protocol = answer.connection.protocol
    assert protocol is not None  # noqa: S101
    protocol.read_timeout = None
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    side = _Side(protocol, writer, masked=False)
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


async def _both_ways(
    request: web.BaseRequest, browser: _Side, jupyter: _Side, take_seconds: float
) -> None:
    ways = [
        asyncio.create_task(_one_way(browser, jupyter, take_seconds)),
        asyncio.create_task(_one_way(jupyter, browser, take_seconds)),
        asyncio.create_task(_pulse(browser, jupyter, take_seconds)),
    ]
    end: Close | None = Close(WSCloseCode.GOING_AWAY)
    try:
        done, others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        end = done.pop().result()
        if end is None:
            # One side has said goodbye; the other one answers.
            others.discard(ways[2])
            await asyncio.wait(others, timeout=CLOSE_SECONDS)
    except asyncio.CancelledError:
        if request.protocol.connected:
            end = Close(WSCloseCode.GOING_AWAY, b"the server is shutting down")
        raise
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        if end is not None:
            await asyncio.gather(
                _end(browser, jupyter.frames, end, masked=False),
                _end(jupyter, browser.frames, end, masked=True),
            )
        browser.close()
        jupyter.close()


async def _one_way(source: _Side, sink: _Side, take_seconds: float) -> Close | None:
    """Hand frames on until there are no more; then how it ended. `None`: as WebSockets end."""
    while piece := await source.receive():
        passes = source.frames.feed(piece)
        try:
            async with asyncio.timeout(take_seconds):
                await sink.send(piece if passes == len(piece) else piece[:passes])
        except TimeoutError:
            sink.abort()
            return Close(WSCloseCode.TRY_AGAIN_LATER, b"the other side takes nothing")
        except ConnectionError:
            return Close(WSCloseCode.INTERNAL_ERROR, b"the other side has left")
        if (fault := source.frames.fault) is not None:
            return Close(WSCloseCode.PROTOCOL_ERROR, fault.encode())
        if source.frames.closed:
            return None
    return Close(WSCloseCode.INTERNAL_ERROR)


async def _pulse(browser: _Side, jupyter: _Side, take_seconds: float) -> Close:
    """Until a side is silent that should not be: a browser must answer a ping, and a Jupyter must
    go on with a frame that it has begun."""
    while True:
        heard = browser.heard, jupyter.heard
        await asyncio.sleep(take_seconds)
        if not jupyter.frames.between:
            if jupyter.is_silent(heard[1]):
                return Close(WSCloseCode.INTERNAL_ERROR, b"Jupyter does not go on")
        elif browser.is_silent(heard[0]):
            with suppress(ConnectionError):
                browser.put(control_frame(PING, b"", masked=False))
            await asyncio.sleep(take_seconds / 2)
            if browser.is_silent(heard[0]):
                browser.abort()
                return Close(WSCloseCode.GOING_AWAY, b"the other side does not answer")


async def _end(side: _Side, passed: Frames, end: Close, *, masked: bool) -> None:
    """Say so where a frame may be put in behind what has passed, and wait for its answer."""
    if passed.closed or not passed.between:
        side.abort()
        return
    with suppress(TimeoutError, ConnectionError):
        side.put(close_frame(end.code, end.reason, masked=masked))
        async with asyncio.timeout(CLOSE_SECONDS):
            answered = side.frames.closed
            while not answered and (piece := await side.receive()):
                side.frames.feed(piece)
                answered = side.frames.closed
