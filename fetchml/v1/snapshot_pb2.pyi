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

class UploadSnapshotRequest(_message.Message):
    __slots__ = ("data", "git_commit", "git_dirty")
    DATA_FIELD_NUMBER: _ClassVar[int]
    GIT_COMMIT_FIELD_NUMBER: _ClassVar[int]
    GIT_DIRTY_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    git_commit: str
    git_dirty: bool
    def __init__(self, data: _Optional[bytes] = ..., git_commit: _Optional[str] = ..., git_dirty: _Optional[bool] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("id", "size_bytes", "created_at", "file_count", "used_at", "user_ids", "git_commit", "git_dirty")
    ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    USED_AT_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    GIT_COMMIT_FIELD_NUMBER: _ClassVar[int]
    GIT_DIRTY_FIELD_NUMBER: _ClassVar[int]
    id: str
    size_bytes: int
    created_at: _timestamp_pb2.Timestamp
    file_count: int
    used_at: _timestamp_pb2.Timestamp
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    git_commit: str
    git_dirty: bool
    def __init__(self, id: _Optional[str] = ..., size_bytes: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., file_count: _Optional[int] = ..., used_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., user_ids: _Optional[_Iterable[str]] = ..., git_commit: _Optional[str] = ..., git_dirty: _Optional[bool] = ...) -> None: ...

class GetSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id",)
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ...) -> None: ...

class ListSnapshotsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSnapshotsResponse(_message.Message):
    __slots__ = ("snapshots",)
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[Snapshot]
    def __init__(self, snapshots: _Optional[_Iterable[_Union[Snapshot, _Mapping]]] = ...) -> None: ...

class ListSnapshotFilesRequest(_message.Message):
    __slots__ = ("snapshot_id", "limit", "offset")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    limit: int
    offset: int
    def __init__(self, snapshot_id: _Optional[str] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class ListSnapshotFilesResponse(_message.Message):
    __slots__ = ("files", "total")
    FILES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[SnapshotFile]
    total: int
    def __init__(self, files: _Optional[_Iterable[_Union[SnapshotFile, _Mapping]]] = ..., total: _Optional[int] = ...) -> None: ...

class SnapshotFile(_message.Message):
    __slots__ = ("path", "kind", "size_bytes", "sha256", "target")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        kind_unspecified: _ClassVar[SnapshotFile.Kind]
        file: _ClassVar[SnapshotFile.Kind]
        executable: _ClassVar[SnapshotFile.Kind]
        link: _ClassVar[SnapshotFile.Kind]
    kind_unspecified: SnapshotFile.Kind
    file: SnapshotFile.Kind
    executable: SnapshotFile.Kind
    link: SnapshotFile.Kind
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    path: str
    kind: SnapshotFile.Kind
    size_bytes: int
    sha256: str
    target: str
    def __init__(self, path: _Optional[str] = ..., kind: _Optional[_Union[SnapshotFile.Kind, str]] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...

class ReadSnapshotFileRequest(_message.Message):
    __slots__ = ("snapshot_id", "path")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    path: str
    def __init__(self, snapshot_id: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class SnapshotFileChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class DeleteSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id",)
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ...) -> None: ...
