"""Explains the state of a task in a sentence."""

from collections.abc import Callable

from fetchml.core.dependencies import outcomes
from fetchml.core.model import ENDED, HaltCause, Status, SweepMember, Task
from fetchml.core.permissions import Owned
from fetchml.core.requests.checks import shown_time
from fetchml.core.scheduling import waiting
from fetchml.core.scheduling.resources import ClusterLimits, fits
from fetchml.core.scheduling.scheduler import Availability, SchedulingPass, ShareLevels
from fetchml.core.scheduling.waiting import AtGate, Blocked, OnHold, Postponed
from fetchml.core.state import State
from fetchml.system.pacing import Pace
from fetchml.views import Explanation, Shortage

BLOCKED_SHOWN = 4
"""Most blocked GPUs that one sentence names."""
BOOKINGS_SHOWN = 3
"""Most bookings that one sentence names."""
DEPENDENCIES_SHOWN = 3
"""Most tasks and sweeps that one sentence names."""

MayName = Callable[[Owned], bool]
"""Whether the caller may see a task or a booking of a user."""


def explain(
    state: State,
    task: Task,
    now: int,
    before: int | None = None,
    *,
    may_name: MayName = lambda _: True,
    cluster_reason: str | None = None,
    cluster_position: int | None = None,
) -> Explanation:
    """Explain the state of a task that the caller may see.

    `before`: number of ready tasks that come before it; `None` if it was not counted. `may_name`:
    whether the caller may see another task. `cluster_reason`: why a cluster has not started it.
    `cluster_position`: its position in the cluster's queue; `None` if it is not known.
    """
    if waits(task) and (why := _why_held_back(state, task, now, may_name)) is not None:
        return Explanation(task.id, task.shown_status, why)
    if waits(task) and task.spec.sweep is not None and state.sweeps.holds_back(task):
        return Explanation(task.id, task.shown_status, _sweep_limit(state, task.spec.sweep))
    if waits(task) and (cluster := state.limits.cluster) is not None:
        if task.prestaged:
            return _handed_over(state, task, cluster_reason, cluster_position)
        return _before_hand_over(state, cluster, task, now, before)
    if waits(task):
        return _waiting(state, task, now, before, may_name)
    if task.cancel is not None and task.status not in (Status.COMPLETED, Status.FAILED):
        reason = f"It is being ended: {task.cancel.by} cancelled it."
    elif task.halt is not None and task.halt.cause is HaltCause.IDLE:
        reason = f"It is being ended: {task.halt.why}."
    elif task.halt is not None and task.status in (Status.PREPARING, Status.RUNNING):
        reason = f"It is being ended, and tried again: {task.halt.why}."
    else:
        reason = {
            Status.PREPARING: f"It is being prepared: {task.progress or 'just begun'}.",
            Status.RUNNING: f"It runs on {task.worker_id}.",
            Status.COLLECTING: "Its process has ended; its outputs are being kept.",
            Status.COMPLETED: "It has completed.",
            Status.FAILED: f"It has failed: {task.error}.",
        }[task.status]
    if task.status is Status.RUNNING and task.cancel is None and task.halt is None:
        reason += _time_limit(task)
    if task.idle_since is not None and task.halt is None and task.cancel is None:
        reason += f" {_idle(state, task.idle_since, is_service=task.service)}"
    if task.status is Status.RUNNING and cluster_reason is not None:
        reason += f" {cluster_reason}"
    if task.status in ENDED and task.kept is not None and task.kept.note is not None:
        reason += f" {task.kept.note}."
    return Explanation(task.id, task.shown_status, reason, progress=task.progress)


def _time_limit(task: Task) -> str:
    """Return a sentence about a running task's time limit; empty if it has none."""
    seconds = task.spec.timeout_seconds
    if not seconds or task.started_at is None:
        return ""
    return f" Its time limit is over at {shown_time(task.started_at + seconds * 1000)}."


def _idle(state: State, since: int, *, is_service: bool) -> str:
    rule = state.limits.idle
    found = f"Its GPUs are idle since {shown_time(since)}"
    if rule is None or rule.warning_ms is None or is_service:
        return f"{found}."
    return (
        f"{found}: it is stopped if they stay so for {(rule.idle_ms + rule.warning_ms) // 1000} s "
        "in all."
    )


async def tasks_before(state: State, task: Task, now: int) -> int:
    """Count the ready tasks before a waiting one, with pauses for other requests. 0 for a task that
    does not wait, or may not start now."""
    before, pace = 0, Pace()
    if waits(task) and task.id not in state.held_back and not state.sweeps.holds_back(task):
        for part in state.queue.counts_before(task, ShareLevels(state, now)):
            before += part
            await pace.rest()
    return before


def waits(task: Task) -> bool:
    """Return whether a task waits, and is not being ended."""
    return task.shown_status is Status.QUEUED and task.cancel is None


def _sweep_limit(state: State, member: SweepMember) -> str:
    active, most = state.sweeps.active(member), member.max_parallel
    return (
        f"It waits for other tasks of its sweep: max_parallel is {most}, and {active} of them "
        "have begun or are next."
    )


def _handed_over(
    state: State, task: Task, cluster_reason: str | None, cluster_position: int | None
) -> Explanation:
    """It has no place in the server's own queue, but one in the cluster's."""
    if state.launcher_available:
        text = cluster_reason or f"It is {task.progress or 'about to be handed over'}."
    else:
        text = "The cluster does not answer; the task keeps its place in the cluster's queue."
    place = cluster_position if state.launcher_available else None
    return Explanation(task.id, task.shown_status, text, position=place, progress=task.progress)


def _before_hand_over(
    state: State, cluster: ClusterLimits, task: Task, now: int, before: int | None
) -> Explanation:
    reason = _held_back(state, task, now)
    if reason is None:
        number, whose = len(state.handed_over), ""
        own = state.user_handed_over.get(task.user, 0)
        if own >= cluster.user_max_pending:
            number, whose = own, f" of {task.user}"
        reason = (
            f"It waits until the cluster starts some of the {number} tasks{whose} that it has: "
            "it gets no more at once."
        )
    position = None if before is None else before + 1
    return Explanation(task.id, task.shown_status, reason, position=position)


def _waiting(
    state: State,
    task: Task,
    now: int,
    before: int | None,
    may_name: MayName,
) -> Explanation:
    level = ShareLevels(state, now)
    if before is None:
        before = state.queue.count_before(task, level)
    missing = _shortages(state, task)
    reason = why_it_waits(state, task, now, missing, may_name)
    reason = reason or _turn(state, task, now, level, before, may_name)
    if task.prestaged:
        is_ready = isinstance(state.wait_state(task.id), AtGate)
        reason += " It is ready to start." if is_ready else " It is being prepared meanwhile."
    return Explanation(
        task.id,
        task.shown_status,
        reason,
        position=before + 1,
        missing=missing,
        progress=task.progress,
    )


def why_it_waits(
    state: State,
    task: Task,
    now: int,
    missing: tuple[Shortage, ...] | None = None,
    may_name: MayName = lambda _: False,
) -> str | None:
    """Return what a waiting task lacks; `None` if only its turn. The cost does not grow with the
    queue."""
    missing = _shortages(state, task) if missing is None else missing
    if held_back := _held_back(state, task, now):
        return held_back
    quota = next((short for short in missing if short.resource == "user_gpus"), None)
    most = state.limits.user_running
    if any(short.resource == "user_running" for short in missing):
        some = "1 of them" if most == 1 else f"{most} of them"
        return f"It waits for {task.user}'s own tasks: {some} may run at once."
    if quota is not None:
        held = state.user_gpus.get(task.user, 0)
        return (
            f"It waits for {task.user}'s own tasks: together they may hold {quota.total} "
            f"GPU{'' if quota.total == 1 else 's'}, and hold {held}."
        )
    if missing:
        return f"It waits for {', '.join(_described(short) for short in missing)}."
    closed = state.bookings.closed_to_task(task, now)
    if closed and sum(u not in closed for u in state.gpus.free()) < (task.spec.gpu or 0):
        return _booked(state, task, now, closed, may_name)
    if (lacks_memory := _packing(state, task)) is not None:
        return lacks_memory
    avoided = state.gpus.avoidable(task.avoid_gpus, task.spec.gpu or 0)
    if sum(uuid not in avoided for uuid in state.gpus.free()) < (task.spec.gpu or 0):
        return f"It waits for other GPUs than {', '.join(avoided)}: it failed there."
    return None


def _packing(state: State, task: Task) -> str | None:
    """Return why GPUs with a free slot are not enough; `None` if they are. It names no other task
    and no amount of others: their jobs' peaks are their users' own."""
    packing, wanted = state.packing, task.spec.gpu or 0
    if packing is None or not wanted:
        return None
    available, job = Availability(state), packing.job(task)
    fitting = sum(available.has_room(uuid, job) for uuid in available.gpus)
    if fitting >= wanted:
        return None
    free = f"{fitting} of {len(state.gpus.usable())}"
    if (peak := packing.peak(task)) is not None:
        return (
            f"It waits for GPU memory: its job needed up to {peak / 1024:.1f} GiB on a GPU so far, "
            f"and {free} GPUs have as much left beside the tasks on them ([gpu] packing)."
        )
    own = f"It waits for {wanted} GPU{'s' if wanted > 1 else ''} without other tasks ({free} free)"
    if task.service:
        return f"{own}: services share none ([gpu] packing)."
    return (
        f"{own}: how much GPU memory its job needs is not known before one of its tasks has "
        "completed ([gpu] packing)."
    )


def _booked(state: State, task: Task, now: int, closed: frozenset[str], may_name: MayName) -> str:
    bookings = [each for each in state.bookings.on(closed, now) if each.user != task.user]
    numbers = {uuid: place for place, uuid in enumerate(state.gpus.in_order())}
    texts = []
    for each in bookings[:BOOKINGS_SHOWN]:
        shown = sorted(numbers[uuid] for uuid in each.gpu_uuids if uuid in numbers)
        which = ", ".join(map(str, shown[:BLOCKED_SHOWN]))
        which += ", …" if len(shown) > BLOCKED_SHOWN else ""
        is_or_are = f"GPU {which} is" if len(shown) == 1 else f"GPUs {which} are"
        whom = f" for {each.user}" if may_name(each) else ""
        has_begun = each.starts_at <= now
        word, time = ("until", each.ends_at) if has_begun else ("from", each.starts_at)
        texts.append(f"{is_or_are} reserved{whom} {word} {shown_time(time)}")
    more = len(bookings) - BOOKINGS_SHOWN
    texts += [f"{more} more reservations"] if more > 0 else []
    hint = ""
    if not task.spec.timeout_seconds and any(each.starts_at > now for each in bookings):
        hint = " With a time limit that ends before, it could start."
    return f"It waits for GPUs that are not reserved: {'; '.join(texts)}.{hint}"


def _held_back(state: State, task: Task, now: int) -> str | None:
    """Return why nothing can start the task now, whatever is free; `None` if something can."""
    if task.not_before > now:
        seconds = -(-(task.not_before - now) // 1000)
        return f"It is tried again in {seconds} s ({task.error})."
    if state.draining:
        return "The server is shutting down; it starts after the restart."
    if not state.launcher_available:
        return "The server can't start tasks now: what runs them is away (see 'fetchml doctor')."
    return None


def _why_held_back(state: State, task: Task, now: int, may_name: MayName) -> str | None:
    """Return why a task may not start now, whatever is free; `None` if it may."""
    match waiting.held_back(task, now, blocked=task.id in state.blocked):
        case OnHold():
            return "It is held until its user or an admin releases it (see 'fetchml release')."
        case Blocked():
            return _blocked_by(state, task, may_name)
        case Postponed(until=until):
            return f"It starts no earlier than {shown_time(until)}."
        case None:
            return None


def _blocked_by(state: State, task: Task, may_name: MayName) -> str:
    conditions = state.blocked.open_conditions(task.id)
    texts = []
    for each in conditions[:DEPENDENCIES_SHOWN]:
        if not each.task_id:
            progress = state.progress.of(each.sweep_id)
            shown_of = progress if progress.live and may_name(progress) else None
            texts.append(outcomes.described_sweep(each, shown_of))
            continue
        other = state.tasks.get(each.task_id)
        shown = other is not None and may_name(other)
        texts.append(outcomes.described(each, other.shown_status if other and shown else None))
    more = len(conditions) - DEPENDENCIES_SHOWN
    texts += [f"{more} more"] if more > 0 else []
    return f"It waits until {' and '.join(texts)}."


def _turn(
    state: State,
    task: Task,
    now: int,
    level: ShareLevels,
    before: int,
    may_name: MayName,
) -> str:
    """Return why a task that lacks nothing does not start yet."""
    if reserved_for := _kept_for(state, task, now, level):
        named = [other for other in reserved_for if may_name(state.tasks[other])]
        names = ", ".join(named[:3]) + (", …" if len(reserved_for) > min(3, len(named)) else "")
        minutes = state.limits.reserve_after_ms / 60_000
        return (
            "The resources it needs are free, but reserved for "
            f"{names if named else 'other tasks'}, which waited more than {minutes:g} minutes."
        )
    if before:
        some = f"{before} task{'s' if before > 1 else ''}"
        if level(task.user):
            return (
                f"It waits behind {some} that are more urgent, older, or of users who had less "
                "of the host lately."
            )
        return f"It waits behind {before} more urgent or older task{'s' if before > 1 else ''}."
    return "It starts next."


_UNITS = {
    "cpu": ("CPU core", "CPU cores"),
    "memory_gb": ("GiB of memory", "GiB of memory"),
    "gpu": ("GPU", "GPUs"),
    "slots": ("slot for tasks", "slots for tasks"),
}
"""Resource → its name after the number 1, and after other numbers."""


def _described(short: Shortage) -> str:
    unit = _UNITS[short.resource][short.requested != 1]
    text = f"{short.requested} {unit} ({short.free} of {short.total} free"
    if short.blocked:
        more = len(short.blocked) - BLOCKED_SHOWN
        text += "; " + "; ".join(short.blocked[:BLOCKED_SHOWN])
        text += f"; and {more} more" if more > 0 else ""
    return f"{text})"


def _kept_for(state: State, task: Task, now: int, level: ShareLevels) -> list[str]:
    queue = state.queue.queue_of(task.id)
    if queue is None:
        return []
    scheduling = SchedulingPass(state, now, level)
    scheduling.next(until=queue)
    reserved_for = [other for other in scheduling.reserved_for if other != task.id]
    return [] if scheduling.available.fits(queue.shape) else reserved_for


def _shortages(state: State, task: Task) -> tuple[Shortage, ...]:
    wanted, free, total = task.spec.resources, state.free, state.capacity
    missing = []
    if state.is_over_gpu_quota(task.user, wanted.gpu):
        left = max(0, state.quota_left(task.user) or 0)
        missing.append(Shortage("user_gpus", wanted.gpu, left, state.limits.user_gpus))
    slots = state.slots_left(task.user)
    if slots is not None and slots <= 0:
        missing.append(Shortage("user_running", 1, 0, state.limits.user_running))
    if state.free_slots <= 0:
        missing.append(Shortage("slots", 1, max(0, state.free_slots), state.limits.max_running))
    if not fits(wanted, free):
        for name in ("cpu", "memory_gb", "gpu"):
            asked, there = getattr(wanted, name), getattr(free, name)
            if asked > there:
                blocked = _blocked(state) if name == "gpu" else ()
                most = getattr(total, name)
                missing.append(Shortage(name, asked, max(0, there), most, blocked))
    return tuple(missing)


def _blocked(state: State) -> tuple[str, ...]:
    obstacles = enumerate(state.gpus.obstacle(uuid) for uuid in state.gpus.in_order())
    return tuple(
        f"GPU {number}: {obstacle}" for number, obstacle in obstacles if obstacle is not None
    )
