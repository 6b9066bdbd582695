"""Blocking work in threads."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_its_end(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Like `asyncio.to_thread`, but when it is cancelled it returns only once the work is done:
    what it made is there, to be removed."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **options))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await done(working)
        raise


async def done(working: asyncio.Future[T]) -> None:
    """Wait for the end of what a thread does for somebody who was cancelled, however often he is
    cancelled again (his client leaves, and then the server stops)."""
    while not working.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({working})
    if not working.cancelled():
        working.exception()  # Nobody else asks for it.
