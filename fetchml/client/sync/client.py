"""The client for programs without an event loop."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TypeVar, Unpack

import grpc
from google.protobuf.message import Message

from fetchml.client import rpcs
from fetchml.client.connection import CHANNEL_OPTIONS, find_target
from fetchml.client.cursors import LogCursor, TaskCursor, WatchCursor
from fetchml.client.errors import (
    CallError,
    DeadlineExceeded,
    NotFound,
    Unreachable,
    call_error,
)
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


class Client:
    """A connection to a server. Threads may share it. Calls raise CallError."""

    def __init__(
        self,
        server: str | None = None,
        key: str | None = None,
        *,
        tls_ca: str | Path | None = None,
        options: Options = Options(),  # noqa: B008  # a tuple
    ) -> None:
        """`server`: HOST:PORT, or https://HOST:PORT with TLS. `tls_ca`: file with the authorities
        that are trusted, in PEM. None: FETCHML_SERVER, FETCHML_API_KEY, FETCHML_TLS_CA; an empty
        key is none. Raises SetupError."""
        self._target = find_target(server, key, tls_ca)
        self._options = options
        address, credentials = self._target.address, self._target.credentials
        if credentials is None:
            self._channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, CHANNEL_OPTIONS)

    @property
    def server(self) -> str:
        return self._target.server

    def close(self) -> None:
        """Ends what is open, also of `with_options`."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def with_options(
        self,
        *,
        deadline: float | None = None,
        patience: float | None = None,
        retries: bool | None = None,
        on_cut: Callable[[CallError], None] | None = None,
    ) -> Self:
        """The same connection, used in another way; what is None stays. See Options."""
        other = object.__new__(type(self))
        other._target, other._channel = self._target, self._channel
        other._options = self._options.changed(deadline, patience, retries, on_cut)
        return other

    # Tasks

    def submit(self, job_name: str, **fields: Unpack[TaskFields]) -> Task:
        """The task, once it is on the server's disk. However often it is tried: one task."""
        return self.call(rpcs.create_task(job_name, fields))

    def submit_many(self, requests: Iterable[CreateTaskRequest]) -> Sequence[Task]:
        """All of them, or none, if they take 1 MiB at most and are up to 10,000. More are sent in
        parts of that size, up to 100,000 in all: if one part is refused, those before it stay.
        However often it is tried: each is one task."""
        rpc, batches = rpcs.create_tasks(requests)
        return self.send(rpc, lambda: iter(batches), self._options.deadline).tasks

    def get(self, task_id: str) -> Task:
        return self.call(rpcs.get_task(task_id))

    def list(self, *, page_size: int = 200, **where: Unpack[Where]) -> Iterator[Task]:
        """Newest first, without `output`, read page by page as the iterator goes."""
        token = ""
        while True:
            rpc = rpcs.list_tasks(where, page_size=page_size, page_token=token)
            page = self.call(rpc)
            yield from page.tasks
            token = page.next_page_token
            if not token:
                return

    def page(self, limit: int, offset: int = 0, **where: Unpack[Where]) -> TaskList:
        """Up to 1000 tasks, and the `total` of all that match."""
        return self.call(rpcs.list_tasks(where, limit=limit, offset=offset))

    def cancel(self, task_id: str) -> Task:
        """An ended task stays as it is."""
        return self.call(rpcs.cancel_task(task_id))

    def delete(self, task_id: str) -> None:
        """Remove an ended task from all reads; one that lives is cancelled instead."""
        self.call(rpcs.delete_task(task_id))

    def explain(self, task_id: str) -> TaskExplanation:
        """Why the task is where it is."""
        return self.call(rpcs.explain_task(task_id))

    # What goes on

    def watch(
        self, *, since_seq: int | None = None, **where: Unpack[Where]
    ) -> Iterator[WatchTasksResponse]:
        """For ever: the live tasks, `synced`, then every change in order; with `since_seq` the
        changes after that one.

        After a cut it goes on where it was. `resync`: changes were missed, read the tasks again.
        """
        return self._changes(WatchCursor(where, since_seq=since_seq))

    def watch_task(
        self, task_id: str, *, timeout: float | None = None
    ) -> Iterator[WatchTasksResponse]:
        """Every change of one task; the last one is its end. Raises TimeoutError after `timeout`
        seconds, and NotFound also when the task is deleted."""
        until = None if timeout is None else time.monotonic() + timeout
        cursor = TaskCursor(task_id)
        with closing(self._changes(cursor, until)) as changes:
            for change in changes:
                update = change
                if cursor.must_read(change):
                    yield change
                    update = cursor.read(change, self.get(task_id))
                cursor.saw(update)
                yield update
                if cursor.done:
                    return

    def wait(self, task_id: str, *, timeout: float | None = None) -> Task:
        """The task once it has ended, with its output. Raises TimeoutError after `timeout`
        seconds; the task goes on."""
        for _ in self.watch_task(task_id, timeout=timeout):
            pass
        return self.get(task_id)

    def logs(
        self, task_id: str, *, attempt: int | None = None, offset: int = 0, follow: bool = False
    ) -> Iterator[TaskLogChunk]:
        """What the task has written, from a byte of the attempt's log on; with `follow` until the
        task ends. Without `attempt` the current one, and with `follow` those after it.

        After a cut it goes on at the next byte. A jump in `offset` means bytes no longer kept.
        """
        cursor = LogCursor(task_id, attempt, offset, follow=follow)
        patience = Patience(self._options.patience)
        while True:
            try:
                with closing(self.stream(cursor.rpc(), on_accepted=patience.worked)) as chunks:
                    for chunk in chunks:
                        patience.worked()
                        cursor.saw(chunk)
                        yield chunk
                if not follow or cursor.is_over(self.get(task_id)):
                    return
            except CallError as failed:
                self._rest(patience, failed)
                continue
            time.sleep(SHORTEST_PAUSE_SECONDS)

    # Results

    def outputs(self, task_id: str) -> Sequence[TaskOutput]:
        """The files that the task left, ordered by path."""
        return self.call(rpcs.list_outputs(task_id)).outputs

    def read_output(self, task_id: str, path: str) -> Iterator[bytes]:
        """The pieces of one of them. A cut raises Unavailable."""
        with closing(self.stream(rpcs.download_output(task_id, path))) as pieces:
            for piece in pieces:
                yield piece.data

    def download(self, task_id: str, path: str, to: str | Path) -> Path:
        """Write one of them to the file `to`, which appears when it is complete."""
        to = Path(to)
        part = to.with_name(f"{to.name}.part")
        patience = Patience(self._options.patience)
        try:
            while True:
                try:
                    with part.open("wb") as file:
                        for data in self.read_output(task_id, path):
                            patience.worked()
                            file.write(data)
                    return part.replace(to)
                except CallError as failed:
                    self._rest(patience, failed)
        finally:
            part.unlink(missing_ok=True)

    # The queue and the server

    def queue(self) -> QueueStats:
        return self.call(rpcs.get_queue())

    def health(self) -> bool:
        """Whether the server takes tasks. Needs no key."""
        reply = self.call(rpcs.check_health())
        return reply.status == reply.SERVING

    # GPUs

    def gpus(self) -> GpuList:
        """The GPUs of the box, in the order of their numbers."""
        return self.call(rpcs.list_gpus())

    def drain_gpu(self, uuid: str) -> Gpu:
        """Start nothing more on it. What runs goes on. For admins."""
        return self.call(rpcs.drain_gpu(uuid))

    def undrain_gpu(self, uuid: str) -> Gpu:
        """Put it back to work; its errors so far count no more. For admins."""
        return self.call(rpcs.undrain_gpu(uuid))

    # Experiments

    def experiments(self) -> Sequence[Experiment]:
        """All, newest first."""
        return self.call(rpcs.list_experiments()).experiments

    def create_experiment(
        self, name: str, *, description: str | None = None, commit_id: str | None = None
    ) -> Experiment:
        """Not tried again when no answer comes (Unavailable): it may be there."""
        return self.call(rpcs.create_experiment(name, description, commit_id))

    def get_experiment(self, experiment_id: str) -> Experiment:
        return self.call(rpcs.get_experiment(experiment_id))

    def archive_experiment(self, experiment_id: str) -> Experiment:
        """It takes no more tasks."""
        return self.call(rpcs.archive_experiment(experiment_id))

    def delete_experiment(self, experiment_id: str) -> None:
        """Its tasks stay."""
        self.call(rpcs.delete_experiment(experiment_id))

    # Snapshots

    def upload(self, folder: str | Path) -> Snapshot:
        """Keep a folder's code on the server, for `snapshot_id`; what it has is not sent again.

        Takes what git tracks or would track; elsewhere all but what a .gitignore excludes. What a
        .fetchmlignore excludes stays here. Raises BadFolder.
        """
        from fetchml.client.snapshots.local import Code  # noqa: PLC0415  # few need it

        code = Code.read(Path(folder))
        if (known := self.find_snapshot(code.id)) is not None:
            return known
        archive, _ = code.pack()
        with archive:
            return self.send_snapshot(code, archive)

    def send_snapshot(self, code: "Code", archive: BinaryIO) -> Snapshot:
        """The packed code, however long it takes; after a cut again from its start."""

        def pieces() -> Iterator[Message]:
            archive.seek(0)
            return code.pieces(archive)

        return self.send(rpcs.upload_snapshot(), pieces, deadline=None)

    def snapshots(self) -> Sequence[Snapshot]:
        """All, newest first."""
        return self.call(rpcs.list_snapshots()).snapshots

    def get_snapshot(self, snapshot_id: str) -> Snapshot:
        return self.call(rpcs.get_snapshot(snapshot_id))

    def find_snapshot(self, snapshot_id: str) -> Snapshot | None:
        try:
            return self.get_snapshot(snapshot_id)
        except NotFound:
            return None

    def delete_snapshot(self, snapshot_id: str) -> None:
        """One that no live task and no experiment names."""
        self.call(rpcs.delete_snapshot(snapshot_id))

    # Jupyter services

    def list_jupyter(self) -> Sequence[JupyterServiceInfo]:
        """Newest first; the token only of those that are yours."""
        return self.call(rpcs.list_jupyter()).services

    def start_jupyter(self, name: str, **fields: Unpack[JupyterFields]) -> JupyterServiceInfo:
        """The service, before Jupyter answers: see `status`. Its link is `{url}lab?token={token}`.
        Not tried again when no answer comes (Unavailable): it may be there."""
        return self.call(rpcs.start_jupyter(name, fields))

    def get_jupyter(self, service_id: str) -> JupyterServiceInfo:
        return self.call(rpcs.get_jupyter(service_id))

    def stop_jupyter(self, service_id: str) -> None:
        """Its workspace stays."""
        self.call(rpcs.stop_jupyter(service_id))

    # What all of these are made of; for calls that have no method here, too

    def call(self, rpc: Rpc[Reply]) -> Reply:
        """Tried again, within the deadline, when the server is away or busy."""
        method = self._channel.unary_unary(*rpc.wire)
        return self._tried(rpc, lambda: rpc.request, method, self._options.deadline)

    def send(
        self, rpc: Rpc[Reply], messages: Callable[[], Iterator[Message]], deadline: float | None
    ) -> Reply:
        """A stream of requests, begun anew with each try. `deadline`: seconds."""
        method = self._channel.stream_unary(*rpc.wire)
        return self._tried(rpc, messages, method, deadline)

    def stream(
        self,
        rpc: Rpc[Reply],
        *,
        timeout: float | None = None,
        on_accepted: Callable[[], None] | None = None,
    ) -> Generator[Reply]:
        """The messages of a stream, once; closing the iterator ends the call. `on_accepted`: called
        when the server says so, before the first message."""
        method = self._channel.unary_stream(*rpc.wire)
        messages = method(rpc.request, metadata=self._target.metadata, timeout=timeout)
        try:
            if on_accepted is not None and is_accepted(messages.initial_metadata()):
                on_accepted()
            yield from messages
        except grpc.RpcError as error:
            raise call_error(error, self.server) from error
        finally:
            messages.cancel()

    def _tried(
        self,
        rpc: Rpc[Reply],
        request: Callable[[], object],
        method: Callable[..., Reply],
        deadline: float | None,
    ) -> Reply:
        tries = Tries(rpc, self._options, self.server, deadline)
        while True:
            try:
                return method(request(), metadata=self._target.metadata, timeout=tries.timeout())
            except grpc.RpcError as error:
                pause = tries.pause(error)
            if pause is None:
                return rpc.reply()
            time.sleep(pause)

    def _changes(
        self, cursor: WatchCursor, until: float | None = None
    ) -> Generator[WatchTasksResponse]:
        """Resumed after every cut. Raises TimeoutError at `until`, as time.monotonic tells it."""
        patience = Patience(self._options.patience)
        while True:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("The task has not ended in time")
            try:
                stream = self.stream(cursor.rpc(), timeout=left, on_accepted=patience.worked)
                with closing(stream) as changes:
                    for change in changes:
                        patience.worked()
                        yield from cursor.told(change)
                cut: CallError = Unreachable("The stream has ended")
            except DeadlineExceeded as failed:
                if left is not None:
                    continue
                cut = failed
            except CallError as failed:
                cut = failed
            self._rest(patience, cut, left)

    def _rest(self, patience: Patience, cut: CallError, longest: float | None = None) -> None:
        """Raises the error when there is no use in another try."""
        pause = patience.pause(cut)
        if self._options.on_cut is not None:
            self._options.on_cut(cut)
        time.sleep(pause if longest is None else min(pause, longest))
