"""The life cycle of a task: which status may follow which (invariant I4), and why; and the steps
along that table: changes, stops of an attempt, a return to the queue, the end.

A task is one request; an attempt is one run of its command. The status is the phase of the task's
current attempt. It moves along this table and no other way:

    QUEUED ──▶ PREPARING ──▶ RUNNING ──▶ COLLECTING ──▶ COMPLETED
       ▲           │                         │
       └───────────┴────────── again ────────┘          any of the four ──▶ FAILED

QUEUED
    The task waits for its resources, for its turn, or for the delay before a retry. A cancel ends
    it at once, since there is no process to stop.

PREPARING
    An attempt exists, and its command has not been started: the image is pulled, datasets and the
    snapshot are staged, the container is created with its shim waiting at a closed gate. The
    attempt holds its slot and its resources, unless it is prestaged: then the task still waits,
    holds nothing, and clients see QUEUED (`core.scheduling.waiting` has these sub-states).

RUNNING
    The command has been started.

COLLECTING
    No process of the attempt is left. Its CPU, memory and GPUs are free again, so that the next
    task need not wait until the outputs are kept; its slot is held until then.

COMPLETED, FAILED
    Final. A task that was deleted keeps its status and is `hidden`.

The events that move a task (`core.events`):

    QUEUED → PREPARING        any event after which the scheduler allocates resources or prestages
    PREPARING → RUNNING       Started
    PREPARING → QUEUED        NeverStarted, Ended: a retry, a preemption, or a discarded prestage
    PREPARING → FAILED        NeverStarted, Ended: no retry is left, or a cancel was requested
    RUNNING → COLLECTING      Ended
    COLLECTING → COMPLETED    Collected
    COLLECTING → QUEUED       Collected: a retry, or a preemption
    COLLECTING → FAILED       Collected
    QUEUED → FAILED           CancelRequested; GpusSeen or Recovered, if the host can no longer
                              satisfy the request

Why it is so:

- Cancel, preemption and a failed GPU are not states but requests on the task (`Task.cancel`,
  `Task.halt`). The attempt goes on through its states until its processes are gone. So a resource
  is never free while a process may still use it (I3), and a restart in between forgets nothing.
- A retry returns to QUEUED and competes with all others; only `retry_count`, `infra_retries`,
  `preempted` or `discarded` records why. Each attempt has its own number, so events of an earlier
  attempt that come late match nothing and change nothing (I2).
- An attempt may start and end while no server runs. Ended then finds the task PREPARING and takes
  it through RUNNING, so that watchers see the same path.
- RUNNING → FAILED is allowed by I4; the core always collects first.
"""

from msgspec.structs import replace

from fetchml.core import submit_quotas
from fetchml.core.events import Decision, Manner, Notice, StopAttempt
from fetchml.core.footprint import task_footprint
from fetchml.core.model import (
    ENDED,
    Attempt,
    AttemptEnd,
    EventKind,
    Halt,
    HaltCause,
    Requeue,
    Server,
    Status,
    Task,
)
from fetchml.core.state import State
from fetchml.core.verdict import Verdict, exit_code, was_ended_by

MOST_KEPT = 20
"""Earlier attempts that a task keeps: the newest."""
MOST_TEXT = 200
"""Characters of the error of each."""

ALLOWED: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.PREPARING, Status.FAILED}),
    Status.PREPARING: frozenset({Status.RUNNING, Status.QUEUED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.COLLECTING, Status.FAILED}),
    Status.COLLECTING: frozenset({Status.COMPLETED, Status.QUEUED, Status.FAILED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
}


class InvalidTransition(Exception):
    """A change that is not in the table: a defect in the core. The message has the task's story."""

    def __init__(self, task: Task, to: Status) -> None:
        super().__init__(
            f"task {task.id} can't go from {task.status} to {to}"
            f" (attempt {task.attempt}, retries {task.retry_count}, cancel {task.cancel})"
        )


def require(task: Task, to: Status) -> None:
    """Raise InvalidTransition if `to` may not follow the task's status."""
    if to not in ALLOWED[task.status]:
        raise InvalidTransition(task, to)


def move(state: State, decision: Decision, task: Task, to: Status, **fields: object) -> Task:
    """Change a task's status and other fields. Raises InvalidTransition."""
    require(task, to)
    moved = change(state, decision, replace(task, status=to, **fields))
    _notice_move(state, decision, task, moved)
    return moved


def change(state: State, decision: Decision, task: Task) -> Task:
    """Put a new version of a task into the state and the decision."""
    state.tasks[task.id] = task
    decision.changes.append(task)
    return task


def raise_notice(decision: Decision, task: Task, kind: EventKind) -> None:
    """Record an event of a task, for the notifications that include this kind of event.

    The decision must change the task too, because notices become durable with changes. A service
    has none.
    """
    if not task.service:
        decision.notices.append(Notice(kind, task))


def _notice_move(state: State, decision: Decision, before: Task, after: Task) -> None:
    """Raise the notice of a change of status, if it is one that has a kind.

    The tasks of a sweep raise none of their own when they end: the last one is the sweep's.
    """
    if after.service:
        return
    if after.status is Status.RUNNING:
        raise_notice(decision, after, EventKind.STARTED)
    elif after.status is Status.QUEUED:
        if after.preempted > before.preempted:
            raise_notice(decision, after, EventKind.PREEMPTED)
    elif after.status in ENDED:
        kind = EventKind.COMPLETED if after.status is Status.COMPLETED else EventKind.FAILED
        if (member := after.spec.sweep) is None:
            raise_notice(decision, after, kind)
        elif state.progress.of(member.id).live == 1:  # It is counted until the end is recorded.
            decision.notices.append(Notice(kind, after, ends_sweep=True))


def current(state: State, task_id: str, attempt: int, *expected: Status) -> Task | None:
    """The task if this attempt is its current one and its status is one of `expected`, else
    `None`."""
    task = state.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.status not in expected:
        return None
    return task


def halt(state: State, decision: Decision, task: Task, why: Halt) -> None:
    task = change(state, decision, replace(task, halt=why))
    decision.effects.append(StopAttempt(task.id, manner(task)))


def preempt(state: State, decision: Decision, victim: Task, winner: Task, now: int) -> None:
    why = "preempted by a more urgent task"
    halt(state, decision, victim, Halt(HaltCause.PREEMPTED, why, now, by=winner.id))


def manner(task: Task) -> Manner:
    """Return the way to end the attempt of a task that is cancelled or halted.

    A warning is a favour to the task's user: the server does not give it when it ends a task by
    itself, for its disk use for example, nor when a GPU of the attempt has failed.
    """
    warns = task.spec.warn_seconds > 0
    if task.cancel is not None:
        by_server = isinstance(task.cancel.actor, Server)
        return Manner.WARN if warns and not by_server else Manner.TERMINATE
    match task.halt.cause if task.halt is not None else None:
        case HaltCause.INTERRUPTED:
            return Manner.KILL
        case HaltCause.PREEMPTED | HaltCause.IDLE if warns:
            return Manner.WARN
        case _:
            return Manner.TERMINATE


def may_be_interrupted(task: Task) -> bool:
    """Whether the task has a running command that is not being stopped."""
    return task.status is Status.RUNNING and task.cancel is None and task.halt is None


def continues(end: AttemptEnd, task: Task) -> bool:
    """Whether the attempt ended only because the core stopped it: the task is queued again, and no
    retry is counted.

    An interrupted command was killed unless it had done its work just before.
    """
    halt = task.halt
    if halt is None or task.cancel is not None or end.timed_out:
        return False
    if halt.cause is HaltCause.PREEMPTED:
        return was_ended_by(halt, end, task.spec)
    return halt.cause is HaltCause.INTERRUPTED and end.start_error is None and end.code != 0


def queue_again(
    state: State,
    decision: Decision,
    task: Task,
    now: int,
    cause: Requeue,
    verdict: Verdict | None = None,
    **fields: object,
) -> None:
    """Queue a task again, whose attempt is over. `verdict`: `None` if the attempt did not fail.
    `fields`: of the task, changed with it."""
    if task.halt is not None:
        fields.setdefault("error", f"attempt {task.attempt}: {task.halt.why}")
    earlier = _earlier(state, task, _record(task, now, cause, verdict))
    state.leave(task)
    before = task
    task = move(
        state,
        decision,
        task,
        Status.QUEUED,
        **fields,
        started_at=None,
        worker_id=None,
        end=None,
        progress=None,
        gpu_uuids=(),
        prestaged=False,
        allocated_at=None,
        halt=None,
        begun_at=None,
        earlier_attempts=earlier,
    )
    state.resized(task.user, task_footprint(task) - task_footprint(before))
    state.wait(task, now)


def _record(task: Task, now: int, cause: Requeue, verdict: Verdict | None) -> Attempt:
    end = task.end
    error = (verdict.error if verdict is not None else None) or ""
    if verdict is None and task.halt is not None:
        error = task.halt.why
    return Attempt(
        task.attempt,
        cause,
        max(now if end is None else end.at, task.started_at or 0),
        begun_at=task.begun_at,
        allocated_at=task.allocated_at,
        started_at=task.started_at,
        worker_id=task.worker_id,
        failure_reason=verdict.reason if verdict is not None else None,
        exit_code=exit_code(end) if end is not None else None,
        error=error if len(error) <= MOST_TEXT else f"{error[: MOST_TEXT - 1]}…",
    )


def _earlier(state: State, task: Task, attempt: Attempt) -> tuple[Attempt, ...]:
    """The attempts that are kept. Nobody asks before a task is queued again: while live tasks have
    all the memory that they may, none keeps more attempts than it has."""
    is_full = submit_quotas.is_full(state, ())
    most = len(task.earlier_attempts) if is_full else MOST_KEPT
    return (*task.earlier_attempts, attempt)[-most:] if most else ()


def finish(state: State, decision: Decision, task: Task, verdict: Verdict, ended_at: int) -> None:
    """End a task: none of its processes run, and it is not retried."""
    status = Status.COMPLETED if verdict.reason is None else Status.FAILED
    ended = move(
        state,
        decision,
        task,
        status,
        ended_at=max(ended_at, task.started_at or task.created_at),
        failure_reason=verdict.reason,
        error=verdict.error,
        exit_code=verdict.exit_code,
        progress=None,
        prestaged=False,
    )
    state.forget(ended)
