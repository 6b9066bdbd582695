"""Nodes and GPUs of a real Slurm, as clients see them."""

from pathlib import Path
from typing import Any

import pytest

from fetchml.v1 import gpu_pb2, task_pb2
from testbed.gpu.stand_in import GpuBox, gpu
from testbed.slurm import NODES, Slurm
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of, both_transports
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow

DRAIN = ("scontrol", "update", "nodename=g2", "state=drain", "reason=bad fan | x")
RESUME = ("scontrol", "update", "nodename=g2", "state=resume")
SCRIPT = "#!/bin/sh\nexit 0\n"
STATE = ("sinfo", "--noheader", "--nodes=g2", "--format=%T")


@pytest.fixture
async def server(serve: Serve, slurm: Slurm, transport_name: str, tmp_path: Path) -> Server:
    return await serve(backend_of(slurm, transport_name, tmp_path / "shared")).start()


@both_transports
async def test_nodes_and_their_gpus(server: Server, slurm: Slurm) -> None:
    slurm.run(*DRAIN)
    try:
        await _nodes_and_their_gpus(server)
    finally:
        slurm.run(*RESUME)
        await eventually(lambda: "drain" not in slurm.run(*STATE))


async def test_gpus_of_tasks_are_measured_on_their_nodes(server: Server, gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0, use=42, used=1234), gpu(1, use=42, used=1234))
    env = {"LD_LIBRARY_PATH": str(gpu_box.folder)}
    task_id = await server.submit_running("sleep 300", gpu=1, env=env)
    [uuid] = (await server.rest.get(f"/v1/tasks/{task_id}?view=full")).json["gpu_uuids"]

    async def shown() -> dict[str, Any]:
        gpus = (await server.rest.get("/v1/gpus")).json["gpus"]
        return next((gpu for gpu in gpus if gpu["uuid"] == uuid), {})

    found = await until(shown, lambda gpu: "utilisation_percent" in gpu)
    assert (found["utilisation_percent"], found["memory_used_mb"]) == (42, 1234)

    async def history() -> list[dict[str, Any]]:
        return list((await server.rest.get("/v1/gpus/history")).json["gpus"])

    tracks = await until(history, lambda tracks: any(track["points"] for track in tracks))
    [point] = next(track["points"] for track in tracks if track["uuid"] == uuid)[:1]
    assert (point["utilisation_percent"], point["held_percent"]) == (42, 100)
    await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
    await server.ended(task_id)


@both_transports
async def test_positions_are_those_of_slurms_queue(
    serve: Serve, slurm: Slurm, transport_name: str, tmp_path: Path
) -> None:
    """Jobs of others and the server's own, in the order of their priorities."""
    server = await serve(backend_of(slurm, transport_name, tmp_path / "shared")).start()
    full = ("--nodes=3", "--exclusive", "--parsable", "--output=/dev/null")
    busy = slurm.run("sbatch", *full, input="#!/bin/sh\nsleep 600\n").strip()
    await eventually(lambda: "RUNNING" in slurm.run("squeue", "--noheader", "--format=%T"))
    other = slurm.run("sbatch", "--parsable", "--output=/dev/null", input=SCRIPT).strip()
    hold = ("--hold", "--parsable", "--output=/dev/null")
    held = slurm.run("sbatch", *hold, input=SCRIPT).strip()
    task_ids = [await server.submit("exit 0", priority=priority) for priority in (1, 9, 5)]

    async def explained() -> list[int | None]:
        shown = [await server.rest.get(f"/v1/tasks/{each}/explain") for each in task_ids]
        return [each.json.get("position") for each in shown]

    await until(explained, lambda places: places == [4, 2, 3])

    async def waiting() -> list[tuple[str, int | None]]:
        listed = (await server.rest.get("/v1/queue/waiting")).json["waiting"]
        return [(each["task"]["id"], each.get("position")) for each in listed]

    low, high, middle = task_ids
    assert await waiting() == [(high, 2), (middle, 3), (low, 4)]
    for task_id in task_ids:
        await server.rest.ask("DELETE", f"/v1/tasks/{task_id}")
        await server.ended(task_id)
    slurm.run("scancel", busy, other, held)


async def _nodes_and_their_gpus(server: Server) -> None:
    async def listed() -> dict[str, Any]:
        found = await server.rest.get("/v1/gpus")
        return {node["name"]: node for node in found.json["nodes"]}

    # A node that was just resumed may still be one that does not respond.
    nodes = await until(listed, lambda nodes: "g2" in nodes and "drain" in nodes["g2"]["state"])
    assert not nodes["g2"]["takes_work"]
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
