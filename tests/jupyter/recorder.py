"""A listener that does not belong to FetchML. It keeps what it receives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_HANDSHAKE = 0x16
"""First byte of a TLS record that is part of a handshake."""


class Recorder:
    def __init__(self) -> None:
        self.port = 0
        self.data = bytearray()
        self.came = asyncio.Event()
        """Set once a connection has sent something."""
        self.ended = asyncio.Event()
        """Set at the end of a connection."""
        self._refuses = asyncio.Event()

    def refuse(self) -> None:
        """Close connections."""
        self._refuses.set()

    def hello_only(self) -> bool:
        """Whether each byte belongs to the first message of a handshake, which has no secret."""
        rest, records = bytes(self.data), 0
        while rest and rest[0] == _HANDSHAKE:
            rest = rest[5 + int.from_bytes(rest[3:5]) :]
            records += 1
        return records > 0 and not rest

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.data += data
                self.came.set()
                if self._refuses.is_set():
                    break
        except ConnectionError:
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def recorder(port: int = 0) -> AsyncIterator[Recorder]:
    """Listen on a port of this host, a free one by default."""
    heard = Recorder()
    server = await asyncio.start_server(heard.handle, "127.0.0.1", port, reuse_address=True)
    heard.port = server.sockets[0].getsockname()[1]
    try:
        yield heard
    finally:
        server.close()
