"""REST through Envoy, with the configuration that comes along, against the same server directly.

The server has one core and Envoy another. The load has a third; where there are only two it is on
the server's, in both cases: beside Envoy it would be free in one case and take from Envoy in the
other, and what is to be measured is Envoy, not the client.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.client import Client
from benchmarks.figures import Benchmark, at_least, not_run
from benchmarks.http_load import Request, http_load, why_no_load
from benchmarks.processes import KEY, NO_QUOTAS, Server, fetchml, scratch_folder
from benchmarks.rest_submits import CREATE
from testbed import envoy as proxy
from testbed.authority import Authority

ROUNDS = 15
SECONDS = 1
"""Short rounds: ours and the floor's are to see the machine at the same speed."""
CONNECTIONS = (64, 256)
TARGET = 0.8
UNLIMITED = 1_000_000_000
GET = Request("GET", "/v1/queue", KEY)


def run() -> Benchmark:
    if (reason := why_no_load()) is not None:
        yield not_run("REST through Envoy", "the same server directly", reason)
        return
    cores = sorted(os.sched_getaffinity(0))
    server, envoy, load = cores[:1], cores[1:2] or cores, cores[2:] or cores[:1]
    with (
        scratch_folder() as folder,
        on(server),
        fetchml(folder / "data", tasks_max_running="1", **NO_QUOTAS) as direct,
        on(envoy),
        in_front(direct, folder) as through,
        on(load),
    ):
        with Client(direct.http) as client:
            blocker = client.block_queue()
        for name, request in {"submits": CREATE, "reads": GET}.items():
            for connections in CONNECTIONS:
                http_load(through, request, connections, SECONDS)
                loads = [
                    (
                        http_load(through, request, connections, SECONDS),
                        http_load(direct.http, request, connections, SECONDS),
                    )
                    for _ in range(ROUNDS)
                ]
                claim = f"REST {name} through Envoy, {connections} connections"
                yield at_least(claim, "the same server directly", loads, TARGET)
        with Client(direct.http) as client:  # a task outlives its server
            client.unblock_queue(blocker)


@contextmanager
def on(cores: list[int]) -> Iterator[None]:
    """What is started in it runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def in_front(server: Server, folder: Path) -> Iterator[str]:
    """The edge's address without TLS: what it costs is the client's as much as Envoy's. Its limit
    for each key is out of reach, as the server's own is."""
    Authority(folder / "ca").issue(folder / "cert.pem", folder / "key.pem")
    ports = {name: int(getattr(server, name).rpartition(":")[2]) for name in ("http", "grpc")}
    workers = len(os.sched_getaffinity(0))
    with proxy.running(
        "envoy.yaml", folder, folder, ports, plain=True, burst=UNLIMITED, workers=workers
    ) as envoy:
        yield f"127.0.0.1:{envoy.ports[proxy.PLAIN]}"
