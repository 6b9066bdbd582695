"""Which failed attempts are retried, and after which delay.

A fault of the host (Docker or the machine was restarted, a GPU was lost) is retried at most
MOST_INFRA_RETRIES times, whatever the request allows, and does not count as one of the task's
retries. A Jupyter service is the exception: its kernels are gone, and its user has to see that. All
other failures, memory and time limits included, are retried up to the request's `max_retries`.
"""

from zlib import crc32

from fetchml.core.model import FailureReason, Task

FIRST_DELAY_MS = 1_000
LONGEST_DELAY_MS = 5 * 60_000
MOST_DELAY_MS = LONGEST_DELAY_MS * 3 // 2
"""The longest delay with its jitter."""
MOST_INFRA_RETRIES = 5
MOST_AVOIDED = 16
"""GPUs that a task avoids, at most: the last ones that failed it."""

NEVER_RETRIED = frozenset({FailureReason.CANCELLED, FailureReason.START_FAILED, FailureReason.IDLE})
"""A cancelled task is no longer wanted; a command that can't be started would fail again, and one
that left its GPUs idle would take them again."""


def next_try(
    task: Task, reason: FailureReason, now: int, *, permanent: bool
) -> dict[str, object] | None:
    """The task's fields that change if it is retried; `None` if it is not.

    `permanent`: a retry would fail the same way.
    """
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
    """The delay before a retry: exponential from 1 s to 5 min, with jitter of up to a half.

    The jitter is a hash of the task's id: tasks that failed together do not return together, and a
    replay decides the same.
    """
    tries = task.retry_count + task.infra_retries
    delay = min(FIRST_DELAY_MS << min(tries, 16), LONGEST_DELAY_MS)
    return delay + delay * (crc32(f"{task.id}/{tries}".encode()) % 500) // 1000
