"""One lock a key, kept only while somebody holds it or waits for it."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

AT_ONCE = 500
"""Locks that are taken before others in the event loop have their turn."""


class KeyedLocks:
    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            _, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, users - 1

    @asynccontextmanager
    async def hold_all(self, keys: Sequence[Hashable]) -> AsyncIterator[None]:
        """`keys` in an order that is the same for all who hold several, so that none wait for each
        other."""
        async with AsyncExitStack() as stack:
            for index, key in enumerate(keys):
                if index % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)
                await stack.enter_async_context(self.hold(key))
            yield
