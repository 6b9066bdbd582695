"""A script that logs by the MLflow protocol with nothing but the variables that its task gets: in a
container without a network, and as a plain process."""

import asyncio
import json
import sys
from typing import Any

import aiohttp
import pytest

from tests.support.program import ADMIN_KEY, Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.waiting import until

SCRIPT = """
import json, os, pathlib, time, urllib.error, urllib.request

def call(path, **body):
    request = urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/" + path,
        json.dumps(body).encode() if body else None,
        {
            "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"],
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)

name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
if name is None:
    experiment = "0"
else:
    found = call("experiments/get-by-name?experiment_name=" + name)
    experiment = found["experiment"]["experiment_id"]
run = call("runs/create", experiment_id=experiment, start_time=1)["run"]["info"]["run_id"]
call("runs/log-metric", run_id=run, key="loss", value=0.5, timestamp=1700000000000, step=1)
print("logged", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.02)
call("runs/log-metric", run_id=run, key="loss", value=0.25, timestamp=1700000000001, step=2)
try:
    urllib.request.urlopen(os.environ["MLFLOW_TRACKING_URI"].removesuffix("/mlflow") + "/health")
    print("health is there")
except urllib.error.HTTPError as error:
    print("health", error.code)
"""


async def runs(server: Server, task_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await server.rest.get(f"/v1/runs?task_id={task_id}")).json[
        "runs"
    ]
    return found


async def log_over_a_restart(server: Server, python: str) -> tuple[dict[str, Any], str]:
    """The run that the script made, and what it printed. The server is killed while it logs."""
    made = await server.rest.ask(
        "POST", "/v1/experiments", b'{"name": "digits"}', Content_Type="application/json"
    )
    task_id = await server.submit("", command=[python, "-c", SCRIPT], experiment_id=made.json["id"])
    [run] = await until(lambda: runs(server, task_id), lambda found: found and found[0]["metrics"])
    assert (run["task_id"], run["experiment_id"]) == (task_id, made.json["id"])
    await server.kill()
    server.tell(task_id)
    await server.start()
    task = await server.ended(task_id)
    assert task.exit_code == 0, task.output
    [run] = await until(
        lambda: runs(server, task_id), lambda found: found[0]["status"] != "running"
    )
    assert [(each["value"], each["step"]) for each in run["metrics"]] == [(0.25, 2)]
    return run, (await server.get(task_id)).output


@pytest.mark.docker
async def test_from_a_container_without_a_network(
    serve: Serve, containers_backend: Backend
) -> None:
    server = await serve(containers_backend).start()
    run, output = await log_over_a_restart(server, "python3")
    assert run["status"] == "finished"
    # Nothing else of the server is behind the socket.
    assert output.splitlines() == ["logged", "health 404"]


async def test_the_variables_of_a_process(serve: Serve, processes_backend: Backend) -> None:
    server = await serve(processes_backend).start()
    show = """import json, os; print(json.dumps({
        name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}))"""

    async def shown(**fields: Any) -> dict[str, str]:
        task_id = await server.submit("", command=[sys.executable, "-c", show], **fields)
        await server.ended(task_id)
        found: dict[str, str] = json.loads((await server.get(task_id)).output)
        return found

    plain = await shown()
    assert plain.pop("MLFLOW_TRACKING_TOKEN").startswith("fmt_")
    assert plain == {
        "MLFLOW_TRACKING_URI": f"http://{server.http_address}/mlflow",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    named = {"MLFLOW_EXPERIMENT_NAME": "mine", "MLFLOW_DISABLE_TELEMETRY": "false"}
    assert (await shown(env=named)).items() >= named.items()
    # A token must not reach another server.
    other = {"MLFLOW_TRACKING_URI": "http://tracking.example.org"}
    assert await shown(env=other) == other


async def test_from_a_process(serve: Serve, processes_backend: Backend) -> None:
    server = await serve(processes_backend).start()
    task_id = await server.submit("", command=[sys.executable, "-c", SCRIPT])
    [run] = await until(lambda: runs(server, task_id), lambda found: found and found[0]["metrics"])
    assert (run["task_id"], run["experiment_id"]) == (task_id, "0")
    server.tell(task_id)
    assert (await server.ended(task_id)).exit_code == 0


@pytest.mark.docker
async def test_the_socket_of_tasks_is_limited(serve: Serve, containers_backend: Backend) -> None:
    server = await serve(containers_backend, FETCHML_MAX_CONNECTIONS="40").start()
    path = str(server.data_dir / "gateway/http.sock")

    async def ask(path_: str, secret: str) -> int:
        connector = aiohttp.UnixConnector(path=path)
        async with aiohttp.ClientSession(connector=connector) as session:
            headers = {"Authorization": f"Bearer {secret}", "X-API-Key": secret}
            async with session.get(f"http://127.0.0.1{path_}", headers=headers) as reply:
                return reply.status

    search = "/mlflow/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert await ask(search, ADMIN_KEY) == 200
    assert await ask(search, f"fmt_{'0' * 36}_{'0' * 64}") == 401
    for elsewhere in ("/v1/tasks", "/health", "/metrics", "/ui/", "/mlflow/../v1/tasks"):
        assert await ask(elsewhere, ADMIN_KEY) == 404
    held = [await asyncio.open_unix_connection(path) for _ in range(10)]
    try:
        assert await ask(search, ADMIN_KEY) == 429  # a quarter of all, by uid
        assert await server.health() == "healthy"
    finally:
        for _, writer in held:
            writer.close()
