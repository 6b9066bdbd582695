"""Metrics that tasks leave in /outputs, on a real server with plain processes."""

import sys
from typing import Any

import pytest

from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve
from tests.support.waiting import until

TRAIN = """
import json, os, pathlib, sys, time
from tensorboardX import SummaryWriter
outputs = pathlib.Path(os.environ["FETCHML_OUTPUTS"])
steps, last = int(sys.argv[1]), int(sys.argv[2])
main = SummaryWriter(str(outputs / "tb"), flush_secs=1)
for step in range(last):
    main.add_scalar("loss", 1 / (step + 1), step)
    if step == 1:
        other = SummaryWriter(str(outputs / "tb/val"), flush_secs=1)
        other.add_scalar("loss", 0.25, 7)
        other.flush()
    with open(outputs / "metrics.jsonl", "a") as lines:
        lines.write(json.dumps({"step": step, "accuracy": step / 10}) + chr(10))
    if step == steps:
        main.flush()
        while not (outputs / "go").exists():
            time.sleep(0.02)
main.close()
(outputs / "metrics.json").write_text(json.dumps({"accuracy": 0.99, "f1": 0.5}))
"""


def run_of(task_id: str) -> str:
    return task_id.replace("-", "")


async def latest(server: Server, task_id: str) -> dict[str, tuple[float, float]]:
    """Value and step of each metric of the task's own run."""
    reply = await server.rest.get(f"/v1/runs/{run_of(task_id)}")
    if reply.status == 404:
        return {}
    return {each["name"]: (each["value"], each["step"]) for each in reply.json["metrics"]}


async def curves(server: Server, task_id: str) -> dict[str, Any]:
    reply = await server.rest.get(f"/v1/curves?run_ids={run_of(task_id)}")
    assert reply.status == 200, reply.body
    return {each["metric"]: each for each in reply.json["curves"]}


async def test_files_are_read_as_they_grow_and_once_over_a_kill(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend).start()
    command = [sys.executable, "-c", TRAIN, "9", "20"]
    task_id = await server.submit("", command=command, job_name="train")

    shown = await until(lambda: latest(server, task_id), lambda found: len(found) == 3)
    assert shown == {"loss": (pytest.approx(0.1), 9), "accuracy": (0.9, 9), "val/loss": (0.25, 7)}
    run = (await server.rest.get(f"/v1/runs/{run_of(task_id)}")).json
    assert (run["status"], run["name"], run["task_id"]) == ("running", "train", task_id)

    await server.kill_and_start()
    outputs = server.data_dir / "tasks" / task_id / "attempts/1/outputs"
    (outputs / "go").touch()
    assert (await server.ended(task_id)).exit_code == 0
    found = await curves(server, task_id)
    assert found["loss"]["x"] == list(range(20))
    assert found["loss"]["count"] == [1] * 20
    assert found["accuracy"]["x"] == [*range(20), 19]  # and the result, at the last step
    assert found["accuracy"]["last"][-1] == 0.99
    assert found["val/loss"]["count"] == [1]
    assert (await latest(server, task_id))["f1"] == (0.5, 0)

    async def status() -> str:
        return str((await server.rest.get(f"/v1/runs/{run_of(task_id)}")).json["status"])

    await until(status, lambda found: found == "finished")
    assert "Traceback" not in server.log


async def test_hostile_files_end_their_reading_and_nothing_else(
    serve: Serve, processes_backend: Backend
) -> None:
    server = await serve(processes_backend).start()
    script = """
        cd $FETCHML_OUTPUTS
        mkfifo events.out.tfevents.1.fifo
        ln -s /etc/passwd events.out.tfevents.2.link
        mkdir events.out.tfevents.3.folder
        head -c 100000 /dev/urandom > events.out.tfevents.4.noise
        printf '{"loss": 1}\\n{"loss": 2}\\nnothing\\n{"loss": 3}\\n' > metrics.jsonl
        printf '{"result": 4}' > metrics.json
        for n in $(seq 200); do mkdir $n; : > $n/events.out.tfevents.$n; done
    """
    task_id = await server.submit(script)
    assert (await server.ended(task_id)).exit_code == 0
    assert await latest(server, task_id) == {"loss": (2, 1), "result": (4, 0)}
    run = (await server.rest.get(f"/v1/runs/{run_of(task_id)}")).json
    assert run["tags"]["fetchml.unread"].splitlines() == [
        "events.out.tfevents.4.noise: a record has a wrong length",
        "metrics.jsonl: line 2 is not a JSON object",
    ]
    assert "Traceback" not in server.log


async def test_a_retry_goes_on_in_the_same_run(serve: Serve, processes_backend: Backend) -> None:
    server = await serve(processes_backend).start()
    script = """
        n=$FETCHML_ATTEMPT; cd $FETCHML_OUTPUTS
        echo "{\\"step\\": $n, \\"time\\": 170000000$n, \\"loss\\": $n}" > metrics.jsonl
        [ $n = 2 ]
    """
    task_id = await server.submit(script, max_retries=1)
    assert (await server.ended(task_id)).exit_code == 0
    found = await curves(server, task_id)
    assert (found["loss"]["x"], found["loss"]["last"]) == ([1, 2], [1, 2])


async def test_a_task_without_metrics_has_no_run(serve: Serve, processes_backend: Backend) -> None:
    server = await serve(processes_backend).start()
    first = await server.submit("echo hello > $FETCHML_OUTPUTS/hello")
    await server.ended(first)
    await server.stop()
    await server.start(FETCHML_TRACKING_ENABLED="false")
    script = """env > $FETCHML_OUTPUTS/env; echo '{"a": 1}' > $FETCHML_OUTPUTS/metrics.json"""
    second = await server.submit(script)
    await server.ended(second)
    assert "MLFLOW" not in (server.data_dir / "tasks" / second / "outputs/env").read_text()
    assert (await server.rest.get("/v1/runs")).json["runs"] == []
