"""Locks by key, which exist only while they are held or awaited, and answers that callers share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from fetchml.system.background import BackgroundWork
from fetchml.system.pacing import Pace


class KeyedLocks:
    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        await self._acquire(key)
        try:
            yield
        finally:
            self._release(key)

    @asynccontextmanager
    async def hold_all(self, keys: Sequence[Hashable]) -> AsyncIterator[None]:
        """Hold several locks. All callers must use the same order of keys, to avoid deadlocks."""
        pace = Pace()
        acquired: list[Hashable] = []
        try:
            for key in keys:
                await self._acquire(key)
                acquired.append(key)
                await pace.rest()
            yield
        finally:
            for key in acquired:
                self._release(key)

    async def _acquire(self, key: Hashable) -> None:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            await lock.acquire()
        except BaseException:
            self._leave(key)
            raise

    def _release(self, key: Hashable) -> None:
        self._locks[key][0].release()
        self._leave(key)

    def _leave(self, key: Hashable) -> None:
        lock, users = self._locks[key]
        if users == 1:
            del self._locks[key]
        else:
            self._locks[key] = lock, users - 1


T = TypeVar("T")


class SharedAnswers(Generic[T]):
    """Used from one event loop. An answer is always to a request that began after the question."""

    def __init__(self, ask: Callable[[int], Awaitable[T]]) -> None:
        self._ask = ask
        self._next: dict[int, asyncio.Task[T]] = {}
        """Requests that have not begun."""
        self._locks = KeyedLocks()
        self._background = BackgroundWork()

    async def of(self, number: int) -> T:
        """Raises what the request raises."""
        following = self._next.get(number)
        if following is None:
            following = self._next[number] = self._background.start(self._answer(number))
        return await asyncio.shield(following)

    async def _answer(self, number: int) -> T:
        async with self._locks.hold(number):
            del self._next[number]
            return await self._ask(number)
