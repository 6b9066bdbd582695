"""Whether the server answers at once while it lists, unpacks, fetches and streams."""

import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, Load
from benchmarks.other_work import (
    DATASET_BYTES,
    SNAPSHOT_BYTES,
    ask_health,
    fetch_datasets,
    follow_log,
    list_tasks,
    upload_snapshots,
)
from benchmarks.processes import bare, fetchml, scratch_folder

SECONDS = 8
TASKS = 3_000
P99_MS = 50
FLOOD: dict[str, object] = {"job_name": "flood", "command": ["yes", "a line of the log"]}
WAITING: dict[str, object] = {"job_name": "waiting", "command": ["true"], "cpu": 1}


def run() -> Benchmark:
    with (
        scratch_folder() as folder,
        fetchml(
            folder / "data",
            resources_cpu="1",
            datasets_allow_private="true",
            tasks_log_bytes=str(64 << 20),
        ) as server,
        bare("bare_files") as origin,
        Client(server.http) as client,
        ProcessPoolExecutor(5, mp_context=get_context("spawn")) as pool,
    ):
        idle = _health(pool.submit(ask_health, server.http, time.monotonic() + 2).result())
        holder = client.ask("POST", "/v1/tasks", {**WAITING, "command": ["sleep", "600"]})["id"]
        for _ in range(TASKS):
            client.ask("POST", "/v1/tasks", WAITING)
        flood = client.ask("POST", "/v1/tasks", FLOOD)["id"]
        client.await_status(flood, "running")
        until = time.monotonic() + SECONDS
        asked = pool.submit(ask_health, server.http, until)
        work: list[Future[int]] = [
            pool.submit(list_tasks, server.http, until),
            pool.submit(upload_snapshots, server.http, until),
            pool.submit(fetch_datasets, server.http, origin.http, until),
            pool.submit(follow_log, server.http, flood, until),
        ]
        busy = _health(asked.result())
        lists, uploads, fetches, log_bytes = (each.result() for each in work)
        for task_id in (flood, holder):
            client.ask("DELETE", f"/v1/tasks/{task_id}")
    did = (
        f"{lists} lists of 1,000 tasks, {uploads} snapshots of {SNAPSHOT_BYTES >> 20} MiB, "
        f"{fetches} datasets of {DATASET_BYTES >> 20} MiB, {log_bytes >> 20} MiB of a log in "
        f"{SECONDS} s"
    )
    yield Figure(
        f"GET /health while others have: {did}",
        "the same server, idle",
        f"slowest of a hundred {busy.p99_ms:.1f} ms against {idle.p99_ms:.1f}; "
        f"half in {busy.p50_ms:.1f} ms against {idle.p50_ms:.1f}",
        f"< {P99_MS} ms",
        busy.p99_ms < P99_MS,
    )


def _health(seconds: list[float]) -> Load:
    return Load.of(seconds, sum(seconds))
