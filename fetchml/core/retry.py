"""When a failed attempt is tried again, and how long it waits."""

from zlib import crc32

from fetchml.core.model import FailureReason, Task

FIRST_DELAY_MS = 1_000
LONGEST_DELAY_MS = 5 * 60_000

NEVER_RETRIED = frozenset({FailureReason.CANCELLED, FailureReason.START_FAILED})
"""A cancelled task is not wanted; a command that can't be started fails the same way again."""


def may_retry(task: Task, reason: FailureReason, *, permanent: bool) -> bool:
    return (
        not permanent
        and task.cancel is None
        and reason not in NEVER_RETRIED
        and task.retry_count < task.spec.max_retries
    )


def backoff_ms(task: Task) -> int:
    """Exponential from 1 s to 5 min; the jitter (up to a half) comes from the task's id, so that
    tasks that failed together do not return together and a replay decides the same."""
    delay = min(FIRST_DELAY_MS << min(task.retry_count, 16), LONGEST_DELAY_MS)
    return delay + delay * (crc32(f"{task.id}/{task.retry_count}".encode()) % 500) // 1000
