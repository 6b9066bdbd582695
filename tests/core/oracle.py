"""The scheduler's rule said once more, slowly and plainly, to hold the fast one to."""

from collections.abc import Collection, Iterable, Mapping

from fetchml.core.model import ENDED, Condition, Dependency, HaltCause, Status, SweepMember, Task
from fetchml.core.scheduling.waiting import Discarding, held_back
from fetchml.core.state import State
from fetchml.core.sweeps.progress import Failures

TWO_OF_A_SWEEP = SweepMember("s", 0, {}, 2)
"""Of a sweep of which two tasks may be under way."""


def in_order(state: State, now: int) -> list[Task]:
    """All that could start, were there room: not those that wait for their time."""
    ready = [task for task in state.tasks.values() if state.queue.queue_of(task.id) is not None]
    return sorted(
        ready,
        key=lambda task: (
            -task.spec.priority,
            state.shares.level(task.user, now),
            task.created_at,
            task.id,
        ),
    )


def could_start(state: State, now: int) -> str | None:
    """A task that should have been started, in words; None: there is none."""
    if not state.launcher_available or state.draining or state.free_slots <= 0:
        return None
    cpu = state.limits.capacity.cpu - state.used.cpu
    memory = state.limits.capacity.memory_gb - state.used.memory_gb
    gpus = state.gpus.free()
    placement = state.limits.placement
    winners = {
        halt.by
        for halt in (state.tasks[task_id].halt for task_id in state.held)
        if halt is not None and halt.cause is HaltCause.PREEMPTED
    }
    headed = set()
    for task in in_order(state, now):
        wanted = task.spec.resources
        if task.cancel is not None or _over_quota(state, task):
            continue
        if held_back(task, now) is not None:
            continue
        line = (task.user, task.spec.priority, wanted, task.avoid_gpus, task.prestaged and task.id)
        is_head = line not in headed
        headed.add(line)
        avoid = state.gpus.avoidable(task.avoid_gpus, wanted.gpu)
        candidates = {uuid: n for uuid, n in gpus.items() if uuid not in avoid}
        has_cores = (not wanted.cpu or wanted.cpu <= cpu) and (
            not wanted.memory_gb or wanted.memory_gb <= memory
        )
        enough = has_cores and wanted.gpu <= len(candidates)
        ready_at = max(task.created_at, task.not_before, _has_place_since(state, task))
        waited = now - ready_at >= state.limits.reserve_after_ms and is_head
        keeps = waited or task.id in winners
        own = [uuid for uuid in task.gpu_uuids if uuid in gpus]
        kept: Collection[str] = (
            state.gpus.choose(gpus, min(wanted.gpu, len(candidates)), placement, avoid) or ()
        )
        if isinstance(state.wait_state(task.id), Discarding):
            keeps = waited or enough
        elif task.prestaged and _settle(state, task, own):
            keeps = keeps or has_cores
            kept = own
        elif enough:
            return f"{task.id} could run: {wanted} of {cpu}, {memory}, {gpus}"
        if keeps:
            cpu = max(0, cpu - wanted.cpu)
            memory = max(0, memory - wanted.memory_gb)
            for uuid in kept:
                gpus[uuid] -= 1
                if not gpus[uuid]:
                    del gpus[uuid]
    return None


def failures_of(tasks: Iterable[Task]) -> dict[str, Failures]:
    """What the store says of failed tasks at a start."""
    failed: dict[str, list[str]] = {}
    for task in tasks:
        if task.status is Status.FAILED and task.spec.sweep is not None and not task.superseded:
            failed.setdefault(task.spec.sweep.id, []).append(task.id)
    return {sweep_id: Failures(len(ids), max(ids)) for sweep_id, ids in failed.items()}


def decided(on: Dependency, tasks: Mapping[str, Task]) -> bool | None:
    """Whether a condition holds; `None` while that is open. `tasks`: the newest version of all."""
    if on.task_id:
        ended = [tasks[on.task_id].status] if tasks[on.task_id].status in ENDED else []
        is_live = not ended
    else:
        members = [
            each
            for each in tasks.values()
            if each.spec.sweep is not None
            and each.spec.sweep.id == on.sweep_id
            and not each.superseded
        ]
        ended = [each.status for each in members if each.status in ENDED]
        is_live = len(ended) < len(members)
    failed = Status.FAILED in ended
    if on.condition is Condition.COMPLETED and failed:
        return False
    if is_live:
        return None
    return failed if on.condition is Condition.FAILED else True


def _settle(state: State, task: Task, free: Collection[str]) -> bool:
    """It gets its GPUs as soon as those that are not free have been looked at."""
    rest = set(task.gpu_uuids) - set(free)
    return bool(rest) and rest <= state.gpus.settling


def _over_quota(state: State, task: Task) -> bool:
    if state.slots_left(task.user) is not None:
        running = sum(state.tasks[task_id].user == task.user for task_id in state.held)
        if running >= state.limits.user_running:
            return True
    left = state.quota_left(task.user)
    return left is not None and 0 < task.spec.resources.gpu > left


def _has_place_since(state: State, task: Task) -> int:
    member = task.spec.sweep
    if member is None or not member.max_parallel:
        return 0
    return state.sweeps._sweeps[member.id].taken[task.id]
