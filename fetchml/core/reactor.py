"""The core's only entry point: `step` takes an event and returns a decision.

It has what each event means; `core.lifecycle` has the table of a task's life and the steps along
it.
"""

from msgspec.structs import replace

from fetchml.core import retry, storage
from fetchml.core.bookings import running_tasks as bookings
from fetchml.core.dependencies import outcomes
from fetchml.core.events import (
    CancelRequested,
    CheckGpus,
    Collected,
    Decision,
    DiscardAttempt,
    DrainRequested,
    Ended,
    Event,
    InterruptRequested,
    LauncherChanged,
    LimitAttempt,
    LostDeclared,
    ManyCancelRequested,
    NeverStarted,
    OpenGate,
    Prestaged,
    Progressed,
    Recovered,
    RunAttempt,
    Started,
    StopAttempt,
    Submitted,
    TimePassed,
    UpdateRequested,
)
from fetchml.core.footprint import spec_footprint
from fetchml.core.gpus import events
from fetchml.core.lifecycle import (
    change,
    continues,
    current,
    finish,
    halt,
    manner,
    may_be_interrupted,
    move,
    preempt,
    queue_again,
)
from fetchml.core.model import (
    AttemptEnd,
    Cancel,
    FailureReason,
    Halt,
    HaltCause,
    Requeue,
    Status,
    Task,
)
from fetchml.core.requests import update
from fetchml.core.scheduling import hand_over, preemption, prestage, waiting
from fetchml.core.scheduling.scheduler import Allocate, Discard, SchedulingPass, ShareLevels
from fetchml.core.scheduling.waiting import PRESTAGED
from fetchml.core.state import State
from fetchml.core.verdict import Verdict, cancelled, judge


def step(state: State, event: Event) -> Decision:
    """Apply an event to `state` and return the decision.

    The caller makes the decision's changes durable and then carries out its effects. An event of an
    attempt that is not the task's current one is stale and changes nothing.
    """
    decision = Decision()
    _apply(state, decision, event)
    if state.blocked.news:
        outcomes.settle(state, decision, event.now)
    if not isinstance(event, Submitted):  # a submit displaces no prestaged task
        if state.bookings:
            bookings.begin(state, decision, event.now)
        for task in prestage.misplaced(state, event.now):
            _discard(state, decision, task.id)
    has_more = _schedule(state, decision, event.now)
    at_once = has_more or state.blocked.news
    decision.next_due = event.now if at_once else state.next_due(event.now)
    return decision


def _apply(state: State, decision: Decision, event: Event) -> None:
    match event:
        case Submitted():
            _submit(state, decision, event)
        case CancelRequested() | ManyCancelRequested():
            _cancel(state, decision, event)
        case InterruptRequested():
            _interrupt(state, decision, event)
        case LostDeclared():
            _declare_lost(state, decision, event)
        case UpdateRequested():
            _change_request(state, decision, event)
        case Progressed():
            preparing = current(state, event.task_id, event.attempt, Status.PREPARING)
            if preparing is not None:
                change(state, decision, replace(preparing, progress=event.text))
        case Prestaged():
            preparing = current(state, event.task_id, event.attempt, Status.PREPARING)
            if preparing is not None and preparing.prestaged:
                state.at_gate(preparing.id)
        case Started():
            preparing = current(state, event.task_id, event.attempt, Status.PREPARING)
            if preparing is not None:
                _started(state, decision, preparing, event)
        case NeverStarted():
            _never_started(state, decision, event)
        case Ended():
            _ended(state, decision, event)
        case Collected():
            _collected(state, decision, event)
        case LauncherChanged(available=available):
            state.launcher_available = available
        case DrainRequested():
            state.draining = True
        case Recovered():
            _recover(state, decision, event.now)
        case TimePassed(due=due):
            state.due(event.now, due)
        case _:
            events.apply(state, decision, event)


def _submit(state: State, decision: Decision, event: Submitted) -> None:
    if event.failures or event.replaced:
        outcomes.learn(state, event)
    sizes = event.footprints or [spec_footprint(task.spec) for task in event.tasks]
    for new, size in zip(event.tasks, sizes, strict=True):
        state.enter(new, size)
        task = new if new.spec.after is None else outcomes.block(state, new, event.ended)
        state.wait(task, event.now)
        decision.changes.append(task)
    if event.failures:
        state.progress.drop_ended()
    decision.changes += event.replaced


def _recover(state: State, decision: Decision, now: int) -> None:
    """Continue every attempt; fail tasks that the host can no longer satisfy."""
    state.restarted(now)
    for task in state.active():
        decision.effects.append(RunAttempt(task))
        if task.cancel is not None or task.halt is not None:
            decision.effects.append(StopAttempt(task.id, manner(task)))
    events.fail_the_impossible(state, decision, now)


def _schedule(state: State, decision: Decision, now: int) -> bool:
    """Return whether more can be started by another event at once."""
    state.due(now)
    if not state.may_start:
        return False
    level = ShareLevels(state, now)
    if (cluster := state.limits.cluster) is not None:
        tasks = hand_over.next_tasks(state, cluster, level)
        for task in tasks:
            _prepare(state, decision, task, now=now, prestaged=True, progress=hand_over.PROGRESS)
        return len(tasks) >= hand_over.MOST_AT_ONCE
    # Without a free slot no pass can find anything: most submits end here.
    while state.free_slots > 0 and (action := SchedulingPass(state, now, level).next()) is not None:
        match action:
            case Allocate(task_id=task_id, gpu_uuids=gpu_uuids):
                task = _allocate(state, decision, state.tasks[task_id], gpu_uuids, now)
                level.forget(task.user)
                if state.packing is not None:
                    state.packing.count(task_id)
            case Discard(task_id=task_id):
                _discard(state, decision, task_id, protect=True)
    if state.limits.preemption:
        while (choice := preemption.next_preemption(state, now, level)) is not None:
            for victim in choice.victims:
                preempt(state, decision, victim, choice.task, now)
    while (plan := prestage.next_plan(state, now, level)) is not None:
        for other in plan.instead_of:
            _discard(state, decision, other.id)
        _prepare(state, decision, plan.task, plan.gpu_uuids, now=now, prestaged=True)
    return False


def _allocate(
    state: State, decision: Decision, task: Task, gpu_uuids: tuple[str, ...], now: int
) -> Task:
    """Give a task its resources: begin an attempt, or open the gate of its prestaged one."""
    if not task.prestaged:
        return _prepare(state, decision, task, gpu_uuids, now=now, prestaged=False)
    state.leave(task)
    task = replace(
        task, prestaged=False, allocated_at=now, worker_id=state.limits.worker_id, error=None
    )
    task = change(state, decision, task)
    state.hold(task)
    decision.effects.append(OpenGate(task.id))
    return task


def _prepare(
    state: State,
    decision: Decision,
    task: Task,
    gpu_uuids: tuple[str, ...] = (),
    *,
    now: int,
    prestaged: bool,
    progress: str | None = None,
) -> Task:
    state.leave(task)
    task = move(
        state,
        decision,
        task,
        Status.PREPARING,
        attempt=task.attempt + 1,
        # A prestaged task is on no worker yet, and the error of its last attempt stays readable.
        worker_id=None if prestaged else state.limits.worker_id,
        error=task.error if prestaged else None,
        gpu_uuids=gpu_uuids,
        prestaged=prestaged,
        allocated_at=None if prestaged else now,
        limit_changed=False,
        begun_at=now,
        progress=progress,
    )
    if prestaged:
        state.wait(task, now)
    else:
        state.hold(task)
    decision.effects.append(RunAttempt(task))
    return task


def _started(state: State, decision: Decision, task: Task, event: Started) -> None:
    """Note that the command runs. A prestaged attempt can't start by itself, but on a cluster."""
    if task.id in state.handed_over:
        task = _placed(state, task, event, event.started_at)
    elif task.prestaged:
        return
    _run(state, decision, replace(task, ran_with=event.ran_with), event.started_at)


def _placed(state: State, task: Task, event: Started | Ended, at: int) -> Task:
    """Give a task the resources that the cluster has given it."""
    state.leave(task)
    gpus = event.gpu_uuids if len(event.gpu_uuids) == task.spec.gpu else ()  # Else forged.
    placed = {"worker_id": event.worker_id, "gpu_uuids": gpus, "allocated_at": at}
    task = replace(task, prestaged=False, error=None, **placed)
    state.hold(task)
    return task


def _discard(state: State, decision: Decision, task_id: str, *, protect: bool = False) -> None:
    state.discard(task_id, protect=protect)
    decision.effects.append(DiscardAttempt(task_id))


def _cancel(state: State, decision: Decision, event: CancelRequested | ManyCancelRequested) -> None:
    for task_id in event.task_ids:
        _cancel_one(state, decision, state.tasks.get(task_id), Cancel.of(event.by, event.now))


def _cancel_one(state: State, decision: Decision, task: Task | None, cancel: Cancel) -> None:
    if task is None or task.cancel is not None:
        return
    if task.status is Status.QUEUED:
        verdict = Verdict(FailureReason.CANCELLED, cancelled(cancel), None)
        finish(state, decision, replace(task, cancel=cancel), verdict, ended_at=cancel.at)
        return
    task = change(state, decision, replace(task, cancel=cancel))
    if task.prestaged:
        state.discard(task.id)
    if task.status is not Status.COLLECTING:
        decision.effects.append(StopAttempt(task.id, manner(task)))


def _interrupt(state: State, decision: Decision, event: InterruptRequested) -> None:
    task = state.tasks.get(event.task_id)
    if task is not None and may_be_interrupted(task):
        why = f"interrupted by {event.by}"
        state.interrupts += 1
        halt(state, decision, task, Halt(HaltCause.INTERRUPTED, why, event.now))


def _declare_lost(state: State, decision: Decision, event: LostDeclared) -> None:
    """Declare an attempt on a silent node lost; the task is retried as after any such fault."""
    task = current(state, event.task_id, event.attempt, Status.RUNNING)
    if task is not None and may_be_interrupted(task):
        why = f"{event.by} declared it lost while its node was silent"
        halt(state, decision, task, Halt(HaltCause.DECLARED_LOST, why, event.now))


def _change_request(state: State, decision: Decision, event: UpdateRequested) -> None:
    task = state.tasks.get(event.task_id)
    if task is None:
        return
    handed_over = task.id in state.handed_over
    changed = update.apply(task, event.update, now=event.now, handed_over=handed_over).task
    if changed is None or changed == task:
        return
    if task.spec.hold and not changed.spec.hold:
        changed = replace(changed, released_at=event.now)
    state.change_request(task, changed, event.now)
    change(state, decision, changed)
    if changed.limit_changed and changed.spec.timeout_seconds != task.spec.timeout_seconds:
        decision.effects.append(LimitAttempt(task.id, changed.spec.timeout_seconds))
    prestaged = isinstance(state.wait_state(task.id), PRESTAGED)
    held_back = waiting.held_back(changed, event.now) is not None
    if prestaged and (held_back or event.prestage_again):
        _discard(state, decision, task.id)


def _never_started(state: State, decision: Decision, event: NeverStarted) -> None:
    task = current(state, event.task_id, event.attempt, Status.PREPARING)
    if task is None:
        return
    _release(state, decision, task, event.now)
    if task.cancel is not None:
        verdict = Verdict(FailureReason.CANCELLED, cancelled(task.cancel), None)
    elif task.halt is not None and task.halt.cause is HaltCause.PREEMPTED:
        more = task.preempted + 1
        queue_again(state, decision, task, event.now, Requeue.PREEMPTED, preempted=more)
        return
    elif task.halt is not None:
        verdict = Verdict(FailureReason.LOST, task.halt.why, None)
    elif event.error is None and task.prestaged:
        # A discard for a user's hold is no reason to prestage the task less often.
        counts = waiting.held_back(task, event.now) is None
        more = task.discarded + counts
        queue_again(state, decision, task, event.now, Requeue.DISCARDED, discarded=more)
        return
    elif event.error is None:
        verdict = Verdict(FailureReason.LOST, "discarded before it started", None)
    else:
        verdict = Verdict(FailureReason.PREPARE_FAILED, event.error, None)
    permanent = event.permanent and verdict.reason is FailureReason.PREPARE_FAILED
    _conclude(state, decision, task, verdict, event.now, event.now, permanent=permanent)


def _ended(state: State, decision: Decision, event: Ended) -> None:
    task = current(state, event.task_id, event.attempt, Status.PREPARING, Status.RUNNING)
    if task is None:
        return
    end = event.end
    if state.packing is not None:
        events.learn_peak(state, task, end)
    _release(state, decision, task, event.now)
    if task.status is Status.PREPARING:
        never_ran = end.started_at is None and (end.lost is not None or end.start_error is not None)
        if task.id in state.handed_over and not never_ran:
            task = _placed(state, task, event, end.started_at or end.at)
            state.release(task, event.now)
        if never_ran or task.prestaged:
            if task.prestaged and end.lost is None:
                end = replace(end, lost="ended while it waited for its resources")
            verdict = judge(end, task.spec, task.cancel, task.halt, changed=task.limit_changed)
            _conclude(state, decision, task, verdict, event.now, end.at, permanent=end.no_image)
            return
        task = _run(state, decision, task, end.started_at or end.at)
    move(state, decision, task, Status.COLLECTING, end=end, idle_since=None)


def _collected(state: State, decision: Decision, event: Collected) -> None:
    task = current(state, event.task_id, event.attempt, Status.COLLECTING)
    if task is None:
        return
    if event.kept is not None:
        task = replace(task, kept=storage.after_attempt(task.kept, event.kept))
    end = task.end if task.end is not None else AttemptEnd(at=event.now, lost="end not recorded")
    if task.halt is not None and continues(end, task):
        is_preempted = task.halt.cause is HaltCause.PREEMPTED
        cause = Requeue.PREEMPTED if is_preempted else Requeue.INTERRUPTED
        more = task.preempted + is_preempted
        queue_again(state, decision, task, event.now, cause, preempted=more)
        return
    verdict = judge(end, task.spec, task.cancel, task.halt, changed=task.limit_changed)
    if event.error is not None and verdict.reason is None:
        verdict = Verdict(FailureReason.COLLECT_FAILED, event.error, verdict.exit_code)
    _conclude(state, decision, task, verdict, event.now, end.at)


def _release(state: State, decision: Decision, task: Task, now: int) -> None:
    """Free a task's resources: its processes are gone, or never existed."""
    if task.id in state.held and (uuids := state.release(task, now)):
        decision.effects.append(CheckGpus(uuids))


def _run(state: State, decision: Decision, task: Task, started_at: int) -> Task:
    return move(state, decision, task, Status.RUNNING, started_at=started_at, progress=None)


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
    """End the task or queue it for a retry: its attempt is over and nothing of it is left."""
    reason = verdict.reason
    again = None if reason is None else retry.next_try(task, reason, now, permanent=permanent)
    if again is None:
        finish(state, decision, task, verdict, ended_at)
        return
    cause = Requeue.RETRY if "retry_count" in again else Requeue.HOST_FAULT
    error = f"attempt {task.attempt}: {verdict.error}"
    queue_again(state, decision, task, now, cause, verdict, error=error, **again)
