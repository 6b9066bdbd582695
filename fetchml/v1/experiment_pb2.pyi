import datetime

from fetchml.v1 import task_pb2 as _task_pb2
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

class Experiment(_message.Message):
    __slots__ = ("id", "name", "commit_id", "created_at", "status", "description", "user_id", "counts")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        status_unspecified: _ClassVar[Experiment.Status]
        active: _ClassVar[Experiment.Status]
        archived: _ClassVar[Experiment.Status]
        deleted: _ClassVar[Experiment.Status]
    status_unspecified: Experiment.Status
    active: Experiment.Status
    archived: Experiment.Status
    deleted: Experiment.Status
    class Counts(_message.Message):
        __slots__ = ("queued", "preparing", "running", "collecting", "completed", "failed")
        QUEUED_FIELD_NUMBER: _ClassVar[int]
        PREPARING_FIELD_NUMBER: _ClassVar[int]
        RUNNING_FIELD_NUMBER: _ClassVar[int]
        COLLECTING_FIELD_NUMBER: _ClassVar[int]
        COMPLETED_FIELD_NUMBER: _ClassVar[int]
        FAILED_FIELD_NUMBER: _ClassVar[int]
        queued: int
        preparing: int
        running: int
        collecting: int
        completed: int
        failed: int
        def __init__(self, queued: _Optional[int] = ..., preparing: _Optional[int] = ..., running: _Optional[int] = ..., collecting: _Optional[int] = ..., completed: _Optional[int] = ..., failed: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMIT_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    commit_id: str
    created_at: _timestamp_pb2.Timestamp
    status: Experiment.Status
    description: str
    user_id: str
    counts: Experiment.Counts
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., commit_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[_Union[Experiment.Status, str]] = ..., description: _Optional[str] = ..., user_id: _Optional[str] = ..., counts: _Optional[_Union[Experiment.Counts, _Mapping]] = ...) -> None: ...

class ListExperimentsRequest(_message.Message):
    __slots__ = ("view",)
    VIEW_FIELD_NUMBER: _ClassVar[int]
    view: _task_pb2.View
    def __init__(self, view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class ListExperimentsResponse(_message.Message):
    __slots__ = ("experiments",)
    EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    experiments: _containers.RepeatedCompositeFieldContainer[Experiment]
    def __init__(self, experiments: _Optional[_Iterable[_Union[Experiment, _Mapping]]] = ...) -> None: ...

class CreateExperimentRequest(_message.Message):
    __slots__ = ("name", "description", "commit_id", "view")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    commit_id: str
    view: _task_pb2.View
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., commit_id: _Optional[str] = ..., view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class GetExperimentRequest(_message.Message):
    __slots__ = ("experiment_id", "view")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    view: _task_pb2.View
    def __init__(self, experiment_id: _Optional[str] = ..., view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class ListExperimentResultsRequest(_message.Message):
    __slots__ = ("experiment_id", "limit", "offset")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    limit: int
    offset: int
    def __init__(self, experiment_id: _Optional[str] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class ListExperimentResultsResponse(_message.Message):
    __slots__ = ("results", "total")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ExperimentResult]
    total: int
    def __init__(self, results: _Optional[_Iterable[_Union[ExperimentResult, _Mapping]]] = ..., total: _Optional[int] = ...) -> None: ...

class ExperimentResult(_message.Message):
    __slots__ = ("task_id", "job_name", "status", "command", "args", "metadata", "metrics", "created_at", "started_at", "ended_at", "snapshot_id", "user_id")
    class MetadataEntry(_message.Message):
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
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    job_name: str
    status: _task_pb2.Task.Status
    command: _containers.RepeatedScalarFieldContainer[str]
    args: str
    metadata: _containers.ScalarMap[str, str]
    metrics: _containers.ScalarMap[str, float]
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    snapshot_id: str
    user_id: str
    def __init__(self, task_id: _Optional[str] = ..., job_name: _Optional[str] = ..., status: _Optional[_Union[_task_pb2.Task.Status, str]] = ..., command: _Optional[_Iterable[str]] = ..., args: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., snapshot_id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class ArchiveExperimentRequest(_message.Message):
    __slots__ = ("experiment_id", "view")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    view: _task_pb2.View
    def __init__(self, experiment_id: _Optional[str] = ..., view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class DeleteExperimentRequest(_message.Message):
    __slots__ = ("experiment_id",)
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    def __init__(self, experiment_id: _Optional[str] = ...) -> None: ...
