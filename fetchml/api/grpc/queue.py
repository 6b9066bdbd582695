"""QueueService."""
# ruff: noqa: N802  # methods have the RPCs' names

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from fetchml.api.grpc.call import RpcContext
from fetchml.api.mappings import ESTIMATE, QUEUE
from fetchml.api.task_messages import task_message, wants_full
from fetchml.engine.engine import Engine
from fetchml.system.pacing import map_paced
from fetchml.v1 import queue_pb2, queue_pb2_grpc
from fetchml.views import WaitingTask


class QueueService(queue_pb2_grpc.QueueServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetQueue(
        self, _: queue_pb2.GetQueueRequest, context: RpcContext
    ) -> queue_pb2.QueueStats:
        return QUEUE.message(await self._engine.status.queue_stats(context.principal))

    async def WatchQueue(
        self, _: queue_pb2.WatchQueueRequest, context: RpcContext
    ) -> AsyncIterator[queue_pb2.QueueStats]:
        async with aclosing(self._engine.status.watch_queue(context.principal)) as reports:
            async for report in reports:
                yield QUEUE.message(report)

    async def ListQueue(
        self, request: queue_pb2.ListQueueRequest, context: RpcContext
    ) -> queue_pb2.ListQueueResponse:
        full = wants_full(request.view)
        limit = request.limit if request.HasField("limit") else None
        found = await self._engine.waiting.first(context.principal, limit)
        return queue_pb2.ListQueueResponse(
            waiting=await map_paced(partial(_waiting, full=full), found.tasks), total=found.total
        )


def _waiting(waiting: WaitingTask, *, full: bool) -> queue_pb2.WaitingTask:
    estimate = waiting.estimate
    return queue_pb2.WaitingTask(
        task=task_message(waiting.task, full=full),
        position=waiting.position,
        reason=waiting.reason,
        estimate=None if estimate is None else ESTIMATE.message(estimate),
    )
