"""The calls for notifications."""

from collections.abc import Sequence

from fetchml.client import notification_rpcs
from fetchml.client.aio.bookings import AsyncBookings
from fetchml.client.notify_targets import Target
from fetchml.v1.notification_pb2 import (
    ListNotificationsResponse,
    Notification,
    NotificationSettings,
    TestNotificationResponse,
    WebhookSecret,
)


class AsyncNotifications(AsyncBookings):
    async def notifications(
        self, *, state: str = "", limit: int | None = None, offset: int | None = None
    ) -> ListNotificationsResponse:
        """Return the caller's messages that are not delivered, newest first, at most `limit` (50
        by default). `state` is `pending` or `dead`."""
        return await self.call(notification_rpcs.list_notifications(state, limit, offset))

    async def retry_notification(self, notification_id: str) -> Notification:
        """Send a message again, at once and for another day if it fails."""
        return await self.call(notification_rpcs.retry_notification(notification_id))

    async def notification_settings(self) -> NotificationSettings:
        """Return the caller's default addresses."""
        return await self.call(notification_rpcs.get_settings())

    async def set_notification_settings(self, notify: Sequence[Target]) -> NotificationSettings:
        """Replace the caller's default addresses: URLs, or `{"url": …, "on": ["failed"]}`."""
        return await self.call(notification_rpcs.set_settings(notify))

    async def webhook_secret(self, url: str) -> WebhookSecret:
        """Return the secret that signs the caller's webhooks to the URL's host."""
        return await self.call(notification_rpcs.get_secret(url))

    async def replace_webhook_secrets(self) -> None:
        """Replace all secrets of the caller. For a day webhooks also carry signatures by the old
        ones."""
        await self.call(notification_rpcs.replace_secrets())

    async def test_notification(self, url: str) -> TestNotificationResponse:
        """Send a test message and return how the receiver answered."""
        return await self.call(notification_rpcs.test_notification(url))
