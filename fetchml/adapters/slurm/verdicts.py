"""The exit of an attempt by the end of its Slurm job."""

import re
import time
from collections.abc import Callable

from msgspec.structs import replace

from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.start_files import SHOWN_CHARACTERS
from fetchml.core.scheduling.lost_attempts import LEASES_UNTIL_LOST, counts_as_lost, lease_is_over
from fetchml.ports.launcher import AttemptExit

SETTLE_SECONDS = 5.0
"""Time for the shim's last records to be seen through a network disk, once Slurm has ended the
job."""
LOCAL_SETTLE_SECONDS = 0.5
"""The same where the shared folder is on a disk of the server's own host, which shows them at
once."""


_BY_SLURM = frozenset(
    ["BOOT_FAIL", "CANCELLED", "DEADLINE", "LAUNCH_FAILED", "NODE_FAIL", "PREEMPTED", "REVOKED"]
)


SEARCHED_CHARACTERS = 2_000
"""Of a job's last words: those about an image may have its path three times."""
_NO_IMAGE = re.compile(
    # Answers of registries, which Podman, Docker and Apptainer repeat.
    r"manifest[ _]unknown|name[ _]unknown|unauthorized"
    r"|access to the (?:requested )?resource is (?:denied|not authorized)"
    r"|no (?:matching manifest|image found in (?:image index|manifest list))"
    r"|invalid reference format"
    r"|image not known|did not resolve to an alias"  # Podman
    r"|no such image|pull access denied|repository does not exist"  # Docker
    r"|could not open image .*no such file or directory"  # Apptainer
    r"|error code: 40[134]\b|no such file or directory: \S+\.(?:sqsh|squashfs)\b",  # enroot
    re.IGNORECASE,
)
"""Words of engines about an image that another try would miss too. A registry that is away, or a
disk that is full, is none of them."""


class Silence:
    """Time for which nothing but the claim of an attempt was visible."""

    def __init__(self) -> None:
        self._since: float | None = None
        self.lease = LeaseWatch()

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
    job: Job | None,
    *,
    silent_seconds: float,
    lost_after: int,
    was_stopped: bool,
    lease_is_over: bool = False,
    settle_seconds: float = SETTLE_SECONDS,
) -> AttemptExit | None:
    """The exit of an attempt that a shim has claimed and whose end it has not recorded.

    `None` while its processes may still run: Slurm has no record of the job, or gave it up because
    its node is silent. Then its lease decides, `lost_after`, or the wish to stop it: it is not
    started again. `settle_seconds`: how late its records may be seen."""
    if silent_seconds < settle_seconds:
        return None
    if job is not None and not job.node_failed:
        seen = exit_of_ended(job)
        return seen if seen.lost else replace(seen, lost=f"Slurm ended its job: {job.ended_as}")
    if lease_is_over or counts_as_lost(silent_seconds, lost_after, given_up=was_stopped):
        if job is None:
            return AttemptExit(lost="Slurm does not know its job any more")
        return AttemptExit(lost=f"its node is silent: {job.ended_as}")
    return None


def exit_of_ended(job: Job) -> AttemptExit:
    """Return the exit of an attempt by the final state of its job; empty if the task ended
    itself."""
    if "OUT_OF_MEMORY" in job.state:
        why = "it used more memory than it requested, and Slurm ended it"
        return AttemptExit(out_of_memory=True, lost=why)
    if "TIMEOUT" in job.state:
        # A retry would only meet the same limit, after the same time.
        why = "it reached a time limit of Slurm: request a shorter timeout_seconds, or ask the site"
        return AttemptExit(timed_out=True, lost=why)
    if _BY_SLURM & set(job.state):
        return AttemptExit(lost=f"Slurm ended its job: {job.ended_as}")
    return AttemptExit()


def exit_of_unclaimed(job: Job, said: str) -> AttemptExit:
    """The exit of an attempt whose job ended before any shim claimed it. `said`: the last output
    of the job."""
    shown = said[-SHOWN_CHARACTERS:]
    if "FAILED" in job.state and _NO_IMAGE.search(said):
        return AttemptExit(lost=f"its node can't get the task's image: {shown}", no_image=True)
    more = f": {shown}" if said else ""
    return AttemptExit(lost=f"Slurm ended its job before the command started: {job.ended_as}{more}")


_REASONS = {
    "Resources": "resources that are free",
    "Priority": "jobs of a higher priority",
    "Dependency": "another job",
    "BeginTime": "its begin time",
    "PartitionDown": "its partition, which is down",
    "PartitionInactive": "its partition, which is inactive",
    "ReqNodeNotAvail": "nodes that are not available",
    "Licenses": "licenses that are free",
    "Reservation": "its reservation",
    "JobHeldUser": "its release: it is held",
    "JobHeldAdmin": "its release: an administrator holds it",
    "NodeDown": "a node that is down",
    "InvalidAccount": "an account that it may use",
    "InvalidQOS": "a QOS that it may use",
    "QOSNotAllowed": "a QOS that its partition allows",
    "None": "Slurm's next turn",
    "": "Slurm's next turn",
}
_LIMITS = {
    "QOS": "room within a limit of its QOS",
    "Assoc": "room within a limit of its account or its user",
}
"""By the beginning of the reason: `QOSMaxGRESPerUser`, `AssocGrpCpuLimit`, and a hundred more."""


UNDECIDED = (
    "It may still run, so it is not started again: its end is reported when its record appears "
    "in the shared folder. You can cancel it; an admin can declare it lost."
)


def trouble(job: Job | None, node_is_silent: bool, lost_after: int, lease_seconds: int) -> str:
    """Return the problem of a claimed attempt, for users. `job`: as last seen; `None` if it never
    was. `node_is_silent`: whether Slurm reports so. Slurm forgets a failed job soon (MinJobAge),
    and a poll that takes long may come too late for its end."""
    what = "Slurm has lost its job"
    if job is not None and job.node_failed:
        what = f"Its node is silent ({job.ended_as})"
    elif node_is_silent:
        what = "Its node is silent, and Slurm does not know its job any more"
    limit = f" After {lost_after} s of silence it counts as lost, and is retried."
    lease = (
        f" It is retried when it has not renewed its lease for {LEASES_UNTIL_LOST * lease_seconds} "
        "s: its node has ended it then."
    )
    more = f"{limit if lost_after else ''}{lease if lease_seconds else ''}"
    return f"{what}. {UNDECIDED}{more}"


def sentence(job: Job) -> str:
    """Return why a job has not started its attempt's command, for users."""
    if job.node_failed:
        return f"Its node is silent ({job.ended_as})."
    if not job.is_pending:
        where = f" on {job.nodes}" if job.nodes else ""
        return f"Slurm has started its job{where}; its command starts now."
    key = job.reason.split(",")[0].split("(")[0].strip()
    what = _REASONS.get(key)
    if what is None:
        what = next((limit for start, limit in _LIMITS.items() if key.startswith(start)), None)
    if what is None:
        return f"It waits in Slurm's queue, which reports: {job.reason}."
    own = f" ({job.reason})" if key not in ("None", "") else ""
    return f"It waits in Slurm's queue for {what}{own}."


class LeaseWatch:
    """Of one attempt."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._renewal: int | None = None
        self._seen_at = 0.0
        self._began = 0.0

    def begin(self) -> None:
        """A reading of the attempt's folder begins."""
        self._began = self._clock()

    def is_over(self, renewal: int | None, lease_seconds: int) -> bool:
        """Whether the attempt has no process left. `renewal`: what the reading has found; `None` if
        the attempt has no lease.

        A renewal counts from the moment at which it was seen, which is after it was made. It was
        the last one if a later reading, which began after that time, found no other.
        """
        if renewal is None:
            return False
        if renewal != self._renewal:
            self._renewal, self._seen_at = renewal, self._clock()
            return False
        return lease_is_over(self._began - self._seen_at, lease_seconds)
