"""A recording goes through the core again, with the same or with other limits.

Requests come at their recorded times. An attempt takes as long as the recorded one did: its steps
are moved by as much as it gets its resources earlier or later. An attempt that was cut short by a
preemption runs as long as the next one that was not. A task that never ran in the recording runs as
long as those of its user and name did, or as all tasks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import chain, count
from statistics import median
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.core.bookings.booking import Booking
from fetchml.core.dependencies.blocked import holds
from fetchml.core.events import (
    BookingsChanged,
    CheckGpus,
    Collected,
    DiscardAttempt,
    Effect,
    Ended,
    Event,
    GpuChecked,
    GpuDrained,
    GpusSeen,
    LauncherChanged,
    NeverStarted,
    OpenGate,
    Recovered,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.gpus.allocator import Gpu
from fetchml.core.model import ENDED, AttemptEnd, Status, Task
from fetchml.core.reactor import step
from fetchml.core.scheduling.resources import Limits
from fetchml.core.scheduling.shares import Shares, Usage, weight
from fetchml.core.state import State
from fetchml.core.sweeps.progress import Failures
from fetchml.core.whatif.recording import Halted, Recording, Run, Step

SIGTERM = 15


class Host(NamedTuple):
    """The host of a replay."""

    limits: Limits
    gpu_count: int
    """Its GPUs, or plain slots."""
    gpus: Sequence[Gpu]
    """Empty if it has plain slots. Those beyond `gpu_count` are drained."""
    drains: Sequence[GpuDrained]
    bookings: Sequence[Booking]


class _Next(NamedTuple):
    """An event that is due. The first two fields are its place in the order."""

    at: int
    seq: int
    number: int
    event: Event | Halted
    task_id: str
    """The task whose attempt it is a step of; empty for other events."""
    schedule: int
    """Of the attempt. Steps of an earlier one are dropped."""
    used: int
    """Recorded attempts of the task that are used up with it; 0: as many as before."""


def replay(recording: Recording, host: Host, changed: Callable[[int, Task], None]) -> int:
    """Replay a recording. `changed`: takes each new version of a task, and its time. Return how
    many attempts ran for an assumed time, because the recording has none of their task."""
    replayed = _Replay(recording, host, changed)
    replayed.run()
    return replayed.assumed


class _Replay:
    def __init__(
        self, recording: Recording, host: Host, changed: Callable[[int, Task], None]
    ) -> None:
        self._recording = recording
        self._host = host
        self._changed = changed
        self._outcomes = {**_long_ended(recording), **{t.id: t.status for t in recording.past}}
        self._failed: dict[str, set[str]] = {}
        """Failed tasks by sweep."""
        for task in recording.past:
            self._count(task)
        self._due: list[_Next] = []
        self._numbers = count(1)
        self._timer: int | None = None
        self._schedules: dict[str, int] = {}
        """The newest one by task."""
        self._used: dict[str, int] = {}
        """By task: how many recorded attempts are used up."""
        self._stopping: dict[str, int] = {}
        """By task: its attempt that is being stopped."""
        checks = sorted(at - released for (_, released), (at, _) in recording.checks.items())
        self._usual_check = checks[len(checks) // 2] if checks else 0
        """Time until a GPU is found free."""
        self._resuming = True
        self.assumed = 0
        limits, past = host.limits, _past_use(recording, host.limits)
        live = sorted(recording.live, key=lambda task: (task.created_at, task.id))
        self._state = State.restore(limits, live, past, self._outcomes, self._failures())

    def run(self) -> None:
        since, until, host = self._recording.since, self._recording.until, self._host
        self._apply(Recovered(since))
        self._apply(GpusSeen(since, list(host.gpus)))
        self._resuming = False
        for seq, event in self._recording.events:
            self._later(event.now, event, seq)
        for drain in host.drains:
            self._later(max(since, drain.now), replace(drain, now=max(since, drain.now)))
        for at in sorted({max(since, each.created_at) for each in host.bookings}):
            known = [each for each in host.bookings if each.created_at <= at]
            self._later(at, BookingsChanged(at, known))
        self._later(since, LauncherChanged(since, available=True))
        while self._due and self._due[0].at <= until:
            due = heappop(self._due)
            if due.schedule != self._schedules.get(due.task_id, 0):
                continue
            if isinstance(due.event, TimePassed):
                if due.event.due != self._timer:
                    continue
                self._timer = None
            if due.used:
                self._used[due.task_id] = due.used
            if isinstance(due.event, Halted):
                self._halt(due.event)
            else:
                self._apply(due.event)

    def _apply(self, event: Event) -> None:
        if isinstance(event, Submitted):
            event = replace(event, ended=self._outcomes, failures=self._failures())
        decision = step(self._state, event)
        for task in decision.changes:
            self._changed(event.now, task)
            if task.status in ENDED:
                self._outcomes[task.id] = task.status
                self._count(task)
        for effect in decision.effects:
            self._carry_out(effect, event.now)
        if decision.next_due != self._timer:
            self._timer = due = decision.next_due
            if due is not None:
                at = max(due, event.now)
                self._later(at, TimePassed(at, due))

    def _count(self, task: Task) -> None:
        """Count a task that has ended in its sweep."""
        if task.status is Status.FAILED and task.spec.sweep is not None:
            failed = self._failed.setdefault(task.spec.sweep.id, set())
            (failed.discard if task.superseded else failed.add)(task.id)

    def _failures(self) -> dict[str, Failures]:
        return {sweep_id: Failures(len(ids)) for sweep_id, ids in self._failed.items()}

    def _halt(self, halted: Halted) -> None:
        """Stop an attempt as the server did; its next steps are recorded."""
        task = self._state.tasks.get(halted.task_id)
        if task is not None and task.attempt == halted.attempt and task.halt is None:
            self._state.tasks[task.id] = replace(task, halt=halted.halt)

    def _carry_out(self, effect: Effect, now: int) -> None:
        match effect:
            case RunAttempt(task=task):
                self._run_attempt(task, now)
            case OpenGate(task_id=task_id):
                self._run_attempt(self._state.tasks[task_id], now, opened=True)
            case StopAttempt(task_id=task_id):
                self._stop(self._state.tasks[task_id], now)
            case DiscardAttempt(task_id=task_id):
                task = self._state.tasks[task_id]
                at, seq = self._recording.discards.get((task_id, task.begun_at), (now, 0))
                self._schedule(task, [(seq, NeverStarted(at, task_id, task.attempt))])
            case CheckGpus(uuids=uuids):
                for uuid in uuids:
                    usual = now + self._usual_check, 0
                    at, seq = self._recording.checks.get((uuid, now), usual)
                    self._later(at, GpuChecked(at, uuid), seq)

    def _run_attempt(self, task: Task, now: int, *, opened: bool = False) -> None:
        """Schedule the steps of an attempt that has its resources, or that is prestaged."""
        used = self._used.get(task.id, 0)
        runs = self._recording.runs.get(task.id, [])[used:]
        if task.prestaged and not (runs and runs[0].failed_ahead):
            return  # Its steps follow once it has its resources.
        if not runs or (runs[0].allocated_at is None and not runs[0].is_over):
            self._assume(task, now)
            return
        run = runs[0]
        if opened and run.failed_ahead:
            return  # The attempt is about to fail, as it did while it was prestaged.
        last = next((used + n for n, each in enumerate(runs, 1) if each.ended_itself), 0)
        steps = run.steps
        if last and not run.ended_itself:
            steps = _continued(run, runs[last - used - 1])
        self._schedule(task, steps, now - (run.allocated_at or run.begun_at), last)

    def _assume(self, task: Task, now: int) -> None:
        """Let a task run as long as those like it. One without any runs to the end."""
        self.assumed += 1
        known = self._recording.run_times
        times = known.get((task.user, task.spec.job_name)) or [*chain.from_iterable(known.values())]
        ids = task.id, task.attempt
        steps: list[tuple[int, Step]] = [(0, Started(now, *ids, now))]
        if times:
            at = now + int(median(times))
            end = AttemptEnd(at, started_at=now, code=0)
            steps += [(0, Ended(at, *ids, end)), (1, Collected(at, *ids))]
        self._schedule(task, steps)

    def _stop(self, task: Task, now: int) -> None:
        if task.status is Status.COLLECTING or self._stopping.get(task.id) == task.attempt:
            return
        self._stopping[task.id] = task.attempt
        used, ids = self._used.get(task.id, 0), (task.id, task.attempt)
        runs = self._recording.runs.get(task.id, [])[used:]
        if runs and runs[0].stopped_at is not None and _may_follow(task, runs[0]):
            self._schedule(task, runs[0].after_stop, now - runs[0].stopped_at, used + 1)
        elif task.status is Status.PREPARING:
            self._schedule(task, [(0, NeverStarted(now, *ids))])
        else:
            end = AttemptEnd(now, task.started_at, signal=SIGTERM, stopped=True)
            self._schedule(task, [(0, Ended(now, *ids, end)), (1, Collected(now, *ids))])

    def _schedule(
        self, task: Task, steps: Sequence[tuple[int, Step]], by: int = 0, used: int = 0
    ) -> None:
        """`used`: recorded attempts of the task that are used up once this one has ended."""
        schedule = self._schedules[task.id] = next(self._numbers)
        by = 0 if self._resuming else by
        for seq, event in steps:
            moved = _moved(event, by, task.attempt)
            is_end = isinstance(event, Ended | NeverStarted)
            self._later(moved.now, moved, seq, task.id, schedule, used if is_end else 0)

    def _later(
        self,
        at: int,
        event: Event | Halted,
        seq: int = 0,
        task_id: str = "",
        schedule: int = 0,
        used: int = 0,
    ) -> None:
        heappush(self._due, _Next(at, seq, next(self._numbers), event, task_id, schedule, used))


def _long_ended(recording: Recording) -> dict[str, Status]:
    """Return an outcome of each task that others wait for and that is not in the recording: one
    with which the condition holds."""
    tasks = list(recording.live)
    for _, event in recording.events:
        if isinstance(event, Submitted):
            tasks += event.tasks
    known = {task.id for task in tasks}
    conditions = [each for task in tasks for each in task.spec.after or ()]
    return {
        each.task_id: Status.COMPLETED if holds(each.condition, Status.COMPLETED) else Status.FAILED
        for each in conditions
        if each.task_id not in known
    }


def _past_use(recording: Recording, limits: Limits) -> Mapping[str, Usage]:
    """Return the use of attempts that ended before the period, for fair shares."""
    shares = Shares(limits.half_life_ms)
    for ended_at, begun_at, task in sorted(_uses(recording), key=lambda use: use[0]):
        wanted = weight(task.spec.resources, limits.capacity.cpu)
        shares.begin(task.user, task.id, wanted, begun_at)
        shares.end(task.user, task.id, ended_at)
    return shares.dump()


def _uses(recording: Recording) -> Iterator[tuple[int, int, Task]]:
    for task in (*recording.past, *recording.live):
        attempts = [(each.exited_at, each.allocated_at) for each in task.earlier_attempts]
        for ended_at, begun_at in (*attempts, (task.exited_at, task.allocated_at)):
            if begun_at is not None and ended_at is not None and ended_at <= recording.since:
                yield ended_at, begun_at, task


def _continued(run: Run, other: Run) -> list[tuple[int, Step]]:
    """Return the steps of an attempt that was stopped, as if it had run as long as another one, and
    longer than until it was stopped."""
    begun_at, other_begun = run.allocated_at or run.begun_at, other.allocated_at or other.begun_at
    is_started = any(isinstance(event, Started) for _, event in run.steps)
    rest = [each for each in other.steps if not (is_started and isinstance(each[1], Started))]
    by = max(begun_at - other_begun, (run.stopped_at or 0) + 1 - rest[0][1].now)
    return [*run.steps, *((seq, _moved(event, by, 0)) for seq, event in rest)]


def _may_follow(task: Task, run: Run) -> bool:
    """Whether the recorded steps after a stop fit the task: a command that runs has an end."""
    never_ran = run.is_over and not isinstance(run.after_stop[-1][1], Collected)
    return task.status is Status.PREPARING or not never_ran


def _moved(event: Step, by: int, attempt: int) -> Step:
    """Return a step at another time, of another attempt."""
    event = replace(event, now=event.now + by, attempt=attempt)
    if isinstance(event, Started):
        return replace(event, started_at=event.started_at + by)
    if isinstance(event, Ended):
        end = event.end
        begun = None if end.started_at is None else end.started_at + by
        return replace(event, end=replace(end, at=end.at + by, started_at=begun))
    return event
