"""The fields that REST and gRPC show of notifications."""

from fetchml.api.mapping import Field, Mapping, Time
from fetchml.core.notifications.outbox import SERVER, Delivery
from fetchml.core.notifications.targets import DeliveryState
from fetchml.notifications.service import TestResult, WebhookSecret
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

SECRET: Mapping[WebhookSecret, notification_pb2.WebhookSecret] = Mapping(
    notification_pb2.WebhookSecret
)

TEST_RESULT: Mapping[TestResult, notification_pb2.TestNotificationResponse] = Mapping(
    notification_pb2.TestNotificationResponse
)
