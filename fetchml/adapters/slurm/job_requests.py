"""The request to Slurm for an attempt: its script, its resources, and the parameters of its job.

Slurm stores the script. All else is in the attempt's start file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from fetchml.adapters.slurm.job import PARAMETERS, JobId, Submission
from fetchml.adapters.slurm.start_files import OUTPUT, START
from fetchml.adapters.slurm.transport import Refused, SlurmAway, SlurmTransport
from fetchml.core.requests import slurm
from fetchml.ports.launcher import LaunchSpec
from fetchml.shim import CLAIM_EXISTS

_STEP = '"$SLURM_JOB_ID" "$SLURM_CPUS_ON_NODE" "$SLURM_CONF"'
"""Arguments of the start file, for containers that are steps of the job."""

_JOB_SCRIPT = """\
#!/bin/sh
exec env -i NODE="$SLURMD_NODENAME" GPUS="$CUDA_VISIBLE_DEVICES" \\
    NUMBERS="$SLURM_JOB_GPUS" /bin/sh {start} {step}
"""

_ARRAY_SCRIPT = """\
#!/bin/sh
case $SLURM_ARRAY_TASK_ID in
{folders}
*) false;;
esac || exit 125
[ -s {start} ] || exit {claim_exists}
exec >{output} 2>&1
exec env -i NODE="$SLURMD_NODENAME" GPUS="$CUDA_VISIBLE_DEVICES" \\
    NUMBERS="$SLURM_JOB_GPUS" /bin/sh ./{start} {step}
"""
MIN_MARGIN_SECONDS = 120
"""Slurm's time limit is the shim's, the grace period, and at least this more: Slurm's kill leaves
no record of the end."""
NICE_PER_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of jobs, by the names of `sbatch`'s options."""

    of_all: Mapping[str, str] = field(default_factory=dict)
    of_users: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By the user's name in FetchML; they go before those of all."""

    def of(self, run: LaunchSpec) -> dict[str, str]:
        """Those of the request go before the others."""
        return {**self.of_all, **self.of_users.get(run.user, {}), **run.slurm}


def submission_of(
    run: LaunchSpec, name: str, parameters: Parameters, lease_seconds: int = 0, user: str = ""
) -> Submission:
    """`user`: name of the account that submits it; empty for the server's own."""
    chosen = parameters.of(run)
    minutes = minutes_for(run.timeout_ms, run.grace_ms) if run.timeout_ms else 0
    return Submission(
        name=name,
        script=job_script(run.folder),
        folder=str(run.folder),
        cpus=run.cpu,
        memory_mb=run.memory_gb << 10,
        minutes=minutes,
        nice=nice(run.priority, chosen.get("nice", "0")),
        gres=_gres(run.gpu, chosen.get("gres", "")),
        lease_seconds=lease_seconds,
        user=user,
        **{each: chosen[each] for each in (*PARAMETERS, "exclusive") if each in chosen},
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


def job_script(folder: Path) -> str:
    return _JOB_SCRIPT.format(start=quote(f"{folder}/{START}"), step=_STEP)


def array_script(folders: Mapping[int, Path]) -> str:
    """The script of an array, whose tasks find their attempts' folders by their indexes."""
    lines = (f"{index}) cd {quote(str(folder))};;" for index, folder in folders.items())
    return _ARRAY_SCRIPT.format(
        folders="\n".join(lines),
        output=OUTPUT,
        start=START,
        step=_STEP,
        claim_exists=CLAIM_EXISTS,
    )


async def permit(
    transport: SlurmTransport, job_id: JobId, timeout_ms: int, grace_ms: int, user: str = ""
) -> str | None:
    """Change Slurm's time limit of a running job to one that leaves room for the task's; 0: none.
    Return why Slurm rejects that, for users; `None` if it does not.

    The limit is only a second one: the shim keeps the task's, and Slurm's comes later. Users may
    shorten their own jobs; only an operator of the cluster may extend one, so unless the server's
    account is one, a task gets no more time than its job has. `user`: the account that the job
    belongs to; empty for the server's own.
    """
    wanted, most = minutes_for(timeout_ms, grace_ms) if timeout_ms else None, 0
    try:
        present = await transport.time_limit(job_id, user)
        if present is None or (wanted is not None and wanted <= present):
            return None
        most = seconds_within(present, grace_ms)
        await transport.change_time_limit(job_id, wanted)
    except SlurmAway as error:
        return f"Slurm does not answer ({error}): try again later"
    except Refused as error:
        limit = wanted or "UNLIMITED"
        return (
            f"Slurm does not let its job {job_id} run longer ({error}): {most} s at most. An "
            f"operator of the cluster can extend the job: 'scontrol update JobId={job_id} "
            f"TimeLimit={limit}'. Then repeat the change"
        )
    return None
