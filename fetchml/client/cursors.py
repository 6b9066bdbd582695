"""The position of a stream, from which it resumes after a lost connection. No I/O."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.client.arguments import Where, filters
from fetchml.client.errors import NotFound
from fetchml.client.messages import ended
from fetchml.client.rpc import Rpc
from fetchml.v1.task_pb2 import (
    FULL,
    StreamTaskLogsRequest,
    Task,
    TaskLogChunk,
    WatchTasksRequest,
    WatchTasksResponse,
)


class WatchCursor:
    """The position of a watch in the order of all changes."""

    def __init__(self, where: Where, *, task_id: str = "", since_seq: int | None = None) -> None:
        self._where = filters(where)
        self._task_id = task_id
        self._since_seq = since_seq
        self._seen: int | None = None
        """The last `seq` of an incomplete snapshot; `None` if there is none."""
        self._is_cut = False

    def rpc(self) -> Rpc[WatchTasksResponse]:
        """Return the call that starts or resumes the stream."""
        self._is_cut = self._seen is not None
        request = WatchTasksRequest(
            task_id=self._task_id, since_seq=self._since_seq, view=FULL, **self._where
        )
        return Rpc("TaskService/WatchTasks", request, WatchTasksResponse)

    def receive(self, update: WatchTasksResponse) -> list[WatchTasksResponse]:
        """Advance by an update, and return the updates to pass on to the reader.

        An interrupted snapshot cannot be resumed. The new one follows a resync, since a task of
        the first one may have ended in between.
        """
        before: list[WatchTasksResponse] = []
        if self._is_cut:
            self._is_cut = False
            before = [WatchTasksResponse(type=WatchTasksResponse.resync, seq=self._seen)]
        if update.type == WatchTasksResponse.snapshot:
            self._seen = update.seq
        else:
            self._seen, self._since_seq = None, update.seq
        return [*before, update]


class TaskCursor(WatchCursor):
    """The position of a watch of one task, up to its end."""

    def __init__(self, task_id: str) -> None:
        super().__init__({}, task_id=task_id)
        self._id = task_id
        self._known = False
        self.done = False

    def must_read(self, update: WatchTasksResponse) -> bool:
        """Return whether the reader needs the task as it is now: a snapshot holds live tasks
        only, and a resync skips changes. Raises NotFound if the task was deleted."""
        if update.type == WatchTasksResponse.task_deleted:
            raise NotFound(f"{self._id} was removed")
        missed = update.type == WatchTasksResponse.synced and not self._known
        return missed or update.type == WatchTasksResponse.resync

    def read(self, update: WatchTasksResponse, task: Task) -> WatchTasksResponse:
        """Return the update for the reader once the task was read."""
        return WatchTasksResponse(type=WatchTasksResponse.snapshot, seq=update.seq, task=task)

    def advance(self, update: WatchTasksResponse) -> None:
        if update.HasField("task"):
            self._known = True
            self.done = ended(update.task)


class LogCursor:
    """The position in the logs of a task's attempts."""

    def __init__(
        self,
        task_id: str,
        attempt: int | None,
        offset: int,
        *,
        follow: bool,
        tail: int | None = None,
        since: datetime | None = None,
    ) -> None:
        """`attempt` is `None` for the current one, and with `follow` those after it. `tail` and
        `since` hold until the first byte is known."""
        self._tail = tail
        self._since: Timestamp | None = None
        if since is not None:
            self._since = Timestamp()
            self._since.FromDatetime(since)
        self._task_id = task_id
        self._only = attempt
        self._attempt = attempt
        self._offset = offset
        self.follow = follow

    def rpc(self) -> Rpc[TaskLogChunk]:
        """Return the call that starts or resumes the stream."""
        request = StreamTaskLogsRequest(
            task_id=self._task_id,
            attempt=self._attempt,
            offset=self._offset,
            follow=self.follow,
            tail=self._tail,
            since=self._since,
        )
        return Rpc("TaskService/StreamTaskLogs", request, TaskLogChunk)

    def advance(self, chunk: TaskLogChunk) -> None:
        self._attempt, self._offset = chunk.attempt, chunk.offset + len(chunk.data)
        self._tail = self._since = None

    def is_over(self, task: Task) -> bool:
        """Return whether the whole log was read. `task` was read after the stream ended."""
        if self._only is not None:
            return ended(task) or task.attempt > self._only
        if self._attempt is not None and self._attempt < task.attempt:
            self._attempt, self._offset = self._attempt + 1, 0
            return False
        return ended(task)
