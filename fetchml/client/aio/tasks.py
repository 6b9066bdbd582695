"""The calls for tasks: their changes, logs and outputs, and commands and ports in running ones."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack
from uuid import uuid4

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.client.access import ExecResult, exec_messages, exec_task
from fetchml.client.aio.calls import AsyncCalls
from fetchml.client.arguments import (
    ListWhere,
    LogSearch,
    Target,
    TaskFields,
    Where,
    batches,
    list_filters,
    make_repeatable,
    target,
    task_fields,
    timestamp,
)
from fetchml.client.cursors import LogCursor, TaskCursor, WatchCursor
from fetchml.client.downloads import PartFile
from fetchml.client.errors import CallError, Conflict, Unavailable
from fetchml.client.rpc import SHORTEST_PAUSE_SECONDS, Backoff, Rpc
from fetchml.v1 import reproduce_pb2, task_pb2
from fetchml.v1.access_pb2 import OpenTaskPortRequest, TaskPortLink
from fetchml.v1.reproduce_pb2 import TaskDiff, TaskPackages
from fetchml.v1.task_pb2 import (
    FULL,
    CreateTaskRequest,
    CreateTasksResponse,
    DownloadTaskOutputRequest,
    ListTasksRequest,
    Task,
    TaskExplanation,
    TaskInterruption,
    TaskList,
    TaskLogChunk,
    TaskLogInfo,
    TaskLogMatches,
    TaskOutput,
    TaskOutputChunk,
    TaskOutputs,
    WatchTasksResponse,
)
from fetchml.v1.usage_pb2 import GetTaskUsageRequest, TaskUsage

if TYPE_CHECKING:
    from fetchml.v1.access_pb2 import ExecExit


class AsyncTasks(AsyncCalls):
    # Tasks

    async def submit(self, job_name: str, **fields: Unpack[TaskFields]) -> Task:
        """Create a task; returns once the server has stored it. Retries never create a second
        one."""
        request = CreateTaskRequest(job_name=job_name, **task_fields(fields))
        make_repeatable(request)
        return await self.call(Rpc("TaskService/CreateTask", request, Task))

    async def validate(self, job_name: str, **fields: Unpack[TaskFields]) -> Task:
        """Check a task as `submit` does, and create nothing. Returns the task as it would be,
        without id, with `start_estimate` if its start can be estimated."""
        request = CreateTaskRequest(
            job_name=job_name, validate_only=True, view=FULL, **task_fields(fields)
        )
        return await self.call(Rpc("TaskService/CreateTask", request, Task))

    async def submit_many(self, requests: Iterable[CreateTaskRequest]) -> Sequence[Task]:
        """Create many tasks, up to 100,000. Retries never create a task twice.

        Up to 1 MiB and 10,000 tasks are created all or none. More are sent in parts of that size:
        if the server rejects a part, the tasks of the parts before it stay.
        """
        parts = batches(requests)
        rpc = Rpc("TaskService/CreateTasks", parts[0], CreateTasksResponse)
        reply = await self.send(rpc, lambda: iter(parts), self._options.deadline)
        return reply.tasks

    async def get(self, task_id: str) -> Task:
        request = task_pb2.GetTaskRequest(task_id=task_id, view=FULL)
        return await self.call(Rpc("TaskService/GetTask", request, Task))

    async def list(
        self, *, page_size: int = 200, **where: Unpack[ListWhere]
    ) -> AsyncIterator[Task]:
        """Yield tasks, newest first and without `output`. Reads the next page when it is
        needed."""
        request = ListTasksRequest(page_size=page_size, view=FULL, **list_filters(where))
        while True:
            page = await self.call(Rpc("TaskService/ListTasks", request, TaskList))
            for task in page.tasks:
                yield task
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def page(self, limit: int, offset: int = 0, **where: Unpack[ListWhere]) -> TaskList:
        """Return up to 1000 tasks, newest first, and the `total` of all that match."""
        filters = list_filters(where)
        request = ListTasksRequest(limit=limit, offset=offset, view=FULL, **filters)
        return await self.call(Rpc("TaskService/ListTasks", request, TaskList))

    async def update(
        self,
        task_id: str,
        *,
        priority: int | None = None,
        metadata: Mapping[str, str] | None = None,
        hold: bool | None = None,
        start_after: datetime | None = None,
        timeout_seconds: int | None = None,
        notify: Sequence[Target] | None = None,
    ) -> Task:
        """Change the priority, hold and earliest start of a waiting task, the time limit and the
        webhooks of one that waits or runs, and labels of any task.

        An empty value removes its label; labels that are not named stay. A `start_after` in the
        past means at once. `timeout_seconds` counts from the start of the attempt; 0 means no
        limit. `notify` replaces all webhooks of the task; an empty one removes them.
        """
        changes = {
            "priority": priority,
            "metadata": metadata,
            "hold": hold,
            "start_after": None if start_after is None else timestamp("start_after", start_after),
            "timeout_seconds": timeout_seconds,
            "notify": None if notify is None else [target(each) for each in notify],
        }
        fields: dict[str, Any] = {
            name: value for name, value in changes.items() if value is not None
        }
        # The mask also names what becomes empty.
        request = task_pb2.UpdateTaskRequest(
            task_id=task_id, view=FULL, update_mask=FieldMask(paths=fields), **fields
        )
        return await self.call(Rpc("TaskService/UpdateTask", request, Task))

    async def retry(self, task_id: str, *, idempotency_key: str | None = None) -> Task:
        """Submit an ended task again, as a new task. Retries of the call never create a second
        one."""
        key = idempotency_key or str(uuid4())
        request = task_pb2.RetryTaskRequest(task_id=task_id, idempotency_key=key, view=FULL)
        return await self.call(Rpc("TaskService/RetryTask", request, Task))

    async def rerun(
        self,
        task_id: str,
        *,
        parameters: Mapping[str, str] | None = None,
        args: str | None = None,
        pinned: bool = False,
    ) -> Task:
        """Submit a task again with changes, as a new task. `pinned`: with the image, datasets and
        packages that it ran with. A lost reply raises, since the task may exist."""
        request = reproduce_pb2.RerunTaskRequest(
            task_id=task_id, parameters=parameters, args=args, pinned=pinned, view=FULL
        )
        return await self.call(Rpc("ReproduceService/RerunTask", request, Task, repeatable=False))

    async def diff(self, task_id: str, other_id: str, *, outputs: bool = False) -> TaskDiff:
        """Compare two tasks in all that made them, and in their results; with `outputs` also the
        files that they wrote."""
        request = reproduce_pb2.DiffTasksRequest(
            task_id=task_id, other_id=other_id, outputs=outputs
        )
        return await self.call(Rpc("ReproduceService/DiffTasks", request, TaskDiff))

    async def packages(self, task_id: str) -> Sequence[str]:
        """Return the packages of a task's environment, as `name==version`."""
        request = reproduce_pb2.ListTaskPackagesRequest(task_id=task_id)
        return (
            await self.call(Rpc("ReproduceService/ListTaskPackages", request, TaskPackages))
        ).packages

    async def interrupt(self, task_id: str) -> TaskInterruption:
        """End the running attempt of a task as if its host were lost. The task is queued again,
        which counts as no retry."""
        request = task_pb2.InterruptTaskRequest(task_id=task_id)
        rpc = Rpc("TaskService/InterruptTask", request, TaskInterruption, repeatable=False)
        return await self.call(rpc)

    async def declare_lost(self, task_id: str) -> Task:
        """Declare a running task on a silent node of a cluster lost, so that it is retried. It
        may still run there. For admins."""
        request = task_pb2.DeclareTaskLostRequest(task_id=task_id, view=FULL)
        return await self.call(Rpc("TaskService/DeclareTaskLost", request, Task))

    async def cancel(self, task_id: str) -> Task:
        """Cancel a live task. An ended one stays as it is."""
        request = task_pb2.CancelTaskRequest(task_id=task_id, view=FULL)
        return await self.call(Rpc("TaskService/CancelTask", request, Task))

    async def delete(self, task_id: str) -> None:
        """Remove an ended task from all reads. A live one is cancelled instead."""
        request = task_pb2.DeleteTaskRequest(task_id=task_id)
        await self.call(Rpc("TaskService/DeleteTask", request, Empty, deletes=True))

    async def explain(self, task_id: str) -> TaskExplanation:
        """Return why a task is in its state: its position, what it waits for, its estimate."""
        request = task_pb2.ExplainTaskRequest(task_id=task_id)
        return await self.call(Rpc("TaskService/ExplainTask", request, TaskExplanation))

    async def usage(
        self,
        task_id: str,
        *,
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        points: int | None = None,
        attempt: int | None = None,
    ) -> TaskUsage:
        """Return the processor, memory and disk use of a task, in at most `points` points."""
        request = GetTaskUsageRequest(
            task_id=task_id, since=since, until=until, points=points, attempt=attempt
        )
        return await self.call(Rpc("UsageService/GetTaskUsage", request, TaskUsage))

    # Changes

    def watch(
        self, *, since_seq: int | None = None, **where: Unpack[Where]
    ) -> AsyncGenerator[WatchTasksResponse]:
        """Yield the live tasks, `synced`, then every change in order, without end. With
        `since_seq`, yield the changes after that one.

        Resumes after a lost connection. After a `resync`, changes were missed: read the tasks
        again.
        """
        return self._changes(WatchCursor(where, since_seq=since_seq))

    async def watch_task(
        self, task_id: str, *, timeout: float | None = None
    ) -> AsyncGenerator[WatchTasksResponse]:
        """Yield every change of one task, up to its end.

        Raises TimeoutError after `timeout` seconds, and NotFound also when the task is deleted.
        """
        until = None if timeout is None else time.monotonic() + timeout
        cursor = TaskCursor(task_id)
        async with aclosing(self._changes(cursor, until)) as changes:
            async for change in changes:
                update = change
                if cursor.must_read(change):
                    yield change
                    update = cursor.read(change, await self.get(task_id))
                cursor.advance(update)
                yield update
                if cursor.done:
                    return

    async def wait(self, task_id: str, *, timeout: float | None = None) -> Task:
        """Return the task, with its output, once it has ended. Raises TimeoutError after `timeout`
        seconds; the task continues."""
        async for _ in self.watch_task(task_id, timeout=timeout):
            pass
        return await self.get(task_id)

    # Logs

    async def logs(
        self,
        task_id: str,
        *,
        attempt: int | None = None,
        offset: int = 0,
        tail: int | None = None,
        since: datetime | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[TaskLogChunk]:
        """Yield what an attempt wrote to stdout and stderr, from byte `offset`; with `follow`
        until the task ends.

        `attempt` is `None` for the current one, and with `follow` those after it. `tail` starts at
        the last lines, `since` at a time, UTC without a time zone. Resumes at the next byte after a
        lost connection. A gap in `offset` means bytes that are no longer kept.
        """
        cursor = LogCursor(task_id, attempt, offset, follow=follow, tail=tail, since=since)
        backoff = Backoff(self._options.patience)
        while True:
            try:
                stream = self.stream(cursor.rpc(), on_accepted=backoff.reset)
                async with aclosing(stream) as chunks:
                    async for chunk in chunks:
                        backoff.reset()
                        cursor.advance(chunk)
                        yield chunk
                if not follow or cursor.is_over(await self.get(task_id)):
                    return
            except CallError as failed:
                await self._pause(backoff, failed)
                continue
            await self._sleep(SHORTEST_PAUSE_SECONDS)

    async def log_info(
        self,
        task_id: str,
        *,
        attempt: int | None = None,
        offset: int | None = None,
        limit: int | None = None,
    ) -> TaskLogInfo:
        """Return the bounds of a log, and when its bytes were written: all, or `limit` of them from
        `offset`."""
        request = task_pb2.GetTaskLogInfoRequest(
            task_id=task_id, attempt=attempt, offset=offset, limit=limit
        )
        return await self.call(Rpc("TaskService/GetTaskLogInfo", request, TaskLogInfo))

    async def search_logs(
        self, task_id: str, text: str, **fields: Unpack[LogSearch]
    ) -> TaskLogMatches:
        """Return the next lines of a log that contain a text. `next_offset` continues the
        search."""
        request = task_pb2.SearchTaskLogsRequest(task_id=task_id, q=text, **fields)
        return await self.call(Rpc("TaskService/SearchTaskLogs", request, TaskLogMatches))

    # Outputs

    async def outputs(self, task_id: str, *, folder: str = "outputs") -> Sequence[TaskOutput]:
        """Return the files that the task wrote to /outputs, ordered by path; with the folder
        `checkpoint` those of its checkpoint."""
        request = task_pb2.ListTaskOutputsRequest(task_id=task_id, folder=folder)
        return (await self.call(Rpc("TaskService/ListTaskOutputs", request, TaskOutputs))).outputs

    async def read_output(
        self, task_id: str, path: str, *, folder: str = "outputs"
    ) -> AsyncGenerator[bytes]:
        """Yield a file in pieces. Raises Unavailable if the connection is lost. `folder` as for
        `outputs`."""
        request = DownloadTaskOutputRequest(task_id=task_id, path=path, folder=folder)
        rpc = Rpc("TaskService/DownloadTaskOutput", request, TaskOutputChunk)
        async with aclosing(self.stream(rpc)) as pieces:
            async for piece in pieces:
                if piece.data:
                    yield piece.data

    async def download(
        self,
        task_id: str,
        path: str,
        to: str | Path,
        *,
        folder: str = "outputs",
        resume: bool = False,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Path:
        """Write an output file to the file `to`, which appears once it is complete.

        Continues after a lost connection, if the file is still the same. With `resume` a download
        that fails leaves `TO.ETAG.part`, from which a later one continues. `on_bytes` is called
        with the number of bytes that are here. `folder` as for `outputs`.
        """
        part = PartFile(Path(to))
        backoff = Backoff(self._options.patience)
        try:
            if resume:
                await asyncio.to_thread(part.find)
            while True:
                try:
                    request = DownloadTaskOutputRequest(
                        task_id=task_id,
                        path=path,
                        offset=part.offset,
                        etag=part.etag,
                        folder=folder,
                    )
                    rpc = Rpc("TaskService/DownloadTaskOutput", request, TaskOutputChunk)
                    async with aclosing(self.stream(rpc)) as chunks:
                        async for chunk in chunks:
                            backoff.reset()
                            await asyncio.to_thread(part.take, chunk)
                            if on_bytes is not None:
                                on_bytes(part.offset)
                    return await asyncio.to_thread(part.finish)
                except Conflict:  # Another file by now.
                    if not part.etag:
                        raise
                    await asyncio.to_thread(part.discard)
                except CallError as failed:
                    await asyncio.to_thread(part.pause)
                    await self._pause(backoff, failed)
        finally:
            if resume:
                part.pause()
            else:
                part.discard()

    # Running tasks

    async def open_port(self, task_id: str, port: int) -> TaskPortLink:
        """Return a link that opens a port of a running task in a browser, once.

        Raises Conflict if nothing runs, or if the server has no origins for ports of tasks.
        """
        request = OpenTaskPortRequest(task_id=task_id, port=port)
        return await self.call(Rpc("AccessService/OpenTaskPort", request, TaskPortLink))

    async def exec(self, task_id: str, command: Sequence[str], *, data: bytes = b"") -> ExecResult:
        """Run a command in a running task, with `data` as its input, and return its whole output.

        It runs as the task's user, in its environment and within its limits. Only the task's owner
        and admins may. Raises Conflict if the task does not run, or ends before the command does.
        """
        rpc = exec_task(task_id, command)
        stdout, stderr = bytearray(), bytearray()
        end: ExecExit | None = None

        def messages() -> Iterator[Message]:
            return exec_messages(rpc, data)

        async with aclosing(self.converse(rpc, messages)) as replies:
            async for reply in replies:
                stdout += reply.stdout
                stderr += reply.stderr
                if reply.HasField("exit"):
                    end = reply.exit
        if end is None:
            raise Unavailable("The session ended without the exit of its command")
        return ExecResult(end.code, bytes(stdout), bytes(stderr), end.error)
