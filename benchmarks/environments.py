"""What the environment of a task adds to its start: built, warm, and prestaged for a GPU.

A real uv installs NumPy and scikit-learn of the index. The times of starts are from the submit to
the command, by the server's and the shim's clocks.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.client import Client, milliseconds
from benchmarks.containers import IMAGE as PLAIN_IMAGE
from benchmarks.containers import over_engine
from benchmarks.figures import Benchmark, Figure, median, not_run
from benchmarks.gpu_gap import TARGET_MS, cdi_engine, gaps, gpu_server
from benchmarks.processes import Server, fetchml, scratch_folder
from fetchml.adapters.uv_command import UvOptions, variables
from fetchml.ports.task_environment import DEFAULT_PATH
from testbed.docker_engine import Engine, why_no_private_engine
from testbed.gpu.cdi import IMAGE
from testbed.static_uv import download_static_uv, download_wheels

PACKAGES = ("numpy==2.4.6", "scikit-learn==1.9.1")
COLD_ROUNDS = 3
BUILT_WITHIN_SECONDS = 300
"""Longest wait for a task whose environment is built, on a slow disk too."""
STARTS = 15
"""Pairs of starts, with and without the environment."""
TASKS_ON_GPU = 8
"""One after the other, twice with and twice without the environment."""
TARGET_WARM_MS = 300
TARGET_PRESTAGED_MS = 2
WITHOUT: dict[str, object] = {"job_name": "bench", "command": ["python3", "-c", "import time"]}
PRESTAGED = "environments: GPU idle between two tasks with a prestaged environment"
SAME_TASKS = "the same tasks without an environment"


def run() -> Benchmark:
    with scratch_folder() as folder:
        yield _cold(folder)
        with fetchml(folder / "warm") as server:
            yield _warm(server, "process launcher", WITHOUT)
        yield from over_engine(_warm_in_containers, _warm_claim("containers"), SAME_TASKS)
    yield from _prestaged()


def _warm_claim(where: str) -> str:
    return f"environments: added to a start by a warm one, {where}"


def _with_environment(client: Client, without: dict[str, object]) -> dict[str, object]:
    snapshot = client.upload({"requirements.txt": "\n".join(PACKAGES).encode()})
    wanted = {"requirements": "requirements.txt"}
    return {**without, "snapshot_id": snapshot, "environment": wanted}


def _start_ms(client: Client, request: dict[str, object]) -> float:
    task = client.finish(request, within_seconds=BUILT_WITHIN_SECONDS)
    return milliseconds(task["created_at"], task["started_at"])


def _cold(folder: Path) -> Figure:
    """Each round has an empty data directory and an empty cache of uv's."""
    ours, bare = [], []
    for number in range(COLD_ROUNDS):
        bare.append(_uv_ms(folder / f"uv{number}"))
        with fetchml(folder / f"cold{number}") as server, Client(server.http) as client:
            ours.append(_start_ms(client, _with_environment(client, WITHOUT)))
    measured = f"{median(ours):.0f} ms ({min(ours):.0f} to {max(ours):.0f}) against "
    measured += f"{median(bare):.0f} ms ({min(bare):.0f} to {max(bare):.0f})"
    claim = "environments: a start that builds one, with NumPy and scikit-learn"
    return Figure(claim, "uv by itself, with an empty cache too", measured, "none", kept=True)


def _uv_ms(folder: Path) -> float:
    """Return the time that uv takes by itself, with the options that FetchML gives it."""
    folder.mkdir()
    uv, target = str(Path(sys.executable).parent / "uv"), str(folder / "environment")
    certificates = os.environ.get("SSL_CERT_FILE")
    environment = {**variables(UvOptions(certificates=certificates)), "PATH": DEFAULT_PATH}
    environment |= {"HOME": str(folder), "UV_CACHE_DIR": str(folder / "cache")}
    python = f"{target}/bin/python"
    began = perf_counter()
    for command in (
        [uv, "venv", "--quiet", "--relocatable", "--no-project", "--python", "python3", target],
        [uv, "pip", "install", "--quiet", "--python", python, *PACKAGES],
    ):
        subprocess.run(command, env=environment, check=True)
    return (perf_counter() - began) * 1000


def _warm(server: Server, where: str, without: dict[str, object]) -> Figure:
    with Client(server.http) as client:
        wanted = _with_environment(client, without)
        for request in (wanted, without):
            _start_ms(client, request)
        pairs = [(_start_ms(client, wanted), _start_ms(client, without)) for _ in range(STARTS)]
    more = median([warm - plain for warm, plain in pairs])
    warm, plain = (median(side) for side in zip(*pairs, strict=True))
    return Figure(
        _warm_claim(where),
        SAME_TASKS,
        f"{more:+.0f} ms: {warm:.0f} against {plain:.0f} ms",
        f"≤ {TARGET_WARM_MS} ms more",
        more <= TARGET_WARM_MS,
    )


def _warm_in_containers(engine: Engine, folder: Path) -> Figure:
    with (
        _offline(folder) as settings,
        fetchml(
            folder / "data",
            launcher="docker",
            docker_host=engine.host,
            tasks_network="none",
            **settings,
        ) as server,
    ):
        return _warm(server, "containers", {**WITHOUT, "image": PLAIN_IMAGE})


@contextmanager
def _offline(folder: Path) -> Iterator[dict[str, str]]:
    """The settings of builds in containers, which reach no index: uv, and the packages' wheels."""
    with TemporaryDirectory(dir=folder) as place:
        wheels, uv = Path(place, "wheels"), Path(place, "uv")
        uv.mkdir()
        download_wheels(wheels, *PACKAGES)
        wheels.chmod(0o755)
        yield {
            "environments_find_links": str(wheels),
            "environments_uv": str(download_static_uv(uv)),
        }


def _prestaged() -> Benchmark:
    if reason := why_no_private_engine():
        yield not_run(PRESTAGED, SAME_TASKS, reason)
        return
    with (
        scratch_folder() as folder,
        cdi_engine(folder) as engine,
        _offline(folder) as settings,
        gpu_server(folder, engine, gpus=1, **settings) as server,
        Client(server.http) as client,
    ):
        without: dict[str, object] = {**WITHOUT, "image": IMAGE, "gpu": 1}
        wanted = _with_environment(client, without)
        client.finish(wanted, within_seconds=BUILT_WITHIN_SECONDS)
        idle: dict[bool, list[float]] = {False: [], True: []}
        for is_wanted in (False, True, True, False):
            request = wanted if is_wanted else without
            idle[is_wanted] += gaps(server, folder / "data", request, tasks=TASKS_ON_GPU)
    plain, built = median(idle[False]), median(idle[True])
    more = built - plain
    measured = f"{more:+.1f} ms: {built:.1f} against {plain:.1f} ms"
    target = f"≤ {TARGET_MS} ms, ≤ {TARGET_PRESTAGED_MS} ms more"
    kept = built <= TARGET_MS and more <= TARGET_PRESTAGED_MS
    yield Figure(PRESTAGED, SAME_TASKS, measured, target, kept)
