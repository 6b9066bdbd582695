"""How long a GPU is idle between two tasks, with containers: from the end of one task's last
process to the start of the next one's command. Against the engine's own start of a container that
was created before.

Both times come from the shim's records, one clock. The GPUs are not there: NVIDIA's library and the
engine's description of them are the stand-ins of the tests, all else is what a user has.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import docker
import grpc
import yaml

from benchmarks.client import Client
from benchmarks.containers import USER
from benchmarks.figures import Benchmark, Figure, median, not_run
from benchmarks.processes import KEY, Server, fetchml, scratch_folder
from examples.local_image import build_base
from fetchml import shim
from fetchml.adapters.docker.container_config import container_config
from fetchml.adapters.docker.container_gpus import CdiDevice, GpuOffer, grant
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import LaunchSpec
from fetchml.v1 import task_pb2, task_pb2_grpc
from testbed.docker_engine import PrivateEngine, private_engine, why_no_private_engine
from testbed.gpu.cdi import IMAGE, specification
from testbed.gpu.stand_in import GpuBox, build, gpu, uuid

TASKS = 20
COMMAND = ["sleep", "1.5"]
"""Long enough for the next one to be ready before this one ends, as tasks on GPUs are."""
TARGET_MS = 15
CLAIM = "GPU idle between two tasks in containers"
FLOOR = "the engine's start of a created container"


def run() -> Benchmark:
    if reason := why_no_private_engine():
        yield not_run(CLAIM, FLOOR, reason)
        return
    with scratch_folder() as folder, cdi_engine(folder) as engine:
        raw = [_raw(engine.client.api, folder / "raw" / str(number)) for number in range(5)]
        with gpu_server(folder, engine, gpus=1) as server:
            request: dict[str, object] = {"job_name": "bench", "image": IMAGE, "gpu": 1}
            found = gaps(server, folder / "data", request, tasks=TASKS)
        raw += [_raw(engine.client.api, folder / "raw" / str(number)) for number in range(5, 10)]
    ours, bare = median(found), median(raw)
    slowest = sorted(found)[len(found) * 9 // 10]
    measured = f"{ours:.1f} ms (p90 {slowest:.1f}) against {bare:.0f} ms"
    yield Figure(CLAIM, FLOOR, measured, f"≤ {TARGET_MS} ms", ours <= TARGET_MS)


@contextmanager
def cdi_engine(folder: Path) -> Iterator[PrivateEngine]:
    """An engine that gives GPUs which are described and not there, and has an image."""
    described = folder / "cdi"
    described.mkdir()
    (described / "nvidia.yaml").write_text(yaml.safe_dump(specification()))
    settings = {"features": {"cdi": True}, "cdi-spec-dirs": [str(described)]}
    with private_engine(own_network=True, settings=settings) as engine:
        build_base(engine.client, IMAGE)
        yield engine


@contextmanager
def gpu_server(
    folder: Path, engine: PrivateEngine, *, gpus: int, **settings: str
) -> Iterator[Server]:
    """The real server on a box with so many GPUs."""
    built = folder / "built"
    built.mkdir()
    build(built)
    box = GpuBox(folder / "nvidia", built)
    box.set(*map(gpu, range(gpus)))
    before = os.environ.get("LD_LIBRARY_PATH")
    os.environ["LD_LIBRARY_PATH"] = str(box.folder)
    try:
        with fetchml(
            folder / "data",
            launcher="docker",
            docker_host=engine.host,
            tasks_network="none",
            **settings,
        ) as server:
            yield server
    finally:
        del os.environ["LD_LIBRARY_PATH"]
        if before is not None:
            os.environ["LD_LIBRARY_PATH"] = before


def finish(server: Server, requests: list[dict[str, Any]]) -> list[str]:
    """Submit all in one batch, and wait until each has completed. Their ids, in order."""
    with Client(server.http) as client, grpc.insecure_channel(server.grpc) as channel:
        updates = task_pb2_grpc.TaskServiceStub(channel).WatchTasks(
            task_pb2.WatchTasksRequest(), metadata=[("x-api-key", KEY)]
        )
        next(updates)
        task_ids = [client.ask("POST", "/v1/tasks", request)["id"] for request in requests]
        left = set(task_ids)
        for update in updates:
            assert update.task.status != task_pb2.Task.failed, update.task.error
            if update.task.status == task_pb2.Task.completed:
                left.discard(update.task.id)
            if not left:
                break
        updates.cancel()
    return task_ids


def gaps(server: Server, data_dir: Path, request: dict[str, object], *, tasks: int) -> list[float]:
    """Run that many tasks, one after the other; the milliseconds between each and the next."""
    task_ids = finish(server, [{**request, "command": COMMAND}] * tasks)
    ran = []
    for task_id in task_ids:
        [attempt] = data_dir.glob(f"tasks/{task_id}/attempts/*/run")
        record = AttemptFolder(attempt.parent).end()
        assert record is not None, task_id
        assert record.started_at is not None, task_id
        ran.append((record.started_at, record.at))
    ran.sort()
    return [float(started - ended) for (_, ended), (started, _) in pairwise(ran)]


def _raw(api: docker.APIClient, folder: Path) -> float:
    """Milliseconds that the engine's start takes of a container that is like a task's."""
    AttemptFolder(folder).create(*USER)
    run = LaunchSpec("raw-" + folder.name, 1, "bench", folder, IMAGE, (), {}, gpu_ids=(uuid(0),))
    offer = GpuOffer(cdi=(CdiDevice(f"nvidia.com/gpu={uuid(0)}"),))
    config = dict(
        container_config(
            run,
            instance_id="raw",
            shim=shim.path(),
            network="none",
            user=USER,
            gpus=grant(run.gpu_ids, offer, lambda _: None),
        )
    )
    config |= {"Entrypoint": [], "Cmd": ["sleep", "0.1"]}
    name = api.create_container_from_config(config, None)["Id"]  # type: ignore[no-untyped-call]
    began = time.perf_counter()
    api.start(name)
    took = time.perf_counter() - began
    api.wait(name)
    api.remove_container(name, v=True)
    return took * 1000
