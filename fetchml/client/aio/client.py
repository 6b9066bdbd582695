"""The client for programs with an event loop. What each call does stands in `sync.py`."""

import asyncio
import functools
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TypeVar, Unpack

import grpc
from google.protobuf.message import Message

from fetchml.client import rpcs
from fetchml.client.connection import CHANNEL_OPTIONS, find_target
from fetchml.client.cursors import LogCursor, TaskCursor, WatchCursor
from fetchml.client.errors import CallError, NotFound, Unreachable, call_error
from fetchml.client.retries import (
    SHORTEST_PAUSE_SECONDS,
    Options,
    Patience,
    Tries,
    is_accepted,
)
from fetchml.client.rpcs import JupyterFields, Rpc, TaskFields, Where
from fetchml.v1.experiment_pb2 import Experiment
from fetchml.v1.gpu_pb2 import Gpu, GpuList
from fetchml.v1.jupyter_pb2 import JupyterServiceInfo
from fetchml.v1.queue_pb2 import QueueStats
from fetchml.v1.snapshot_pb2 import Snapshot
from fetchml.v1.task_pb2 import (
    CreateTaskRequest,
    Task,
    TaskExplanation,
    TaskList,
    TaskLogChunk,
    TaskOutput,
    WatchTasksResponse,
)

if TYPE_CHECKING:
    from fetchml.client.snapshots.local import Code

Reply = TypeVar("Reply")


class AsyncClient:
    """As Client, for one event loop: make it where that runs.

    Who leaves an iterator early ends its call with `contextlib.aclosing`.
    """

    def __init__(
        self,
        server: str | None = None,
        key: str | None = None,
        *,
        tls_ca: str | Path | None = None,
        options: Options = Options(),  # noqa: B008  # a tuple
    ) -> None:
        self._target = find_target(server, key, tls_ca)
        self._options = options
        address, credentials = self._target.address, self._target.credentials
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, CHANNEL_OPTIONS)

    @property
    def server(self) -> str:
        return self._target.server

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def with_options(
        self,
        *,
        deadline: float | None = None,
        patience: float | None = None,
        retries: bool | None = None,
        on_cut: Callable[[CallError], None] | None = None,
    ) -> Self:
        other = object.__new__(type(self))
        other._target, other._channel = self._target, self._channel
        other._options = self._options.changed(deadline, patience, retries, on_cut)
        return other

    # Tasks

    async def submit(self, job_name: str, **fields: Unpack[TaskFields]) -> Task:
        return await self.call(rpcs.create_task(job_name, fields))

    async def submit_many(self, requests: Iterable[CreateTaskRequest]) -> Sequence[Task]:
        rpc, batches = rpcs.create_tasks(requests)
        reply = await self.send(rpc, lambda: iter(batches), self._options.deadline)
        return reply.tasks

    async def get(self, task_id: str) -> Task:
        return await self.call(rpcs.get_task(task_id))

    async def list(self, *, page_size: int = 200, **where: Unpack[Where]) -> AsyncIterator[Task]:
        token = ""
        while True:
            rpc = rpcs.list_tasks(where, page_size=page_size, page_token=token)
            page = await self.call(rpc)
            for task in page.tasks:
                yield task
            token = page.next_page_token
            if not token:
                return

    async def page(self, limit: int, offset: int = 0, **where: Unpack[Where]) -> TaskList:
        return await self.call(rpcs.list_tasks(where, limit=limit, offset=offset))

    async def cancel(self, task_id: str) -> Task:
        return await self.call(rpcs.cancel_task(task_id))

    async def delete(self, task_id: str) -> None:
        await self.call(rpcs.delete_task(task_id))

    async def explain(self, task_id: str) -> TaskExplanation:
        return await self.call(rpcs.explain_task(task_id))

    # What goes on

    def watch(
        self, *, since_seq: int | None = None, **where: Unpack[Where]
    ) -> AsyncGenerator[WatchTasksResponse]:
        return self._changes(WatchCursor(where, since_seq=since_seq))

    async def watch_task(
        self,
        task_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # of the iterator
    ) -> AsyncGenerator[WatchTasksResponse]:
        until = None if timeout is None else asyncio.get_running_loop().time() + timeout
        cursor = TaskCursor(task_id)
        async with aclosing(self._changes(cursor)) as changes:
            while not cursor.done:
                async with asyncio.timeout_at(until):
                    update = change = await anext(changes)
                    if must_read := cursor.must_read(change):
                        update = cursor.read(change, await self.get(task_id))
                cursor.saw(update)
                if must_read:
                    yield change
                yield update

    async def wait(self, task_id: str, *, timeout: float | None = None) -> Task:  # noqa: ASYNC109
        async for _ in self.watch_task(task_id, timeout=timeout):
            pass
        return await self.get(task_id)

    async def logs(
        self, task_id: str, *, attempt: int | None = None, offset: int = 0, follow: bool = False
    ) -> AsyncGenerator[TaskLogChunk]:
        cursor = LogCursor(task_id, attempt, offset, follow=follow)
        patience = Patience(self._options.patience)
        while True:
            try:
                stream = self.stream(cursor.rpc(), on_accepted=patience.worked)
                async with aclosing(stream) as chunks:
                    async for chunk in chunks:
                        patience.worked()
                        cursor.saw(chunk)
                        yield chunk
                if not follow or cursor.is_over(await self.get(task_id)):
                    return
            except CallError as failed:
                await self._rest(patience, failed)
                continue
            await asyncio.sleep(SHORTEST_PAUSE_SECONDS)

    # Results

    async def outputs(self, task_id: str) -> Sequence[TaskOutput]:
        return (await self.call(rpcs.list_outputs(task_id))).outputs

    async def read_output(self, task_id: str, path: str) -> AsyncGenerator[bytes]:
        async with aclosing(self.stream(rpcs.download_output(task_id, path))) as pieces:
            async for piece in pieces:
                yield piece.data

    async def download(self, task_id: str, path: str, to: str | Path) -> Path:
        to = Path(to)
        part = to.with_name(f"{to.name}.part")
        patience = Patience(self._options.patience)
        try:
            while True:
                try:
                    with await asyncio.to_thread(part.open, "wb") as file:
                        async with aclosing(self.read_output(task_id, path)) as pieces:
                            async for data in pieces:
                                patience.worked()
                                await asyncio.to_thread(file.write, data)
                    return part.replace(to)
                except CallError as failed:
                    await self._rest(patience, failed)
        finally:
            part.unlink(missing_ok=True)

    # The queue and the server

    async def queue(self) -> QueueStats:
        return await self.call(rpcs.get_queue())

    async def health(self) -> bool:
        reply = await self.call(rpcs.check_health())
        return reply.status == reply.SERVING

    # GPUs

    async def gpus(self) -> GpuList:
        return await self.call(rpcs.list_gpus())

    async def drain_gpu(self, uuid: str) -> Gpu:
        return await self.call(rpcs.drain_gpu(uuid))

    async def undrain_gpu(self, uuid: str) -> Gpu:
        return await self.call(rpcs.undrain_gpu(uuid))

    # Experiments

    async def experiments(self) -> Sequence[Experiment]:
        return (await self.call(rpcs.list_experiments())).experiments

    async def create_experiment(
        self, name: str, *, description: str | None = None, commit_id: str | None = None
    ) -> Experiment:
        return await self.call(rpcs.create_experiment(name, description, commit_id))

    async def get_experiment(self, experiment_id: str) -> Experiment:
        return await self.call(rpcs.get_experiment(experiment_id))

    async def archive_experiment(self, experiment_id: str) -> Experiment:
        return await self.call(rpcs.archive_experiment(experiment_id))

    async def delete_experiment(self, experiment_id: str) -> None:
        await self.call(rpcs.delete_experiment(experiment_id))

    # Snapshots

    async def upload(self, folder: str | Path) -> Snapshot:
        from fetchml.client.snapshots.local import Code  # noqa: PLC0415  # few need it

        code = await asyncio.to_thread(Code.read, Path(folder))
        if (known := await self.find_snapshot(code.id)) is not None:
            return known
        archive, _ = await asyncio.to_thread(code.pack)
        with archive:
            return await self.send_snapshot(code, archive)

    async def send_snapshot(self, code: "Code", archive: BinaryIO) -> Snapshot:
        def pieces() -> Iterator[Message]:
            archive.seek(0)
            return code.pieces(archive)

        return await self.send(rpcs.upload_snapshot(), pieces, deadline=None)

    async def snapshots(self) -> Sequence[Snapshot]:
        return (await self.call(rpcs.list_snapshots())).snapshots

    async def get_snapshot(self, snapshot_id: str) -> Snapshot:
        return await self.call(rpcs.get_snapshot(snapshot_id))

    async def find_snapshot(self, snapshot_id: str) -> Snapshot | None:
        try:
            return await self.get_snapshot(snapshot_id)
        except NotFound:
            return None

    async def delete_snapshot(self, snapshot_id: str) -> None:
        await self.call(rpcs.delete_snapshot(snapshot_id))

    # Jupyter services

    async def list_jupyter(self) -> Sequence[JupyterServiceInfo]:
        return (await self.call(rpcs.list_jupyter())).services

    async def start_jupyter(self, name: str, **fields: Unpack[JupyterFields]) -> JupyterServiceInfo:
        return await self.call(rpcs.start_jupyter(name, fields))

    async def get_jupyter(self, service_id: str) -> JupyterServiceInfo:
        return await self.call(rpcs.get_jupyter(service_id))

    async def stop_jupyter(self, service_id: str) -> None:
        await self.call(rpcs.stop_jupyter(service_id))

    # What all of these are made of; for calls that have no method here, too

    async def call(self, rpc: Rpc[Reply]) -> Reply:
        method = self._channel.unary_unary(*rpc.wire)
        return await self._tried(rpc, lambda: rpc.request, method, self._options.deadline)

    async def send(
        self, rpc: Rpc[Reply], messages: Callable[[], Iterator[Message]], deadline: float | None
    ) -> Reply:
        method = self._channel.stream_unary(*rpc.wire)
        return await self._tried(rpc, lambda: _in_threads(messages()), method, deadline)

    async def stream(
        self, rpc: Rpc[Reply], *, on_accepted: Callable[[], None] | None = None
    ) -> AsyncGenerator[Reply]:
        method = self._channel.unary_stream(*rpc.wire)
        messages = method(rpc.request, metadata=self._target.metadata)
        try:
            if on_accepted is not None and is_accepted(await messages.initial_metadata()):
                on_accepted()
            async for message in messages:
                yield message
        except grpc.RpcError as error:
            raise call_error(error, self.server) from error
        finally:
            messages.cancel()

    async def _tried(
        self,
        rpc: Rpc[Reply],
        request: Callable[[], object],
        method: Callable[..., Awaitable[Reply]],
        deadline: float | None,
    ) -> Reply:
        tries = Tries(rpc, self._options, self.server, deadline)
        while True:
            try:
                return await method(
                    request(), metadata=self._target.metadata, timeout=tries.timeout()
                )
            except grpc.RpcError as error:
                pause = tries.pause(error)
            if pause is None:
                return rpc.reply()
            await asyncio.sleep(pause)

    async def _changes(self, cursor: WatchCursor) -> AsyncGenerator[WatchTasksResponse]:
        """Resumed after every cut."""
        patience = Patience(self._options.patience)
        while True:
            try:
                stream = self.stream(cursor.rpc(), on_accepted=patience.worked)
                async with aclosing(stream) as changes:
                    async for change in changes:
                        patience.worked()
                        for told in cursor.told(change):
                            yield told
                cut: CallError = Unreachable("The stream has ended")
            except CallError as failed:
                cut = failed
            await self._rest(patience, cut)

    async def _rest(self, patience: Patience, cut: CallError) -> None:
        pause = patience.pause(cut)
        if self._options.on_cut is not None:
            self._options.on_cut(cut)
        await asyncio.sleep(pause)


async def _in_threads(messages: Iterator[Message]) -> AsyncIterator[Message]:
    """The same messages; making them may read a file."""
    following = functools.partial(next, messages, None)
    while (message := await asyncio.to_thread(following)) is not None:
        yield message
