from fetchml.v1 import task_pb2 as _task_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetQueueRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchQueueRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListQueueRequest(_message.Message):
    __slots__ = ("limit", "view")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    limit: int
    view: _task_pb2.View
    def __init__(self, limit: _Optional[int] = ..., view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class ListQueueResponse(_message.Message):
    __slots__ = ("waiting", "total")
    WAITING_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    waiting: _containers.RepeatedCompositeFieldContainer[WaitingTask]
    total: int
    def __init__(self, waiting: _Optional[_Iterable[_Union[WaitingTask, _Mapping]]] = ..., total: _Optional[int] = ...) -> None: ...

class WaitingTask(_message.Message):
    __slots__ = ("task", "position", "reason", "estimate")
    TASK_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    task: _task_pb2.Task
    position: int
    reason: str
    estimate: _task_pb2.TaskExplanation.StartEstimate
    def __init__(self, task: _Optional[_Union[_task_pb2.Task, _Mapping]] = ..., position: _Optional[int] = ..., reason: _Optional[str] = ..., estimate: _Optional[_Union[_task_pb2.TaskExplanation.StartEstimate, _Mapping]] = ...) -> None: ...

class QueueStats(_message.Message):
    __slots__ = ("queued", "running", "completed", "failed", "workers")
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    queued: int
    running: int
    completed: int
    failed: int
    workers: int
    def __init__(self, queued: _Optional[int] = ..., running: _Optional[int] = ..., completed: _Optional[int] = ..., failed: _Optional[int] = ..., workers: _Optional[int] = ...) -> None: ...
