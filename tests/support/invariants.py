"""The invariants of the core's state, checked after every step."""

from collections.abc import Mapping, Sequence
from functools import reduce

from fetchml.core.footprint import task_footprint
from fetchml.core.gpus.allocator import is_plain
from fetchml.core.lifecycle import MOST_KEPT
from fetchml.core.model import ENDED, HOLDING, Resources, Status, Task
from fetchml.core.packing import MOST
from fetchml.core.scheduling.resources import add
from fetchml.core.scheduling.waiting import Discarding, HeldBack, Queued
from fetchml.core.state import State


def check(state: State) -> None:
    """Raise AssertionError if the state breaks an invariant."""
    held = reduce(add, state.held.values(), Resources())
    assert held == state.used, f"held {held}, booked {state.used}"
    for task in state.tasks.values():
        _check_task(state, task)
    assert state.held.keys() <= state.tasks.keys(), "a slot is held by a task that is gone"
    nowhere = len(state.tasks) - len(state.queue) - len(state.held) - len(state.handed_over)
    nowhere -= len(state.held_back)
    nowhere -= len(state.sweeps)
    assert nowhere == 0, f"{nowhere} tasks are nowhere"
    for task_id, wait_state in state.wait_states.items():
        waits = task_id in state.queue or task_id in state.handed_over
        assert waits, f"{task_id}: {wait_state}, but it does not wait"
        assert wait_state != Queued(), f"{task_id}: an entry that says nothing"
    needed = {(n, t.id) for t in state.tasks.values() for n in t.spec.inputs_from or ()}
    assert needed == {(n, t) for n, tasks in state.inputs.items() for t in tasks}, "inputs"
    _check_users(state)
    _check_sweeps(state)
    _check_dependencies(state)
    _check_gpus(state)
    _check_packing(state)
    _check_prestaged(state)


def _check_task(state: State, task: Task) -> None:
    assert task.status not in ENDED, f"{task.id} has ended and is still here"
    has_slot = task.status in HOLDING and not task.prestaged
    assert has_slot == (task.id in state.held), f"{task.id}: slot"
    waits = task.status is Status.QUEUED or task.prestaged
    on_cluster = task.prestaged and state.limits.cluster is not None
    in_queue, held_back = task.id in state.queue, task.id in state.held_back
    for_sweep = state.sweeps.holds_back(task)
    places = in_queue + held_back + for_sweep
    assert (waits and not on_cluster) == (places == 1), f"{task.id}: queue"
    assert not (in_queue and task.spec.hold and not task.prestaged), f"{task.id}: held in the queue"
    assert not (held_back and task.status is not Status.QUEUED), f"{task.id}: {task.status}"
    assert not (for_sweep and task.status is not Status.QUEUED), f"{task.id}: {task.status}"
    assert on_cluster == (task.id in state.handed_over), f"{task.id}: handed over"
    _check_attempts(task)
    wait_state = state.wait_state(task.id)
    begun = not isinstance(wait_state, Queued | HeldBack)
    assert task.prestaged == begun, f"{task.id}: {wait_state}"
    assert held_back == isinstance(wait_state, HeldBack), f"{task.id}: {wait_state}"
    if task.id in state.blocked:
        assert held_back, f"{task.id}: waits for others, and may start"
        assert task.has_open_conditions, f"{task.id}: waits for others for the second time"
    if task.prestaged and task.spec.hold:
        assert isinstance(wait_state, Discarding), f"{task.id}: held, {wait_state}"
    assert not (has_slot and task.spec.hold), f"{task.id}: held, and has its slot"
    if task.prestaged:
        assert task.status is Status.PREPARING, f"{task.id}: prestaged, but {task.status}"
        if task.cancel is not None:
            assert isinstance(wait_state, Discarding), f"{task.id}: cancelled, {wait_state}"
    if task.cancel is not None:
        assert task.status is not Status.QUEUED, f"{task.id}: cancelled and queued"
    if has_slot and task.status is not Status.COLLECTING:
        assert state.held[task.id] == task.spec.resources, f"{task.id}: released early"
        assert len(set(task.gpu_uuids)) == len(task.gpu_uuids), f"{task.id}: a GPU twice"
        holds = [uuid for uuid, tasks in state.gpus.holders.items() if task.id in tasks]
        # A cluster keeps account of its own.
        expected = [] if state.limits.cluster is not None else sorted(task.gpu_uuids)
        assert sorted(holds) == expected, f"{task.id}: {holds}"
    elif has_slot:
        assert state.held[task.id] == Resources(), f"{task.id}: its processes are gone"


def attempts_over(task: Task) -> list[int]:
    """The numbers of the attempts of a live task that are over."""
    return list(range(1, task.attempt + (task.status is Status.QUEUED)))


def check_attempts_are_kept(state: State) -> None:
    """Of tasks that this release has run from their submit on."""
    for task in state.tasks.values():
        earlier = [each.number for each in task.earlier_attempts]
        assert earlier == attempts_over(task)[-MOST_KEPT:], f"{task.id}: attempts {earlier}"
        assert (task.begun_at is not None) == (task.status in HOLDING), f"{task.id}: its beginning"


def _check_attempts(task: Task) -> None:
    """Older releases kept none, and no beginning."""
    earlier = [each.number for each in task.earlier_attempts]
    over = attempts_over(task)
    assert earlier == over[len(over) - len(earlier) :], f"{task.id}: attempts {earlier}"
    assert len(earlier) <= MOST_KEPT, f"{task.id}: {len(earlier)} attempts"
    assert task.begun_at is None or task.status in HOLDING, f"{task.id}: its beginning"
    for each in task.earlier_attempts:
        times = [each.begun_at, each.allocated_at, each.started_at, each.exited_at]
        known = [at for at in times if at is not None]
        assert known == sorted(known), f"{task.id}: times of attempt {each.number}"


def _check_users(state: State) -> None:
    slots: dict[str, int] = {}
    for task_id in state.held:
        user = state.tasks[task_id].user
        slots[user] = slots.get(user, 0) + 1
    assert slots == state.user_slots, "users' slots"
    handed_over: dict[str, int] = {}
    for user in state.handed_over.values():
        handed_over[user] = handed_over.get(user, 0) + 1
    assert handed_over == state.user_handed_over, "users' tasks that are handed over"
    sizes: dict[str, int] = {}
    for task in state.tasks.values():
        sizes[task.user] = sizes.get(task.user, 0) + task_footprint(task)
    assert sizes == state.user_bytes, "users' memory"
    assert sum(sizes.values()) == state.live_bytes, "memory of live tasks"


def _check_sweeps(state: State) -> None:
    waiting: dict[str, int] = {}
    members: dict[str, list[Task]] = {}
    for task in state.tasks.values():
        if task.spec.sweep is not None and task.spec.sweep.max_parallel:
            members.setdefault(task.spec.sweep.id, []).append(task)
    for tasks in members.values():
        held_back = [task for task in tasks if state.sweeps.holds_back(task)]
        others = [task for task in tasks if task.id not in state.held_back]
        active = [task for task in others if not state.sweeps.holds_back(task)]
        member = tasks[0].spec.sweep
        assert member is not None
        assert state.sweeps.active(member) == len(active), f"{member.id}: places"
        assert len(active) <= member.max_parallel, f"{member.id}: too many"
        assert not held_back or len(active) == member.max_parallel, f"{member.id}: a free place"
        for task in held_back:
            waiting[task.user] = waiting.get(task.user, 0) + 1
    assert sum(waiting.values()) == len(state.sweeps), "tasks that wait for a place"
    assert state.sweeps.waiting_by_user == waiting, "users' tasks that wait for a place"


def _check_packing(state: State) -> None:
    packing = state.packing
    if packing is None:
        return
    shared = {task_id for ids in state.gpus.holders.values() if len(ids) > 1 for task_id in ids}
    assert shared <= packing.shared <= state.held.keys(), "tasks that share a GPU"
    assert not any(state.tasks[task_id].service for task_id in shared), "a service shares a GPU"
    assert packing.used.keys() <= state.held.keys(), "memory of tasks that are gone"
    assert len(packing.peaks) <= MOST, "learned peaks"
    for task in state.tasks.values():
        queue, job = state.queue.queue_of(task.id), packing.job(task)
        assert queue is None or job is None or queue.shape.job == job, f"{task.id}: sub-queue"


def check_joined(state: State, before: Mapping[str, Sequence[str]]) -> None:
    """Check the GPUs that tasks have joined in a step. `before`: the holders then, by UUID."""
    packing = state.packing
    if packing is None:
        return
    for uuid, holders in state.gpus.holders.items():
        if len(holders) < 2 or set(holders) <= set(before.get(uuid, ())):
            continue
        peaks = [packing.peak(state.tasks[task_id]) for task_id in holders]
        assert None not in peaks, f"{uuid}: one of {holders} is not known"
        most = state.gpus.inventory[uuid].memory_mb * (100 - packing.rule.margin_percent) // 100
        assert sum(peak or 0 for peak in peaks) <= most, f"{uuid}: {peaks} in {most} MiB"


def _check_dependencies(state: State) -> None:
    live: dict[str, int] = {}
    for task in state.tasks.values():
        if task.spec.sweep is not None:
            live[task.spec.sweep.id] = live.get(task.spec.sweep.id, 0) + 1
    assert {each: state.progress.of(each).live for each in live} == live, "live tasks of sweeps"
    assert len(state.progress) == len(live), "a sweep without live tasks"
    if state.blocked.news:
        return
    for task in state.tasks.values():
        for each in state.blocked.open_conditions(task.id):
            is_live = each.target in (state.tasks if each.task_id else live)
            assert is_live, f"{task.id} waits for {each.target}, which has ended"


def _check_gpus(state: State) -> None:
    by_user: dict[str, int] = {}
    for task_id, held in state.held.items():
        user = state.tasks[task_id].user
        by_user[user] = by_user.get(user, 0) + held.gpu
    assert {user: n for user, n in by_user.items() if n} == state.user_gpus, "users' GPUs"
    for uuid, holders in state.gpus.holders.items():
        assert holders, f"{uuid}: an empty list of holders"
        assert len(holders) <= state.gpus.slots_per_gpu, f"{uuid} is held by {holders}"
        for task_id in holders:
            assert uuid in state.tasks[task_id].gpu_uuids, f"{task_id} holds {uuid} in secret"
    for uuid in state.gpus.settling:
        assert uuid not in state.gpus.holders, f"{uuid} was allocated before it was checked"
        assert not is_plain(uuid), f"{uuid} settles"


def _check_prestaged(state: State) -> None:
    staying = state.prestaged()
    places = [uuid for task in staying for uuid in task.gpu_uuids]
    assert len(places) == len(set(places)), "two tasks are prestaged for one GPU"
    without = sum(not task.gpu_uuids for task in staying)
    assert without <= state.limits.max_prestaged, f"{without} tasks are prestaged without GPUs"
    for task_id in state.wait_states:
        assert not any(task_id in holders for holders in state.gpus.holders.values())
