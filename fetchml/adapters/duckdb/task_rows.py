"""Reads tasks in two steps, first their row ids and then their data, in portions that fit in
memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import msgspec

from fetchml.adapters.duckdb import sql
from fetchml.core.footprint import spec_footprint
from fetchml.core.model import Task
from fetchml.pages import in_brief, row_bytes
from fetchml.ports.store import TaskQuery

AT_ONCE = 128
"""Tasks whose data one statement reads. All readers together stay within the memory limit."""
PORTION_BYTES = 4 << 20
"""Maximum data read at a time for a page."""

decode_task = msgspec.json.Decoder(Task).decode


def task_by(
    cursor: duckdb.DuckDBPyConnection, task_id: str, owner: str | None, folded: int | None
) -> Task | None:
    """Return a task; see `Store.get`. `folded`: last change in the table `tasks`; `None` if it has
    all."""
    in_tail, in_tasks, of = sql.GET_FROM_TAIL, sql.GET, list[str]()
    if owner is not None:
        in_tail, in_tasks, of = sql.GET_OWN_FROM_TAIL, sql.GET_OWN, [owner]
    # Always fetch everything: a result that is half read keeps its transaction open, and a
    # checkpoint waits for that.
    rows = list[tuple[str | None]]()
    if folded is not None:
        rows = cursor.execute(in_tail, [folded, task_id, *of]).fetchall()
    if not rows or rows[0][0] is None:
        rows = cursor.execute(in_tasks, [task_id, *of]).fetchall()
    return decode_task(rows[0][0]) if rows and rows[0][0] is not None else None


def tasks_by(
    cursor: duckdb.DuckDBPyConnection,
    statement: str,
    parameters: Sequence[Any] = (),
    *,
    most_bytes: int | None = None,
) -> list[Task]:
    """Return the tasks whose row ids a statement returns, in its order. In one transaction.

    `most_bytes`: only the first tasks that together take no more memory than this.
    """
    return tasks_of(cursor, rowids_of(cursor, statement, parameters), most_bytes)


def rowids_of(
    cursor: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[Any]
) -> list[int]:
    return [rowid for (rowid,) in cursor.execute(statement, parameters).fetchall()]


def page_by(cursor: duckdb.DuckDBPyConnection, query: TaskQuery) -> tuple[list[Task], bool]:
    """Return the tasks of a page, and whether `most_bytes` has cut it. For a brief page at most
    PORTION_BYTES are in memory beside it."""
    rowids = rowids_of(cursor, *sql.page_of_tasks(query))
    tasks = list[Task]()
    taken = 0
    for portion in _portions(cursor, rowids):
        for task in tasks_of(cursor, portion):
            if query.most_bytes is not None:
                taken += row_bytes(task, brief=query.brief)
                if taken > query.most_bytes and tasks:
                    return tasks, True
            tasks.append(in_brief(task) if query.brief else task)
    return tasks, False


def _portions(cursor: duckdb.DuckDBPyConnection, rowids: list[int]) -> Iterator[list[int]]:
    """Split rows into portions of at most AT_ONCE rows, and PORTION_BYTES if more than one row."""
    for first in range(0, len(rowids), AT_ONCE):
        some = rowids[first : first + AT_ONCE]
        sizes = dict(cursor.execute(sql.SIZES_OF_ROWS, [some]).fetchall())
        portion, taken = list[int](), 0
        for rowid in some:
            if portion and taken + sizes[rowid] > PORTION_BYTES:
                yield portion
                portion, taken = [], 0
            portion.append(rowid)
            taken += sizes[rowid]
        yield portion


def tasks_of(
    cursor: duckdb.DuckDBPyConnection, rowids: list[int], most_bytes: int | None = None
) -> list[Task]:
    tasks = list[Task]()
    taken = 0
    for first in range(0, len(rowids), AT_ONCE):
        portion = rowids[first : first + AT_ONCE]
        data = dict(cursor.execute(sql.DATA_OF_ROWS, [portion]).fetchall())
        for rowid in portion:
            task = decode_task(data[rowid])
            if most_bytes is not None:
                taken += spec_footprint(task.spec)
                if taken > most_bytes and tasks:
                    return tasks
            tasks.append(task)
    return tasks
