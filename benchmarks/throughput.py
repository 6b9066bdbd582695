"""Short containers a second with eight slots, against a bare loop of the SDK at the same
concurrency: create, start, wait, remove."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

from benchmarks.containers import USER, some_engine
from benchmarks.figures import Benchmark, Figure, median
from benchmarks.gpu_gap import finish
from benchmarks.processes import Server, fetchml, scratch_folder
from examples.local_image import build_base
from fetchml import shim
from fetchml.adapters.docker_container import TASK_LABEL, container_config
from fetchml.adapters.docker_gpus import Offer, grant
from fetchml.attempt import AttemptFolder
from fetchml.ports import Run
from tests.docker.engine import Engine, existing_engine, why_no_private_engine

IMAGE = "fetchml-bench/python:1"
SLOTS = 8
CONTAINERS = 40
"""In a round."""
ROUNDS = 3
TARGET = 0.95
CLAIM = f"containers a second, {SLOTS} slots"
FLOOR = "a bare loop of the SDK"


def run() -> Benchmark:
    reason = why_no_private_engine() if existing_engine() is None else None
    if reason is not None:
        yield Figure(CLAIM, FLOOR, f"not run: {reason}", f"≥ {TARGET}", kept=False)
        return
    with some_engine() as engine, scratch_folder() as folder:
        build_base(engine.client, IMAGE)
        try:
            yield _compare(engine, folder)
        finally:
            engine.client.images.remove(IMAGE, force=True)


def _compare(engine: Engine, folder: Path) -> Figure:
    settings = {"tasks_network": "none", "tasks_max_running": str(SLOTS)}
    ours, bare = [], []
    with fetchml(folder / "data", launcher="docker", docker_host=engine.host, **settings) as server:
        for number in range(ROUNDS):
            bare.append(CONTAINERS / _bare(engine.host, folder / "bare" / str(number)))
            ours.append(CONTAINERS / _ours(server, engine))
    ratio = median([mine / its for mine, its in zip(ours, bare, strict=True)])
    measured = f"{ratio:.2f}: {median(ours):.1f}/s against {median(bare):.1f}/s"
    return Figure(CLAIM, FLOOR, measured, f"≥ {TARGET}", ratio >= TARGET)


def _ours(server: Server, engine: Engine) -> float:
    """Seconds, until the last container is removed."""
    request = {"job_name": "bench", "image": IMAGE, "command": ["true"]}
    began = time.perf_counter()
    finish(server, [request] * CONTAINERS)
    while engine.client.api.containers(all=True, filters={"label": TASK_LABEL}):
        time.sleep(0.02)
    return time.perf_counter() - began


def _bare(host: str, folder: Path) -> float:
    """Seconds. Each thread has its own client, as an SDK's user would have."""
    clients = [docker.DockerClient(base_url=host) for _ in range(SLOTS)]
    folders = [folder / str(number) for number in range(CONTAINERS)]
    for each in folders:
        AttemptFolder(each).create(*USER)
    began = time.perf_counter()
    with ThreadPoolExecutor(SLOTS) as pool:
        shares = [folders[number::SLOTS] for number in range(SLOTS)]
        list(pool.map(_loop, clients, shares))
    took = time.perf_counter() - began
    for client in clients:
        client.close()
    return took


def _loop(client: docker.DockerClient, folders: list[Path]) -> None:
    """The same limits, mounts and hardening, but our shim."""
    for folder in folders:
        run = Run("bare", 1, "bench", folder, IMAGE, (), {})
        config = dict(
            container_config(
                run,
                instance_id="bare",
                shim=shim.path(),
                network="none",
                user=USER,
                gpus=grant((), Offer(), lambda _: None),
            )
        )
        config |= {"Entrypoint": [], "Cmd": ["true"], "Labels": {}}
        api = client.api
        name = api.create_container_from_config(config, None)["Id"]  # type: ignore[no-untyped-call]
        api.start(name)
        api.wait(name)
        api.remove_container(name, v=True)
