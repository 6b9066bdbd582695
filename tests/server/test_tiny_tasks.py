"""Thousands of very short tasks keep their whole output and exit code."""

import os

import pytest

from fetchml.v1 import task_pb2
from tests.support.program import Backend, Task, all_ended
from tests.support.server_fixtures import Serve

pytestmark = pytest.mark.slow

TASKS = 2000
LINES = 40
FULL = os.environ.get("FETCHML_FULL") == "1"
SCRIPT = f"""
n=0
while [ $n -lt {LINES} ]; do echo "$INDEX $n"; n=$((n + 1)); done
exit $((INDEX % 7))
"""


async def run_tiny(
    serve: Serve, backend: Backend, number: int, *, slots: int, seconds: float | None = None
) -> None:
    server = await serve(backend, FETCHML_TASKS_MAX_RUNNING=str(slots)).start()
    batch = task_pb2.CreateTasksRequest(
        tasks=[
            task_pb2.CreateTaskRequest(
                job_name="tiny", command=["sh", "-c", SCRIPT], env={"INDEX": str(index)}
            )
            for index in range(number)
        ]
    )
    created = await server.grpc.tasks.CreateTasks(iter([batch]))
    ids = [task.id for task in created.tasks]
    async with server.watch() as updates:
        await all_ended(updates, ids, seconds=seconds or number)
    for index, task_id in enumerate(ids):
        task = await server.get(task_id)
        assert task.exit_code == index % 7, task
        assert task.status == (Task.failed if index % 7 else Task.completed), task
        assert task.output == "".join(f"{index} {n}\n" for n in range(LINES))
        assert (task.attempt, task.retry_count) == (1, 0), task
    await server.assert_idle(*ids)


async def test_tiny_tasks_over_processes(serve: Serve, processes_backend: Backend) -> None:
    """All of them only with FETCHML_FULL=1."""
    number = TASKS if FULL else 100
    await run_tiny(serve, processes_backend, number, slots=8)


async def test_tiny_tasks_over_containers(serve: Serve, containers_backend: Backend) -> None:
    """An engine starts about six containers a second: all of them only with FETCHML_FULL=1."""
    number = TASKS if FULL else 20
    await run_tiny(serve, containers_backend, number, slots=8)
