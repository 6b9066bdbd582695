"""A period of the journal, as the events that led to it.

The journal has the versions of tasks, not events. Most events follow from two successive versions:
what users requested, and the steps of each attempt. The rest is not recorded: when a GPU was found
free after a task, when a timer fired, when the server or the launcher was away. A decision that
allocates resources and has no recorded cause is evidence of the first two.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from fetchml.core.events import (
    Collected,
    Ended,
    Event,
    ManyCancelRequested,
    NeverStarted,
    Started,
    Submitted,
    UpdateRequested,
)
from fetchml.core.model import (
    ENDED,
    HOLDING,
    Actor,
    AttemptEnd,
    FailureReason,
    Halt,
    HaltCause,
    Requeue,
    Status,
    Task,
)
from fetchml.core.requests.update import TaskUpdate

TIMER_LAG_MS = 1_000
"""Longest time by which a timer is assumed to have fired late."""


class Halted(NamedTuple):
    """The server stopped an attempt for a reason that only the recording has: a GPU's fault, an
    idle GPU, a user's interruption."""

    now: int
    task_id: str
    attempt: int
    halt: Halt


Step = Started | NeverStarted | Ended | Collected | Halted
"""A step of an attempt."""


class Timed(NamedTuple):
    seq: int
    """Number of the change that shows it: orders the events of a millisecond."""
    event: Event | Halted


@dataclass(slots=True)
class Run:
    """One recorded attempt that was not discarded."""

    begun_at: int
    allocated_at: int | None
    """`None` if it ended while it was prestaged."""
    stopped_at: int | None = None
    """When a cancel or a preemption stopped it; `None` if it ended by itself."""
    steps: list[Timed] = field(default_factory=list)
    """Its steps, those after `stopped_at` excluded."""
    after_stop: list[Timed] = field(default_factory=list)
    is_over: bool = False
    """Nothing is left of it at the end of the recording."""

    @property
    def ended_itself(self) -> bool:
        return self.is_over and self.stopped_at is None


class Discard(NamedTuple):
    """A recorded attempt that was discarded while it was prestaged."""

    seq: int
    begun_at: int
    over_at: int


class Use(NamedTuple):
    """Use of the host by an attempt that ended before the period."""

    task: Task
    begun_at: int
    ended_at: int


@dataclass(slots=True)
class Recording:
    """Times are in milliseconds since the epoch."""

    since: int
    until: int
    live: list[Task]
    """Live tasks at `since`, as they were."""
    events: list[Timed]
    """Events from outside: requests of users."""
    runs: Mapping[str, Sequence[Run]]
    """By task, in their order."""
    discards: Mapping[str, Sequence[Discard]]
    checks: Mapping[tuple[str, int], tuple[int, int]]
    """By GPU and time of its release: the time and the number of the change that show that it was
    found free."""
    uncaused: list[tuple[int, int]]
    """Times and numbers of the allocations that have no recorded cause."""
    outcomes: dict[str, Status]
    """Of tasks that ended before the period."""
    failed: dict[str, int]
    """Number of failed tasks by sweep, before the period."""
    uses: list[Use]
    guessed: int
    """Tasks of `live` whose state then is older than the journal and follows from a later one."""

    def fires_at(self, due: int) -> tuple[int, int]:
        """Return when a timer fired, and the number of the change that shows it."""
        index = bisect_left(self.uncaused, (due, 0))
        if index < len(self.uncaused) and self.uncaused[index][0] <= due + TIMER_LAG_MS:
            return self.uncaused[index]
        return due, 0


class Recorder:
    """Makes a recording of changes, which come in their order."""

    def __init__(self, since: int, until: int, live: Iterable[Task], past: Iterable[Task]) -> None:
        """`live`: the tasks that were live at `since`, in the version of that time. `past`: tasks
        that ended before."""
        self._since = since
        self._until = until
        self._known = {task.id: task for task in live}
        self._live = dict(self._known)
        self._guessed = 0
        self._events: list[Timed] = []
        self._last_seq = 0
        """Of the last change that the newest event was made of."""
        self._submits: list[Task] = []
        self._replaced: list[Task] = []
        self._cancelled: list[str] = []
        self._cancelled_by: Actor | None = None
        self._open: dict[str, Run] = {}
        self._runs: dict[str, list[Run]] = {}
        self._discards: dict[str, list[Discard]] = {}
        self._released: dict[str, int] = {}
        """Times of the last release by GPU."""
        self._allocations: list[tuple[int, int, dict[str, int]]] = []
        """Times, numbers, and the releases of the GPUs that were allocated."""
        self._causes = set[int]()
        self._past = list(past)
        for task in self._known.values():
            self._resume(task)

    @property
    def tasks(self) -> int:
        return len(self._known)

    def add(self, seq: int, at: int, task: Task) -> None:
        before = self._known.get(task.id)
        if before is None:
            if task.status in ENDED and (task.ended_at or 0) <= self._since:
                return
            if task.status is Status.QUEUED and not task.attempt and task.created_at > self._since:
                self._known[task.id] = task
                self._submitted(seq, at, task)
                return
            before = self._live[task.id] = _as_of(task, self._since)
            self._guessed += 1
            self._resume(before)
        self._known[task.id] = task
        if before.status not in ENDED:
            self._requested(seq, at, before, task)
            self._moved(seq, at, before, task)
        elif task.superseded and not before.superseded and self._follows(seq, at, Submitted):
            self._replaced.append(task)
            self._last_seq = seq

    def recording(self) -> Recording:
        uncaused = [each for each in self._allocations if each[0] not in self._causes]
        checks = {
            (uuid, released): (at, seq)
            for at, seq, gpus in uncaused
            for uuid, released in gpus.items()
        }
        failed: dict[str, int] = {}
        for task in self._past:
            if task.status is Status.FAILED and task.spec.sweep and not task.superseded:
                failed[task.spec.sweep.id] = failed.get(task.spec.sweep.id, 0) + 1
        return Recording(
            self._since,
            self._until,
            sorted(self._live.values(), key=lambda task: (task.created_at, task.id)),
            self._events,
            self._runs,
            self._discards,
            checks,
            sorted((at, seq) for at, seq, _ in uncaused),
            {task.id: task.status for task in self._past},
            failed,
            sorted(self._uses(), key=lambda use: use.ended_at),
            self._guessed,
        )

    def _uses(self) -> Iterator[Use]:
        """Yield the attempts that ended before the period."""
        for task in (*self._past, *self._live.values()):
            for each in task.earlier_attempts:
                if each.allocated_at is not None and each.exited_at <= self._since:
                    yield Use(task, each.allocated_at, each.exited_at)
            begun, end = task.allocated_at or task.started_at, task.end
            if begun is not None and end is not None and end.at <= self._since:
                yield Use(task, begun, end.at)

    def _resume(self, task: Task) -> None:
        """Begin the recording of an attempt that was under way at the start."""
        if task.status in HOLDING:
            allocated_at = None if task.prestaged else task.allocated_at
            run = self._begin(task, task.begun_at or self._since, allocated_at)
            preempted = task.halt is not None and task.halt.cause is HaltCause.PREEMPTED
            if task.status is not Status.COLLECTING and (task.cancel is not None or preempted):
                run.stopped_at = self._since

    def _begin(self, task: Task, at: int, allocated_at: int | None) -> Run:
        run = self._open[task.id] = Run(at, allocated_at)
        self._runs.setdefault(task.id, []).append(run)
        return run

    def _follows(self, seq: int, at: int, kind: type[Event]) -> bool:
        """Whether a change is one more of the newest event."""
        newest = self._events[-1].event if self._events else None
        return isinstance(newest, kind) and newest.now == at and self._last_seq == seq - 1

    def _happened(self, seq: int, event: Event) -> None:
        self._causes.add(event.now)
        self._last_seq = seq
        if event.now <= self._until:
            self._events.append(Timed(seq, event))

    def _submitted(self, seq: int, at: int, task: Task) -> None:
        new = replace(task, after_met=False)
        if self._follows(seq, at, Submitted):
            self._submits.append(new)
            self._last_seq = seq
        else:
            self._submits, self._replaced = [new], []
            self._happened(seq, Submitted(at, self._submits, replaced=self._replaced))

    def _requested(self, seq: int, at: int, before: Task, task: Task) -> None:
        """Find what users requested."""
        if task.cancel is not None and before.cancel is None:
            if (run := self._open.get(task.id)) is not None:
                run.stopped_at = run.stopped_at or at
            by = task.cancel.actor
            if self._cancelled_by == by and self._follows(seq, at, ManyCancelRequested):
                self._cancelled.append(task.id)
                self._last_seq = seq
            else:
                self._cancelled, self._cancelled_by = [task.id], by
                self._happened(seq, ManyCancelRequested(at, self._cancelled, by))
        old, new = before.spec, task.spec
        update = TaskUpdate(
            priority=new.priority if new.priority != old.priority else None,
            hold=new.hold if new.hold != old.hold else None,
            start_after=(new.start_after or 0) if new.start_after != old.start_after else None,
            timeout_seconds=(
                new.timeout_seconds if new.timeout_seconds != old.timeout_seconds else None
            ),
        )
        if update != TaskUpdate():
            self._happened(seq, UpdateRequested(at, task.id, update))

    def _moved(self, seq: int, at: int, before: Task, task: Task) -> None:
        """Find the steps of the task's attempt."""
        if task.attempt != before.attempt:
            self._begin(task, at, None)
        run = self._open.get(task.id)
        if run is None:
            return
        if run.allocated_at is None and task.status in HOLDING and not task.prestaged:
            run.allocated_at = at
            taken = {uuid: self._released.pop(uuid, 0) for uuid in task.gpu_uuids}
            self._allocations.append((at, seq, taken))
        if task.halt is not None and before.halt is None:
            if task.halt.cause is HaltCause.PREEMPTED:
                run.stopped_at = run.stopped_at or at
            else:
                self._step(run, seq, Halted(at, task.id, task.attempt, task.halt))
        match before.status, task.status:
            case Status.PREPARING, Status.RUNNING:
                started_at = task.started_at or at
                self._step(run, seq, Started(at, task.id, task.attempt, started_at))
            case Status.RUNNING, Status.COLLECTING:
                end = task.end or AttemptEnd(at, lost="end not recorded")
                self._step(run, seq, Ended(at, task.id, task.attempt, end))
                self._released |= dict.fromkeys(before.gpu_uuids, at)
            case Status.COLLECTING, Status.QUEUED | Status.COMPLETED | Status.FAILED:
                failed = _reason(task) is FailureReason.COLLECT_FAILED
                error = "its outputs could not be kept" if failed else None
                self._over(run, seq, Collected(at, task.id, task.attempt, error))
            case Status.PREPARING, Status.QUEUED if _cause(task) is Requeue.DISCARDED:
                self._runs[task.id].remove(self._open.pop(task.id))
                discard = Discard(seq, before.begun_at or at, at)
                self._discards.setdefault(task.id, []).append(discard)
                self._causes.add(at)
            case Status.PREPARING, Status.QUEUED | Status.FAILED:
                self._over(run, seq, _never_started(at, before, task))
                if not before.prestaged:
                    self._released |= dict.fromkeys(before.gpu_uuids, at)

    def _step(self, run: Run, seq: int, step: Step) -> None:
        steps = run.steps if run.stopped_at is None else run.after_stop
        steps.append(Timed(seq, step))
        self._causes.add(step.now)

    def _over(self, run: Run, seq: int, step: Step) -> None:
        self._step(run, seq, step)
        run.is_over = True
        del self._open[step.task_id]


def _cause(task: Task) -> Requeue | None:
    """Return why the task was queued again."""
    return task.earlier_attempts[-1].cause if task.earlier_attempts else None


def _reason(task: Task) -> FailureReason | None:
    """Return why the task's last attempt failed; `None` if it did not."""
    if task.status is not Status.QUEUED:
        return task.failure_reason
    return task.earlier_attempts[-1].failure_reason if task.earlier_attempts else None


def _never_started(at: int, before: Task, task: Task) -> NeverStarted | Ended:
    """Return the event that ended an attempt before its command was started."""
    reason, error = _reason(task), task.error or "the attempt failed"
    if reason is FailureReason.LOST:
        return Ended(at, task.id, before.attempt, AttemptEnd(at, lost=error))
    if reason is FailureReason.START_FAILED:
        return Ended(at, task.id, before.attempt, AttemptEnd(at, start_error=error))
    if reason is None or reason is FailureReason.CANCELLED:
        return NeverStarted(at, task.id, before.attempt)
    return NeverStarted(at, task.id, before.attempt, error, permanent=task.status is Status.FAILED)


def _as_of(task: Task, since: int) -> Task:
    """Return how a task was at a time before the given version, which is its first recorded one."""
    task = replace(
        task,
        cancel=None,
        halt=None,
        ended_at=None,
        failure_reason=None,
        error=None,
        exit_code=None,
    )
    if task.released_at is not None and task.released_at > since:
        task = replace(task, released_at=None, after_met=False)
    if task.end is not None and task.end.at > since:
        task = replace(task, end=None)
    if task.started_at is not None and task.started_at > since:
        task = replace(task, started_at=None)
    if task.begun_at is None or task.begun_at > since:
        return replace(
            task,
            status=Status.QUEUED,
            attempt=task.attempt - (task.begun_at is not None),
            gpu_uuids=(),
            prestaged=False,
            allocated_at=None,
            worker_id=None,
            begun_at=None,
        )
    if task.allocated_at is None or task.allocated_at > since:
        return replace(task, status=Status.PREPARING, prestaged=True, allocated_at=None)
    if task.started_at is None:
        return replace(task, status=Status.PREPARING)
    return replace(task, status=Status.RUNNING if task.end is None else Status.COLLECTING)
