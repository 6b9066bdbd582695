"""The whole server on a host with eight simulated GPUs."""

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from testbed.docker_engine import PrivateEngine
from testbed.gpu.cdi import GPUS, IMAGE
from testbed.gpu.stand_in import GpuBox, end, gpu, process, uuid
from tests.gpu.conftest import LONGER, Boxed
from tests.support.program import Server, Task, all_ended
from tests.support.scripts import COUNTED, until_file
from tests.support.server_fixtures import containers_of
from tests.support.waiting import SECONDS, eventually, until

ROUNDS = 2 * LONGER
TASKS = 12
"""In a round."""


async def gpus(server: Server) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await server.rest.get("/v1/gpus")).json["gpus"]
    return listed


async def until_gpu(server: Server, number: int, state: str, reason: str | None = None) -> None:
    def is_so(found: list[dict[str, Any]]) -> bool:
        return (found[number]["state"], found[number].get("reason")) == (state, reason)

    await until(lambda: gpus(server), is_so)


async def until_explained(server: Server, task_id: str, part: str) -> None:
    await until(lambda: server.explained(task_id), lambda reason: part in reason)


def none_at_once(tasks: Sequence[Task]) -> None:
    """No two of them ran on one GPU at the same time, by what their shims noted down."""
    by_gpu: dict[str, list[tuple[int, int]]] = {}
    for task in tasks:
        ran = (task.started_at.ToMilliseconds(), task.ended_at.ToMilliseconds())
        for each in task.gpu_uuids:
            by_gpu.setdefault(each, []).append(ran)
    assert len(by_gpu) == GPUS
    for runs in by_gpu.values():
        runs.sort()
        for (_, ended), (started, _) in pairwise(runs):
            assert ended <= started, runs


async def random_schedule(server: Server, script: str) -> list[Task]:
    """Tasks that ask for one to four GPUs, in rounds; each round ends with a kill."""
    dice = random.Random(8)  # noqa: S311 - a plan that is the same each time
    task_ids: list[str] = []
    for _ in range(ROUNDS):
        await server.start()
        for _ in range(TASKS):
            wanted = {"gpu": dice.choice([1, 1, 2, 4]), "priority": dice.choice([5, 5, 8])}
            task_ids.append(await server.submit(COUNTED + script, **wanted))
        await server.ended(dice.choice(task_ids[-TASKS:]))
        await server.kill()
    await server.start()
    async with server.watch() as updates:
        await all_ended(updates, task_ids, SECONDS * LONGER)
    tasks = [await server.get(task_id) for task_id in task_ids]
    for task in tasks:
        assert (task.status, task.retry_count) == (Task.completed, 0), task
        assert len(set(task.gpu_uuids)) == task.gpu
        assert await server.starts(task.id) == 1
    none_at_once(tasks)
    await server.assert_idle(*task_ids)
    assert {each["state"] for each in await gpus(server)} == {"free"}
    return tasks


@pytest.mark.slow
async def test_process_tasks_never_share_a_gpu(
    boxed: Boxed, gpu_box: GpuBox, tmp_path: Path
) -> None:
    """Each marks its GPUs as its own, and fails where there is a mark."""
    gpu_box.set(*map(gpu, range(GPUS)))
    marks = tmp_path / "marks"
    marks.mkdir()
    mine = 'for each in $(echo "$CUDA_VISIBLE_DEVICES" | tr , " "); do '
    take = f"{mine} mkdir {marks}/$each || exit 9; done; "
    script = f"{take} echo $CUDA_VISIBLE_DEVICES; sleep 0.05; {mine} rmdir {marks}/$each; done"
    for task in await random_schedule(boxed(), script):
        assert task.output.split()[-1] == ",".join(task.gpu_uuids)


@pytest.mark.slow
async def test_containers_never_share_a_gpu(
    boxed: Boxed, gpu_box: GpuBox, cdi_engine: PrivateEngine
) -> None:
    gpu_box.set(*map(gpu, range(GPUS)))
    server = boxed(containers_of(cdi_engine, IMAGE))
    for task in await random_schedule(server, "env | grep ^GIVEN_; sleep 0.05"):
        given = {f"GIVEN_{each.replace('-', '_')}=1" for each in task.gpu_uuids}
        assert set(task.output.split()) - {"started"} == given
    assert cdi_engine.client.containers.list(all=True) == []


@pytest.mark.slow
async def test_busy_gpu_is_not_allocated(boxed: Boxed, gpu_box: GpuBox) -> None:
    with process("trainer") as pid:
        gpu_box.set(gpu(0), gpu(1), f"process {uuid(0)} {pid} 2150")
        server = await boxed().start()
        both = await server.submit("true", gpu=2)
        one = await server.ended(await server.submit("true", gpu=1))
        assert list(one.gpu_uuids) == [uuid(1)]
        told = f"busy: trainer (pid {pid}, 2.1 GiB)"
        assert f"1 of 2 free; GPU 0: {told}" in await server.explained(both)
        assert [each["state"] for each in await gpus(server)] == ["busy", "free"]
        end(pid)
        assert (await server.ended(both)).status == Task.completed


@pytest.mark.slow
async def test_unreleased_memory_blocks_the_gpu(boxed: Boxed, gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0))
    server = await boxed().start()
    first = await server.submit_running(until_file("go"), gpu=1)
    gpu_box.set(gpu(0, used=9000))
    server.tell(first)
    assert (await server.ended(first)).status == Task.completed
    second = await server.submit("true", gpu=1)
    told = "busy: 8.8 GiB of its memory are in use, by no visible process"
    await until_explained(server, second, told)
    assert (await server.get(second)).status == Task.queued
    gpu_box.set(gpu(0))
    assert (await server.ended(second)).status == Task.completed


@pytest.mark.slow
async def test_leftover_process_of_a_task_blocks_the_gpu(boxed: Boxed, gpu_box: GpuBox) -> None:
    """One that has escaped its task is a stranger, whatever it says of itself."""
    gpu_box.set(gpu(0))
    server = await boxed().start()
    first = await server.submit_running(until_file("go"), gpu=1)
    folder = server.data_dir / f"tasks/{first}/attempts/1/workspace"
    with process("leak", FETCHML_WORKSPACE=str(folder)) as pid:
        gpu_box.add(f"process {uuid(0)} {pid} 500")
        server.tell(first)
        await server.ended(first)
        second = await server.submit("true", gpu=1)
        await until_explained(server, second, f"busy: leak (pid {pid}, 500 MiB)")
        end(pid)
        assert (await server.ended(second)).status == Task.completed


AGAIN = 'if [ "$FETCHML_ATTEMPT" = 1 ]; then ' + until_file("go") + "exit 3; fi"


async def with_xid(server: Server, gpu_box: GpuBox, code: int) -> str:
    """A task that fails on the first GPU, which has told of this error."""
    task_id = await server.submit(AGAIN, gpu=1)
    assert list((await server.running(task_id)).gpu_uuids) == [uuid(0)]
    gpu_box.add(f"xid {uuid(0)} {code}")
    await eventually(lambda: f"XID {code}" in server.log)
    server.tell(task_id)
    return task_id


@pytest.mark.slow
async def test_gpu_error_does_not_count_as_task_failure(boxed: Boxed, gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0), gpu(1))
    server = await boxed().start()
    task = await server.ended(await with_xid(server, gpu_box, 94))
    assert (task.status, task.attempt, task.retry_count) == (Task.completed, 2, 0), task
    assert list(task.gpu_uuids) == [uuid(1)]
    assert [each["state"] for each in await gpus(server)] == ["free", "free"]


@pytest.mark.slow
async def test_sick_gpu_is_drained_until_undrain(boxed: Boxed, gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0), gpu(1))
    server = await boxed().start()
    task = await server.ended(await with_xid(server, gpu_box, 109))
    assert (task.status, task.attempt, task.retry_count) == (Task.completed, 2, 0), task
    told = "sick: XID 109 (context switch timed out)"
    await until_gpu(server, 0, "sick", told)
    await server.kill()
    gpu_box.set(gpu(0), gpu(1))  # the driver was loaded anew
    await server.start()
    found = (await gpus(server))[0]
    assert (found["state"], found["drained_by"]) == ("drained", f"the server ({told})")
    other = await server.ended(await server.submit("true", gpu=1))
    assert list(other.gpu_uuids) == [uuid(1)]
    reply = await server.rest.ask("POST", f"/v1/gpus/{uuid(0)}/undrain")
    assert (reply.status, reply.json["state"]) == (200, "free"), reply.body
    assert (await server.ended(await server.submit("true", gpu=2))).status == Task.completed


@pytest.mark.slow
async def test_task_on_a_lost_gpu_is_retried_elsewhere(boxed: Boxed, gpu_box: GpuBox) -> None:
    gpu_box.set(gpu(0), gpu(1))
    server = await boxed().start()
    task_id = await server.submit_running(AGAIN, gpu=1)
    gpu_box.set(gpu(0, error=15), gpu(1))
    task = await server.ended(task_id)
    assert (task.status, task.attempt, task.retry_count) == (Task.completed, 2, 0), task
    assert list(task.gpu_uuids) == [uuid(1)]
    assert (await gpus(server))[0]["state"] == "lost"


@pytest.mark.slow
async def test_next_task_is_prestaged_on_a_busy_gpu(
    boxed: Boxed, gpu_box: GpuBox, cdi_engine: PrivateEngine
) -> None:
    gpu_box.set(gpu(0), gpu(1))
    server = await boxed(containers_of(cdi_engine, IMAGE)).start()
    running = [await server.submit(until_file("go"), gpu=1) for _ in range(2)]
    for task_id in running:
        await server.running(task_id)
    # Each waits for the other to run: on a GPU that is free again they would rightly meet.
    waiting = [
        await server.submit("env | grep ^GIVEN_; " + until_file("go"), gpu=1) for _ in range(2)
    ]
    places = [list((await server.at_gate(task_id)).gpu_uuids) for task_id in waiting]
    assert sorted(places) == [[uuid(0)], [uuid(1)]]
    for task_id in reversed(running):
        server.tell(task_id)
    for task_id in waiting:
        await server.running(task_id)
    for task_id, position in zip(waiting, places, strict=True):
        server.tell(task_id)
        await server.ended(task_id)
        task = await server.get(task_id)
        assert (task.attempt, list(task.gpu_uuids)) == (1, position)
        assert task.output == f"GIVEN_{position[0].replace('-', '_')}=1\n"
    await server.assert_idle(*running, *waiting)


async def test_missing_driver_is_reported_and_gpu_tasks_are_rejected(
    boxed: Boxed, gpu_box: GpuBox
) -> None:
    gpu_box.set(driver=None)
    server = await boxed().start()
    reply = await server.rest.get("/v1/gpus")
    assert reply.json == {"gpus": [], "problem": "NVIDIA's driver is not loaded"}
    reply = await server.rest.submit({"job_name": "a", "gpu": 1})
    assert (reply.status, reply.json["error"]) == (422, "gpu: requests 1, but this host has 0")
    await server.assert_idle()


@pytest.mark.slow
async def test_queued_gpu_task_survives_a_missing_driver(boxed: Boxed, gpu_box: GpuBox) -> None:
    """What waits for a GPU is not failed while nobody knows which GPUs there are."""
    gpu_box.set(gpu(0))
    server = await boxed().start()
    first = await server.submit_running(until_file("go"), gpu=1)
    second = await server.submit("true", gpu=1)
    await server.kill()
    server.tell(first)
    gpu_box.set(driver=None)
    await server.start()
    await server.ended(first)
    await until_explained(server, second, "It waits for 1 GPU (0 of")
    gpu_box.set(gpu(0))
    assert (await server.ended(second)).status == Task.completed


async def test_a_task_keeps_the_models_and_the_driver(boxed: Boxed, gpu_box: GpuBox) -> None:
    gpu_box.set(*map(gpu, range(GPUS)))
    server = await boxed().start()
    task_id = await server.submit("true", gpu=2)
    await server.ended(task_id)
    ran_with = (await server.shown(task_id))["ran_with"]
    listed = (await server.rest.get("/v1/gpus")).json
    models = {each["uuid"]: each["name"] for each in listed["gpus"]}
    held = (await server.shown(task_id))["gpu_uuids"]
    assert ran_with["gpus"] == [models[each] for each in held]
    assert len(ran_with["gpus"]) == 2
    assert (ran_with["driver"], ran_with["cuda"]) == (listed["driver"], "12.4")
