"""Durable submits over REST against a bare aiohttp handler."""

import signal
from pathlib import Path

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, Load, at_least, median, not_run
from benchmarks.http_load import Request, http_load, why_no_load
from benchmarks.processes import KEY, NO_QUOTAS, bare, fetchml, scratch_folder

ROUNDS = 5
SECONDS = 2
TARGETS = {64: 0.42, 256: 0.49}
"""Connections → ratio to the bare handler."""
P99_MS = 30
TASK: dict[str, object] = {"job_name": "bench", "args": "--epochs 5", "cpu": 1}
CREATE = Request("POST", "/v1/tasks", KEY, TASK)


def run() -> Benchmark:
    if (reason := why_no_load()) is not None:
        yield not_run("REST submits", "a bare aiohttp handler", reason)
        return
    acknowledged = 1
    with scratch_folder() as folder:
        data_dir = folder / "data"
        with (
            fetchml(data_dir, tasks_max_running="1", **NO_QUOTAS) as ours,
            bare("bare_http") as floor,
        ):
            with Client(ours.http) as client:
                blocker = client.block_queue()
            acknowledged += http_load(ours.http, CREATE, 64, 1).requests
            http_load(floor.http, CREATE, 64, 1)
            for connections, target in TARGETS.items():
                loads = [
                    (
                        http_load(ours.http, CREATE, connections, SECONDS),
                        http_load(floor.http, CREATE, connections, SECONDS),
                    )
                    for _ in range(ROUNDS)
                ]
                yield from _figures(connections, target, loads)
                acknowledged += sum(made.requests for made, _ in loads)
            ours.process.send_signal(signal.SIGKILL)
        yield _found_again(data_dir, acknowledged, blocker)


def _figures(connections: int, target: float, loads: list[tuple[Load, Load]]) -> Benchmark:
    name = f"REST submits, {connections} connections"
    yield at_least(name, "a bare aiohttp handler", loads, target)
    p99, floor = (median([load.p99_ms for load in side]) for side in zip(*loads, strict=True))
    slowest = f"{p99:.1f} ms, the handler {floor:.1f} ms"
    yield Figure("  the slowest of a hundred", "", slowest, f"< {P99_MS} ms", p99 < P99_MS)


def _found_again(data_dir: Path, acknowledged: int, blocker: str) -> Figure:
    with (
        fetchml(data_dir, tasks_max_running="1", **NO_QUOTAS) as again,
        Client(again.http) as client,
    ):
        found = client.ask("GET", "/v1/tasks?limit=0")["total"]
        client.unblock_queue(blocker)
    # More are those whose replies were under way when a load or the server ended.
    measured = f"{min(found, acknowledged):,} of {acknowledged:,}"
    return Figure("  found again after kill -9", "", measured, "all", found >= acknowledged)
