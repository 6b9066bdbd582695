"""The core's one way in: an event, a decision. All rules about a task's life are here."""

from msgspec.structs import replace

from fetchml.core import retry, scheduler, transitions
from fetchml.core.events import (
    CancelAsked,
    Collected,
    Decision,
    DrainAsked,
    Ended,
    Event,
    LauncherChanged,
    NeverStarted,
    Progressed,
    Recovered,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
    TimePassed,
)
from fetchml.core.model import AttemptEnd, Cancel, FailureReason, Status, Task
from fetchml.core.state import State, beyond
from fetchml.core.verdict import Verdict, cancelled, judge


def step(state: State, event: Event) -> Decision:
    """Decide what an event means. Changes `state`; the decision's changes are to be made durable,
    then its effects carried out.

    News of an attempt that is not the task's current one is stale and decides nothing.
    """
    decision = Decision()
    match event:
        case Submitted(tasks=tasks):
            for task in tasks:
                state.tasks[task.id] = task
                state.waiting.add(task, event.now)
            decision.changes.extend(tasks)
        case CancelAsked():
            _cancel(state, decision, event)
        case Progressed():
            preparing = _current(state, event.task_id, event.attempt, Status.PREPARING)
            if preparing is not None:
                _change(state, decision, replace(preparing, progress=event.text))
        case Started():
            preparing = _current(state, event.task_id, event.attempt, Status.PREPARING)
            if preparing is not None:
                _run(state, decision, preparing, event.started_at)
        case NeverStarted():
            _never_started(state, decision, event)
        case Ended():
            _ended(state, decision, event)
        case Collected():
            _collected(state, decision, event)
        case LauncherChanged(available=available):
            state.launcher_available = available
        case DrainAsked():
            state.draining = True
        case Recovered():
            _recover(state, decision, event.now)
        case TimePassed():
            pass
    _schedule(state, decision, event.now)
    return decision


def _recover(state: State, decision: Decision, now: int) -> None:
    """Go on with what holds a slot. What the box can no longer satisfy, it says so of now."""
    for task in list(state.tasks.values()):
        if task.id in state.held:
            decision.effects.append(RunAttempt(task))
            if task.cancel is not None:
                decision.effects.append(StopAttempt(task.id))
        elif missing := beyond(task.spec.resources, state.limits.capacity):
            verdict = Verdict(FailureReason.PREPARE_FAILED, "; ".join(missing), None)
            _finish(state, decision, task, verdict, ended_at=now)


def _schedule(state: State, decision: Decision, now: int) -> None:
    state.waiting.due(now)
    while (task_id := scheduler.next_to_start(state, now)) is not None:
        task = _move(
            state,
            decision,
            state.tasks[task_id],
            Status.PREPARING,
            attempt=state.tasks[task_id].attempt + 1,
            worker_id=state.limits.worker_id,
            error=None,
        )
        state.waiting.remove(task_id)
        state.hold(task)
        decision.effects.append(RunAttempt(task))


def _cancel(state: State, decision: Decision, event: CancelAsked) -> None:
    task = state.tasks.get(event.task_id)
    if task is None or task.cancel is not None:
        return
    wish = Cancel(event.by, event.now)
    if task.status is Status.QUEUED:
        verdict = Verdict(FailureReason.CANCELLED, cancelled(wish), None)
        _finish(state, decision, replace(task, cancel=wish), verdict, ended_at=event.now)
        return
    _change(state, decision, replace(task, cancel=wish))
    if task.status is not Status.COLLECTING:
        decision.effects.append(StopAttempt(task.id))


def _never_started(state: State, decision: Decision, event: NeverStarted) -> None:
    task = _current(state, event.task_id, event.attempt, Status.PREPARING)
    if task is None:
        return
    if task.cancel is not None:
        verdict = Verdict(FailureReason.CANCELLED, cancelled(task.cancel), None)
    else:
        verdict = Verdict(FailureReason.PREPARE_FAILED, event.error, None)
    _conclude(state, decision, task, verdict, event.now, event.now, permanent=event.permanent)


def _ended(state: State, decision: Decision, event: Ended) -> None:
    task = _current(state, event.task_id, event.attempt, Status.PREPARING, Status.RUNNING)
    if task is None:
        return
    end = event.end
    if task.status is Status.PREPARING:
        if end.started_at is None and (end.lost is not None or end.start_error is not None):
            verdict = judge(end, task.spec, task.cancel)
            _conclude(state, decision, task, verdict, event.now, end.at)
            return
        task = _run(state, decision, task, end.started_at or end.at)
    _move(state, decision, task, Status.COLLECTING, end=end)


def _collected(state: State, decision: Decision, event: Collected) -> None:
    task = _current(state, event.task_id, event.attempt, Status.COLLECTING)
    if task is None:
        return
    end = task.end if task.end is not None else AttemptEnd(at=event.now, lost="end not recorded")
    verdict = judge(end, task.spec, task.cancel)
    if event.error is not None and verdict.reason is None:
        verdict = Verdict(FailureReason.COLLECT_FAILED, event.error, verdict.exit_code)
    _conclude(state, decision, task, verdict, event.now, end.at)


def _run(state: State, decision: Decision, task: Task, started_at: int) -> Task:
    return _move(state, decision, task, Status.RUNNING, started_at=started_at, progress=None)


def _conclude(
    state: State,
    decision: Decision,
    task: Task,
    verdict: Verdict,
    now: int,
    ended_at: int,
    *,
    permanent: bool = False,
) -> None:
    """The attempt is over and nothing of it is left: end the task, or try again."""
    reason = verdict.reason
    if reason is not None and retry.may_retry(task, reason, permanent=permanent):
        state.release(task.id)
        task = _move(
            state,
            decision,
            task,
            Status.QUEUED,
            retry_count=task.retry_count + 1,
            not_before=now + retry.backoff_ms(task),
            error=f"attempt {task.attempt}: {verdict.error}",
            started_at=None,
            worker_id=None,
            end=None,
            progress=None,
        )
        state.waiting.add(task, now)
        return
    _finish(state, decision, task, verdict, ended_at)


def _finish(state: State, decision: Decision, task: Task, verdict: Verdict, ended_at: int) -> None:
    status = Status.COMPLETED if verdict.reason is None else Status.FAILED
    _move(
        state,
        decision,
        task,
        status,
        ended_at=max(ended_at, task.started_at or task.created_at),
        failure_reason=verdict.reason,
        error=verdict.error,
        exit_code=verdict.exit_code,
        progress=None,
    )
    del state.tasks[task.id]
    if task.id in state.held:
        state.release(task.id)
    else:
        state.waiting.remove(task.id)


def _move(state: State, decision: Decision, task: Task, to: Status, **fields: object) -> Task:
    transitions.require(task, to)
    return _change(state, decision, replace(task, status=to, **fields))


def _change(state: State, decision: Decision, task: Task) -> Task:
    state.tasks[task.id] = task
    decision.changes.append(task)
    return task


def _current(state: State, task_id: str, attempt: int, *expected: Status) -> Task | None:
    """The task, if this attempt is its current one and it is in one of these states."""
    task = state.tasks.get(task_id)
    if task is None or task.attempt != attempt or task.status not in expected:
        return None
    return task
