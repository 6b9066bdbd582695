"""Short containers a second with eight slots, against a bare loop of the SDK at the same
concurrency: create, start, wait, remove."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

from benchmarks.client import Client
from benchmarks.containers import IMAGE, USER, over_engine
from benchmarks.figures import Benchmark, Figure, median
from benchmarks.processes import Server, fetchml
from benchmarks.waiting import until
from fetchml import shim
from fetchml.adapters.docker.container_config import TASK_LABEL, container_config
from fetchml.adapters.docker.container_gpus import GpuOffer, grant
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import LaunchSpec
from testbed.docker_engine import Engine

SLOTS = 8
CONTAINERS = 80
"""In a round."""
ROUNDS = 4
POLL_SECONDS = 0.02
"""For each container that is left: to ask takes from the server what is measured."""
TARGET = 0.95
CLAIM = f"containers a second, {SLOTS} slots"
FLOOR = "a bare loop of the SDK"


def run() -> Benchmark:
    yield from over_engine(_compare, CLAIM, FLOOR)


def _compare(engine: Engine, folder: Path) -> Figure:
    settings = {"tasks_network": "none", "tasks_max_running": str(SLOTS)}
    ours, bare = [], []
    with fetchml(folder / "data", launcher="docker", docker_host=engine.host, **settings) as server:
        _ours(server, engine)
        for number in range(ROUNDS):
            # What one leaves behind may slow down the other: each goes first in turn.
            if number % 2:
                ours.append(CONTAINERS / _ours(server, engine))
            bare.append(CONTAINERS / _bare(engine.host, folder / "bare" / str(number)))
            if not number % 2:
                ours.append(CONTAINERS / _ours(server, engine))
    ratio = median([mine / its for mine, its in zip(ours, bare, strict=True)])
    measured = f"{ratio:.2f}: {median(ours):.1f}/s against {median(bare):.1f}/s"
    return Figure(CLAIM, FLOOR, measured, f"≥ {TARGET}", ratio >= TARGET)


def _ours(server: Server, engine: Engine) -> float:
    """Seconds, until the last container is removed. No watcher is told of each task's every step:
    the loop of the SDK is not either."""
    request: dict[str, object] = {"job_name": "bench", "image": IMAGE, "command": ["true"]}
    with Client(server.http) as client:
        before = client.completed()
        began = time.perf_counter()
        for _ in range(CONTAINERS):
            client.ask("POST", "/v1/tasks", request)
        while left := _left(client):
            time.sleep(left * POLL_SECONDS)
        until(
            lambda: engine.client.api.containers(all=True, filters={"label": TASK_LABEL}),
            lambda found: not found,
        )
        took = time.perf_counter() - began
        assert client.completed() == before + CONTAINERS
    return took


def _left(client: Client) -> int:
    queue = client.ask("GET", "/v1/queue")
    return int(queue["queued"] + queue["running"])


def _bare(host: str, folder: Path) -> float:
    """Seconds. Each thread has its own client, as an SDK's user would have."""
    clients = [docker.DockerClient(base_url=host) for _ in range(SLOTS)]
    folders = [folder / str(number) for number in range(CONTAINERS)]
    began = time.perf_counter()
    with ThreadPoolExecutor(SLOTS) as pool:
        shares = [folders[number::SLOTS] for number in range(SLOTS)]
        list(pool.map(_loop, clients, shares))
    took = time.perf_counter() - began
    for client in clients:
        client.close()
    return took


def _loop(client: docker.DockerClient, folders: list[Path]) -> None:
    """The same limits, mounts, folders for them, and hardening, but our shim."""
    for folder in folders:
        AttemptFolder(folder).create(*USER)
        run = LaunchSpec("bare", 1, "bench", folder, IMAGE, (), {})
        config = dict(
            container_config(
                run,
                instance_id="bare",
                shim=shim.path(),
                network="none",
                user=USER,
                gpus=grant((), GpuOffer(), lambda _: None),
            )
        )
        config |= {"Entrypoint": [], "Cmd": ["true"], "Labels": {}}
        api = client.api
        name = api.create_container_from_config(config, None)["Id"]  # type: ignore[no-untyped-call]
        api.start(name)
        api.wait(name)
        api.remove_container(name, v=True)
