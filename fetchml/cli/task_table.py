"""The table of tasks: what a line shows, and what is left out first on a narrow terminal."""

import time
from collections.abc import Iterable

from rich.text import Text

from fetchml.cli.render import clean, duration, local_time
from fetchml.cli.tables import FittedTable, table
from fetchml.cli.task_ids import short
from fetchml.client import Task, status_name

STYLES = {
    "queued": "yellow",
    "preparing": "cyan",
    "running": "blue",
    "collecting": "cyan",
    "completed": "green",
    "failed": "red",
}


def task_table(tasks: Iterable[Task], *, short_ids: bool = False) -> FittedTable:
    """Return a table with one line for each task."""
    made = table(
        *("ID", "JOB", "STATUS", "PRIORITY", "USER", "SUBMITTED", "RAN", "NOTE"),
        spare=("PRIORITY", "SUBMITTED", "USER", "RAN", "NOTE"),
        wrapped=(),
    )
    for task in tasks:
        made.add_row(
            short(task.id) if short_ids else task.id,
            clean(task.job_name),
            status_text(task),
            str(task.priority),
            clean(task.user_id),
            local_time(task.created_at),
            run_time(task),
            clean(note(task)),
        )
    return made


def status_text(task: Task) -> Text:
    name = status_name(task)
    return Text(name, STYLES.get(name, ""))


def run_time(task: Task) -> str:
    """Return how long a task ran or has been running; empty before it starts."""
    if not task.HasField("started_at"):
        return ""
    end = task.ended_at.ToMilliseconds() / 1000 if task.HasField("ended_at") else time.time()
    return duration(end - task.started_at.ToMilliseconds() / 1000)


def note(task: Task) -> str:
    """Return the details of a task's status: prestaged, idle, its progress, or its error."""
    if task.ahead:
        return f"prestaged: {task.progress}" if task.progress else "prestaged"
    if task.HasField("idle_since"):
        return f"GPU idle for {duration(time.time() - task.idle_since.ToMilliseconds() / 1000)}"
    return str(task.error or task.progress)
