"""Sentences for users about attempts that Slurm has not started, or of which it lost track."""

from fetchml.adapters.slurm.job import Job
from fetchml.core.scheduling.lost_attempts import LEASES_UNTIL_LOST

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
    """Return the problem of a claimed attempt without a living job. `job`: as last reported; `None`
    if it never was. `node_is_silent`: as Slurm reports; it drops a failed job soon (MinJobAge)."""
    what = "Slurm has lost its job"
    if job is not None and job.node_failed:
        what = f"Its node is silent ({job.ended_as})"
    elif node_is_silent:
        what = "Its node is silent, and Slurm has no such job any more"
    limit = f" After {lost_after} s of silence it counts as lost, and is retried."
    lease = (
        f" It is retried when it has not renewed its lease for {LEASES_UNTIL_LOST * lease_seconds} "
        "s: its node has ended it then."
    )
    more = f"{limit if lost_after else ''}{lease if lease_seconds else ''}"
    return f"{what}. {UNDECIDED}{more}"


def sentence(job: Job) -> str:
    """Return why a job has not started its attempt's command."""
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
