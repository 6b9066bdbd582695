"""Slurm's controller, as its transports present it."""

from enum import StrEnum
from typing import Protocol

from fetchml.adapters.slurm.job import Job, JobId, PendingJob, Submission, of_user
from fetchml.ports.cluster import Node

CALL_SECONDS = 20.0
"""Limit of one request: slurmrestd itself waits up to 18 s for a controller that is away."""


class Signal(StrEnum):
    """The signals that a job's shim handles, by their names or numbers in Slurm."""

    TERMINATE = "TERM"
    WARN = "USR1"
    WAKE = "28"
    """SIGWINCH, which ends no program: the shim then reads a request of the server."""


class SlurmAway(Exception):
    """No reply, so the request may or may not have been carried out. The message is for the
    server's owner."""


class AccountAway(SlurmAway):
    """The same of a request as the account of a user: the server may still reach Slurm as its own
    account. The message is for the user too."""

    def __init__(self, user: str, why: str) -> None:
        super().__init__(f"Slurm cannot be asked as {user}: {why}")


def away(user: str, why: str) -> SlurmAway:
    """Return the error of a request without an answer. `user`: as whom it was made; empty for the
    server's own account."""
    return AccountAway(user, why) if user else SlurmAway(why)


class Refused(Exception):
    """Slurm refused a request, and nothing came of it. The message is Slurm's."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent
        """The same request will be refused again."""


class TryAgain(Exception):
    """The job is between two states; the same request will be accepted in a moment."""


class SlurmTransport(Protocol):
    """Every method raises SlurmAway.

    `user` is the account as whom a request is made: empty for the server's own. A job that the
    server's account does not see (PrivateData) is looked for as `user`.
    """

    hidden: set[str]
    """Accounts whose jobs were found to be hidden from the server's own."""

    async def open(self) -> str:
        """Connect; return the version of Slurm. May be repeated."""

    @property
    def has_arrays(self) -> bool:
        """Whether tasks of arrays can be followed one by one."""

    async def submit(self, job: Submission) -> int:
        """Submit as the job's user; return the id of the job, or of the array. Raises Refused."""

    async def states(self) -> dict[JobId, Job]:
        """Return all jobs that may be this server's, by id. Cheap, so that it can be repeated."""

    async def job(self, job_id: JobId, user: str = "") -> Job | None:
        """Return everything about a job; `None` if there is none with this id."""

    async def named(self, prefix: str, user: str = "") -> list[Job]:
        """Return the jobs whose names begin with `prefix`, those that are over too: all, or those
        of `user`."""

    async def cancel(self, job_id: JobId, user: str = "") -> None:
        """End a job: SIGTERM to all of its processes, after KillWait SIGKILL. Does nothing if there
        is none."""

    async def signal(self, job_id: JobId, signal: Signal, user: str = "") -> None:
        """Send a signal to the job's first process only, which is the shim. Raises TryAgain."""

    async def time_limit(self, job_id: JobId, user: str = "") -> int | None:
        """Return a running job's time limit in whole minutes; `None` if it has none. Raises
        Refused if there is no such job."""

    async def change_time_limit(self, job_id: JobId, minutes: int | None) -> None:
        """Give a running job another time limit, from its start on; `None`: none. Raises
        Refused."""

    async def queue(self) -> list[PendingJob]:
        """Return the jobs of all users that wait for their turn; none if they are too many to ask
        for. Takes some time."""

    async def nodes(self) -> list[Node]:
        """Return the nodes of the cluster."""

    async def close(self) -> None:
        """Disconnect."""


class JobLookup:
    """Requests for jobs, as the server's account and then, if it does not see them, as a user's."""

    def __init__(self) -> None:
        self.hidden: set[str] = set()
        """See `SlurmTransport`."""

    async def job(self, job_id: JobId, user: str = "") -> Job | None:
        if (job := await self._job(job_id, "")) is not None or not user:
            return job
        if (job := await self._job(job_id, user)) is not None:
            self.hidden.add(user)
        return job

    async def named(self, prefix: str, user: str = "") -> list[Job]:
        jobs = of_user(await self._named(prefix, ""), user)
        if jobs or not user:
            return jobs
        if jobs := of_user(await self._named(prefix, user), user):
            self.hidden.add(user)
        return jobs

    async def _job(self, job_id: JobId, user: str) -> Job | None:
        """Return a job as `user` sees it."""
        raise NotImplementedError

    async def _named(self, prefix: str, user: str) -> list[Job]:
        """Return the jobs whose names begin so, as `user` sees them."""
        raise NotImplementedError


AWAY_CODES = range(1000, 2000)
"""Errors of communication and authentication: the request may have been carried out."""
_PERMANENT = (
    "invalid",
    "node configuration is not available",
    "more processors requested than permitted",
    "requests more processors than permitted",
    "memory required by task is not available",
    "not permitted",
    "access/permission denied",
)
"""Slurm's messages about what the cluster does not have or the user may never use."""


FULL = "temporarily unable to accept job"
"""sbatch prints this and repeats the submit by itself, for minutes."""
_FULL = (FULL, "resource temporarily unavailable")
_LIMIT_REACHED = "Slurm's limit of jobs (MaxJobCount) is reached"


def plain(words: str) -> str:
    """Return Slurm's message, or a clearer one for users."""
    return _LIMIT_REACHED if any(each in words.lower() for each in _FULL) else words


def is_permanent(words: str) -> bool:
    """Whether Slurm will always refuse the same job. Everything else, such as a full queue, a limit
    or a partition that is down, may pass: such a task waits, with Slurm's message as its reason."""
    lowered = words.lower()
    return any(each in lowered for each in _PERMANENT)


def is_away(words: str) -> bool:
    """Whether a message of a command means that the controller was not reached."""
    lowered = words.lower()
    return any(
        each in lowered
        for each in (
            "unable to contact",
            "socket timed out",
            "communication",
            "connection",
            "zero bytes were transmitted",
            "authentication",
            "credential",
            "backup controller",
            "slurm_conf",
            "unable to establish",
            "unable to process configuration",
        )
    )
