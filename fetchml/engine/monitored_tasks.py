"""The link from the disk monitor to tasks."""

from collections.abc import Callable

from fetchml.core.events import CancelRequested
from fetchml.core.model import Server, Status, Task
from fetchml.core.scheduling.waiting import Queued
from fetchml.core.state import State
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.task_lookup import TaskLookup
from fetchml.files.storage_usage import MonitoredTasks
from fetchml.files.task_files import TaskFiles
from fetchml.system.pacing import Pace


def monitored_tasks(
    state: State,
    tasks: TaskLookup,
    files: TaskFiles,
    dispatcher: Dispatcher,
    clock: Callable[[], int],
) -> MonitoredTasks:
    def active() -> list[Task]:
        return list(state.active())

    def is_active(task_id: str) -> bool:
        waiting = state.wait_states.get(task_id)
        return task_id in state.held or not isinstance(waiting, Queued | None)

    async def with_checkpoint() -> list[Task]:
        found, pace = list[Task](), Pace()
        for task in list(state.tasks.values()):
            if task.spec.checkpoint and task.attempt and task.status is Status.QUEUED:
                found.append(task)
            if pace.due:
                await pace.rest()
        return found

    def end(task_id: str, by: Server) -> object:
        return dispatcher.apply(CancelRequested(clock(), task_id, by))

    return MonitoredTasks(
        active=active,
        is_active=is_active,
        with_checkpoint=with_checkpoint,
        folder=files.folder,
        attempt=lambda task: files.attempt(task.id, task.attempt),
        end=end,
        find=tasks.find,
        remove_outputs=files.remove_outputs,
        remove=files.remove,
    )
