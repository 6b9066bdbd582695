"""GpuService."""
# ruff: noqa: N802  # methods have the RPCs' names

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import GPU, GPUS
from fetchml.engine.gpus.gpus import Gpus
from fetchml.v1 import gpu_pb2, gpu_pb2_grpc


class GpuService(gpu_pb2_grpc.GpuServiceServicer):
    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    async def ListGpus(self, _: gpu_pb2.ListGpusRequest, context: RpcContext) -> gpu_pb2.GpuList:
        return GPUS.message(self._gpus.list(context.principal))

    async def DrainGpu(self, request: gpu_pb2.DrainGpuRequest, context: RpcContext) -> gpu_pb2.Gpu:
        return GPU.message(await self._gpus.drain(context.principal, request.uuid))

    async def UndrainGpu(
        self, request: gpu_pb2.UndrainGpuRequest, context: RpcContext
    ) -> gpu_pb2.Gpu:
        return GPU.message(await self._gpus.undrain(context.principal, request.uuid))
