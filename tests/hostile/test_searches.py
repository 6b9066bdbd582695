"""Searches for tasks: one at a time by user, none of a client that has gone, none for long."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.core.model import Principal, Role
from fetchml.engine.engine import Engine
from fetchml.ports.store import ReadTooLong, TaskPage, TaskQuery
from fetchml.v1 import task_pb2
from tests.support import rest_world
from tests.support.engine_box import ALICE, BOB
from tests.support.grpc_world import grpc_world
from tests.support.memory_engine import memory_engine
from tests.support.memory_store import MemoryStore
from tests.support.waiting import soon, until_true

SEARCH = TaskQuery(text="zzz")


class Held:
    """A store whose searches wait for the test."""

    def __init__(self, store: MemoryStore) -> None:
        self.open = 0
        self.begun = 0
        self.most = 0
        self.go_on = asyncio.Event()
        self._list_tasks = store.list_tasks
        store.list_tasks = self._list  # type: ignore[method-assign]

    async def _list(self, query: TaskQuery) -> TaskPage:
        if query.is_search:
            self.begun += 1
            self.open += 1
            self.most = max(self.most, self.open)
            try:
                await self.go_on.wait()
            finally:
                self.open -= 1
        return await self._list_tasks(query)


async def search(engine: Engine, who: Principal) -> TaskPage:
    async with engine.tasks.turn_to_list(who, SEARCH):
        return await engine.tasks.list(who, SEARCH)


@pytest.fixture
async def rest() -> AsyncIterator[rest_world.World]:
    async with rest_world.rest_world() as world:
        yield world


async def test_searches_of_one_user_wait_for_each_other_and_for_no_other_user() -> None:
    async with memory_engine() as engine:
        held = Held(engine.store)
        searches = [asyncio.create_task(search(engine.engine, ALICE)) for _ in range(100)]
        await until_true(lambda: held.open == 1)
        searches.append(asyncio.create_task(search(engine.engine, BOB)))
        await until_true(lambda: held.open == 2)
        held.go_on.set()
        await soon(asyncio.gather(*searches))
        assert (held.begun, held.most) == (101, 2)


async def test_submits_and_lists_go_on_beside_a_hundred_searches(rest: rest_world.World) -> None:
    held = Held(rest.store)
    ways = ("text=zzz", "labels=key")
    searches = [
        asyncio.create_task(rest.client.get(f"/v1/tasks?{ways[number % 2]}"))
        for number in range(50)
    ]
    await until_true(lambda: held.open == 1)
    made = await soon(rest.client.submit(Idempotency_Key="a"))
    again = await soon(rest.client.submit(Idempotency_Key="a"))
    assert (made.status, again.json["id"]) == (201, made.json["id"])
    assert (await soon(rest.client.get("/v1/tasks"))).json["total"] == 1
    assert held.begun == 1
    held.go_on.set()
    assert {reply.status for reply in await soon(asyncio.gather(*searches))} == {200}
    assert held.most == 1


async def test_a_search_ends_when_its_client_has_gone(rest: rest_world.World) -> None:
    held = Held(rest.store)
    searches = [asyncio.create_task(rest.client.get("/v1/tasks?text=zzz")) for _ in range(20)]
    await until_true(lambda: held.open == 1)
    for each in searches:
        each.cancel()
    await soon(asyncio.wait(searches))
    await until_true(
        lambda: held.open == 0 and not rest.engine.engine.tasks._slow_reads._turns._locks
    )
    assert held.most == 1


async def test_searches_over_grpc_take_no_place_of_other_lists(tmp_path: Path) -> None:
    async with grpc_world(tmp_path) as world:
        held = Held(world.store)
        tasks, metadata = world.client.tasks, world.client.metadata
        wanted = task_pb2.ListTasksRequest(text="zzz")
        searches = [
            asyncio.ensure_future(tasks.ListTasks(wanted, metadata=metadata)) for _ in range(20)
        ]
        await until_true(lambda: held.open == 1)
        await soon(tasks.ListTasks(task_pb2.ListTasksRequest(), metadata=metadata))
        async with world.connect(world.secrets[Role.ADMIN]) as admin:
            other = asyncio.ensure_future(admin.tasks.ListTasks(wanted, metadata=admin.metadata))
            await until_true(lambda: held.open == 2)
            held.go_on.set()
            await soon(asyncio.gather(*searches, other))
        assert held.most == 2


async def test_a_search_that_takes_too_long_says_what_to_do(
    rest: rest_world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_long(*_: object) -> None:
        raise ReadTooLong

    monkeypatch.setattr(rest.store, "list_tasks", too_long)
    for name in ("task_history", "gpu_holds", "days"):
        monkeypatch.setattr(rest.store.usage, name, too_long)
    found = await rest.client.get("/v1/tasks?text=zzz")
    assert (found.status, found.code) == (503, "SERVICE_UNAVAILABLE")
    assert found.error == "The search takes too long: narrow it by time, user or status"
    task = (await rest.client.submit()).json["id"]
    for path in (f"/v1/tasks/{task}/usage", "/v1/gpus/history", "/v1/usage"):
        found = await rest.client.get(path)
        assert (found.status, found.code) == (503, "SERVICE_UNAVAILABLE")
        assert found.error == "The history takes too long to read: ask for a shorter time"


async def test_histories_of_one_user_wait_for_each_other() -> None:
    async with memory_engine() as engine:
        begun = 0
        go_on = asyncio.Event()

        async def days(_first: str, _last: str, _limit: int, user: str | None) -> list[object]:
            nonlocal begun
            begun += 1
            await go_on.wait()
            return []

        engine.store.usage.days = days  # type: ignore[method-assign, assignment]
        by_day = engine.engine.usage.by_day
        asked = [asyncio.create_task(by_day(ALICE, None, None)) for _ in range(20)]
        await until_true(lambda: begun == 1)
        asked.append(asyncio.create_task(by_day(BOB, None, None)))
        await until_true(lambda: begun == 2)
        go_on.set()
        await soon(asyncio.gather(*asked))
