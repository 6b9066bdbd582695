"""A program that appends without end and prints the highest number that was acknowledged.

`python -m tests.store.appender DATA_DIR`. A fatal error of the store ends it with status 3.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from fetchml.adapters import duckdb_upkeep
from fetchml.core.model import Status
from tests.store.sample import open_store, task

# Folds, prunes and checkpoints all along, not only now and then.
duckdb_upkeep.TICK_S = 0.02
duckdb_upkeep.FOLD_ROWS = 100
duckdb_upkeep.PRUNE_ROWS = 20
duckdb_upkeep.BUSY_CHECKPOINT_BYTES = 300_000

BURST = 16


async def main(data_dir: Path) -> None:
    opened = await open_store(data_dir, journal_rows=1_000_000)
    failed = asyncio.ensure_future(opened.failed.wait())
    while not opened.failures:
        first = opened.last_seq
        futures = [
            opened.append(task((first + i) // 3, list(Status)[(first + i) % 3]))
            for i in range(BURST)
        ]
        durable = asyncio.gather(*futures)
        either: list[asyncio.Future[Any]] = [durable, failed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if durable.done():
            print(opened.last_seq, flush=True)
    print("fatal", *opened.failures, flush=True)
    os._exit(3)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
