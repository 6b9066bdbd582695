"""A recording goes through the core again, with the same or with other limits.

Requests come at their recorded times. An attempt takes as long as the recorded one did: its steps
are moved by as much as it gets its resources earlier or later. An attempt that was cut short by a
preemption runs as long as the next one that was not. A task that never ran in the recording runs as
long as those of its user and name did.
"""

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
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
from fetchml.core.scheduling.shares import Shares, weight
from fetchml.core.state import State
from fetchml.core.sweeps.progress import Failures
from fetchml.core.whatif.recording import Halted, Recording, Run, Step, Timed

SIGTERM = 15
NOT_THERE = "the replay"
"""Drains GPUs that a replay is to do without."""
LONGEST_DISCARD_MS = 10_000
"""Longest time that the removal of a prestaged attempt takes, unless it was prestaged when the
recorded one was."""


class Host(NamedTuple):
    """The host of a replay."""

    limits: Limits
    gpus: Sequence[Gpu]
    """Empty if it has plain slots."""
    drains: Sequence[GpuDrained]
    bookings: Sequence[Booking]


class _Next(NamedTuple):
    """An event that is due. The first two fields are its place in the order."""

    at: int
    seq: int
    number: int
    event: Event | Halted
    attempt: int
    """Number of the schedule of the task's attempt that it is a step of; 0 for other events."""
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
        self._outcomes = dict(recording.outcomes)
        self._failed = dict(recording.failed)
        self._due: list[_Next] = []
        self._numbers = count(1)
        self._timer: int | None = None
        self._schedules: dict[str, int] = {}
        """By task: the number of its attempt's schedule. Steps of an earlier one are dropped."""
        self._scheduled: dict[str, int] = {}
        """By task: the attempt that has a schedule."""
        self._used: dict[str, int] = {}
        """By task: how many recorded attempts are used up."""
        self._discarded: dict[str, int] = {}
        self._stopping: dict[str, int] = {}
        """By task: its attempt that is being stopped."""
        self._times = _run_times(recording)
        self._checks = sorted(at - key[1] for key, (at, _) in recording.checks.items())
        self._resuming = True
        self.assumed = 0
        self._state = self._restored()

    def run(self) -> None:
        since, until = self._recording.since, self._recording.until
        for event in (Recovered(since), GpusSeen(since, list(self._host.gpus))):
            self._apply(event)
        self._resuming = False
        for timed in self._recording.events:
            self._later(timed.event.now, timed.event, timed.seq)
        for drain in self._host.drains:
            self._later(max(since, drain.now), replace(drain, now=max(since, drain.now)))
        for at in sorted({max(since, each.created_at) for each in self._host.bookings}):
            known = [each for each in self._host.bookings if each.created_at <= at]
            self._later(at, BookingsChanged(at, known))
        self._later(since, LauncherChanged(since, available=True))
        while self._due and self._due[0].at <= until:
            due = heappop(self._due)
            if isinstance(due.event, TimePassed):
                if due.event.due != self._timer:
                    continue
                self._timer = None
            if due.attempt and self._schedules.get(due.event.task_id) != due.attempt:  # type: ignore[union-attr]
                continue
            if due.used:
                self._used[due.event.task_id] = due.used  # type: ignore[union-attr]
            if isinstance(due.event, Halted):
                self._halt(due.event)
            else:
                self._apply(due.event)

    def _restored(self) -> State:
        recording, limits = self._recording, self._host.limits
        shares = Shares(limits.half_life_ms)
        for use in recording.uses:
            wanted = weight(use.task.spec.resources, limits.capacity.cpu)
            shares.begin(use.task.user, use.task.id, wanted, use.begun_at)
            shares.end(use.task.user, use.task.id, use.ended_at)
        failures = {sweep_id: Failures(number) for sweep_id, number in self._failed.items()}
        return State.restore(
            limits, recording.live, shares.dump(), self._ends(recording.live), failures
        )

    def _apply(self, event: Event) -> None:
        if isinstance(event, Submitted):
            event = self._with_ends(event)
        decision = step(self._state, event)
        for task in decision.changes:
            self._changed(event.now, task)
            if task.status in ENDED and not task.superseded:
                self._outcomes[task.id] = task.status
                if task.status is Status.FAILED and (member := task.spec.sweep) is not None:
                    self._failed[member.id] = self._failed.get(member.id, 0) + 1
        for effect in decision.effects:
            self._carry_out(effect, event.now)
        if decision.next_due != self._timer:
            self._timer = due = decision.next_due
            if due is not None:
                at, seq = self._recording.fires_at(due)
                self._later(max(at, event.now), TimePassed(max(at, event.now), due), seq)

    def _with_ends(self, event: Submitted) -> Submitted:
        """Return a submission with the ends, in this replay, of what its tasks wait for."""
        sweeps = {each.spec.sweep.id for each in event.tasks if each.spec.sweep is not None}
        sweeps |= {
            each.sweep_id for task in event.tasks for each in task.spec.after or () if each.sweep_id
        }
        failures = {each: Failures(self._failed.get(each, 0)) for each in sweeps & {*self._failed}}
        return replace(event, ended=self._ends(event.tasks), failures=failures)

    def _ends(self, tasks: Sequence[Task]) -> dict[str, Status]:
        """Return the outcomes of ended tasks that these wait for. Of one that ended long before the
        period, none is known: the condition on it holds."""
        live = {task.id for task in self._recording.live}
        own = {task.id for task in tasks}
        ended: dict[str, Status] = {}
        for task in tasks:
            for each in task.spec.after or ():
                known = self._outcomes.get(each.task_id)
                if known is None and not self._is_live(each.task_id, live | own):
                    completes = holds(each.condition, Status.COMPLETED)
                    known = Status.COMPLETED if completes else Status.FAILED
                if known is not None and each.task_id:
                    ended[each.task_id] = known
        return ended

    def _is_live(self, task_id: str, starting: set[str]) -> bool:
        return task_id in starting if self._resuming else task_id in self._state.tasks

    def _halt(self, halted: Halted) -> None:
        """Stop an attempt as the server did; its next steps are recorded."""
        task = self._state.tasks.get(halted.task_id)
        if task is not None and task.attempt == halted.attempt and task.halt is None:
            self._state.tasks[task.id] = replace(task, halt=halted.halt)
        self._apply(TimePassed(halted.now))  # Whatever happens, more may start.

    def _carry_out(self, effect: Effect, now: int) -> None:
        match effect:
            case RunAttempt(task=task):
                self._run_attempt(task, now)
            case OpenGate(task_id=task_id):
                self._run_attempt(self._state.tasks[task_id], now)
            case StopAttempt(task_id=task_id):
                self._stop(self._state.tasks[task_id], now)
            case DiscardAttempt(task_id=task_id):
                self._discard(self._state.tasks[task_id], now)
            case CheckGpus(uuids=uuids):
                for uuid in uuids:
                    usual = self._checks[len(self._checks) // 2] if self._checks else 0
                    at, seq = self._recording.checks.get((uuid, now), (now + usual, 0))
                    self._later(at, GpuChecked(at, uuid), seq)

    def _run_attempt(self, task: Task, now: int) -> None:
        """Schedule the steps of an attempt that has its resources, or that is prestaged."""
        used = self._used.get(task.id, 0)
        runs = self._recording.runs.get(task.id, ())[used:]
        run = runs[0] if runs else None
        if task.prestaged and (run is None or run.allocated_at is not None or not run.is_over):
            return  # Its steps follow once it has its resources.
        if run is None:
            self._assume(task, now)
            return
        begun_at = run.allocated_at or run.begun_at
        by = 0 if self._resuming else now - begun_at
        if run.allocated_at is None and self._scheduled.get(task.id) == task.attempt:
            return  # The attempt is about to fail, as it did while it was prestaged.
        last = next((used + index for index, each in enumerate(runs) if each.ended_itself), None)
        steps = run.steps
        if last is not None and not run.ended_itself:
            steps = _continued(run, runs[last - used])
        self._schedule(task, steps, by, 0 if last is None else last + 1)

    def _assume(self, task: Task, now: int) -> None:
        """Let a task run as long as those like it. One without any runs to the end."""
        self.assumed += 1
        times = self._times.get((task.user, task.spec.job_name)) or self._times.get(None)
        ids, number = (task.id, task.attempt), self._new_schedule(task.id)
        self._later(now, Started(now, *ids, now), 0, number)
        if times:
            end = now + int(median(times))
            self._later(end, Ended(end, *ids, AttemptEnd(end, started_at=now, code=0)), 0, number)
            self._later(end, Collected(end, *ids), 1, number)

    def _stop(self, task: Task, now: int) -> None:
        if task.status is Status.COLLECTING or self._stopping.get(task.id) == task.attempt:
            return
        self._stopping[task.id] = task.attempt
        used = self._used.get(task.id, 0)
        runs = self._recording.runs.get(task.id, ())
        run = runs[used] if used < len(runs) else None
        if run is not None and run.stopped_at is not None and _may_follow(task, run):
            by = 0 if self._resuming else now - run.stopped_at
            self._schedule(task, run.after_stop, by, used + 1)
            return
        number = self._new_schedule(task.id)
        if task.status is Status.PREPARING:
            self._later(now, NeverStarted(now, task.id, task.attempt), 0, number)
            return
        end = AttemptEnd(now, task.started_at, signal=SIGTERM, stopped=True)
        self._later(now, Ended(now, task.id, task.attempt, end), 0, number)
        self._later(now, Collected(now, task.id, task.attempt), 1, number)

    def _discard(self, task: Task, now: int) -> None:
        index = self._discarded.get(task.id, 0)
        self._discarded[task.id] = index + 1
        at, seq = now, 0
        recorded = self._recording.discards.get(task.id, ())
        if index < len(recorded):
            seq, begun_at, over_at = recorded[index]
            if begun_at == task.begun_at:
                at = max(now, over_at)
            else:
                at += min(over_at - begun_at, LONGEST_DISCARD_MS)
        event = NeverStarted(at, task.id, task.attempt)
        self._later(at, event, seq, self._new_schedule(task.id))

    def _schedule(self, task: Task, steps: Sequence[Timed], by: int, used: int) -> None:
        """`used`: recorded attempts of the task that are used up once this one has ended."""
        number = self._new_schedule(task.id)
        self._scheduled[task.id] = task.attempt
        for seq, event in steps:
            moved = _moved(event, by, task.attempt)  # type: ignore[arg-type]
            is_end = isinstance(event, Ended | NeverStarted)
            self._later(moved.now, moved, seq, number, used if is_end else 0)

    def _new_schedule(self, task_id: str) -> int:
        number = self._schedules[task_id] = next(self._numbers)
        return number

    def _later(
        self, at: int, event: Event | Halted, seq: int = 0, attempt: int = 0, used: int = 0
    ) -> None:
        heappush(self._due, _Next(at, seq, next(self._numbers), event, attempt, used))


def _run_times(recording: Recording) -> Mapping[tuple[str, str] | None, list[int]]:
    """Return the recorded run times by user and name, and of all tasks by `None`."""
    specs = {task.id: (task.user, task.spec.job_name) for task in recording.live}
    for _, event in recording.events:
        if isinstance(event, Submitted):
            specs |= {task.id: (task.user, task.spec.job_name) for task in event.tasks}
    times: dict[tuple[str, str] | None, list[int]] = {}
    for task_id, runs in recording.runs.items():
        for run in runs:
            for _, event in run.steps:
                if isinstance(event, Ended) and event.end.started_at is not None:
                    took = max(0, event.end.at - event.end.started_at)
                    times.setdefault(specs.get(task_id), []).append(took)
                    times.setdefault(None, []).append(took)
    return times


def _continued(run: Run, other: Run) -> list[Timed]:
    """Return the steps of an attempt that was stopped, as if it had run as long as another one, and
    longer than until it was stopped."""
    begun_at, other_begun = run.allocated_at or run.begun_at, other.allocated_at or other.begun_at
    is_started = any(isinstance(timed.event, Started) for timed in run.steps)
    rest = [each for each in other.steps if not (is_started and isinstance(each.event, Started))]
    by = max(begun_at - other_begun, (run.stopped_at or 0) + 1 - rest[0].event.now)
    return [*run.steps, *(Timed(seq, _moved(event, by, 0)) for seq, event in rest)]  # type: ignore[arg-type]


def _may_follow(task: Task, run: Run) -> bool:
    """Whether the recorded steps after a stop fit the task: a command that runs has an end."""
    never_ran = run.is_over and not isinstance(run.after_stop[-1].event, Collected)
    return task.status is Status.PREPARING or not never_ran


def _moved(event: Step, by: int, attempt: int) -> Step:
    """Return a step at another time, of another attempt."""
    match event:
        case Halted():
            return event._replace(now=event.now + by, attempt=attempt)
        case Started():
            at = event.started_at + by
            return replace(event, now=event.now + by, attempt=attempt, started_at=at)
        case Ended(end=end):
            begun = None if end.started_at is None else end.started_at + by
            end = replace(end, at=end.at + by, started_at=begun)
            return replace(event, now=event.now + by, attempt=attempt, end=end)
        case _:
            return replace(event, now=event.now + by, attempt=attempt)
