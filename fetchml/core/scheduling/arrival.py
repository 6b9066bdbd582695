"""A large batch enters the state in parts, so that no single decision takes long.

    BatchAnnounced ──▶ Submitted(part=True) … ──the last task──▶ it is whole
                                └──BatchWithdrawn──▶ none of its tasks exists

From its announcement to its last part

- it counts as a whole in quotas, and all that it needs is kept from deletion,
- no task starts and no open condition is decided, of any task: the batch's own, more urgent tasks
  may be in a later part,
- the conditions of its tasks are decided as of the announcement: what ends meanwhile is noted.

The engine makes the changes of all parts durable in one commit, so the batch is stored whole or not
at all, and no batch arrives in a restored state. One batch arrives at a time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fetchml.core.model import Status
from fetchml.core.scheduling.resources import take

if TYPE_CHECKING:
    from fetchml.core.events import BatchAnnounced, BatchWithdrawn
    from fetchml.core.state import State


@dataclass(slots=True)
class Arrival:
    """The rest of the batch that arrives."""

    user: str
    tasks: int
    """Number of the tasks that have not entered."""
    size: int
    """Bytes of memory that these will take. They count in the user's and in all live tasks'."""
    snapshots: frozenset[str]
    """Snapshots of all tasks of the batch."""
    inputs: frozenset[str]
    """Ids of the tasks whose outputs the batch's tasks get."""
    ended: dict[str, Status]
    """Outcomes of ended tasks that the batch's tasks may start after."""

    def entered(self, size: int) -> None:
        """Count a task of this footprint (bytes) as one that has entered."""
        self.tasks -= 1
        self.size -= size


def announce(state: "State", event: "BatchAnnounced") -> None:
    if state.arrival is not None:
        raise ValueError("a batch was announced while another one arrives")
    size = sum(event.footprints)
    state.arrival = Arrival(
        event.user,
        len(event.footprints),
        size,
        event.snapshots,
        event.inputs,
        dict(event.ended),
    )
    state.user_bytes[event.user] = state.user_bytes.get(event.user, 0) + size
    state.live_bytes += size
    state.progress.learn(event.failures)
    state.progress.keeps_ended = True


def end_if_whole(state: "State") -> None:
    if state.arrival is not None and state.arrival.tasks <= 0:
        _end(state)


def withdraw(state: "State", event: "BatchWithdrawn") -> None:
    """Remove the tasks that have entered, without a trace, and expect no more parts. To other tasks
    that start after them they are failed."""
    for task_id in event.entered:
        if (task := state.tasks.get(task_id)) is not None:
            state.forget(replace(task, status=Status.FAILED))
    if state.arrival is not None:
        if state.arrival.size:
            take(state.user_bytes, state.arrival.user, state.arrival.size)
        state.live_bytes -= state.arrival.size
        _end(state)


def to_come(state: "State", user: str) -> int:
    """Number of a user's tasks that have not entered."""
    arrival = state.arrival
    return arrival.tasks if arrival is not None and arrival.user == user else 0


def is_needed(state: "State", task_id: str) -> bool:
    """Whether a live task, or one that arrives, gets the outputs of this task."""
    arrival = state.arrival
    return task_id in state.inputs or (arrival is not None and task_id in arrival.inputs)


def _end(state: "State") -> None:
    state.arrival = None
    state.progress.keeps_ended = False
    state.progress.drop_ended()
