"""Blocking iterators, read in threads. Only the asyncio client needs this."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator

from google.protobuf.message import Message


async def in_threads(messages: Iterator[Message]) -> AsyncIterator[Message]:
    """Yield the same messages. Building one may read a file, so it happens in a thread."""
    following = functools.partial(next, messages, None)
    while (message := await asyncio.to_thread(following)) is not None:
        yield message
