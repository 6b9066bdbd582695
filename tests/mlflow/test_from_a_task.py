"""Unchanged scripts with MLflow's client in tasks: nothing in them names a server."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.mlflow.conftest import Client
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.waiting import until

pytestmark = pytest.mark.slow

TRAIN = """
import sys, time
import mlflow

if len(sys.argv) > 1:
    mlflow.set_experiment(sys.argv[1])
with mlflow.start_run(run_name="train"):
    mlflow.log_param("lr", 0.1)
    for step in range(10):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    while "wait" in sys.argv:
        time.sleep(0.02)
"""


async def submit(server: Server, client: Client, arguments: Sequence[str], **fields: Any) -> str:
    command = [str(client.bin / "python"), "-c", TRAIN, *arguments]
    return await server.submit("", command=command, **fields)


async def run_of(server: Server, task_id: str) -> dict[str, Any]:
    """The only run of a task, once it has all metrics."""

    async def found() -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = (await server.rest.get(f"/v1/runs?task_id={task_id}")).json[
            "runs"
        ]
        return [run for run in runs if run["metrics"] and run["metrics"][0]["step"] == 9]

    [run] = await until(found)
    return run


async def test_runs_are_those_of_the_task(
    serve: Serve, processes_backend: Backend, newest: Client
) -> None:
    server = await serve(processes_backend).start()
    made = await server.rest.ask(
        "POST", "/v1/experiments", b'{"name": "digits"}', Content_Type="application/json"
    )
    experiment = made.json["id"]
    plain = await submit(server, newest, [])
    grouped = await submit(server, newest, [], experiment_id=experiment)
    named = await submit(server, newest, ["other"], experiment_id=experiment)
    for task_id in (plain, grouped, named):
        task = await server.ended(task_id)
        assert task.exit_code == 0, (await server.get(task_id)).output
    runs = [await run_of(server, task_id) for task_id in (plain, grouped, named)]
    assert [run["status"] for run in runs] == ["finished"] * 3
    assert [run["name"] for run in runs] == ["train"] * 3
    assert [run["experiment_id"] for run in runs[:2]] == ["0", experiment]
    assert runs[2]["experiment_id"] not in ("0", experiment)


async def test_a_cancelled_task_ends_its_runs(
    serve: Serve, processes_backend: Backend, newest: Client
) -> None:
    """SIGKILL leaves the client no time to end its run."""
    server = await serve(processes_backend, FETCHML_TASKS_GRACE_SECONDS="0").start()
    task_id = await submit(server, newest, ["digits", "wait"])
    assert (await run_of(server, task_id))["status"] == "running"
    await server.kill_and_start()
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)
    await until(lambda: run_of(server, task_id), lambda run: run["status"] == "killed")
