"""Comparison of an experiment's tasks."""

import shlex
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import click
from rich.table import Table
from rich.text import Text

from fetchml.cli.render import clean
from fetchml.cli.tables import table
from fetchml.cli.task_table import note, run_time, status_text
from fetchml.client import Client, NotFound, Task, ended, to_json
from fetchml.core.metrics import MAX_METRICS_BYTES, METRICS_FILE, metrics_in
from fetchml.core.requests import shell_words

CALLS_AT_ONCE = 8


class Row(NamedTuple):
    task: Task
    outputs: int
    """Number of files."""
    metrics: dict[str, float]


def compared(client: Client, tasks: Iterable[Task]) -> list[Row]:
    """Return a row for each task, in their order, without those deleted meanwhile."""
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        rows = pool.map(lambda task: _row(client, task), tasks)
        return [row for row in rows if row is not None]


def _row(client: Client, task: Task) -> Row | None:
    if not ended(task):
        return Row(task, 0, {})
    try:
        sizes = {output.path: output.size_bytes for output in client.outputs(task.id)}
        metrics = dict[str, float]()
        if sizes.get(METRICS_FILE, MAX_METRICS_BYTES + 1) <= MAX_METRICS_BYTES:
            metrics = metrics_in(b"".join(client.read_output(task.id, METRICS_FILE)))
        return Row(task, len(sizes), metrics)
    except NotFound:
        return None


def sort_rows(rows: Sequence[Row], metric: str, *, descending: bool) -> list[Row]:
    """Sort rows by a metric; those without it come last. Raises UsageError if no task has it."""
    having = [row for row in rows if metric in row.metrics]
    if not having:
        known = ", ".join(metric_names(rows)) or "none"
        raise click.UsageError(f"No task has the metric {metric!r}. Known metrics: {known}")
    having.sort(key=lambda row: row.metrics[metric], reverse=descending)
    return having + [row for row in rows if metric not in row.metrics]


def metric_names(rows: Iterable[Row]) -> list[str]:
    """Return the names in all rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def arguments(tasks: Sequence[Task]) -> list[str]:
    """Return each task's command line without the program and script that all share."""
    lines = [[*task.command, *shell_words.split(task.args)] for task in tasks]
    shared = 0
    if len(lines) > 1:
        for words in zip(*lines, strict=False):
            if len(set(words)) > 1 or words[0].startswith("-"):
                break
            shared += 1
    return [shlex.join(line[shared:]) for line in lines]


def comparison_table(rows: Sequence[Row]) -> Table:
    names = metric_names(rows)
    made = table("ID", "ARGS", "STATUS", "RAN", spare=("OUTPUTS", "RAN", "NOTE"))
    for name in names:
        made.add_column(clean(name), justify="right", no_wrap=True)
    made.add_column("OUTPUTS", justify="right")
    made.add_column("NOTE")
    for row, line in zip(rows, arguments([row.task for row in rows]), strict=True):
        made.add_row(
            row.task.id,
            clean(line),
            status_text(row.task),
            run_time(row.task),
            *(_number(row.metrics.get(name)) for name in names),
            str(row.outputs) if ended(row.task) else "",
            clean(note(row.task)),
        )
    return made


def _number(value: float | None) -> Text:
    if value is None:
        return Text("")
    return Text(str(value) if type(value) is int else f"{value:.6g}")


def row_json(row: Row) -> dict[str, Any]:
    shown = to_json(row.task)
    task = row.task
    if task.HasField("started_at") and task.HasField("ended_at"):
        ms = task.ended_at.ToMilliseconds() - task.started_at.ToMilliseconds()
        shown["duration_seconds"] = ms / 1000
    return {**shown, "metrics": row.metrics, "outputs": row.outputs}
