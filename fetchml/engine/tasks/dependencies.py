"""The tasks that others start after: looked up before the core decides."""

from collections.abc import Mapping, Sequence

from fetchml.core import permissions
from fetchml.core.dependencies import outcomes
from fetchml.core.model import ENDED, Principal, Status, Task, TaskSpec
from fetchml.core.scheduling.shares import Usage
from fetchml.core.state import Limits, State
from fetchml.engine.dispatcher import Dispatcher
from fetchml.engine.gpus.peak_store import load_peaks
from fetchml.engine.task_lookup import TaskLookup
from fetchml.errors import FieldViolation
from fetchml.ports.store import Store, StoredState
from fetchml.system.pacing import Pace


class Dependencies:
    """Used from one event loop."""

    def __init__(
        self, tasks: TaskLookup, state: State, dispatcher: Dispatcher, *, private: bool
    ) -> None:
        """`private`: users see only their own tasks."""
        self._tasks = tasks
        self._state = state
        self._dispatcher = dispatcher
        self._private = private

    async def fault(self, who: Principal, spec: TaskSpec) -> FieldViolation | None:
        """Return why the caller can't name the tasks of a request; `None` if they can."""
        pace = Pace()
        inputs = frozenset(spec.inputs_from or ())
        for each in spec.after or ():
            task_id = each.task_id
            if pace.due:
                await pace.rest()
            task = self._state.tasks.get(task_id) or await self._tasks.find(task_id)
            rule = None
            if task is None or not self._may_see(who, task):
                rule = f"there is no task {task_id[:64]!r}"
            elif task.hidden:
                rule = f"task {task_id} was deleted"
            elif task_id in inputs and task.outputs_removed_at is not None:
                rule = f"the outputs of task {task_id} were removed"
            if rule is not None:
                return FieldViolation("inputs_from" if task_id in inputs else "after", rule)
        return None

    def _may_see(self, who: Principal, task: Task) -> bool:
        return not task.service and permissions.may_see(who, task, private=self._private)

    async def ended(self, specs: Sequence[TaskSpec]) -> Mapping[str, Status]:
        """Return the outcomes of those tasks that have ended, of all that the requests name. All
        others are live, until the caller awaits something."""
        named = set[str]()
        pace = Pace()
        for spec in specs:
            named.update([each.task_id for each in spec.after or ()])
            if pace.due:
                await pace.rest()
        found: dict[str, Status] = {}
        while rest := [each for each in named if each not in found and self._ended(each)]:
            # The end of some may still be on the way to the disk, where it is read.
            await self._dispatcher.settled()
            for task_id in rest:
                task = await self._tasks.get(task_id)
                if task.status in ENDED:
                    found[task_id] = task.status
        return found

    def _ended(self, task_id: str) -> bool:
        return task_id not in self._state.tasks


async def restored_state(
    store: Store, restored: StoredState, limits: Limits, shares: Mapping[str, Usage]
) -> State:
    """Rebuild the core's state, with the outcomes of ended tasks that live ones wait for."""
    recent = {task.id: task for tasks in restored.recent.values() for task in tasks}
    found: dict[str, Status] = {}
    for task_id in outcomes.named({task.id: task for task in restored.live}):
        task = recent.get(task_id) or await store.get(task_id)
        if task is not None:
            found[task_id] = task.status
    peaks = await load_peaks(store) if limits.packing is not None else ()
    return State.restore(limits, restored.live, shares, found, peaks)
