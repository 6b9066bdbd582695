"""The ordered stream of committed changes, for any number of readers.

A reader is only the number of the last change that it has seen: nothing is kept for it, so a slow
reader costs nothing. The newest changes are in memory, older ones in the store.
"""

import asyncio
from collections.abc import Iterable, Sequence

from fetchml.core.footprint import task_footprint
from fetchml.core.model import Change

KEPT = 8_192
"""Number of the newest changes that are in memory."""
KEPT_BYTES = 64 << 20
"""Memory limit of tasks that have ended with one of these changes, but for the last change.
Tasks that have not ended are counted elsewhere, wherever they are held."""


class Feed:
    def __init__(self, last_seq: int) -> None:
        self.last_seq = last_seq
        self.closed = False
        self._changes: list[Change] = []
        self._bytes = 0
        """Of the tasks that have ended in `_changes`."""
        self._news: asyncio.Future[None] | None = None

    def committed(self, changes: Sequence[Change]) -> None:
        """Publish changes, in the order of their numbers and without gaps."""
        self._changes.extend(changes)
        for change in changes:
            if change.task.ended_at is not None:
                self._bytes += task_footprint(change.task)
        self.last_seq = self._changes[-1].seq
        if len(self._changes) > 2 * KEPT or self._bytes > KEPT_BYTES:
            self._forget_oldest()
        if self._news is not None:
            self._wake(self._news)

    def close(self) -> None:
        """End the stream: readers that wait continue, and find `closed` set."""
        self.closed = True
        if self._news is not None:
            self._wake(self._news)

    def after(self, seq: int, limit: int) -> list[Change] | None:
        """Up to `limit` changes above `seq`; `None` if they are not in memory."""
        if seq >= self.last_seq:
            return []
        if not self._changes or seq + 1 < self._changes[0].seq:
            return None
        start = seq + 1 - self._changes[0].seq
        return self._changes[start : start + limit]

    async def beyond(self, seq: int) -> None:
        """Returns when there are changes above `seq`, or the feed is closed."""
        while self.last_seq <= seq and not self.closed:
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)

    def _forget_oldest(self) -> None:
        """Down to half of the bytes: each time costs a walk along all that is kept."""
        self._changes = self._changes[-KEPT:]
        self._bytes = _bytes(self._changes)
        if self._bytes > KEPT_BYTES:
            count = 0
            while self._bytes > KEPT_BYTES // 2 and count < len(self._changes) - 1:
                self._bytes -= _bytes(self._changes[count : count + 1])
                count += 1
            del self._changes[:count]

    def _wake(self, news: asyncio.Future[None]) -> None:
        news.set_result(None)
        self._news = None


def _bytes(changes: Iterable[Change]) -> int:
    total = 0
    for change in changes:
        if change.task.ended_at is not None:
            total += task_footprint(change.task)
    return total
