from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStorageRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StorageReport(_message.Message):
    __slots__ = ("users", "allowed_bytes", "volumes")
    USERS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_BYTES_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    users: _containers.RepeatedCompositeFieldContainer[UserStorage]
    allowed_bytes: int
    volumes: _containers.RepeatedCompositeFieldContainer[VolumeStorage]
    def __init__(self, users: _Optional[_Iterable[_Union[UserStorage, _Mapping]]] = ..., allowed_bytes: _Optional[int] = ..., volumes: _Optional[_Iterable[_Union[VolumeStorage, _Mapping]]] = ...) -> None: ...

class VolumeStorage(_message.Message):
    __slots__ = ("name", "read_only", "max_bytes", "bytes", "files")
    NAME_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    name: str
    read_only: bool
    max_bytes: int
    bytes: int
    files: int
    def __init__(self, name: _Optional[str] = ..., read_only: _Optional[bool] = ..., max_bytes: _Optional[int] = ..., bytes: _Optional[int] = ..., files: _Optional[int] = ...) -> None: ...

class UserStorage(_message.Message):
    __slots__ = ("user_id", "bytes", "files", "kinds")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    bytes: int
    files: int
    kinds: _containers.RepeatedCompositeFieldContainer[StorageUse]
    def __init__(self, user_id: _Optional[str] = ..., bytes: _Optional[int] = ..., files: _Optional[int] = ..., kinds: _Optional[_Iterable[_Union[StorageUse, _Mapping]]] = ...) -> None: ...

class StorageUse(_message.Message):
    __slots__ = ("kind", "bytes", "files")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    kind: str
    bytes: int
    files: int
    def __init__(self, kind: _Optional[str] = ..., bytes: _Optional[int] = ..., files: _Optional[int] = ...) -> None: ...

class PruneStorageRequest(_message.Message):
    __slots__ = ("older_than_seconds", "kinds", "states", "user_id", "apply")
    OLDER_THAN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    older_than_seconds: int
    kinds: _containers.RepeatedScalarFieldContainer[str]
    states: _containers.RepeatedScalarFieldContainer[str]
    user_id: str
    apply: bool
    def __init__(self, older_than_seconds: _Optional[int] = ..., kinds: _Optional[_Iterable[str]] = ..., states: _Optional[_Iterable[str]] = ..., user_id: _Optional[str] = ..., apply: _Optional[bool] = ...) -> None: ...

class PruneStorageResponse(_message.Message):
    __slots__ = ("tasks", "outputs", "snapshots", "bytes", "files", "left", "environments")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    tasks: int
    outputs: int
    snapshots: int
    bytes: int
    files: int
    left: int
    environments: int
    def __init__(self, tasks: _Optional[int] = ..., outputs: _Optional[int] = ..., snapshots: _Optional[int] = ..., bytes: _Optional[int] = ..., files: _Optional[int] = ..., left: _Optional[int] = ..., environments: _Optional[int] = ...) -> None: ...
