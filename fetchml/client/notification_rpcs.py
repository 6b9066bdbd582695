"""The RPCs of notifications, as `fetchml.client.rpcs` has those of tasks."""

from collections.abc import Sequence

from google.protobuf.empty_pb2 import Empty

from fetchml.client.notify_targets import Target, target
from fetchml.client.rpcs import Rpc
from fetchml.v1 import notification_pb2
from fetchml.v1.notification_pb2 import Notification, NotificationSettings, WebhookSecret


def list_notifications(
    state: str, limit: int | None, offset: int | None
) -> Rpc[notification_pb2.ListNotificationsResponse]:
    """Raises ValueError for a name that is no state."""
    request = notification_pb2.ListNotificationsRequest(
        state=state or None,
        limit=limit,
        offset=offset,
    )
    reply = notification_pb2.ListNotificationsResponse
    return Rpc("NotificationService/ListNotifications", request, reply)


def retry_notification(notification_id: str) -> Rpc[Notification]:
    request = notification_pb2.RetryNotificationRequest(notification_id=notification_id)
    return Rpc("NotificationService/RetryNotification", request, Notification)


def get_settings() -> Rpc[NotificationSettings]:
    request = notification_pb2.GetNotificationSettingsRequest()
    return Rpc("NotificationService/GetNotificationSettings", request, NotificationSettings)


def set_settings(notify: Sequence[Target]) -> Rpc[NotificationSettings]:
    request = notification_pb2.SetNotificationSettingsRequest(notify=map(target, notify))
    return Rpc("NotificationService/SetNotificationSettings", request, NotificationSettings)


def get_secret(url: str) -> Rpc[WebhookSecret]:
    request = notification_pb2.GetWebhookSecretRequest(url=url)
    return Rpc("NotificationService/GetWebhookSecret", request, WebhookSecret)


def replace_secrets() -> Rpc[Empty]:
    request = notification_pb2.ReplaceWebhookSecretsRequest()
    return Rpc("NotificationService/ReplaceWebhookSecrets", request, Empty, repeatable=False)


def test_notification(url: str) -> Rpc[notification_pb2.TestNotificationResponse]:
    request = notification_pb2.TestNotificationRequest(url=url)
    reply = notification_pb2.TestNotificationResponse
    return Rpc("NotificationService/TestNotification", request, reply, repeatable=False)
