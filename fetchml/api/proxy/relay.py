"""Relaying WebSocket frames between a browser and Jupyter.

Frames pass as they arrive, in pieces, and messages are never assembled: a socket holds at most one
piece in memory for each direction, however large its messages are and however slow a side is. Only
frame headers are parsed, so that the server can insert frames of its own: a ping, and a close.
"""

import asyncio
from contextlib import suppress
from typing import NamedTuple, Protocol

from aiohttp import WSCloseCode, web
from aiohttp.abc import AbstractStreamWriter

from fetchml.api.ws.frames import PING, Frames, close_frame, control_frame

CLOSE_SECONDS = 2.0
"""Longest time for each side to close."""


class Close(NamedTuple):
    """The close frame with which the server ends a socket."""

    code: int
    reason: bytes = b""


class _Connection(Protocol):
    """The part that is used of aiohttp's server and client protocols."""

    transport: asyncio.Transport | None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Endpoint:
    """One of the two connections. aiohttp feeds it received bytes as it feeds a parser."""

    def __init__(self, connection: _Connection, writer: AbstractStreamWriter, *, masked: bool):
        """`masked`: whether frames from this side must be masked."""
        self.frames = Frames(masked=masked)
        """The position in the frames received from this side."""
        self.received = 0
        """Number of pieces received from this side."""
        self._connection = connection
        self._writer = writer
        self._piece = bytearray()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Store a piece and pause reading until it is received. aiohttp calls this method."""
        self._piece += data
        self.received += 1
        self._connection.pause_reading()
        self._wake()
        return False, b""

    def feed_eof(self) -> None:
        """Note the end of the stream. aiohttp calls this method."""
        self._ended = True
        self._wake()

    def is_silent(self, received: int) -> bool:
        """Return whether nothing has arrived since the count was `received`, and nothing that
        arrived earlier is still being forwarded."""
        return self._waiter is not None and self.received == received

    async def receive(self) -> bytes:
        """Return the next piece, or an empty one at the end of the stream."""
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
        """Send, and wait until the side has read nearly all of it. Raises ConnectionError."""
        self.put(data)
        await self._writer.drain()

    def put(self, data: bytes) -> None:
        """Send without waiting. Raises ConnectionError."""
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        transport.write(data)

    def close(self) -> None:
        """Close the connection after a short delay, so that the peer can read the last bytes."""
        transport = self._connection.transport
        if transport is not None:
            transport.close()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.abort)

    def abort(self) -> None:
        """Drop the connection together with unsent bytes."""
        if self._connection.transport is not None:
            self._connection.transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def relay(
    request: web.BaseRequest, browser: Endpoint, jupyter: Endpoint, stall_seconds: float
) -> None:
    """Forward frames in both directions until either side or the server ends the socket.

    `stall_seconds`: the socket is closed if a side reads nothing, a browser answers no ping, or
    Jupyter does not continue a frame for this long.
    """
    directions = [
        asyncio.create_task(_forward(browser, jupyter, stall_seconds)),
        asyncio.create_task(_forward(jupyter, browser, stall_seconds)),
        asyncio.create_task(_watch_silence(browser, jupyter, stall_seconds)),
    ]
    end: Close | None = Close(WSCloseCode.GOING_AWAY)
    try:
        done, others = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        end = done.pop().result()
        if end is None:
            # One side has sent a close frame, which the other side answers.
            others.discard(directions[2])
            await asyncio.wait(others, timeout=CLOSE_SECONDS)
    except asyncio.CancelledError:
        if request.protocol.connected:
            end = Close(WSCloseCode.GOING_AWAY, b"the server is shutting down")
        raise
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        if end is not None:
            await asyncio.gather(
                _end(browser, jupyter.frames, end, masked=False),
                _end(jupyter, browser.frames, end, masked=True),
            )
        browser.close()
        jupyter.close()


async def _forward(source: Endpoint, sink: Endpoint, stall_seconds: float) -> Close | None:
    """Forward frames until the connection ends. Returns how the server must close the socket;
    `None` if a close frame has passed."""
    while piece := await source.receive():
        passes = source.frames.feed(piece)
        try:
            async with asyncio.timeout(stall_seconds):
                await sink.send(piece if passes == len(piece) else piece[:passes])
        except TimeoutError:
            sink.abort()
            return Close(WSCloseCode.TRY_AGAIN_LATER, b"the other side reads nothing")
        except ConnectionError:
            return Close(WSCloseCode.INTERNAL_ERROR, b"the other side has disconnected")
        if (fault := source.frames.fault) is not None:
            return Close(WSCloseCode.PROTOCOL_ERROR, fault.encode())
        if source.frames.closed:
            return None
    return Close(WSCloseCode.INTERNAL_ERROR)


async def _watch_silence(browser: Endpoint, jupyter: Endpoint, stall_seconds: float) -> Close:
    """Wait until a side is silent that must not be: a browser must answer a ping, and Jupyter must
    continue a frame that it has begun."""
    while True:
        received = browser.received, jupyter.received
        await asyncio.sleep(stall_seconds)
        if not jupyter.frames.between:
            if jupyter.is_silent(received[1]):
                return Close(WSCloseCode.INTERNAL_ERROR, b"Jupyter does not continue a frame")
        elif browser.is_silent(received[0]):
            with suppress(ConnectionError):
                browser.put(control_frame(PING, b"", masked=False))
            await asyncio.sleep(stall_seconds / 2)
            if browser.is_silent(received[0]):
                browser.abort()
                return Close(WSCloseCode.GOING_AWAY, b"the other side does not answer")


async def _end(side: Endpoint, sent: Frames, end: Close, *, masked: bool) -> None:
    """Send a close frame and wait for the answer. Drops the connection instead if no frame may be
    inserted after what was `sent` to this side."""
    if sent.closed or not sent.between:
        side.abort()
        return
    with suppress(TimeoutError, ConnectionError):
        side.put(close_frame(end.code, end.reason, masked=masked))
        async with asyncio.timeout(CLOSE_SECONDS):
            answered = side.frames.closed
            while not answered and (piece := await side.receive()):
                side.frames.feed(piece)
                answered = side.frames.closed
