"""Every transport shows a prestaged task as `queued`."""

import asyncio
from typing import Any

from msgspec import json

from fetchml.core.model import Status
from tests.support.rest_world import World
from tests.support.waiting import SECONDS

PRESTAGED: dict[str, Any] = {"status": Status.PREPARING, "prestaged": True, "progress": "pulling"}


async def test_prestaged_task_is_queued_over_rest(rest: World) -> None:
    prestaged, prepares, waits = [(await rest.client.submit()).json["id"] for _ in range(3)]
    await rest.engine.change(prestaged, **PRESTAGED)
    await rest.engine.change(prepares, status=Status.PREPARING)
    assert (await rest.client.get(f"/v1/tasks/{prestaged}")).json["status"] == "queued"
    assert (await rest.client.get(f"/v1/tasks/{prestaged}/explain")).json["status"] == "queued"
    listed = (await rest.client.get("/v1/tasks?status=queued")).json
    assert [task["id"] for task in listed["tasks"]] == [waits, prestaged]
    assert {task["status"] for task in listed["tasks"]} == {"queued"}
    stats = (await rest.client.get("/v1/queue")).json
    assert (stats["queued"], stats["running"]) == (listed["total"], 1)


async def test_prestaged_task_is_queued_over_ws(rest: World) -> None:
    task_id = (await rest.client.submit()).json["id"]
    url, headers = rest.client.url("/ws?since=0"), rest.client.with_key({})
    async with (
        asyncio.timeout(SECONDS),
        rest.client.session.ws_connect(url % {"status": "queued"}, headers=headers) as queued,
        rest.client.session.ws_connect(url % {"status": "preparing"}, headers=headers) as preparing,
    ):
        await rest.engine.change(task_id, **PRESTAGED)
        await rest.engine.change(task_id, prestaged=False)
        sent = [json.decode((await queued.receive()).data) for _ in range(2)]
        assert [(each["seq"], each["task"]["status"]) for each in sent] == [
            (2, "queued"),
            (4, "queued"),
        ]
        first = json.decode((await preparing.receive()).data)
        assert (first["seq"], first["task"]["status"]) == (6, "preparing")
