"""A sweep of 10,000 tasks: until it is durable, and as a row of a list.

The floor of the first figure is DuckDB alone: it appends the rows that the server wrote for such a
sweep, in one commit. That of the second is the row of a sweep with one task.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.client import Client
from benchmarks.figures import Benchmark, Figure, median
from benchmarks.processes import NO_QUOTAS, fetchml, scratch_folder
from fetchml.adapters.duckdb.database import open_database
from fetchml.adapters.duckdb.recovery import DatabaseFiles

TASKS = 10_000
ROUNDS = 5
LISTS = 40
"""In each round."""
TARGET_CREATE_SECONDS = 2.0
TARGET_LIST_MS = 50.0
MEMORY = "1GiB"
TASK = {"job_name": "bench", "command": ["python", "train.py"], "args": "--seed {seed}"}
ROWS = "FROM journal ORDER BY seq"

Row = tuple[int, int, str, str]


def run() -> Benchmark:
    create, floor, long_row, short_row = [], [], [], []
    with scratch_folder() as folder:
        rows = _rows(folder / "sample")
        for number in range(ROUNDS):
            floor.append(_append(rows, folder / f"floor{number}"))
            # Each in an empty server, where nothing is folded yet.
            with _client(folder / f"data{number}") as client:
                _create(client, 1)
                short_row.append(_list_ms(client, 1))
                create.append(_create(client, TASKS))
                long_row.append(_list_ms(client, TASKS))
    ours, bare = median(create), median(floor)
    ratio = median([mine / its for mine, its in zip(create, floor, strict=True)])
    yield Figure(
        f"sweeps: {TASKS:,} tasks, until the reply",
        "DuckDB appends the same rows in one commit",
        f"{ours:.2f} s ({min(create):.2f} to {max(create):.2f}), {ratio:.1f} times {bare:.2f} s",
        f"≤ {TARGET_CREATE_SECONDS:g} s",
        ours <= TARGET_CREATE_SECONDS,
    )
    listed = median(long_row)
    yield Figure(
        f"sweeps: a list that shows {TASKS:,} tasks as a row",
        "a list that shows a sweep of one task",
        f"{listed:.2f} ms (slowest round {max(long_row):.2f}) against {median(short_row):.2f} ms",
        f"≤ {TARGET_LIST_MS:g} ms",
        listed <= TARGET_LIST_MS,
    )


@contextmanager
def _client(data_dir: Path) -> Iterator[Client]:
    """Of a server that launches nothing: it has no engine."""
    settings = {"launcher": "docker", "docker_host": "unix:///nonexistent"}
    with fetchml(data_dir, **settings, **NO_QUOTAS) as server, Client(server.http) as client:
        yield client


def _create(client: Client, tasks: int) -> float:
    """Return the seconds until the reply."""
    body: dict[str, object] = {"name": "bench", "task": TASK}
    body["parameters"] = {"seed": {"range": [1, tasks]}}
    return client.seconds("POST", "/v1/sweeps", body)


def _list_ms(client: Client, tasks: int) -> float:
    """Return the slowest of the lists whose only row is the newest sweep."""
    [row] = client.ask("GET", "/v1/sweeps?limit=1")["sweeps"]
    assert (row["total"], row["counts"]["queued"]) == (tasks, tasks), row
    return max(client.seconds("GET", "/v1/sweeps?limit=1") for _ in range(LISTS)) * 1000


def _rows(data_dir: Path) -> list[Row]:
    """Return the journal's rows of a sweep that the server created."""
    with _client(data_dir) as client:
        _create(client, TASKS)
    with closing(open_database(DatabaseFiles.below(data_dir), memory_limit=MEMORY)) as database:
        rows: list[Row] = database.cursor().execute(ROWS).fetchall()
    assert len(rows) == TASKS, len(rows)
    return rows


def _append(rows: list[Row], data_dir: Path) -> float:
    """Return the seconds until the rows are durable in a new database."""
    data_dir.mkdir()
    with (
        closing(open_database(DatabaseFiles.below(data_dir), memory_limit=MEMORY)) as database,
        database.cursor().appender("journal") as journal,
    ):
        began = perf_counter()
        journal.append_rows(rows)
        journal.flush()
        return perf_counter() - began
