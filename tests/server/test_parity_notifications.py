"""REST and gRPC give the same outcome to the same request about notifications, and a private server
shows nobody those of others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from google.protobuf.message import Message

from fetchml.core.model import Role
from fetchml.v1 import notification_pb2
from fetchml.v1.notification_pb2_grpc import NotificationServiceStub
from tests.server.parity import Outcome, outcome, refused, same
from tests.support import grpc_world, rest_world
from tests.support.program import Backend, Server
from tests.support.rest_world import JSON
from tests.support.server_fixtures import Serve
from tests.support.webhook_receiver import Receiver

PATH = "/v1/notifications"
UNKNOWN = "01930000-0000-7000-8000-000000000000"


class User:
    """One user's clients over both transports."""

    def __init__(self, clients: tuple[rest_world.Client, grpc_world.Client]) -> None:
        self.rest, self.grpc = clients

    async def over_rest(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else msgspec.json.encode(body)
        reply = await self.rest.ask(method, path, data, **({} if body is None else JSON))
        return same(reply.json) if reply.status == 200 else refused(reply)

    async def over_grpc(self, method: str, request: Message) -> Any:
        return await outcome(getattr(NotificationServiceStub(self.grpc.channel), method)(request))

    async def rows(self, query: str = "", **fields: Any) -> Any:
        """A list, which is the same over both transports but for what happens between them."""
        request = notification_pb2.ListNotificationsRequest(**fields)
        told = [
            await self.over_rest("GET", f"{PATH}{query}"),
            await self.over_grpc("ListNotifications", request),
        ]
        for each in told:
            if isinstance(each, dict):
                each.setdefault("notifications", [])
                each["notifications"] = [fixed(row) for row in each["notifications"]]
        assert told[0] == told[1], query
        return told[0]

    async def retry(self, message_id: str) -> Any:
        request = notification_pb2.RetryNotificationRequest(notification_id=message_id)
        told = [
            await self.over_rest("POST", f"{PATH}/{message_id}/retry"),
            await self.over_grpc("RetryNotification", request),
        ]
        found = [each if isinstance(each, Outcome) else fixed(each) for each in told]
        assert found[0] == found[1]
        return found[0]


def fixed(row: dict[str, Any]) -> dict[str, Any]:
    """A message without what each attempt changes."""
    return {name: row[name] for name in row if name not in ("attempts", "next_at", "last_error")}


@asynccontextmanager
async def failing() -> AsyncIterator[Receiver]:
    async with Receiver().listening() as receiver:
        receiver.status = 500
        yield receiver


@pytest.fixture
async def server(serve: Serve, processes_backend: Backend) -> Server:
    settings = {"FETCHML_NOTIFICATIONS_ALLOW_PRIVATE": "true", "FETCHML_AUTH_PRIVATE": "true"}
    return await serve(processes_backend, **settings).start()


async def user(server: Server, name: str, role: Role = Role.USER) -> User:
    return User(await server.clients(await server.key(name, role)))


async def test_lists_retries_and_tests_have_the_same_outcome(server: Server) -> None:
    ada = await user(server, "ada")
    async with failing() as receiver:
        request = {"job_name": "a", "command": ["true"], "notify": [{"url": receiver.url}]}
        task_id = (await ada.rest.submit(request)).json["id"]
        await receiver.until(1)
        [row] = (await ada.rows())["notifications"]
        assert (row["task_id"], row["state"], row["type"]) == (task_id, "pending", "task.completed")
        pending, dead = notification_pb2.Notification.pending, notification_pb2.Notification.dead
        assert (await ada.rows("?state=pending", state=pending))["total"] == 1
        assert (await ada.rows("?state=dead", state=dead))["total"] == 0
        assert (await ada.rows("?offset=1", offset=1))["notifications"] == []
        for query, fields in (
            ("?limit=0", {"limit": 0}),
            ("?limit=1001", {"limit": 1001}),
            ("?state=99", {"state": 99}),
        ):
            assert (await ada.rows(query, **fields)).code == "BAD_REQUEST"
        assert (await ada.retry(row["id"])) == row
        for unknown in (UNKNOWN, "x"):
            assert (await ada.retry(unknown)).code == "NOT_FOUND"
        test = notification_pb2.TestNotificationRequest(url=receiver.url)
        for status, is_delivered in ((500, False), (204, True)):
            receiver.status = status
            told = [
                await ada.over_rest("POST", f"{PATH}/test", {"url": receiver.url}),
                await ada.over_grpc("TestNotification", test),
            ]
            for each in told:
                assert each.pop("milliseconds") >= 0
            assert told[0] == told[1]
            assert told[0]["delivered"] is is_delivered
        for url in ("", "ftp://a.example/", "http://127.0.0.1/\0"):
            request_of = notification_pb2.TestNotificationRequest(url=url)
            refusal_of = await ada.over_rest("POST", f"{PATH}/test", {"url": url})
            assert refusal_of == await ada.over_grpc("TestNotification", request_of)
            assert refusal_of.code == "VALIDATION_ERROR"
