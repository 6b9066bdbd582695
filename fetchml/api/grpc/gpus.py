"""GpuService."""
# ruff: noqa: N802  # methods have the RPCs' names

from collections.abc import AsyncIterator
from contextlib import aclosing

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import GPUS
from fetchml.engine.gpus.gpus import Gpus
from fetchml.v1 import gpu_pb2, gpu_pb2_grpc


class GpuService(gpu_pb2_grpc.GpuServiceServicer):
    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    async def WatchGpus(
        self, _: gpu_pb2.WatchGpusRequest, context: RpcContext
    ) -> AsyncIterator[gpu_pb2.GpuList]:
        async with aclosing(self._gpus.watch(context.principal)) as reports:
            async for report in reports:
                yield GPUS.message(report)
