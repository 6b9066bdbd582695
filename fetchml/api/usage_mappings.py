"""The fields that REST and gRPC show of the history of use, in the units of the API."""

from collections.abc import Callable

from fetchml.api.mapping import Field, LongRows, Mapping, Nested, Time
from fetchml.core.usage import DayUse, GpuHold, UserDay
from fetchml.engine.usage.history import DaysOfUse, GpuHistory, GpuTrack
from fetchml.ports.usage_store import GpuPoint, TaskHistory, TaskPoint
from fetchml.v1 import usage_pb2

_HOUR_MS = 3_600_000
_DECIMALS = 3


def _scaled(name: str, parts: float) -> Callable[[object], float | None]:
    """Return a function for an attribute that is counted in parts of a unit."""

    def value(owner: object) -> float | None:
        found: float | None = getattr(owner, name)
        return None if found is None else round(found / parts, _DECIMALS)

    return value


def _both(field: str, name: str, parts: float) -> tuple[Field, Field]:
    """The average and the maximum."""
    return (
        Field(field, _scaled(name, parts)),
        Field(f"{field}_max", _scaled(f"{name}_max", parts)),
    )


TASK_POINT: Mapping[TaskPoint, usage_pb2.TaskUsagePoint] = Mapping(
    usage_pb2.TaskUsagePoint,
    *_both("cpu_cores", "cpu", 100),
    *_both("memory_mb", "memory", 16),
    *_both("read_mb_per_second", "read", 1024),
    *_both("write_mb_per_second", "write", 1024),
)

TASK_USAGE: Mapping[TaskHistory, usage_pb2.TaskUsage] = Mapping(
    usage_pb2.TaskUsage,
    Time("since", lambda history: history.since if history.points else None),
    Time("until", lambda history: history.until if history.points else None),
    Field("step_seconds", lambda history: history.step // 1000),
    LongRows("points", TASK_POINT),
    Nested("total", TASK_POINT),
)

GPU_POINT: Mapping[GpuPoint, usage_pb2.GpuPoint] = Mapping(
    usage_pb2.GpuPoint,
    Field("held_percent", _scaled("held", 1 / 100)),
    *_both("utilisation_percent", "utilisation", 1),
    *_both("memory_used_mb", "memory", 1),
    *_both("temperature_c", "temperature", 1),
    *_both("power_w", "power", 1),
)

GPU_HOLD: Mapping[GpuHold, usage_pb2.GpuHold] = Mapping(usage_pb2.GpuHold, Field("user_id", "user"))

GPU_TRACK: Mapping[GpuTrack, usage_pb2.GpuTrack] = Mapping(
    usage_pb2.GpuTrack,
    Field("name", keep_empty=False),
    LongRows("points", GPU_POINT),
    LongRows("holds", GPU_HOLD),
)

GPU_HISTORY: Mapping[GpuHistory, usage_pb2.GpuHistory] = Mapping(
    usage_pb2.GpuHistory,
    Field("step_seconds", lambda history: history.step // 1000),
    LongRows("gpus", GPU_TRACK),
)

GPU_HOURS: Mapping[tuple[UserDay, DayUse], usage_pb2.GpuHours] = Mapping(
    usage_pb2.GpuHours,
    Field("day", lambda row: row[0].day),
    Field("user_id", lambda row: row[0].user),
    Field("gpu_hours", lambda row: round(row[1].gpu_ms / _HOUR_MS, _DECIMALS)),
    Field("cpu_hours", lambda row: round(row[1].cpu_ms / _HOUR_MS, _DECIMALS)),
    Field("completed", lambda row: row[1].completed),
    Field("failed", lambda row: row[1].failed),
)

GPU_HOURS_LIST: Mapping[DaysOfUse, usage_pb2.GpuHoursList] = Mapping(
    usage_pb2.GpuHoursList,
    Field("first_day", "first"),
    Field("last_day", "last"),
    LongRows("days", GPU_HOURS, "rows"),
)
