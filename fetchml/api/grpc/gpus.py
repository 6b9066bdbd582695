"""GpuService."""
# ruff: noqa: N802  # methods have the RPCs' names

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.protobuf.empty_pb2 import Empty

from fetchml.api.booking_mappings import BOOKING, booking_fields
from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.mappings import GPU, GPUS
from fetchml.engine.gpus.gpus import Gpus
from fetchml.v1 import gpu_pb2, gpu_pb2_grpc


class GpuService(gpu_pb2_grpc.GpuServiceServicer):
    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    async def ListGpus(self, _: gpu_pb2.ListGpusRequest, context: RpcContext) -> gpu_pb2.GpuList:
        return GPUS.message(self._gpus.list(context.principal))

    async def WatchGpus(
        self, _: gpu_pb2.WatchGpusRequest, context: RpcContext
    ) -> AsyncIterator[gpu_pb2.GpuList]:
        async with aclosing(self._gpus.watch(context.principal)) as reports:
            async for report in reports:
                yield GPUS.message(report)

    async def DrainGpu(self, request: gpu_pb2.DrainGpuRequest, context: RpcContext) -> gpu_pb2.Gpu:
        return GPU.message(await self._gpus.drain(context.principal, request.uuid))

    async def UndrainGpu(
        self, request: gpu_pb2.UndrainGpuRequest, context: RpcContext
    ) -> gpu_pb2.Gpu:
        return GPU.message(await self._gpus.undrain(context.principal, request.uuid))

    async def CreateBooking(
        self, request: gpu_pb2.CreateBookingRequest, context: RpcContext
    ) -> gpu_pb2.Booking:
        fields = booking_fields(request)
        return BOOKING.message(await self._gpus.bookings.create(context.principal, fields))

    async def ListBookings(
        self, _: gpu_pb2.ListBookingsRequest, context: RpcContext
    ) -> gpu_pb2.ListBookingsResponse:
        found = self._gpus.bookings.list(context.principal)
        return gpu_pb2.ListBookingsResponse(bookings=map(BOOKING.message, found))

    async def DeleteBooking(
        self, request: gpu_pb2.DeleteBookingRequest, context: RpcContext
    ) -> Empty:
        await self._gpus.bookings.delete(context.principal, request.booking_id)
        return Empty()
