"""Streams that outlive a cut: of updates, and of a task's log."""

import time
from collections.abc import Callable, Iterator

from fetchml.cli.client import Client
from fetchml.cli.failure import Exit, Failure
from fetchml.cli.render import ended
from fetchml.v1 import task_pb2
from fetchml.v1.task_pb2 import Task, TaskLogChunk, WatchTasksRequest, WatchTasksResponse

GIVE_UP_AFTER_SECONDS = 300
LONGEST_PAUSE_SECONDS = 5


class Patience:
    """Waits ever longer after each cut, and gives up when nothing came for some minutes."""

    def __init__(
        self, on_cut: Callable[[str], None], give_up_after: float = GIVE_UP_AFTER_SECONDS
    ) -> None:
        """`give_up_after`: seconds from the first cut."""
        self._on_cut = on_cut
        self._give_up_after = give_up_after
        self._cut_at: float | None = None
        self._pause = 0.1

    def worked(self) -> None:
        self._cut_at = None
        self._pause = 0.1

    def cut(self, failure: Failure) -> None:
        """Returns after a pause. Raises the failure when there is no use in going on."""
        if failure.exit_code != Exit.UNREACHABLE:
            raise failure
        if self._cut_at is None:
            self._cut_at = time.monotonic()
        elif time.monotonic() - self._cut_at > self._give_up_after:
            raise failure
        self._on_cut(failure.message)
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)


def watch(
    client: Client, request: WatchTasksRequest, on_cut: Callable[[str], None]
) -> Iterator[WatchTasksResponse]:
    """A snapshot, then every update of the tasks that match, without a gap, for ever."""
    patience = Patience(on_cut)
    while True:
        try:
            for update in client.stream(client.tasks.WatchTasks, request):
                patience.worked()
                # A snapshot that was cut short is asked for anew.
                if update.type != WatchTasksResponse.snapshot:
                    request.since_seq = update.seq
                yield update
        except Failure as failure:
            patience.cut(failure)


def watch_one(
    client: Client, task_id: str, on_cut: Callable[[str], None]
) -> Iterator[WatchTasksResponse]:
    """The updates of one task; the last one has its end. Raises Failure, also if it is deleted."""
    request = WatchTasksRequest(task_id=task_id, view=task_pb2.FULL)
    seen = False
    for update in watch(client, request, on_cut):
        if update.type == WatchTasksResponse.task_deleted:
            raise Failure(f"{task_id} was removed", code=Exit.NOT_FOUND)
        yield update
        missed = update.type == WatchTasksResponse.synced and not seen
        if missed or update.type == WatchTasksResponse.resync:
            # The snapshot has live tasks only, and a resync leaves out what happened.
            task = _get(client, task_id)
            yield WatchTasksResponse(type=WatchTasksResponse.snapshot, seq=update.seq, task=task)
        else:
            task = update.task
        seen = True
        if ended(task):
            return


def follow_log(
    client: Client, task_id: str, attempt: int | None, on_cut: Callable[[str], None]
) -> Iterator[TaskLogChunk]:
    """What the task writes, until it has ended; without `attempt` through all later ones."""
    patience = Patience(on_cut)
    number, offset = attempt, 0
    while True:
        request = task_pb2.StreamTaskLogsRequest(
            task_id=task_id, attempt=number, offset=offset, follow=True
        )
        try:
            for chunk in client.stream(client.tasks.StreamTaskLogs, request):
                patience.worked()
                number, offset = chunk.attempt, chunk.offset + len(chunk.data)
                yield chunk
            task = _get(client, task_id)
        except Failure as failure:
            patience.cut(failure)
            continue
        if attempt is not None and (ended(task) or task.attempt > attempt):
            return
        if number is not None and number < task.attempt:
            number, offset = number + 1, 0
        elif ended(task):
            return


def _get(client: Client, task_id: str) -> Task:
    request = task_pb2.GetTaskRequest(task_id=task_id, view=task_pb2.FULL)
    task: Task = client.call(client.tasks.GetTask, request)
    return task
