"""The content of `fetchml top`: the tasks in order, the columns that fit, the GPUs in brief."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.text import Text

from fetchml.cli.gpu_commands import STYLES, node_line, state_name
from fetchml.cli.ids import short
from fetchml.cli.render import clean
from fetchml.cli.tables import FittedTable, fitted, note, run_time, status_text, table
from fetchml.cli.task_lists import LatestTasks
from fetchml.client import GpuList, Task, ended

ENDED_SHOWN = 10
MOST_SHOWN = 500
"""Tasks in the table. More wait than anyone scrolls through; `fetchml ls` has them all."""
SPARE = ("PRIORITY", "USER", "RAN", "NOTE")
JOB_SHOWN = 16


class Board(LatestTasks):
    def __init__(self) -> None:
        super().__init__(ENDED_SHOWN)

    def counts(self) -> tuple[int, int]:
        """Return how many tasks run, and how many wait."""
        waiting = sum(task.status == Task.queued for task in self.by_id.values())
        over = sum(map(ended, self.by_id.values()))
        return len(self.by_id) - waiting - over, waiting

    def shown(self) -> list[Task]:
        """Return the tasks to show: those that run, those that wait, the next one first, and those
        that ended last."""
        tasks = self.by_id.values()
        running = [task for task in tasks if task.status != Task.queued and not ended(task)]
        waiting = [task for task in tasks if task.status == Task.queued]
        running.sort(key=lambda task: task.id)
        waiting.sort(key=lambda task: (not task.ahead, -task.priority, task.id))
        over = [task for task in reversed(tasks) if ended(task)]
        return [*[*running, *waiting][: MOST_SHOWN - len(over)], *over]


class Grid(NamedTuple):
    """Cells that fit a width."""

    headers: list[str]
    widths: list[int]
    rows: list[list[Text]]


def grid(tasks: Sequence[Task], width: int) -> Grid:
    """Return the table of tasks, with columns left out and cells cut as the width requires."""
    full = _table(tasks)
    columns, widths = fitted(full.columns, SPARE, width)
    cells = [
        [_cut(cell, size) for cell in c.cells] for c, size in zip(columns, widths, strict=True)
    ]
    rows = [list(row) for row in zip(*cells, strict=True)]
    return Grid([str(column.header) for column in columns], widths, rows)


def _table(tasks: Iterable[Task]) -> FittedTable:
    made = table("ID", "JOB", "STATUS", "PRIORITY", "USER", "RAN", "NOTE", spare=SPARE)
    for task in tasks:
        made.add_row(
            Text(short(task.id)),
            clean(task.job_name),
            status_text(task),
            Text(str(task.priority), justify="right"),
            clean(task.user_id),
            Text(run_time(task)),
            clean(note(task)),
        )
    return made


def _cut(cell: object, width: int) -> Text:
    text = cell.copy() if isinstance(cell, Text) else Text(str(cell))
    text.truncate(width, overflow="ellipsis")
    return text


def gpu_line(inventory: GpuList, board: Board) -> Text:
    """Return the GPUs, one after another; of a cluster, its nodes."""
    if inventory.nodes:
        return node_line(inventory)
    if not inventory.gpus:
        return clean(f"No GPUs: {inventory.problem or 'none found'}").append("")
    line = Text()
    for gpu in inventory.gpus:
        state = state_name(gpu)
        line.append(f"{gpu.number} ", "bold")
        line.append(state, STYLES.get(state, ""))
        if gpu.HasField("utilisation_percent"):
            line.append(f" {gpu.utilisation_percent} %")
        for task_id in gpu.task_ids:
            task = board.by_id.get(task_id)
            job = task.job_name if task is not None else short(task_id)
            holder = clean(job)
            holder.truncate(JOB_SHOWN, overflow="ellipsis")
            line.append(" ").append_text(holder)
        line.append("   ")
    line.rstrip()
    return line
