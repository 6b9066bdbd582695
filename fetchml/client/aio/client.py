"""The client: one method for each call of the API."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Unpack

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fetchml.client import code_rpcs, host_rpcs, jupyter_rpcs, rpcs
from fetchml.client.aio.notify import AsyncNotifications
from fetchml.client.cursors import TaskCursor, WatchCursor
from fetchml.client.errors import NotFound
from fetchml.client.jupyter_rpcs import JupyterFields
from fetchml.client.notify_targets import Target
from fetchml.client.rpcs import ListWhere, TaskFields, Where
from fetchml.v1.experiment_pb2 import Experiment, ListExperimentResultsResponse
from fetchml.v1.gpu_pb2 import Gpu, GpuList
from fetchml.v1.jupyter_pb2 import JupyterServiceInfo
from fetchml.v1.queue_pb2 import ListQueueResponse, QueueStats
from fetchml.v1.server_pb2 import DoctorReport, ServerInfo
from fetchml.v1.snapshot_pb2 import Snapshot, SnapshotFile
from fetchml.v1.task_pb2 import (
    CreateTaskRequest,
    Task,
    TaskExplanation,
    TaskInterruption,
    TaskList,
    WatchTasksResponse,
)
from fetchml.v1.usage_pb2 import GpuHistory, GpuHoursList, TaskUsage

if TYPE_CHECKING:
    from fetchml.client.snapshots.local import LocalSnapshot


class AsyncClient(AsyncNotifications):
    """A client of a server, for asyncio: create it in the event loop that uses it.

    Calls raise CallError. To leave an iterator early, close it with `contextlib.aclosing`.
    """

    # Tasks

    async def submit(self, job_name: str, **fields: Unpack[TaskFields]) -> Task:
        """Create a task; returns once the server has stored it. Retries never create a second
        one."""
        return await self.call(rpcs.create_task(job_name, fields))

    async def validate(self, job_name: str, **fields: Unpack[TaskFields]) -> Task:
        """Check a task as `submit` does, and create nothing. Returns the task as it would be,
        without id, with `start_estimate` if its start can be estimated."""
        return await self.call(rpcs.validate_task(job_name, fields))

    async def submit_many(self, requests: Iterable[CreateTaskRequest]) -> Sequence[Task]:
        """Create many tasks, up to 100,000. Retries never create a task twice.

        Up to 1 MiB and 10,000 tasks are created all or none. More are sent in parts of that size:
        if the server rejects a part, the tasks of the parts before it stay.
        """
        rpc, batches = rpcs.create_tasks(requests)
        reply = await self.send(rpc, lambda: iter(batches), self._options.deadline)
        return reply.tasks

    async def get(self, task_id: str) -> Task:
        return await self.call(rpcs.get_task(task_id))

    async def list(
        self, *, page_size: int = 200, **where: Unpack[ListWhere]
    ) -> AsyncIterator[Task]:
        """Yield tasks, newest first and without `output`. Reads the next page when it is
        needed."""
        token = ""
        while True:
            rpc = rpcs.list_tasks(where, page_size=page_size, page_token=token)
            page = await self.call(rpc)
            for task in page.tasks:
                yield task
            token = page.next_page_token
            if not token:
                return

    async def page(self, limit: int, offset: int = 0, **where: Unpack[ListWhere]) -> TaskList:
        """Return up to 1000 tasks, newest first, and the `total` of all that match."""
        return await self.call(rpcs.list_tasks(where, limit=limit, offset=offset))

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
        return await self.call(
            rpcs.update_task(
                task_id, priority, metadata, hold, start_after, timeout_seconds, notify
            )
        )

    async def retry(self, task_id: str, *, idempotency_key: str | None = None) -> Task:
        """Submit an ended task again, as a new task. Retries of the call never create a second
        one."""
        return await self.call(rpcs.retry_task(task_id, idempotency_key))

    async def interrupt(self, task_id: str) -> TaskInterruption:
        """End the running attempt of a task as if its host were lost. The task is queued again,
        which counts as no retry."""
        return await self.call(rpcs.interrupt_task(task_id))

    async def declare_lost(self, task_id: str) -> Task:
        """Give up a running task of a cluster whose node is silent, so that it is retried. It may
        still run there. For admins."""
        return await self.call(rpcs.declare_lost(task_id))

    async def cancel(self, task_id: str) -> Task:
        """Cancel a live task. An ended one stays as it is."""
        return await self.call(rpcs.cancel_task(task_id))

    async def delete(self, task_id: str) -> None:
        """Remove an ended task from all reads. A live one is cancelled instead."""
        await self.call(rpcs.delete_task(task_id))

    async def explain(self, task_id: str) -> TaskExplanation:
        """Return why a task is in its state: its position, what it waits for, its estimate."""
        return await self.call(rpcs.explain_task(task_id))

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
        return await self.call(host_rpcs.get_task_usage(task_id, since, until, points, attempt))

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

    # The queue and the server

    async def queue(self) -> QueueStats:
        return await self.call(host_rpcs.get_queue())

    def watch_queue(self) -> AsyncGenerator[QueueStats]:
        """Yield the numbers of the queue, now and when they have changed, without end. Starts over
        after a lost connection."""
        return self._newest(host_rpcs.watch_queue())

    async def waiting(self, limit: int | None = None) -> ListQueueResponse:
        """Return the waiting tasks in the order in which they start, at most `limit` (100 by
        default), with position, reason and estimate of each, and the `total`."""
        return await self.call(host_rpcs.list_waiting(limit))

    async def server_info(self) -> ServerInfo:
        """Return the server's defaults, limits, quotas and names, and the caller's role."""
        return await self.call(host_rpcs.get_server_info())

    async def doctor(self) -> DoctorReport:
        """Check the server's host. For admins."""
        return await self.call(host_rpcs.run_doctor())

    async def health(self) -> bool:
        """Return whether the server accepts tasks. Needs no API key."""
        reply = await self.call(host_rpcs.check_health())
        return reply.status == reply.SERVING

    # GPUs

    async def gpus(self) -> GpuList:
        """Return the GPUs of the host, ordered by number."""
        return await self.call(host_rpcs.list_gpus())

    def watch_gpus(self) -> AsyncGenerator[GpuList]:
        """Yield what `gpus` returns, now and when it has changed, at most once a second, without
        end. Starts over after a lost connection."""
        return self._newest(host_rpcs.watch_gpus())

    async def gpu_history(
        self,
        *,
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        points: int | None = None,
    ) -> GpuHistory:
        """Return the use of each GPU and the tasks that held it; by default of the last hour."""
        return await self.call(host_rpcs.get_gpu_history(since, until, points))

    async def gpu_hours(
        self, *, since: Timestamp | None = None, until: Timestamp | None = None
    ) -> GpuHoursList:
        """Return GPU hours and ended tasks by day and user; by default of the last 30 days."""
        return await self.call(host_rpcs.list_gpu_hours(since, until))

    async def drain_gpu(self, uuid: str) -> Gpu:
        """Start nothing more on a GPU; what runs on it continues. For admins."""
        return await self.call(host_rpcs.drain_gpu(uuid))

    async def undrain_gpu(self, uuid: str) -> Gpu:
        """Mark a GPU healthy, clear its recorded errors, and use it again. For admins."""
        return await self.call(host_rpcs.undrain_gpu(uuid))

    # Experiments

    async def experiments(self) -> Sequence[Experiment]:
        """Return all experiments, newest first."""
        return (await self.call(code_rpcs.list_experiments())).experiments

    async def create_experiment(
        self, name: str, *, description: str | None = None, commit_id: str | None = None
    ) -> Experiment:
        """Create an experiment. It may exist after Unavailable: that call is not retried."""
        return await self.call(code_rpcs.create_experiment(name, description, commit_id))

    async def get_experiment(self, experiment_id: str) -> Experiment:
        return await self.call(code_rpcs.get_experiment(experiment_id))

    async def archive_experiment(self, experiment_id: str) -> Experiment:
        """Accept no more tasks for an experiment."""
        return await self.call(code_rpcs.archive_experiment(experiment_id))

    async def delete_experiment(self, experiment_id: str) -> None:
        """Delete an experiment. Its tasks stay."""
        await self.call(code_rpcs.delete_experiment(experiment_id))

    async def experiment_results(
        self, experiment_id: str, *, limit: int | None = None, offset: int | None = None
    ) -> ListExperimentResultsResponse:
        """Return the runs of an experiment, newest first, at most `limit` (100 by default): their
        arguments, labels, times and metrics, and the `total`."""
        return await self.call(code_rpcs.list_experiment_results(experiment_id, limit, offset))

    # Snapshots

    async def upload(self, folder: str | Path) -> Snapshot:
        """Upload a folder's code for use as `snapshot_id`, unless the server already has it.

        Includes the files that git tracks or would track; outside of a repository, all that no
        .gitignore excludes. Always leaves out what a .fetchmlignore excludes. Raises BadFolder.
        """
        from fetchml.client.snapshots.local import LocalSnapshot  # noqa: PLC0415  # few need it

        local = await asyncio.to_thread(LocalSnapshot.read, Path(folder))
        if (known := await self.find_snapshot(local.id)) is not None:
            return known
        archive, _ = await asyncio.to_thread(local.pack)
        with archive:
            return await self.send_snapshot(local, archive)

    async def send_snapshot(self, local: "LocalSnapshot", archive: BinaryIO) -> Snapshot:
        """Upload a packed snapshot, without a deadline; starts over after a lost connection."""

        def pieces() -> Iterator[Message]:
            archive.seek(0)
            return local.pieces(archive)

        return await self.send(code_rpcs.upload_snapshot(), pieces, deadline=None)

    async def snapshots(self) -> Sequence[Snapshot]:
        """Return all snapshots, newest first."""
        return (await self.call(code_rpcs.list_snapshots())).snapshots

    async def get_snapshot(self, snapshot_id: str) -> Snapshot:
        return await self.call(code_rpcs.get_snapshot(snapshot_id))

    async def find_snapshot(self, snapshot_id: str) -> Snapshot | None:
        """Return a snapshot; `None` if the server does not have it."""
        try:
            return await self.get_snapshot(snapshot_id)
        except NotFound:
            return None

    async def snapshot_files(self, snapshot_id: str) -> AsyncIterator[SnapshotFile]:
        """Yield the files and links of a snapshot, in the order of their paths."""
        offset = 0
        while True:
            part = await self.call(code_rpcs.list_snapshot_files(snapshot_id, None, offset))
            for file in part.files:
                yield file
            offset += len(part.files)
            if not part.files or offset >= part.total:
                return

    async def read_snapshot_file(self, snapshot_id: str, path: str) -> AsyncGenerator[bytes]:
        """Yield a file of a snapshot in pieces. Raises Unavailable if the connection is lost."""
        rpc = code_rpcs.read_snapshot_file(snapshot_id, path)
        async with aclosing(self.stream(rpc)) as pieces:
            async for piece in pieces:
                yield piece.data

    async def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot. Raises Conflict while a live task or an experiment uses it."""
        await self.call(code_rpcs.delete_snapshot(snapshot_id))

    # Jupyter services

    async def list_jupyter(self) -> Sequence[JupyterServiceInfo]:
        """Return all Jupyter services, newest first, with the tokens of your own."""
        return (await self.call(jupyter_rpcs.list_jupyter())).services

    async def start_jupyter(self, name: str, **fields: Unpack[JupyterFields]) -> JupyterServiceInfo:
        """Start a Jupyter service; returns before Jupyter answers, so watch its `status`.

        Its link is `{url}lab?token={token}`. It may exist after Unavailable: that call is not
        retried.
        """
        return await self.call(jupyter_rpcs.start_jupyter(name, fields))

    async def get_jupyter(self, service_id: str) -> JupyterServiceInfo:
        return await self.call(jupyter_rpcs.get_jupyter(service_id))

    async def stop_jupyter(self, service_id: str) -> None:
        """Stop a Jupyter service. Its workspace stays."""
        await self.call(jupyter_rpcs.stop_jupyter(service_id))
