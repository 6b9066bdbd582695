"""Joins connections through a relay with sockets of this process.

A port's connection has an end in each direction, which TLS has not: its bytes are in frames.
"""

import asyncio
import select
import socket

from fetchml.system.background import BackgroundWork
from fetchml.system.pacing import Pace

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PIECE_BYTES = 32 << 10
HEAD_BYTES = 5
POLL_SECONDS = 1.0
"""Interval for checking whether the peer of a half-closed socket still reads."""


def frame(kind: bytes, data: bytes = b"") -> bytes:
    return kind + len(data).to_bytes(4) + data


class Bridges:
    """Used from one event loop."""

    def __init__(self) -> None:
        self._running = BackgroundWork()

    async def close(self) -> None:
        """End all of them."""
        await self._running.cancel()

    def open(self, streams: Streams) -> socket.socket:
        """Return a socket that is joined with the connection: first comes a byte of state, then
        what the task sends. Its end is that of the connection. Raises OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._running.start(_join(ours, streams))
        return theirs


async def _join(ours: socket.socket, streams: Streams) -> None:
    reader, writer = streams
    try:
        near = await asyncio.open_unix_connection(sock=ours, limit=PIECE_BYTES)
    except BaseException:
        writer.transport.abort()
        ours.close()
        raise
    near_reader, near_writer = near
    there = asyncio.create_task(_send(near_reader, writer))
    back = asyncio.create_task(_receive(reader, near_writer))
    gone = asyncio.create_task(_until_closed(ours))
    both = asyncio.create_task(asyncio.wait({there, back}, return_when=asyncio.FIRST_EXCEPTION))
    try:
        await asyncio.wait({both, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        writer.transport.abort()
        near_writer.close()  # Received bytes are still read.
        for each in (there, back, gone, both):
            each.cancel()
        await asyncio.gather(there, back, gone, both, return_exceptions=True)


async def _send(near: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Raises OSError."""
    while data := await near.read(PIECE_BYTES):
        writer.write(frame(b"d", data))
        await writer.drain()
    writer.write(frame(b"e"))
    await writer.drain()


async def _receive(reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
    """The task may have replaced the relay: a frame too large ends the connection. Raises OSError,
    EOFError."""
    near.write(await reader.readexactly(1))
    pace = Pace()
    while True:
        await pace.rest()  # The buffer may contain thousands of frames of one byte or none.
        head = await reader.readexactly(HEAD_BYTES)
        size = int.from_bytes(head[1:])
        if head[:1] == b"e":
            near.write_eof()
            return
        if size > PIECE_BYTES:
            raise ConnectionResetError
        near.write(await reader.readexactly(size))
        await near.drain()


async def _until_closed(ours: socket.socket) -> None:
    """Return when the other end of the socket sends no more and reads no more: reading would not
    show that after the end of what it sent."""
    state = select.poll()
    state.register(ours, 0)
    while not state.poll(0):  # noqa: ASYNC110 - nothing else shows it
        await asyncio.sleep(POLL_SECONDS)
