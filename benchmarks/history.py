"""A long past and a long queue against a server that is all but empty."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import cycle
from pathlib import Path

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, median
from benchmarks.history_fill import fill
from benchmarks.processes import Server, fetchml, scratch_folder
from benchmarks.rest_submits import TASK

ENDED, QUEUED = 1_000_000, 10_000
FEW_ENDED, FEW_QUEUED = 3_000, 100
"""In the other server: enough for a full page of each, and for a few on disk only."""
AGAINST = f"{FEW_QUEUED} queued, {FEW_ENDED:,} ended"
OLD_IDS = 100
STARTS = 3
ROUNDS = 8
ASKED = 20
"""How often in each round."""
TARGET_RATIO = 2
TARGET_START_SECONDS = 2


def run() -> Benchmark:
    with scratch_folder() as folder:
        empty, full = folder / "empty", folder / "full"
        old_in_full = fill(full, ended=ENDED, queued=QUEUED, ids=OLD_IDS)
        old_in_empty = fill(empty, ended=FEW_ENDED, queued=FEW_QUEUED, ids=OLD_IDS)
        for data_dir in (empty, full):  # the first start makes keys and folders
            _start(data_dir)
        starts = [(_start(full), _start(empty)) for _ in range(STARTS)]
        with (
            _server(full) as ours,
            _server(empty) as floor,
            Client(ours.http) as with_past,
            Client(floor.http) as without,
        ):
            yield from _compare(_asking(with_past, old_in_full), _asking(without, old_in_empty))
        alone = median([without for _, without in starts])
        more = median([with_past - without for with_past, without in starts])
        measured = f"{more:+.2f} s: {alone + more:.2f} against {alone:.2f} s"
        target = f"< {TARGET_START_SECONDS} s more"
        yield Figure(
            "a long history: start", AGAINST, measured, target, more < TARGET_START_SECONDS
        )


def _server(data_dir: Path) -> AbstractContextManager[Server]:
    """Without an engine, so that nothing is launched and the queue stays as it is."""
    return fetchml(data_dir, launcher="docker", docker_host="unix:///nonexistent")


def _start(data_dir: Path) -> float:
    with _server(data_dir) as server:
        return server.ready_seconds


def _asking(client: Client, old_ids: list[str]) -> dict[str, Callable[[], float]]:
    """What is measured; each gives how long its reply took, in seconds."""
    queued = client.ask("GET", f"/v1/tasks?status=queued&limit={FEW_QUEUED}")["tasks"]
    live, old = cycle([task["id"] for task in queued]), cycle(old_ids)
    return {
        "submit": lambda: client.seconds("POST", "/v1/tasks", TASK),
        "get": lambda: client.seconds("GET", f"/v1/tasks/{next(live)}"),
        "get, ended long ago": lambda: client.seconds("GET", f"/v1/tasks/{next(old)}"),
        "list": lambda: client.seconds("GET", "/v1/tasks"),
        "list, queued": lambda: client.seconds("GET", "/v1/tasks?status=queued"),
        "list, completed": lambda: client.seconds("GET", "/v1/tasks?status=completed"),
        "queue": lambda: client.seconds("GET", "/v1/queue"),
    }


def _compare(
    ours: dict[str, Callable[[], float]], floor: dict[str, Callable[[], float]]
) -> Benchmark:
    for name in ours:
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for side, taken in zip((ours, floor), times, strict=True):
                taken += [side[name]() for _ in range(ASKED)]
        mine, its = (median(taken) * 1000 for taken in times)
        measured = f"{mine / its:.2f}: {mine:.2f} against {its:.2f} ms"
        yield Figure(
            f"a long history: {name}",
            AGAINST,
            measured,
            f"< {TARGET_RATIO}",
            mine / its < TARGET_RATIO,
        )
