"""From a submit to a running container against the engine's own create and start."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import grpc

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, median, not_run
from benchmarks.fresh_disk import fresh_disk
from benchmarks.processes import KEY, fetchml
from benchmarks.waiting import until
from examples.local_image import build_base
from fetchml import shim
from fetchml.adapters.docker.container_config import container_config, container_name
from fetchml.adapters.docker.container_gpus import GpuOffer, grant
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import LaunchSpec
from fetchml.v1 import task_pb2, task_pb2_grpc
from testbed.docker_engine import Engine, existing_engine, private_engine, why_no_private_engine

IMAGE = "fetchml-bench/python:1"
COMMAND = ["sleep", "0.2"]
"""Long enough for its end to disturb no start."""
ROUNDS = 25
TARGET_MS = 30
USER = (1000, 1000)
CLAIM = "submit to running container"
FLOOR = "the engine's create and start"

Updates = Iterator[task_pb2.WatchTasksResponse]


def run() -> Benchmark:
    yield from over_engine(_compare, CLAIM, FLOOR)


def over_engine(compare: Callable[[Engine, Path], Figure], claim: str, floor: str) -> Benchmark:
    """Compare with an engine that has IMAGE, if there can be one."""
    reason = why_no_private_engine() if existing_engine() is None else None
    if reason is not None:
        yield not_run(claim, floor, reason)
        return
    with fresh_disk() as folder, some_engine(folder) as engine:
        build_base(engine.client, IMAGE)
        try:
            yield compare(engine, folder)
        finally:
            engine.client.images.remove(IMAGE, force=True)


@contextmanager
def some_engine(folder: Path) -> Iterator[Engine]:
    """The machine's own, or one that is started: in the folder, if that is a disk of its own. (A
    longer path is too long for its sockets.)"""
    found = existing_engine()
    if found is not None:
        with closing(found):
            yield found
    else:
        parent = folder if folder.is_mount() else Path("/tmp")  # noqa: S108
        with private_engine(own_network=False, parent=parent) as private:
            yield private


def _compare(engine: Engine, folder: Path) -> Figure:
    raw: list[float] = []
    ours: list[float] = []
    with (
        fetchml(folder / "data", launcher="docker", docker_host=engine.host) as server,
        Client(server.http) as client,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        updates = task_pb2_grpc.TaskServiceStub(channel).WatchTasks(
            task_pb2.WatchTasksRequest(), metadata=[("x-api-key", KEY)]
        )
        next(updates)
        for number in range(ROUNDS):
            raw.append(_raw(engine.client.api, folder / "raw" / str(number)))
            ours.append(_submit(client, updates, engine))
        updates.cancel()
    more = median([mine - its for mine, its in zip(ours, raw, strict=True)]) * 1000
    measured = f"{more:+.0f} ms: {median(ours) * 1000:.0f} against {median(raw) * 1000:.0f} ms"
    return Figure(CLAIM, FLOOR, measured, f"≤ {TARGET_MS} ms more", more <= TARGET_MS)


def _submit(
    client: Client, updates: Iterator[task_pb2.WatchTasksResponse], engine: Engine
) -> float:
    """Until a watcher is told that the command runs. Seconds."""
    request: dict[str, object] = {"job_name": "bench", "image": IMAGE, "command": COMMAND}
    began = time.perf_counter()
    task_id = client.ask("POST", "/v1/tasks", request | {"cpu": 1, "memory_gb": 1})["id"]
    _await(updates, task_id, task_pb2.Task.running)
    took = time.perf_counter() - began
    _await(updates, task_id, task_pb2.Task.completed)
    _await_gone(engine.client, container_name(task_id, 1))
    return took


def _await(updates: Updates, task_id: str, status: "task_pb2.Task.Status") -> None:
    for update in updates:
        if update.task.id == task_id:
            if update.task.status == status:
                return
            assert update.task.status != task_pb2.Task.failed, update.task.error


def _await_gone(client: docker.DockerClient, name: str) -> None:
    until(lambda: client.api.containers(all=True, filters={"name": name}), lambda found: not found)


def _raw(api: docker.APIClient, folder: Path) -> float:
    """A container with the same limits, mounts and hardening, but our shim. Seconds."""
    attempt = AttemptFolder(folder)
    attempt.create(*USER)
    run = LaunchSpec("raw-" + folder.name, 1, "bench", folder, IMAGE, (), {}, cpu=1, memory_gb=1)
    config = dict(
        container_config(
            run,
            instance_id="raw",
            shim=shim.path(),
            network="bridge",
            user=USER,
            gpus=grant((), GpuOffer(), lambda _: None),
        )
    )
    config |= {"Entrypoint": [], "Cmd": COMMAND}
    began = time.perf_counter()
    name = api.create_container_from_config(config, None)["Id"]  # type: ignore[no-untyped-call]
    api.start(name)
    took = time.perf_counter() - began
    api.wait(name)
    api.remove_container(name, v=True)
    return took
