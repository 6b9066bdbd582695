"""The begin of a booking, and the tasks of others that are on its GPUs then."""

from collections.abc import Iterator

from fetchml.core.events import Decision
from fetchml.core.lifecycle import halt
from fetchml.core.model import Halt, HaltCause, Status, Task
from fetchml.core.requests.times import shown_time
from fetchml.core.state import State


def begin(state: State, decision: Decision, now: int) -> None:
    """Preempt tasks that are in the way, if the server preempts. All others go on."""
    state.bookings = state.bookings.without_ended(now)
    if not state.limits.preemption:
        return
    for booking in state.bookings.begun(now):
        why = f"its GPU is reserved from {shown_time(booking.starts_at)} on"
        for task in list(_in_the_way(state, booking.user, booking.gpu_uuids)):
            halt(state, decision, task, Halt(HaltCause.PREEMPTED, why, now))


def _in_the_way(state: State, user: str, uuids: tuple[str, ...]) -> Iterator[Task]:
    for task_id in dict.fromkeys(h for uuid in uuids for h in state.gpus.holders.get(uuid, ())):
        task = state.tasks[task_id]
        goes_on = task.cancel is None and task.halt is None
        ends = task.status is Status.COLLECTING
        if task.user != user and task.spec.preemptible and goes_on and not ends:
            yield task
