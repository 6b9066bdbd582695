"""The Docker engine stops under running tasks, and starts again."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from examples.local_image import build_base
from fetchml.core.verdict import STOPPED
from testbed.docker_engine import PrivateEngine, private_engine
from tests.support.program import Server, Task
from tests.support.server_fixtures import containers_of
from tests.support.waiting import until

pytestmark = pytest.mark.slow

IMAGE = "fetchml-test/python:1"
UNTIL_TOLD = "echo ready; until [ -e go ]; do sleep 0.02; done; exit 5"
FIRST_TIME = '[ "$FETCHML_ATTEMPT" = 1 ] || exit 0; '
COUNTED = 'echo started >> "$FETCHML_OUTPUTS/starts"; '


@pytest.fixture(scope="module")
def own_docker_engine() -> Iterator[PrivateEngine]:
    """One engine for all tests here: each leaves it running and empty."""
    with private_engine(own_network=True) as engine:
        build_base(engine.client, IMAGE)
        yield engine


@pytest.fixture
async def server(tmp_path: Path, own_docker_engine: PrivateEngine) -> AsyncIterator[Server]:
    backend = containers_of(own_docker_engine, IMAGE)
    limits = {"FETCHML_TASKS_MAX_RUNNING": "3", "FETCHML_TASKS_GRACE_SECONDS": "1"}
    server = Server(tmp_path / "data", backend, **limits)
    yield await server.start()
    if not own_docker_engine.answers():  # the test failed
        own_docker_engine.start()
    await server.close()


async def until_health(server: Server, status: str) -> None:
    await until(server.health, lambda found: found == status)


async def test_engine_crash_under_running_tasks(
    server: Server, own_docker_engine: PrivateEngine
) -> None:
    """One ends while the engine is away, two run on and are tried again, though only one of them
    asked to be, two wait."""
    ends_meanwhile = await server.submit(UNTIL_TOLD)
    runs_on = await server.submit(COUNTED + FIRST_TIME + UNTIL_TOLD)
    retried = await server.submit(FIRST_TIME + UNTIL_TOLD, max_retries=1)
    for task_id in (ends_meanwhile, runs_on, retried):
        await server.running(task_id)
    queued = [await server.submit(COUNTED + "exit 6") for _ in range(2)]
    tasks = (ends_meanwhile, runs_on, retried, *queued)
    assert await server.health() == "healthy"

    own_docker_engine.kill()
    await until_health(server, "degraded")
    server.tell(ends_meanwhile)
    ended = await server.until(ends_meanwhile, lambda task: task.status == Task.failed)
    assert ended.exit_code == 5
    later = await server.submit("exit 0")  # accepted: it is queued until the engine is back
    explained = (await server.rest.get(f"/v1/tasks/{later}/explain")).json
    assert "away" in explained["reason"]
    assert (await server.rest.get("/v1/queue")).json["workers"] == 0

    own_docker_engine.start()
    again = await server.until(runs_on, lambda task: task.attempt == 1 and bool(task.error))
    assert again.error == f"attempt 1: {STOPPED}"  # the engine, back again, asked it to end
    for task_id in (runs_on, retried):
        task = await server.ended(task_id)
        assert (task.status, task.attempt, task.retry_count) == (Task.completed, 2, 0), task
    reply = await server.rest.get(f"/v1/tasks/{runs_on}/outputs/starts")
    assert reply.body == b"started\n", "once in the attempt that counts"
    for task_id in queued:
        task = await server.ended(task_id)
        assert (task.exit_code, task.attempt) == (6, 1), task
        reply = await server.rest.get(f"/v1/tasks/{task_id}/outputs/starts")
        assert reply.body == b"started\n"
    assert (await server.ended(later)).status == Task.completed
    assert await server.health() == "healthy"
    await server.assert_idle(*tasks, later)
    assert own_docker_engine.client.containers.list(all=True) == []


async def test_engine_restart_under_prestaged_task(
    tmp_path: Path, own_docker_engine: PrivateEngine
) -> None:
    """An attempt that stood at its gate is prepared again there, and nothing of it counts."""
    backend = containers_of(own_docker_engine, IMAGE)
    server = await Server(tmp_path / "ahead", backend, FETCHML_TASKS_MAX_RUNNING="1").start()
    try:
        first = await server.submit_running(FIRST_TIME + UNTIL_TOLD)
        second = await server.submit(COUNTED + "exit 6")
        await server.at_gate(second)
        await asyncio.to_thread(own_docker_engine.stop)
        await until_health(server, "degraded")
        own_docker_engine.start()
        done = await server.ended(first)
        assert done.status == Task.completed, (done.error, server.log)
        task = await server.ended(second)
        assert (task.exit_code, task.attempt, task.retry_count) == (6, 1, 0), task
        reply = await server.rest.get(f"/v1/tasks/{second}/outputs/starts")
        assert reply.body == b"started\n"
        await server.assert_idle(first, second)
        assert own_docker_engine.client.containers.list(all=True) == []
    finally:
        if not own_docker_engine.answers():
            own_docker_engine.start()
        await server.close()
