"""Tasks over a private Slurm against one host, and against a bare loop over slurmrestd."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, at_least, median, not_run
from benchmarks.http_load import Request, http_load, why_no_load
from benchmarks.processes import KEY, NO_QUOTAS, Server, fetchml, scratch_folder
from benchmarks.slurm import bare_loop
from benchmarks.slurm.prepared import prepared_scripts
from fetchml.client import Client as Watching
from testbed.slurm import Slurm, private_slurm

SETTINGS = ("MaxJobCount=100000", "MinJobAge=5")
ROUNDS = 3
SECONDS = 2
CONNECTIONS = 16
SWEEP = 2_000
FINISHED = 360
"""Fifteen times as many as have room at the same time: Slurm starts jobs once a second, and single
ones also when they are submitted. A hundred measured how these steps fell."""
QUEUE = 10_000
CPU_SECONDS = 15
ENDS = 8
TASK: dict[str, object] = {"job_name": "bench", "command": ["true"]}
LIMIT_SECONDS = 300


def run() -> Benchmark:
    reason = "it needs root" if os.geteuid() else why_no_load()
    if reason is not None:
        yield not_run("tasks over Slurm", "a bare loop over slurmrestd", reason)
        return
    with scratch_folder() as folder:
        with private_slurm(*SETTINGS) as cluster:
            yield _accepted(cluster, folder / "accepted")
        with private_slurm(*SETTINGS) as cluster:
            yield from _handed_over(cluster, folder / "handed_over")
        with private_slurm(*SETTINGS) as cluster:
            yield from _finished(cluster, folder / "finished")
        with private_slurm(*SETTINGS) as cluster:
            yield from _with_a_long_queue(cluster, folder / "long")


@contextmanager
def _server(cluster: Slurm, folder: Path, **settings: str) -> Iterator[Server]:
    shared = folder / "shared"
    shared.mkdir(mode=0o700, parents=True)
    slurm = {
        "slurm_transport": "rest",
        "slurm_url": cluster.url,
        "slurm_jwt_key": str(cluster.jwt_key),
        "slurm_shared_dir": str(shared),
        "slurm_allow_root": "true",
    }
    with fetchml(folder / "data", launcher="slurm", **NO_QUOTAS, **slurm, **settings) as server:
        yield server


def _accepted(cluster: Slurm, folder: Path) -> Figure:
    """Both queues stand still; the cluster's jobs are handed over meanwhile."""
    folder.mkdir(parents=True)
    _partition(cluster, "down")
    create = Request("POST", "/v1/tasks", KEY, TASK)
    with (
        _server(cluster, folder) as ours,
        fetchml(folder / "host", tasks_max_running="1", **NO_QUOTAS) as host,
        Client(host.http) as client,
        client.blocked_queue(),
    ):
        loads = []
        for _ in range(ROUNDS):
            mine = http_load(ours.http, create, CONNECTIONS, SECONDS)
            loads.append((mine, http_load(host.http, create, CONNECTIONS, SECONDS)))
    return at_least("submits accepted on a cluster", "one host", loads, 0.9)


def _handed_over(cluster: Slurm, folder: Path) -> Benchmark:
    """From the first submit until Slurm has all jobs; of single requests, and of a sweep. The bare
    loop submits as many jobs after that."""
    _partition(cluster, "down")
    limits = {"slurm_max_pending": "100000", "slurm_user_max_pending": "100000"}
    ways = {"tasks handed over to Slurm": _submit_singly, "tasks of a sweep handed over": _sweep}
    with _server(cluster, folder, **limits) as server:
        for claim, submit in ways.items():
            ours, bare, work = [], [], []
            for _ in range(ROUNDS):
                before = cluster.submitted()
                began, used = time.perf_counter(), server.cpu_seconds()
                count = submit(server)
                has_all = partial(_has_taken, cluster, before + count)
                cluster.until(has_all, "all jobs handed over", LIMIT_SECONDS)
                ours.append(count / (time.perf_counter() - began))
                work.append((server.cpu_seconds() - used) * 1000 / count)
                bare.append(count / bare_loop.submit(cluster, count))
            more = f", {median(work):.1f} ms of a core each"
            yield _rates(claim, ours, bare, 0.8, more)


def _finished(cluster: Slurm, folder: Path) -> Benchmark:
    """From the first submit until all have ended; the sides take turns, also at being the first.

    The floor is what exactly one start and a recorded end take on the nodes: the bare loop submits
    jobs that run the shim in folders which are there already. No server takes part.
    """
    sides: dict[str, list[float]] = {"ours": [], "bare": [], "floor": []}
    with _server(cluster, folder) as server, Client(server.http) as client:
        for number in range(ROUNDS):
            scripts = prepared_scripts(folder / f"floor-{number}", FINISHED)
            for side in [*sides][number:] + [*sides][:number]:
                cluster.until(lambda: not cluster.jobs(), "an empty queue", LIMIT_SECONDS)
                has_all = partial(_has_ended, cluster, bare_loop.ended(cluster) + FINISHED)
                began = time.perf_counter()
                if side == "ours":
                    has_all = partial(_has_completed, client, client.completed() + FINISHED)
                    _submit(server, FINISHED)
                elif side == "bare":
                    bare_loop.submit(cluster, FINISHED)
                else:
                    bare_loop.submit_scripts(cluster, scripts)
                cluster.until(has_all, "all ends", LIMIT_SECONDS)
                sides[side].append(FINISHED / (time.perf_counter() - began))
    ours, bare, floor = sides.values()
    yield _rates("tasks finished on Slurm", ours, bare, 0.9)
    yield _rates("its floor", floor, bare, 0)._replace(target="")
    yield _rates("the server's part", ours, floor, 0.95)._replace(floor="the floor")


def _with_a_long_queue(cluster: Slurm, folder: Path) -> Benchmark:
    bare_loop.submit(cluster, QUEUE, hold=True)
    alone = _cpu_share(cluster)
    with _server(cluster, folder) as server, Client(server.http) as client:
        waits: list[float] = []
        with Watching(server.grpc, KEY) as watching:
            for _ in range(ENDS):
                task = watching.submit("e", command=["sleep", "1"])
                ended = watching.wait(task.id, timeout=LIMIT_SECONDS)
                waits.append(time.time() - ended.ended_at.ToNanoseconds() / 1e9)
        late = max(waits)
        measured = f"{median(waits):.2f} s, at most {late:.2f} s"
        claim = f"an end is seen, {QUEUE:,} jobs queued"
        yield Figure(claim, "the record of the end", measured, "≤ 1.5 s", late <= 1.5)
        client.ask("POST", "/v1/tasks", {"job_name": "long", "command": ["sleep", "600"]})
        share = _cpu_share(cluster) - alone
        claim = f"slurmctld's work for the polls, {QUEUE:,} jobs"
        measured = f"{share:.1%} of a core ({alone:.1%} without)"
        yield Figure(claim, "the same queue alone", measured, "≤ 5 %", share <= 0.05)


def _cpu_share(cluster: Slurm) -> float:
    """Return the cores that slurmctld uses, on average over CPU_SECONDS."""
    before, began = cluster.cpu_seconds("slurmctld"), time.perf_counter()
    time.sleep(CPU_SECONDS)
    return (cluster.cpu_seconds("slurmctld") - before) / (time.perf_counter() - began)


def _submit(server: Server, count: int) -> None:
    def some(number: int) -> None:
        with Client(server.http) as client:
            for _ in range(number):
                client.ask("POST", "/v1/tasks", TASK)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        shares = [count // CONNECTIONS + (n < count % CONNECTIONS) for n in range(CONNECTIONS)]
        list(pool.map(some, shares))


def _submit_singly(server: Server) -> int:
    """Submit tasks for a second; return how many. The client takes next to nothing of the cores
    that Slurm and the server need."""
    create = Request("POST", "/v1/tasks", KEY, TASK)
    return http_load(server.http, create, CONNECTIONS, 1).requests


def _sweep(server: Server) -> int:
    parameters = {"n": {"range": [1, SWEEP]}}
    sweep: dict[str, object] = {
        "name": "bench",
        "task": TASK,
        "parameters": parameters,
        "mode": "grid",
    }
    with Client(server.http) as client:
        client.ask("POST", "/v1/sweeps", sweep)
    return SWEEP


def _has_taken(cluster: Slurm, count: int) -> bool:
    return cluster.submitted() >= count


def _has_completed(client: Client, count: int) -> bool:
    return client.completed() >= count


def _has_ended(cluster: Slurm, count: int) -> bool:
    return bare_loop.ended(cluster) >= count


def _partition(cluster: Slurm, state: str) -> None:
    cluster.run("scontrol", "update", "partitionname=main", f"state={state}")


def _rates(
    claim: str, ours: list[float], bare: list[float], target: float, more: str = ""
) -> Figure:
    ratios = [mine / its for mine, its in zip(ours, bare, strict=True)]
    ratio = median(ratios)
    measured = (
        f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}): "
        f"{median(ours):,.0f}/s against {median(bare):,.0f}/s{more}"
    )
    return Figure(claim, "a bare loop over slurmrestd", measured, f"≥ {target}", ratio >= target)
