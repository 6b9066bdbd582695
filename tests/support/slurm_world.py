"""A controller in memory, and a follower of its jobs."""

import asyncio
from collections.abc import Callable

from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.job import Job, Submission
from fetchml.adapters.slurm.transport import SlurmAway
from fetchml.ports.cluster import Node

PENDING = ("PENDING",)


class Stand:
    """A transport whose controller has exactly these jobs."""

    hold: asyncio.Event | None = None
    """`job` waits for it, and answers with what it saw before."""
    on_look: Callable[[int], None] | None = None
    """Called with each id that is asked for."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.away: str | None = None
        self.with_names = False
        self.polls = 0
        self.looks = 0
        self.cancelled: list[int] = []

    async def open(self) -> str:
        self._require()
        return "24.11.5"

    async def states(self) -> dict[int, Job]:
        self._require()
        self.polls += 1
        if self.with_names:
            return dict(self.jobs)
        return {number: Job(number, job.state) for number, job in self.jobs.items()}

    async def job(self, job_id: int) -> Job | None:
        self._require()
        self.looks += 1
        if self.on_look is not None:
            self.on_look(job_id)
        found = self.jobs.get(job_id)
        if self.hold is not None:
            await self.hold.wait()
        return found

    async def submit(self, job: Submission) -> int:
        raise NotImplementedError

    async def named(self, prefix: str) -> list[Job]:
        self._require()
        return [job for job in self.jobs.values() if (job.name or "").startswith(prefix)]

    async def cancel(self, job_id: int) -> None:
        self._require()
        self.cancelled.append(job_id)

    async def terminate(self, job_id: int) -> None:
        raise NotImplementedError

    async def warn(self, job_id: int) -> None:
        raise NotImplementedError

    async def time_limit(self, job_id: int) -> int | None:
        raise NotImplementedError

    async def change_time_limit(self, job_id: int, minutes: int | None) -> None:
        raise NotImplementedError

    async def nodes(self) -> list[Node]:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def _require(self) -> None:
        if self.away is not None:
            raise SlurmAway(self.away)


class World:
    def __init__(self) -> None:
        self.stand = Stand()
        self.reports: list[str] = []
        self.follower = Follower(
            self.stand,
            seen=lambda: self.reports.append("seen"),
            away=self.reports.append,
            poll_seconds=0.01,
        )

    def submit(self, number: int, name: str) -> Followed:
        job = Job(number, PENDING, name)
        self.stand.jobs[number] = job
        followed = self.follower.follow(name)
        self.follower.submitted(followed, job)
        return followed
