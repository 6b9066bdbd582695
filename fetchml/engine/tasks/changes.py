"""Changes of tasks that exist, their ends and deletions, and retries of ended tasks."""

from collections.abc import Callable, Collection, Mapping

from fetchml.attempts.hosts import TaskHost
from fetchml.auth.audit import Audit
from fetchml.core import permissions, submit_quotas, task_deletion
from fetchml.core.addresses import AddressRules
from fetchml.core.audit import Action
from fetchml.core.events import (
    CancelRequested,
    InterruptRequested,
    LostDeclared,
    UpdateRequested,
)
from fetchml.core.lifecycle import may_be_interrupted
from fetchml.core.model import ENDED, FailureReason, Principal, Task, User
from fetchml.core.notifications import address_fault
from fetchml.core.permissions import AdminOnly
from fetchml.core.requests import rerun, update
from fetchml.core.requests.checks import Violation
from fetchml.core.requests.update import InvalidUpdate, TaskUpdate
from fetchml.core.scheduling import lost_attempts
from fetchml.core.state import State
from fetchml.core.task_deletion import Deletion
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.ended_tasks import EndedTasks
from fetchml.engine.submissions import Submissions
from fetchml.engine.tasks.tasks import Tasks
from fetchml.engine.tasks.time_limits import TimeLimits
from fetchml.errors import (
    Conflict,
    DiskFull,
    FieldViolation,
    QueueQuotaReached,
    ValidationFailed,
    forbid,
)
from fetchml.files.task_files import TaskFiles
from fetchml.ports.store import Store
from fetchml.views import Interruption


class TaskChanges:
    """Used from one event loop. Verbs raise `errors.RequestError`."""

    def __init__(
        self,
        store: Store,
        state: State,
        tasks: Tasks,
        ended: EndedTasks,
        submissions: Submissions,
        files: TaskFiles,
        dispatcher: Dispatcher,
        time_limits: TimeLimits,
        *,
        host: TaskHost,
        audit: Audit,
        clock: Callable[[], int],
        notify_addresses: AddressRules | None,
        private: bool,
    ) -> None:
        """`notify_addresses`: where webhooks may be sent; `None`: nowhere. `private`: users see
        only their own tasks."""
        self._store = store
        self._state = state
        self._tasks = tasks
        self._ended = ended
        self._submissions = submissions
        self._files = files
        self._dispatcher = dispatcher
        self._time_limits = time_limits
        self._host = host
        self._audit = audit
        self._clock = clock
        self._notify_addresses = notify_addresses
        self._private = private

    async def update(self, who: Principal, task_id: str, request: Mapping[str, object]) -> Task:
        """Change fields of a task; durable on return. `request`: the changed fields only."""
        await self._tasks.to_change(who, task_id)
        try:
            wanted = update.read(request)
            if wanted.notify and (fault := address_fault(wanted.notify, self._notify_addresses)):
                raise InvalidUpdate([Violation("notify", fault)])
            self._time_limits.check(wanted)
            if not self._store.has_room():
                raise DiskFull
            # Whoever changes or deletes an ended task holds this lock.
            async with self._ended.locks.hold(("delete", task_id)):
                await self._update(who, task_id, wanted)
        except InvalidUpdate as error:
            violations = [FieldViolation(*violation) for violation in error.violations]
            raise ValidationFailed(violations) from None
        return await self._tasks.get(who, task_id)

    async def _update(self, who: Principal, task_id: str, wanted: TaskUpdate) -> None:
        task = await self._newest(who, task_id)
        changed = self._changed(task, wanted)
        prestage_again = False
        if changed.spec.timeout_seconds != task.spec.timeout_seconds:
            prestage_again = await self._time_limits.permit(changed)
            task = await self._newest(who, task_id)  # It went on meanwhile.
            changed = self._changed(task, wanted)
        if changed is task:
            return
        if task.status in ENDED:
            durable = self._ended.edit(changed)
        else:
            event = UpdateRequested(self._clock(), task_id, wanted, prestage_again=prestage_again)
            durable = self._dispatcher.apply(event)
        await self._audit.done(who, Action.TASK_UPDATE, task_id, wanted.summary)
        await durable

    async def _newest(self, who: Principal, task_id: str) -> Task:
        """Return the task as it is now. The caller lets no time pass before it changes it."""
        task = self._state.tasks.get(task_id)
        if task is None:
            # It has ended. Its end may still be on the way to the disk, where all others read.
            await self._dispatcher.settled()
            task = await self._tasks.to_change(who, task_id)
        return task

    def _changed(self, task: Task, wanted: TaskUpdate) -> Task:
        """Return the changed task. Raises InvalidUpdate, Conflict, QueueQuotaReached."""
        handed_over = task.id in self._state.handed_over
        changed, conflict = update.apply(task, wanted, now=self._clock(), handed_over=handed_over)
        if changed is None:
            raise Conflict(f"{conflict}")
        if fault := submit_quotas.growth_fault(self._state, task, changed):
            raise QueueQuotaReached(fault)
        self._time_limits.check_bookings(task, changed)
        return changed

    async def cancel(self, who: Principal, task_id: str) -> Task:
        """The wish is durable on return; a task that has ended stays as it is."""
        task = await self._tasks.to_change(who, task_id)
        if task.status in ENDED:
            return task
        await self._cancel(who, task_id, self._clock())
        return await self._tasks.get(who, task_id)

    async def _cancel(self, who: Principal, task_id: str, now: int) -> None:
        durable = self._dispatcher.apply(CancelRequested(now, task_id, User(who.user)))
        await self._audit.done(who, Action.TASK_CANCEL, task_id)
        await durable

    async def delete(self, who: Principal, task_id: str) -> None:
        """The contract's DELETE: cancels a live task, deletes one that has ended."""
        # First: only callers that may change the task wait for its lock.
        await self._tasks.to_change(who, task_id)
        async with self._ended.locks.hold(("delete", task_id)):
            task = await self._tasks.to_change(who, task_id)
            now = self._clock()
            match task_deletion.meaning(task, now):
                case Deletion.CANCEL:
                    await self._cancel(who, task_id, now)
                case Deletion.HIDE:
                    if self._ended.is_needed(task_id):
                        users = self._ended.users_of(task_id)
                        raise Conflict(self._needed_by(who, users))
                    durable = self._ended.hide([task])
                    await self._audit.done(who, Action.TASK_DELETE, task_id)
                    await durable
                    await self._files.remove(task_id)
                case Deletion.NOTHING:
                    pass

    def _needed_by(self, who: Principal, users: Collection[str]) -> str:
        tasks = (self._state.tasks[task_id] for task_id in sorted(users))
        seen = [t.id for t in tasks if permissions.may_see(who, t, private=self._private)]
        name = f"Task {seen[0]}" if seen else "Another task"
        return f"{name} gets its outputs as inputs: delete it when that one has ended"

    async def declare_lost(self, who: Principal, task_id: str) -> Task:
        """Give up a running task whose node is silent, so that it is retried; durable on return."""
        forbid(permissions.refusal(who, AdminOnly.LOST_TASKS))
        task = await self._tasks.get(who, task_id)
        if refusal := lost_attempts.fault(task, self._host.trouble(task)):
            raise Conflict(refusal)
        durable = self._dispatcher.apply(
            LostDeclared(self._clock(), task.id, task.attempt, who.user)
        )
        await self._audit.done(who, Action.TASK_DECLARE_LOST, task.id, f"attempt {task.attempt}")
        await durable
        return await self._tasks.get(who, task_id)

    async def interrupt(self, who: Principal, task_id: str) -> Interruption:
        """End the running attempt of a task as if its host were lost; the task is queued again."""
        await self._tasks.to_change(who, task_id)
        task = self._state.tasks.get(task_id)
        if task is None or not may_be_interrupted(task):
            raise Conflict("Only a running task that is not being stopped can be interrupted")
        now = self._clock()
        durable = self._dispatcher.apply(InterruptRequested(now, task_id, who.user))
        await self._audit.done(who, Action.TASK_INTERRUPT, task_id, f"attempt {task.attempt}")
        await durable
        saved_at = None
        if task.spec.checkpoint:
            saved_at = await self._files.checkpoint_saved_at(task_id)
        return Interruption(task_id, task.attempt, task.started_at, now, saved_at)

    async def retry(self, who: Principal, task_id: str, idempotency_key: str | None = None) -> Task:
        """Submit an ended task's request again; the new task is durable on return."""
        task = await self._tasks.to_change(who, task_id)
        if task.status not in ENDED:
            raise Conflict(f"It has not ended, it is {task.shown_status}: cancel it first")
        of_tasks = [each for each in task.spec.after or () if each.task_id]
        if task.failure_reason is FailureReason.DEPENDENCY_FAILED and of_tasks:
            raise Conflict(
                f"It would fail again: {task.error}. Retry that task, then submit this one again "
                "with the new id in 'after'"
            )
        owner = rerun.submitter(who, task)
        request = rerun.request_of(task)
        new = await self._submissions.create_task(owner, request, idempotency_key)
        await self._audit.done(who, Action.TASK_RETRY, new.id, f"of {task.id}")
        return new
