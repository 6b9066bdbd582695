"""NotificationService."""
# ruff: noqa: N802  # methods have the RPCs' names

from google.protobuf.empty_pb2 import Empty

from fetchml.api.grpc.rpc_context import RpcContext
from fetchml.api.notification_mappings import NOTIFICATION, SECRET, TEST_RESULT
from fetchml.api.task_messages import target_fields, target_message
from fetchml.core.notifications.targets import MAX_TARGETS, DeliveryState
from fetchml.engine.engine import Engine
from fetchml.errors import BadRequest
from fetchml.notifications.service import NotificationSettings
from fetchml.system.pacing import map_paced
from fetchml.v1 import notification_pb2, notification_pb2_grpc

_STATES = {notification_pb2.Notification.State.Value(each): each.value for each in DeliveryState}


class NotificationService(notification_pb2_grpc.NotificationServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ListNotifications(
        self, request: notification_pb2.ListNotificationsRequest, context: RpcContext
    ) -> notification_pb2.ListNotificationsResponse:
        state = _STATES.get(request.state)
        if state is None and request.state:
            raise BadRequest(f"state: must be one of {', '.join(DeliveryState)}")
        page = self._engine.notifications.page(
            context.principal,
            state=state,
            limit=request.limit if request.HasField("limit") else None,
            offset=request.offset if request.HasField("offset") else None,
        )
        return notification_pb2.ListNotificationsResponse(
            notifications=await map_paced(NOTIFICATION.message, page.notifications),
            total=page.total,
            pending=page.pending,
            dead=page.dead,
            dropped=page.dropped,
        )

    async def RetryNotification(
        self, request: notification_pb2.RetryNotificationRequest, context: RpcContext
    ) -> notification_pb2.Notification:
        return NOTIFICATION.message(
            await self._engine.notifications.retry(context.principal, request.notification_id)
        )

    async def GetNotificationSettings(
        self, request: notification_pb2.GetNotificationSettingsRequest, context: RpcContext
    ) -> notification_pb2.NotificationSettings:
        return _settings_message(self._engine.notifications.settings(context.principal))

    async def SetNotificationSettings(
        self, request: notification_pb2.SetNotificationSettingsRequest, context: RpcContext
    ) -> notification_pb2.NotificationSettings:
        targets = [target_fields(each) for each in request.notify[: MAX_TARGETS + 1]]
        return _settings_message(
            await self._engine.notifications.set_settings(context.principal, {"notify": targets})
        )

    async def GetWebhookSecret(
        self, request: notification_pb2.GetWebhookSecretRequest, context: RpcContext
    ) -> notification_pb2.WebhookSecret:
        return SECRET.message(self._engine.notifications.secret(context.principal, request.url))

    async def ReplaceWebhookSecrets(
        self, request: notification_pb2.ReplaceWebhookSecretsRequest, context: RpcContext
    ) -> Empty:
        await self._engine.notifications.replace_secrets(context.principal)
        return Empty()

    async def TestNotification(
        self, request: notification_pb2.TestNotificationRequest, context: RpcContext
    ) -> notification_pb2.TestNotificationResponse:
        return TEST_RESULT.message(
            await self._engine.notifications.test(context.principal, {"url": request.url})
        )


def _settings_message(settings: NotificationSettings) -> notification_pb2.NotificationSettings:
    return notification_pb2.NotificationSettings(
        notify=[target_message(each, each.url) for each in settings.notify]
    )
