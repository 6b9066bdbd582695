"""Running tasks that a cluster has lost sight of."""

from collections.abc import Callable

from fetchml.auth.audit import Audit
from fetchml.core import permissions
from fetchml.core.audit import Action
from fetchml.core.events import LostDeclared
from fetchml.core.model import Principal, Task
from fetchml.core.permissions import AdminOnly
from fetchml.core.scheduling import lost_attempts
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.task_lookup import VisibleTasks
from fetchml.errors import Conflict, forbid
from fetchml.ports.cluster import Cluster


class SilentTasks:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        tasks: VisibleTasks,
        dispatcher: Dispatcher,
        cluster: Cluster | None,
        *,
        audit: Audit,
        clock: Callable[[], int],
    ) -> None:
        """`cluster`: `None` if this host runs the tasks."""
        self._tasks = tasks
        self._dispatcher = dispatcher
        self._cluster = cluster
        self._audit = audit
        self._clock = clock

    async def declare_lost(self, who: Principal, task_id: str) -> Task:
        """Give up a task whose node is silent, so that it is retried; durable on return."""
        forbid(permissions.refusal(who, AdminOnly.LOST_TASKS))
        task = await self._tasks.get(who, task_id)
        trouble = self._cluster.trouble(task.id, task.attempt) if self._cluster else None
        if refusal := lost_attempts.fault(task, trouble):
            raise Conflict(refusal)
        durable = self._dispatcher.apply(
            LostDeclared(self._clock(), task.id, task.attempt, who.user)
        )
        await self._audit.done(who, Action.TASK_DECLARE_LOST, task.id, f"attempt {task.attempt}")
        await durable
        return await self._tasks.get(who, task_id)
