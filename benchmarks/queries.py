"""Submits beside heavy SQL queries against submits alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, median, not_run
from benchmarks.history_fill import fill
from benchmarks.http_load import Request, http_load, why_no_load
from benchmarks.processes import KEY, NO_QUOTAS, Server, fetchml, scratch_folder
from benchmarks.rest_submits import TASK

ENDED = 100_000
CONNECTIONS = 16
ROUNDS = 6
SECONDS = 4
TARGET = 1.2
HEAVY = """
    SELECT status, hour(created_at) AS hour, count(*), median(run_seconds), max(md5(id || i))
    FROM tasks, range(30) AS t(i) GROUP BY ALL ORDER BY ALL
"""
CREATE = Request("POST", "/v1/tasks", KEY, TASK)


def run() -> Benchmark:
    name = f"submits beside a heavy query of {ENDED:,} tasks, p99"
    if (reason := why_no_load()) is not None:
        yield not_run(name, "submits alone", reason)
        return
    with scratch_folder() as folder:
        fill(folder / "data", ended=ENDED, queued=0, ids=1)
        with (
            fetchml(folder / "data", tasks_max_running="1", **NO_QUOTAS) as server,
            Client(server.http) as client,
        ):
            client.block_queue()
            http_load(server.http, CREATE, CONNECTIONS, 1)
            alone, beside, queries = list[float](), list[float](), 0
            for _ in range(ROUNDS):
                alone.append(http_load(server.http, CREATE, CONNECTIONS, SECONDS).p99_ms)
                with _querying(server) as done:
                    beside.append(http_load(server.http, CREATE, CONNECTIONS, SECONDS).p99_ms)
                queries += len(done)
    ratio = median([with_it / without for with_it, without in zip(beside, alone, strict=True)])
    measured = f"{ratio:.2f}: {median(beside):.1f} against {median(alone):.1f} ms"
    yield Figure(
        name, "submits alone", f"{measured}, {queries} queries", f"≤ {TARGET}", ratio <= TARGET
    )


@contextmanager
def _querying(server: Server) -> Iterator[list[float]]:
    """Ask one heavy query after the other; yields how long each took."""
    ended, done = threading.Event(), list[float]()

    def ask() -> None:
        with Client(server.http) as client:
            while not ended.is_set():
                done.append(client.seconds("POST", "/v1/history/query", {"sql": HEAVY}))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()
