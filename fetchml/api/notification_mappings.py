"""The fields that REST and gRPC show of notifications."""

from typing import Any

from fetchml.api.mapping import Field, LongRows, Mapping, Time
from fetchml.api.task_json import target_json
from fetchml.api.task_messages import target_message
from fetchml.core.notifications import SERVER, Delivery, DeliveryState
from fetchml.notifications.notification_service import (
    NotificationPage,
    NotificationSettings,
    TestResult,
    WebhookSecret,
)
from fetchml.v1 import notification_pb2


def _state(row: Delivery) -> DeliveryState:
    return DeliveryState.PENDING if row.dead_at is None else DeliveryState.DEAD


NOTIFICATION: Mapping[Delivery, notification_pb2.Notification] = Mapping(
    notification_pb2.Notification,
    Field("state", _state),
    Field("task_id", keep_empty=False),
    Field("sweep_id", keep_empty=False),
    Time("next_at", lambda row: row.next_at if row.dead_at is None else None),
    Field("last_error", "error"),
    Field("of_server", lambda row: row.user == SERVER, keep_empty=False),
)

NOTIFICATIONS: Mapping[NotificationPage, notification_pb2.ListNotificationsResponse] = Mapping(
    notification_pb2.ListNotificationsResponse, LongRows("notifications", NOTIFICATION)
)


class _Targets(Field):
    """Addresses with their whole URLs, which only their owner gets."""

    def json(self, value: Any) -> object:
        return [target_json(each, each.url) for each in value]

    def message(self, value: Any) -> object:
        return [target_message(each, each.url) for each in value]


SETTINGS: Mapping[NotificationSettings, notification_pb2.NotificationSettings] = Mapping(
    notification_pb2.NotificationSettings, _Targets("notify")
)

WEBHOOK_SECRET: Mapping[WebhookSecret, notification_pb2.WebhookSecret] = Mapping(
    notification_pb2.WebhookSecret
)

TEST_RESULT: Mapping[TestResult, notification_pb2.TestNotificationResponse] = Mapping(
    notification_pb2.TestNotificationResponse
)
