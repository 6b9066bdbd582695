"""QueueService."""
# ruff: noqa: N802  # methods have the RPCs' names

from typing import TYPE_CHECKING

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import QUEUE
from fetchml.v1 import queue_pb2, queue_pb2_grpc

if TYPE_CHECKING:
    from fetchml.engine.engine import Engine


class QueueService(queue_pb2_grpc.QueueServiceServicer):
    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    async def GetQueue(
        self, _: queue_pb2.GetQueueRequest, context: RpcContext
    ) -> queue_pb2.QueueStats:
        return QUEUE.message(await self._engine.status.queue_stats(context.principal))
