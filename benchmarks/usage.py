"""What it costs to sample 50 running tasks, and the size of a week and a year of samples."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure
from benchmarks.processes import fetchml, scratch_folder
from fetchml.adapters.duckdb.recovery import DatabaseFiles, connect_recovering
from fetchml.core.usage import DETAIL_MS, HISTORY_MS, HOUR_MS, SAMPLE_MS

TASKS = 50
GPUS = 8
SECONDS = 60
TARGET_PERCENT = 1.0
TARGET_MB = 50
START = 1_760_000_400_000
Row = tuple[int | float | str, ...]
SLEEPING: dict[str, object] = {"job_name": "sleeping", "command": ["sleep", "600"]}


def run() -> Benchmark:
    without, with_samples = (_processor_seconds(rows) for rows in ("0", "3600000"))
    percent = max(0.0, with_samples - without) / SECONDS * 100
    yield Figure(
        f"usage: samples of {TASKS} running tasks, process launcher",
        "the same server without samples",
        f"{percent:.2f} % of a core ({with_samples:.2f} against {without:.2f} s in {SECONDS} s)",
        f"≤ {TARGET_PERCENT:g} %",
        percent <= TARGET_PERCENT,
    )
    with scratch_folder() as folder:
        size = _database_mb(folder / "data")
    yield Figure(
        f"usage: a week of samples and a year of hours, {TASKS} tasks and {GPUS} GPUs at all times",
        "an empty database",
        f"{size:.1f} MB",
        f"< {TARGET_MB} MB",
        size < TARGET_MB,
    )


def _processor_seconds(usage_rows: str) -> float:
    """What the server uses while the tasks run and nobody calls it."""
    with (
        scratch_folder() as folder,
        fetchml(
            folder / "data",
            history_usage_rows=usage_rows,
            tasks_max_running=str(TASKS),
            resources_cpu=str(TASKS),
        ) as server,
        Client(server.http) as client,
    ):
        ids = [client.ask("POST", "/v1/tasks", SLEEPING)["id"] for _ in range(TASKS)]
        for task_id in ids:
            client.await_status(task_id, "running")
        time.sleep(2 * SAMPLE_MS / 1000)  # Until the first samples are taken.
        before = server.cpu_seconds()
        time.sleep(SECONDS)
        return server.cpu_seconds() - before


def _database_mb(data_dir: Path) -> float:
    with fetchml(data_dir):
        pass  # It makes the database.
    files = DatabaseFiles.below(data_dir)
    empty = files.database.stat().st_size
    connection = connect_recovering(files, "1GiB")
    _fill(connection)
    connection.execute("FORCE CHECKPOINT fetchml")
    connection.close()
    return (files.database.stat().st_size - empty) / 1e6


def _fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Write samples as the server does, in the order of time. Tasks last two hours."""
    host = _Host()
    for name, moments, width in (
        ("hours", (HISTORY_MS - DETAIL_MS) // HOUR_MS, HOUR_MS),
        ("usage", DETAIL_MS // SAMPLE_MS, SAMPLE_MS),
    ):
        with (
            connection.appender(f"task_{name}") as tasks,
            connection.appender(f"gpu_{name}") as gpus,
        ):
            for moment in range(moments):
                at = START + moment * width
                tasks.append_rows([_row(*row, hours=name == "hours") for row in host.tasks(at)])
                gpus.append_rows([_row(*row, hours=name == "hours") for row in host.gpus(at)])


def _row(names: Row, values: Row, rest: Row, *, hours: bool) -> Row:
    if not hours:
        return (*names, *values, *rest)
    samples = (HOUR_MS // SAMPLE_MS, *(0.9 for _ in rest))
    return (*names, *samples, *(each for v in values for each in (round(int(v) * 0.97), v)))


class _Host:
    """What happens on a busy host: for each sample its names, its values, and what has no value."""

    def __init__(self) -> None:
        self._rng = random.Random(1)
        self._memory = [self._rng.randrange(16, 1 << 19) for _ in range(TASKS)]
        self._gpu_memory = [self._rng.randrange(81_920) for _ in range(GPUS)]

    def tasks(self, at: int) -> Iterator[tuple[Row, Row, Row]]:
        rng = self._rng
        for number in range(TASKS):
            task_id = f"{at // (2 * HOUR_MS):012x}-7000-8000-9000-{number:012x}"
            self._memory[number] = max(1, self._memory[number] + rng.randrange(-64, 65))
            cpu = rng.randrange(80, 100) * rng.choice((1, 1, 4))
            read = rng.randrange(100_000) if rng.random() < 0.3 else 0
            written = rng.randrange(5_000) if rng.random() < 0.3 else 0
            yield (at, task_id, 1), (cpu, self._memory[number], read, written), ()

    def gpus(self, at: int) -> Iterator[tuple[Row, Row, Row]]:
        rng = self._rng
        for number in range(GPUS):
            if rng.random() < 0.05:
                self._gpu_memory[number] = rng.randrange(81_920)
            uuid = f"GPU-8f1c22aa-1111-2222-3333-44445555000{number}"
            values = (rng.randrange(101), self._gpu_memory[number], 60 + rng.randrange(8), 450)
            yield (at, uuid), values, (True,)
