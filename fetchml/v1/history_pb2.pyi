import datetime

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

class ListHistoryViewsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListHistoryViewsResponse(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedCompositeFieldContainer[HistoryView]
    def __init__(self, views: _Optional[_Iterable[_Union[HistoryView, _Mapping]]] = ...) -> None: ...

class HistoryView(_message.Message):
    __slots__ = ("name", "description", "columns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    columns: _containers.RepeatedCompositeFieldContainer[HistoryColumn]
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., columns: _Optional[_Iterable[_Union[HistoryColumn, _Mapping]]] = ...) -> None: ...

class HistoryColumn(_message.Message):
    __slots__ = ("name", "type", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    description: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class QueryHistoryRowsRequest(_message.Message):
    __slots__ = ("sql",)
    SQL_FIELD_NUMBER: _ClassVar[int]
    sql: str
    def __init__(self, sql: _Optional[str] = ...) -> None: ...

class QueryHistoryRowsResponse(_message.Message):
    __slots__ = ("columns", "rows", "cut")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[HistoryColumn]
    rows: _containers.RepeatedCompositeFieldContainer[_struct_pb2.ListValue]
    cut: bool
    def __init__(self, columns: _Optional[_Iterable[_Union[HistoryColumn, _Mapping]]] = ..., rows: _Optional[_Iterable[_Union[_struct_pb2.ListValue, _Mapping]]] = ..., cut: _Optional[bool] = ...) -> None: ...

class QueryHistoryRequest(_message.Message):
    __slots__ = ("sql", "format")
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[QueryHistoryRequest.Format]
        FORMAT_PARQUET: _ClassVar[QueryHistoryRequest.Format]
        FORMAT_CSV: _ClassVar[QueryHistoryRequest.Format]
        FORMAT_JSON: _ClassVar[QueryHistoryRequest.Format]
    FORMAT_UNSPECIFIED: QueryHistoryRequest.Format
    FORMAT_PARQUET: QueryHistoryRequest.Format
    FORMAT_CSV: QueryHistoryRequest.Format
    FORMAT_JSON: QueryHistoryRequest.Format
    SQL_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    sql: str
    format: QueryHistoryRequest.Format
    def __init__(self, sql: _Optional[str] = ..., format: _Optional[_Union[QueryHistoryRequest.Format, str]] = ...) -> None: ...

class ExportHistoryRequest(_message.Message):
    __slots__ = ("view",)
    VIEW_FIELD_NUMBER: _ClassVar[int]
    view: str
    def __init__(self, view: _Optional[str] = ...) -> None: ...

class HistoryChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ReplayHistoryRequest(_message.Message):
    __slots__ = ("since", "until", "gpus", "settings")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    gpus: int
    settings: _containers.ScalarMap[str, str]
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., gpus: _Optional[int] = ..., settings: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ReplayHistoryResponse(_message.Message):
    __slots__ = ("since", "until", "changes", "tasks", "starts", "same_starts", "recorded", "replayed", "notes")
    class Change(_message.Message):
        __slots__ = ("name", "was", "now")
        NAME_FIELD_NUMBER: _ClassVar[int]
        WAS_FIELD_NUMBER: _ClassVar[int]
        NOW_FIELD_NUMBER: _ClassVar[int]
        name: str
        was: str
        now: str
        def __init__(self, name: _Optional[str] = ..., was: _Optional[str] = ..., now: _Optional[str] = ...) -> None: ...
    class Waits(_message.Message):
        __slots__ = ("user_id", "tasks", "p50", "p90")
        USER_ID_FIELD_NUMBER: _ClassVar[int]
        TASKS_FIELD_NUMBER: _ClassVar[int]
        P50_FIELD_NUMBER: _ClassVar[int]
        P90_FIELD_NUMBER: _ClassVar[int]
        user_id: str
        tasks: int
        p50: float
        p90: float
        def __init__(self, user_id: _Optional[str] = ..., tasks: _Optional[int] = ..., p50: _Optional[float] = ..., p90: _Optional[float] = ...) -> None: ...
    class Outcome(_message.Message):
        __slots__ = ("waits", "users", "not_started", "slots_busy", "gpus_busy")
        WAITS_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        NOT_STARTED_FIELD_NUMBER: _ClassVar[int]
        SLOTS_BUSY_FIELD_NUMBER: _ClassVar[int]
        GPUS_BUSY_FIELD_NUMBER: _ClassVar[int]
        waits: ReplayHistoryResponse.Waits
        users: _containers.RepeatedCompositeFieldContainer[ReplayHistoryResponse.Waits]
        not_started: int
        slots_busy: float
        gpus_busy: float
        def __init__(self, waits: _Optional[_Union[ReplayHistoryResponse.Waits, _Mapping]] = ..., users: _Optional[_Iterable[_Union[ReplayHistoryResponse.Waits, _Mapping]]] = ..., not_started: _Optional[int] = ..., slots_busy: _Optional[float] = ..., gpus_busy: _Optional[float] = ...) -> None: ...
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    SAME_STARTS_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    changes: _containers.RepeatedCompositeFieldContainer[ReplayHistoryResponse.Change]
    tasks: int
    starts: int
    same_starts: int
    recorded: ReplayHistoryResponse.Outcome
    replayed: ReplayHistoryResponse.Outcome
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[ReplayHistoryResponse.Change, _Mapping]]] = ..., tasks: _Optional[int] = ..., starts: _Optional[int] = ..., same_starts: _Optional[int] = ..., recorded: _Optional[_Union[ReplayHistoryResponse.Outcome, _Mapping]] = ..., replayed: _Optional[_Union[ReplayHistoryResponse.Outcome, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...
