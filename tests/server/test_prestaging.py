"""Queued tasks are prestaged up to their gate, which opens when their turn comes."""

import asyncio
import itertools
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import aiohttp
import pytest

from fetchml.v1 import task_pb2
from tests.server.watchers import Change, over_ws
from tests.support.program import Backend, Server, Task
from tests.support.scripts import COUNTED, until_file
from tests.support.server_fixtures import Serve
from tests.support.waiting import SECONDS, eventually, soon

pytestmark = pytest.mark.slow

ONE_SLOT = {"FETCHML_TASKS_MAX_RUNNING": "1"}
ONE_GPU = {"FETCHML_GPU_SLOTS": "1", "FETCHML_TASKS_MAX_RUNNING": "4"}
ON_THE_WAY = ["prepared", "ready", "its_turn"]
THROWN_AWAY = ["abandoned", "claim_drafted", "revoked", "given_back", "removed"]
IN_CONTAINERS = ["created", "its_turn"]
THROWN_AWAY_IN_CONTAINERS = ["abandoned", "removed"]
"""Steps around which the engine is asked for something: the others write files of the attempt."""
SHORT_SECONDS = 1


async def seen_as_queued(server: Server, task_id: str) -> set[str]:
    """The ids of all that wait, the same by every way to ask, this one among them."""
    rest = server.rest
    shown = (await rest.get(f"/v1/tasks/{task_id}")).json
    assert (shown["status"], shown.get("worker_id"), shown.get("ahead")) == ("queued", None, None)
    full = (await rest.get(f"/v1/tasks/{task_id}?view=full")).json
    assert (full["status"], full["ahead"]) == ("queued", True)
    assert (await rest.get(f"/v1/tasks/{task_id}/explain")).json["status"] == "queued"
    task = await server.get(task_id)
    assert (task.status, task.ahead) == (Task.queued, True)

    listed = (await rest.get("/v1/tasks?status=queued")).json
    queued = {each["id"] for each in listed["tasks"]}
    assert {each["status"] for each in listed["tasks"]} == {"queued"}
    assert listed["total"] == len(queued)
    assert (await rest.get("/v1/queue")).json["queued"] == len(queued)
    assert f"fetchml_tasks_queued {len(queued)}.0" in (await rest.get("/metrics")).body.decode()

    # A prefix is looked for on the disk, where the rest is answered from memory.
    for where in ({}, {"job_name_prefix": "job"}):
        assert await ids_over_grpc(server, states=[Task.queued], **where) == queued
        assert await ids_over_grpc(server, status=Task.queued, **where) == queued
        assert task_id not in await ids_over_grpc(server, states=[Task.preparing], **where)
        assert task_id in await ids_over_grpc(server, **where)
    async with server.watch(since=None, states=[Task.queued]) as updates:
        snapshot = {(await soon(anext(updates))).task.id for _ in queued}
        assert snapshot == queued
    return queued


async def ids_over_grpc(server: Server, **where: Any) -> set[str]:
    request = task_pb2.ListTasksRequest(**where)
    found = await server.grpc.tasks.ListTasks(request)
    assert found.total == len(found.tasks)
    return {task.id for task in found.tasks}


async def until_complete(stream: AsyncGenerator[Change]) -> AsyncGenerator[Change]:
    async with asyncio.timeout(SECONDS), aclosing(stream):
        async for change in stream:
            yield change
            if change.kind == "task_complete":
                break


class Ahead:
    """A subclass brings the fixture `backend`."""

    @pytest.fixture
    async def server(self, serve: Serve, backend: Backend) -> Server:
        return await serve(backend, **ONE_SLOT).start()

    @pytest.fixture
    async def gpu_server(self, serve: Serve, backend: Backend) -> Server:
        return await serve(backend, **ONE_GPU).start()

    async def test_prestaged_task_starts_when_the_previous_one_ends(self, server: Server) -> None:
        first = await server.submit_running(until_file("go") + f"sleep {2 * SHORT_SECONDS}")
        second = await server.submit(COUNTED + "echo over", timeout_seconds=SHORT_SECONDS)
        await server.at_gate(second)
        stats = await server.queue()
        assert (stats.running, stats.queued) == (1, 1), "it holds nothing"
        server.tell(first)
        before, task = await server.ended(first), await server.ended(second)
        assert task.status == Task.completed, "none of its time limit went by at the gate"
        assert (task.attempt, task.retry_count) == (1, 0), task
        assert before.ended_at.ToMilliseconds() <= task.started_at.ToMilliseconds()
        assert await server.starts(second) == 1
        await server.assert_idle(first, second)

    async def test_prestaged_task_is_queued_in_every_view(self, server: Server) -> None:
        """Prestaging shows in the full view and in the explanation only, and a restart or a page
        from the disk changes nothing of it."""
        first = await server.submit_running(until_file("go"))
        second = await server.submit("true")
        await server.at_gate(second)
        third = await server.submit("true", priority=1)
        for _ in range(2):
            await server.at_gate(second)
            assert await seen_as_queued(server, second) == {second, third}
            await server.kill_and_start()
        server.tell(first)
        for task_id in (first, second, third):
            await server.ended(task_id)
        stream = until_complete(over_ws(server, 0, f"&task_id={second}"))
        story = [change.status async for change in stream]
        assert [status for status, _ in itertools.groupby(story)] == [
            "queued",
            "preparing",
            "running",
            "collecting",
            "completed",
        ]
        async with server.watch(task_id=second, states=[Task.preparing]) as updates:
            given = (await soon(anext(updates))).task
            assert (given.status, given.ahead, given.worker_id != "") == (
                Task.preparing,
                False,
                True,
            )
        await server.assert_idle(first, second, third)

    async def test_more_urgent_task_replaces_the_prestaged_one(self, gpu_server: Server) -> None:
        script = COUNTED + until_file("go")
        first = await gpu_server.submit_running(script, gpu=1)
        second = await gpu_server.submit(COUNTED, gpu=1)
        await gpu_server.at_gate(second)
        urgent = await gpu_server.submit(script, gpu=1, priority=9)
        await gpu_server.at_gate(urgent)
        await eventually(lambda: not gpu_server.backend.left_of([second]))
        assert (await gpu_server.get(second)).status == Task.queued
        gpu_server.tell(first)
        await gpu_server.running(urgent)
        await gpu_server.at_gate(second, attempt=2)
        gpu_server.tell(urgent)
        done = [await gpu_server.ended(task_id) for task_id in (first, urgent, second)]
        for task in done:
            assert (task.status, task.retry_count) == (Task.completed, 0), task
            assert await gpu_server.starts(task.id) == 1
        assert done[1].ended_at.ToMilliseconds() <= done[2].started_at.ToMilliseconds()
        await gpu_server.assert_idle(first, second, urgent)

    async def test_cancelled_prestaged_task_never_starts(self, server: Server) -> None:
        first = await server.submit_running(until_file("go"))
        second = await server.submit(COUNTED)
        await server.at_gate(second)
        assert (await server.rest.ask("DELETE", f"/v1/tasks/{second}")).status == 204
        task = await server.ended(second)
        assert (task.status, task.error) == (Task.failed, "cancelled by admin"), task
        assert not task.HasField("started_at")
        await eventually(lambda: not server.backend.left_of([second]))
        server.tell(first)
        await server.ended(first)
        await server.assert_idle(first, second)

    async def test_task_that_cannot_be_prestaged_fails_while_queued(self, server: Server) -> None:
        first = await server.submit_running(until_file("go"))
        second = await server.submit("true", datasets=["there-is-none"])
        task = await server.ended(second)
        assert task.failure_reason == Task.PREPARE_FAILED, task
        server.tell(first)
        await server.ended(first)
        await server.assert_idle(first, second)

    async def test_prestaged_task_stays_queued_when_the_server_is_killed(
        self, server: Server
    ) -> None:
        first = await server.submit_running(until_file("go"))
        second = await server.submit(COUNTED)
        await server.at_gate(second)
        there = server.backend.left_of([second])
        await server.kill_and_start()
        await server.at_gate(second)
        assert server.backend.left_of([second]) == there, "the very same"
        server.tell(first)
        assert (await server.ended(second)).status == Task.completed
        assert await server.starts(second) == 1
        await server.assert_idle(first, second)

    async def test_no_task_is_prestaged_when_disabled(self, serve: Serve, backend: Backend) -> None:
        server = await serve(backend, **ONE_SLOT, FETCHML_SCHEDULING_AHEAD="false").start()
        first = await server.submit_running(until_file("go"))
        second = await server.submit("true")
        assert await server.explained(second) == "It waits for 1 slot for tasks (0 of 1 free)."
        assert server.backend.left_of([second]) == []
        server.tell(first)
        assert (await server.ended(second)).attempt == 1
        await server.assert_idle(first, second)

    async def test_killed_at_each_prestaging_step(self, gpu_server: Server, step: str) -> None:
        first = await gpu_server.submit_running(COUNTED + until_file("go"), gpu=1)
        await gpu_server.kill_and_start(FETCHML_CRASH_AT=step)
        request = {"job_name": "a", "command": ["sh", "-c", COUNTED + "exit 7"], "gpu": 1}
        with suppress(aiohttp.ClientError):  # it may die before it has answered
            await soon(gpu_server.rest.submit(request, Idempotency_Key="k"))
        if step == "its_turn":
            gpu_server.tell(first)
        assert await gpu_server.died() == -signal.SIGKILL
        await gpu_server.start()
        if step != "its_turn":
            gpu_server.tell(first)
        second = (await gpu_server.rest.submit(request, Idempotency_Key="k")).json["id"]
        task = await gpu_server.ended(second)
        assert (task.exit_code, task.attempt, task.retry_count) == (7, 1, 0), task
        for task_id in (first, second):
            assert await gpu_server.starts(task_id) == 1
        await gpu_server.assert_idle(first, second)

    async def test_killed_while_a_prestaged_attempt_is_discarded(
        self, gpu_server: Server, step_away: str
    ) -> None:
        first = await gpu_server.submit_running(COUNTED + until_file("go"), gpu=1)
        await gpu_server.kill_and_start(FETCHML_CRASH_AT=step_away)
        second = await gpu_server.submit(COUNTED + "exit 7", gpu=1)
        await gpu_server.at_gate(second)
        request: dict[str, Any] = {"job_name": "a", "command": ["sh", "-c", COUNTED + "exit 8"]}
        request |= {"gpu": 1, "priority": 9}
        with suppress(aiohttp.ClientError):
            await soon(gpu_server.rest.submit(request, Idempotency_Key="k"))
        assert await gpu_server.died() == -signal.SIGKILL
        await gpu_server.start()
        urgent = (await gpu_server.rest.submit(request, Idempotency_Key="k")).json["id"]
        await gpu_server.at_gate(urgent)
        gpu_server.tell(first)
        for task_id, code in ((first, 0), (urgent, 8), (second, 7)):
            task = await gpu_server.ended(task_id)
            assert (task.exit_code, task.retry_count) == (code, 0), task
            assert await gpu_server.starts(task_id) == 1
        await gpu_server.assert_idle(first, second, urgent)
        assert gpu_server.files_of_attempts(first, second, urgent) == {"run", "opened"}


class TestPrestagingOverProcesses(Ahead):
    @pytest.fixture
    def backend(self, processes_backend: Backend) -> Backend:
        return processes_backend

    @pytest.fixture(params=ON_THE_WAY)
    def step(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture(params=THROWN_AWAY)
    def step_away(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    async def test_task_discarded_twice_is_prepared_only_in_its_turn(
        self, gpu_server: Server
    ) -> None:
        script = COUNTED + until_file("go")
        runs = await gpu_server.submit_running(script, gpu=1)
        displaced = await gpu_server.submit(COUNTED, gpu=1)
        for attempt, priority in ((1, 8), (2, 9)):
            await gpu_server.at_gate(displaced, attempt)
            urgent = await gpu_server.submit(script, gpu=1, priority=priority)
            await gpu_server.at_gate(urgent)
            await eventually(lambda: not gpu_server.backend.left_of([displaced]))
            gpu_server.tell(runs)
            await gpu_server.running(urgent)
            runs = urgent
        gpu_server.tell(runs)
        task = await gpu_server.ended(displaced)
        assert (task.status, task.attempt, task.retry_count) == (Task.completed, 3, 0), task
        assert await gpu_server.starts(displaced) == 1
        lines = (await gpu_server.rest.get("/metrics")).body.decode().splitlines()
        for line in (
            'fetchml_attempts_total{how="ahead"} 4.0',
            'fetchml_attempts_total{how="ordinary"} 2.0',
            'fetchml_prepared_ahead_total{came_to="started"} 2.0',
            'fetchml_prepared_ahead_total{came_to="thrown_away"} 2.0',
            "fetchml_not_ahead_again_total 1.0",
        ):
            assert line in lines
        await gpu_server.assert_idle(displaced, runs)


class TestPrestagingOverContainers(Ahead):
    """Those of the suite that ask an engine for something; the others are the server's alone."""

    test_prestaged_task_is_queued_in_every_view = None  # type: ignore[assignment]
    test_cancelled_prestaged_task_never_starts = None  # type: ignore[assignment]
    test_no_task_is_prestaged_when_disabled = None  # type: ignore[assignment]
    test_task_that_cannot_be_prestaged_fails_while_queued = None  # type: ignore[assignment]
    test_more_urgent_task_replaces_the_prestaged_one = None  # type: ignore[assignment]
    test_prestaged_task_stays_queued_when_the_server_is_killed = None  # type: ignore[assignment]

    @pytest.fixture
    def backend(self, containers_backend: Backend) -> Backend:
        return containers_backend

    @pytest.fixture(params=IN_CONTAINERS)
    def step(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture(params=THROWN_AWAY_IN_CONTAINERS)
    def step_away(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)
