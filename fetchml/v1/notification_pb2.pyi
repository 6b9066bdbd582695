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

class Notification(_message.Message):
    __slots__ = ("id", "state", "type", "url", "task_id", "sweep_id", "created_at", "attempts", "next_at", "last_error", "dead_at", "of_server")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        state_unspecified: _ClassVar[Notification.State]
        pending: _ClassVar[Notification.State]
        dead: _ClassVar[Notification.State]
    state_unspecified: Notification.State
    pending: Notification.State
    dead: Notification.State
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SWEEP_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    DEAD_AT_FIELD_NUMBER: _ClassVar[int]
    OF_SERVER_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: Notification.State
    type: str
    url: str
    task_id: str
    sweep_id: str
    created_at: _timestamp_pb2.Timestamp
    attempts: int
    next_at: _timestamp_pb2.Timestamp
    last_error: str
    dead_at: _timestamp_pb2.Timestamp
    of_server: bool
    def __init__(self, id: _Optional[str] = ..., state: _Optional[_Union[Notification.State, str]] = ..., type: _Optional[str] = ..., url: _Optional[str] = ..., task_id: _Optional[str] = ..., sweep_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[int] = ..., next_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error: _Optional[str] = ..., dead_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., of_server: _Optional[bool] = ...) -> None: ...

class ListNotificationsRequest(_message.Message):
    __slots__ = ("state", "limit", "offset")
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    state: Notification.State
    limit: int
    offset: int
    def __init__(self, state: _Optional[_Union[Notification.State, str]] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class ListNotificationsResponse(_message.Message):
    __slots__ = ("notifications", "total", "pending", "dead", "dropped")
    NOTIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    notifications: _containers.RepeatedCompositeFieldContainer[Notification]
    total: int
    pending: int
    dead: int
    dropped: int
    def __init__(self, notifications: _Optional[_Iterable[_Union[Notification, _Mapping]]] = ..., total: _Optional[int] = ..., pending: _Optional[int] = ..., dead: _Optional[int] = ..., dropped: _Optional[int] = ...) -> None: ...

class RetryNotificationRequest(_message.Message):
    __slots__ = ("notification_id",)
    NOTIFICATION_ID_FIELD_NUMBER: _ClassVar[int]
    notification_id: str
    def __init__(self, notification_id: _Optional[str] = ...) -> None: ...

class GetNotificationSettingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NotificationSettings(_message.Message):
    __slots__ = ("notify",)
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    notify: _containers.RepeatedCompositeFieldContainer[_task_pb2.NotifyTarget]
    def __init__(self, notify: _Optional[_Iterable[_Union[_task_pb2.NotifyTarget, _Mapping]]] = ...) -> None: ...

class SetNotificationSettingsRequest(_message.Message):
    __slots__ = ("notify",)
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    notify: _containers.RepeatedCompositeFieldContainer[_task_pb2.NotifyTarget]
    def __init__(self, notify: _Optional[_Iterable[_Union[_task_pb2.NotifyTarget, _Mapping]]] = ...) -> None: ...

class GetWebhookSecretRequest(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: str
    def __init__(self, url: _Optional[str] = ...) -> None: ...

class WebhookSecret(_message.Message):
    __slots__ = ("secret", "host")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    secret: str
    host: str
    def __init__(self, secret: _Optional[str] = ..., host: _Optional[str] = ...) -> None: ...

class ReplaceWebhookSecretsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TestNotificationRequest(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: str
    def __init__(self, url: _Optional[str] = ...) -> None: ...

class TestNotificationResponse(_message.Message):
    __slots__ = ("delivered", "error", "milliseconds")
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    delivered: bool
    error: str
    milliseconds: int
    def __init__(self, delivered: _Optional[bool] = ..., error: _Optional[str] = ..., milliseconds: _Optional[int] = ...) -> None: ...
