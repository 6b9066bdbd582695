"""Limits on the number of tasks that one CreateTasks call creates."""

MAX_BATCH = 10_000
"""Tasks in one message, which are created in one durable commit."""
MAX_TASKS_PER_CALL = 100_000
"""Tasks in all messages of a call: the server holds its reply until the client closes its side."""


def batch_size_fault(size: int, earlier: int) -> str | None:
    """Return the fault of a batch's size; `None` if it is valid. `earlier`: tasks in the call's
    earlier batches."""
    if not 1 <= size <= MAX_BATCH:
        return f"must be 1 to {MAX_BATCH} in one message"
    if earlier + size > MAX_TASKS_PER_CALL:
        return f"must not be more than {MAX_TASKS_PER_CALL} in one call: make another call"
    return None
