import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Booking(_message.Message):
    __slots__ = ("id", "user_id", "gpu_uuids", "starts_at", "ends_at", "created_at", "created_by")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_UUIDS_FIELD_NUMBER: _ClassVar[int]
    STARTS_AT_FIELD_NUMBER: _ClassVar[int]
    ENDS_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    id: str
    user_id: str
    gpu_uuids: _containers.RepeatedScalarFieldContainer[str]
    starts_at: _timestamp_pb2.Timestamp
    ends_at: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    created_by: str
    def __init__(self, id: _Optional[str] = ..., user_id: _Optional[str] = ..., gpu_uuids: _Optional[_Iterable[str]] = ..., starts_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ends_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_by: _Optional[str] = ...) -> None: ...

class CreateBookingRequest(_message.Message):
    __slots__ = ("user_id", "starts_at", "ends_at", "gpu_uuids", "gpu")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STARTS_AT_FIELD_NUMBER: _ClassVar[int]
    ENDS_AT_FIELD_NUMBER: _ClassVar[int]
    GPU_UUIDS_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    starts_at: _timestamp_pb2.Timestamp
    ends_at: _timestamp_pb2.Timestamp
    gpu_uuids: _containers.RepeatedScalarFieldContainer[str]
    gpu: int
    def __init__(self, user_id: _Optional[str] = ..., starts_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ends_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., gpu_uuids: _Optional[_Iterable[str]] = ..., gpu: _Optional[int] = ...) -> None: ...

class ListBookingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBookingsResponse(_message.Message):
    __slots__ = ("bookings",)
    BOOKINGS_FIELD_NUMBER: _ClassVar[int]
    bookings: _containers.RepeatedCompositeFieldContainer[Booking]
    def __init__(self, bookings: _Optional[_Iterable[_Union[Booking, _Mapping]]] = ...) -> None: ...

class DeleteBookingRequest(_message.Message):
    __slots__ = ("booking_id",)
    BOOKING_ID_FIELD_NUMBER: _ClassVar[int]
    booking_id: str
    def __init__(self, booking_id: _Optional[str] = ...) -> None: ...

class Gpu(_message.Message):
    __slots__ = ("uuid", "number", "name", "state", "reason", "task_ids", "memory_mb", "memory_used_mb", "temperature_c", "utilisation_percent", "processes", "parent_uuid", "drained_by", "node", "packing_room_mb")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        state_unspecified: _ClassVar[Gpu.State]
        lost: _ClassVar[Gpu.State]
        sick: _ClassVar[Gpu.State]
        drained: _ClassVar[Gpu.State]
        held: _ClassVar[Gpu.State]
        busy: _ClassVar[Gpu.State]
        settling: _ClassVar[Gpu.State]
        unknown: _ClassVar[Gpu.State]
        free: _ClassVar[Gpu.State]
    state_unspecified: Gpu.State
    lost: Gpu.State
    sick: Gpu.State
    drained: Gpu.State
    held: Gpu.State
    busy: Gpu.State
    settling: Gpu.State
    unknown: Gpu.State
    free: Gpu.State
    UUID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_MB_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    PARENT_UUID_FIELD_NUMBER: _ClassVar[int]
    DRAINED_BY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PACKING_ROOM_MB_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    number: int
    name: str
    state: Gpu.State
    reason: str
    task_ids: _containers.RepeatedScalarFieldContainer[str]
    memory_mb: int
    memory_used_mb: int
    temperature_c: int
    utilisation_percent: int
    processes: _containers.RepeatedCompositeFieldContainer[GpuProcess]
    parent_uuid: str
    drained_by: str
    node: str
    packing_room_mb: int
    def __init__(self, uuid: _Optional[str] = ..., number: _Optional[int] = ..., name: _Optional[str] = ..., state: _Optional[_Union[Gpu.State, str]] = ..., reason: _Optional[str] = ..., task_ids: _Optional[_Iterable[str]] = ..., memory_mb: _Optional[int] = ..., memory_used_mb: _Optional[int] = ..., temperature_c: _Optional[int] = ..., utilisation_percent: _Optional[int] = ..., processes: _Optional[_Iterable[_Union[GpuProcess, _Mapping]]] = ..., parent_uuid: _Optional[str] = ..., drained_by: _Optional[str] = ..., node: _Optional[str] = ..., packing_room_mb: _Optional[int] = ...) -> None: ...

class GpuProcess(_message.Message):
    __slots__ = ("pid", "name", "memory_mb", "task_id")
    PID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    pid: int
    name: str
    memory_mb: int
    task_id: str
    def __init__(self, pid: _Optional[int] = ..., name: _Optional[str] = ..., memory_mb: _Optional[int] = ..., task_id: _Optional[str] = ...) -> None: ...

class ListGpusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchGpusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GpuList(_message.Message):
    __slots__ = ("gpus", "driver", "problem", "notes", "nodes")
    GPUS_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    gpus: _containers.RepeatedCompositeFieldContainer[Gpu]
    driver: str
    problem: str
    notes: _containers.RepeatedScalarFieldContainer[str]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    def __init__(self, gpus: _Optional[_Iterable[_Union[Gpu, _Mapping]]] = ..., driver: _Optional[str] = ..., problem: _Optional[str] = ..., notes: _Optional[_Iterable[str]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("name", "state", "takes_work", "reason", "reason_by", "cpu", "cpu_used", "memory_mb", "memory_used_mb", "gpu", "gpu_used", "gpu_name", "partitions", "task_ids")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TAKES_WORK_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REASON_BY_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    CPU_USED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_MB_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    GPU_USED_FIELD_NUMBER: _ClassVar[int]
    GPU_NAME_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    takes_work: bool
    reason: str
    reason_by: str
    cpu: int
    cpu_used: int
    memory_mb: int
    memory_used_mb: int
    gpu: int
    gpu_used: int
    gpu_name: str
    partitions: _containers.RepeatedScalarFieldContainer[str]
    task_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., takes_work: _Optional[bool] = ..., reason: _Optional[str] = ..., reason_by: _Optional[str] = ..., cpu: _Optional[int] = ..., cpu_used: _Optional[int] = ..., memory_mb: _Optional[int] = ..., memory_used_mb: _Optional[int] = ..., gpu: _Optional[int] = ..., gpu_used: _Optional[int] = ..., gpu_name: _Optional[str] = ..., partitions: _Optional[_Iterable[str]] = ..., task_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DrainGpuRequest(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    def __init__(self, uuid: _Optional[str] = ...) -> None: ...

class UndrainGpuRequest(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    def __init__(self, uuid: _Optional[str] = ...) -> None: ...
