"""A task on a real Slurm, over both ways to reach it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.v1 import task_pb2
from testbed.slurm import NODES, Slurm
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of, both_transports
from tests.support.waiting import eventually

Task = task_pb2.Task


@pytest.fixture
async def server(
    serve: Serve, slurm: Slurm, transport_name: str, shared: Path
) -> AsyncIterator[Server]:
    server = await serve(backend_of(slurm, transport_name, shared)).start(GRPC_VERBOSITY="INFO")
    yield server
    assert "fork()" not in server.log, "Slurm's commands leave gRPC's connections alone"


async def nothing_left(cluster: Slurm, *task_ids: str) -> None:
    """Wait until Slurm's queue has no job of these tasks."""
    await eventually(
        lambda: not any(task_id in name for name in cluster.jobs() for task_id in task_ids)
    )


@both_transports
async def test_task_runs_on_a_node(server: Server, slurm: Slurm) -> None:
    value = 'it\'s "one" $x `y` \\ line\nend'
    script = 'printf "%s|%s|%s" "$UID" "$VALUE" "${SLURM_JOB_ID-none}"; '
    script += 'echo kept >"$FETCHML_OUTPUTS/file"; '
    script += "echo '{\"loss\": 0.5}' >$FETCHML_OUTPUTS/metrics.jsonl; exit 3"
    task_id = await server.submit(script, env={"UID": "5", "VALUE": value})
    task = await server.ended(task_id)
    assert (task.status, task.exit_code) == (Task.failed, 3), (task, server.log)
    assert task.error == "exit code 3"
    assert task.worker_id in NODES
    assert (await server.get(task_id)).output == f"5|{value}|none"
    reply = await server.rest.get(f"/v1/tasks/{task_id}/outputs/file")
    assert reply.body == b"kept\n"
    [run] = (await server.rest.get(f"/v1/runs?task_id={task_id}")).json["runs"]
    assert [(each["name"], each["value"]) for each in run["metrics"]] == [("loss", 0.5)]
    await nothing_left(slurm, task_id)
