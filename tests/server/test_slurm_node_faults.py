"""Nodes that go away or are drained under running tasks, with an outside count of the starts."""

import asyncio
from pathlib import Path

import pytest

from testbed.slurm import Slurm
from tests.server.test_slurm_faults import assert_ran_once, counted, number_of_starts
from tests.support.scripts import until_file
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow


async def test_slurmd_killed_and_back_and_a_drained_node(
    serve: Serve, own_slurm: Slurm, tmp_path: Path
) -> None:
    """Both on one cluster: its start takes longer than either."""
    starts = tmp_path / "starts"
    starts.mkdir()
    server = await serve(backend_of(own_slurm, "rest", tmp_path / "shared")).start()
    script = counted(starts, until_file("go") + "exit 4")
    first = await server.submit_running(script)
    node = (await server.get(first)).worker_id
    await asyncio.to_thread(own_slurm.kill_daemon, node)
    server.tell(first)
    # Slurm believes that it runs; the shim has recorded its end.
    await assert_ran_once(server, starts, [first])
    await asyncio.to_thread(own_slurm.start_daemon, node)
    await asyncio.to_thread(own_slurm.until_idle)

    second = await server.submit_running(script)
    node = (await server.get(second)).worker_id
    await asyncio.to_thread(
        own_slurm.run, "scontrol", "update", f"nodename={node}", "state=drain", "reason=test"
    )

    async def drained() -> list[str]:
        nodes = (await server.rest.get("/v1/gpus")).json["nodes"]
        return [each["name"] for each in nodes if not each["takes_work"]]

    assert await until(drained, lambda names: names == [node])
    third = await server.submit_running(script)
    assert (await server.get(third)).worker_id != node
    assert number_of_starts(starts, second) == 1
    for task_id in (second, third):
        server.tell(task_id)
    await assert_ran_once(server, starts, [second, third])
    own_slurm.run("scontrol", "update", f"nodename={node}", "state=resume")
    await asyncio.to_thread(own_slurm.until_idle)
    await eventually(lambda: not own_slurm.jobs())
