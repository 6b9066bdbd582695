"""Notifications over REST."""

from aiohttp import web

from fetchml.api.http.body import read_object
from fetchml.api.http.query import Query
from fetchml.api.http.request import RestRequest
from fetchml.api.http.router import Route
from fetchml.api.notification_mappings import NOTIFICATION, SECRET, TEST_RESULT
from fetchml.api.task_json import target_json
from fetchml.core.notifications.targets import SETTINGS_FIELDS, TEST_FIELDS
from fetchml.core.requests.checks import unknown_fields
from fetchml.engine.engine import Engine
from fetchml.notifications.service import NotificationSettings


class NotificationOperations:
    def __init__(self, engine: Engine, *, body_timeout_seconds: float) -> None:
        self._engine = engine
        self._body_timeout_seconds = body_timeout_seconds

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/notifications", self.list),
            Route("POST", "/v1/notifications/{id}/retry", self.retry),
            Route("GET", "/v1/notifications/settings", self.settings),
            Route("PUT", "/v1/notifications/settings", self.set_settings),
            Route("GET", "/v1/notifications/secret", self.secret),
            Route("POST", "/v1/notifications/secret/replace", self.replace_secrets),
            Route("POST", "/v1/notifications/test", self.test),
        ]

    async def list(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "state", "limit", "offset")
        page = self._engine.notifications.page(
            request.principal,
            state=query.text("state") or None,
            limit=query.number("limit"),
            offset=query.number("offset"),
        )
        body = {
            "notifications": await request.rows(NOTIFICATION.json, page.notifications),
            "total": page.total,
            "pending": page.pending,
            "dead": page.dead,
            "dropped": page.dropped,
        }
        return request.json(body, ignored=query.ignored)

    async def retry(self, request: RestRequest, notification_id: str) -> web.StreamResponse:
        query = Query(request.http)
        row = await self._engine.notifications.retry(request.principal, notification_id)
        return request.json(NOTIFICATION.json(row), ignored=query.ignored)

    async def settings(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        found = self._engine.notifications.settings(request.principal)
        return request.json(_settings_json(found), ignored=query.ignored)

    async def set_settings(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        fields = await read_object(request, self._body_timeout_seconds)
        found = await self._engine.notifications.set_settings(request.principal, fields)
        ignored = query.ignored + unknown_fields(fields, SETTINGS_FIELDS)
        return request.json(_settings_json(found), ignored=ignored)

    async def secret(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http, "url")
        found = self._engine.notifications.secret(request.principal, query.text("url"))
        return request.json(SECRET.json(found), ignored=query.ignored)

    async def replace_secrets(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        await self._engine.notifications.replace_secrets(request.principal)
        return request.json({}, ignored=query.ignored)

    async def test(self, request: RestRequest) -> web.StreamResponse:
        query = Query(request.http)
        fields = await read_object(request, self._body_timeout_seconds)
        result = await self._engine.notifications.test(request.principal, fields)
        ignored = query.ignored + unknown_fields(fields, TEST_FIELDS)
        return request.json(TEST_RESULT.json(result), ignored=ignored)


def _settings_json(settings: NotificationSettings) -> dict[str, object]:
    return {"notify": [target_json(each, each.url) for each in settings.notify]}
