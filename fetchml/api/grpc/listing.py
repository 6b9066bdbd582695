"""ListTasks: the request as plain values, and the reply."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack

from fetchml.api.grpc.sending import UnreadReplies
from fetchml.api.listing import ListRequest
from fetchml.api.task_messages import fill_task, milliseconds, states_of, wants_full
from fetchml.core.footprint import TASK_BYTES, task_footprint
from fetchml.core.model import Task
from fetchml.core.requests.listing import MAX_LABELS, Filters
from fetchml.system.pacing import Pace, turn_for
from fetchml.v1 import task_pb2

LARGE_BYTES = 1 << 20
"""Larger replies are made one at a time."""
STEP_BYTES = 512 << 10
"""Texts of tasks that are in a reply before they are serialized and counted."""


def list_request(request: task_pb2.ListTasksRequest) -> ListRequest:
    """Convert the request; `fetchml.api.listing` validates it. Raises BadRequest."""
    status = states_of([request.status], "status")[0] if request.HasField("status") else None
    times = {
        name: milliseconds(getattr(request, name))
        for name in ("created_after", "created_before")
        if request.HasField(name)
    }
    return ListRequest(
        Filters(
            user=request.user_id,
            job_name_prefix=request.job_name_prefix,
            experiment_id=request.experiment_id,
            sweep_id=request.sweep_id,
            fold_sweeps=request.fold_sweeps,
            fold_experiments=request.fold_experiments,
            text=request.text,
            labels=request.labels[: MAX_LABELS + 1],
            id_suffix=request.id_suffix,
            **times,
        ),
        status=status,
        states=states_of(request.states),
        limit=request.limit if request.HasField("limit") else None,
        offset=request.offset if request.HasField("offset") else None,
        page_size=request.page_size,
        page_token=request.page_token,
        full=wants_full(request.view),
    )


class ListReplies:
    """Makes replies of `ListTasks`.

    It yields to other requests in between. A large reply is serialized in parts, because at once
    that would take milliseconds: parts of a message, one after the other, are the message.
    """

    def __init__(self, unread: UnreadReplies) -> None:
        """`unread` counts the parts of a reply until it is complete."""
        self._unread = unread
        self._large = asyncio.Lock()
        """Held while a large reply is made."""

    async def with_tasks(
        self, reply: task_pb2.TaskList, tasks: Iterable[Task], *, full: bool, caller: str
    ) -> task_pb2.TaskList | bytes:
        """Return the reply with the tasks added; serialized if that took more than one turn. Raises
        TooManyBytes, Overloaded."""
        parts = list[bytes]()
        size = unserialized = 0
        is_large = False
        pace = Pace()
        async with AsyncExitStack() as held:
            made = held.enter_context(self._unread.made(caller))
            for task in tasks:
                texts = task_footprint(task) - TASK_BYTES if full else 0
                if pace.due or unserialized + texts > STEP_BYTES:
                    await pace.turn()
                    if reply.tasks:
                        parts.append(reply.SerializeToString())
                        size += len(parts[-1])
                        made.add(len(parts[-1]))
                        reply = task_pb2.TaskList()  # A cleared message would keep its memory.
                        unserialized = 0
                    if not is_large and size + texts > LARGE_BYTES:
                        await held.enter_async_context(self._large)
                        is_large = True
                fill_task(reply.tasks.add(), task, full=full)
                unserialized += texts
            if not parts:
                return reply
            await pace.turn()
            parts.append(reply.SerializeToString())
            made.add(len(parts[-1]))
            await turn_for(size + len(parts[-1]))
            return b"".join(parts)
