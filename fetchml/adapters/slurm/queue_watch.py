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
from fetchml.adapters.slurm.transport import SlurmAway
from fetchml.system.background import BackgroundWork

PAUSE_SECONDS = 30.0
"""Interval of the readings."""
FIRST_SECONDS = 2.0
"""Interval after a question about a job that the last reading did not have."""
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
        """`read`: returns pending jobs; raises SlurmAway. `answers`: set while Slurm answers."""
        self._read = read
        self._answers = answers
        self._first_seconds = first_seconds
        self._positions: Mapping[JobId, int] = {}
        self._asked = asyncio.Event()
        """Set if a position was asked for since the last reading."""
        self._missed = asyncio.Event()
        """Set if a job was asked for that the last reading did not have."""
        self._background = BackgroundWork()

    async def open(self) -> None:
        self._background.start(self._repeat())

    async def close(self) -> None:
        await self._background.cancel()

    def position(self, job: Job) -> int | None:
        """Return the position of a job, from 1; `None` if it has none, or none was read yet."""
        if not job.is_pending or job.reason in NOT_QUEUED:
            return None  # No reading has it, so none is made for it.
        self._asked.set()
        position = self._positions.get(job.id)
        if position is None:
            self._missed.set()
        return position

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
                log.info("Slurm did not report its queue: %s", error)
            except Exception:
                log.exception("invalid reply of Slurm about its queue")
            took = time.monotonic() - began
            await asyncio.sleep(max(self._first_seconds, SHARE * took))
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS - self._first_seconds):
                    await self._missed.wait()


def positions(pending: Iterable[PendingJob]) -> dict[JobId, int]:
    """Return the position of each job in the partition where it comes first. Held jobs do not
    count."""
    queues = defaultdict[str, list[PendingJob]](list)
    for job in pending:
        if job.priority > 0:
            for partition in job.partitions:
                queues[partition].append(job)
    best: dict[JobId, int] = {}
    for queue in queues.values():
        queue.sort(key=_order)
        for position, job in enumerate(queue, 1):
            best[job.id] = min(position, best.get(job.id, position))
    return best


def _order(job: PendingJob) -> tuple[int, int, int]:
    number, index = job.id if isinstance(job.id, ArrayTask) else (job.id, 0)
    return -job.priority, number, index
