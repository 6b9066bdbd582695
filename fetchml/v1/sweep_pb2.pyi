import datetime

from fetchml.v1 import task_pb2 as _task_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Sweep(_message.Message):
    __slots__ = ("id", "name", "user_id", "created_at", "total", "counts", "job_name", "mode", "parameters", "samples", "random_seed", "max_parallel", "tasks")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        mode_unspecified: _ClassVar[Sweep.Mode]
        grid: _ClassVar[Sweep.Mode]
        zip: _ClassVar[Sweep.Mode]
        random: _ClassVar[Sweep.Mode]
    mode_unspecified: Sweep.Mode
    grid: Sweep.Mode
    zip: Sweep.Mode
    random: Sweep.Mode
    class Counts(_message.Message):
        __slots__ = ("queued", "preparing", "running", "collecting", "completed", "failed", "deleted")
        QUEUED_FIELD_NUMBER: _ClassVar[int]
        PREPARING_FIELD_NUMBER: _ClassVar[int]
        RUNNING_FIELD_NUMBER: _ClassVar[int]
        COLLECTING_FIELD_NUMBER: _ClassVar[int]
        COMPLETED_FIELD_NUMBER: _ClassVar[int]
        FAILED_FIELD_NUMBER: _ClassVar[int]
        DELETED_FIELD_NUMBER: _ClassVar[int]
        queued: int
        preparing: int
        running: int
        collecting: int
        completed: int
        failed: int
        deleted: int
        def __init__(self, queued: _Optional[int] = ..., preparing: _Optional[int] = ..., running: _Optional[int] = ..., collecting: _Optional[int] = ..., completed: _Optional[int] = ..., failed: _Optional[int] = ..., deleted: _Optional[int] = ...) -> None: ...
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    RANDOM_SEED_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    user_id: str
    created_at: _timestamp_pb2.Timestamp
    total: int
    counts: Sweep.Counts
    job_name: str
    mode: Sweep.Mode
    parameters: _containers.ScalarMap[str, str]
    samples: int
    random_seed: int
    max_parallel: int
    tasks: _containers.RepeatedCompositeFieldContainer[_task_pb2.Task]
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., user_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., total: _Optional[int] = ..., counts: _Optional[_Union[Sweep.Counts, _Mapping]] = ..., job_name: _Optional[str] = ..., mode: _Optional[_Union[Sweep.Mode, str]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., samples: _Optional[int] = ..., random_seed: _Optional[int] = ..., max_parallel: _Optional[int] = ..., tasks: _Optional[_Iterable[_Union[_task_pb2.Task, _Mapping]]] = ...) -> None: ...

class SweepParameter(_message.Message):
    __slots__ = ("values", "range", "uniform", "log_uniform")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    UNIFORM_FIELD_NUMBER: _ClassVar[int]
    LOG_UNIFORM_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Value]
    range: _containers.RepeatedScalarFieldContainer[float]
    uniform: _containers.RepeatedScalarFieldContainer[float]
    log_uniform: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[_Union[_struct_pb2.Value, _Mapping]]] = ..., range: _Optional[_Iterable[float]] = ..., uniform: _Optional[_Iterable[float]] = ..., log_uniform: _Optional[_Iterable[float]] = ...) -> None: ...

class CreateSweepRequest(_message.Message):
    __slots__ = ("name", "task", "parameters", "mode", "samples", "random_seed", "max_parallel", "idempotency_key", "validate_only")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: SweepParameter
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[SweepParameter, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    RANDOM_SEED_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    task: _task_pb2.CreateTaskRequest
    parameters: _containers.MessageMap[str, SweepParameter]
    mode: Sweep.Mode
    samples: int
    random_seed: int
    max_parallel: int
    idempotency_key: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., task: _Optional[_Union[_task_pb2.CreateTaskRequest, _Mapping]] = ..., parameters: _Optional[_Mapping[str, SweepParameter]] = ..., mode: _Optional[_Union[Sweep.Mode, str]] = ..., samples: _Optional[int] = ..., random_seed: _Optional[int] = ..., max_parallel: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class ListSweepsRequest(_message.Message):
    __slots__ = ("user_id", "limit", "offset")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    limit: int
    offset: int
    def __init__(self, user_id: _Optional[str] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class ListSweepsResponse(_message.Message):
    __slots__ = ("sweeps", "total")
    SWEEPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    sweeps: _containers.RepeatedCompositeFieldContainer[Sweep]
    total: int
    def __init__(self, sweeps: _Optional[_Iterable[_Union[Sweep, _Mapping]]] = ..., total: _Optional[int] = ...) -> None: ...

class GetSweepRequest(_message.Message):
    __slots__ = ("sweep_id",)
    SWEEP_ID_FIELD_NUMBER: _ClassVar[int]
    sweep_id: str
    def __init__(self, sweep_id: _Optional[str] = ...) -> None: ...

class CancelSweepRequest(_message.Message):
    __slots__ = ("sweep_id",)
    SWEEP_ID_FIELD_NUMBER: _ClassVar[int]
    sweep_id: str
    def __init__(self, sweep_id: _Optional[str] = ...) -> None: ...

class CancelSweepResponse(_message.Message):
    __slots__ = ("sweep", "tasks")
    SWEEP_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    sweep: Sweep
    tasks: int
    def __init__(self, sweep: _Optional[_Union[Sweep, _Mapping]] = ..., tasks: _Optional[int] = ...) -> None: ...

class RetrySweepRequest(_message.Message):
    __slots__ = ("sweep_id",)
    SWEEP_ID_FIELD_NUMBER: _ClassVar[int]
    sweep_id: str
    def __init__(self, sweep_id: _Optional[str] = ...) -> None: ...

class RetrySweepResponse(_message.Message):
    __slots__ = ("sweep", "tasks")
    SWEEP_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    sweep: Sweep
    tasks: int
    def __init__(self, sweep: _Optional[_Union[Sweep, _Mapping]] = ..., tasks: _Optional[int] = ...) -> None: ...

class ListBestTasksRequest(_message.Message):
    __slots__ = ("sweep_id", "metric", "goal", "limit")
    SWEEP_ID_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    sweep_id: str
    metric: str
    goal: str
    limit: int
    def __init__(self, sweep_id: _Optional[str] = ..., metric: _Optional[str] = ..., goal: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListBestTasksResponse(_message.Message):
    __slots__ = ("results", "total", "metric_names")
    class Result(_message.Message):
        __slots__ = ("task_id", "sweep_index", "parameters", "value", "metrics", "started_at", "ended_at")
        class ParametersEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        class MetricsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: float
            def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
        TASK_ID_FIELD_NUMBER: _ClassVar[int]
        SWEEP_INDEX_FIELD_NUMBER: _ClassVar[int]
        PARAMETERS_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        METRICS_FIELD_NUMBER: _ClassVar[int]
        STARTED_AT_FIELD_NUMBER: _ClassVar[int]
        ENDED_AT_FIELD_NUMBER: _ClassVar[int]
        task_id: str
        sweep_index: int
        parameters: _containers.ScalarMap[str, str]
        value: float
        metrics: _containers.ScalarMap[str, float]
        started_at: _timestamp_pb2.Timestamp
        ended_at: _timestamp_pb2.Timestamp
        def __init__(self, task_id: _Optional[str] = ..., sweep_index: _Optional[int] = ..., parameters: _Optional[_Mapping[str, str]] = ..., value: _Optional[float] = ..., metrics: _Optional[_Mapping[str, float]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    METRIC_NAMES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ListBestTasksResponse.Result]
    total: int
    metric_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, results: _Optional[_Iterable[_Union[ListBestTasksResponse.Result, _Mapping]]] = ..., total: _Optional[int] = ..., metric_names: _Optional[_Iterable[str]] = ...) -> None: ...
