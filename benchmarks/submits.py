"""Submits against the same submits of an earlier revision: the rate, and the processor time of the
server for each.

The revision's tree is taken from git and runs with this tree's environment and client. Both servers
run at the same time and only one of them has work; who goes first alternates from round to round.
"""

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, median, not_run
from benchmarks.grpc_creates import CONNECTIONS, CREATE, METHOD, create_batches
from benchmarks.grpc_load import grpc_load
from benchmarks.http_load import http_load, why_no_load
from benchmarks.processes import KEY, NO_QUOTAS, Server, elsewhere, fetchml, scratch_folder
from benchmarks.rest_submits import CREATE as POST

BASE = "85e6d30"
"""The last revision without limits on callers."""
ROUNDS = 12
SECONDS = 1
"""wrk takes whole seconds."""
CALL_ROUNDS = 48
CALL_SECONDS = 0.25
"""What else runs on the machine changes within a second: the shorter two rounds are, the more alike
are the conditions for both servers."""
HTTP_CONNECTIONS = 64
BATCHES = {1_000: 5, 10_000: 1}
"""Tasks of a batch → batches in a round."""
BEFORE_FIELDS = "32f6dea"
"""The last revision whose tasks have no dependencies, checkpoints, environments, volumes, secrets,
sweeps and notifications."""


class Round(NamedTuple):
    per_second: float
    cpu_us: float
    """Processor time of the server for one submit, in microseconds."""


class Target(NamedTuple):
    """What a submit may cost against a base, both as ratios."""

    rate: float
    """The least."""
    cost: float
    """The most processor time."""


TARGETS = {BASE: Target(0.95, 1.05), BEFORE_FIELDS: Target(0.97, 1.03)}

Submit = Callable[[Server], tuple[int, float]]
"""Returns the number of submits and their rate in one second."""


def run(base: str = BASE) -> Benchmark:
    if (reason := why_no_load()) is not None:
        yield not_run("submits", base, reason)
        return
    with elsewhere() as moved:
        load, batches = moved(grpc_load), moved(create_batches)
        message = CREATE.SerializeToString()

        def rest(server: Server) -> tuple[int, float]:
            made = http_load(server.http, POST, HTTP_CONNECTIONS, SECONDS)
            return made.requests, made.per_second

        def create(server: Server) -> tuple[int, float]:
            made = load(server.grpc, METHOD, KEY, message, CONNECTIONS, CALL_SECONDS)
            return made.requests, made.per_second

        def batch(size: int) -> Submit:
            count = BATCHES[size]
            return lambda server: (size * count, batches(server.grpc, size, count))

        with _both(base) as servers:
            yield from _figures("REST submits", base, servers, rest)
            yield from _figures("CreateTask", base, servers, create, CALL_ROUNDS)
        for size in BATCHES:
            with _both(base) as servers:
                name = f"CreateTasks, batches of {size:,}, per task"
                yield from _figures(name, base, servers, batch(size))


@contextmanager
def _both(base: str) -> Iterator[tuple[Server, Server]]:
    """This tree's server and the base's, neither of which starts a task."""
    here = Path(__file__).resolve().parent.parent
    with scratch_folder() as folder:
        git = subprocess.run(["git", "archive", base], cwd=here, check=False, capture_output=True)
        if git.returncode:
            raise SystemExit(f"cannot read revision {base}: {git.stderr.decode().strip()}")
        with tarfile.open(fileobj=io.BytesIO(git.stdout)) as files:
            files.extractall(folder / "base", filter="data")
        with (
            _serve(here, folder / "data") as ours,
            _serve(folder / "base", folder / "base-data") as theirs,
        ):
            for server in (ours, theirs):
                with Client(server.http) as client:
                    client.block_queue()
            yield ours, theirs


@contextmanager
def _serve(tree: Path, data_dir: Path) -> Iterator[Server]:
    """A server with the code of `tree`, whatever the environment has installed."""
    python = ["env", "-C", str(tree), f"PYTHONPATH={tree}", sys.executable]
    show = [*python, "-c", "import fetchml; print(fetchml.__file__)"]
    loaded = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()
    if loaded != str(tree / "fetchml" / "__init__.py"):
        raise RuntimeError(f"{tree}: Python loads {loaded} instead")
    program = [*python, "-m", "fetchml"]
    with fetchml(data_dir, program=program, tasks_max_running="1", **NO_QUOTAS) as server:
        yield server


def _figures(
    claim: str, base: str, servers: tuple[Server, Server], submit: Submit, count: int = ROUNDS
) -> Iterator[Figure]:
    for server in servers:  # The first calls fill caches.
        submit(server)
    rounds: list[tuple[Round, Round]] = []
    for number in range(count):
        first, second = (_round(server, submit) for server in servers[:: -1 if number % 2 else 1])
        rounds.append((second, first) if number % 2 else (first, second))
    target = TARGETS.get(base)
    rates = [(ours.per_second, theirs.per_second) for ours, theirs in rounds]
    costs = [(ours.cpu_us, theirs.cpu_us) for ours, theirs in rounds]
    ratio, measured = _ratio(rates, "/s")
    least = f"≥ {target.rate}" if target else "none"
    yield Figure(claim, base, measured, least, target is None or ratio >= target.rate)
    ratio, measured = _ratio(costs, " µs")
    most = f"≤ {target.cost}" if target else "none"
    yield Figure("  processor time", base, measured, most, target is None or ratio <= target.cost)


def _round(server: Server, submit: Submit) -> Round:
    before = server.cpu_seconds()
    count, per_second = submit(server)
    return Round(per_second, (server.cpu_seconds() - before) / count * 1e6)


def _ratio(pairs: list[tuple[float, float]], unit: str) -> tuple[float, str]:
    """The median of ours to theirs, and the figures to show."""
    low, middle, high = quantiles([ours / theirs for ours, theirs in pairs], n=4)
    ours, theirs = (median(side) for side in zip(*pairs, strict=True))
    shown = f"{ours:,.1f}{unit} against {theirs:,.1f}{unit}"
    return middle, f"{middle:.2f} ({low:.2f} to {high:.2f}): {shown}"
