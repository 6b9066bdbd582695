"""Watches in batches: at each tick of one clock, the newest state of every task that changed.

A batch costs as much as the tasks in it, however often they changed, and nothing beyond that for
each further reader: readers that stand at the same change and see the same tasks get the same
`Batch` object, so that what a transport makes of it is shared too.

A reader is a number, as in `feed`. One that falls behind gets the newest states only, in fewer
batches. Beyond MAX_TASKS tasks at once it is cheaper for both sides to read again what is shown, so
that a resync takes the place of the batch.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable
from typing import NamedTuple

from fetchml.core import permissions
from fetchml.core.footprint import task_footprint
from fetchml.core.model import Change, Principal, Task
from fetchml.engine.feed import Feed
from fetchml.engine.watches import message_seq
from fetchml.engine.watches.watch import Watches, ends_task, matches, shutting_down
from fetchml.system.pacing import Pace
from fetchml.views import Batch, Update, UpdateType, WatchFilter

INTERVAL_SECONDS = 0.25
"""Time between two ticks: the longest delay of a change, and the shortest between two batches."""
CALM_TICKS = 4
"""A reader that had to resync gets its next message at a tick that divides by this: in a flood of
changes an earlier message would only be another resync."""
MAX_TASKS = 100
"""Tasks of one batch."""
MAX_BYTES = 256 * 1024
"""Memory of the tasks of one batch, unless it has only one. The rest is in the next one."""
MAX_SHARED = 32
"""Batches of one tick that are kept for other readers; further ones are made for each reader."""


class Scope(NamedTuple):
    """The tasks of a reader. Equal ones see the same tasks."""

    user: str | None
    """The user whose tasks alone are visible; `None` if all are."""
    where: WatchFilter

    def has(self, task: Task) -> bool:
        seen = self.user in (None, task.user) and not task.service
        return seen and matches(task, self.where)


class _Shared:
    """The batch of one scope and place, made by the first reader that asks for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.made: Batch | Update | None = None


class Batches:
    def __init__(
        self,
        watches: Watches,
        feed: Feed,
        clock: Callable[[], int],
        interval_seconds: float = INTERVAL_SECONDS,
        *,
        private: bool,
    ) -> None:
        """`private`: users see only their own tasks."""
        self._watches = watches
        self._feed = feed
        self._clock = clock
        self._interval = interval_seconds
        self._private = private
        self._tick = -1
        self._end = 0
        """The last change of the current tick's batches."""
        self._shared: dict[Hashable, _Shared] = {}
        """Of the current tick, by scope and place."""

    def watch(
        self, who: Principal, where: WatchFilter, since: int | None = None
    ) -> AsyncGenerator[Batch | Update]:
        """The same changes as those of `Watches.watch`, a few times a second.

        `since`: the number of a message, from this watch or another one (see `message_seq`);
        `None`: from now on. The only updates are resyncs.

        Never ends by itself; raises Unavailable when the server shuts down, at once if it does so
        already.
        """
        if self._feed.closed:
            raise shutting_down()
        user = None if permissions.sees_all(who, private=self._private) else who.user
        return self._batches(Scope(user, where), since)

    async def _batches(self, scope: Scope, since: int | None) -> AsyncGenerator[Batch | Update]:
        newest = message_seq.up_to(self._feed.last_seq)
        after = newest if since is None else since
        if after > newest:  # From another server, or from this one before it was restored.
            after = newest
            yield Update(UpdateType.RESYNC, newest, self._clock())
        is_calm = False
        while await self._next_tick(
            message_seq.last_finished(after, completes=True), CALM_TICKS if is_calm else 1
        ):
            item = await self._batch(scope, after)
            changes = message_seq.changes_between(after, item.seq)
            after = item.seq
            # After a calm, the next tick shows whether the flood is over, unless that is plain.
            is_flood = changes > CALM_TICKS * MAX_TASKS
            is_calm = isinstance(item, Update) and (is_flood or not is_calm)
            if isinstance(item, Update) or item.tasks or item.deleted:
                yield item
        raise shutting_down()

    async def _next_tick(self, seen: int, every: int) -> bool:
        """Wait for the first tick that has changes above `seen`, of each `every`-th tick. Returns
        False if the server shuts down."""
        loop = asyncio.get_running_loop()
        while not self._feed.closed:
            await self._feed.beyond(seen)
            step = every * self._interval
            await asyncio.sleep((int(loop.time() / step) + 1) * step - loop.time())
            tick = int(loop.time() / self._interval)
            if self._tick != tick:
                self._tick, self._end = tick, self._feed.last_seq
                self._shared = {}
            if self._end > seen:
                break
        return not self._feed.closed

    async def _batch(self, scope: Scope, after: int) -> Batch | Update:
        end, shared = self._end, self._shared
        place = (scope, after)
        if place not in shared and len(shared) >= MAX_SHARED:
            return await self._make(scope, after, end)
        entry = shared.setdefault(place, _Shared())
        async with entry.lock:
            if entry.made is None:
                entry.made = await self._make(scope, after, end)
            return entry.made

    async def _make(self, scope: Scope, after: int, end: int) -> Batch | Update:
        newest: dict[str, Change] = {}
        seen = message_seq.last_finished(after, completes=True)
        pace = Pace()
        while seen < end:
            changes = await self._watches.changes_after(seen)
            if changes is None:
                return self._resync(end)
            for change in changes:
                if change.seq > end:
                    break
                seen = change.seq
                if _is_news(change, after) and scope.has(change.task):
                    newest.pop(change.task.id, None)  # In the order of the newest changes.
                    newest[change.task.id] = change
                    if len(newest) > MAX_TASKS:
                        return self._resync(end)
            await pace.rest()
        return self._cut(list(newest.values()), end)

    def _cut(self, changes: list[Change], end: int) -> Batch:
        """The batch of as many tasks as fit. A task whose newest change is beyond its end is whole
        in the next batch, which begins there."""
        size, count = 0, 0
        for change in changes:
            size += task_footprint(change.task)
            if count and size > MAX_BYTES:
                end = change.seq - 1
                break
            count += 1
        tasks = [change.task for change in changes[:count]]
        return Batch(
            message_seq.up_to(end),
            self._clock(),
            tuple(task for task in tasks if not task.hidden),
            tuple(task for task in tasks if task.hidden),
        )

    def _resync(self, end: int) -> Update:
        return Update(UpdateType.RESYNC, message_seq.up_to(end), self._clock())


def _is_news(change: Change, after: int) -> bool:
    """Whether a watch that is to continue above the number `after` has a message about it."""
    if change.is_upkeep:
        return False
    if message_seq.of_update(change.seq) > after:
        return True
    return ends_task(change) and message_seq.of_complete(change.seq) > after
