"""Which tasks are made ready while they wait, and for which GPUs.

Those that would start next. One for each GPU that somebody holds, and a few that need no GPU. They
hold nothing. A more urgent task takes the place of a less urgent one; what was made ready for a
GPU that can't be used is thrown away. Where that happened to a task twice, it is made ready only
when it has its resources, and the task behind it in its line is made ready instead: else a stream
of urgent tasks would begin its attempt again and again.
"""

from itertools import islice
from typing import NamedTuple

from fetchml.core.model import Task
from fetchml.core.scheduling.ready_queue import SubQueue
from fetchml.core.scheduling.scheduler import ShareLevels, over_quota
from fetchml.core.state import State
from fetchml.core.waiting import may_be_prestaged

LOOKED_AT = 64
"""Lines of waiting tasks that one decision looks at, beyond the tasks that are ahead already."""


class PrestagePlan(NamedTuple):
    task: Task
    gpu_uuids: tuple[str, ...]
    instead_of: list[Task]
    """Made ready ahead, to be thrown away."""


def misplaced(state: State) -> list[Task]:
    """Made ready for a GPU that can't be used now; or after a restart, whose place another has:
    nobody knows any more that it was being thrown away."""
    told = []
    taken: set[str] = set()
    without = 0
    for task in sorted(
        state.prestaged(), key=lambda task: (-task.spec.priority, task.created_at, task.id)
    ):
        without += not task.gpu_uuids
        if (
            not taken.isdisjoint(task.gpu_uuids)
            or (not task.gpu_uuids and without > state.limits.max_prestaged)
            or (
                state.gpus.is_known
                and any(state.gpus.obstacle(uuid) is not None for uuid in task.gpu_uuids)
            )
        ):
            told.append(task)
        else:
            taken.update(task.gpu_uuids)
    return told


def next_plan(state: State, now: int, level: ShareLevels) -> PrestagePlan | None:
    if not state.limits.prestage:
        return None
    staying = state.prestaged()
    taken = set[str]()
    without = 0
    for task in staying:
        taken.update(task.gpu_uuids)
        without += not task.gpu_uuids
    places: dict[str, int] = {}
    if state.gpus.known:
        places = {uuid: 1 for uuid in state.gpus.usable() if uuid not in taken}
    lowest = 0
    if not places and without >= state.limits.max_prestaged:
        # All is taken: only who is more urgent than somebody there gets a place.
        if not staying:
            return None
        lowest = 1 + min([task.spec.priority for task in staying])
        if lowest > state.queue.highest:
            return None
    enough = LOOKED_AT + len(state.wait_states)
    for line in islice(state.queue.in_order(level, lowest), enough):
        if line.ahead is not None or over_quota(state, line):
            continue
        first = _first_of(state, line)
        plan = None if first is None else _place(state, first, line, places, staying)
        if plan is not None:
            return plan
    return None


def _first_of(state: State, line: SubQueue) -> Task | None:
    """The first task of a line that may be made ready ahead. All of a line need the same."""
    head = state.tasks[line.head.task_id]
    if may_be_prestaged(head):
        return head
    turns = islice(state.queue.entries_of(line), LOOKED_AT)
    tasks = (state.tasks[turn.task_id] for turn in turns)
    return next(filter(may_be_prestaged, tasks), None)


def _place(
    state: State, task: Task, line: SubQueue, places: dict[str, int], staying: list[Task]
) -> PrestagePlan | None:
    less_urgent = [other for other in staying if other.spec.priority < line.priority]
    less_urgent.sort(key=lambda other: (other.spec.priority, -other.created_at, other.id))
    count = line.shape.resources.gpu
    if not count:
        alike = sum(not other.gpu_uuids for other in staying)
        if alike < state.limits.max_prestaged:
            return PrestagePlan(task, (), [])
        instead = [other for other in less_urgent if not other.gpu_uuids][:1]
        return PrestagePlan(task, (), instead) if instead else None
    avoid = state.gpus.avoidable(line.shape.avoid, count)
    if count == 1:
        places = {uuid: 1 for uuid in places if not _is_free(state, uuid)}
    instead = []
    rest = iter([other for other in less_urgent if other.gpu_uuids])
    while True:
        chosen = state.gpus.choose(places, count, state.limits.placement, avoid)
        if chosen is not None:
            needed = [other for other in instead if set(other.gpu_uuids) & set(chosen)]
            return PrestagePlan(task, chosen, needed)
        other = next(rest, None)
        if other is None:
            return None
        instead.append(other)
        places = {**places, **dict.fromkeys(other.gpu_uuids, 1)}


def _is_free(state: State, uuid: str) -> bool:
    """Kept for somebody else, or the task waits for something other than this GPU."""
    return uuid not in state.gpus.holders and uuid not in state.gpus.settling
