"""Reading a file in pieces, off the event loop."""

import asyncio
from collections.abc import AsyncGenerator
from typing import BinaryIO

PIECE_BYTES = 256 * 1024


async def pieces_of(file: BinaryIO, size: int) -> AsyncGenerator[bytes]:
    """Yield the first `size` bytes of the file. Raises EOFError if the file is shorter."""
    while size > 0:
        data = await asyncio.to_thread(file.read, min(size, PIECE_BYTES))
        if not data:
            raise EOFError("the file shrank while it was being sent")
        size -= len(data)
        yield data
