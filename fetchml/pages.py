"""Size limits of pages of lists: a task may have a megabyte, and a page a thousand tasks."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from fetchml.core.model import Task
from fetchml.errors import BadRequest
from fetchml.system.pacing import Pace

PAGE_BYTES = 16 << 20
"""Most bytes of a page that must hold everything that was requested."""
PART_BYTES = 2 << 20
"""Most bytes of a page that may end early, because the next one continues there. By default gRPC's
clients accept messages of up to 4 MiB."""
STEP_BYTES = 256 << 10
"""Bytes of tasks that are measured before other requests may run."""
ROW_BYTES = 1024
"""Bytes of a task besides its specification."""

_encode = msgspec.json.Encoder().encode


class PageTooLarge(BadRequest):
    """The requested page takes more than PAGE_BYTES."""

    def __init__(self, fitting: int) -> None:
        """`fitting`: the number of tasks that fit."""
        super().__init__(
            f"limit: this page takes more than {PAGE_BYTES >> 20} MiB: ask for at most {fitting} "
            "at a time"
        )


def row_bytes(task: Task, *, brief: bool) -> int:
    """Estimate the bytes of a task in a page. `brief`: as returned by `in_brief`."""
    spec = task.spec
    if brief:
        row = ROW_BYTES + sum(map(len, spec.datasets or ()))
        return row if spec.sweep is None else row + sum(map(len, spec.sweep.parameters.values()))
    return ROW_BYTES + len(_encode(spec))


async def fitting(tasks: Sequence[Task], most_bytes: int, *, brief: bool) -> int:
    """Return how many of the first tasks fit into a page, at least one. Yields to other requests in
    between: tasks with large texts take milliseconds."""
    taken, look_at, pace = 0, min(STEP_BYTES, most_bytes), Pace()
    for number, task in enumerate(tasks):
        taken += row_bytes(task, brief=brief)
        if taken > look_at:  # Looking at each of many small tasks would slow an ordinary page.
            if taken > most_bytes and number:
                return number
            await pace.rest()
            look_at = min(taken + STEP_BYTES, most_bytes)
    return len(tasks)


def in_brief(task: Task) -> Task:
    """Return the task without the large fields that are not in the basic view."""
    spec = replace(task.spec, command=(), args=None, metadata=None, env=None, dataset_specs=None)
    return replace(task, spec=spec)
