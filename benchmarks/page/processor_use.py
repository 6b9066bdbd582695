"""The processor time of a group of processes: recorded step by step, and spent again by others."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import pairwise

from benchmarks.processes import descendants, processor_seconds

STEP_SECONDS = 0.1
Use = list[list[float]]
"""Of each process: its processor time in seconds, step by step."""


@asynccontextmanager
async def recorded(name: str) -> AsyncIterator[Use]:
    """Record the processes below this one whose name begins so. The list is filled at the end."""
    use: Use = []
    samples = {pid: [seconds] for pid, seconds in _seconds(descendants(name)).items()}

    async def look() -> None:
        due = time.monotonic()
        while True:
            due += STEP_SECONDS
            await asyncio.sleep(due - time.monotonic())
            for pid, seconds in _seconds(samples).items():
                samples[pid].append(seconds)

    looking = asyncio.create_task(look())
    try:
        yield use
    finally:
        looking.cancel()
        use += [[after - before for before, after in pairwise(each)] for each in samples.values()]


def _seconds(pids: Iterator[int] | Sequence[int] | dict[int, list[float]]) -> dict[int, float]:
    found = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            found[pid] = processor_seconds(pid)
    return found


@contextmanager
def spent(use: Use, *, idle: bool) -> Iterator[None]:
    """A process that takes the recorded processor time at the same moments, a thread for each
    process, and does nothing else.

    idle: it runs only while no other process wants the processor (SCHED_IDLE).
    """
    command = [sys.executable, "-m", "benchmarks.spender"]
    if idle:
        command = ["nice", "-n", "19", "chrt", "--idle", "0", *command]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([STEP_SECONDS, use]).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()  # It has started.
        try:
            yield
        finally:
            process.kill()
