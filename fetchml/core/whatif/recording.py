"""A period of the journal, as the events that led to it.

The journal has the versions of tasks, not events. Most events follow from two successive versions:
what users requested, and the steps of each attempt. When a GPU was found free after a task is not
recorded, but an allocation of that GPU that has no recorded cause shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
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


class Halted(msgspec.Struct, frozen=True):
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
    event: Event


@dataclass(slots=True)
class Run:
    """One recorded attempt that was not discarded."""

    begun_at: int
    allocated_at: int | None
    """`None` if it ended while it was prestaged."""
    stopped_at: int | None = None
    """When a cancel or a preemption stopped it; `None` if it ended by itself."""
    steps: list[tuple[int, Step]] = field(default_factory=list)
    """As Timed. Those after `stopped_at` are excluded."""
    after_stop: list[tuple[int, Step]] = field(default_factory=list)
    is_over: bool = False
    """Nothing is left of it at the end of the recording."""

    @property
    def ended_itself(self) -> bool:
        return self.is_over and self.stopped_at is None

    @property
    def failed_ahead(self) -> bool:
        """Whether it failed while it was prestaged."""
        return self.is_over and self.allocated_at is None


@dataclass(slots=True)
class Recording:
    """Times are in milliseconds since the epoch."""

    since: int
    until: int
    live: list[Task]
    """Live tasks at `since`, as they were."""
    past: Sequence[Task]
    """Tasks that had ended by then, as far back as they count for fair shares."""
    guessed: int = 0
    """Tasks of `live` whose state then is older than the journal and follows from a later one."""
    events: list[Timed] = field(default_factory=list)
    """Requests of users."""
    runs: dict[str, list[Run]] = field(default_factory=dict)
    """By task, in their order."""
    discards: dict[tuple[str, int | None], tuple[int, int]] = field(default_factory=dict)
    """By task and begin of a prestaged attempt: when its removal was over, and the number of the
    change."""
    checks: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """By GPU and time of its release: when it was found free, and the number of the change."""
    run_times: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """Run times of commands in ms, by user and job name."""


class Recorder:
    """Makes a recording of changes, which come in their order."""

    def __init__(self, since: int, until: int, before: Sequence[Task]) -> None:
        """`before`: tasks as they were at `since`, ended ones included."""
        live = [task for task in before if task.status not in ENDED]
        past = [task for task in before if task.status in ENDED]
        self.recording = Recording(since, until, live, past)
        self._known = {task.id: task for task in live}
        self._caused_at = 0
        """Time of the newest event."""
        self._last_seq = 0
        """Of the last change that the newest request was made of."""
        self._submits: list[Task] = []
        self._replaced: list[Task] = []
        self._cancelled: list[str] = []
        self._cancelled_by: Actor | None = None
        self._open: dict[str, Run] = {}
        self._released: dict[str, int] = {}
        """Times of the last release by GPU."""
        for task in live:
            self._resume(task)

    @property
    def tasks(self) -> int:
        return len(self._known)

    def add(self, seq: int, at: int, task: Task) -> None:
        since = self.recording.since
        before = self._known.get(task.id)
        if before is None:
            if task.status in ENDED and (task.ended_at or 0) <= since:
                return
            if task.status is Status.QUEUED and not task.attempt and task.created_at > since:
                self._known[task.id] = task
                self._submitted(seq, at, task)
                return
            before = _as_of(task, since)
            self.recording.live.append(before)
            self.recording.guessed += 1
            self._resume(before)
        self._known[task.id] = task
        if before.status not in ENDED:
            self._requested(seq, at, before, task)
            self._moved(seq, at, before, task)
        elif task.superseded and not before.superseded and self._follows(seq, at, Submitted):
            self._replaced.append(task)
            self._last_seq = seq

    def _resume(self, task: Task) -> None:
        """Begin the recording of an attempt that was under way at the start."""
        if task.status in HOLDING:
            since = self.recording.since
            run = self._begin(task, task.begun_at or since, task.allocated_at)
            preempted = task.halt is not None and task.halt.cause is HaltCause.PREEMPTED
            if task.status is not Status.COLLECTING and (task.cancel is not None or preempted):
                run.stopped_at = since

    def _begin(self, task: Task, at: int, allocated_at: int | None) -> Run:
        run = self._open[task.id] = Run(at, None if task.prestaged else allocated_at)
        self.recording.runs.setdefault(task.id, []).append(run)
        return run

    def _follows(self, seq: int, at: int, kind: type[Event]) -> bool:
        """Whether a change is one more of the newest request."""
        newest = self.recording.events[-1].event if self.recording.events else None
        return isinstance(newest, kind) and newest.now == at and self._last_seq == seq - 1

    def _happened(self, seq: int, event: Event) -> None:
        self._caused_at = event.now
        self._last_seq = seq
        self.recording.events.append(Timed(seq, event))

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
        names = ("priority", "hold", "start_after", "timeout_seconds")
        pairs = {name: (getattr(old, name), getattr(new, name)) for name in names}
        changed = {name: now or 0 for name, (was, now) in pairs.items() if now != was}
        if changed:  # 0 removes a time.
            update = replace(TaskUpdate(), **changed)
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
            for uuid in task.gpu_uuids:
                released = self._released.pop(uuid, None)
                if released is not None and self._caused_at != at:
                    self.recording.checks[uuid, released] = at, seq
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
                if end.started_at is not None and run.stopped_at is None:
                    kind = task.user, task.spec.job_name
                    took = max(0, end.at - end.started_at)
                    self.recording.run_times.setdefault(kind, []).append(took)
            case Status.COLLECTING, Status.QUEUED | Status.COMPLETED | Status.FAILED:
                failed = _reason(task) is FailureReason.COLLECT_FAILED
                error = "its outputs could not be kept" if failed else None
                self._over(run, seq, Collected(at, task.id, task.attempt, error))
            case Status.PREPARING, Status.QUEUED if _is_discarded(task):
                self.recording.runs[task.id].remove(self._open.pop(task.id))
                self.recording.discards[task.id, before.begun_at] = at, seq
                self._caused_at = at
            case Status.PREPARING, Status.QUEUED | Status.FAILED:
                self._over(run, seq, _never_started(at, before, task))
                if not before.prestaged:
                    self._released |= dict.fromkeys(before.gpu_uuids, at)

    def _step(self, run: Run, seq: int, step: Step) -> None:
        steps = run.steps if run.stopped_at is None else run.after_stop
        steps.append((seq, step))
        self._caused_at = step.now

    def _over(self, run: Run, seq: int, step: Step) -> None:
        self._step(run, seq, step)
        run.is_over = True
        del self._open[step.task_id]


def _is_discarded(task: Task) -> bool:
    attempts = task.earlier_attempts
    return bool(attempts) and attempts[-1].cause is Requeue.DISCARDED


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
    names = ("begun_at", "allocated_at", "started_at", "released_at")
    times = {name: getattr(task, name) for name in names}
    times = {name: at if at is not None and at <= since else None for name, at in times.items()}
    task = replace(
        task,
        **times,
        attempt=task.attempt - (task.begun_at is not None and task.begun_at > since),
        end=task.end if task.end is not None and task.end.at <= since else None,
        after_met=task.after_met and task.released_at == times["released_at"],
        cancel=None,
        halt=None,
        ended_at=None,
        failure_reason=None,
        error=None,
        exit_code=None,
    )
    if task.begun_at is None:
        return replace(task, status=Status.QUEUED, gpu_uuids=(), prestaged=False, worker_id=None)
    if task.started_at is None:
        is_prestaged = task.allocated_at is None
        return replace(task, status=Status.PREPARING, prestaged=is_prestaged)
    return replace(task, status=Status.RUNNING if task.end is None else Status.COLLECTING)
