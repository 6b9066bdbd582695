"""Where a stream is, so that it goes on there after a cut. No I/O: both clients drive these."""

from fetchml.client import rpcs
from fetchml.client.errors import NotFound
from fetchml.client.messages import ended
from fetchml.client.rpcs import Rpc, Where
from fetchml.v1.task_pb2 import Task, TaskLogChunk, WatchTasksResponse


class WatchCursor:
    """The place in the order of all changes."""

    def __init__(self, where: Where, *, task_id: str = "", since_seq: int | None = None) -> None:
        self._where = where
        self._task_id = task_id
        self._since_seq = since_seq
        self._seen: int | None = None
        """The last `seq` of a snapshot that is not complete."""
        self._is_cut = False

    def rpc(self) -> Rpc[WatchTasksResponse]:
        """What to call next."""
        self._is_cut = self._seen is not None
        return rpcs.watch_tasks(self._where, task_id=self._task_id, since_seq=self._since_seq)

    def told(self, update: WatchTasksResponse) -> list[WatchTasksResponse]:
        """What the reader is told when this comes.

        A snapshot that was cut short can't be resumed. A new one follows a resync, since a task
        of the first one may have ended in between.
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
    """The changes of one task, to its end."""

    def __init__(self, task_id: str) -> None:
        super().__init__({}, task_id=task_id)
        self._id = task_id
        self._known = False
        self.done = False

    def must_read(self, update: WatchTasksResponse) -> bool:
        """Whether the task must be asked for: a snapshot has live ones only, and a resync leaves
        out what happened. Raises NotFound if it was deleted."""
        if update.type == WatchTasksResponse.task_deleted:
            raise NotFound(f"{self._id} was removed")
        missed = update.type == WatchTasksResponse.synced and not self._known
        return missed or update.type == WatchTasksResponse.resync

    def read(self, update: WatchTasksResponse, task: Task) -> WatchTasksResponse:
        """What the reader is told once the task was asked for."""
        return WatchTasksResponse(type=WatchTasksResponse.snapshot, seq=update.seq, task=task)

    def saw(self, update: WatchTasksResponse) -> None:
        if update.HasField("task"):
            self._known = True
            self.done = ended(update.task)


class LogCursor:
    """The place in the logs of a task's attempts."""

    def __init__(self, task_id: str, attempt: int | None, offset: int, *, follow: bool) -> None:
        """`attempt` None: the current one, and with `follow` those after it."""
        self._task_id = task_id
        self._only = attempt
        self._attempt = attempt
        self._offset = offset
        self.follow = follow

    def rpc(self) -> Rpc[TaskLogChunk]:
        """What to call next."""
        return rpcs.stream_logs(self._task_id, self._attempt, self._offset, follow=self.follow)

    def saw(self, chunk: TaskLogChunk) -> None:
        self._attempt, self._offset = chunk.attempt, chunk.offset + len(chunk.data)

    def is_over(self, task: Task) -> bool:
        """Whether all was told, when a stream has ended and the task is so now."""
        if self._only is not None:
            return ended(task) or task.attempt > self._only
        if self._attempt is not None and self._attempt < task.attempt:
            self._attempt, self._offset = self._attempt + 1, 0
            return False
        return ended(task)
