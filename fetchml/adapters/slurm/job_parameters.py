"""The request to Slurm for an attempt: its resources, and the parameters of its job."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fetchml.adapters.slurm.job import Submission
from fetchml.adapters.slurm.transports import job_scripts
from fetchml.core.requests import slurm
from fetchml.ports.launcher import LaunchSpec

MIN_MARGIN_SECONDS = 120
"""Slurm's time limit is the shim's, the grace period, and at least this more: Slurm's kill leaves
no record of the end."""
NICE_PER_PRIORITY = 100
_PLAIN = (
    "partition",
    "account",
    "qos",
    "constraint",
    "reservation",
    "nodelist",
    "exclude",
    "licenses",
    "exclusive",
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of jobs, by the names of `sbatch`'s options."""

    of_all: Mapping[str, str] = field(default_factory=dict)
    of_users: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By the user's name in FetchML; they go before those of all."""

    def of(self, run: LaunchSpec) -> dict[str, str]:
        """Those of the request go before the others."""
        return {**self.of_all, **self.of_users.get(run.user, {}), **run.slurm}


def submission(
    run: LaunchSpec, name: str, parameters: Parameters, lease_seconds: int = 0, user: str = ""
) -> Submission:
    """`user`: name of the account that submits it; empty for the server's own."""
    chosen = parameters.of(run)
    minutes = minutes_for(run.timeout_ms, run.grace_ms) if run.timeout_ms else 0
    return Submission(
        name=name,
        script=job_scripts.job_script(run.folder),
        folder=str(run.folder),
        cpus=run.cpu,
        memory_mb=run.memory_gb << 10,
        gpus=run.gpu,
        minutes=minutes,
        nice=nice(run.priority, chosen.get("nice", "0")),
        gres=_gres(run.gpu, chosen.get("gres", "")),
        lease_seconds=lease_seconds,
        user=user,
        **{each: chosen[each] for each in _PLAIN if each in chosen},
    )


def minutes_for(timeout_ms: int, grace_ms: int) -> int:
    """Return Slurm's time limit for a task with a time limit."""
    seconds = (timeout_ms + grace_ms) // 1000 + MIN_MARGIN_SECONDS
    return -(-seconds // 60)


def seconds_within(minutes: int, grace_ms: int) -> int:
    """Return the longest time limit of a task that Slurm's limit leaves room for."""
    return max(0, minutes * 60 - MIN_MARGIN_SECONDS - grace_ms // 1000)


def nice(priority: int, more: str) -> int:
    """Priority 10 is nice 0, each step below it 100; a request may only add to it."""
    return (10 - priority) * NICE_PER_PRIORITY + int(more)


def _gres(gpus: int, asked: str) -> str | None:
    """The generic resources: those that the request names may have the kind of its GPUs."""
    names_gpus = any(each.name == "gpu" for each in slurm.resources(asked) or ())
    parts = [f"gpu:{gpus}"] if gpus and not names_gpus else []
    return ",".join([*parts, *filter(None, asked.split(","))]) or None
