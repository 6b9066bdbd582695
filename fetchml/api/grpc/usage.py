"""UsageService."""
# ruff: noqa: N802  # methods have the RPCs' names

from typing import Literal

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.task_messages import milliseconds
from fetchml.api.usage_mappings import (
    GPU_HISTORY,
    GPU_HOLD,
    GPU_HOURS,
    GPU_HOURS_LIST,
    GPU_POINT,
    GPU_TRACK,
    TASK_POINT,
    TASK_USAGE,
)
from fetchml.engine.engine import Engine
from fetchml.system.pacing import map_paced
from fetchml.v1 import usage_pb2, usage_pb2_grpc


class UsageService(usage_pb2_grpc.UsageServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetTaskUsage(
        self, request: usage_pb2.GetTaskUsageRequest, context: RpcContext
    ) -> usage_pb2.TaskUsage:
        history = await self._engine.task_usage(
            context.principal,
            request.task_id,
            since=_time(request, "since"),
            until=_time(request, "until"),
            points=request.points if request.HasField("points") else None,
            attempt=request.attempt if request.HasField("attempt") else None,
        )
        reply = TASK_USAGE.message(history)
        reply.points.extend(await map_paced(TASK_POINT.message, history.points))
        return reply

    async def GetGpuHistory(
        self, request: usage_pb2.GetGpuHistoryRequest, context: RpcContext
    ) -> usage_pb2.GpuHistory:
        points = request.points if request.HasField("points") else None
        history = await self._engine.usage.of_gpus(
            context.principal, _time(request, "since"), _time(request, "until"), points
        )
        reply = GPU_HISTORY.message(history)
        for track in history.gpus:
            message = GPU_TRACK.message(track)
            message.points.extend(await map_paced(GPU_POINT.message, track.points))
            message.holds.extend(await map_paced(GPU_HOLD.message, track.holds))
            reply.gpus.append(message)
        return reply

    async def ListGpuHours(
        self, request: usage_pb2.ListGpuHoursRequest, context: RpcContext
    ) -> usage_pb2.GpuHoursList:
        found = await self._engine.usage.by_day(
            context.principal, _time(request, "since"), _time(request, "until")
        )
        reply = GPU_HOURS_LIST.message(found)
        reply.days.extend(await map_paced(GPU_HOURS.message, found.rows))
        return reply


def _time(
    request: usage_pb2.GetTaskUsageRequest
    | usage_pb2.GetGpuHistoryRequest
    | usage_pb2.ListGpuHoursRequest,
    name: Literal["since", "until"],
) -> int | None:
    return milliseconds(getattr(request, name)) if request.HasField(name) else None
