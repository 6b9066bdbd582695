"""What other users do while somebody asks whether the server is well: each function goes on until
`until` (of time.monotonic), in a process of its own, and gives how often it did its work."""

import http.client
import io
import os
import tarfile
import time

from benchmarks.client import Client
from benchmarks.processes import KEY

DATASET_BYTES = 256 << 20
SNAPSHOT_BYTES = 16 << 20
FETCHED_WITHIN_SECONDS = 120
HEALTH_EVERY_SECONDS = 0.005


def ask_health(address: str, until: float) -> list[float]:
    """Seconds of each reply."""
    connection = http.client.HTTPConnection(address)
    took = []
    while time.monotonic() < until:
        began = time.perf_counter()
        connection.request("GET", "/health")
        reply = connection.getresponse()
        reply.read()
        took.append(time.perf_counter() - began)
        if reply.status != 200:
            raise RuntimeError(f"health: {reply.status}")
        time.sleep(HEALTH_EVERY_SECONDS)
    return took


def list_tasks(address: str, until: float) -> int:
    """The largest pages that there are."""
    times = 0
    while time.monotonic() < until:
        _ask(address, "GET", "/v1/tasks?limit=1000&view=full")
        times += 1
    return times


def upload_snapshots(address: str, until: float) -> int:
    """Each with another large file that can't be packed."""
    times = 0
    while time.monotonic() < until:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
            member = tarfile.TarInfo("weights")
            member.size = SNAPSHOT_BYTES
            archive.addfile(member, io.BytesIO(os.urandom(SNAPSHOT_BYTES)))
        _ask(address, "PUT", "/v1/snapshots", packed.getvalue(), "application/gzip")
        times += 1
    return times


def fetch_datasets(address: str, origin: str, until: float) -> int:
    """One after the other: fetched, written, its sum made."""
    times = 0
    while time.monotonic() < until:
        spec = {"name": "d", "source": f"http://{origin}/{times}"}
        task: dict[str, object] = {
            "job_name": "fetch",
            "command": ["true"],
            "dataset_specs": [spec],
        }
        with Client(address) as client:
            client.finish(task, within_seconds=FETCHED_WITHIN_SECONDS)
        times += 1
    return times


def follow_log(address: str, task_id: str, until: float) -> int:
    """Of a task that writes as fast as it can; gives bytes."""
    connection = http.client.HTTPConnection(address)
    path = f"/v1/tasks/{task_id}/logs?follow=1"
    connection.request("GET", path, headers={"X-API-Key": KEY})
    reply = connection.getresponse()
    size = 0
    while time.monotonic() < until and (data := reply.read1(1 << 16)):
        size += len(data)
    connection.close()
    return size


def _ask(
    address: str, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
) -> bytes:
    """Raises RuntimeError for a reply that is not a success."""
    connection = http.client.HTTPConnection(address)
    try:
        connection.request(method, path, body, {"X-API-Key": KEY, "Content-Type": kind})
        reply = connection.getresponse()
        answer = reply.read()
    finally:
        connection.close()
    if reply.status >= 300:
        raise RuntimeError(f"{method} {path}: {reply.status} {answer[:300]!r}")
    return answer
