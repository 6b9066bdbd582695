"""How large a page of a list may be. A task may hold a megabyte, and a page a thousand tasks."""

import msgspec
from msgspec.structs import replace

from fetchml.core.model import Task
from fetchml.errors import BadRequest

PAGE_BYTES = 16 << 20
"""Of a page that has to hold all that was asked for."""
PART_BYTES = 2 << 20
"""Of a page that may end early, since the next one goes on there: gRPC's clients take 4 MiB unless
they are set to take more."""
ROW_BYTES = 1024
"""Of a task, beside its specification."""

_encode = msgspec.json.Encoder().encode


class PageTooLarge(BadRequest):
    """What was asked for takes more than PAGE_BYTES."""

    def __init__(self, fitting: int) -> None:
        """`fitting`: so many of it don't."""
        super().__init__(
            f"limit: this page takes more than {PAGE_BYTES >> 20} MiB: ask for at most {fitting} "
            "at a time"
        )


def row_bytes(task: Task, *, brief: bool) -> int:
    """What a task takes in a page, about. `brief`: as `in_brief` leaves it."""
    spec = task.spec
    if brief:
        return ROW_BYTES + sum(map(len, spec.datasets or ()))
    return ROW_BYTES + len(_encode(spec))


def in_brief(task: Task) -> Task:
    """Without what can be large and is no part of a basic view."""
    spec = replace(task.spec, command=(), args=None, metadata=None, env=None, dataset_specs=None)
    return replace(task, spec=spec)
