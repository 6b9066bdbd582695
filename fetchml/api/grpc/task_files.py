"""The methods of TaskService for logs and outputs."""
# ruff: noqa: N802  # methods have the RPCs' names

from collections.abc import AsyncIterator
from contextlib import aclosing, closing

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import LOG_INFO, LOG_MATCHES, OUTPUT
from fetchml.api.task_messages import milliseconds
from fetchml.core.requests.logs import DEFAULT_MATCHES, LogRange, LogSearch
from fetchml.engine.engine import Engine
from fetchml.errors import BadRequest, Conflict
from fetchml.v1 import task_pb2


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
                await self._engine.visible.get(context.principal, request.task_id)
                yield None
            async for chunk in chunks:
                yield task_pb2.TaskLogChunk(
                    attempt=chunk.attempt, offset=chunk.offset, data=chunk.data
                )

    async def GetTaskLogInfo(
        self, request: task_pb2.GetTaskLogInfoRequest, context: RpcContext
    ) -> task_pb2.TaskLogInfo:
        wanted = LogRange(
            attempt=request.attempt if request.HasField("attempt") else None,
            offset=request.offset if request.HasField("offset") else None,
            limit=request.limit if request.HasField("limit") else None,
        )
        info = await self._engine.logs.info(context.principal, request.task_id, wanted)
        return LOG_INFO.message(info)

    async def SearchTaskLogs(
        self, request: task_pb2.SearchTaskLogsRequest, context: RpcContext
    ) -> task_pb2.TaskLogMatches:
        wanted = LogSearch(
            request.q,
            attempt=request.attempt if request.HasField("attempt") else None,
            offset=request.offset if request.HasField("offset") else None,
            limit=request.limit if request.HasField("limit") else DEFAULT_MATCHES,
            backwards=request.backwards,
            ignore_case=request.ignore_case,
        )
        found = await self._engine.logs.search(context.principal, request.task_id, wanted)
        return LOG_MATCHES.message(found)

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
