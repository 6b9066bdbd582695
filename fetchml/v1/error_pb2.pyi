from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorResponse(_message.Message):
    __slots__ = ("error", "code", "trace_id")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[ErrorResponse.Code]
        BAD_REQUEST: _ClassVar[ErrorResponse.Code]
        UNAUTHORIZED: _ClassVar[ErrorResponse.Code]
        FORBIDDEN: _ClassVar[ErrorResponse.Code]
        NOT_FOUND: _ClassVar[ErrorResponse.Code]
        CONFLICT: _ClassVar[ErrorResponse.Code]
        RATE_LIMITED: _ClassVar[ErrorResponse.Code]
        INTERNAL_ERROR: _ClassVar[ErrorResponse.Code]
        SERVICE_UNAVAILABLE: _ClassVar[ErrorResponse.Code]
        VALIDATION_ERROR: _ClassVar[ErrorResponse.Code]
    CODE_UNSPECIFIED: ErrorResponse.Code
    BAD_REQUEST: ErrorResponse.Code
    UNAUTHORIZED: ErrorResponse.Code
    FORBIDDEN: ErrorResponse.Code
    NOT_FOUND: ErrorResponse.Code
    CONFLICT: ErrorResponse.Code
    RATE_LIMITED: ErrorResponse.Code
    INTERNAL_ERROR: ErrorResponse.Code
    SERVICE_UNAVAILABLE: ErrorResponse.Code
    VALIDATION_ERROR: ErrorResponse.Code
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    error: str
    code: ErrorResponse.Code
    trace_id: str
    def __init__(self, error: _Optional[str] = ..., code: _Optional[_Union[ErrorResponse.Code, str]] = ..., trace_id: _Optional[str] = ...) -> None: ...
