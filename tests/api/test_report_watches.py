"""Streams of the queue's numbers and of the GPUs: the newest state at once, then changes only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from fetchml.auth.audit import Audit
from fetchml.core.gpus.health import GpuProcess
from fetchml.core.model import Principal, Role
from fetchml.engine.watches import reports
from fetchml.engine.watches.reports import Reports
from fetchml.system.clock import Clock
from fetchml.v1 import gpu_pb2, queue_pb2, task_pb2
from tests.support.grpc_world import World, grpc_world
from tests.support.memory_store import MemoryStore
from tests.support.stub_gpus import gpu_box, reading
from tests.support.waiting import SECONDS, soon, until_true


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(reports, "INTERVAL_SECONDS", 0.02)
    async with grpc_world(tmp_path) as world:
        yield world


async def test_the_queue_is_sent_at_once_and_when_it_changes(world: World) -> None:
    request = queue_pb2.WatchQueueRequest()
    call = world.client.queue.WatchQueue(request, timeout=SECONDS)
    first = await call.read()
    stats = await world.client.queue.GetQueue(queue_pb2.GetQueueRequest())
    assert (first, first.queued) == (stats, 0)
    for number in (1, 2):
        task = task_pb2.CreateTaskRequest(job_name="a")
        await world.client.tasks.CreateTask(task)
        assert (await call.read()).queued == number, "one message for each change"
    call.cancel()


async def test_gpus_are_sent_at_once_and_when_a_measurement_changes(world: World) -> None:
    world.box.see(reading(0))
    request = gpu_pb2.WatchGpusRequest()
    call = world.client.gpus.WatchGpus(request, timeout=SECONDS)
    first = await call.read()
    assert first == await world.client.gpus.ListGpus(gpu_pb2.ListGpusRequest())
    world.box.see(reading(0, utilisation_percent=97))
    assert (await call.read()).gpus[0].utilisation_percent == 97
    world.box.run("t", user="user")
    held = (await call.read()).gpus[0]
    assert (held.state, held.task_ids) == (gpu_pb2.Gpu.held, ["t"])
    call.cancel()


class Counted:
    """A report that counts how often it is made."""

    def __init__(self) -> None:
        self.made = 0
        self.value = "a"

    async def read(self, who: Principal) -> str:
        self.made += 1
        return f"{self.value} for {who.role}"


def user(name: str, role: Role = Role.USER) -> Principal:
    return Principal(name, role, "")


@pytest.mark.parametrize(("private", "reports_made"), [(False, 1), (True, 3)])
async def test_watchers_that_see_the_same_share_a_report(
    monkeypatch: pytest.MonkeyPatch, private: bool, reports_made: int
) -> None:
    monkeypatch.setattr(reports, "INTERVAL_SECONDS", 1000)
    counted = Counted()
    watched = Reports(counted.read, private=private)
    people = [user("ada"), user("bob"), user("eve", Role.ADMIN), user("root", Role.ADMIN)]
    for who in people * 25:
        async with aclosing(watched.watch(who)) as watch:
            await soon(anext(watch))
    assert counted.made == reports_made


async def test_nothing_is_kept_for_users_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "INTERVAL_SECONDS", 0.01)
    watched = Reports(Counted().read, private=True)
    for number in range(50):
        async with aclosing(watched.watch(user(f"user-{number}"))) as watch:
            await soon(anext(watch))
    async with aclosing(watched.watch(user("last"))) as watch:
        await soon(anext(watch))
        waiting = asyncio.ensure_future(anext(watch))
        await until_true(lambda: list(watched._made) == ["last"])
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_private_server_hides_the_tasks_of_others() -> None:
    store: Any = MemoryStore()
    box = await gpu_box(store, Audit(store, clock_ms=Clock()), private=True)
    box.see(reading(0))
    box.run("secret", user="ada")
    box.see(reading(0, processes=(GpuProcess(7, "python3", 9, task_id="secret"),)))

    async def seen(who: Principal) -> str:
        async with aclosing(box.gpus.watch(who)) as watch:
            return str(await soon(anext(watch)))

    assert "secret" in await seen(user("ada"))
    assert "secret" not in await seen(user("bob"))
    assert "secret" in await seen(user("root", Role.ADMIN))
    assert "secret" not in await seen(user("bob")), "though an admin's report was made meanwhile"
