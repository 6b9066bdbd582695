"""Decides whether a task may get another time limit, and asks whoever else has a limit on it."""

from collections.abc import Callable

from fetchml.attempts.hosts import TaskHost
from fetchml.core.bookings.running_tasks import extension_fault
from fetchml.core.model import HOLDING, Status, Task
from fetchml.core.requests.submission import TaskLimits, timeout_violations
from fetchml.core.requests.update import InvalidUpdate, TaskUpdate
from fetchml.core.state import State
from fetchml.errors import Conflict, Unavailable
from fetchml.files.task_files import TaskFiles
from fetchml.ports.launcher import LaunchSpec

_OLD_SHIM = (
    "timeout_seconds: this attempt was prepared by an earlier release of the server, and can't be "
    "given another limit while it runs"
)


class TimeLimits:
    def __init__(
        self,
        state: State,
        files: TaskFiles,
        limits: TaskLimits,
        host: TaskHost,
        *,
        clock: Callable[[], int],
        launched: Callable[[str], LaunchSpec | None],
    ) -> None:
        """`launched`: see AttemptManager."""
        self._state = state
        self._files = files
        self._limits = limits
        self._host = host
        self._clock = clock
        self._launched = launched

    def check(self, wanted: TaskUpdate) -> None:
        """Raises InvalidUpdate for a limit that no task may have."""
        found = timeout_violations(wanted.timeout_seconds, self._limits)
        if found:
            raise InvalidUpdate(found)

    def check_bookings(self, before: Task, after: Task) -> None:
        """Raises Conflict."""
        if fault := extension_fault(self._state, before, after, self._clock()):
            raise Conflict(f"timeout_seconds: {fault}")

    async def permit(self, task: Task) -> bool:
        """Make sure that the attempt of a task learns of its new limit, and that the cluster lets
        it run so long. Return whether the attempt, which is only prestaged, has to be prepared
        again for that. Raises Conflict, Unavailable."""
        if task.status not in HOLDING:
            return False
        folder = self._files.attempt(task.id, task.attempt)
        try:
            keeps_limit = await self._host.look(folder.keeps_first_limit)
        except OSError as error:
            raise Unavailable(f"timeout_seconds: {error}: try again later") from error
        if keeps_limit and task.prestaged:
            return True
        if keeps_limit and self._has_moved_on(task):
            return False  # What the look found was the end of the attempt.
        if keeps_limit:
            raise Conflict(_OLD_SHIM)
        run = self._launched(task.id)
        if task.status is not Status.RUNNING or run is None:
            return False
        if fault := await self._host.permit(run, task.spec.timeout_seconds * 1000):
            raise Conflict(f"timeout_seconds: {fault}")
        return False

    def _has_moved_on(self, task: Task) -> bool:
        now = self._state.tasks.get(task.id)
        return now is None or (now.attempt, now.status) != (task.attempt, task.status)
