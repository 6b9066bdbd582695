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

class JupyterServiceInfo(_message.Message):
    __slots__ = ("id", "name", "status", "url", "token", "created_at", "user_id", "image", "workspace", "cpu", "memory_gb", "gpu", "reason", "started_at", "ended_at", "last_activity", "stops_at")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        status_unspecified: _ClassVar[JupyterServiceInfo.Status]
        starting: _ClassVar[JupyterServiceInfo.Status]
        running: _ClassVar[JupyterServiceInfo.Status]
        stopping: _ClassVar[JupyterServiceInfo.Status]
        stopped: _ClassVar[JupyterServiceInfo.Status]
        error: _ClassVar[JupyterServiceInfo.Status]
    status_unspecified: JupyterServiceInfo.Status
    starting: JupyterServiceInfo.Status
    running: JupyterServiceInfo.Status
    stopping: JupyterServiceInfo.Status
    stopped: JupyterServiceInfo.Status
    error: JupyterServiceInfo.Status
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    STOPS_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    status: JupyterServiceInfo.Status
    url: str
    token: str
    created_at: _timestamp_pb2.Timestamp
    user_id: str
    image: str
    workspace: str
    cpu: int
    memory_gb: int
    gpu: int
    reason: str
    started_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    last_activity: _timestamp_pb2.Timestamp
    stops_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., status: _Optional[_Union[JupyterServiceInfo.Status, str]] = ..., url: _Optional[str] = ..., token: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., user_id: _Optional[str] = ..., image: _Optional[str] = ..., workspace: _Optional[str] = ..., cpu: _Optional[int] = ..., memory_gb: _Optional[int] = ..., gpu: _Optional[int] = ..., reason: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_activity: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stops_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListJupyterServicesRequest(_message.Message):
    __slots__ = ("view",)
    VIEW_FIELD_NUMBER: _ClassVar[int]
    view: _task_pb2.View
    def __init__(self, view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class GetJupyterServiceRequest(_message.Message):
    __slots__ = ("service_id", "view")
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    service_id: str
    view: _task_pb2.View
    def __init__(self, service_id: _Optional[str] = ..., view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class ListJupyterServicesResponse(_message.Message):
    __slots__ = ("services",)
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    services: _containers.RepeatedCompositeFieldContainer[JupyterServiceInfo]
    def __init__(self, services: _Optional[_Iterable[_Union[JupyterServiceInfo, _Mapping]]] = ...) -> None: ...

class StartJupyterRequest(_message.Message):
    __slots__ = ("name", "workspace", "image", "cpu", "memory_gb", "gpu", "view")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    workspace: str
    image: str
    cpu: int
    memory_gb: int
    gpu: int
    view: _task_pb2.View
    def __init__(self, name: _Optional[str] = ..., workspace: _Optional[str] = ..., image: _Optional[str] = ..., cpu: _Optional[int] = ..., memory_gb: _Optional[int] = ..., gpu: _Optional[int] = ..., view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class StopJupyterRequest(_message.Message):
    __slots__ = ("service_id",)
    SERVICE_ID_FIELD_NUMBER: _ClassVar[int]
    service_id: str
    def __init__(self, service_id: _Optional[str] = ...) -> None: ...
