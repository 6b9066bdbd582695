"""Tables that fit the terminal: cells are cut, then columns left out, the least important first."""

import time
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from fetchml.cli.ids import short
from fetchml.cli.render import clean, duration, local_time
from fetchml.client import Task, status_name

NARROWEST = {
    "ACTION": 11,
    "ARGS": 12,
    "COMMIT": 12,
    "FROM": 9,
    "IMAGE": 12,
    "JOB": 8,
    "NAME": 8,
    "NOTE": 16,
    "PACKAGES OF": 16,
    "PROBLEM": 16,
    "TARGET": 12,
    "USER": 6,
    "WORKSPACE": 8,
}
"""The columns whose cells may be cut, and the width that leaves them useful."""
WRAPPED = frozenset({"NOTE", "PROBLEM"})
"""The columns whose text continues on further lines where it is longer than the column."""
GROW_LAST = frozenset({"ARGS", "NOTE", "PROBLEM", "TARGET"})
"""The columns that get the width that is left when all others are complete."""
ESSENTIAL = frozenset({"GPU", "ID", "STATE", "STATUS"})
"""Columns that are neither omitted nor cut."""
COLUMN_GAP = 2


class FittedTable(Table):
    """A table that adapts to the width of the terminal."""

    def __init__(self, spare: Sequence[str]) -> None:
        """`spare` lists the columns to leave out, the least important first."""
        super().__init__(box=None, pad_edge=False, header_style="bold")
        self.spare = spare

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown_columns, widths = fitted(self.columns, self.spare, options.max_width)
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for column, width in zip(shown_columns, widths, strict=True):
            shown.add_column(
                column.header,
                justify=column.justify,
                no_wrap=column.no_wrap,
                overflow=column.overflow,
                width=width,
            )
        for cells in zip(*(column.cells for column in shown_columns), strict=True):
            shown.add_row(*cells)
        yield shown


def table(
    *columns: str, spare: Sequence[str] = (), wrapped: Iterable[str] = WRAPPED
) -> FittedTable:
    """Return an empty table. A terminal that is too narrow leaves out `spare` columns, the first
    one first. `wrapped` columns continue on further lines; others are cut."""
    made = FittedTable(spare)
    for column in columns:
        essential = column in ESSENTIAL
        made.add_column(
            column,
            no_wrap=column not in wrapped and not essential,
            overflow="fold" if essential else "ellipsis",
        )
    return made


def fitted(
    columns: Sequence[Column], spare: Sequence[str], width: int
) -> tuple[list[Column], list[int]]:
    """Return the columns to show in a width, and their widths. Empty ones are left out first."""
    shown_columns = list(columns)
    empty = [_name(column) for column in columns if not any(map(str, column.cells))]
    dispensable = [*empty, *spare, *(_name(column) for column in reversed(columns))]
    for name in dispensable:
        if _total(map(_least, shown_columns)) <= width:
            break
        if name not in ESSENTIAL and name != _name(columns[0]):
            shown_columns = [column for column in shown_columns if _name(column) != name]
    widths = [_least(column) for column in shown_columns]
    left = width - _total(widths)
    for index in sorted(
        range(len(shown_columns)), key=lambda at: _name(shown_columns[at]) in GROW_LAST
    ):
        more = max(0, min(left, _wanted(shown_columns[index]) - widths[index]))
        widths[index] += more
        left -= more
    return shown_columns, widths


def _name(column: Column) -> str:
    return str(column.header)


def _wanted(column: Column) -> int:
    """Return the width of the column's longest cell, or of its header."""
    return max(cell_len(str(cell)) for cell in (column.header, *column.cells))


def _least(column: Column) -> int:
    return min(_wanted(column), NARROWEST.get(_name(column), 1 << 16))


def _total(widths: Iterable[int]) -> int:
    each = list(widths)
    return sum(each) + COLUMN_GAP * (len(each) - 1)


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
