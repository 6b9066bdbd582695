"""A program that appends without end and prints the highest number that was acknowledged.

`python -m tests.adapters.duckdb.appender DATA_DIR [CHARACTERS MEMORY_LIMIT]`: each task is so long.
A fatal error of the store ends it with status 3.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fetchml.adapters.duckdb import maintenance
from fetchml.core.model import Status
from tests.support.stores import numbered, open_store

# Folds, prunes and checkpoints all along, not only now and then.
maintenance.TICK_S = 0.02
maintenance.FOLD_ROWS = 100
maintenance.PRUNE_ROWS = 20
maintenance.TAIL_CHARACTERS = 16 << 20
maintenance.BUSY_CHECKPOINT_BYTES = 300_000

BURST = 16


async def main(data_dir: Path, characters: str = "0", memory_limit: str = "1GB") -> None:
    opened = await open_store(data_dir, journal_rows=1_000_000, memory_limit=memory_limit)
    spec = replace(numbered(0).spec, args="a" * int(characters))
    failed = asyncio.ensure_future(opened.failed.wait())
    while not opened.failures:
        first = opened.last_seq
        futures = [
            opened.append(numbered((first + i) // 3, list(Status)[(first + i) % 3], spec=spec))
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
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
