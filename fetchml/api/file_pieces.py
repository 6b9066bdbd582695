"""Reading a file in pieces, off the event loop."""

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import BinaryIO

PIECE_BYTES = 256 * 1024


def size_of(file: BinaryIO) -> int:
    """Return the size of an open file in bytes, whose position is then its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


async def pieces_of(file: BinaryIO, size: int) -> AsyncGenerator[bytes]:
    """Yield the next `size` bytes of the file. Raises EOFError if the file is shorter."""
    while size > 0:
        data = await asyncio.to_thread(file.read, min(size, PIECE_BYTES))
        if not data:
            raise EOFError("the file shrank while it was being sent")
        size -= len(data)
        yield data
