"""A program that logs to ten runs without end while it submits tasks, and prints each batch and the
number of each change that was acknowledged.

`python -m tests.tracking.run_logger DATA_DIR FIRST`: every run begins with the batch FIRST, as a
client does that has no answer to it and sends it again.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, cast

from fetchml.adapters.duckdb import maintenance
from fetchml.adapters.duckdb.journal_writer import encode_task
from fetchml.auth.audit import Audit
from fetchml.core.model import Principal, Role
from fetchml.core.tracking import Point
from fetchml.engine.slow_reads import SlowReads
from fetchml.system.ids import IdSequence
from fetchml.tracking.tracking_service import Tracking
from tests.support.stores import numbered, open_store

RUNS = 10
POINTS = 20
TASKS = RUNS
"""In the place of a run's number."""
ANN = Principal("ann", Role.USER, "key")

# Folds and checkpoints all along, not only now and then.
maintenance.TICK_S = 0.02
maintenance.FOLD_S = 0.0
maintenance.BUSY_CHECKPOINT_BYTES = 300_000


def run_id(number: int) -> str:
    return f"{number:032x}"


def batch(number: int) -> list[Point]:
    """The points of a batch. Metric `late` goes back in time, and `still` has one step only."""
    steps = range(number * POINTS, (number + 1) * POINTS)
    return [
        *(Point("loss", step / 7, 1_000 + step, step) for step in steps),
        *(Point("late", float(step), 1_000, 1_000_000 - step) for step in steps),
        *(Point("still", float("nan"), 1_000 + step) for step in steps),
    ]


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


async def main(data_dir: Path, first: int) -> None:
    opened = await open_store(data_dir)
    nothing = cast("Any", None)
    tracking = await Tracking.load(
        opened.store,
        nothing,
        Audit(opened.store, clock_ms=milliseconds),
        SlowReads(),
        clock=milliseconds,
        ids=IdSequence(),
        private=False,
    )

    async def log(number: int) -> None:
        await tracking.create_run(ANN, "0", run_id=run_id(number))
        for each in range(first, sys.maxsize):
            params = {f"param-{each}": "a"} if each < 1_000 else {}
            await tracking.log(ANN, run_id(number), batch(each), params)
            print(number, each, flush=True)

    async def submit() -> None:
        for number in range(opened.last_seq, sys.maxsize):
            made = numbered(number)
            [change] = opened.number([made])
            await opened.store.append([change], encoded=[encode_task(made)])
            print(TASKS, change.seq, flush=True)

    await asyncio.gather(submit(), *map(log, range(RUNS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
