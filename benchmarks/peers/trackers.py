"""What trainings log, and searches of runs: beside MLflow's own server and FastTrackML, each on the
store that it has by default, in turns. The floor of single metrics is a bare aiohttp handler.

The peers check no key. MLflow syncs each commit to disk, as FetchML does; FastTrackML does not.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.figures import Benchmark, Figure, Load, at_least, not_run
from benchmarks.http_load import COUNTER, SLOT, Request, http_load, why_no_load
from benchmarks.processes import KEY, bare, fetchml, scratch_folder
from benchmarks.waiting import until
from testbed.envoy import free_ports

ROUNDS, SECONDS = 3, 2
FLOOR_CONNECTIONS = 64
PEER_CONNECTIONS = (1, 16)
RUNS, METRICS, PAGE = 500, 20, 50
SEARCHES = 7
BATCH = 1_000
TIME = 1_760_000_000_000
FLOOR_TARGET = 0.4
TARGETS = {"mlflow server": 10.0, "FastTrackML": 1.0}
"""How many times as fast FetchML shall be."""
CLIENTS = Path(__file__).parent.parent.parent / "tests/mlflow/clients"


class Tracker(NamedTuple):
    name: str
    address: str
    """HOST:PORT, and the prefix of its paths."""

    def ask(self, path: str, body: dict[str, object]) -> dict[str, dict[str, dict[str, str]]]:
        """Return the reply to a POST. Raises HTTPError."""
        request = urllib.request.Request(
            f"http://{self.address}/api/2.0/mlflow/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "X-API-Key": KEY},
        )
        with urllib.request.urlopen(request) as reply:  # noqa: S310 - as above
            answer: dict[str, dict[str, dict[str, str]]] = json.load(reply)
            return answer

    def new_run(self) -> str:
        body: dict[str, object] = {"experiment_id": "0", "start_time": TIME}
        return self.ask("runs/create", body)["run"]["info"]["run_id"]

    def load(self, path: str, body: dict[str, object], connections: int) -> Load:
        request = Request("POST", f"/api/2.0/mlflow/{path}", KEY, body)
        return http_load(self.address, request, connections, SECONDS)


def run() -> Benchmark:
    if (reason := why_no_load()) is not None:
        yield not_run("tracking beside peers", "", reason)
        return
    with (
        scratch_folder() as folder,
        fetchml(folder / "data") as server,
        bare("peers.bare_tracker") as floor,
    ):
        ours = Tracker("FetchML", f"{server.http}/mlflow")
        handler = Tracker("a bare aiohttp handler", floor.http)
        yield _single(ours, handler, FLOOR_CONNECTIONS, FLOOR_TARGET)
        _fill(ours)
        for name, serve in (("mlflow server", _mlflow), ("FastTrackML", _fasttrackml)):
            try:
                with serve(folder) as address:
                    yield from _compare(ours, Tracker(name, address), TARGETS[name])
            except (OSError, subprocess.CalledProcessError) as error:
                yield not_run("tracking", name, str(error))


def _compare(ours: Tracker, peer: Tracker, target: float) -> Benchmark:
    for connections in PEER_CONNECTIONS:
        yield _single(ours, peer, connections, target)
    yield at_least(
        f"tracking: batches of {BATCH:,} metrics, 4 connections",
        peer.name,
        [(_batches(ours), _batches(peer)) for _ in range(ROUNDS)],
        target,
    )
    _fill(peer)
    pairs = [(_search(ours), _search(peer)) for _ in range(SEARCHES)]
    mine, its = (median(side) * 1000 for side in zip(*pairs, strict=True))
    measured = f"{its / mine:.1f} times as fast: {mine:.1f} ms against {its:.1f} ms"
    claim = f"tracking: {PAGE} of {RUNS} runs by a metric, with a filter"
    yield Figure(claim, peer.name, measured, f"≥ {target:.0f} times", its / mine >= target)


def _single(ours: Tracker, other: Tracker, connections: int, target: float) -> Figure:
    runs = [side.new_run() if "bare" not in side.name else "bare" for side in (ours, other)]
    loads = []
    for _ in range(ROUNDS):
        mine, its = (
            side.load(
                "runs/log-metric", {"run_id": run_id, **_metric(f"loss{SLOT}", 0)}, connections
            )
            for side, run_id in zip((ours, other), runs, strict=True)
        )
        loads.append((mine, its))
    claim = f"tracking: single metrics, {connections} connections"
    return at_least(claim, other.name, loads, target)


def _batches(side: Tracker) -> Load:
    metrics = [_metric(f"m{number % 100}", number // 100) for number in range(BATCH)]
    return side.load("runs/log-batch", {"run_id": side.new_run(), "metrics": metrics}, 4)


def _metric(key: str, digit: int) -> dict[str, object]:
    """At a step of its own in each request."""
    return {"key": key, "value": 0.5, "timestamp": TIME, "step": f"{COUNTER}{digit}"}


def _fill(side: Tracker) -> None:
    for number in range(RUNS):
        metrics = [
            {"key": f"m{k}", "value": (number * k) % 97, "timestamp": TIME, "step": 1}
            for k in range(METRICS)
        ]
        side.ask("runs/log-batch", {"run_id": side.new_run(), "metrics": metrics})


def _search(side: Tracker) -> float:
    """Return the seconds that a page takes."""
    body: dict[str, object] = {
        "experiment_ids": ["0"],
        "filter": "metrics.m3 < 50",
        "order_by": ["metrics.m7 DESC"],
        "max_results": PAGE,
    }
    began = time.perf_counter()
    found: Sequence[object] = side.ask("runs/search", body)["runs"]  # type: ignore[assignment]
    took = time.perf_counter() - began
    if len(found) != PAGE:
        raise RuntimeError(f"{side.name}: {len(found)} runs of {PAGE}")
    return took


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    lock = ["--require-hashes", "-r", str(CLIENTS / "full.lock")]
    environment = _installed(folder / "mlflow", lock)
    [port] = free_ports(1)
    command = [str(environment / "mlflow"), "server", "--port", str(port)]
    with _running(command, folder / "mlflow", port, "/health"):
        yield f"127.0.0.1:{port}"


@contextmanager
def _fasttrackml(folder: Path) -> Iterator[str]:
    environment = _installed(folder / "fasttrackml", ["fasttrackml"])
    [port] = free_ports(1)
    command = [str(environment / "fml"), "server", "--listen-address", f"127.0.0.1:{port}"]
    command += ["--log-level", "error"]
    with _running(command, folder / "fasttrackml", port, "/health"):
        yield f"127.0.0.1:{port}"


def _installed(folder: Path, packages: Sequence[str]) -> Path:
    """Return the folder with the programs of these packages. Raises CalledProcessError."""
    uv = [str(Path(sys.executable).with_name("uv")), "--quiet"]
    environment = folder / "environment"
    subprocess.run([*uv, "venv", "--python", sys.executable, str(environment)], check=True)
    into = ["--python", str(environment / "bin/python"), "--no-deps"]
    subprocess.run([*uv, "pip", "install", *into, *packages], check=True)
    return environment / "bin"


@contextmanager
def _running(command: Sequence[str], folder: Path, port: int, path: str) -> Iterator[None]:
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": f"{Path(command[0]).parent}:/usr/bin:/bin", "HOME": str(folder)}
            | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            until(lambda: _answers(f"http://127.0.0.1:{port}{path}"), bool, within_seconds=60)
            yield
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url):  # noqa: S310 - of this benchmark
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
