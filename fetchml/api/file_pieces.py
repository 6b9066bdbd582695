"""A file, read piece by piece off the event loop."""

import asyncio
from collections.abc import AsyncGenerator
from typing import BinaryIO

PIECE_BYTES = 256 * 1024


async def pieces_of(file: BinaryIO, size: int) -> AsyncGenerator[bytes]:
    """The first `size` bytes, as was promised. Raises EOFError if the file is shorter."""
    while size > 0:
        data = await asyncio.to_thread(file.read, min(size, PIECE_BYTES))
        if not data:
            raise EOFError("the file became shorter while it was sent")
        size -= len(data)
        yield data
