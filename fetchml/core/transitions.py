"""The life of a task: which status may follow which (invariant I4), and why.

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

from fetchml.core.model import Status, Task

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
