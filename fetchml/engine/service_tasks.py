"""The engine's side of services: tasks that run like others and that no operation on tasks shows.

The caller has already decided whether a user may start or stop one.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from fetchml.attempts.hosts import TaskHost
from fetchml.core.events import CancelRequested, Submitted
from fetchml.core.model import Actor, Change, Resources, Status, Task
from fetchml.core.requests.submission import TaskLimits
from fetchml.core.state import State
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.explain import explain, why_it_waits
from fetchml.engine.submissions import Submissions
from fetchml.engine.task_index import TaskIndex
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.task_files import TaskFiles
from fetchml.ports.store import Store
from fetchml.system.ids import IdSequence

LOG_TAIL_BYTES = 4096


class ServiceTasks:
    """Used from one event loop."""

    def __init__(
        self,
        store: Store,
        state: State,
        index: TaskIndex,
        files: TaskFiles,
        submissions: Submissions,
        dispatcher: Dispatcher,
        host: TaskHost,
        *,
        clock: Callable[[], int],
        ids: IdSequence,
        limits: TaskLimits,
    ) -> None:
        self.limits = limits
        """Of every task's resources. Time limits are not for services: idle ones are stopped."""
        self.require_room = submissions.require_room
        self.require_quota = submissions.require_quota
        self._store = store
        self._state = state
        self._index = index
        self._files = files
        self._dispatcher = dispatcher
        self._host = host
        self._clock = clock
        self._ids = ids

    def subscribe(self, listener: Callable[[Task], None]) -> None:
        """Call `listener` with every new version of a service's task, when it is durable."""

        def committed(changes: Sequence[Change]) -> None:
            for change in changes:
                if change.task.service:
                    listener(change.task)

        self._store.subscribe(committed)

    @property
    def capacity(self) -> Resources:
        return self._state.capacity

    def live(self) -> list[Task]:
        return list(self._index.services.values())

    async def find(self, task_id: str) -> Task | None:
        """Of any kind, live or ended."""
        return self._index.services.get(task_id) or await self._store.get(task_id)

    def next_id(self) -> tuple[str, int]:
        """For a new service, and the time in milliseconds since the epoch (UTC)."""
        now = self._clock()
        return self._ids.next(now), now

    def submit(self, task: Task) -> asyncio.Future[None]:
        """Done when it is durable."""
        return self._dispatcher.apply(Submitted(self._clock(), [task]))

    def cancel(self, task_id: str, by: Actor) -> asyncio.Future[None]:
        """Done when the wish is durable; nothing happens to one that has ended."""
        return self._dispatcher.apply(CancelRequested(self._clock(), task_id, by))

    def waits_for(self, task: Task) -> str:
        """Return a sentence that explains why a live service does not run yet. Its place in the
        queue is not looked for: a list of many services may be asked for while a million tasks
        wait."""
        state, now = self._state, self._clock()
        if task.shown_status is Status.QUEUED and state.limits.cluster is None:
            return why_it_waits(state, task, now) or "It waits for its turn."
        why = self._host.reason(task)
        return explain(state, task, now, may_name=lambda _: False, cluster_reason=why).reason

    def is_silent(self, task: Task) -> bool:
        """Whether a cluster has lost sight of a service that runs."""
        return self._host.trouble(task) is not None

    def attempt(self, task: Task) -> AttemptFolder:
        """Of the current or last attempt."""
        return self._files.attempt(task.id, task.attempt)

    async def log_tail(self, task: Task) -> str:
        """The end of what its last attempt wrote."""
        if not task.attempt:
            return ""
        tail = await self._files.reads(partial(self.attempt(task).tail, LOG_TAIL_BYTES))
        return tail.decode(errors="replace")

    async def remove_files(self, task_id: str) -> None:
        """Of one that has ended."""
        await self._files.remove(task_id)
