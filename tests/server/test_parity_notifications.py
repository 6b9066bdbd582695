"""REST and gRPC give the same outcome to the same request about notifications, and a private server
shows nobody those of others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import grpc
import msgspec
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from fetchml.core.model import Role
from fetchml.v1 import notification_pb2, task_pb2
from fetchml.v1.notification_pb2_grpc import NotificationServiceStub
from tests.server.parity import Outcome, outcome, refused, same
from tests.support import grpc_world, rest_world
from tests.support.grpc_world import refusal
from tests.support.program import Backend, Server
from tests.support.rest_world import JSON
from tests.support.server_fixtures import Serve
from tests.support.waiting import soon, until
from tests.support.webhook_receiver import Receiver

PATH = "/v1/notifications"
UNKNOWN = "01930000-0000-7000-8000-000000000000"
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "defaults of the events": [{"url": "http://127.0.0.1:9/a?b=c"}],
    "all events": [
        {
            "url": "https://10.0.0.1/",
            "on": ["started", "completed", "failed", "preempted", "idle"],
        }
    ],
    "longest": [{"url": f"http://127.0.0.1/{'x' * (2048 - 17)}"}],
    "as many as may be": [{"url": f"http://127.0.0.1/{n}"} for n in range(5)],
}
WRONG_SETTINGS: dict[str, list[dict[str, Any]]] = {
    "too many": [{"url": f"http://127.0.0.1/{n}"} for n in range(6)],
    "far too many": [{"url": f"http://127.0.0.1/{n}"} for n in range(5_000)],
    "no url": [{"on": ["failed"]}],
    "empty url": [{"url": ""}],
    "another scheme": [{"url": "file:///etc/passwd"}],
    "password": [{"url": "http://a:b@127.0.0.1/"}],
    "fragment": [{"url": "http://127.0.0.1/#a"}],
    "line break": [{"url": "http://127.0.0.1/\r\nX-A: b"}],
    "NUL": [{"url": "http://127.0.0.1/\0"}],
    "port": [{"url": "http://127.0.0.1:99999/"}],
    "host of no letters": [{"url": "http://%00/"}],
    "long host": [{"url": f"http://{'a' * 1800}/"}],
    "too long": [{"url": f"http://127.0.0.1/{'x' * 2048}"}],
    "twice": [{"url": "http://127.0.0.1/"}, {"url": "http://127.0.0.1/"}],
    "event twice": [{"url": "http://127.0.0.1/", "on": ["failed", "failed"]}],
}


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

    async def set(self, targets: list[dict[str, Any]]) -> list[Any]:
        """Set the default addresses; the outcomes over REST and over gRPC."""
        request = ParseDict({"notify": targets}, notification_pb2.SetNotificationSettingsRequest())
        told = [
            await self.over_rest("PUT", f"{PATH}/settings", {"notify": targets}),
            await self.over_grpc("SetNotificationSettings", request),
        ]
        return [each if isinstance(each, Outcome) else each.get("notify", []) for each in told]

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


async def test_settings_and_secrets_have_the_same_outcome(server: Server) -> None:
    ada = await user(server, "ada")
    for what, targets in SETTINGS.items():
        over_rest, over_grpc = await ada.set(targets)
        assert over_rest == over_grpc, what
        assert [each["url"] for each in over_rest] == [each["url"] for each in targets], what
        read = await ada.over_grpc(
            "GetNotificationSettings", notification_pb2.GetNotificationSettingsRequest()
        )
        assert read.get("notify", []) == over_rest
        assert (await ada.over_rest("GET", f"{PATH}/settings"))["notify"] == over_rest
    for what, targets in WRONG_SETTINGS.items():
        over_rest, over_grpc = await ada.set(targets)
        assert over_rest == over_grpc, what
        assert over_rest.code == "VALIDATION_ERROR", (what, over_rest)
    # JSON has no number for an event, and protobuf no text: both name the permitted ones.
    wrong = notification_pb2.SetNotificationSettingsRequest()
    wrong.notify.add(url="http://127.0.0.1/", on=[99])
    told = await ada.over_grpc("SetNotificationSettings", wrong)
    by_text = [{"url": "http://127.0.0.1/", "on": ["99"]}]
    assert told == (await ada.over_rest("PUT", f"{PATH}/settings", {"notify": by_text}))
    assert len((await ada.over_rest("GET", f"{PATH}/settings"))["notify"]) == 5, "none was kept"
    for url in ("http://127.0.0.1:9/x", "https://a.example/", "", "ftp://a.example/", "a\0"):
        request = notification_pb2.GetWebhookSecretRequest(url=url)
        over_rest = await ada.over_rest("GET", f"{PATH}/secret?url={quote(url, safe='')}")
        assert over_rest == await ada.over_grpc("GetWebhookSecret", request), url
        assert isinstance(over_rest, dict) == url.startswith("http")
    before = await ada.over_rest("GET", f"{PATH}/secret?url=http://127.0.0.1/")
    empty = notification_pb2.ReplaceWebhookSecretsRequest()
    for replace in (
        ada.over_rest("POST", f"{PATH}/secret/replace"),
        ada.over_grpc("ReplaceWebhookSecrets", empty),
    ):
        assert await replace == {}
        after = await ada.over_rest("GET", f"{PATH}/secret?url=http://127.0.0.1/")
        assert after["secret"] != before["secret"]
        before = after


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


async def test_a_private_server_shows_nothing_of_others(server: Server) -> None:
    ada, bob, root = [
        await user(server, name, role)
        for name, role in (("ada", Role.USER), ("bob", Role.USER), ("root", Role.ADMIN))
    ]
    async with failing() as receiver:
        for _ in range(2):
            task = {"job_name": "hers", "command": ["true"], "notify": [{"url": receiver.url}]}
            hers = (await ada.rest.submit(task)).json["id"]
        await ada.set([{"url": receiver.url}])
        # Over one transport: between two replies there may be one more.
        await until(lambda: ada.over_rest("GET", PATH), lambda page: page["total"] == 2)
        found = await ada.rows()
        nothing = {"notifications": [], "total": 0, "pending": 0, "dead": 0, "dropped": 0}
        for other in (bob, root):
            assert await other.rows() == nothing
            assert await other.over_rest("GET", f"{PATH}/settings") == {"notify": []}
            for row in found["notifications"]:
                foreign, unknown = await other.retry(row["id"]), await other.retry(UNKNOWN)
                assert foreign.message.replace(row["id"], UNKNOWN) == unknown.message
                assert foreign.code == unknown.code == "NOT_FOUND"
        assert (await bob.over_rest("GET", f"/v1/tasks/{hers}")).code == "NOT_FOUND"
        theirs = await bob.over_rest("GET", f"{PATH}/secret?url={quote(receiver.url, safe='')}")
        assert theirs != await ada.over_rest(
            "GET", f"{PATH}/secret?url={quote(receiver.url, safe='')}"
        )
        port = receiver.url.split(":")[2].partition("/")[0]
        for path in ("/metrics", "/v1/queue", "/v1/tasks?view=full", "/v1/usage"):
            reply = await bob.rest.get(path)
            assert hers not in reply.body.decode()
            assert f":{port}/" not in reply.body.decode()
        # An admin sees the task, and of the address what the task shows of it.
        shown = (await root.rest.get(f"/v1/tasks/{hers}?view=full")).json["notify"]
        assert [each["url"] for each in shown] == [receiver.url.partition("/hook")[0] + "/…"]


async def test_hostile_targets_over_grpc(server: Server) -> None:
    """Each is refused, or taken whole, and the server answers the next one."""
    ada = await user(server, "ada")

    async def create(*targets: task_pb2.NotifyTarget) -> str:
        request = task_pb2.CreateTaskRequest(job_name="a", command=["true"], notify=targets)
        try:
            await soon(ada.grpc.tasks.CreateTask(request))
        except grpc.aio.AioRpcError as error:
            return refusal(error).reason
        return "OK"

    target = task_pb2.NotifyTarget
    many = [target(url=f"http://127.0.0.1/{number}") for number in range(20_000)]
    assert await create(*many) == "VALIDATION_ERROR"
    assert await create(target()) == "VALIDATION_ERROR"
    for events in ([1] * 100_000, [-(2**31)], [0], [6], [2**31 - 1]):
        wrong: Any = {"url": "http://127.0.0.1/", "on": events}
        assert await create(target(**wrong)) == "VALIDATION_ERROR", events[0]
    for url in (
        "http://",
        "http://[::1",
        "http://[::1]:0x/",
        "http://127.0.0.1:-1/",
        "http://127.0.0.1\t/",
        "http://127.0.0.1 /",
        "http://\u2028/",
        "http://a\u0000.example/",
        "http://" + "[" * 1000,
        "//127.0.0.1/",
        "javascript:alert(1)",
        "x" * 1_000_000,
        # No look-up finds these hosts, so nothing would ever be delivered.
        "http://%00/",
        f"http://{'a' * 1800}/",
        f"http://{'a.' * 900}/",
        f"http://{'a' * 1900}.example/",
        "http://a..example/",
        "http://a%2eexample/",
    ):
        assert await create(target(url=url)) == "VALIDATION_ERROR", url[:40]
    # This one has the form of a host.
    assert await create(target(url="http://xn--a/")) == "OK"

    async def errors() -> list[str]:
        found = (await ada.over_rest("GET", PATH))["notifications"]
        return [each["last_error"] for each in found if "last_error" in each]

    assert await until(errors, bool) == ["the address names no host that can exist"]
    assert "Traceback" not in server.log
