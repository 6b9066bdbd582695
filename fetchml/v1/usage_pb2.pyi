import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetTaskUsageRequest(_message.Message):
    __slots__ = ("task_id", "since", "until", "points", "attempt")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    points: int
    attempt: int
    def __init__(self, task_id: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., points: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class TaskUsage(_message.Message):
    __slots__ = ("task_id", "since", "until", "step_seconds", "points", "total")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    step_seconds: int
    points: _containers.RepeatedCompositeFieldContainer[TaskUsagePoint]
    total: TaskUsagePoint
    def __init__(self, task_id: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., step_seconds: _Optional[int] = ..., points: _Optional[_Iterable[_Union[TaskUsagePoint, _Mapping]]] = ..., total: _Optional[_Union[TaskUsagePoint, _Mapping]] = ...) -> None: ...

class TaskUsagePoint(_message.Message):
    __slots__ = ("at", "attempt", "samples", "cpu_cores", "cpu_cores_max", "memory_mb", "memory_mb_max", "read_mb_per_second", "read_mb_per_second_max", "write_mb_per_second", "write_mb_per_second_max")
    AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CPU_CORES_FIELD_NUMBER: _ClassVar[int]
    CPU_CORES_MAX_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MB_MAX_FIELD_NUMBER: _ClassVar[int]
    READ_MB_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    READ_MB_PER_SECOND_MAX_FIELD_NUMBER: _ClassVar[int]
    WRITE_MB_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    WRITE_MB_PER_SECOND_MAX_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    attempt: int
    samples: int
    cpu_cores: float
    cpu_cores_max: float
    memory_mb: float
    memory_mb_max: float
    read_mb_per_second: float
    read_mb_per_second_max: float
    write_mb_per_second: float
    write_mb_per_second_max: float
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempt: _Optional[int] = ..., samples: _Optional[int] = ..., cpu_cores: _Optional[float] = ..., cpu_cores_max: _Optional[float] = ..., memory_mb: _Optional[float] = ..., memory_mb_max: _Optional[float] = ..., read_mb_per_second: _Optional[float] = ..., read_mb_per_second_max: _Optional[float] = ..., write_mb_per_second: _Optional[float] = ..., write_mb_per_second_max: _Optional[float] = ...) -> None: ...

class GetGpuHistoryRequest(_message.Message):
    __slots__ = ("since", "until", "points")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    points: int
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., points: _Optional[int] = ...) -> None: ...

class GpuHistory(_message.Message):
    __slots__ = ("since", "until", "step_seconds", "gpus")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    step_seconds: int
    gpus: _containers.RepeatedCompositeFieldContainer[GpuTrack]
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., step_seconds: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[GpuTrack, _Mapping]]] = ...) -> None: ...

class GpuTrack(_message.Message):
    __slots__ = ("uuid", "name", "points", "holds")
    UUID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    name: str
    points: _containers.RepeatedCompositeFieldContainer[GpuPoint]
    holds: _containers.RepeatedCompositeFieldContainer[GpuHold]
    def __init__(self, uuid: _Optional[str] = ..., name: _Optional[str] = ..., points: _Optional[_Iterable[_Union[GpuPoint, _Mapping]]] = ..., holds: _Optional[_Iterable[_Union[GpuHold, _Mapping]]] = ...) -> None: ...

class GpuPoint(_message.Message):
    __slots__ = ("at", "samples", "held_percent", "utilisation_percent", "utilisation_percent_max", "memory_used_mb", "memory_used_mb_max", "temperature_c", "temperature_c_max", "power_w", "power_w_max")
    AT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    HELD_PERCENT_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_PERCENT_MAX_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_MB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_MB_MAX_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_MAX_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    POWER_W_MAX_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    samples: int
    held_percent: float
    utilisation_percent: float
    utilisation_percent_max: float
    memory_used_mb: float
    memory_used_mb_max: float
    temperature_c: float
    temperature_c_max: float
    power_w: float
    power_w_max: float
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., samples: _Optional[int] = ..., held_percent: _Optional[float] = ..., utilisation_percent: _Optional[float] = ..., utilisation_percent_max: _Optional[float] = ..., memory_used_mb: _Optional[float] = ..., memory_used_mb_max: _Optional[float] = ..., temperature_c: _Optional[float] = ..., temperature_c_max: _Optional[float] = ..., power_w: _Optional[float] = ..., power_w_max: _Optional[float] = ...) -> None: ...

class GpuHold(_message.Message):
    __slots__ = ("task_id", "user_id", "since", "until")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    user_id: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, task_id: _Optional[str] = ..., user_id: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListGpuHoursRequest(_message.Message):
    __slots__ = ("since", "until")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GpuHoursList(_message.Message):
    __slots__ = ("first_day", "last_day", "days")
    FIRST_DAY_FIELD_NUMBER: _ClassVar[int]
    LAST_DAY_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    first_day: str
    last_day: str
    days: _containers.RepeatedCompositeFieldContainer[GpuHours]
    def __init__(self, first_day: _Optional[str] = ..., last_day: _Optional[str] = ..., days: _Optional[_Iterable[_Union[GpuHours, _Mapping]]] = ...) -> None: ...

class GpuHours(_message.Message):
    __slots__ = ("day", "user_id", "gpu_hours", "cpu_hours", "completed", "failed")
    DAY_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_HOURS_FIELD_NUMBER: _ClassVar[int]
    CPU_HOURS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    day: str
    user_id: str
    gpu_hours: float
    cpu_hours: float
    completed: int
    failed: int
    def __init__(self, day: _Optional[str] = ..., user_id: _Optional[str] = ..., gpu_hours: _Optional[float] = ..., cpu_hours: _Optional[float] = ..., completed: _Optional[int] = ..., failed: _Optional[int] = ...) -> None: ...
