"""What the end of a Slurm job means for its attempt."""

import time

from fetchml.adapters.slurm.job import Job
from fetchml.ports.launcher import AttemptExit

SETTLE_SECONDS = 5.0
"""Time for the shim's last records to be seen through a network disk, once Slurm has ended the
job."""


class Silence:
    """How long nothing was known of an attempt but its claim."""

    def __init__(self) -> None:
        self._since: float | None = None

    def begin_if(self, silent: bool) -> bool:
        """Note whether it is silent now; return that."""
        if not silent:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        return silent

    @property
    def seconds(self) -> float:
        return 0.0 if self._since is None else time.monotonic() - self._since


def exit_of_claimed(
    job: Job | None, *, silent_seconds: float, lost_after: int, was_stopped: bool
) -> AttemptExit | None:
    """The exit of an attempt that a shim has claimed and whose end it has not recorded.

    `None` while its processes may still run: Slurm does not know the job, or gave it up because its
    node is silent. Then only `lost_after` decides, or the wish to stop it: it is not started again.
    """
    if silent_seconds < SETTLE_SECONDS:
        return None
    if job is not None and not job.node_failed:
        if "OUT_OF_MEMORY" in job.state:
            why = "it used more memory than it requested, and Slurm ended it"
            return AttemptExit(out_of_memory=True, lost=why)
        return AttemptExit(lost=f"Slurm ended its job: {job.ended_as}")
    given_up = lost_after and silent_seconds >= lost_after
    if was_stopped or given_up:
        if job is None:
            return AttemptExit(lost="Slurm does not know its job any more")
        return AttemptExit(lost=f"its node is silent: {job.ended_as}")
    return None


def exit_of_unclaimed(job: Job, said: str) -> AttemptExit:
    """The exit of an attempt whose job ended before any shim claimed it. `said`: what the job
    printed last."""
    more = f": {said}" if said else ""
    return AttemptExit(lost=f"Slurm ended its job before the command started: {job.ended_as}{more}")


_REASONS = {
    "Resources": "resources that are free",
    "Priority": "jobs of a higher priority",
    "Dependency": "another job",
    "BeginTime": "its begin time",
    "PartitionDown": "its partition, which is down",
    "PartitionInactive": "its partition, which is inactive",
    "ReqNodeNotAvail": "nodes that are not available",
    "JobHeldUser": "its release: it is held",
    "JobHeldAdmin": "its release: an administrator holds it",
    "NodeDown": "a node that is down",
    "None": "Slurm's next turn",
    "": "Slurm's next turn",
}


UNDECIDED = (
    "It may still run, so it is not started again: its end is reported when its record appears "
    "in the shared folder. You can cancel it."
)
NO_JOB = f"Slurm has lost its job. {UNDECIDED}"


def sentence(job: Job) -> str:
    """Why a job has not started its attempt's command, for users."""
    if job.node_failed:
        return f"Its node is silent ({job.ended_as}). {UNDECIDED}"
    if not job.is_pending:
        where = f" on {job.nodes}" if job.nodes else ""
        return f"Slurm has started its job{where}; its command starts now."
    key = job.reason.split(",")[0].split("(")[0].strip()
    what = _REASONS.get(key)
    if what is None:
        return f"It waits in Slurm's queue, which reports: {job.reason}."
    own = f" ({job.reason})" if key not in ("None", "") else ""
    return f"It waits in Slurm's queue for {what}{own}."
