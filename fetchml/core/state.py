"""What the core knows: live tasks, who holds what, who waits. Memory for live tasks only."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field

from msgspec.structs import replace

from fetchml.core import waiting
from fetchml.core.footprint import footprint
from fetchml.core.gpus.model import is_plain, plain_slots
from fetchml.core.model import ENDED, HOLDING, Resources, Status, Task
from fetchml.core.scheduling.allocator import GpuPool, Placement
from fetchml.core.scheduling.ready_queue import ReadyQueue
from fetchml.core.scheduling.resources import add, subtract, sum_of
from fetchml.core.scheduling.shares import Shares, Usage, weight
from fetchml.core.waiting import PRESTAGED, Discarding, Queued, Waiting

_QUEUED = Queued()


@dataclass(slots=True, frozen=True)
class Limits:
    """What the box has, and the owner's rules."""

    capacity: Resources
    """`gpu`: plain slots; 0: the GPUs are those that `GpusSeen` tells of."""
    max_running: int
    """Tasks that may hold a slot at the same time."""
    reserve_after_ms: int
    """A blocked task that has waited so long is passed by nobody any more."""
    worker_id: str
    slots_per_gpu: int = 1
    placement: Placement = Placement.FILL
    half_life_ms: int = 86_400_000
    """In which the weight of what a user had is halved; 0: nothing is forgotten."""
    user_gpus: int = 0
    """GPUs that the running tasks of one user may hold together; 0: as many as there are."""
    user_running: int = 0
    """Tasks of one user that may hold a slot at the same time; 0: any number."""
    user_queued: int = 0
    """Tasks of one user that may wait; 0: any number."""
    user_queued_bytes: int = 0
    """Memory that the live tasks of one user may take; 0: any."""
    preemption: bool = False
    prestage: bool = False
    """Make tasks ready while they wait."""
    max_prestaged: int = 2
    """Tasks without GPUs that are prestaged at the same time, at most."""


@dataclass(slots=True)
class State:
    limits: Limits
    tasks: dict[str, Task] = field(default_factory=dict)
    """Live tasks by id."""
    queue: ReadyQueue = field(default_factory=ReadyQueue)
    """Queued and prestaged tasks, in the order in which they start."""
    wait_states: dict[str, Waiting] = field(default_factory=dict)
    """Sub-states of waiting tasks by id; a task without an entry is `Queued()`."""
    held: dict[str, Resources] = field(default_factory=dict)
    """What each task that has its slot holds beside it: nothing, once its processes are gone."""
    used: Resources = field(default_factory=Resources)
    """The sum of `held`."""
    user_gpus: dict[str, int] = field(default_factory=dict)
    """GPUs held by each user's tasks."""
    user_slots: dict[str, int] = field(default_factory=dict)
    """Slots held by each user's tasks."""
    user_bytes: dict[str, int] = field(default_factory=dict)
    """Memory that each user's live tasks take."""
    live_bytes: int = 0
    """Memory that all live tasks take."""
    launcher_available: bool = False
    draining: bool = False
    gpus: GpuPool = field(init=False)
    shares: Shares = field(init=False)

    def __post_init__(self) -> None:
        self.gpus = GpuPool(max(1, self.limits.slots_per_gpu))
        self.shares = Shares(self.limits.half_life_ms)
        if self.limits.capacity.gpu:
            self.gpus.see(plain_slots(self.limits.capacity.gpu))

    @classmethod
    def restore(
        cls, limits: Limits, live: Iterable[Task], shares: Mapping[str, Usage] | None = None
    ) -> "State":
        """The state that a server had whose live tasks these are. `shares`: of `Shares.dump`."""
        state = cls(limits)
        state.shares = Shares(limits.half_life_ms, shares)
        unnamed = []
        for task in live:
            state.enter(task, footprint(task.spec))
            if task.status in HOLDING and not task.prestaged:
                if task.spec.gpu and not task.gpu_uuids:
                    unnamed.append(task)
                else:
                    state.hold(task)
            else:
                state.wait(task, now=0)
        for task in unnamed:  # an older release did not say which
            uuids = state.gpus.choose(state.gpus.free(), task.spec.gpu or 0, limits.placement)
            named = state.tasks[task.id] = replace(task, gpu_uuids=uuids or ())
            state.hold(named)
        return state

    def copy(self) -> "State":
        """As it is now, for who looks at it while this one changes. Costs little: what it is made
        of is not copied where it never changes."""
        other = copy(self)
        other.tasks = dict(self.tasks)
        other.queue = self.queue.copy()
        other.held = dict(self.held)
        other.user_gpus = dict(self.user_gpus)
        other.user_slots = dict(self.user_slots)
        other.user_bytes = dict(self.user_bytes)
        other.wait_states = dict(self.wait_states)
        other.gpus = self.gpus.copy()
        other.shares = self.shares.copy()
        return other

    def enter(self, task: Task, size: int) -> None:
        """It is live from now on. `size`: the footprint of its specification, in bytes."""
        self.tasks[task.id] = task
        self.user_bytes[task.user] = self.user_bytes.get(task.user, 0) + size
        self.live_bytes += size

    def forget(self, task: Task) -> None:
        """It has ended."""
        del self.tasks[task.id]
        size = footprint(task.spec)
        _take(self.user_bytes, task.user, size)
        self.live_bytes -= size
        self.leave(task)
        self.wait_states.pop(task.id, None)

    def wait(self, task: Task, now: int) -> None:
        """It is queued, or prestaged."""
        self.queue.add(task, now)
        if task.prestaged or task.id in self.wait_states:  # Every submit passes here.
            self._set_wait_state(task.id, waiting.begun(task, self.wait_state(task.id), now))

    def wait_state(self, task_id: str) -> Waiting:
        return self.wait_states.get(task_id, _QUEUED)

    def at_gate(self, task_id: str) -> None:
        """Its prestaged attempt waits at its gate."""
        self._set_wait_state(task_id, waiting.at_gate(self.wait_state(task_id)))

    def discard(self, task_id: str, *, protect: bool = False) -> None:
        """Its prestaged attempt is being removed. `protect`: see `Queued.protected`."""
        protected = protect or self.wait_state(task_id).protected
        self._set_wait_state(task_id, Discarding(protected))

    def restarted(self, now: int) -> None:
        for task_id, before in self.wait_states.items():
            self.wait_states[task_id] = waiting.restarted(before, now)

    def _set_wait_state(self, task_id: str, state: Waiting) -> None:
        if state == _QUEUED:
            self.wait_states.pop(task_id, None)
        else:
            self.wait_states[task_id] = state

    def hold(self, task: Task) -> None:
        """It has its slot, and its resources as long as its processes may live."""
        self.wait_states.pop(task.id, None)
        gone = task.status is Status.COLLECTING
        held = Resources() if gone else task.spec.resources
        self.held[task.id] = held
        self.user_slots[task.user] = self.user_slots.get(task.user, 0) + 1
        self.used = add(self.used, held)
        if gone:
            return
        self.gpus.allocate(task.id, task.gpu_uuids)
        if held.gpu:
            self.user_gpus[task.user] = self.user_gpus.get(task.user, 0) + held.gpu
        since = task.allocated_at or task.started_at or task.created_at
        cores = self.limits.capacity.cpu
        self.shares.begin(task.user, task.id, weight(held, cores), since)

    def release(self, task: Task, now: int) -> tuple[str, ...]:
        """Its processes are gone: what it held is free, its slot is not. Gives the GPUs that are
        to be checked."""
        held = self.held[task.id]
        if held == Resources():
            return ()
        self.held[task.id] = Resources()
        self.used = subtract(self.used, held)
        self.shares.end(task.user, task.id, now)
        if not held.gpu:
            return ()
        _take(self.user_gpus, task.user, held.gpu)
        return self.gpus.release(task.id, task.gpu_uuids)

    def leave(self, task: Task) -> None:
        """It waits no more, or nothing of its attempt is left: its slot is free too."""
        if task.id in self.held:
            del self.held[task.id]
            _take(self.user_slots, task.user, 1)
        else:
            self.queue.remove(task.id)

    @property
    def capacity(self) -> Resources:
        """With the GPUs that are known."""
        return replace(self.limits.capacity, gpu=len(self.gpus.known))

    @property
    def free(self) -> Resources:
        """May be negative after a restart with less capacity than running tasks hold. GPUs:
        those with a slot to give."""
        left = subtract(self.limits.capacity, self.used)
        return replace(left, gpu=len(self.gpus.free()))

    @property
    def free_slots(self) -> int:
        return self.limits.max_running - len(self.held)

    @property
    def may_start(self) -> bool:
        return self.launcher_available and not self.draining

    def under_way(self) -> Iterator[Task]:
        """Tasks that have an attempt: those that hold their slot, and those whose prestaged
        attempt is made ready, waits, or is discarded."""
        for task_id in self.held:
            yield self.tasks[task_id]
        for task_id, wait_state in self.wait_states.items():
            if not isinstance(wait_state, Queued):
                yield self.tasks[task_id]

    def prestaged(self) -> list[Task]:
        """Tasks whose prestaged attempt may still start."""
        return [
            self.tasks[task_id]
            for task_id, wait_state in self.wait_states.items()
            if isinstance(wait_state, PRESTAGED)
        ]

    def prestaged_by_gpu(self) -> dict[str, str]:
        """By UUID: the task that is prestaged for this GPU."""
        return {uuid: task.id for task in self.prestaged() for uuid in task.gpu_uuids}

    def quota_left(self, user: str) -> int | None:
        """GPUs that this user's tasks may have beside what they hold; None: any number."""
        most = self.limits.user_gpus
        return most - self.user_gpus.get(user, 0) if most else None

    def slots_left(self, user: str) -> int | None:
        """Tasks of this user that may start beside those that hold a slot; None: any number."""
        most = self.limits.user_running
        return most - self.user_slots.get(user, 0) if most else None

    def check(self) -> None:
        """The invariants (tests call it after every step). Raises AssertionError."""
        held = sum_of(self.held.values())
        assert held == self.used, f"held {held}, booked {self.used}"
        for task in self.tasks.values():
            self._check_task(task)
        assert self.held.keys() <= self.tasks.keys(), "a slot is held by a task that is gone"
        nowhere = len(self.tasks) - len(self.queue) - len(self.held)
        assert nowhere == 0, f"{nowhere} tasks are nowhere"
        for task_id, wait_state in self.wait_states.items():
            assert task_id in self.queue, f"{task_id}: {wait_state}, but it does not wait"
            assert wait_state != _QUEUED, f"{task_id}: an entry that says nothing"
        self._check_users()
        self._check_gpus()
        self._check_prestaged()

    def _check_task(self, task: Task) -> None:
        assert task.status not in ENDED, f"{task.id} has ended and is still here"
        has_slot = task.status in HOLDING and not task.prestaged
        assert has_slot == (task.id in self.held), f"{task.id}: slot"
        waits = task.status is Status.QUEUED or task.prestaged
        assert waits == (task.id in self.queue), f"{task.id}: queue"
        wait_state = self.wait_state(task.id)
        assert task.prestaged != isinstance(wait_state, Queued), f"{task.id}: {wait_state}"
        if task.prestaged:
            assert task.status is Status.PREPARING, f"{task.id}: prestaged, but {task.status}"
            if task.cancel is not None:
                assert isinstance(wait_state, Discarding), f"{task.id}: cancelled, {wait_state}"
        if task.cancel is not None:
            assert task.status is not Status.QUEUED, f"{task.id}: cancelled and queued"
        if has_slot and task.status is not Status.COLLECTING:
            assert self.held[task.id] == task.spec.resources, f"{task.id}: released early"
            assert len(set(task.gpu_uuids)) == len(task.gpu_uuids), f"{task.id}: a GPU twice"
            holds = [uuid for uuid, tasks in self.gpus.holders.items() if task.id in tasks]
            assert sorted(holds) == sorted(task.gpu_uuids), f"{task.id}: {holds}"
        elif has_slot:
            assert self.held[task.id] == Resources(), f"{task.id}: its processes are gone"

    def _check_users(self) -> None:
        slots: dict[str, int] = {}
        for task_id in self.held:
            user = self.tasks[task_id].user
            slots[user] = slots.get(user, 0) + 1
        assert slots == self.user_slots, "users' slots"
        sizes: dict[str, int] = {}
        for task in self.tasks.values():
            sizes[task.user] = sizes.get(task.user, 0) + footprint(task.spec)
        assert sizes == self.user_bytes, "users' memory"
        assert sum(sizes.values()) == self.live_bytes, "memory of live tasks"

    def _check_gpus(self) -> None:
        by_user: dict[str, int] = {}
        for task_id, held in self.held.items():
            user = self.tasks[task_id].user
            by_user[user] = by_user.get(user, 0) + held.gpu
        assert {user: n for user, n in by_user.items() if n} == self.user_gpus, "users' GPUs"
        for uuid, holders in self.gpus.holders.items():
            assert holders, f"{uuid}: an empty list of holders"
            assert len(holders) <= self.gpus.slots_per_gpu, f"{uuid} is held by {holders}"
            for task_id in holders:
                assert uuid in self.tasks[task_id].gpu_uuids, f"{task_id} holds {uuid} in secret"
        for uuid in self.gpus.settling:
            assert uuid not in self.gpus.holders, f"{uuid} was given before it was looked at"
            assert not is_plain(uuid), f"{uuid} settles"

    def _check_prestaged(self) -> None:
        staying = self.prestaged()
        places = [uuid for task in staying for uuid in task.gpu_uuids]
        assert len(places) == len(set(places)), "two tasks are prestaged for one GPU"
        without = sum(not task.gpu_uuids for task in staying)
        assert without <= self.limits.max_prestaged, f"{without} tasks are prestaged without GPUs"
        for task_id in self.wait_states:
            assert not any(task_id in holders for holders in self.gpus.holders.values())


def _take(counts: dict[str, int], user: str, number: int) -> None:
    """A user without any has no entry."""
    left = counts[user] - number
    if left:
        counts[user] = left
    else:
        del counts[user]
