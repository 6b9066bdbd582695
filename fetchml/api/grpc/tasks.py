"""TaskService: each method converts a request, calls the engine, and converts the result."""
# ruff: noqa: N802  # methods have the RPCs' names

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing, closing
from itertools import islice

import msgspec
from google.protobuf.empty_pb2 import Empty

from fetchml.api.grpc.call import RpcContext
from fetchml.api.grpc.sending import UnreadReplies
from fetchml.api.listing import ListRequest, listing
from fetchml.api.message_fields import ESTIMATE, OUTPUT
from fetchml.api.task_messages import (
    fill_task,
    milliseconds,
    split_create,
    states_of,
    target_fields,
    task_message,
    time_text,
    update_message,
    wants_full,
)
from fetchml.core.footprint import TASK_BYTES, task_footprint
from fetchml.core.model import Task
from fetchml.core.notifications import MAX_TARGETS
from fetchml.core.requests.checks import MAX_ENTRIES
from fetchml.core.requests.listing import MAX_LABELS, Filters
from fetchml.core.requests.logs import LogRange
from fetchml.core.requests.submission import batch_size_fault
from fetchml.core.requests.update import KNOWN_FIELDS
from fetchml.engine.engine import Engine
from fetchml.errors import BadRequest, Conflict, FieldViolation, ValidationFailed
from fetchml.ports.store import TaskPage
from fetchml.system.pacing import Pace, map_paced, turn_for
from fetchml.v1 import sweep_pb2, task_pb2, task_pb2_grpc
from fetchml.views import WatchFilter

MAX_CONCURRENT_PAGES = 4
"""Task lists that are built at one time."""
MAX_CONCURRENT_SEARCHES = 2
"""And those that are searches, which don't occupy the places of others."""


NOT_IN_A_BATCH = FieldViolation("tasks.validate_only", "is only for CreateTask")


class TaskFileCalls:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def StreamTaskLogs(
        self, request: task_pb2.StreamTaskLogsRequest, context: RpcContext
    ) -> AsyncIterator[task_pb2.TaskLogChunk | None]:
        wanted = LogRange(
            attempt=request.attempt if request.HasField("attempt") else None,
            offset=request.offset or None,
            tail=request.tail if request.HasField("tail") else None,
            since=milliseconds(request.since) if request.HasField("since") else None,
            limit=request.limit if request.HasField("limit") else None,
        )
        chunks = self._engine.logs.read(
            context.principal, request.task_id, wanted, follow=request.follow
        )
        async with aclosing(chunks):
            if request.follow:
                # Report an unknown task before the stream counts as connected.
                await self._engine.tasks.get(context.principal, request.task_id)
                yield None
            async for chunk in chunks:
                yield task_pb2.TaskLogChunk(
                    attempt=chunk.attempt, offset=chunk.offset, data=chunk.data
                )

    async def ListTaskOutputs(
        self, request: task_pb2.ListTaskOutputsRequest, context: RpcContext
    ) -> task_pb2.TaskOutputs:
        files = await self._engine.outputs.list(context.principal, request.task_id, request.folder)
        return task_pb2.TaskOutputs(outputs=[OUTPUT.message(file) for file in files])

    async def DownloadTaskArchive(
        self, request: task_pb2.DownloadTaskArchiveRequest, context: RpcContext
    ) -> AsyncIterator[task_pb2.TaskArchiveChunk]:
        form = request.format or "zip"
        archive = self._engine.outputs.archive(context.principal, request.task_id, form)
        async with archive as opened:
            async for piece in opened.pieces:
                yield task_pb2.TaskArchiveChunk(data=piece)

    async def DownloadTaskOutput(
        self, request: task_pb2.DownloadTaskOutputRequest, context: RpcContext
    ) -> AsyncIterator[task_pb2.TaskOutputChunk]:
        opened = await self._engine.outputs.open(
            context.principal, request.task_id, request.path, request.folder
        )
        with closing(opened) as file:
            size, etag = file.size, file.etag
            if request.etag and request.etag != etag:
                raise Conflict("The output has changed: download it from its first byte")
            if not 0 <= request.offset <= size:
                raise BadRequest(f"offset: must be between 0 and the file's size, {size}")
            yield task_pb2.TaskOutputChunk(etag=etag, size_bytes=size)
            async with aclosing(file.pieces(request.offset, size - request.offset)) as pieces:
                async for piece in pieces:
                    yield task_pb2.TaskOutputChunk(data=piece)


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
        async with AsyncExitStack() as counted:
            made = counted.enter_context(self._unread.made(caller))
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
                        await counted.enter_async_context(self._large)
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


class TaskService(TaskFileCalls, task_pb2_grpc.TaskServiceServicer):
    def __init__(self, engine: Engine, unread: UnreadReplies) -> None:
        super().__init__(engine)
        self._pages = asyncio.Semaphore(MAX_CONCURRENT_PAGES)
        self._searches = asyncio.Semaphore(MAX_CONCURRENT_SEARCHES)
        self._unread = unread
        self._replies = ListReplies(unread)

    async def CreateTask(
        self, request: task_pb2.CreateTaskRequest, context: RpcContext
    ) -> task_pb2.Task:
        full = wants_full(request.view)
        key = idempotency_key(request, context)
        fields, _ = split_create(request)
        if request.validate_only:
            valid = await self._engine.submissions.validate_task(
                context.principal, fields, key, with_estimate=full
            )
            message = task_message(valid.task, full=full)
            message.ClearField("id")
            if valid.estimate is not None:
                message.start_estimate.CopyFrom(ESTIMATE.message(valid.estimate))
            return message
        task = await self._engine.submissions.create_task(context.principal, fields, key)
        return task_message(task, full=full)

    async def CreateTasks(
        self, batches: AsyncIterator[task_pb2.CreateTasksRequest], context: RpcContext
    ) -> task_pb2.CreateTasksResponse:
        reply = task_pb2.CreateTasksResponse()
        with self._unread.made(context.principal.key_id) as made:
            async for batch in batches:
                if fault := batch_size_fault(len(batch.tasks), len(reply.tasks)):
                    raise ValidationFailed([FieldViolation("tasks", fault)])
                asked = await map_paced(_read_create, batch.tasks)
                if any(each.full for each in asked):
                    # The reply repeats the request. Refused later, its tasks would be there.
                    made.add(batch.ByteSize() - sum(map(_unshown_bytes, batch.tasks)))
                tasks = await self._engine.submissions.create_tasks(
                    context.principal, [each.fields for each in asked], [each.key for each in asked]
                )
                pace = Pace()
                for task, each in zip(tasks, asked, strict=True):
                    fill_task(reply.tasks.add(), task, full=each.full)
                    if pace.due:
                        await pace.rest()
        return reply

    async def GetTask(self, request: task_pb2.GetTaskRequest, context: RpcContext) -> task_pb2.Task:
        full = wants_full(request.view)
        task = await self._engine.tasks.get(context.principal, request.task_id)
        return task_message(task, full=full, output=await self._engine.logs.tail(task))

    async def ListTasks(
        self, request: task_pb2.ListTasksRequest, context: RpcContext
    ) -> task_pb2.TaskList | bytes:
        full = wants_full(request.view)
        wanted = listing(list_request(request))
        limit = self._searches if wanted.query.is_search else self._pages
        async with self._engine.tasks.turn_to_list(context.principal, wanted.query), limit:
            page = TaskPage([], 0)
            if not wanted.impossible:
                page = await self._engine.tasks.list(
                    context.principal, wanted.query, whole=not wanted.by_token
                )
            reply = task_pb2.TaskList(
                total=page.total,
                limit=wanted.size,
                offset=wanted.query.offset,
                next_page_token=wanted.next_token(page),
            )
            caller = context.principal.key_id
            return await self._replies.with_tasks(
                reply, wanted.shown(page), full=full, caller=caller
            )

    async def UpdateTask(
        self, request: task_pb2.UpdateTaskRequest, context: RpcContext
    ) -> task_pb2.Task:
        full = wants_full(request.view)
        fields = _changed_fields(request)
        return task_message(
            await self._engine.changes.update(context.principal, request.task_id, fields), full=full
        )

    async def RetryTask(
        self, request: task_pb2.RetryTaskRequest, context: RpcContext
    ) -> task_pb2.Task:
        full = wants_full(request.view)
        key = idempotency_key(request, context)
        return task_message(
            await self._engine.changes.retry(context.principal, request.task_id, key), full=full
        )

    async def DeleteTask(self, request: task_pb2.DeleteTaskRequest, context: RpcContext) -> Empty:
        await self._engine.changes.delete(context.principal, request.task_id)
        return Empty()

    async def WatchTasks(
        self, request: task_pb2.WatchTasksRequest, context: RpcContext
    ) -> AsyncIterator[task_pb2.WatchTasksResponse | None]:
        full = wants_full(request.view)
        since = request.since_seq if request.HasField("since_seq") else None
        _check_least("since_seq", since, 0)
        where = WatchFilter(
            task_id=request.task_id or None,
            states=states_of(request.states),
            user=request.user_id or None,
            job_name_prefix=request.job_name_prefix or None,
            experiment_id=request.experiment_id or None,
        )
        updates = self._engine.watches.watch(
            context.principal, where, since, snapshot=since is None
        )
        async with aclosing(updates):
            yield None
            async for update in updates:
                yield update_message(update, full=full)


class _Create(msgspec.Struct, frozen=True):
    """One request of a batch as plain values."""

    fields: dict[str, object]
    key: str | None = None
    full: bool = False


def _check_least(field: str, value: int | None, least: int) -> None:
    """Raises BadRequest."""
    if value is not None and value < least:
        raise BadRequest(f"{field}: must be at least {least}")


def _unshown_bytes(request: task_pb2.CreateTaskRequest) -> int:
    """Return the size of what no reply repeats: the values of variables, which may be secrets. In
    characters, so rather too little."""
    return sum(map(len, request.env.values()))


def _read_create(request: task_pb2.CreateTaskRequest) -> _Create:
    """Raises BadRequest, ValidationFailed."""
    fields, controls = split_create(request)
    if not controls:
        return _Create(fields)
    if "validate_only" in controls:
        raise ValidationFailed([NOT_IN_A_BATCH])
    return _Create(
        fields, controls.get("idempotency_key"), full=wants_full(controls.get("view", 0))
    )


def _changed_fields(request: task_pb2.UpdateTaskRequest) -> dict[str, object]:
    """Return the fields to change, in the shape of the REST body. Raises BadRequest."""
    changes: dict[str, object] = {}
    if request.HasField("priority"):
        changes["priority"] = request.priority
    if request.metadata or "metadata" in request.update_mask.paths:
        changes["metadata"] = dict(islice(request.metadata.items(), MAX_ENTRIES + 1))
    if request.HasField("hold"):
        changes["hold"] = request.hold
    if request.HasField("start_after") or "start_after" in request.update_mask.paths:
        set_ = request.HasField("start_after")
        changes["start_after"] = time_text(request.start_after) if set_ else ""
    if request.HasField("timeout_seconds"):
        changes["timeout_seconds"] = request.timeout_seconds
    if request.notify or "notify" in request.update_mask.paths:
        changes["notify"] = [target_fields(each) for each in request.notify[: MAX_TARGETS + 1]]
    if not request.HasField("update_mask"):
        return changes
    for path in request.update_mask.paths:
        if path not in changes:
            what = (
                "is not set"
                if path in KNOWN_FIELDS
                else f"is unknown; expected one of {', '.join(sorted(KNOWN_FIELDS))}"
            )
            raise BadRequest(f"update_mask: {path[:64]!r} {what}")
    return {path: changes[path] for path in request.update_mask.paths}


def idempotency_key(
    request: task_pb2.CreateTaskRequest | task_pb2.RetryTaskRequest | sweep_pb2.CreateSweepRequest,
    context: RpcContext,
) -> str | None:
    """Return the field or the metadata entry `idempotency-key`, which must not differ."""
    header = context.metadata.get("idempotency-key")
    key = request.idempotency_key if request.HasField("idempotency_key") else header
    if key is None:
        return None
    if header is not None and header != key:
        raise BadRequest("idempotency_key: differs from the metadata entry idempotency-key")
    return key.decode(errors="replace") if isinstance(key, bytes) else key
