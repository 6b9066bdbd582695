"""`/ws`: handshake, authentication, messages, and the ways a session ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from fetchml.api.http import reply
from fetchml.api.rest.server import HttpTimeouts
from fetchml.api.task_json import rfc3339
from fetchml.api.ws.watch import Timing
from fetchml.core.model import Role, Status
from fetchml.views import Update, UpdateType
from tests.support.front import EDGE
from tests.support.rest_world import World, rest_world
from tests.support.stub_services import START_MS
from tests.support.validate import CONTRACT, validate
from tests.support.waiting import SECONDS

TASK = {"$ref": "#/components/schemas/Task"}


class Socket:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.raw = socket

    async def next(self) -> dict[str, Any]:
        """The next message. A task in it has the contract's fields and no others."""
        message: dict[str, Any] = await self.raw.receive_json(timeout=SECONDS)
        if "task" in message:
            validate(CONTRACT, TASK, message["task"])
        return message

    async def closed(self) -> tuple[int | None, str]:
        """The code and the reason that the server closes with; what comes before is dropped."""
        while (message := await self.raw.receive(timeout=SECONDS)).type is WSMsgType.TEXT:
            pass
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING)
        return self.raw.close_code, message.extra or ""


@contextlib.asynccontextmanager
async def connect(rest: World, query: str = "", **options: Any) -> AsyncIterator[Socket]:
    options.setdefault("headers", rest.client.with_key({}))
    async with rest.client.session.ws_connect(rest.client.url(f"/ws{query}"), **options) as socket:
        yield Socket(socket)


@pytest.mark.fronts(EDGE)
async def test_every_change_of_a_task_and_its_end(rest: World) -> None:
    async with connect(rest) as socket:
        task_id = await rest.new_task()
        for status in (Status.RUNNING, Status.FAILED):
            await rest.engine.change(task_id, status=status)
        messages = [await socket.next() for _ in range(4)]
    assert [(m["type"], m["seq"], m["task"]["status"]) for m in messages] == [
        ("task_update", 2, "queued"),
        ("task_update", 4, "running"),
        ("task_update", 6, "failed"),
        ("task_complete", 7, "failed"),
    ]
    changes = [rfc3339(change.at) for change in rest.store.journal]
    assert [m["timestamp"] for m in messages] == [*changes, changes[-1]]
    assert messages[0].keys() == {"type", "seq", "timestamp", "task"}
    await rest.engine.until(lambda: rest.engine.open_streams == 0)


async def test_deletions_are_sent_only_in_the_full_view(rest: World) -> None:
    task_id = await rest.new_task()
    await rest.engine.change(task_id, status=Status.COMPLETED)
    async with connect(rest) as basic, connect(rest, "?view=full") as full:
        await rest.client.ask("DELETE", f"/v1/tasks/{task_id}")
        message = await full.raw.receive_json(timeout=SECONDS)
        other_id = await rest.new_task()
        assert (await basic.next())["task"]["id"] == other_id
    assert (message["type"], message["task"]["id"]) == ("task_deleted", task_id)


async def test_since_resumes_after_a_seq(rest: World) -> None:
    ids = [await rest.new_task() for _ in range(3)]
    async with connect(rest, "?since=2") as socket:
        assert [(await socket.next())["task"]["id"] for _ in range(2)] == ids[1:]


async def test_watch_filters(rest: World) -> None:
    first, second = [await rest.new_task() for _ in range(2)]
    async with (
        connect(rest, f"?since=0&task_id={second}") as one,
        connect(rest, "?since=0&status=preparing") as preparing,
    ):
        assert (await one.next())["task"]["id"] == second
        await rest.engine.change(first, status=Status.PREPARING)
        message = await preparing.next()
    assert (message["task"]["id"], message["task"]["status"]) == (first, "preparing")


async def test_resync_is_sent_when_changes_are_lost(rest: World) -> None:
    async def watch(*_: object, **__: object) -> AsyncIterator[Update]:
        yield Update(UpdateType.RESYNC, 41, START_MS)
        await asyncio.Event().wait()

    rest.engine.replace("watch", watch, rest.engine.engine.watches)
    async with connect(rest, "?since=7") as socket:
        assert await socket.next() == {"type": "resync", "seq": 41}


async def test_invalid_queries_are_rejected_before_the_upgrade(rest: World) -> None:
    for query in [
        "since=x",
        "since=-1",
        "since=",
        "since=1&since=2",
        "status=done",
        "status=",
        "view=x",
    ]:
        reply = await rest.client.get(f"/ws?{query}")
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")
        with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
            async with connect(rest, f"?{query}"):
                pass


async def test_request_without_a_handshake_returns_400(rest: World) -> None:
    reply = await rest.client.get("/ws")
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert (await rest.client.ask("HEAD", "/ws")).status == 400


async def test_invalid_handshake_returns_400(rest: World) -> None:
    headers = rest.client.with_key({"Upgrade": "websocket", "Connection": "Upgrade"})
    for version, key in (("13", "short"), ("12", "AAAAAAAAAAAAAAAAAAAAAA=="), ("13", "\u00fc")):
        async with rest.client.session.get(
            rest.client.url("/ws"),
            headers={**headers, "Sec-WebSocket-Version": version, "Sec-WebSocket-Key": key},
        ) as response:
            assert response.status == 400
            assert (await response.json())["code"] == "BAD_REQUEST"


async def test_missing_or_wrong_key_returns_401(rest: World) -> None:
    cases: list[dict[str, Any]] = [
        {"headers": {}},
        {"headers": {"X-API-Key": "wrong"}},
        {"headers": {}, "protocols": ("fetchml.v1",)},
        {"headers": {}, "protocols": ("fetchml.v1", "fetchml.key.wrong")},
        {"headers": {}, "protocols": ("fetchml.v1", "fetchml.key.")},
    ]
    for options in cases:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            async with connect(rest, **options):
                pass


@pytest.mark.fronts(EDGE)
async def test_browser_sends_its_key_as_a_protocol(rest: World) -> None:
    protocols = ("fetchml.v1", f"fetchml.key.{rest.secrets[Role.VIEWER]}")
    async with connect(rest, headers={}, protocols=protocols) as socket:
        assert socket.raw.protocol == "fetchml.v1"
        await rest.new_task()
        assert (await socket.next())["type"] == "task_update"


async def test_key_without_the_protocol_is_not_logged(
    rest: World, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"fetchml.key.{rest.secrets[Role.USER]}"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        async with connect(rest, headers={}, protocols=(key,)):
            pass
    assert rest.secrets[Role.USER] not in caplog.text


async def test_a_ping_gets_a_pong(rest: World) -> None:
    async with connect(rest) as socket:
        await socket.raw.send_str('{"type": "ping"}')
        assert await socket.next() == {"type": "pong"}
        await socket.raw.send_str('{"type": "what a later version may say"}')
        await socket.raw.send_str('{"type": "ping"}')
        assert await socket.next() == {"type": "pong"}


async def test_invalid_client_messages_close_the_socket(rest: World) -> None:
    cases: list[tuple[str | bytes, int]] = [
        ("hello", 1007),
        ("[1]", 1007),
        ('{"type": 1}', 1007),
        ("{}", 1007),
        ('{"a":' * 600, 1007),
        (b"\x00", 1003),
        ('{"type": "' + "x" * 5000 + '"}', 1009),
    ]
    for message, code in cases:
        async with connect(rest) as socket:
            if isinstance(message, bytes):
                await socket.raw.send_bytes(message)
            else:
                await socket.raw.send_str(message)
            assert (await socket.closed())[0] == code
        await rest.engine.until(lambda: rest.engine.open_streams == 0)


@pytest.mark.fronts(EDGE)
async def test_disconnect_ends_the_watch(rest: World, caplog: pytest.LogCaptureFixture) -> None:
    async with connect(rest) as socket:
        await rest.new_task()
        await socket.next()
        assert rest.engine.open_streams == 1
        socket.raw._response.connection.transport.abort()  # type: ignore[union-attr]
        await rest.engine.until(lambda: rest.engine.open_streams == 0)
    assert [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []


async def test_silent_clients_are_pinged_and_closed() -> None:
    timing = Timing(ping_every=0.05, pong_within=1)
    async with rest_world(timeouts=HttpTimeouts(ws=timing)) as rest, connect(rest) as socket:
        clock = asyncio.get_running_loop().time
        begun = clock()
        assert await socket.next() == {"type": "ping"}
        code, reason = await socket.closed()
        assert (code, reason) == (1008, "No pong for 1 s")
        assert clock() - begun > 0.9


@pytest.mark.slow
@pytest.mark.fronts(EDGE)
async def test_clients_that_answer_pings_stay_connected() -> None:
    timing = Timing(ping_every=0.5, pong_within=3)
    async with rest_world(timeouts=HttpTimeouts(ws=timing)) as rest, connect(rest) as socket:
        for _ in range(7):  # Longer than a silent one stays.
            assert await socket.next() == {"type": "ping"}
            await socket.raw.send_str('{"type": "pong"}')
        await rest.new_task()
        while (await socket.next())["type"] != "task_update":
            pass


async def test_client_that_does_not_read_is_closed() -> None:
    timing = Timing(send_within=0.1, close_within=0.05)
    async with rest_world(timeouts=HttpTimeouts(ws=timing)) as rest:
        taken = 0
        let_go = asyncio.Event()

        async def endless(*_: object, **__: object) -> AsyncIterator[Update]:
            nonlocal taken
            task = rest.engine.tasks[task_id]
            try:
                while True:
                    taken += 1
                    yield Update(UpdateType.TASK_UPDATE, taken, START_MS, task)
            finally:
                let_go.set()

        task_id = await rest.new_task()
        await rest.engine.change(task_id, error="x" * 60_000)
        rest.engine.replace("watch", endless, rest.engine.engine.watches)
        reader, writer = await asyncio.open_connection("127.0.0.1", rest.port, limit=1)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"X-API-Key: " + rest.secrets[Role.USER].encode() + b"\r\n\r\n"
        )
        async with asyncio.timeout(SECONDS):
            await let_go.wait()
            assert 0 < taken < 1000  # What the sockets' buffers take, and no more.
            with contextlib.suppress(ConnectionError):
                while await reader.read(2**20):
                    pass
        writer.close()


async def test_shutdown_closes_with_a_reason() -> None:
    async with rest_world() as rest, connect(rest) as socket:
        stopping = asyncio.create_task(rest.server.stop("the server is shutting down"))
        assert await socket.closed() == (1001, "the server is shutting down")
        await stopping


@pytest.mark.fronts(EDGE)
async def test_drain_closes_with_its_reason(rest: World) -> None:
    async with connect(rest) as socket:
        await rest.engine.drain()
        code, reason = await socket.closed()
        assert (code, reason) == (1001, "The server is shutting down: watch again when it is back")


async def test_failed_watch_reveals_no_details(
    rest: World, caplog: pytest.LogCaptureFixture
) -> None:
    rest.engine.fail(RuntimeError("a path of ours"))
    async with connect(rest) as socket:
        assert await socket.closed() == (1011, "An error occurred")
    assert "a path of ours" in caplog.text


async def test_unread_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "REPLIES_BY_CALLER", 2**20)
    async with rest_world() as rest, connect(rest) as socket:
        task_id = await rest.new_task()
        assert (await socket.next())["task"]["id"] == task_id
        await rest.engine.change(task_id, error="x" * 2**20)
        code, reason = await socket.closed()
        assert (code, reason) == (
            1013,
            "Limit of 1 MiB of your replies reached: request less, or wait",
        )
