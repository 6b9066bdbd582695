"""Watches: the feed's changes as one reader may see them, with the snapshot or resync before."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

from fetchml.core import permissions
from fetchml.core.model import ENDED, Change, Principal, Task
from fetchml.engine.feed import Feed
from fetchml.engine.task_index import TaskIndex
from fetchml.engine.watches import message_seq
from fetchml.errors import Unavailable
from fetchml.ports.store import Store
from fetchml.system.pacing import Pace
from fetchml.views import Update, UpdateType, WatchFilter

AT_ONCE = 500


class Watches:
    """Nothing is kept for a reader: one that falls behind reads from the store, and one that falls
    behind what the store keeps has to resync."""

    def __init__(
        self,
        index: TaskIndex,
        feed: Feed,
        store: Store,
        clock: Callable[[], int],
        *,
        private: bool,
    ) -> None:
        """`private`: users see only their own tasks."""
        self._index = index
        self._feed = feed
        self._store = store
        self._clock = clock
        self._private = private

    def watch(
        self,
        who: Principal,
        where: WatchFilter,
        since: int | None = None,
        *,
        snapshot: bool = False,
        completes: bool = False,
    ) -> AsyncGenerator[Update]:
        """Every change of the tasks that `who` may see and `where` selects, in order.

        `since`: the number of a message (see `message_seq`); `None`: from now on. `snapshot`:
        first the live tasks. `completes`: with a message of its own for the end of a task.

        Never ends by itself; raises Unavailable when the server shuts down, at once if it does so
        already: that is no watch that has begun.
        """
        if self._feed.closed:
            raise shutting_down()

        def wanted(task: Task) -> bool:
            seen = permissions.may_see(who, task, private=self._private)
            return seen and not task.service and matches(task, where)

        return self._updates(wanted, since, snapshot, completes)

    async def _updates(
        self, wanted: Callable[[Task], bool], since: int | None, snapshot: bool, completes: bool
    ) -> AsyncGenerator[Update]:
        feed, clock = self._feed, self._clock
        pace = Pace()
        newest = message_seq.up_to(feed.last_seq)
        after = newest if since is None else since
        if since is None and snapshot:
            for task in list(self._index.live.values()):
                if wanted(task):
                    yield Update(UpdateType.SNAPSHOT, newest, clock(), task)
                elif pace.due:  # A filter may let nothing through for a hundred thousand tasks.
                    await pace.rest()
            yield Update(UpdateType.SYNCED, newest, clock())
        if after > newest:  # From another server, or from this one before it was restored.
            after = newest
            yield Update(UpdateType.RESYNC, newest, clock())
        seen = message_seq.last_finished(after, completes=completes)
        while not feed.closed:
            changes = await self.changes_after(seen)
            if changes is None:
                seen = feed.last_seq
                yield Update(UpdateType.RESYNC, message_seq.up_to(seen), clock())
                continue
            for change in changes:
                seen = change.seq
                if not change.is_upkeep and wanted(change.task):
                    for update in _messages(change, completes=completes):
                        if update.seq > after:
                            yield update
            await pace.rest()
            if not changes:
                await feed.beyond(seen)
        raise shutting_down()

    async def changes_after(self, seen: int) -> Sequence[Change] | None:
        """The next changes, from memory or the store; `None` if they are no longer kept."""
        changes = self._feed.after(seen, AT_ONCE)
        if changes is not None:
            return changes
        changes = await self._store.changes_since(seen, AT_ONCE)
        if changes is None:
            return None
        # Those on disk that were not published yet come later.
        return [change for change in changes if change.seq <= self._feed.last_seq]


def shutting_down() -> Unavailable:
    return Unavailable("The server is shutting down: watch again when it is back")


def _messages(change: Change, *, completes: bool) -> Iterator[Update]:
    """The messages about a change, in order."""
    task = change.task
    kind = UpdateType.TASK_DELETED if task.hidden else UpdateType.TASK_UPDATE
    yield Update(kind, message_seq.of_update(change.seq), change.at, task)
    if completes and ends_task(change):
        number = message_seq.of_complete(change.seq)
        yield Update(UpdateType.TASK_COMPLETE, number, change.at, task)


def ends_task(change: Change) -> bool:
    return change.task.status in ENDED and not change.task.hidden and not change.is_after_end


def matches(task: Task, where: WatchFilter) -> bool:
    return (
        where.task_id in (None, task.id)
        and (not where.states or task.shown_status in where.states)
        and where.user in (None, task.user)
        and where.experiment_id in (None, task.spec.experiment_id)
        and (where.job_name_prefix is None or task.spec.job_name.startswith(where.job_name_prefix))
    )
