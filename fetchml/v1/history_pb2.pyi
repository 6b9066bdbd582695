from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import struct_pb2 as _struct_pb2
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
