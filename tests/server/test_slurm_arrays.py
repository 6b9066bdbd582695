"""Tasks handed over as arrays, with an outside count of the starts: each runs once."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from fetchml.v1 import task_pb2
from testbed.slurm import Slurm
from tests.server.test_slurm_faults import (
    assert_ran_once,
    counted,
    number_of_starts,
    partition,
)
from tests.support.program import Server
from tests.support.server_fixtures import Serve
from tests.support.slurm_fixtures import backend_of
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.slow

Task = task_pb2.Task
COUNT = 6


def ids(cluster: Slurm) -> list[str]:
    """Of the jobs that are not over."""
    return cluster.run("squeue", "--noheader", "--array", "--format=%i").split()


def start_files(shared: Path) -> list[Path]:
    """Return those of attempts in arrays. A single job's is synced."""
    arrays = (json.loads(path.read_bytes())["tasks"] for path in (shared / "arrays").iterdir())
    attempts = (attempt for tasks in arrays for attempt in tasks.values())
    return [shared / f"tasks/{task_id}/attempts/{n}/start" for task_id, n in attempts]


async def submit_sweep(server: Server, script: str) -> str:
    sweep = {
        "name": "s",
        "task": {"job_name": "t", "command": ["sh", "-c", script]},
        "parameters": {"n": {"range": [1, COUNT]}},
        "mode": "grid",
    }
    return str((await server.rest.submit(sweep, "/v1/sweeps")).json["id"])


async def tasks_of(server: Server, sweep_id: str) -> list[str]:
    listed = (await server.rest.get(f"/v1/tasks?sweep_id={sweep_id}")).json["tasks"]
    return [each["id"] for each in listed]


async def submit_until_death(server: Server, script: str) -> None:
    with suppress(aiohttp.ClientError):  # It may die before it has answered.
        await submit_sweep(server, script)
    await server.died()


async def all_tasks(server: Server) -> list[str]:
    found = [each["id"] for each in (await server.rest.get("/v1/tasks")).json["tasks"]]
    assert len(found) == COUNT
    return found


async def in_arrays(cluster: Slurm, count: int = COUNT) -> list[str]:
    """Return the ids of the tasks of arrays, once all jobs are there."""
    await eventually(lambda: len(ids(cluster)) == count)
    found = [each for each in ids(cluster) if "_" in each]
    assert len(found) >= 2, ids(cluster)
    return found


async def test_sweep_of_which_one_task_is_cancelled_and_one_requeued(
    serve: Serve, own_slurm: Slurm, transport_name: str, shared: Path, starts: Path
) -> None:
    server = await serve(backend_of(own_slurm, transport_name, shared)).start()
    partition(own_slurm, "DOWN")
    waits = f"until [ -e {starts}/go ]; do sleep 0.1; done; exit 4"
    sweep_id = await submit_sweep(server, counted(starts, waits))
    await in_arrays(own_slurm)
    cancelled, *others = await tasks_of(server, sweep_id)
    await until(lambda: server.explained(others[0]), lambda text: "partition" in text)
    await server.rest.ask("DELETE", f"/v1/tasks/{cancelled}")
    assert (await server.ended(cancelled)).failure_reason == Task.CANCELLED
    await in_arrays(own_slurm, COUNT - 1)
    partition(own_slurm, "UP")
    running = await server.running(others[0])
    assert running.worker_id
    # Slurm starts a task of the array again, against its request: the claim holds.
    await eventually(lambda: all(number_of_starts(starts, each) for each in others))
    again = next(each for each in ids(own_slurm) if "_" in each)
    own_slurm.run("scontrol", "update", f"JobId={again}", "Requeue=1", check=False)
    own_slurm.run("scontrol", "requeue", again, check=False)
    (starts / "go").touch()
    for task_id in others:
        task = await server.ended(task_id)
        assert number_of_starts(starts, task_id) == task.attempt, task
    assert number_of_starts(starts, cancelled) == 0
    own_slurm.run("scancel", again)  # Slurm holds it back for two minutes.
    await eventually(lambda: not own_slurm.jobs())


@pytest.mark.parametrize("point", ["array_written", "array_submitted"])
async def test_server_killed_before_and_after_an_array_is_submitted(
    serve: Serve, own_slurm: Slurm, transport_name: str, shared: Path, starts: Path, point: str
) -> None:
    server = serve(backend_of(own_slurm, transport_name, shared))
    await server.start(FETCHML_CRASH_AT=point)
    await submit_until_death(server, counted(starts, "sleep 0.3; exit 4"))
    await server.start()
    await assert_ran_once(server, starts, await all_tasks(server))
    await eventually(lambda: not own_slurm.jobs())


async def test_power_failure_after_an_array_is_submitted(
    serve: Serve, own_slurm: Slurm, transport_name: str, shared: Path, starts: Path
) -> None:
    """Of an array only its own file is synced: start files may be empty or missing afterwards."""
    server = serve(backend_of(own_slurm, transport_name, shared))
    await server.start(FETCHML_CRASH_AT="array_submitted")
    partition(own_slurm, "DOWN")
    await submit_until_death(server, counted(starts, "sleep 0.3; exit 4"))
    submitted = ids(own_slurm)
    assert len(submitted) >= 2
    assert len(list((shared / "arrays").iterdir())) >= 1
    first, *others = start_files(shared)
    first.write_bytes(b"")
    for start in others[::2]:
        start.unlink()
    await server.start()
    partition(own_slurm, "UP")
    await assert_ran_once(server, starts, await all_tasks(server))
    await eventually(lambda: not own_slurm.jobs())
    await eventually(lambda: not list((shared / "arrays").iterdir()))


async def test_jobs_that_start_before_the_server_is_back_from_a_power_failure(
    serve: Serve, own_slurm: Slurm, transport_name: str, shared: Path, starts: Path
) -> None:
    server = serve(backend_of(own_slurm, transport_name, shared))
    await server.start(FETCHML_CRASH_AT="array_submitted")
    partition(own_slurm, "DOWN")
    await submit_until_death(server, counted(starts, "exit 4"))
    for start in start_files(shared):
        start.write_bytes(b"")
    partition(own_slurm, "UP")
    await eventually(lambda: not any("_" in each for each in ids(own_slurm)))
    await server.start()
    await assert_ran_once(server, starts, await all_tasks(server))


async def test_server_killed_while_its_arrays_run(
    serve: Serve,
    own_slurm: Slurm,
    transport_name: str,
    shared: Path,
    starts: Path,
    tmp_path: Path,
) -> None:
    server = await serve(backend_of(own_slurm, transport_name, shared)).start()
    partition(own_slurm, "DOWN")
    go = tmp_path / "go"
    script = counted(starts, f"until [ -e {go} ]; do sleep 0.1; done; exit 4")
    sweep_id = await submit_sweep(server, script)
    await in_arrays(own_slurm)
    before = sorted(ids(own_slurm))
    partition(own_slurm, "UP")
    task_ids = await tasks_of(server, sweep_id)
    for task_id in task_ids:
        await server.running(task_id)
    await server.kill_and_start()
    cancelled, *others = task_ids
    await server.rest.ask("DELETE", f"/v1/tasks/{cancelled}")
    assert (await server.ended(cancelled)).failure_reason == Task.CANCELLED
    assert set(ids(own_slurm)) <= set(before), "no other jobs"
    go.touch()
    await assert_ran_once(server, starts, others)
    await eventually(lambda: not own_slurm.jobs())


async def test_controller_that_forgets_its_arrays(
    serve: Serve, own_slurm: Slurm, transport_name: str, shared: Path, starts: Path
) -> None:
    """None of them has started: a restarted slurmctld kills running jobs that it does not know."""
    with own_slurm.remembered():
        server = await serve(backend_of(own_slurm, transport_name, shared)).start()
        partition(own_slurm, "DOWN")
        sweep_id = await submit_sweep(server, counted(starts, "exit 4"))
        await in_arrays(own_slurm)
        await asyncio.to_thread(own_slurm.kill_daemon, "slurmctld")
    await asyncio.to_thread(own_slurm.restart_controller)
    partition(own_slurm, "UP")
    await assert_ran_once(server, starts, await tasks_of(server, sweep_id))
    await eventually(lambda: not own_slurm.jobs())


async def test_node_of_one_task_of_an_array_fails(
    serve: Serve, own_slurm: Slurm, shared: Path, starts: Path, tmp_path: Path
) -> None:
    server = await serve(backend_of(own_slurm, "rest", shared)).start()
    go = tmp_path / "go"
    sweep = {
        "name": "s",
        "task": {
            "job_name": "t",
            "cpu": 8,
            "command": [
                "sh",
                "-c",
                counted(starts, f"until [ -e {go} ]; do sleep 0.1; done; exit 4"),
            ],
        },
        "parameters": {"n": {"range": [1, 3]}},
        "mode": "grid",
    }
    made = str((await server.rest.submit(sweep, "/v1/sweeps")).json["id"])
    task_ids = await tasks_of(server, made)
    nodes = {(await server.running(task_id)).worker_id: task_id for task_id in task_ids}
    assert len(nodes) == 3
    node, silent = nodes.popitem()
    await asyncio.to_thread(own_slurm.lose_node, node)
    said = await until(lambda: server.explained(silent), lambda text: "silent" in text)
    assert "not started again" in said
    go.touch()
    await assert_ran_once(server, starts, task_ids)
