"""Positions of jobs in Slurm's queue: by priority, and of equal ones by age, in each partition.

The whole queue is read for that: rarely, only while jobs of this server wait for their turn, and
less often if that takes long.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

from fetchml.adapters.slurm.job import NOT_QUEUED, ArrayTask, Job, JobId, PendingJob
from fetchml.adapters.slurm.transports.transport import SlurmAway

PAUSE_SECONDS = 30.0
"""Between two readings."""
FIRST_SECONDS = 2.0
"""The same if a job is asked for that the last reading did not have."""
SHARE = 100
"""A reading that takes long is repeated after this many times as long."""

log = logging.getLogger(__name__)


class QueueWatch:
    """Used from one event loop."""

    def __init__(
        self,
        read: Callable[[], Awaitable[list[PendingJob]]],
        *,
        answers: asyncio.Event,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        """`read`: asks Slurm for all jobs that wait; raises SlurmAway. `answers`: set while Slurm
        answers."""
        self._read = read
        self._answers = answers
        self._first_seconds = first_seconds
        self._positions: Mapping[JobId, int] = {}
        self._asked = asyncio.Event()
        """Set if somebody has asked since the last reading."""
        self._missed = asyncio.Event()
        """Set if a job was asked for that the last reading did not have."""
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._reading = asyncio.create_task(self._repeat())

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def position(self, job: Job) -> int | None:
        """Return the position of a job, from 1; `None` if it does not wait for its turn, or the
        position is not known (yet)."""
        if not job.is_pending or job.reason in NOT_QUEUED:
            return None  # No reading has it, so none is made for it.
        self._asked.set()
        found = self._positions.get(job.id)
        if found is None:
            self._missed.set()
        return found

    async def _repeat(self) -> None:
        while True:
            await self._asked.wait()
            await self._answers.wait()
            self._asked.clear()
            self._missed.clear()
            began = time.monotonic()
            try:
                self._positions = await asyncio.to_thread(positions, await self._read())
            except SlurmAway as error:
                log.info("Slurm's queue is not known: %s", error)
            except Exception:
                log.exception("Slurm's reply about its queue can't be used")
            took = time.monotonic() - began
            await asyncio.sleep(max(self._first_seconds, SHARE * took))
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS - self._first_seconds):
                    await self._missed.wait()


def positions(pending: Iterable[PendingJob]) -> dict[JobId, int]:
    """Return the position of each job in the partition where it comes first. Jobs that may not
    start now take no place."""
    queues = defaultdict[str, list[PendingJob]](list)
    for job in pending:
        if job.priority > 0:
            for partition in job.partitions:
                queues[partition].append(job)
    found: dict[JobId, int] = {}
    for queue in queues.values():
        queue.sort(key=_order)
        for place, job in enumerate(queue, 1):
            found[job.id] = min(place, found.get(job.id, place))
    return found


def _order(job: PendingJob) -> tuple[int, int, int]:
    number, index = job.id if isinstance(job.id, ArrayTask) else (job.id, 0)
    return -job.priority, number, index
