from fetchml.v1 import key_pb2 as _key_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ServerInfo(_message.Message):
    __slots__ = ("version", "launcher", "image", "command", "allow_images", "cpu", "memory_gb", "gpu", "max_running", "task_limits", "quotas", "datasets", "jupyter_images", "private", "user_id", "role", "preemption", "environments", "volumes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAUNCHER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ALLOW_IMAGES_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_FIELD_NUMBER: _ClassVar[int]
    TASK_LIMITS_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    JUPYTER_IMAGES_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PREEMPTION_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    version: str
    launcher: str
    image: str
    command: _containers.RepeatedScalarFieldContainer[str]
    allow_images: _containers.RepeatedScalarFieldContainer[str]
    cpu: int
    memory_gb: int
    gpu: int
    max_running: int
    task_limits: TaskLimits
    quotas: Quotas
    datasets: _containers.RepeatedScalarFieldContainer[str]
    jupyter_images: _containers.RepeatedScalarFieldContainer[str]
    private: bool
    user_id: str
    role: _key_pb2.Key.Role
    preemption: bool
    environments: bool
    volumes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., launcher: _Optional[str] = ..., image: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., allow_images: _Optional[_Iterable[str]] = ..., cpu: _Optional[int] = ..., memory_gb: _Optional[int] = ..., gpu: _Optional[int] = ..., max_running: _Optional[int] = ..., task_limits: _Optional[_Union[TaskLimits, _Mapping]] = ..., quotas: _Optional[_Union[Quotas, _Mapping]] = ..., datasets: _Optional[_Iterable[str]] = ..., jupyter_images: _Optional[_Iterable[str]] = ..., private: _Optional[bool] = ..., user_id: _Optional[str] = ..., role: _Optional[_Union[_key_pb2.Key.Role, str]] = ..., preemption: _Optional[bool] = ..., environments: _Optional[bool] = ..., volumes: _Optional[_Iterable[str]] = ...) -> None: ...

class TaskLimits(_message.Message):
    __slots__ = ("cpu", "memory_gb", "timeout_seconds", "max_cpu", "max_memory_gb", "max_timeout_seconds", "max_retries")
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_CPU_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    MAX_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    memory_gb: int
    timeout_seconds: int
    max_cpu: int
    max_memory_gb: int
    max_timeout_seconds: int
    max_retries: int
    def __init__(self, cpu: _Optional[int] = ..., memory_gb: _Optional[int] = ..., timeout_seconds: _Optional[int] = ..., max_cpu: _Optional[int] = ..., max_memory_gb: _Optional[int] = ..., max_timeout_seconds: _Optional[int] = ..., max_retries: _Optional[int] = ...) -> None: ...

class Quotas(_message.Message):
    __slots__ = ("gpus", "running", "queued", "queued_bytes", "storage_bytes")
    GPUS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    gpus: int
    running: int
    queued: int
    queued_bytes: int
    storage_bytes: int
    def __init__(self, gpus: _Optional[int] = ..., running: _Optional[int] = ..., queued: _Optional[int] = ..., queued_bytes: _Optional[int] = ..., storage_bytes: _Optional[int] = ...) -> None: ...

class RunDoctorRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DoctorReport(_message.Message):
    __slots__ = ("ok", "findings")
    OK_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, ok: _Optional[bool] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("name", "ok", "finding", "fix", "advice")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    name: str
    ok: bool
    finding: str
    fix: str
    advice: str
    def __init__(self, name: _Optional[str] = ..., ok: _Optional[bool] = ..., finding: _Optional[str] = ..., fix: _Optional[str] = ..., advice: _Optional[str] = ...) -> None: ...
