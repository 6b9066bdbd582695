"""One request for all who ask the same at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from fetchml.system.background import BackgroundWork
from fetchml.system.locks import KeyedLocks

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
