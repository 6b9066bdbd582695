"""When a failed attempt is tried again, and how long it waits.

What the box did to the task (the engine or the machine was restarted, its GPU was lost) is tried
again whatever the task asked for, and is not counted as one of its retries: at most five times.
Not so a service: its kernels are gone, and who works in it must be told.
What the task did itself, too little memory and time limits are tried again as often as it asked.
"""

from zlib import crc32

from fetchml.core.model import FailureReason, Task

FIRST_DELAY_MS = 1_000
LONGEST_DELAY_MS = 5 * 60_000
MOST_DELAY_MS = LONGEST_DELAY_MS * 3 // 2
"""With the jitter."""
MOST_INFRA_RETRIES = 5
MOST_AVOIDED = 16
"""GPUs that a task is kept away from."""

NEVER_RETRIED = frozenset({FailureReason.CANCELLED, FailureReason.START_FAILED})
"""A cancelled task is not wanted; a command that can't be started fails the same way again."""


def next_try(
    task: Task, reason: FailureReason, now: int, *, permanent: bool
) -> dict[str, object] | None:
    """What of the task changes when it is tried again; None: it is not."""
    if permanent or task.cancel is not None or reason in NEVER_RETRIED:
        return None
    not_before = now + backoff_ms(task)
    lost = reason is FailureReason.LOST and not task.service
    if lost and task.infra_retries < MOST_INFRA_RETRIES:
        failed = task.halt.gpus if task.halt is not None else ()
        avoid = (*(uuid for uuid in task.avoid_gpus if uuid not in failed), *failed)
        return {
            "infra_retries": task.infra_retries + 1,
            "not_before": not_before,
            "avoid_gpus": avoid[-MOST_AVOIDED:],
        }
    if task.retry_count < task.spec.max_retries:
        return {"retry_count": task.retry_count + 1, "not_before": not_before}
    return None


def backoff_ms(task: Task) -> int:
    """Exponential from 1 s to 5 min; the jitter (up to a half) comes from the task's id, so that
    tasks that failed together do not return together and a replay decides the same."""
    tries = task.retry_count + task.infra_retries
    delay = min(FIRST_DELAY_MS << min(tries, 16), LONGEST_DELAY_MS)
    return delay + delay * (crc32(f"{task.id}/{tries}".encode()) % 500) // 1000
