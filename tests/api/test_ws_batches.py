"""`/ws` in batches: the form of its messages, shared bytes, limits."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from fetchml.api.http import reply
from fetchml.api.task_json import batch_json, rfc3339
from fetchml.core.model import Status
from tests.support.rest_world import World, rest_world
from tests.support.validate import CONTRACT, validate
from tests.support.waiting import SECONDS

TASK = {"$ref": "#/components/schemas/Task"}


@contextlib.asynccontextmanager
async def connect(rest: World, query: str = "") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = rest.client.url(f"/ws?batch=1{query}")
    async with rest.client.session.ws_connect(url, headers=rest.client.with_key({})) as socket:
        yield socket


async def following(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    message: dict[str, Any] = await socket.receive_json(timeout=SECONDS)
    return message


async def test_message_has_the_newest_state_of_each_task(rest: World) -> None:
    first, second = [await rest.new_task() for _ in range(2)]
    await rest.engine.change(first, status=Status.RUNNING)
    await rest.engine.change(first, status=Status.FAILED)
    async with connect(rest, "&since=0") as socket:
        message = await following(socket)
        assert message.keys() == {"type", "seq", "timestamp", "tasks"}
        assert (message["type"], message["seq"]) == ("task_batch", 9)
        assert message["timestamp"] >= rfc3339(rest.store.journal[-1].at)
        tasks = message["tasks"]
        assert [(t["id"], t["status"]) for t in tasks] == [(second, "queued"), (first, "failed")]
        for task in tasks:
            validate(CONTRACT, TASK, task)
        await rest.client.ask("DELETE", f"/v1/tasks/{first}")
        message = await following(socket)
        assert [task["id"] for task in message["deleted"]] == [first]
        assert message["tasks"] == []
    await rest.engine.until(lambda: rest.engine.open_streams == 0)


async def test_filters_and_views(rest: World) -> None:
    first, second = [await rest.new_task() for _ in range(2)]
    async with (
        connect(rest, f"&since=0&task_id={second}&view=full") as one,
        connect(rest, "&since=0&status=preparing") as preparing,
    ):
        [task] = (await following(one))["tasks"]
        assert (task["id"], task["image"]) == (second, "python:3.12-slim")
        await rest.engine.change(first, status=Status.PREPARING)
        [task] = (await following(preparing))["tasks"]
        assert (task["id"], task["status"]) == (first, "preparing")
        assert "image" not in task


async def test_unknown_seq_gets_the_contracts_resync(rest: World) -> None:
    async with connect(rest, "&since=9007199254740991") as socket:
        assert await following(socket) == {"type": "resync", "seq": 1}
        task_id = await rest.new_task()
        assert [task["id"] for task in (await following(socket))["tasks"]] == [task_id]


async def test_connections_share_the_bytes_of_a_message(
    rest: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = 0

    def counted(*args: Any, **more: Any) -> dict[str, object]:
        nonlocal encoded
        encoded += 1
        return batch_json(*args, **more)

    monkeypatch.setattr("fetchml.api.ws.watch.batch_json", counted)
    async with contextlib.AsyncExitStack() as stack:
        tabs = [await stack.enter_async_context(connect(rest, "&view=full")) for _ in range(10)]
        basic = await stack.enter_async_context(connect(rest))
        await rest.engine.until(lambda: rest.engine.open_streams == 11)
        for number in range(1, 4):
            task_id = await rest.new_task()
            told = [await following(socket) for socket in tabs]
            assert [task["id"] for task in told[0]["tasks"]] == [task_id]
            assert told == [told[0]] * 10
            assert "image" not in (await following(basic))["tasks"][0]
            assert encoded == 2 * number


@pytest.mark.parametrize("value", ["2", "", "yes", "1&batch=1"])
async def test_invalid_values_are_rejected(rest: World, value: str) -> None:
    answer = await rest.client.get(f"/ws?batch={value}")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


async def test_unread_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "REPLIES_BY_CALLER", 2**20)
    async with rest_world() as rest, connect(rest) as socket:
        task_id = await rest.new_task()
        assert [task["id"] for task in (await following(socket))["tasks"]] == [task_id]
        await rest.engine.change(task_id, error="x" * 2**20)
        while (message := await socket.receive(timeout=SECONDS)).type is WSMsgType.TEXT:
            pass
        assert (socket.close_code, message.extra) == (
            1013,
            "Limit of 1 MiB of your replies reached: request less, or wait",
        )
