"""The process that replays a period: `python -m fetchml.history.whatif_process`.

It gets a `Question` as one line of JSON on stdin, and reads the files of
`HistoryStore.export_period` in its working directory. Its answer is one line on stdout: a `WhatIf`,
or an object with an `error` for the user.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec

from fetchml.core.model import Task
from fetchml.core.whatif.whatif import Question, TooManyTasks, what_if
from fetchml.history.query_process import confine
from fetchml.ports.history_store import BEFORE, CHANGES

SECONDS = 180
"""Longest time of a replay."""
MEMORY_MB = 2048
ROWS_AT_ONCE = 1_000
TOO_MUCH_MEMORY = f"the period needs more than {MEMORY_MB} MiB of memory: choose a shorter one"

_task = msgspec.json.Decoder(Task).decode


def main() -> None:
    confine(MEMORY_MB << 20, SECONDS)
    answer: object
    try:
        question = msgspec.json.decode(sys.stdin.readline(), type=Question)
        before = [_task(data) for (data,) in _rows(BEFORE, "data")]
        changes = _rows(CHANGES, "seq, at_ms, data")
        answer = what_if(question, before, ((seq, at, _task(data)) for seq, at, data in changes))
    except TooManyTasks as error:
        answer = {"error": str(error)}
    except (MemoryError, duckdb.OutOfMemoryException):
        answer = {"error": TOO_MUCH_MEMORY}
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.flush()
    os._exit(0)  # As the process of a query does.


def _rows(name: str, columns: str) -> Iterator[Any]:
    with duckdb.connect(config={"threads": 1, "memory_limit": "512MiB"}) as connection:
        rows = connection.execute(f"SELECT {columns} FROM read_parquet('{name}')")  # noqa: S608
        while some := rows.fetchmany(ROWS_AT_ONCE):
            yield from some


if __name__ == "__main__":
    main()
