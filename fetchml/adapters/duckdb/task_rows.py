"""Tasks read from the store in two steps: first which, then their data, in portions that fit in
DuckDB's memory and in ours."""

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import msgspec

from fetchml.adapters.duckdb import sql
from fetchml.core.footprint import footprint
from fetchml.core.model import Task
from fetchml.pages import in_brief, row_bytes
from fetchml.ports.store import TaskQuery

AT_ONCE = 128
"""Tasks whose data one statement reads: by every reader at once they fit in the memory limit."""
PORTION_BYTES = 4 << 20
"""Data of tasks that are read at one time for a page."""

decode_task = msgspec.json.Decoder(Task).decode


def tasks_by(
    cursor: duckdb.DuckDBPyConnection,
    statement: str,
    parameters: Sequence[Any] = (),
    *,
    most_bytes: int | None = None,
) -> list[Task]:
    """Those whose rowids the statement gives, in its order, while nothing changes in between.
    `most_bytes`: the first of them that take no more memory than this."""
    return tasks_of(cursor, rowids_of(cursor, statement, parameters), most_bytes)


def rowids_of(
    cursor: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[Any]
) -> list[int]:
    return [rowid for (rowid,) in cursor.execute(statement, parameters).fetchall()]


def page_by(cursor: duckdb.DuckDBPyConnection, query: TaskQuery) -> tuple[list[Task], bool]:
    """The tasks of a page, and whether `most_bytes` has cut it. Of a brief page no more than
    PORTION_BYTES are here that are not in it."""
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
    """At most AT_ONCE rows each, and PORTION_BYTES of data where it is more than one."""
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
                taken += footprint(task.spec)
                if taken > most_bytes and tasks:
                    return tasks
            tasks.append(task)
    return tasks
