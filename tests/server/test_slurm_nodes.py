"""Nodes and GPUs of a real Slurm, as clients see them."""

from pathlib import Path
from typing import Any

import pytest

from fetchml.v1 import gpu_pb2, task_pb2
from testbed.slurm import NODES, Slurm
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually, until

DRAIN = ("scontrol", "update", "nodename=g2", "state=drain", "reason=bad fan | x")
RESUME = ("scontrol", "update", "nodename=g2", "state=resume")
STATE = ("sinfo", "--noheader", "--nodes=g2", "--format=%T")


@pytest.fixture
async def server(serve: Serve, slurm: Slurm, transport_name: str, tmp_path: Path) -> Server:
    return await serve(backend_of(slurm, transport_name, tmp_path / "shared")).start()


async def test_nodes_and_their_gpus(server: Server, slurm: Slurm) -> None:
    slurm.run(*DRAIN)
    try:
        await _nodes_and_their_gpus(server)
    finally:
        slurm.run(*RESUME)
        await eventually(lambda: "drain" not in slurm.run(*STATE))


async def _nodes_and_their_gpus(server: Server) -> None:
    async def listed() -> dict[str, Any]:
        found = await server.rest.get("/v1/gpus")
        return {node["name"]: node for node in found.json["nodes"]}

    nodes = await until(listed, lambda nodes: "g2" in nodes and not nodes["g2"]["takes_work"])
    assert set(nodes) == set(NODES)
    assert nodes["g2"]["state"].endswith("+drain")
    assert (nodes["g2"]["reason"], nodes["g2"]["reason_by"]) == ("bad fan | x", "root")
    assert (nodes["c3"]["gpu"], nodes["g1"]["gpu"], nodes["g1"]["cpu"]) == (0, 2, 8)
    assert (await server.queue()).workers == len(NODES) - 1
    task_id = await server.submit_running("sleep 300", gpu=1)
    full = (await server.rest.get(f"/v1/tasks/{task_id}?view=full")).json
    [uuid] = full["gpu_uuids"]
    assert uuid in ("g1:0", "g1:1")
    nodes = await until(listed, lambda nodes: nodes["g1"]["gpu_used"] == 1)
    assert nodes["g1"]["task_ids"] == [task_id]
    gpus = {gpu["uuid"]: gpu for gpu in (await server.rest.get("/v1/gpus")).json["gpus"]}
    assert (gpus[uuid]["state"], gpus[uuid]["task_ids"]) == ("held", [task_id])
    assert {gpus[f"g2:{n}"]["state"] for n in range(2)} == {"drained"}
    assert "bad fan" in gpus["g2:0"]["reason"]
    reply = await server.rest.ask("POST", f"/v1/gpus/{uuid}/drain")
    assert (reply.status, b"administrators" in reply.body) == (403, True)
    metrics = (await server.rest.get("/metrics")).body.decode()
    assert 'fetchml_node_takes_work{node="g2"} 0.0' in metrics
    assert 'fetchml_node_gpus_used{node="g1"} 1.0' in metrics
    history = (await server.rest.get("/v1/gpus/history")).json
    assert [hold["task_id"] for track in history["gpus"] for hold in track["holds"]] == [task_id]
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    task = await server.ended(task_id)
    assert (task.failure_reason, task.worker_id) == (task_pb2.Task.CANCELLED, "g1")
    assert set(gpu_pb2.Node.DESCRIPTOR.fields_by_name) >= nodes["g1"].keys()
