"""The core's state: live tasks, the resources that they hold, and the queue of those that wait."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field

from msgspec.structs import replace

from fetchml.core.bookings.booking import Bookings
from fetchml.core.dependencies.blocked import BlockedTasks
from fetchml.core.footprint import spec_footprint, task_footprint
from fetchml.core.gpus.allocator import GpuPool, Quiet, plain_slots
from fetchml.core.model import HOLDING, Resources, Status, Task
from fetchml.core.packing import Job, Packing
from fetchml.core.scheduling import waiting
from fetchml.core.scheduling.ready_queue import ReadyQueue
from fetchml.core.scheduling.resources import CLUSTER_CAPACITY as CLUSTER_CAPACITY  # noqa: PLC0414  # others import it from here
from fetchml.core.scheduling.resources import ClusterLimits as ClusterLimits  # noqa: PLC0414  # others import it from here
from fetchml.core.scheduling.resources import Limits as Limits  # noqa: PLC0414  # others import it from here
from fetchml.core.scheduling.resources import add, subtract, take
from fetchml.core.scheduling.shares import Shares, Usage, weight
from fetchml.core.scheduling.sweep_limits import SweepLimits, limited
from fetchml.core.scheduling.waiting import PRESTAGED, Discarding, HeldBackTasks, Queued, Waiting
from fetchml.core.sweeps.progress import Failures, LiveSweeps

_QUEUED = Queued()
NO_BOOKINGS = Bookings()


@dataclass(slots=True)
class State:
    limits: Limits
    tasks: dict[str, Task] = field(default_factory=dict)
    """Live tasks by id."""
    queue: ReadyQueue = field(default_factory=ReadyQueue)
    """Queued and prestaged tasks, in the order in which they start."""
    held_back: HeldBackTasks = field(default_factory=HeldBackTasks)
    """Queued tasks that may not start now, even with free resources. None is in `queue`."""
    blocked: BlockedTasks = field(default_factory=BlockedTasks)
    """The conditions on other tasks and on sweeps."""
    sweeps: SweepLimits = field(default_factory=SweepLimits)
    """Sweeps whose tasks may not all be under way; tasks without a slot are not in the queue."""
    wait_states: dict[str, Waiting] = field(default_factory=dict)
    """Sub-states of waiting tasks by id, those of `held_back` excluded. Another waiting task
    without an entry is `Queued()`."""
    held: dict[str, Resources] = field(default_factory=dict)
    """Resources of each task that holds a slot, by id; none once its processes are gone."""
    used: Resources = field(default_factory=Resources)
    """The sum of `held`."""
    user_gpus: dict[str, int] = field(default_factory=dict)
    """GPUs held by each user's tasks."""
    user_slots: dict[str, int] = field(default_factory=dict)
    """Slots held by each user's tasks."""
    user_bytes: dict[str, int] = field(default_factory=dict)
    """Bytes of memory that each user's live tasks take."""
    handed_over: dict[str, str] = field(default_factory=dict)
    """Users of the tasks that a cluster has and has not started, by id."""
    user_handed_over: dict[str, int] = field(default_factory=dict)
    """Number of each user's tasks in `handed_over`."""
    inputs: dict[str, set[str]] = field(default_factory=dict)
    """Ids of the live tasks that need the outputs of another task, by its id."""
    bookings: Bookings = NO_BOOKINGS
    quiet: dict[str, Quiet] = field(default_factory=dict)
    """Times without use of the GPUs of running tasks, by their ids. Not stored."""
    progress: LiveSweeps = field(default_factory=LiveSweeps)
    """Live and failed tasks of each sweep that has live tasks."""
    interrupts: int = 0
    """Attempts that users have interrupted since the start, for metrics."""
    live_bytes: int = 0
    """Bytes of memory that all live tasks take."""
    launcher_available: bool = False
    draining: bool = False
    gpus: GpuPool = field(init=False)
    shares: Shares = field(init=False)
    packing: Packing | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.gpus = GpuPool(max(1, self.limits.slots_per_gpu))
        self.shares = Shares(self.limits.half_life_ms)
        if self.limits.capacity.gpu:
            self.gpus.see(plain_slots(self.limits.capacity.gpu))
        self.pack(Packing(rule) if (rule := self.limits.packing) is not None else None)

    @classmethod
    def restore(
        cls,
        limits: Limits,
        live: Collection[Task],
        shares: Mapping[str, Usage] | None = None,
        ended: Mapping[str, Status] | None = None,
        failures: Mapping[str, Failures] | None = None,
        peaks: Iterable[tuple[Job, tuple[int, ...]]] = (),
    ) -> "State":
        """Rebuild the state from the live tasks.

        `shares`: a result of `Shares.dump`. `ended`: the outcomes of ended tasks that live ones
        wait for (`dependencies.named`). `failures`: of all sweeps that have any. `peaks`: see
        `LearnedPeaks`.
        """
        state = cls(limits)
        state.progress.learn(failures or {})
        if limits.packing is not None:
            state.pack(Packing(limits.packing, peaks))
        state.shares = Shares(limits.half_life_ms, shares)
        unnamed = []
        for task in live:
            # Those with an attempt first: they keep their slots.
            if (member := limited(task.spec.sweep)) is not None and task.status in HOLDING:
                state.sweeps.take(task, member)
        for task in live:
            state.enter(task, task_footprint(task))
        for task in live:
            if task.has_open_conditions:
                state.blocked.block(task, state.tasks, ended or {}, state.progress)
            if task.status in HOLDING and not task.prestaged:
                if task.spec.gpu and not task.gpu_uuids and limits.cluster is None:
                    unnamed.append(task)
                else:
                    state.hold(task)
            else:
                state.wait(task, now=0)
        state.progress.drop_ended()
        for task in unnamed:  # older releases did not store which GPUs
            uuids = state.gpus.choose(state.gpus.free(), task.spec.gpu or 0, limits.placement)
            named = state.tasks[task.id] = replace(task, gpu_uuids=uuids or ())
            state.hold(named)
        return state

    def copy(self) -> "State":
        """Return a copy that does not change with this one. Cheap: immutable parts are shared."""
        other = copy(self)
        other.tasks = dict(self.tasks)
        other.queue = self.queue.copy()
        other.held_back = self.held_back.copy()
        other.blocked = BlockedTasks()  # A copy is for estimates: what is blocked has none.
        other.sweeps = self.sweeps.copy()
        other.held = dict(self.held)
        other.user_gpus = dict(self.user_gpus)
        other.user_slots = dict(self.user_slots)
        other.user_bytes = dict(self.user_bytes)
        other.wait_states = dict(self.wait_states)
        other.inputs = {}  # An estimate removes no outputs.
        other.progress = self.progress.copy()
        other.handed_over = dict(self.handed_over)
        other.user_handed_over = dict(self.user_handed_over)
        other.gpus = self.gpus.copy()
        other.shares = self.shares.copy()
        other.pack(None if self.packing is None else self.packing.copy())
        return other

    def pack(self, packing: Packing | None) -> None:
        self.packing = packing
        self.queue.job_of = None if packing is None else packing.queued_by

    def enter(self, task: Task, size: int) -> None:
        """Add a live task. `size`: its footprint, in bytes."""
        self.tasks[task.id] = task
        self.user_bytes[task.user] = self.user_bytes.get(task.user, 0) + size
        self.live_bytes += size
        if task.spec.sweep is not None:
            self.progress.enter(task, task.spec.sweep.id)
        for other in task.spec.inputs_from or ():
            self.inputs.setdefault(other, set()).add(task.id)

    def change_request(self, before: Task, after: Task, now: int) -> None:
        """Account for a live task's new specification; a waiting task moves to its new place."""
        self.resized(after.user, spec_footprint(after.spec) - spec_footprint(before.spec))
        old, new = before.spec, after.spec
        waits = after.id in self.queue or after.id in self.held_back
        if not waits and not self.sweeps.holds_back(after):
            return
        if (old.priority, old.hold, old.start_after) != (new.priority, new.hold, new.start_after):
            self.requeue(after, now)

    def resized(self, user: str, more: int) -> None:
        """Account for `more` bytes of memory that a live task of the user takes."""
        self.user_bytes[user] += more
        self.live_bytes += more

    def forget(self, task: Task) -> None:
        """Remove a task that has ended, and note that for those that wait for it or its sweep."""
        del self.tasks[task.id]
        size = task_footprint(task)
        take(self.user_bytes, task.user, size)
        self.live_bytes -= size
        self.leave(task)
        if (member := limited(task.spec.sweep)) is not None:
            self.sweeps.leave(task, member)
        self.blocked.remove(task)
        self.blocked.ended(task.id, task.status)
        if (in_sweep := task.spec.sweep) is not None:
            self.blocked.sweep_changed(in_sweep.id, self.progress.leave(task, in_sweep.id))
        for other in task.spec.inputs_from or ():
            self.inputs[other].discard(task.id)
            if not self.inputs[other]:
                del self.inputs[other]
        self.wait_states.pop(task.id, None)

    def wait(self, task: Task, now: int) -> None:
        """Put a task into the queue, as queued or prestaged; a task that is handed over or held
        back waits outside of it."""
        if task.prestaged and self.limits.cluster is not None:
            self.handed_over[task.id] = task.user
            self.user_handed_over[task.user] = self.user_handed_over.get(task.user, 0) + 1
        else:
            self._queue(task, now)
        if task.prestaged or task.id in self.wait_states:  # Every submit passes here.
            before = self.wait_state(task.id)
            handed_over = task.id in self.handed_over
            begun = waiting.begun(task, before, now, handed_over=handed_over)
            self._set_wait_state(task.id, begun)

    def _queue(self, task: Task, now: int) -> None:
        """Put a task into the queue, unless it is held back."""
        spec = task.spec
        asks = spec.hold or spec.start_after is not None or spec.after is not None
        blocked = asks and task.id in self.blocked
        if asks and (why := waiting.held_back(task, now, blocked=blocked)) and not task.prestaged:
            self.held_back.add(task, why)
            if (member := limited(task.spec.sweep)) is not None:
                self.sweeps.leave(task, member)  # Another one gets its slot meanwhile.
        elif spec.sweep is None or (member := limited(task.spec.sweep)) is None:
            self.queue.add(task, now)
        elif (since := self.sweeps.admit(task, member, now)) is not None:
            self.queue.add(task, now, since=since)

    def requeue(self, task: Task, now: int) -> None:
        """Move a waiting task to where it belongs by now."""
        self.leave(task)
        self._queue(task, now)

    def wait_state(self, task_id: str) -> Waiting:
        return self.wait_states.get(task_id) or self.held_back.get(task_id) or _QUEUED

    def due(self, now: int, elapsed: int = 0) -> None:
        """Let delayed and postponed tasks whose time has come wait for their resources, and tasks
        whose sweep has a free slot. `elapsed`: see `ReadyQueue.due`; a time of the user's is one
        of the wall clock."""
        self.queue.due(now, elapsed)
        if self.held_back.times:
            for task_id in self.held_back.due(now):
                self.held_back.remove(task_id)
                self._queue(self.tasks[task_id], now)
        if self.sweeps.changed:
            for task_id in self.sweeps.next(now):
                task = self.tasks[task_id]
                self.sweeps.admitted(task)
                self.queue.add(task, now, since=now)

    def next_due(self, now: int) -> int | None:
        """Return when the next delayed or postponed task becomes ready, or the next booking begins
        or ends; `None` if there is none."""
        delayed, postponed = self.queue.next_due(), self.held_back.next_due()
        booked = self.bookings.next_change(now) if self.bookings else None
        if delayed is None and postponed is None:
            return booked
        return min(time for time in (delayed, postponed, booked) if time is not None)

    def waiting_of(self, user: str) -> int:
        """Number of a user's waiting tasks, prestaged ones excluded."""
        return (
            self.queue.by_user.get(user, 0)
            + self.held_back.by_user.get(user, 0)
            + self.sweeps.waiting_by_user.get(user, 0)
        )

    def at_gate(self, task_id: str) -> None:
        """Note that a task's prestaged attempt waits at its gate."""
        self._set_wait_state(task_id, waiting.at_gate(self.wait_state(task_id)))

    def discard(self, task_id: str, *, protect: bool = False) -> None:
        """Note that a task's prestaged attempt is being removed. `protect`: see
        `Queued.protected`."""
        protected = protect or self.wait_state(task_id).protected
        self._set_wait_state(task_id, Discarding(protected))

    def restarted(self, now: int) -> None:
        """Update all sub-states after a restart of the server."""
        for task_id, before in self.wait_states.items():
            self.wait_states[task_id] = waiting.restarted(before, now)

    def _set_wait_state(self, task_id: str, state: Waiting) -> None:
        if state == _QUEUED:
            self.wait_states.pop(task_id, None)
        else:
            self.wait_states[task_id] = state

    def hold(self, task: Task) -> None:
        """Give a task its slot, and its resources unless its processes are gone already."""
        self.wait_states.pop(task.id, None)
        gone = task.status is Status.COLLECTING
        allocated = Resources() if gone else task.spec.resources
        self.held[task.id] = allocated
        self.user_slots[task.user] = self.user_slots.get(task.user, 0) + 1
        self.used = add(self.used, allocated)
        if gone:
            return
        if self.limits.cluster is None:
            self.gpus.allocate(task.id, task.gpu_uuids)
            if self.packing is not None:
                self.packing.hold(task, self.gpus.holders)
        if allocated.gpu:
            self.user_gpus[task.user] = self.user_gpus.get(task.user, 0) + allocated.gpu
        since = task.allocated_at or task.started_at or task.created_at
        cores = self.limits.capacity.cpu
        self.shares.begin(task.user, task.id, weight(allocated, cores), since)

    def release(self, task: Task, now: int) -> tuple[str, ...]:
        """Free a task's resources, but not its slot: its processes are gone. Return the UUIDs of
        the GPUs that have to be checked."""
        allocated = self.held[task.id]
        if allocated == Resources():
            return ()
        self.held[task.id] = Resources()
        self.used = subtract(self.used, allocated)
        self.shares.end(task.user, task.id, now)
        if not allocated.gpu:
            return ()
        take(self.user_gpus, task.user, allocated.gpu)
        if self.limits.cluster is not None:
            return ()  # The cluster checks its own.
        return self.gpus.release(task.id, task.gpu_uuids)

    def leave(self, task: Task) -> None:
        """Take a task out of the queue, or free its slot: nothing of its attempt is left."""
        if task.id in self.held:
            del self.held[task.id]
            take(self.user_slots, task.user, 1)
            if self.packing is not None:
                self.packing.leave(task.id)
        elif task.id in self.handed_over:
            take(self.user_handed_over, self.handed_over.pop(task.id), 1)
        elif task.id in self.held_back:
            self.held_back.remove(task.id)
        else:
            self.queue.remove(task.id)

    @property
    def capacity(self) -> Resources:
        """The capacity of the host, with all known GPUs; on a cluster, the limits of a
        request."""
        if self.limits.cluster is not None:
            return CLUSTER_CAPACITY
        has, gpus = self.limits.capacity, len(self.gpus.inventory)
        return has if has.gpu == gpus else replace(has, gpu=gpus)

    @property
    def free(self) -> Resources:
        """The resources that can be allocated; `gpu` counts GPUs with a free slot. Negative after a
        restart with less capacity than running tasks hold."""
        left = subtract(self.limits.capacity, self.used)
        return replace(left, gpu=len(self.gpus.free()))

    @property
    def free_slots(self) -> int:
        return self.limits.max_running - len(self.held)

    @property
    def may_start(self) -> bool:
        return self.launcher_available and not self.draining

    def active(self) -> Iterator[Task]:
        """Yield the tasks that have an attempt: those that hold a slot, and those with a prestaged
        attempt, also if it is being discarded."""
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

    def quota_left(self, user: str) -> int | None:
        """GPUs that a user's tasks may still get; `None` if there is no limit."""
        most = self.limits.user_gpus
        return most - self.user_gpus.get(user, 0) if most else None

    def is_over_gpu_quota(self, user: str, wanted: int, *, more: int = 0) -> bool:
        """Return whether a task that wants GPUs must wait for its user's other tasks, which are
        about to get `more` GPUs."""
        left = self.quota_left(user)
        return left is not None and 0 < wanted > left - more

    def slots_left(self, user: str) -> int | None:
        """Tasks of a user that may still start; `None` if there is no limit."""
        most = self.limits.user_running
        return most - self.user_slots.get(user, 0) if most else None
