"""A controller in memory, and a follower of its jobs."""

import asyncio
from collections.abc import Callable

from fetchml.adapters.slurm.follower import Followed, Follower
from fetchml.adapters.slurm.job import (
    ArrayTask,
    Job,
    JobId,
    PendingJob,
    Submission,
    number_of,
    of_user,
    task_name,
)
from fetchml.adapters.slurm.transport import AccountAway, Signal, SlurmAway
from fetchml.ports.cluster import Node

PENDING = ("PENDING",)


class Stand:
    """A transport whose controller has exactly these jobs."""

    hold: asyncio.Event | None = None
    """`job` waits for it, and answers with what it saw before."""
    on_submit: Callable[[Submission], None] | None = None
    """Called with each job before it is accepted; may raise Refused."""
    hold_submits: asyncio.Event | None = None
    """Submits wait for it."""
    ends_at_signal = 0
    """How many SIGTERMs a job needs to end; 0: it heeds none."""
    loses_answers = False
    """The jobs of submits come into being, but nobody learns of it."""
    on_look: Callable[[JobId], None] | None = None
    """Called with each id that is asked for."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, Job] = {}
        self.away: str | None = None
        self.with_names = False
        self.polls = 0
        self.looks = 0
        self.cancelled: list[JobId] = []
        self.hidden: set[str] = set()
        self.accounts_away: set[str] = set()
        """Accounts as whom nothing can be asked."""
        self.signals: list[JobId] = []
        """The jobs that were sent SIGTERM."""

    async def open(self) -> str:
        self._require()
        return "24.11.5"

    has_arrays = True

    async def states(self) -> dict[JobId, Job]:
        self._require()
        self.polls += 1
        if self.with_names:
            return dict(self.jobs)
        return {number: Job(number, job.state) for number, job in self.jobs.items()}

    async def job(self, job_id: JobId, user: str = "") -> Job | None:
        self._require()
        if user in self.accounts_away:
            raise AccountAway(user, "its token is rejected")
        self.looks += 1
        if self.on_look is not None:
            self.on_look(job_id)
        found = self.jobs.get(job_id)
        if self.hold is not None:
            await self.hold.wait()
        return found

    async def submit(self, job: Submission) -> int:
        self._require()
        if job.user in self.accounts_away:
            raise AccountAway(job.user, "its token is rejected")
        if self.on_submit is not None:
            self.on_submit(job)
        if self.hold_submits is not None:
            await self.hold_submits.wait()
        number = 1 + max((number_of(each) for each in self.jobs), default=0)
        indexes = [int(word) for word in job.indexes.split(",") if word]
        for index in indexes:
            task = ArrayTask(number, index)
            self.jobs[task] = Job(task, PENDING, task_name(job.name, index))
        if not indexes:
            self.jobs[number] = Job(number, PENDING, job.name, user=job.user)
        if self.loses_answers:
            raise SlurmAway("the answer is lost")
        return number

    async def named(self, prefix: str, user: str = "") -> list[Job]:
        self._require()
        if user in self.accounts_away:
            raise AccountAway(user, "its token is rejected")
        return [job for job in of_user(self.jobs.values(), user) if job.begins_with(prefix)]

    async def cancel(self, job_id: JobId, user: str = "") -> None:
        self._require()
        self.cancelled.append(job_id)

    async def signal(self, job_id: JobId, signal: Signal, user: str = "") -> None:
        assert signal is Signal.TERMINATE
        self.signals.append(job_id)
        if len(self.signals) == self.ends_at_signal:
            self.jobs[job_id] = Job(job_id, ("FAILED",), self.jobs[job_id].name)

    async def time_limit(self, job_id: JobId, user: str = "") -> int | None:
        raise NotImplementedError

    async def change_time_limit(self, job_id: JobId, minutes: int | None) -> None:
        raise NotImplementedError

    async def queue(self) -> list[PendingJob]:
        raise NotImplementedError

    async def nodes(self) -> list[Node]:
        raise NotImplementedError

    async def close(self) -> None:
        pass

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

    def submit(self, number: JobId, name: str) -> Followed:
        job = Job(number, PENDING, name)
        self.stand.jobs[number] = job
        followed = self.follower.follow(name)
        self.follower.submitted(followed, job)
        return followed
